# SPDX-License-Identifier: Apache-2.0
"""Who may talk to the Kubernetes API test server: certificates, service accounts, RBAC."""

import pathlib
import shutil
import subprocess

import harness


class Certificates:
    """A CA and a server certificate made with the openssl program."""

    SANS = ("IP:127.0.0.1", "DNS:kubernetes", "DNS:kubernetes.default", "DNS:kubernetes.default.svc")

    def __init__(self, directory: pathlib.Path, sans: tuple = SANS):
        directory.mkdir(parents=True, exist_ok=True)
        self.ca, self.cert, self.key = (directory / n for n in ("ca.crt", "server.crt", "server.key"))
        self._directory = directory
        self._ca_key = directory / "ca.key"
        self._run("req", "-x509", *self._KEY, "-keyout", self._ca_key, "-out", self.ca, "-days", "30",
                  "-subj", "/CN=test-ca", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        self.issue(sans)

    _KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")

    def issue(self, sans: tuple = SANS) -> "Certificates":
        """A new server certificate of the same CA, for these names."""
        request, extensions = self._directory / "server.csr", self._directory / "server.ext"
        self._run("req", *self._KEY, "-keyout", self.key, "-out", request, "-subj", "/CN=kube-apiserver")
        extensions.write_text("subjectAltName=" + ",".join(sans) + "\nextendedKeyUsage=serverAuth\n")
        self._run("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self._ca_key, "-CAcreateserial",
                  "-out", self.cert, "-days", "30", "-extfile", extensions)
        return self

    @staticmethod
    def _run(*words) -> None:
        subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


class ServiceAccount:
    """The directory a pod finds its credentials in, swapped as the kubelet does."""

    def __init__(self, directory: pathlib.Path, ca: pathlib.Path, token: str, namespace: str):
        self.directory = directory
        self._generation = 0
        directory.mkdir(parents=True, exist_ok=True)
        for name in ("token", "ca.crt", "namespace"):
            (directory / name).symlink_to(f"..data/{name}")
        self.write(token, ca, namespace)

    def write(self, token: str, ca: pathlib.Path, namespace: str) -> None:
        """Readers see all three old files or all three new ones."""
        self._generation += 1
        data = self.directory / f"..2026_01_02_03_04_{self._generation:02}"
        data.mkdir()
        (data / "token").write_text(token)
        (data / "namespace").write_text(namespace)
        shutil.copy(ca, data / "ca.crt")
        old = self.directory / "..data"
        before = old.resolve() if old.is_symlink() else None
        (self.directory / "..data_tmp").symlink_to(data.name)
        (self.directory / "..data_tmp").rename(old)
        if before:
            shutil.rmtree(before)


class Rbac:
    """Roles and bindings. allowed() answers as the RBAC authorizer does."""

    def __init__(self, objects: list):
        of_kind = {kind: [o for o in objects if o and o["kind"] == kind]
                   for kind in ("ClusterRole", "Role", "ClusterRoleBinding", "RoleBinding")}
        self._roles = {("ClusterRole", "", o["metadata"]["name"]): o.get("rules") or []
                       for o in of_kind["ClusterRole"]}
        self._roles |= {("Role", o["metadata"].get("namespace", ""), o["metadata"]["name"]):
                        o.get("rules") or [] for o in of_kind["Role"]}
        self._bindings = of_kind["ClusterRoleBinding"] + of_kind["RoleBinding"]

    @classmethod
    def from_files(cls, paths) -> "Rbac":
        """Reads every document of the YAML files, whatever else is among them."""
        return cls([o for path in paths for o in harness.yaml_documents(path)])

    def allowed(self, user: str, verb: str, group: str, resource: str, namespace: str = "",
                name: str = "", path: str = "") -> bool:
        """A resource in `namespace` ("" is all of them), or, if `path` is given, a plain URL."""
        for binding in self._bindings:
            where = binding["metadata"].get("namespace", "")
            if binding["kind"] == "RoleBinding" and (path or where != namespace):
                continue
            if not any(self._is(subject, user) for subject in binding.get("subjects") or []):
                continue
            ref = binding["roleRef"]
            key = (ref["kind"], where if ref["kind"] == "Role" else "", ref["name"])
            for rule in self._roles.get(key, []):
                if path and self._grants_path(rule, verb, path):
                    return True
                if not path and self._grants(rule, verb, group, resource, name):
                    return True
        return False

    @staticmethod
    def _is(subject: dict, user: str) -> bool:
        if subject["kind"] == "ServiceAccount":
            return user == f"system:serviceaccount:{subject['namespace']}:{subject['name']}"
        return subject["kind"] == "User" and subject["name"] == user

    @staticmethod
    def _grants(rule, verb, group, resource, name) -> bool:
        def has(field, value):
            return value in rule.get(field, []) or "*" in rule.get(field, [])

        names = rule.get("resourceNames") or []
        return (has("verbs", verb) and has("apiGroups", group) and has("resources", resource)
                and (not names or name in names))

    @staticmethod
    def _grants_path(rule, verb, path) -> bool:
        if verb not in rule.get("verbs", []) and "*" not in rule.get("verbs", []):
            return False
        return any(path == url or (url.endswith("*") and path.startswith(url[:-1]))
                   for url in rule.get("nonResourceURLs") or [])
