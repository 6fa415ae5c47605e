# SPDX-License-Identifier: Apache-2.0
"""Dockerfile, docker-compose.yml and deploy/ fit the binary and one another."""

import json
import pathlib
import re
import shlex
import subprocess
import unittest

import harness
import peers
from kube_access import Rbac

ROOT = harness.ROOT
KUBERNETES = ROOT / "deploy" / "kubernetes"
DASHBOARDS = ROOT / "deploy" / "grafana" / "dashboards"
DATASOURCES = ROOT / "deploy" / "grafana" / "provisioning" / "datasources"
CONFIGS = [ROOT / "deploy" / "docker" / "prometheus.yml", ROOT / "deploy" / "compose" / "prometheus.yml"]
ACCOUNT = "system:serviceaccount:monitoring:varve"

# Metrics of the dashboard that a machine without containers, pods and alerts does not have.
ELSEWHERE = re.compile(r"container_|ALERTS$|node_timex_|node_filesystem_|node_disk_|node_network_")


def dockerfile() -> list[tuple[str, str]]:
    """(instruction, arguments) of every line, continuations joined."""
    text = re.sub(r"(?m)^#.*\n", "", (ROOT / "Dockerfile").read_text("utf-8")).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


def compose() -> dict:
    return harness.yaml_documents(ROOT / "docker-compose.yml")[0]


def manifests(kind: str) -> list[dict]:
    documents = [d for path in sorted(KUBERNETES.glob("*.yaml")) for d in harness.yaml_documents(path)]
    return [d for d in documents if d["kind"] == kind]


def container() -> dict:
    return manifests("StatefulSet")[0]["spec"]["template"]["spec"]["containers"][0]


def command_lines() -> dict[str, list[str]]:
    """Where the binary's flags are written, and which."""
    image = json.loads(next(args for word, args in dockerfile() if word == "CMD"))
    return {"Dockerfile": image, "docker-compose.yml": compose()["services"]["varve"]["command"],
            "StatefulSet": container()["args"]}


def dashboard_queries() -> list[tuple[str, str]]:
    """(panel, query) of every panel of every dashboard."""
    found = []
    for path in sorted(DASHBOARDS.glob("*.json")):
        for panel in json.loads(path.read_text("utf-8"))["panels"]:
            for one in [panel, *panel.get("panels", [])]:
                found += [(f"{path.name}: {one['title']}", t["expr"]) for t in one.get("targets", [])]
    return found


def without_variables(query: str) -> str:
    query = query.replace("$__rate_interval", "1m").replace("$__interval", "15s").replace("$__range", "1h")
    query = re.sub(r"\$(?:\{\w+(?::\w+)?\}|\w+)", ".*", query)
    assert "$" not in query, query
    return query


