# SPDX-License-Identifier: Apache-2.0
"""Kubernetes objects as a real API server returns them: complete, large, with managed fields."""

import uuid


def pod(name: str, ip: str = "", *, namespace: str = "default", labels: dict | None = None,
        annotations: dict | None = None, containers: list | None = None,
        init_containers: list | None = None, phase: str = "Running", ready: bool = True,
        node: str = "node-1", host_ip: str = "127.0.0.1", host_network: bool = False,
        controller: tuple | None = ("ReplicaSet", "app-7d4b9c6f5")) -> dict:
    """A pod of about 10 kB.

    A container is (name, ports[, options]); a port is a number or (number, name[, protocol]);
    options {"restartPolicy": "Always"} make an init container a sidecar. `ip` empty: none yet.
    """
    containers = containers if containers is not None else [("app", [8080])]
    specs = [_container(*one) for one in containers]
    inits = [_container(*one) for one in init_containers or []]
    meta = {
        "name": name,
        "generateName": f"{name.rsplit('-', 1)[0]}-",
        "namespace": namespace,
        "labels": {"app": "app", "pod-template-hash": "7d4b9c6f5", **(labels or {})},
        "managedFields": _managed_fields(len(specs)),
    }
    if labels == {}:
        meta["labels"] = {}
    if annotations:
        meta["annotations"] = dict(annotations)
    if controller:
        kind, owner = controller
        meta["ownerReferences"] = [{"apiVersion": "apps/v1", "kind": kind, "name": owner,
                                    "uid": _uid(owner), "controller": True,
                                    "blockOwnerDeletion": True}]
    spec = {
        "volumes": [_token_volume("kube-api-access-x7k2p"),
                    {"name": "config", "configMap": {"name": f"{name}-config", "defaultMode": 420}}],
        "containers": specs,
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "serviceAccountName": "default",
        "serviceAccount": "default",
        "nodeName": node,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "affinity": _affinity(),
        "schedulerName": "default-scheduler",
        "tolerations": [{"key": f"node.kubernetes.io/{why}", "operator": "Exists",
                         "effect": "NoExecute", "tolerationSeconds": 300}
                        for why in ("not-ready", "unreachable")],
        "priority": 0,
        "enableServiceLinks": True,
        "preemptionPolicy": "PreemptLowerPriority",
    }
    if inits:
        spec["initContainers"] = inits
    if host_network:
        spec["hostNetwork"] = True
    running = phase == "Running"
    status = {
        "phase": phase,
        "conditions": [_condition("PodReadyToStartContainers", True), _condition("Initialized", True),
                       _condition("Ready", ready and running),
                       _condition("ContainersReady", ready and running),
                       _condition("PodScheduled", True)],
        "hostIP": host_ip,
        "hostIPs": [{"ip": host_ip}],
        "startTime": "2026-01-02T03:04:06Z",
        "containerStatuses": [_status(one, ready and running, phase) for one in specs],
        "qosClass": "Burstable",
    }
    if inits:
        status["initContainerStatuses"] = [_status(one, True, "Succeeded") for one in inits]
    if ip:
        status["podIP"] = ip
        status["podIPs"] = [{"ip": ip}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec, "status": status}


def node(name: str, ip: str = "127.0.0.1", labels: dict | None = None, port: int = 10250,
         addresses: list | None = None) -> dict:
    return {
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name,
                     "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux",
                                "kubernetes.io/arch": "amd64", **(labels or {})},
                     "annotations": {"node.alpha.kubernetes.io/ttl": "0"},
                     "managedFields": _managed_fields(1)},
        "spec": {"podCIDR": "10.244.0.0/24", "providerID": f"test://zone-a/{name}"},
        "status": {
            "capacity": {"cpu": "4", "memory": "16384256Ki", "pods": "110"},
            "allocatable": {"cpu": "3920m", "memory": "15360256Ki", "pods": "110"},
            "conditions": [_condition("MemoryPressure", False), _condition("DiskPressure", False),
                           _condition("PIDPressure", False), _condition("Ready", True)],
            "addresses": addresses if addresses is not None else [
                {"type": "InternalIP", "address": ip}, {"type": "Hostname", "address": name}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
            "nodeInfo": {"kernelVersion": "6.1.0-28-amd64", "osImage": "Debian GNU/Linux 12",
                         "containerRuntimeVersion": "containerd://1.7.24", "kubeletVersion": "v1.34.2",
                         "operatingSystem": "linux", "architecture": "amd64"},
            "images": [{"names": [f"registry.example/image-{i}:1.{i}"], "sizeBytes": 12345678 + i}
                       for i in range(20)],
        },
    }


