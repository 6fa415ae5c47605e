# SPDX-License-Identifier: Apache-2.0
"""Paths of the Kubernetes API test server: what a URL asks for, and the discovery documents."""

import dataclasses
import urllib.parse

from kube_store import RESOURCES, Resource


@dataclasses.dataclass
class Route:
    verb: str = "get"
    group: str = ""
    resource_name: str = ""  # As in the path, known or not.
    resource: Resource | None = None
    namespace: str = ""
    name: str = ""
    document: dict | str | None = None  # A fixed answer.
    discovery: bool = False  # For everyone who is someone.
    public: bool = False  # For everyone.


def route_of(path: str, query: dict) -> Route:
    parts = [urllib.parse.unquote(part) for part in path.strip("/").split("/")]
    if path in ("/healthz", "/livez", "/readyz"):
        return Route(document="ok", public=True)
    if path == "/version":
        return Route(document=_VERSION, public=True)
    if path in ("/api", "/apis") or (parts[0] == "api" and len(parts) == 2) or (
            parts[0] == "apis" and len(parts) in (2, 3)):
        return Route(document=_discovery(parts), discovery=True)
    if parts[0] == "openapi":
        return Route(discovery=True)
    skip = {"api": 2, "apis": 3}.get(parts[0])
    if skip is None or len(parts) <= skip:
        return Route()
    group = "" if parts[0] == "api" else parts[1]
    version, rest, namespace = parts[skip - 1], parts[skip:], ""
    if rest[0] == "namespaces" and len(rest) >= 3:
        namespace, rest = rest[1], rest[2:]
    if rest[0] == "namespaces" and len(rest) == 2:
        namespace = rest[1]
    name = rest[1] if len(rest) > 1 else ""
    resource = next((r for r in RESOURCES if (r.group, r.version, r.plural) == (group, version, rest[0])
                     and len(rest) <= 2 and (r.namespaced or not namespace or r.kind == "Namespace")
                     and not (r.namespaced and name and not namespace)), None)
    verb = "list" if not name else "get"
    if query.get("watch") in ("true", "1"):
        verb = "watch"
    if resource and resource.kind == "Namespace" and verb == "get":
        namespace_key = ""
    else:
        namespace_key = namespace
    return Route(verb, group, "/".join([rest[0], *rest[2:]]), resource, namespace_key, name)


_VERSION = {"major": "1", "minor": "34", "gitVersion": "v1.34.2", "gitCommit": "0", "platform": "linux/amd64",
            "gitTreeState": "clean", "buildDate": "2026-01-02T03:04:05Z", "goVersion": "go", "compiler": "gc"}


def _discovery(parts: list[str]) -> dict | None:
    if parts == ["api"]:
        return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
    groups = {r.group: r.version for r in RESOURCES if r.group}
    if parts == ["apis"]:
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(g, v) for g, v in groups.items()]}
    if parts[0] == "apis" and len(parts) == 2:
        known = groups.get(parts[1])
        return {"kind": "APIGroup", "apiVersion": "v1", **_group(parts[1], known)} if known else None
    served = [r for r in RESOURCES if r.path.strip("/").split("/") == parts]
    if not served:
        return None
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": served[0].api_version,
            "resources": [{"name": r.plural, "singularName": r.kind.lower(), "namespaced": r.namespaced,
                           "kind": r.kind, "verbs": ["get", "list", "watch"], "shortNames": list(r.short)}
                          for r in served]}


def _group(group: str, version: str) -> dict:
    both = {"groupVersion": f"{group}/{version}", "version": version}
    return {"name": group, "versions": [both], "preferredVersion": both}