class FilesTest(unittest.TestCase):
    def test_the_image_is_a_swap_for_prometheus(self):
        lines = dockerfile()
        last = lines[max(i for i, line in enumerate(lines) if line[0] == "FROM"):]
        say = dict(last)
        self.assertEqual(json.loads(say["ENTRYPOINT"]), ["/bin/varve"])
        self.assertEqual(json.loads(say["CMD"]),
                         ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"])
        self.assertEqual((say["USER"], say["WORKDIR"], say["EXPOSE"]), ("65534:65534", "/prometheus", "9090"))
        self.assertEqual(json.loads(say["VOLUME"]), ["/prometheus"])
        self.assertIn(("COPY", "deploy/docker/prometheus.yml /etc/prometheus/prometheus.yml"), last)
        self.assertTrue(any("ln -s varve /bin/prometheus" in args for word, args in last if word == "RUN"))

    def test_what_the_image_copies_exists_and_is_not_ignored(self):
        ignored = (ROOT / ".dockerignore").read_text("utf-8").split()
        for word, args in dockerfile():
            if word == "COPY" and not args.startswith("--from"):
                for source in shlex.split(args)[:-1]:
                    self.assertTrue((ROOT / source).exists(), source)
                    self.assertNotIn(source.split("/")[0], ignored)

    def test_what_compose_mounts_exists(self):
        services, volumes = compose()["services"], compose()["volumes"]
        mounts = [m for s in services.values() for m in s.get("volumes", [])]
        ours = [m.split(":")[0] for m in mounts if m.startswith("./")]
        self.assertEqual(len(ours), 3)
        for source in ours:
            self.assertTrue((ROOT / source).exists(), source)
        named = {m.split(":")[0] for m in mounts if not m.startswith((".", "/"))}
        self.assertEqual(named, set(volumes))
        self.assertIn("varve-data:/prometheus", services["varve"]["volumes"])

    def test_grafana_finds_its_data_source_and_dashboards(self):
        services = compose()["services"]
        sources = [s for path in DATASOURCES.glob("*.yml")
                   for s in harness.yaml_documents(path)[0]["datasources"]]
        self.assertEqual([s["url"] for s in sources], ["http://varve:9090"])
        published = services["varve"]["ports"][0].split(":")
        self.assertEqual(published[-1], "9090")
        self.assertIn("varve", services["grafana"]["depends_on"])
        mounts = dict(m.split(":")[:2] for m in services["grafana"]["volumes"])
        self.assertEqual(mounts["./deploy/grafana/provisioning"], "/etc/grafana/provisioning")
        provider = harness.yaml_documents(ROOT / "deploy/grafana/provisioning/dashboards/varve.yml")[0]
        self.assertEqual(provider["providers"][0]["options"]["path"], mounts["./deploy/grafana/dashboards"])
        home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
        self.assertTrue((DASHBOARDS / pathlib.Path(home).name).is_file(), home)
        ports = {s["spec"]["ports"][0]["port"] for s in manifests("Service")}
        self.assertEqual(ports, {9090})

    def test_compose_scrapes_services_that_are_there(self):
        services = compose()["services"]
        jobs = harness.yaml_documents(ROOT / "deploy/compose/prometheus.yml")[0]["scrape_configs"]
        hosts = {t.split(":")[0] for job in jobs for s in job["static_configs"] for t in s["targets"]}
        self.assertEqual(hosts - {"localhost"}, set(services) - {"varve"})

    def test_the_manifests_fit_one_another(self):
        stateful, service = manifests("StatefulSet")[0], manifests("Service")[0]
        pod = stateful["spec"]["template"]
        labels = pod["metadata"]["labels"]
        self.assertEqual(stateful["spec"]["selector"]["matchLabels"], labels)
        self.assertEqual(service["spec"]["selector"], labels)
        self.assertEqual(stateful["spec"]["serviceName"], service["metadata"]["name"])
        account = manifests("ServiceAccount")[0]["metadata"]
        self.assertEqual(pod["spec"]["serviceAccountName"], account["name"])
        namespace = manifests("Namespace")[0]["metadata"]["name"]
        for one in (stateful, service, manifests("ServiceAccount")[0]):
            self.assertEqual(one["metadata"]["namespace"], namespace)
        # kubectl applies a directory in the order of its file names.
        first = sorted(KUBERNETES.glob("*.yaml"))[0]
        self.assertEqual([d["kind"] for d in harness.yaml_documents(first)], ["Namespace"])
        ports = {p["name"]: p["containerPort"] for p in container()["ports"]}
        self.assertEqual(ports, {"http": 9090})
        for probe, path in (("livenessProbe", "/-/healthy"), ("readinessProbe", "/-/ready"),
                            ("startupProbe", "/-/healthy")):
            self.assertEqual(container()[probe]["httpGet"], {"path": path, "port": "http"})
        mounts = {m["name"]: m["mountPath"] for m in container()["volumeMounts"]}
        claims = [c["metadata"]["name"] for c in stateful["spec"]["volumeClaimTemplates"]]
        self.assertEqual([mounts[name] for name in claims], ["/prometheus"])
        self.assertIn("--storage.tsdb.path=/prometheus", container()["args"])

    def test_the_pod_may_do_little(self):
        security = manifests("StatefulSet")[0]["spec"]["template"]["spec"]["securityContext"]
        self.assertEqual((security["runAsUser"], security["fsGroup"], security["runAsNonRoot"]),
                         (65534, 65534, True))
        own = container()["securityContext"]
        self.assertTrue(own["readOnlyRootFilesystem"])
        self.assertFalse(own["allowPrivilegeEscalation"])
        self.assertEqual(own["capabilities"], {"drop": ["ALL"]})
        self.assertIn("memory", container()["resources"]["limits"])

    def test_the_cluster_role_grants_what_discovery_needs_and_no_more(self):
        rbac = Rbac.from_files(sorted(KUBERNETES.glob("*.yaml")))
        needed = [("", r) for r in ("nodes", "services", "endpoints", "pods", "namespaces")]
        needed += [("discovery.k8s.io", "endpointslices"), ("networking.k8s.io", "ingresses"),
                   ("apps", "replicasets"), ("batch", "jobs")]
        for group, resource in needed:
            for verb in ("get", "list", "watch"):
                self.assertTrue(rbac.allowed(ACCOUNT, verb, group, resource), (verb, resource))
            for verb in ("create", "update", "patch", "delete"):
                self.assertFalse(rbac.allowed(ACCOUNT, verb, group, resource), (verb, resource))
        for path in ("/metrics", "/metrics/cadvisor"):
            self.assertTrue(rbac.allowed(ACCOUNT, "get", "", "", path=path))
        self.assertTrue(rbac.allowed(ACCOUNT, "get", "", "nodes/metrics"))
        for resource in ("secrets", "configmaps", "nodes/proxy", "pods/exec", "pods/log"):
            self.assertFalse(rbac.allowed(ACCOUNT, "get", "", resource), resource)
        self.assertFalse(rbac.allowed("system:serviceaccount:default:default", "list", "", "pods"))

    def test_the_dashboards_are_sound(self):
        for path in DASHBOARDS.glob("*.json"):
            board = json.loads(path.read_text("utf-8"))
            panels = board["panels"]
            self.assertEqual(len({p["id"] for p in panels}), len(panels))
            variables = {v["name"] for v in board["templating"]["list"]}
            taken = set()
            for panel in panels:
                pos = panel["gridPos"]
                self.assertLessEqual(pos["x"] + pos["w"], 24, panel["title"])
                cells = {(x, y) for x in range(pos["x"], pos["x"] + pos["w"])
                         for y in range(pos["y"], pos["y"] + pos["h"])}
                self.assertFalse(cells & taken, f"{panel['title']} overlaps")
                taken |= cells
                for target in panel.get("targets", []):
                    self.assertEqual(target["datasource"]["uid"], "${datasource}")
                    used = {v for v in re.findall(r"\$\{?(\w+)", target["expr"]) if not v.startswith("__")}
                    self.assertLessEqual(used, variables, target["expr"])


class BinaryTest(unittest.TestCase):
    def test_help_lists_every_flag(self):
        text = harness.run([harness.BINARY, "--help"])
        self.assertEqual(text.returncode, 0, text.stderr)
        known = set(re.findall(r"--[a-z][a-z0-9.-]*", text.stdout))
        for where, flags in command_lines().items():
            for flag in flags:
                self.assertIn(flag.split("=")[0], known, where)

    def test_the_binary_starts_with_every_command_line(self):
        for where, flags in command_lines().items():
            with self.subTest(where):
                replaced = {"--config.file", "--storage.tsdb.path", "--web.listen-address"}
                others = [f for f in flags if f.split("=")[0] not in replaced]
                has_config = any(f.startswith("--config.file=") for f in flags)
                varve = harness.Varve(*others, config=CONFIGS[0].read_text("utf-8") if has_config else None)
                varve.start()
                self.assertEqual(varve.get("/-/healthy").status, 200)
                reload = varve.post("/-/reload").status
                self.assertEqual(reload, 200 if "--web.enable-lifecycle" in flags else 403)
                self.assertEqual(varve.stop(), 0)

    def test_an_unknown_flag_is_refused(self):
        refused = harness.run([harness.BINARY, "--no.such-flag=1"])
        self.assertEqual(refused.returncode, 2, refused.stdout + refused.stderr)
        self.assertIn("no.such-flag", refused.stderr)

    def test_the_configurations_load(self):
        for path in CONFIGS:
            with self.subTest(path.name):
                varve = harness.Varve(config=path.read_text("utf-8")).start()
                loaded = varve.api("status/config")["yaml"]
                for job in harness.yaml_documents(path)[0]["scrape_configs"]:
                    self.assertIn(f"job_name: {job['job_name']}\n", loaded)
                self.assertEqual(varve.stop(), 0)
        if promtool := peers.path("promtool"):
            for path in CONFIGS:
                checked = harness.run([promtool, "check", "config", path])
                self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)

    def test_the_image_has_every_library_of_the_binary(self):
        installed = next(args for word, args in dockerfile()
                         if word == "RUN" and "--no-install-recommends" in args).split()
        dynamic = subprocess.run(["objdump", "-p", harness.BINARY], check=True, capture_output=True, text=True)
        needed = re.findall(r"NEEDED\s+(\S+)", dynamic.stdout)
        self.assertIn("libc.so.6", needed)
        resolved = subprocess.run(["ldd", harness.BINARY], check=True, capture_output=True, text=True).stdout
        self.assertNotIn("not found", resolved)
        owners: dict = {}
        for line in harness.run(["dpkg", "-S", *[f"*/{library}" for library in needed]]).stdout.splitlines():
            package, path = line.split(": ", 1)
            owners.setdefault(path.rsplit("/", 1)[1], set()).add(package.split(":")[0])
        base = {"libc6", "libgcc-s1"}  # In every Debian image.
        for library in needed:
            with self.subTest(library):
                self.assertTrue(owners[library] & (base | set(installed)), owners[library])

    def test_a_read_only_root_needs_nothing_but_the_data_directory(self):
        """The pod's root is read-only: nothing is written outside the data directory."""
        varve = harness.Varve("--web.enable-lifecycle")
        varve.start()
        harness.wait_until(lambda: varve.query("up"), 60, "a sample")
        files = {p.resolve() for p in pathlib.Path(f"/proc/{varve.process.pid}/fd").iterdir()}
        inside = varve.data_dir.resolve()
        written = {f for f in files if f.is_file() and inside not in f.parents
                   and f != varve.process.log_path.resolve() and not str(f).startswith(("/proc", "/dev", "/sys"))}
        self.assertEqual(written, set())
        self.assertEqual(list(varve.cwd.iterdir()), [])
        self.assertEqual(varve.stop(), 0)


