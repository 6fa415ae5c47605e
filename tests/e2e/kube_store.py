# SPDX-License-Identifier: Apache-2.0
"""Objects of the Kubernetes API test server: versions, events and selectors.

Every change takes the next resource version of one counter that all resources share and that skips
numbers, so that a client which counts instead of comparing for equality fails. All versions
of an object are kept: a page of a list shows the state its first page saw.
"""

import copy
import dataclasses
import random
import re
import threading
import uuid


@dataclasses.dataclass(frozen=True)
class Resource:
    group: str  # "" is the core group.
    version: str
    plural: str
    kind: str
    namespaced: bool
    short: tuple = ()

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def path(self) -> str:
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"


RESOURCES = [
    Resource("", "v1", "pods", "Pod", True, ("po",)),
    Resource("", "v1", "nodes", "Node", False, ("no",)),
    Resource("", "v1", "services", "Service", True, ("svc",)),
    Resource("", "v1", "endpoints", "Endpoints", True, ("ep",)),
    Resource("", "v1", "namespaces", "Namespace", False, ("ns",)),
    Resource("", "v1", "configmaps", "ConfigMap", True, ("cm",)),
    Resource("", "v1", "secrets", "Secret", True),
    Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", True),
    Resource("networking.k8s.io", "v1", "ingresses", "Ingress", True, ("ing",)),
    Resource("apps", "v1", "replicasets", "ReplicaSet", True, ("rs",)),
    Resource("apps", "v1", "deployments", "Deployment", True, ("deploy",)),
    Resource("batch", "v1", "jobs", "Job", True),
    Resource("batch", "v1", "cronjobs", "CronJob", True, ("cj",)),
]


class BadSelector(Exception):
    """The request's selector is not one; the message is the API's."""


class Expired(Exception):
    """The version asked for is compacted away."""


@dataclasses.dataclass
class Event:
    version: int
    type: str  # ADDED, MODIFIED or DELETED.
    object: dict  # After the change; for DELETED the last state with the deletion's version.
    previous: dict | None


class Store:
    """Thread-safe. `changed` is notified on every change."""

    def __init__(self, seed: int = 1):
        self.changed = threading.Condition()
        self._random = random.Random(seed)
        self._version = 1000 + self._random.randrange(1000)
        self._compacted = 0
        self._versions: dict = {r: {} for r in RESOURCES}  # (namespace, name) -> [(version, object)]
        self._events: dict = {r: [] for r in RESOURCES}

    def version(self) -> int:
        with self.changed:
            return self._version

    def apply(self, item: dict) -> dict:
        """Creates or replaces an object; metadata the server owns is filled in. Returns the stored one."""
        resource = resource_of(item)
        item = copy.deepcopy(item)
        meta = item["metadata"]
        if resource.namespaced:
            meta.setdefault("namespace", "default")
        key = (meta.get("namespace", ""), meta["name"])
        with self.changed:
            rows = self._versions[resource].setdefault(key, [])
            previous = rows[-1][1] if rows else None
            if previous:
                for kept in ("uid", "creationTimestamp"):
                    meta[kept] = previous["metadata"][kept]
                meta["resourceVersion"] = previous["metadata"]["resourceVersion"]
                if item == previous:
                    return previous
            meta.setdefault("uid", str(uuid.UUID(int=self._random.getrandbits(128), version=4)))
            meta.setdefault("creationTimestamp", "2026-01-02T03:04:05Z")
            meta["resourceVersion"] = str(self._next())
            event = Event(self._version, "MODIFIED" if previous else "ADDED", item, previous)
            self._commit(resource, key, item, event)
            return item

    def delete(self, kind: str, name: str, namespace: str = "default") -> None:
        """KeyError if there is no such object."""
        resource = next(r for r in RESOURCES if r.kind == kind)
        key = (namespace if resource.namespaced else "", name)
        with self.changed:
            rows = self._versions[resource].get(key)
            if not rows or rows[-1][1] is None:
                raise KeyError(f"{kind} {namespace}/{name}")
            previous = rows[-1][1]
            gone = copy.deepcopy(previous)
            gone["metadata"]["resourceVersion"] = str(self._next())
            self._commit(resource, key, None, Event(self._version, "DELETED", gone, previous))

    def compact(self) -> None:
        """Forgets history: versions before now are Expired for watches, pages and exact lists."""
        with self.changed:
            self._compacted = self._version
            # A version of its own, so that a list made before is now too old.
            self._next()
            for rows in self._versions.values():
                for key in [k for k, v in rows.items() if v[-1][1] is None]:
                    del rows[key]
                for key in rows:
                    rows[key] = rows[key][-1:]

    def check_version(self, version: int) -> None:
        with self.changed:
            if version <= self._compacted:
                raise Expired(f"too old resource version: {version} ({self._compacted + 1})")

    def get(self, resource: Resource, namespace: str, name: str) -> dict | None:
        with self.changed:
            rows = self._versions[resource].get((namespace, name))
            return rows[-1][1] if rows else None

    def snapshot(self, resource: Resource, version: int | None = None) -> tuple[int, list[dict]]:
        """The objects in key order as of `version` (None: now), and that version."""
        with self.changed:
            version = self._version if version is None else version
            found = []
            for key in sorted(self._versions[resource]):
                rows = [row for row in self._versions[resource][key] if row[0] <= version]
                if rows and rows[-1][1] is not None:
                    found.append(rows[-1][1])
            return version, found

    def events_after(self, resource: Resource, version: int) -> list[Event]:
        """REQUIRES: the caller holds `changed`."""
        events = self._events[resource]
        first = len(events)
        while first > 0 and events[first - 1].version > version:
            first -= 1
        return events[first:]

    def _next(self) -> int:
        self._version += self._random.randrange(1, 8)
        return self._version

    def _commit(self, resource, key, item, event) -> None:
        self._versions[resource].setdefault(key, []).append((self._version, item))
        self._events[resource].append(event)
        self.changed.notify_all()