def namespace(name: str, labels: dict | None = None) -> dict:
    return {"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name, **(labels or {})}},
            "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}


def service(name: str, ports: list, *, namespace: str = "default", annotations: dict | None = None,
            selector: dict | None = None, cluster_ip: str = "10.96.7.7") -> dict:
    """Ports are (number, name[, protocol])."""
    meta = {"name": name, "namespace": namespace, "labels": {"app": name}}
    if annotations:
        meta["annotations"] = dict(annotations)
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta,
            "spec": {"type": "ClusterIP", "clusterIP": cluster_ip, "clusterIPs": [cluster_ip],
                     "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
                     "selector": selector or {"app": name},
                     "ports": [{"name": p[1], "port": p[0], "targetPort": p[0],
                                "protocol": p[2] if len(p) > 2 else "TCP"} for p in ports]},
            "status": {"loadBalancer": {}}}


def external_service(name: str, target: str, ports: list, namespace: str = "default") -> dict:
    made = service(name, ports, namespace=namespace)
    made["spec"] = {"type": "ExternalName", "externalName": target, "ports": made["spec"]["ports"]}
    return made


def endpoints(name: str, pods: list, ports: list, *, namespace: str = "default", not_ready: tuple = (),
              others: tuple = ()) -> dict:
    """Of these pods (objects), those named in `not_ready` apart, and of bare addresses in `others`."""
    ready, waiting = [], []
    for one in pods:
        address = {"ip": one["status"]["podIP"], "nodeName": one["spec"]["nodeName"], "targetRef": _ref(one)}
        (waiting if one["metadata"]["name"] in not_ready else ready).append(address)
    subset: dict = {"ports": [{"name": n, "port": number, "protocol": "TCP"} for number, n in ports]}
    if ready or others:
        subset["addresses"] = ready + [{"ip": ip, "hostname": f"host-{i}"} for i, ip in enumerate(others)]
    if waiting:
        subset["notReadyAddresses"] = waiting
    return {"apiVersion": "v1", "kind": "Endpoints",
            "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}}, "subsets": [subset]}


def endpointslice(name: str, service_name: str, pods: list, ports: list, *, namespace: str = "default",
                  not_ready: tuple = ()) -> dict:
    listed = [{"addresses": [one["status"]["podIP"]], "nodeName": one["spec"]["nodeName"], "zone": "zone-a",
               "conditions": {"ready": one["metadata"]["name"] not in not_ready, "serving": True,
                              "terminating": False},
               "targetRef": _ref(one)} for one in pods]
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": name, "namespace": namespace,
                         "labels": {"kubernetes.io/service-name": service_name,
                                    "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}},
            "endpoints": listed,
            "ports": [{"name": n, "port": number, "protocol": "TCP"} for number, n in ports]}


def ingress(name: str, rules: list, *, namespace: str = "default", tls: tuple = (), class_name: str = "") -> dict:
    """Rules are (host, paths)."""
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    spec: dict = {"rules": []}
    for host, paths in rules:
        rule: dict = {"host": host}
        if paths:
            rule["http"] = {"paths": [{"path": path, "pathType": "Prefix", "backend": backend} for path in paths]}
        spec["rules"].append(rule)
    if tls:
        spec["tls"] = [{"hosts": list(tls), "secretName": "cert"}]
    if class_name:
        spec["ingressClassName"] = class_name
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
            "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}}, "spec": spec}


def _ref(one: dict) -> dict:
    return {"kind": "Pod", "namespace": one["metadata"]["namespace"], "name": one["metadata"]["name"]}


def secret(name: str, namespace: str = "default") -> dict:
    return {"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": {"name": name, "namespace": namespace}, "data": {"password": "aHVudGVyMg=="}}


def _uid(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, name))


