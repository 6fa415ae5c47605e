// SPDX-License-Identifier: Apache-2.0
//
// A watch is a path that is asked for again and again, with the index of the last answer. First the
// name of the datacenter, which targets show; then either the list of services, which starts and
// ends the watches of services, or the services that are configured.
//
// An answer is read by the context's workers under the mutex; the timer that it sets asks again.
#include "scrape/discovery/consul.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "model/mutex.h"
#include "model/percent_encoding.h"
#include "model/status_macros.h"
#include "scrape/discovery/json_view.h"
#include "scrape/discovery/target_labels.h"

namespace varve {
namespace {

constexpr std::string_view kConsulPrefix = "__meta_consul_";
constexpr std::string_view kNodeMaintenance = "_node_maintenance";
constexpr std::string_view kServiceMaintenance = "_service_maintenance:";

// The worst of an instance's checks: "maintenance", "critical", "warning", "passing", or "" for a
// status that is none of these.
std::string_view AggregatedHealth(JsonView checks) {
  bool maintenance = false;
  bool unknown = false;
  bool critical = false;
  bool warning = false;
  checks.Each([&](JsonView check) {
    const std::string_view id = check["CheckID"].Text();
    const std::string_view status = check["Status"].Text();
    if (id == kNodeMaintenance || id.starts_with(kServiceMaintenance)) {
      maintenance = true;
    } else if (status == "critical") {
      critical = true;
    } else if (status == "warning") {
      warning = true;
    } else if (status != "passing") {
      unknown = true;
    }
  });
  if (maintenance) return "maintenance";
  if (unknown) return "";
  return critical ? "critical" : warning ? "warning" : "passing";
}

Labels InstanceLabels(const ConsulSdConfig& config, JsonView instance) {
  const JsonView node = instance["Node"];
  const JsonView service = instance["Service"];
  TargetLabels labels(kConsulPrefix);
  const auto add_all = [&labels](std::string_view name, JsonView map) {
    map.EachMember(
        [&](std::string_view key, JsonView value) { labels.AddKeyed(name, key, value.Text()); });
  };
  const std::string_view address = service["Address"].Text();
  labels.Address(address.empty() ? node["Address"].Text() : address, service["Port"].Int());
  labels.Add("address", node["Address"].Text());
  labels.Add("node", node["Node"].Text());
  labels.Add("namespace", service["Namespace"].Text());
  labels.Add("partition", service["Partition"].Text());
  labels.Add("service_address", address);
  labels.Add("service_port", std::to_string(service["Port"].Int()));
  labels.Add("service_id", service["ID"].Text());
  labels.Add("health", AggregatedHealth(instance["Checks"]));
  // Separators on both ends, so that one pattern finds any tag.
  std::string tags = config.tag_separator;
  service["Tags"].Each([&](JsonView tag) {
    tags += tag.Text();
    tags += config.tag_separator;
  });
  if (tags == config.tag_separator) tags += config.tag_separator;
  labels.Add("tags", tags);
  add_all("metadata_", node["Meta"]);
  add_all("service_metadata_", service["Meta"]);
  // Either texts, or objects with an address and a port.
  node["TaggedAddresses"].EachMember([&](std::string_view key, JsonView value) {
    labels.AddKeyed("tagged_address_", key, value.Text());
  });
  return std::move(labels).Take();
}

// Outlives the discovery while an answer or a worker is under way.
class ConsulWatcher : public std::enable_shared_from_this<ConsulWatcher> {
 public:
  ConsulWatcher(ConsulSdConfig config, const std::string& job,
                std::shared_ptr<DiscoveryContext> context, TargetGroupsCallback callback)
      : config_(std::move(config)),
        http_client_(std::make_shared<HttpClientConfig>(config_.http_client)),
        context_(std::move(context)),
        callback_(std::move(callback)),
        health_(context_->healths.Add(job, "consul", RedactUrl(BaseUrl()))) {}

  void Start() ABSL_LOCKS_EXCLUDED(mutex_) {
    MutexLock lock(mutex_);
    datacenter_ = config_.datacenter;
    if (datacenter_.empty()) {
      Ask(kAgent);
    } else {
      Begin();
    }
  }

  void Stop() ABSL_LOCKS_EXCLUDED(mutex_) {
    MutexLock lock(mutex_);
    stopped_ = true;
    for (auto& [key, watch] : watches_) End(watch);
    watches_.clear();
    health_.reset();
  }

