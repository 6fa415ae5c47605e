# SPDX-License-Identifier: Apache-2.0
"""What Kubernetes discovery makes of the objects: the labels before relabelling, in other code.

Each function returns the label set of each target, `__address__` included and empty labels left out.
"""

import re


def pod_targets(pod: dict) -> list[dict]:
    ip = pod["status"].get("podIP")
    if not ip:
        return []
    targets = []
    for init, specs, statuses in ((False, "containers", "containerStatuses"),
                                  (True, "initContainers", "initContainerStatuses")):
        ids = {s["name"]: s.get("containerID", "") for s in pod["status"].get(statuses, [])}
        for container in pod["spec"].get(specs, []):
            own = {**_pod_labels(pod), "pod_container_id": ids.get(container["name"], "")}
            for port in container.get("ports") or [None]:
                labels = own | _container_labels(container, init, port)
                targets.append(_target(pod, _address(ip, port and port["containerPort"]), labels))
    return targets


def node_targets(node: dict) -> list[dict]:
    status, addresses = node["status"], {}
    for one in status["addresses"]:
        addresses.setdefault(one["type"], one["address"])
    order = ("InternalIP", "InternalDNS", "ExternalIP", "ExternalDNS", "LegacyHostIP", "Hostname")
    chosen = next((addresses[kind] for kind in order if kind in addresses), None)
    if chosen is None:
        return []
    labels = {**_meta("node", node), "instance": node["metadata"]["name"],
              "node_provider_id": node["spec"].get("providerID", "")}
    labels |= {f"node_condition_{c['type'].lower()}": c["status"].lower() for c in status["conditions"]}
    labels |= {f"node_address_{kind}": address for kind, address in addresses.items()}
    return [_target(node, _address(chosen, status["daemonEndpoints"]["kubeletEndpoint"]["Port"]), labels)]


def service_targets(service: dict) -> list[dict]:
    meta, spec = service["metadata"], service["spec"]
    own = {"type": spec["type"]}
    if spec["type"] == "ExternalName":
        own["external_name"] = spec["externalName"]
    else:
        own["cluster_ip"] = spec["clusterIP"]
    return [_target(service, f"{meta['name']}.{meta['namespace']}.svc:{port['port']}",
                    {**_meta("service", service), **_all("service", own), "service_port_name": port["name"],
                     "service_port_number": str(port["port"]), "service_port_protocol": port["protocol"]})
            for port in spec["ports"]]


def ingress_targets(ingress: dict) -> list[dict]:
    spec, targets = ingress["spec"], []
    secure = [host for tls in spec.get("tls", []) for host in tls.get("hosts", [])]
    for rule in spec["rules"]:
        host = rule["host"]
        scheme = "https" if any(_covers(pattern, host) for pattern in secure) else "http"
        for path in (rule.get("http") or {}).get("paths") or [{}]:
            own = {"host": host, "path": path.get("path") or "/", "scheme": scheme,
                   "class_name": spec.get("ingressClassName", "")}
            targets.append(_target(ingress, host, {**_meta("ingress", ingress), **_all("ingress", own)}))
    return targets


def _covers(pattern: str, host: str) -> bool:
    if pattern == host:
        return True
    return pattern.startswith("*.") and "." in host and pattern[2:] == host.split(".", 1)[1]


def endpoints_targets(endpoints: dict, services: list[dict], pods: list[dict]) -> list[dict]:
    common = {**_meta("endpoints", endpoints), **_service_of(endpoints, endpoints["metadata"]["name"], services)}
    entries = []
    for subset in endpoints["subsets"]:
        for port in subset["ports"]:
            for ready, key in (("true", "addresses"), ("false", "notReadyAddresses")):
                for address in subset.get(key, []):
                    ref = address.get("targetRef") or {}
                    own = {"ready": ready, "port_name": port.get("name", ""), "port_protocol": port["protocol"],
                           "node_name": address.get("nodeName", ""), "hostname": address.get("hostname", ""),
                           "address_target_kind": ref.get("kind", ""), "address_target_name": ref.get("name", "")}
                    entries.append((address["ip"], port["port"], port["protocol"], ref, _all("endpoint", own)))
    return _with_pods(endpoints, common, entries, pods)


