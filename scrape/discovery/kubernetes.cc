// SPDX-License-Identifier: Apache-2.0
//
// Events of the informers come on one thread, the client's event loop, which alone touches a
// discovery's state. The objects it keeps are the informers' own.
#include "scrape/discovery/kubernetes.h"

#include <fmt/format.h>

#include <map>
#include <optional>
#include <set>
#include <string>

#include "kube/client.h"
#include "kube/informer.h"
#include "kube/objects.h"
#include "model/status_macros.h"
#include "net/client.h"
#include "scrape/discovery/kubernetes_groups.h"

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
  std::string server() const { return RedactUrl(client_->endpoint().server); }
  const std::string& own_namespace() const { return client_->endpoint().namespace_; }

 private:
  KubernetesSource() = default;

  std::unique_ptr<HttpClient> http_;
  std::unique_ptr<KubeClient> client_;
  std::shared_ptr<InformerSet> informers_;
};

namespace {

// An object of any resource.
using ObjectId = std::pair<KubeResource, std::string>;

// What a discovery knows and says. A group depends on every other object that was looked up for it,
// found or not: when one of these comes, changes or goes, the group is made again. On the
// informers' thread only, but for construction.
class GroupEmitter {
 public:
  GroupEmitter(KubernetesSdConfig config, size_t informers, TargetGroupsCallback callback,
               std::shared_ptr<DiscoveryHealth> health)
      : config_(std::move(config)),
        resource_(ResourceOfRole(config_.role)),
        unsynced_(informers),
        callback_(std::move(callback)),
        health_(std::move(health)) {}

  // `informer` is its number among those of the discovery.
  void OnEvent(size_t informer, KubeResource resource, const InformerEvent& event) {
    if (event.type == InformerEvent::Type::kSynced) return OnSynced();
    if (event.type == InformerEvent::Type::kFailing) {
      failing_.insert(informer);
      return health_->Failed(event.status);
    }
    if (event.type == InformerEvent::Type::kWorking) {
      if (failing_.erase(informer) > 0 && failing_.empty()) health_->Succeeded();
      return;
    }
    const ObjectId id(resource, event.object->Key());
    if (!Keep(id, event) || unsynced_ > 0) return;
    std::vector<TargetGroup> groups;
    if (resource == resource_) {
      groups.push_back(GroupOf(id.second, *event.object));
    } else {
      const auto dependents = dependents_.find(id);
      if (dependents == dependents_.end()) return;
      // A copy, as making a group changes the set.
      const std::set<std::string> keys = dependents->second;
      for (const std::string& key : keys) {
        groups.push_back(GroupOf(key, *objects_.at(ObjectId(resource_, key))));
      }
    }
    callback_(std::move(groups));
  }

 private:
  // Updates what is known; false if nothing that targets may show has changed.
  bool Keep(const ObjectId& id, const InformerEvent& event) {
    if (event.type == InformerEvent::Type::kDelete) return objects_.erase(id) > 0;
    KubeObjectPtr& known = objects_[id];
    const bool changed =
        known == nullptr || known->body != event.object->body ||
        known->metadata.labels != event.object->metadata.labels ||
        known->metadata.annotations != event.object->metadata.annotations ||
        known->metadata.owner_references != event.object->metadata.owner_references ||
        known->metadata.uid != event.object->metadata.uid;
    known = event.object;
    return changed;
  }

  // The group of an object, which is empty if the object is not known any more.
  TargetGroup GroupOf(const std::string& key, const KubeObject& object) {
    Forget(key);
    if (!objects_.contains(ObjectId(resource_, key))) {
      return {.source = KubernetesGroupSource(config_.role, object)};
    }
    std::set<ObjectId>& dependencies = dependencies_[key];
    TargetGroup group = KubernetesGroup(
        config_, object, [&](KubeResource resource, const std::string& other) -> const KubeObject* {
          const ObjectId id(resource, other);
          dependencies.insert(id);
          const auto found = objects_.find(id);
          return found == objects_.end() ? nullptr : found->second.get();
        });
    for (const ObjectId& id : dependencies) dependents_[id].insert(key);
    if (dependencies.empty()) dependencies_.erase(key);
    return group;
  }

