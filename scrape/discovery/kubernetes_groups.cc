// SPDX-License-Identifier: Apache-2.0
//
// One builder for all roles: they share the labels of metadata, pods and nodes.
#include "scrape/discovery/kubernetes_groups.h"

#include <absl/container/flat_hash_set.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "model/check.h"
#include "scrape/discovery/target_labels.h"
#include "scrape/target.h"

namespace varve {
namespace {

constexpr std::string_view kPrefix = "__meta_kubernetes_";
constexpr std::string_view kServiceNameLabel = "kubernetes.io/service-name";

using LabelPairs = std::vector<std::pair<std::string, std::string>>;

std::string Lowered(std::string_view text) {
  std::string lowered(text);
  for (char& c : lowered) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  return lowered;
}

void Add(LabelPairs& pairs, std::string_view name, std::string_view value) {
  pairs.emplace_back(fmt::format("{}{}", kPrefix, name), std::string(value));
}

void AddIfAny(LabelPairs& pairs, std::string_view name, std::string_view value) {
  if (!value.empty()) Add(pairs, name, value);
}

void AddAddress(LabelPairs& pairs, std::string address) {
  pairs.emplace_back(std::string(kAddressLabel), std::move(address));
}

// Labels and annotations of an object, as every role shows them.
void AddMetadata(LabelPairs& pairs, std::string_view role, const ObjectMeta& metadata) {
  for (const auto& [name, value] : metadata.labels) {
    const std::string sanitized = SanitizedLabelName(name);
    Add(pairs, fmt::format("{}_label_{}", role, sanitized), value);
    Add(pairs, fmt::format("{}_labelpresent_{}", role, sanitized), "true");
  }
  for (const auto& [name, value] : metadata.annotations) {
    const std::string sanitized = SanitizedLabelName(name);
    Add(pairs, fmt::format("{}_annotation_{}", role, sanitized), value);
    Add(pairs, fmt::format("{}_annotationpresent_{}", role, sanitized), "true");
  }
}

void AddNamed(LabelPairs& pairs, std::string_view role, const ObjectMeta& metadata) {
  Add(pairs, fmt::format("{}_name", role), metadata.name);
  AddMetadata(pairs, role, metadata);
}

const OwnerReference* ControllerOf(const ObjectMeta& metadata) {
  for (const OwnerReference& owner : metadata.owner_references) {
    if (owner.controller) return &owner;
  }
  return nullptr;
}

std::string KeyBeside(const KubeObject& object, const std::string& name) {
  return object.metadata.namespace_ + "/" + name;
}

std::string PodReady(const Pod& pod) {
  for (const KubeCondition& condition : pod.conditions) {
    if (condition.type == "Ready") return Lowered(condition.status);
  }
  return "unknown";
}

struct ContainerWithPort {
  const Container& container;
  bool init;
  const ContainerPort& port;
};

// Calls visit(ContainerWithPort) for each port of each container, those of init containers last.
template <typename Visit>
void EachContainerPort(const Pod& pod, Visit visit) {
  for (const bool init : {false, true}) {
    for (const Container& container : init ? pod.init_containers : pod.containers) {
      for (const ContainerPort& port : container.ports) {
        visit(ContainerWithPort{container, init, port});
      }
    }
  }
}

void AddContainer(LabelPairs& pairs, const Container& container, bool init) {
  Add(pairs, "pod_container_name", container.name);
  Add(pairs, "pod_container_image", container.image);
  Add(pairs, "pod_container_init", init ? "true" : "false");
}

void AddContainerPort(LabelPairs& pairs, const ContainerPort& port, std::string_view protocol) {
  Add(pairs, "pod_container_port_number", std::to_string(port.container_port));
  Add(pairs, "pod_container_port_name", port.name);
  Add(pairs, "pod_container_port_protocol", protocol);
}

// The address a node is reached at: the first of the preferred type that it has.
const NodeAddress* PreferredAddress(const Node& node) {
  for (const std::string_view type :
       {"InternalIP", "InternalDNS", "ExternalIP", "ExternalDNS", "LegacyHostIP", "Hostname"}) {
    for (const NodeAddress& address : node.addresses) {
      if (address.type == type) return &address;
    }
  }
  return nullptr;
}

// Whether a host of an ingress is one that its TLS section names: "*.example.com" stands for
// exactly one more part.
bool CoversHost(std::string_view pattern, std::string_view host) {
  if (pattern == host) return true;
  if (!pattern.starts_with("*.")) return false;
  const size_t dot = host.find('.');
  return dot != std::string_view::npos && dot > 0 && host.substr(dot) == pattern.substr(1);
}

// Makes the group of one object.
class GroupBuilder {
 public:
  GroupBuilder(const KubernetesSdConfig& config, const KubeObject& object, KubernetesFinder find)
      : config_(config), object_(object), find_(find) {
    group_.source = KubernetesGroupSource(config.role, object);
    AddIfAny(common_, "namespace", object.metadata.namespace_);
  }