def _container(name: str, ports: list, options: dict | None = None) -> dict:
    spec = {
        "name": name,
        "image": f"registry.example/team/{name}:1.4.2",
        "args": ["--log.level=info", "--config.file=/etc/config/config.yaml", '--motto=say "hi" \\ {}'],
        "env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}}}]
        + [{"name": f"SETTING_{i}", "value": f"värde {i} ☃ \"quoted\" \\n [{{}}]"} for i in range(16)],
        "resources": {"limits": {"memory": "256Mi"}, "requests": {"cpu": "100m", "memory": "128Mi"}},
        "volumeMounts": [{"name": "config", "mountPath": "/etc/config"},
                         {"name": "kube-api-access-x7k2p", "readOnly": True,
                          "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}],
        "livenessProbe": _probe("/healthz"),
        "readinessProbe": _probe("/ready"),
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "IfNotPresent",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        **(options or {}),
    }
    if ports:
        spec["ports"] = [_port(port) for port in ports]
    return spec


def _port(port) -> dict:
    number, name, protocol = (*port, "TCP")[:3] if isinstance(port, (tuple, list)) else (port, "", "TCP")
    made = {"containerPort": number, "protocol": protocol}
    if name:
        made["name"] = name
    return made


def _probe(path: str) -> dict:
    return {"httpGet": {"path": path, "port": 8080, "scheme": "HTTP"}, "initialDelaySeconds": 5,
            "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}


def _status(container: dict, ready: bool, phase: str) -> dict:
    name = container["name"]
    if phase in ("Succeeded", "Failed"):
        state = {"terminated": {"exitCode": 0 if phase == "Succeeded" else 1, "reason": "Completed",
                                "startedAt": "2026-01-02T03:04:07Z", "finishedAt": "2026-01-02T03:05:07Z"}}
    elif phase == "Pending":
        state = {"waiting": {"reason": "ContainerCreating"}}
    else:
        state = {"running": {"startedAt": "2026-01-02T03:04:07Z"}}
    return {"name": name, "state": state, "lastState": {}, "ready": ready, "restartCount": 0,
            "image": container["image"],
            "imageID": f"registry.example/team/{name}@sha256:{_uid(name).replace('-', '') * 2}",
            "containerID": f"containerd://{_uid('c' + name).replace('-', '') * 2}", "started": ready}


def _condition(kind: str, value: bool) -> dict:
    return {"type": kind, "status": "True" if value else "False", "lastProbeTime": None,
            "lastTransitionTime": "2026-01-02T03:04:07Z"}


def _token_volume(name: str) -> dict:
    return {"name": name, "projected": {"defaultMode": 420, "sources": [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {
            "apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}}]}}


def _affinity() -> dict:
    term = {"labelSelector": {"matchLabels": {"app": "app"}}, "topologyKey": "kubernetes.io/hostname"}
    return {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 100, "podAffinityTerm": term}]}}


def _managed_fields(containers: int) -> list:
    """The bulk of a real object: who set which field."""
    leaf: dict = {}
    fields = {"f:" + key: leaf for key in
              ("args", "image", "imagePullPolicy", "name", "resources", "terminationMessagePath",
               "terminationMessagePolicy", "securityContext")}
    fields["f:env"] = {f'k:{{"name":"SETTING_{i}"}}': {".": leaf, "f:name": leaf, "f:value": leaf}
                       for i in range(16)}
    for probe in ("livenessProbe", "readinessProbe"):
        fields["f:" + probe] = {"f:" + key: leaf for key in
                                ("failureThreshold", "periodSeconds", "successThreshold", "timeoutSeconds")}
    fields["f:ports"] = {'k:{"containerPort":8080,"protocol":"TCP"}': {
        ".": leaf, "f:containerPort": leaf, "f:name": leaf, "f:protocol": leaf}}
    spec = {"f:containers": {f'k:{{"name":"c{i}"}}': fields for i in range(containers)},
            "f:dnsPolicy": leaf, "f:restartPolicy": leaf, "f:schedulerName": leaf}
    conditions = {f'k:{{"type":"{kind}"}}': {".": leaf, "f:lastProbeTime": leaf,
                                             "f:lastTransitionTime": leaf, "f:status": leaf, "f:type": leaf}
                  for kind in ("ContainersReady", "Initialized", "Ready")}
    status = {"f:status": {"f:conditions": conditions, "f:hostIP": leaf, "f:phase": leaf, "f:podIP": leaf,
                           "f:podIPs": {".": leaf}, "f:startTime": leaf}}
    return [{"manager": "kube-controller-manager", "operation": "Update", "apiVersion": "v1",
             "time": "2026-01-02T03:04:05Z", "fieldsType": "FieldsV1",
             "fieldsV1": {"f:metadata": {"f:generateName": leaf, "f:labels": {".": leaf, "f:app": leaf}},
                          "f:spec": spec}},
            {"manager": "kubelet", "operation": "Update", "apiVersion": "v1",
             "time": "2026-01-02T03:04:08Z", "fieldsType": "FieldsV1", "fieldsV1": status,
             "subresource": "status"}]
