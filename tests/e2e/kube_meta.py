# SPDX-License-Identifier: Apache-2.0
"""What Kubernetes pod discovery makes of a pod: the labels before relabelling, in other code."""

import re


def pod_targets(pod: dict) -> list[dict]:
    """The label set of each target of a pod, `__address__` included, in order."""
    ip = pod["status"].get("podIP")
    if not ip:
        return []
    targets = []
    for init, specs, statuses in ((False, "containers", "containerStatuses"),
                                  (True, "initContainers", "initContainerStatuses")):
        ids = {s["name"]: s.get("containerID", "") for s in pod["status"].get(statuses, [])}
        for container in pod["spec"].get(specs, []):
            own = {"container_name": container["name"], "container_image": container["image"],
                   "container_init": "true" if init else "false"}
            if ids.get(container["name"]):
                own["container_id"] = ids[container["name"]]
            for port in container.get("ports") or [None]:
                targets.append(_prefixed({**_pod_labels(pod), **own, **_port_labels(port)})
                               | {"__meta_kubernetes_namespace": pod["metadata"]["namespace"],
                                  "__address__": _address(ip, port)})
    return targets


def _address(ip: str, port: dict | None) -> str:
    if port is None:
        return ip
    return f"[{ip}]:{port['containerPort']}" if ":" in ip else f"{ip}:{port['containerPort']}"


def _port_labels(port: dict | None) -> dict:
    if port is None:
        return {}
    return {"container_port_name": port.get("name", ""),
            "container_port_number": str(port["containerPort"]),
            "container_port_protocol": port.get("protocol", "TCP")}


def _pod_labels(pod: dict) -> dict:
    meta, spec, status = pod["metadata"], pod["spec"], pod["status"]
    ready = next((c["status"].lower() for c in status.get("conditions", []) if c["type"] == "Ready"), "unknown")
    labels = {"name": meta["name"], "ip": status["podIP"], "ready": ready, "phase": status["phase"],
              "node_name": spec.get("nodeName", ""), "host_ip": status.get("hostIP", ""),
              "uid": meta["uid"]}
    for owner in meta.get("ownerReferences", []):
        if owner.get("controller"):
            labels |= {"controller_kind": owner["kind"], "controller_name": owner["name"]}
    for kind, of in (("label", meta.get("labels") or {}), ("annotation", meta.get("annotations") or {})):
        for name, value in of.items():
            clean = re.sub(r"[^A-Za-z0-9_]", "_", name)
            labels[f"{kind}_{clean}"] = value
            labels[f"{kind}present_{clean}"] = "true"
    return labels


def _prefixed(labels: dict) -> dict:
    return {"__meta_kubernetes_pod_" + name: value for name, value in labels.items()}