  TargetGroup Build() {
    AddNamed(common_, KubernetesRoleText(config_.role), object_.metadata);
    switch (config_.role) {
      case KubernetesRole::kPod:
        BuildPod();
        break;
      case KubernetesRole::kNode:
        BuildNode();
        break;
      case KubernetesRole::kService:
        BuildService();
        break;
      case KubernetesRole::kEndpoints:
      case KubernetesRole::kEndpointSlice:
        BuildEndpoints();
        break;
      case KubernetesRole::kIngress:
        BuildIngress();
        break;
    }
    if (!group_.targets.empty()) {
      AttachNamespace();
      group_.labels = Labels::FromPairs(std::move(common_));
    }
    return std::move(group_);
  }

 private:
  void AddTarget(LabelPairs pairs) {
    group_.targets.push_back(Labels::FromPairs(std::move(pairs)));
  }

  void AttachNamespace() {
    if (!config_.attach_namespace) return;
    const KubeObject* const found = find_(KubeResource::kNamespace, object_.metadata.namespace_);
    if (found != nullptr) AddMetadata(common_, "namespace", found->metadata);
  }

  // False if the node is not known.
  bool AttachNode(LabelPairs& pairs, const std::string& name) {
    const KubeObject* const node = find_(KubeResource::kNode, name);
    if (node == nullptr) return false;
    AddNamed(pairs, "node", node->metadata);
    return true;
  }

  // What made the pod, through the controllers between.
  void AttachOwners(LabelPairs& pairs, const KubeObject& pod) {
    const OwnerReference* const owner = ControllerOf(pod.metadata);
    if (owner == nullptr) return;
    if (config_.attach_job && owner->kind == "Job") Add(pairs, "pod_job_name", owner->name);
    const auto attach = [&](bool wanted, std::string_view kind, KubeResource between,
                            std::string_view maker, std::string_view label) {
      if (!wanted || owner->kind != kind) return;
      const KubeObject* const found = find_(between, KeyBeside(pod, owner->name));
      if (found == nullptr) return;
      const OwnerReference* const above = ControllerOf(found->metadata);
      if (above != nullptr && above->kind == maker) Add(pairs, label, above->name);
    };
    attach(config_.attach_deployment, "ReplicaSet", KubeResource::kReplicaSet, "Deployment",
           "pod_deployment_name");
    attach(config_.attach_cronjob, "Job", KubeResource::kJob, "CronJob", "pod_cronjob_name");
  }

  void AddPod(LabelPairs& pairs, const KubeObject& object, const Pod& pod) {
    Add(pairs, "pod_ip", pod.pod_ip);
    Add(pairs, "pod_ready", PodReady(pod));
    Add(pairs, "pod_phase", pod.phase);
    Add(pairs, "pod_node_name", pod.node_name);
    Add(pairs, "pod_host_ip", pod.host_ip);
    Add(pairs, "pod_uid", object.metadata.uid);
    if (const OwnerReference* const owner = ControllerOf(object.metadata)) {
      Add(pairs, "pod_controller_kind", owner->kind);
      Add(pairs, "pod_controller_name", owner->name);
    }
    AttachOwners(pairs, object);
  }