 private:
  // What is asked: the agent, the list of services, or one service.
  enum class What { kAgent, kServices, kService };
  using Key = std::pair<What, std::string>;
  struct Watch {
    uint64_t index = 0;  // Of the last answer; 0: none yet.
    int64_t asked_nanos = 0;
    uint64_t question = 0;  // Answers to others come too late.
    TransferId transfer = kNoTransfer;
    TimerId timer = kNoTimer;
    bool failing = false;
  };
  inline static const Key kAgent{What::kAgent, ""};

  std::string BaseUrl() const {
    const size_t scheme = config_.server.find("://");
    std::string base = scheme == std::string::npos
                           ? fmt::format("{}://{}", config_.scheme, config_.server)
                           : config_.server;
    while (base.ends_with('/')) base.pop_back();
    std::string prefix = config_.path_prefix;
    while (prefix.ends_with('/')) prefix.pop_back();
    if (!prefix.empty() && !prefix.starts_with('/')) prefix.insert(0, "/");
    return base + prefix;
  }

  // The services to watch are not known beforehand.
  bool WatchesCatalog() const { return config_.services.empty() || !config_.tags.empty(); }

  void Begin() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (WatchesCatalog()) return Ask({What::kServices, ""});
    for (const std::string& name : config_.services) Ask({What::kService, name});
  }

  std::string UrlOf(const Key& key, uint64_t index) const {
    if (key.first == What::kAgent) return BaseUrl() + "/v1/agent/self";
    std::string query;
    const auto add = [&query](std::string_view name, std::string_view value) {
      query += fmt::format("{}{}={}", query.empty() ? "?" : "&", name, PercentEncoded(value));
    };
    const auto add_any = [&add](std::string_view name, const std::string& value) {
      if (!value.empty()) add(name, value);
    };
    add_any("dc", config_.datacenter);
    add_any("ns", config_.namespace_);
    add_any("partition", config_.partition);
    if (config_.allow_stale) add("stale", "");
    if (index > 0) add("index", std::to_string(index));
    add("wait", fmt::format("{}ms", std::chrono::milliseconds(kConsulWait).count()));
    for (const auto& [name, value] : config_.node_meta) add("node-meta", name + ":" + value);
    if (key.first == What::kServices) {
      add_any("filter", config_.filter);
      return BaseUrl() + "/v1/catalog/services" + query;
    }
    for (const std::string& tag : config_.tags) add("tag", tag);
    add_any("filter", config_.health_filter);
    return fmt::format("{}/v1/health/service/{}{}", BaseUrl(), PercentEncoded(key.second), query);
  }

  void Ask(const Key& key) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    Watch& watch = watches_[key];
    watch.asked_nanos = context_->clock.MonotonicNanos();
    watch.question = ++questions_;
    ClientRequest request;
    request.url = UrlOf(key, watch.index);
    request.timeout = kConsulWait + kConsulGrace;
    request.body_bytes_max = kConsulAnswerBytesMax;
    request.config = http_client_;
    if (!config_.token.empty()) {
      request.headers.push_back({"X-Consul-Token", config_.token.Reveal()});
    }
    watch.transfer = context_->http.Start(
        std::move(request), [self = shared_from_this(), key,
                             question = watch.question](absl::StatusOr<ClientResponse> response) {
          self->context_->workers.Submit([self, key, question, response = std::move(response)] {
            self->Take(key, question, response);
          });
        });
  }

  void Take(const Key& key, uint64_t question, const absl::StatusOr<ClientResponse>& response)
      ABSL_LOCKS_EXCLUDED(mutex_) {
    MutexLock lock(mutex_);
    const auto found = watches_.find(key);
    // The service may have gone meanwhile, and come back.
    if (stopped_ || found == watches_.end() || found->second.question != question) return;
    const absl::Status status = Read(key, found->second, response);
    NoteHealth(found->second, status);
    // Once the datacenter is known there is nothing more to ask the agent.
    if (key.first == What::kAgent && status.ok()) {
      watches_.erase(found);
      Begin();
      return;
    }
    const DurationMs retry = std::min(kConsulRetry, config_.refresh_interval);
    const int64_t asked = found->second.asked_nanos;
    const int64_t next = status.ok() ? asked + config_.refresh_interval * kNanosPerMs
                                     : context_->clock.MonotonicNanos() + retry * kNanosPerMs;
    found->second.timer = context_->http.loop().RunAt(
        next, [self = shared_from_this(), key] { self->AskAgain(key); });
  }

  void AskAgain(const Key& key) ABSL_LOCKS_EXCLUDED(mutex_) {
    MutexLock lock(mutex_);
    if (!stopped_ && watches_.contains(key)) Ask(key);
  }

  // The discovery is well when none of its watches fails.
  void NoteHealth(Watch& watch, const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    watch.failing = !status.ok();
    if (!status.ok()) return health_->Failed(status);
    for (const auto& [key, other] : watches_) {
      if (other.failing) return;
    }
    health_->Succeeded();
  }