def resource_of(item: dict) -> Resource:
    for resource in RESOURCES:
        if (item.get("apiVersion"), item.get("kind")) == (resource.api_version, resource.kind):
            return resource
    raise KeyError(f"no resource for {item.get('apiVersion')} {item.get('kind')}")


# --- Selectors ---------------------------------------------------------------------------------

_KEY = r"(?:[A-Za-z0-9.-]+/)?[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_SET = re.compile(rf"({_KEY})\s+(in|notin)\s+\(([^()]*)\)")
_EQUAL = re.compile(rf"({_KEY})\s*(==|!=|=|>|<)\s*([A-Za-z0-9._-]*)")
_EXISTS = re.compile(rf"(!?)\s*({_KEY})")


def label_selector(text: str):
    """A function labels -> bool. BadSelector if `text` does not parse."""
    checks = []
    rest = text.strip()
    while rest:
        if match := _SET.match(rest):
            values = {value.strip() for value in match[3].split(",")}
            checks.append((match[1], match[2], values))
        elif match := _EQUAL.match(rest):
            checks.append((match[1], {"==": "="}.get(match[2], match[2]), match[3]))
        elif match := _EXISTS.match(rest):
            checks.append((match[2], "absent" if match[1] else "exists", None))
        else:
            raise BadSelector(f"unable to parse requirement: found '{rest}'")
        rest = rest[match.end():].lstrip()
        if rest:
            if not rest.startswith(","):
                raise BadSelector(f"unable to parse requirement: found '{rest}', expected: ',' or 'end of string'")
            rest = rest[1:].lstrip()
            if not rest:
                raise BadSelector("unable to parse requirement: found '', expected: identifier after ','")
    return lambda labels: all(_holds(labels.get(key), op, want) for key, op, want in checks)


def _holds(value, op, want) -> bool:
    match op:
        case "=":
            return value == want
        case "!=":
            return value != want
        case "in":
            return value in want
        case "notin":
            return value not in want
        case "exists":
            return value is not None
        case "absent":
            return value is None
    try:
        return int(value) > int(want) if op == ">" else int(value) < int(want)
    except (TypeError, ValueError):
        return False


_FIELDS = {
    "Pod": ["spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName",
            "spec.hostNetwork", "status.phase", "status.podIP", "status.nominatedNodeName"],
    "Node": ["spec.unschedulable"],
    "Namespace": ["status.phase"],
}


def field_selector(text: str, resource: Resource):
    """A function object -> bool. BadSelector for an unknown field."""
    known = ["metadata.name", *_FIELDS.get(resource.kind, [])]
    if resource.namespaced:
        known.append("metadata.namespace")
    checks = []
    for term in filter(None, text.split(",")):
        match = re.fullmatch(r"([^=!]+)(==|!=|=)(.*)", term)
        if not match:
            raise BadSelector(f"invalid selector: '{text}'; can't understand '{term}'")
        if match[1] not in known:
            raise BadSelector(f"field label not supported: {match[1]}")
        checks.append((match[1].split("."), match[2] == "!=", match[3]))

    def matches(item) -> bool:
        return all((_field(item, path) == want) != negated for path, negated, want in checks)

    return matches


def _field(item: dict, path: list[str]) -> str:
    value = item
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    if path[-1] in ("hostNetwork", "unschedulable"):
        return "true" if value else "false"
    return "" if value is None else str(value)