  void BuildPod() {
    const Pod* const pod = object_.pod();
    // A pod that is starting or was evicted has no address.
    if (pod == nullptr || pod->pod_ip.empty()) return;
    AddPod(common_, object_, *pod);
    // A selector on nodes also selects the pods on them.
    if (config_.attach_node && !AttachNode(common_, pod->node_name) &&
        SelectorOf(config_, KubernetesRole::kNode) != nullptr) {
      return;
    }
    for (const Container& container : pod->containers) {
      AddPodTargets(*pod, container, pod->container_statuses, false);
    }
    for (const Container& container : pod->init_containers) {
      AddPodTargets(*pod, container, pod->init_container_statuses, true);
    }
  }

  void AddPodTargets(const Pod& pod, const Container& container,
                     const std::vector<ContainerStatus>& statuses, bool init) {
    LabelPairs shared;
    AddContainer(shared, container, init);
    for (const ContainerStatus& status : statuses) {
      if (status.name == container.name) Add(shared, "pod_container_id", status.container_id);
    }
    if (container.ports.empty()) {
      AddAddress(shared, pod.pod_ip);
      return AddTarget(std::move(shared));
    }
    for (const ContainerPort& port : container.ports) {
      LabelPairs pairs = shared;
      AddAddress(pairs, JoinHostPort(pod.pod_ip, port.container_port));
      AddContainerPort(pairs, port, port.protocol);
      AddTarget(std::move(pairs));
    }
  }

  void BuildNode() {
    const Node* const node = object_.node();
    const NodeAddress* const address = node == nullptr ? nullptr : PreferredAddress(*node);
    if (address == nullptr) return;
    Add(common_, "node_provider_id", node->provider_id);
    for (const KubeCondition& condition : node->conditions) {
      Add(common_, SanitizedLabelName("node_condition_" + Lowered(condition.type)),
          Lowered(condition.status));
    }
    LabelPairs target;
    AddAddress(target, JoinHostPort(address->address, node->kubelet_port));
    target.emplace_back(std::string(kInstanceLabel), object_.metadata.name);
    // Of several addresses of one type the first is shown.
    for (auto each = node->addresses.rbegin(); each != node->addresses.rend(); ++each) {
      Add(target, SanitizedLabelName("node_address_" + each->type), each->address);
    }
    AddTarget(std::move(target));
  }

  void BuildService() {
    const Service* const service = object_.service();
    if (service == nullptr) return;
    const std::string host =
        fmt::format("{}.{}.svc", object_.metadata.name, object_.metadata.namespace_);
    for (const ServicePort& port : service->ports) {
      LabelPairs pairs;
      AddAddress(pairs, JoinHostPort(host, port.port));
      Add(pairs, "service_port_name", port.name);
      Add(pairs, "service_port_number", std::to_string(port.port));
      Add(pairs, "service_port_protocol", port.protocol);
      Add(pairs, "service_type", service->type);
      if (service->type == "ExternalName") {
        Add(pairs, "service_external_name", service->external_name);
      } else {
        Add(pairs, "service_cluster_ip", service->cluster_ip);
      }
      if (service->type == "LoadBalancer") {
        const std::vector<std::string>& ips = service->load_balancer_ingress_ips;
        Add(pairs, "service_loadbalancer_ip",
            ips.empty() ? service->load_balancer_ip : fmt::format("{}", fmt::join(ips, ",")));
      }
      AddTarget(std::move(pairs));
    }
  }

