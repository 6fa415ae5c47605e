// SPDX-License-Identifier: Apache-2.0
//
// Events of the informers come on one thread, the client's event loop, which alone touches a
// discovery's state. Objects are kept only where another object's change may change their labels.
#include "scrape/discovery/kubernetes.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string>
#include <string_view>

#include "kube/client.h"
#include "model/status_macros.h"
#include "net/client.h"
#include "scrape/target.h"

namespace varve {

class KubernetesSource {
 public:
  static absl::StatusOr<std::shared_ptr<KubernetesSource>> Open(const KubernetesSdConfig& config,
                                                                Clock& clock,
                                                                prometheus::Registry& registry);
  ~KubernetesSource() {
    if (informers_ != nullptr) informers_->Stop();
    if (http_ != nullptr) http_->Stop();
  }

  InformerSet& informers() { return *informers_; }
  const std::string& own_namespace() const { return client_->endpoint().namespace_; }

 private:
  KubernetesSource() = default;

  std::unique_ptr<HttpClient> http_;
  std::unique_ptr<KubeClient> client_;
  std::shared_ptr<InformerSet> informers_;
};

namespace {

constexpr std::string_view kPrefix = "__meta_kubernetes_";

using LabelPairs = std::vector<std::pair<std::string, std::string>>;

std::string Lowered(std::string_view text) {
  std::string lowered(text);
  for (char& c : lowered) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  return lowered;
}

std::string Sanitized(std::string_view text) {
  std::string name(text);
  for (char& c : name) {
    const bool kept = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!kept) c = '_';
  }
  return name;
}

void Add(LabelPairs& pairs, std::string_view name, std::string_view value) {
  pairs.emplace_back(fmt::format("{}{}", kPrefix, name), std::string(value));
}

std::string JoinHostPort(std::string_view host, int64_t port) {
  if (host.find(':') != std::string_view::npos) return fmt::format("[{}]:{}", host, port);
  return fmt::format("{}:{}", host, port);
}

// Labels and annotations of an object, as every role shows them.
void AddMetadata(LabelPairs& pairs, std::string_view role, const ObjectMeta& metadata) {
  for (const auto& [name, value] : metadata.labels) {
    const std::string sanitized = Sanitized(name);
    Add(pairs, fmt::format("{}_label_{}", role, sanitized), value);
    Add(pairs, fmt::format("{}_labelpresent_{}", role, sanitized), "true");
  }
  for (const auto& [name, value] : metadata.annotations) {
    const std::string sanitized = Sanitized(name);
    Add(pairs, fmt::format("{}_annotation_{}", role, sanitized), value);
    Add(pairs, fmt::format("{}_annotationpresent_{}", role, sanitized), "true");
  }
}

std::string PodReady(const Pod& pod) {
  for (const KubeCondition& condition : pod.conditions) {
    if (condition.type == "Ready") return Lowered(condition.status);
  }
  return "unknown";
}

std::string PodSource(const KubeObject& object) { return "pod/" + object.Key(); }

Labels PodLabels(const KubeObject& object, const Pod& pod, const KubernetesAttachments& attached) {
  LabelPairs pairs;
  Add(pairs, "namespace", object.metadata.namespace_);
  Add(pairs, "pod_name", object.metadata.name);
  Add(pairs, "pod_ip", pod.pod_ip);
  Add(pairs, "pod_ready", PodReady(pod));
  Add(pairs, "pod_phase", pod.phase);
  Add(pairs, "pod_node_name", pod.node_name);
  Add(pairs, "pod_host_ip", pod.host_ip);
  Add(pairs, "pod_uid", object.metadata.uid);
  AddMetadata(pairs, "pod", object.metadata);
  for (const OwnerReference& owner : object.metadata.owner_references) {
    if (!owner.controller) continue;
    Add(pairs, "pod_controller_kind", owner.kind);
    Add(pairs, "pod_controller_name", owner.name);
    break;
  }
  if (attached.node != nullptr) {
    Add(pairs, "node_name", attached.node->metadata.name);
    AddMetadata(pairs, "node", attached.node->metadata);
  }
  if (attached.namespace_ != nullptr) {
    AddMetadata(pairs, "namespace", attached.namespace_->metadata);
  }
  return Labels::FromPairs(std::move(pairs));
}

void AddContainerTargets(const Container& container, const std::vector<ContainerStatus>& statuses,
                         bool init, const std::string& ip, std::vector<Labels>& targets) {
  LabelPairs common;
  Add(common, "pod_container_name", container.name);
  Add(common, "pod_container_image", container.image);
  Add(common, "pod_container_init", init ? "true" : "false");
  for (const ContainerStatus& status : statuses) {
    if (status.name == container.name) Add(common, "pod_container_id", status.container_id);
  }
  if (container.ports.empty()) {
    common.emplace_back(std::string(kAddressLabel), ip);
    targets.push_back(Labels::FromPairs(std::move(common)));
    return;
  }
  for (const ContainerPort& port : container.ports) {
    LabelPairs pairs = common;
    pairs.emplace_back(std::string(kAddressLabel), JoinHostPort(ip, port.container_port));
    Add(pairs, "pod_container_port_number", std::to_string(port.container_port));
    Add(pairs, "pod_container_port_name", port.name);
    Add(pairs, "pod_container_port_protocol", port.protocol);
    targets.push_back(Labels::FromPairs(std::move(pairs)));
  }
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

const KubernetesSelector* SelectorOf(const KubernetesSdConfig& config, KubernetesRole role) {
  for (const KubernetesSelector& selector : config.selectors) {
    if (selector.role == role) return &selector;
  }
  return nullptr;
}

InformerKey KeyOf(const KubernetesSdConfig& config, KubeResource resource, KubernetesRole role,
                  const std::string& namespace_name) {
  InformerKey key{.resource = resource, .namespace_ = namespace_name};
  if (const KubernetesSelector* selector = SelectorOf(config, role)) {
    key.label_selector = selector->label;
    key.field_selector = selector->field;
  }
  return key;
}

// What a discovery knows and says. On the informers' thread only, but for construction.
class GroupEmitter {
 public:
  GroupEmitter(KubernetesSdConfig config, size_t informers, TargetGroupsCallback callback)
      : config_(std::move(config)), unsynced_(informers), callback_(std::move(callback)) {}

  void OnPod(const InformerEvent& event) {
    if (event.type == InformerEvent::Type::kSynced) return OnSynced();
    if (event.type == InformerEvent::Type::kDelete) {
      pods_.erase(event.object->Key());
      return Emit({.source = PodSource(*event.object)});
    }
    // Kept only where a node's or namespace's change may change the pod's labels.
    if (config_.attach_node || config_.attach_namespace) {
      pods_[event.object->Key()] = event.object;
    }
    EmitPod(*event.object);
  }

  void OnNode(const InformerEvent& event) {
    if (event.type == InformerEvent::Type::kSynced) return OnSynced();
    if (config_.role == KubernetesRole::kNode) {
      TargetGroup group{.source = "node/" + event.object->metadata.name};
      if (event.type != InformerEvent::Type::kDelete) group = NodeGroup(*event.object);
      return Emit(std::move(group));
    }
    if (!Keep(event, nodes_)) return;
    for (const auto& [key, pod] : pods_) {
      if (pod->pod() != nullptr && pod->pod()->node_name == event.object->metadata.name) {
        EmitPod(*pod);
      }
    }
  }

  void OnNamespace(const InformerEvent& event) {
    if (event.type == InformerEvent::Type::kSynced) return OnSynced();
    if (!Keep(event, namespaces_)) return;
    for (const auto& [key, pod] : pods_) {
      if (pod->metadata.namespace_ == event.object->metadata.name) EmitPod(*pod);
    }
  }

 private:
  using Objects = std::map<std::string, KubeObjectPtr, std::less<>>;

  // Updates a store of attached objects; false if nothing targets show has changed.
  static bool Keep(const InformerEvent& event, Objects& objects) {
    KubeObjectPtr& known = objects[event.object->metadata.name];
    if (event.type == InformerEvent::Type::kDelete) {
      objects.erase(event.object->metadata.name);
      return true;
    }
    const bool changed = known == nullptr ||
                         known->metadata.labels != event.object->metadata.labels ||
                         known->metadata.annotations != event.object->metadata.annotations;
    known = event.object;
    return changed;
  }

  static const KubeObject* Find(const Objects& objects, const std::string& name) {
    const auto found = objects.find(name);
    return found == objects.end() ? nullptr : found->second.get();
  }

  void EmitPod(const KubeObject& object) {
    KubernetesAttachments attached;
    const Pod* const pod = object.pod();
    if (config_.attach_node && pod != nullptr) {
      attached.node = Find(nodes_, pod->node_name);
      // A selector on nodes also selects the pods on them.
      if (attached.node == nullptr && SelectorOf(config_, KubernetesRole::kNode) != nullptr) {
        return Emit({.source = PodSource(object)});
      }
    }
    if (config_.attach_namespace) {
      attached.namespace_ = Find(namespaces_, object.metadata.namespace_);
    }
    Emit(PodGroup(object, attached));
  }

  // Until every first list is complete, groups are collected: the first call says all there is.
  void Emit(TargetGroup group) {
    if (unsynced_ > 0) {
      std::string source = group.source;
      pending_[std::move(source)] = std::move(group);
      return;
    }
    std::vector<TargetGroup> groups;
    groups.push_back(std::move(group));
    callback_(std::move(groups));
  }

  void OnSynced() {
    if (unsynced_ == 0 || --unsynced_ > 0) return;
    std::vector<TargetGroup> groups;
    for (auto& [source, group] : pending_) groups.push_back(std::move(group));
    pending_.clear();
    callback_(std::move(groups));
  }

  const KubernetesSdConfig config_;
  size_t unsynced_;
  const TargetGroupsCallback callback_;
  Objects pods_;
  Objects nodes_;
  Objects namespaces_;
  std::map<std::string, TargetGroup> pending_;
};

class KubernetesDiscovery : public Discovery {
 public:
  KubernetesDiscovery(const KubernetesSdConfig& config, std::shared_ptr<KubernetesSource> source,
                      TargetGroupsCallback callback)
      : source_(std::move(source)) {
    std::vector<std::string> namespaces = config.namespaces;
    if (config.own_namespace) namespaces.push_back(source_->own_namespace());
    if (namespaces.empty()) namespaces.emplace_back();
    const bool pods = config.role == KubernetesRole::kPod;
    const bool nodes = !pods || config.attach_node;
    const bool attach_namespace = pods && config.attach_namespace;
    const size_t informers =
        (pods ? namespaces.size() : 0) + (nodes ? 1 : 0) + (attach_namespace ? 1 : 0);
    emitter_ = std::make_shared<GroupEmitter>(config, informers, std::move(callback));
    // Attached objects first, so that pods find them.
    if (nodes) {
      Subscribe(KeyOf(config, KubeResource::kNode, KubernetesRole::kNode, ""),
                &GroupEmitter::OnNode);
    }
    if (attach_namespace) {
      Subscribe({.resource = KubeResource::kNamespace}, &GroupEmitter::OnNamespace);
    }
    for (size_t i = 0; pods && i < namespaces.size(); ++i) {
      Subscribe(KeyOf(config, KubeResource::kPod, KubernetesRole::kPod, namespaces[i]),
                &GroupEmitter::OnPod);
    }
  }

 private:
  void Subscribe(const InformerKey& key, void (GroupEmitter::*handle)(const InformerEvent&)) {
    subscriptions_.push_back(source_->informers().Subscribe(
        key,
        [emitter = emitter_, handle](const InformerEvent& event) { ((*emitter).*handle)(event); }));
  }

  const std::shared_ptr<KubernetesSource> source_;
  std::shared_ptr<GroupEmitter> emitter_;
  std::vector<InformerSubscription> subscriptions_;  // Last: gone before what they use.
};

absl::StatusOr<KubeEndpoint> EndpointOf(const KubernetesSdConfig& config) {
  if (!config.kubeconfig_file.empty()) return KubeEndpoint::FromKubeconfig(config.kubeconfig_file);
  if (config.api_server.empty()) return KubeEndpoint::InCluster();
  KubeEndpoint endpoint;
  endpoint.server = config.api_server;
  while (endpoint.server.ends_with('/')) endpoint.server.pop_back();
  endpoint.http = config.http_client;
  return endpoint;
}

absl::Status CheckSupported(const KubernetesSdConfig& config) {
  if (config.role != KubernetesRole::kPod && config.role != KubernetesRole::kNode) {
    return absl::UnimplementedError(
        fmt::format("kubernetes role {} is not supported yet", KubernetesRoleText(config.role)));
  }
  if (config.attach_deployment || config.attach_job || config.attach_cronjob) {
    return absl::UnimplementedError(
        "attach_metadata of deployments, jobs and cronjobs is not supported yet");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::shared_ptr<KubernetesSource>> KubernetesSource::Open(
    const KubernetesSdConfig& config, Clock& clock, prometheus::Registry& registry) {
  ASSIGN_OR_RETURN(KubeEndpoint endpoint, EndpointOf(config));
  std::shared_ptr<KubernetesSource> source(new KubernetesSource());
  ASSIGN_OR_RETURN(source->http_,
                   HttpClient::Open({.thread_name = "kube-client", .clock = &clock}));
  source->client_ = std::make_unique<KubeClient>(*source->http_, std::move(endpoint), clock);
  source->informers_ = InformerSet::Create(
      *source->client_, {.seed = static_cast<uint64_t>(clock.Now()), .registry = &registry});
  return source;
}

TargetGroup PodGroup(const KubeObject& object, const KubernetesAttachments& attached) {
  TargetGroup group;
  group.source = PodSource(object);
  const Pod* const pod = object.pod();
  // A pod that is starting or was evicted has no address.
  if (pod == nullptr || pod->pod_ip.empty()) return group;
  group.labels = PodLabels(object, *pod, attached);
  for (const Container& container : pod->containers) {
    AddContainerTargets(container, pod->container_statuses, false, pod->pod_ip, group.targets);
  }
  for (const Container& container : pod->init_containers) {
    AddContainerTargets(container, pod->init_container_statuses, true, pod->pod_ip, group.targets);
  }
  return group;
}

TargetGroup NodeGroup(const KubeObject& object) {
  TargetGroup group;
  group.source = "node/" + object.metadata.name;
  const Node* const node = object.node();
  const NodeAddress* const address = node == nullptr ? nullptr : PreferredAddress(*node);
  if (address == nullptr) return group;
  LabelPairs labels;
  Add(labels, "node_name", object.metadata.name);
  Add(labels, "node_provider_id", node->provider_id);
  for (const KubeCondition& condition : node->conditions) {
    Add(labels, Sanitized("node_condition_" + Lowered(condition.type)), Lowered(condition.status));
  }
  AddMetadata(labels, "node", object.metadata);
  group.labels = Labels::FromPairs(std::move(labels));
  LabelPairs target;
  target.emplace_back(std::string(kAddressLabel),
                      JoinHostPort(address->address, node->kubelet_port));
  target.emplace_back(std::string(kInstanceLabel), object.metadata.name);
  // Of several addresses of one type the first is shown.
  for (auto each = node->addresses.rbegin(); each != node->addresses.rend(); ++each) {
    Add(target, Sanitized("node_address_" + each->type), each->address);
  }
  group.targets.push_back(Labels::FromPairs(std::move(target)));
  return group;
}

absl::StatusOr<std::shared_ptr<KubernetesSource>> KubernetesSources::Source(
    const KubernetesSdConfig& config) {
  MutexLock lock(mutex_);
  std::erase_if(sources_, [](const auto& source) { return source.second.expired(); });
  for (const auto& [known, source] : sources_) {
    if (known.api_server != config.api_server || !(known.http_client == config.http_client) ||
        known.kubeconfig_file != config.kubeconfig_file) {
      continue;
    }
    if (std::shared_ptr<KubernetesSource> found = source.lock()) return found;
  }
  ASSIGN_OR_RETURN(std::shared_ptr<KubernetesSource> source,
                   KubernetesSource::Open(config, clock_, registry_));
  sources_.emplace_back(config, source);
  return source;
}

absl::StatusOr<std::unique_ptr<Discovery>> KubernetesSources::NewDiscovery(
    const KubernetesSdConfig& config, TargetGroupsCallback callback) {
  RETURN_IF_ERROR(CheckSupported(config));
  ASSIGN_OR_RETURN(std::shared_ptr<KubernetesSource> source, Source(config));
  return std::make_unique<KubernetesDiscovery>(config, std::move(source), std::move(callback));
}

}  // namespace varve