class DashboardTest(unittest.TestCase):
    """Every query against a Varve that scrapes itself and a node exporter."""

    @classmethod
    def setUpClass(cls):
        port = harness.free_port()
        harness.Process("node_exporter", [peers.path("node_exporter"), f"--web.listen-address=127.0.0.1:{port}"])
        cls.varve = harness.Varve()
        cls.varve.config_path = cls.varve.dir / "prometheus.yml"
        cls.varve.write_config(f"""
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: varve
    static_configs: [{{targets: ['127.0.0.1:{cls.varve.port}']}}]
  - job_name: node
    static_configs: [{{targets: ['127.0.0.1:{port}']}}]
""")
        cls.varve.start()
        harness.wait_until(lambda: len(cls.varve.query("count_over_time(up[1m]) > 3")) == 2, 60, "four scrapes")
        cls.names = set(cls.varve.api("label/__name__/values"))

    def test_every_query_answers(self):
        for panel, query in dashboard_queries():
            with self.subTest(panel):
                expression = without_variables(query)
                now = self.varve.query("time()")[0][1]
                instant = self.varve.get("/api/v1/query", query=expression)
                self.assertEqual(instant.status, 200, instant.text)
                ranged = self.varve.get("/api/v1/query_range", query=expression, start=now - 300, end=now, step=15)
                self.assertEqual((ranged.status, ranged.json()["status"]), (200, "success"), ranged.text)
                self.assertNotIn("warnings", instant.json(), expression)

    def test_every_metric_is_one_that_exists(self):
        for panel, query in dashboard_queries():
            bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^]]*\]|\b(?:by|on)\s*\([^)]*\)', "", query)
            for name in re.findall(r"\b[a-z]+_[a-z0-9_]+\b(?!\s*\()|\bup\b|\bALERTS\b", bare):
                if not ELSEWHERE.match(name):
                    self.assertIn(name, self.names, panel)

    def test_the_panels_of_this_machine_are_not_empty(self):
        shown = {panel for panel, query in dashboard_queries() if self.varve.query(without_variables(query))}
        for title in ("Targets up", "Samples stored per second", "Series in memory", "Slowest scrape", "CPU used",
                      "Memory used", "CPU by mode", "Samples stored", "Memory", "CPU", "Requests", "Query time"):
            self.assertIn(f"overview.json: {title}", shown)

    def test_every_variable_has_values(self):
        for path in DASHBOARDS.glob("*.json"):
            for variable in json.loads(path.read_text("utf-8"))["templating"]["list"]:
                if variable["type"] != "query":
                    continue
                match, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"]).groups()
                values = self.varve.get(f"/api/v1/label/{label}/values", **{"match[]": match})
                self.assertEqual(values.status, 200, values.text)
                if variable["name"] != "namespace":  # No pods here.
                    self.assertTrue(values.json()["data"], variable["definition"])