  void BuildIngress() {
    const Ingress* const ingress = object_.ingress();
    if (ingress == nullptr) return;
    AddIfAny(common_, "ingress_class_name", ingress->class_name);
    for (const IngressRule& rule : ingress->rules) {
      const bool secure =
          std::any_of(ingress->tls_hosts.begin(), ingress->tls_hosts.end(),
                      [&](const std::string& pattern) { return CoversHost(pattern, rule.host); });
      const auto add = [&](std::string_view path) {
        LabelPairs pairs;
        AddAddress(pairs, rule.host);
        Add(pairs, "ingress_scheme", secure ? "https" : "http");
        Add(pairs, "ingress_host", rule.host);
        Add(pairs, "ingress_path", path.empty() ? "/" : path);
        AddTarget(std::move(pairs));
      };
      if (rule.paths.empty()) add("/");
      for (const std::string& path : rule.paths) add(path);
    }
  }

  bool is_slice() const { return config_.role == KubernetesRole::kEndpointSlice; }

  // The service that Endpoints or a slice belong to; null if it is not known.
  const KubeObject* ServiceOfEndpoints() {
    std::string name = object_.metadata.name;
    if (is_slice()) {
      const KubePairs& labels = object_.metadata.labels;
      const auto label = std::find_if(labels.begin(), labels.end(), [](const auto& pair) {
        return pair.first == kServiceNameLabel;
      });
      if (label == labels.end()) return nullptr;
      name = label->second;
    }
    return find_(KubeResource::kService, KeyBeside(object_, name));
  }

  void BuildEndpoints() {
    const Endpoints* const endpoints = object_.endpoints();
    if (endpoints == nullptr) return;
    if (is_slice()) Add(common_, "endpointslice_address_type", endpoints->address_type);
    if (const KubeObject* const service = ServiceOfEndpoints()) {
      AddNamed(common_, "service", service->metadata);
      // A service of both families has a slice of each: one of them is enough.
      const Service* const body = service->service();
      if (is_slice() && body != nullptr && body->ip_family_policy.ends_with("DualStack") &&
          !body->ip_families.empty() && body->ip_families[0] != endpoints->address_type) {
        return;
      }
    }
    for (const EndpointSubset& subset : endpoints->subsets) {
      for (const EndpointPort& port : subset.ports) {
        for (const Endpoint& endpoint : subset.endpoints) {
          for (const std::string& address : endpoint.addresses) {
            AddEndpointTarget(address, endpoint, port);
          }
        }
      }
    }
    AddOtherPortsOfPods();
  }

  // What role endpoints and role endpointslice say of an endpoint, each in its own names.
  void AddEndpoint(LabelPairs& pairs, const Endpoint& endpoint, const EndpointPort& port) {
    const std::string_view role = is_slice() ? "endpointslice" : "endpoint";
    // What a slice says of the endpoint, not of the port or target, has a longer name.
    const std::string_view own = is_slice() ? "endpointslice_endpoint" : "endpoint";
    const auto add = [&pairs](std::string_view prefix, std::string_view name,
                              std::string_view value) {
      AddIfAny(pairs, fmt::format("{}_{}", prefix, name), value);
    };
    add(role, "port_name", port.name);
    add(role, "port_protocol", port.protocol);
    add(own, "hostname", endpoint.hostname);
    add(own, "node_name", endpoint.node_name);
    add(role, "address_target_kind", endpoint.target.kind);
    add(role, "address_target_name", endpoint.target.name);
    for (const auto& [name, value] : endpoint.conditions) {
      add(is_slice() ? "endpointslice_endpoint_conditions" : role, name, value);
    }
    if (!is_slice()) return;
    if (port.port) add(role, "port", std::to_string(*port.port));
    add(role, "port_app_protocol", port.app_protocol);
    add(own, "zone", endpoint.zone);
    for (const auto& [name, value] : endpoint.topology) {
      add(own, "topology_" + SanitizedLabelName(name), value);
      add(own, "topology_present_" + SanitizedLabelName(name), "true");
    }
  }