def endpointslice_targets(piece: dict, services: list[dict], pods: list[dict]) -> list[dict]:
    name = piece["metadata"]["labels"]["kubernetes.io/service-name"]
    common = {**_meta("endpointslice", piece), "endpointslice_address_type": piece["addressType"],
              **_service_of(piece, name, services)}
    entries = []
    for port in piece["ports"]:
        for endpoint in piece["endpoints"]:
            for address in endpoint["addresses"]:
                ref = endpoint.get("targetRef") or {}
                own = {"port": str(port["port"]), "port_name": port.get("name", ""), "port_protocol": port["protocol"],
                       "port_app_protocol": port.get("appProtocol", ""),
                       "endpoint_hostname": endpoint.get("hostname", ""),
                       "endpoint_node_name": endpoint.get("nodeName", ""), "endpoint_zone": endpoint.get("zone", ""),
                       "address_target_kind": ref.get("kind", ""), "address_target_name": ref.get("name", "")}
                own |= {f"endpoint_conditions_{kind}": "true" if value else "false"
                        for kind, value in endpoint.get("conditions", {}).items()}
                entries.append((address, port["port"], port["protocol"], ref, _all("endpointslice", own)))
    return _with_pods(piece, common, entries, pods)


def _with_pods(owner: dict, common: dict, entries: list, pods: list[dict]) -> list[dict]:
    """A target per entry, with its pod's labels; then the pods' container ports no entry had."""
    known = {p["metadata"]["name"]: p for p in pods if p["metadata"]["namespace"] == owner["metadata"]["namespace"]}
    targets, seen = [], {}
    for ip, number, protocol, ref, own in entries:
        pod = known.get(ref.get("name")) if ref.get("kind") == "Pod" else None
        labels = {**common, **own}
        if pod:
            seen.setdefault(ref["name"], set()).add(number)
            labels |= _pod_labels(pod)
            for container, init, port in _container_ports(pod):
                if port["containerPort"] == number:
                    labels |= _container_labels(container, init, {**port, "protocol": protocol})
        targets.append(_target(owner, _address(ip, number), labels))
    for name, numbers in seen.items():
        pod = known[name]
        for container, init, port in _container_ports(pod):
            if port["containerPort"] not in numbers and pod["status"].get("podIP"):
                labels = {**common, **_pod_labels(pod), **_container_labels(container, init, port)}
                targets.append(_target(owner, _address(pod["status"]["podIP"], port["containerPort"]), labels))
    return targets


def _container_ports(pod: dict):
    for init, key in ((False, "containers"), (True, "initContainers")):
        for container in pod["spec"].get(key, []):
            for port in container.get("ports", []):
                yield container, init, port


def _container_labels(container: dict, init: bool, port: dict | None) -> dict:
    return _all("pod_container", {"name": container["name"], "image": container["image"],
                                  "init": "true" if init else "false", **_port_labels(port)})


def _service_of(owner: dict, name: str, services: list[dict]) -> dict:
    for service in services:
        if (service["metadata"]["namespace"], service["metadata"]["name"]) == (owner["metadata"]["namespace"], name):
            return _meta("service", service)
    return {}


def _address(ip: str, port: int | None) -> str:
    if port is None:
        return ip
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def _port_labels(port: dict | None) -> dict:
    if port is None:
        return {}
    return {"port_name": port.get("name", ""), "port_number": str(port["containerPort"]),
            "port_protocol": port.get("protocol", "TCP")}


def _pod_labels(pod: dict) -> dict:
    meta, spec, status = pod["metadata"], pod["spec"], pod["status"]
    ready = next((c["status"].lower() for c in status.get("conditions", []) if c["type"] == "Ready"), "unknown")
    own = {"ip": status["podIP"], "ready": ready, "phase": status["phase"], "node_name": spec.get("nodeName", ""),
           "host_ip": status.get("hostIP", ""), "uid": meta["uid"]}
    for owner in meta.get("ownerReferences", []):
        if owner.get("controller"):
            own |= {"controller_kind": owner["kind"], "controller_name": owner["name"]}
    return {**_meta("pod", pod), **_all("pod", own)}


def _meta(role: str, item: dict) -> dict:
    """Name, labels and annotations of an object."""
    meta = item["metadata"]
    labels = {f"{role}_name": meta["name"]}
    for kind, of in (("label", meta.get("labels") or {}), ("annotation", meta.get("annotations") or {})):
        for name, value in of.items():
            clean = re.sub(r"[^A-Za-z0-9_]", "_", name)
            labels |= {f"{role}_{kind}_{clean}": value, f"{role}_{kind}present_{clean}": "true"}
    return labels


def _all(prefix: str, labels: dict) -> dict:
    return {f"{prefix}_{name}": value for name, value in labels.items()}


def _target(item: dict, address: str, labels: dict) -> dict:
    namespace = item["metadata"].get("namespace", "")
    labels = {**labels, "namespace": namespace}
    named = {name if name == "instance" else "__meta_kubernetes_" + name: value for name, value in labels.items()}
    return {"__address__": address, **{name: value for name, value in named.items() if value}}