  void Forget(const std::string& key) {
    const auto known = dependencies_.find(key);
    if (known == dependencies_.end()) return;
    for (const ObjectId& id : known->second) {
      const auto dependents = dependents_.find(id);
      dependents->second.erase(key);
      if (dependents->second.empty()) dependents_.erase(dependents);
    }
    dependencies_.erase(known);
  }

  // Once every first list is complete, the first call says all there is.
  void OnSynced() {
    if (unsynced_ == 0 || --unsynced_ > 0) return;
    if (failing_.empty()) health_->Succeeded();
    std::vector<TargetGroup> groups;
    for (const auto& [id, object] : objects_) {
      if (id.first == resource_) groups.push_back(GroupOf(id.second, *object));
    }
    callback_(std::move(groups));
  }

  const KubernetesSdConfig config_;
  const KubeResource resource_;
  size_t unsynced_;
  const TargetGroupsCallback callback_;
  const std::shared_ptr<DiscoveryHealth> health_;
  std::set<size_t> failing_;  // Informers.
  std::map<ObjectId, KubeObjectPtr> objects_;
  // Of each object of the role its dependencies, and the same the other way round.
  std::map<std::string, std::set<ObjectId>> dependencies_;
  std::map<ObjectId, std::set<std::string>> dependents_;
};

// What a discovery has to watch. Informers of cluster-wide resources have no namespace.
std::vector<InformerKey> InformersOf(const KubernetesSdConfig& config,
                                     const std::vector<std::string>& namespaces) {
  std::vector<InformerKey> keys;
  const auto watch = [&](KubeResource resource, std::optional<KubernetesRole> role) {
    InformerKey key{.resource = resource};
    const KubernetesSelector* const selector = role ? SelectorOf(config, *role) : nullptr;
    if (selector != nullptr) {
      key.label_selector = selector->label;
      key.field_selector = selector->field;
    }
    if (!ResourceInfoOf(resource).namespaced) return keys.push_back(key);
    for (const std::string& name : namespaces) {
      key.namespace_ = name;
      keys.push_back(key);
    }
  };
  const bool endpoints =
      config.role == KubernetesRole::kEndpoints || config.role == KubernetesRole::kEndpointSlice;
  const bool pods = endpoints || config.role == KubernetesRole::kPod;
  watch(ResourceOfRole(config.role), config.role);
  if (endpoints) {
    watch(KubeResource::kService, KubernetesRole::kService);
    watch(KubeResource::kPod, KubernetesRole::kPod);
  }
  if (config.attach_node && pods) watch(KubeResource::kNode, KubernetesRole::kNode);
  if (config.attach_namespace && config.role != KubernetesRole::kNode) {
    watch(KubeResource::kNamespace, std::nullopt);
  }
  if (config.attach_deployment && pods) watch(KubeResource::kReplicaSet, std::nullopt);
  if (config.attach_cronjob && pods) watch(KubeResource::kJob, std::nullopt);
  return keys;
}

class KubernetesDiscovery : public Discovery {
 public:
  KubernetesDiscovery(const KubernetesSdConfig& config, std::shared_ptr<KubernetesSource> source,
                      TargetGroupsCallback callback, std::shared_ptr<DiscoveryHealth> health)
      : source_(std::move(source)) {
    std::vector<std::string> namespaces = config.namespaces;
    if (config.own_namespace) namespaces.push_back(source_->own_namespace());
    if (namespaces.empty()) namespaces.emplace_back();
    const std::vector<InformerKey> keys = InformersOf(config, namespaces);
    emitter_ =
        std::make_shared<GroupEmitter>(config, keys.size(), std::move(callback), std::move(health));
    for (const InformerKey& key : keys) {
      subscriptions_.push_back(source_->informers().Subscribe(
          key, [emitter = emitter_, informer = subscriptions_.size(), resource = key.resource](
                   const InformerEvent& event) { emitter->OnEvent(informer, resource, event); }));
    }
  }

 private:
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
    const KubernetesSdConfig& config, const std::string& job, DiscoveryHealths& healths,
    TargetGroupsCallback callback) {
  ASSIGN_OR_RETURN(std::shared_ptr<KubernetesSource> source, Source(config));
  std::shared_ptr<DiscoveryHealth> health =
      healths.Add(job, "kubernetes",
                  fmt::format("{} of {}", KubernetesRoleText(config.role), source->server()));
  return std::make_unique<KubernetesDiscovery>(config, std::move(source), std::move(callback),
                                               std::move(health));
}

}  // namespace varve