  absl::Status Read(const Key& key, Watch& watch, const absl::StatusOr<ClientResponse>& response)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    RETURN_IF_ERROR(response.status());
    if (response->status != 200) {
      return absl::UnavailableError(fmt::format("Unexpected response code: {}", response->reason));
    }
    simdjson::dom::parser parser;
    ASSIGN_OR_RETURN(const JsonView root, ParseAnswer(parser, response->body));
    if (key.first == What::kAgent) return ReadAgent(root);
    // An index that goes back has been reset, and is asked for anew.
    uint64_t index =
        std::strtoull(std::string(response->Header("x-consul-index")).c_str(), nullptr, 10);
    if (index == watch.index && index > 0) return absl::OkStatus();
    watch.index = index < watch.index ? 0 : index;
    if (key.first == What::kServices) return ReadServices(root);
    ReadService(key.second, root);
    return absl::OkStatus();
  }

  absl::Status ReadAgent(JsonView root) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    datacenter_ = root["Config"]["Datacenter"].Text();
    if (!datacenter_.empty()) return absl::OkStatus();
    return absl::UnavailableError("invalid value for Config.Datacenter");
  }

  bool ShouldWatch(std::string_view name, JsonView tags) const {
    const auto& names = config_.services;
    if (!names.empty() && std::find(names.begin(), names.end(), name) == names.end()) return false;
    return std::all_of(config_.tags.begin(), config_.tags.end(), [&tags](const std::string& tag) {
      bool has = false;
      tags.Each([&](JsonView each) { has = has || each.Text() == tag; });
      return has;
    });
  }

  absl::Status ReadServices(JsonView root) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    std::set<std::string> names;
    root.EachMember([&](std::string_view name, JsonView tags) {
      if (ShouldWatch(name, tags)) names.emplace(name);
    });
    std::vector<TargetGroup> gone;
    for (auto watch = watches_.begin(); watch != watches_.end();) {
      const std::string& name = watch->first.second;
      if (watch->first.first != What::kService || names.contains(name)) {
        ++watch;
        continue;
      }
      gone.push_back({.source = name});
      End(watch->second);
      watch = watches_.erase(watch);
    }
    for (const std::string& name : names) {
      if (!watches_.contains({What::kService, name})) Ask({What::kService, name});
    }
    // Said even if it is nothing, when there is nobody else to speak.
    if (!gone.empty() || names.empty()) callback_(std::move(gone));
    return absl::OkStatus();
  }

  void ReadService(const std::string& name, JsonView root) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    TargetLabels common(kConsulPrefix);
    common.Add("service", name);
    common.Add("dc", datacenter_);
    TargetGroup group{.source = name, .labels = std::move(common).Take()};
    root.Each(
        [&](JsonView instance) { group.targets.push_back(InstanceLabels(config_, instance)); });
    std::vector<TargetGroup> groups;
    groups.push_back(std::move(group));
    callback_(std::move(groups));
  }

  void End(const Watch& watch) {
    context_->http.loop().Cancel(watch.timer);
    context_->http.Cancel(watch.transfer);
  }

  const ConsulSdConfig config_;
  const std::shared_ptr<const HttpClientConfig> http_client_;
  const std::shared_ptr<DiscoveryContext> context_;
  const TargetGroupsCallback callback_;

  Mutex mutex_;  // Held during callbacks, so that Stop() waits for them.
  std::shared_ptr<DiscoveryHealth> health_ ABSL_GUARDED_BY(mutex_);  // Null once stopped.
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t questions_ ABSL_GUARDED_BY(mutex_) = 0;
  std::string datacenter_ ABSL_GUARDED_BY(mutex_);
  std::map<Key, Watch> watches_ ABSL_GUARDED_BY(mutex_);
};

class ConsulDiscovery : public Discovery {
 public:
  explicit ConsulDiscovery(std::shared_ptr<ConsulWatcher> watcher) : watcher_(std::move(watcher)) {
    watcher_->Start();
  }
  ~ConsulDiscovery() override { watcher_->Stop(); }

 private:
  const std::shared_ptr<ConsulWatcher> watcher_;
};

}  // namespace

std::unique_ptr<Discovery> NewConsulDiscovery(const ConsulSdConfig& config, const std::string& job,
                                              std::shared_ptr<DiscoveryContext> context,
                                              TargetGroupsCallback callback) {
  return std::make_unique<ConsulDiscovery>(
      std::make_shared<ConsulWatcher>(config, job, std::move(context), std::move(callback)));
}

}  // namespace varve
