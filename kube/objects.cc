// SPDX-License-Identifier: Apache-2.0
//
// The table of resources.
#include "kube/objects.h"

#include "model/check.h"

namespace varve {
namespace {

constexpr KubeResourceInfo kResources[] = {
    {"Pod", "pod", "/api/v1", "pods", true},
    {"Node", "node", "/api/v1", "nodes", false},
    {"Namespace", "namespace", "/api/v1", "namespaces", false},
    {"Service", "service", "/api/v1", "services", true},
    {"Endpoints", "endpoints", "/api/v1", "endpoints", true},
    {"EndpointSlice", "endpointslice", "/apis/discovery.k8s.io/v1", "endpointslices", true},
    {"Ingress", "ingress", "/apis/networking.k8s.io/v1", "ingresses", true},
    {"ReplicaSet", "replicaset", "/apis/apps/v1", "replicasets", true},
    {"Job", "job", "/apis/batch/v1", "jobs", true},
};

}  // namespace

const KubeResourceInfo& ResourceInfoOf(KubeResource resource) {
  const auto index = static_cast<size_t>(resource);
  INVARIANT(index < std::size(kResources));
  return kResources[index];
}

std::string KubeObject::Key() const {
  return metadata.namespace_.empty() ? metadata.name : metadata.namespace_ + "/" + metadata.name;
}

}  // namespace varve