  void AddEndpointTarget(const std::string& address, const Endpoint& endpoint,
                         const EndpointPort& port) {
    LabelPairs pairs;
    AddAddress(pairs, port.port ? JoinHostPort(address, *port.port) : address);
    AddEndpoint(pairs, endpoint, port);
    const ObjectReference& target = endpoint.target;
    const std::string& node = target.kind == "Node" ? target.name : endpoint.node_name;
    if (config_.attach_node && !node.empty()) AttachNode(pairs, node);
    if (target.kind == "Pod") {
      const std::string& where =
          target.namespace_.empty() ? object_.metadata.namespace_ : target.namespace_;
      const std::string key = where + "/" + target.name;
      const KubeObject* const object = find_(KubeResource::kPod, key);
      if (object != nullptr && object->pod() != nullptr) {
        AddPodOfEndpoint(pairs, key, *object, port);
      }
    }
    AddTarget(std::move(pairs));
  }

  void AddPodOfEndpoint(LabelPairs& pairs, const std::string& key, const KubeObject& object,
                        const EndpointPort& port) {
    const Pod& pod = *object.pod();
    AddNamed(pairs, "pod", object.metadata);
    AddPod(pairs, object, pod);
    SeenPod& seen = pods_[key];
    seen.object = &object;
    if (!port.port) return;
    seen.ports.insert(*port.port);
    // Of several containers with the port the last one is shown, of its ports the first.
    const LabelPairs before = pairs;
    const Container* shown = nullptr;
    EachContainerPort(pod, [&](const ContainerWithPort& each) {
      if (each.port.container_port != *port.port || shown == &each.container) return;
      shown = &each.container;
      pairs = before;
      AddContainer(pairs, each.container, each.init);
      AddContainerPort(pairs, each.port, port.protocol);
    });
  }

  // The ports of the endpoints' pods that no endpoint has.
  void AddOtherPortsOfPods() {
    for (const auto& [key, seen_pod] : pods_) {
      const SeenPod& seen = seen_pod;
      const Pod& pod = *seen.object->pod();
      if (pod.pod_ip.empty()) continue;
      EachContainerPort(pod, [&](const ContainerWithPort& each) {
        if (seen.ports.contains(each.port.container_port)) return;
        LabelPairs pairs;
        AddAddress(pairs, JoinHostPort(pod.pod_ip, each.port.container_port));
        AddNamed(pairs, "pod", seen.object->metadata);
        AddPod(pairs, *seen.object, pod);
        AddContainer(pairs, each.container, each.init);
        AddContainerPort(pairs, each.port, each.port.protocol);
        AddTarget(std::move(pairs));
      });
    }
  }

  struct SeenPod {
    const KubeObject* object = nullptr;
    absl::flat_hash_set<int64_t> ports;  // That endpoints have.
  };

  const KubernetesSdConfig& config_;
  const KubeObject& object_;
  const KubernetesFinder find_;
  TargetGroup group_;
  LabelPairs common_;
  std::map<std::string, SeenPod> pods_;  // That endpoints refer to.
};

}  // namespace

KubeResource ResourceOfRole(KubernetesRole role) {
  switch (role) {
    case KubernetesRole::kNode:
      return KubeResource::kNode;
    case KubernetesRole::kPod:
      return KubeResource::kPod;
    case KubernetesRole::kService:
      return KubeResource::kService;
    case KubernetesRole::kEndpoints:
      return KubeResource::kEndpoints;
    case KubernetesRole::kEndpointSlice:
      return KubeResource::kEndpointSlice;
    case KubernetesRole::kIngress:
      return KubeResource::kIngress;
  }
  INVARIANT(false);
  return KubeResource::kPod;
}

std::string KubernetesGroupSource(KubernetesRole role, const KubeObject& object) {
  const std::string_view kind = role == KubernetesRole::kService ? "svc" : KubernetesRoleText(role);
  return fmt::format("{}/{}", kind, object.Key());
}

TargetGroup KubernetesGroup(const KubernetesSdConfig& config, const KubeObject& object,
                            KubernetesFinder find) {
  return GroupBuilder(config, object, find).Build();
}

const KubernetesSelector* SelectorOf(const KubernetesSdConfig& config, KubernetesRole role) {
  for (const KubernetesSelector& selector : config.selectors) {
    if (selector.role == role) return &selector;
  }
  return nullptr;
}

}  // namespace varve