class ImageSwapTest(unittest.TestCase):
    """What a volume that Prometheus used looks like to Varve, and to Prometheus afterwards."""

    def test_data_of_prometheus_is_named_and_left_untouched(self):
        volume = harness.temp_dir("volume")
        (volume / "lost+found").mkdir()  # As the root of a volume has it.
        config = harness.temp_dir("config") / "prometheus.yml"
        url = self.prometheus(volume, config)
        harness.wait_until(lambda: self.samples(url), 30, "samples of Prometheus")
        before = self.samples(url)
        self.assertEqual(self.process.stop(), 0)
        files = self.contents(volume)
        self.assertTrue([name for name in files if name.startswith("wal/")])

        varve = harness.Varve(data_dir=volume, config=config.read_text("utf-8")).start()
        self.assertIn("left untouched", varve.log())
        self.assertIn(str(volume), varve.log())
        harness.wait_until(lambda: varve.query("up"), 30, "a sample of its own")
        self.assertEqual(varve.stop(), 0)
        after = self.contents(volume)
        self.assertEqual({name: after.get(name) for name in files}, files)

        url = self.prometheus(volume, config)
        self.assertLessEqual(set(before), set(harness.wait_until(lambda: self.samples(url), 30, "its samples again")))

    def prometheus(self, volume: pathlib.Path, config: pathlib.Path) -> str:
        port = harness.free_port()
        config.write_text("global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n"
                          f"  - job_name: self\n    static_configs: [{{targets: ['127.0.0.1:{port}']}}]\n")
        self.process = harness.Process("prometheus", [
            peers.path("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={volume}",
            f"--web.listen-address=127.0.0.1:{port}"])
        return f"http://127.0.0.1:{port}"

    @staticmethod
    def samples(url: str) -> list:
        result = harness.get(url + "/api/v1/query?query=up[5m]").json()["data"]["result"]
        return [tuple(value) for series in result for value in series["values"]]

    @staticmethod
    def contents(volume: pathlib.Path) -> dict:
        """Every file's bytes, but those of the lock and of running queries."""
        return {str(path.relative_to(volume)): path.read_bytes() for path in sorted(volume.rglob("*"))
                if path.is_file() and path.name not in ("lock", "queries.active")}
