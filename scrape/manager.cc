// SPDX-License-Identifier: Apache-2.0
//
// Pools by name, and what is shared between them.
#include "scrape/manager.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <set>
#include <thread>
#include <utility>

#include "model/log_line.h"
#include "model/mutex.h"
#include "model/status_macros.h"
#include "net/client.h"
#include "scrape/context.h"
#include "scrape/discovery/discoveries.h"
#include "scrape/pool.h"
#include "scrape/scrape_now.h"
#include "scrape/scrape_request.h"

namespace varve {
namespace {

constexpr uint32_t kWorkersMax = 4;

struct HostPort {
  std::string_view host;
  std::string_view port;  // With its colon; may be empty.
};

HostPort SplitHostPort(std::string_view authority) {
  const size_t bracket = authority.rfind(']');
  const size_t colon = authority.rfind(':');
  if (colon == std::string_view::npos || (bracket != std::string_view::npos && colon < bracket)) {
    return {authority, {}};
  }
  return {authority.substr(0, colon), authority.substr(colon)};
}

// The part between `://` and the path.
std::string_view AuthorityOf(std::string_view url) {
  const size_t begin = url.find("://");
  if (begin != std::string_view::npos) url.remove_prefix(begin + 3);
  return url.substr(0, url.find('/'));
}

// The URL of a target on this machine as others reach it: this server itself where it says they
// reach it, another one at the same host.
std::string GlobalUrl(const std::string& url, const ScrapeManagerOptions& options) {
  const std::string_view authority = AuthorityOf(url);
  const HostPort target = SplitHostPort(authority);
  if (target.host != "localhost" && target.host != "127.0.0.1" && target.host != "[::1]") {
    return url;
  }
  const size_t begin = static_cast<size_t>(authority.data() - url.data());
  const std::string_view path = std::string_view(url).substr(begin + authority.size());
  const std::string_view external = AuthorityOf(options.external_url);
  if (target.port == SplitHostPort(options.listen_address).port) {
    const size_t scheme = options.external_url.find("://");
    return fmt::format("{}://{}{}", options.external_url.substr(0, scheme), external, path);
  }
  return fmt::format("{}{}{}{}", url.substr(0, begin), SplitHostPort(external).host, target.port,
                     path);
}

class ScrapeManagerImpl : public ScrapeManager {
 public:
  explicit ScrapeManagerImpl(ScrapeManagerOptions options)
      : options_(std::move(options)),
        discoveries_(options_.clock, options_.http_client, options_.registry, "scrape"),
        context_(std::make_shared<ScrapeContext>(options_.clock, options_.http_client,
                                                 options_.storage, options_.registry,
                                                 Workers(options_))) {
    context_->adjust_timestamps = options_.adjust_timestamps;
    context_->timestamp_tolerance = options_.timestamp_tolerance;
    context_->unlimited_samples_max = options_.unlimited_samples_max;
    context_->discovery_reload_interval = options_.discovery_reload_interval;
    context_->start_time = options_.start_time;
  }
  ~ScrapeManagerImpl() override { Stop(); }

  absl::Status ApplyConfig(std::vector<ScrapeConfig> configs, Labels external_labels) override;
  void Stop() override;
  std::vector<std::string> Pools() const override;
  TargetsSnapshot Targets(std::string_view pool) const override;
  std::vector<DiscoveryStatus> DiscoveryStatuses() const override {
    return discoveries_.Statuses();
  }
  absl::StatusOr<ScrapeConfig> PoolConfig(std::string_view pool) const override;
  absl::StatusOr<ScrapePreview> ScrapeNow(std::string_view pool, std::string_view url,
                                          size_t samples_max) override;
  std::vector<TargetMetadata> MetadataByTarget(const std::vector<Matcher>& target_matchers,
                                               std::string_view metric,
                                               int64_t limit) const override;
  std::map<std::string, std::vector<MetricMetadata>> Metadata(
      std::string_view metric, int64_t limit, int64_t limit_per_metric) const override;

 private:
  using PoolMap = std::map<std::string, std::shared_ptr<ScrapePool>, std::less<>>;

  static uint32_t Workers(const ScrapeManagerOptions& options) {
    if (options.workers > 0) return options.workers;
    return std::clamp(std::thread::hardware_concurrency(), 1u, kWorkersMax);
  }

  PoolMap PoolsNow() const ABSL_LOCKS_EXCLUDED(mutex_) {
    MutexLock lock(mutex_);
    return pools_;
  }

  const ScrapeManagerOptions options_;
  Discoveries discoveries_;
  const std::shared_ptr<ScrapeContext> context_;

  Mutex apply_mutex_;  // One reload at a time. Before mutex_.
  bool stopped_ ABSL_GUARDED_BY(apply_mutex_) = false;

  mutable Mutex mutex_;
  PoolMap pools_ ABSL_GUARDED_BY(mutex_);
};

absl::Status ScrapeManagerImpl::ApplyConfig(std::vector<ScrapeConfig> configs,
                                            Labels external_labels) {
  MutexLock apply_lock(apply_mutex_);
  if (stopped_) return absl::FailedPreconditionError("scraping has been stopped");
  context_->offset_seed = OffsetSeed(options_.hostname, external_labels);
  PoolMap old = PoolsNow();
  PoolMap next;
  for (ScrapeConfig& config : configs) {
    std::shared_ptr<ScrapePool>& pool = next[config.job_name];
    const auto known = old.find(config.job_name);
    if (known != old.end()) {
      pool = known->second;
      old.erase(known);
      if (pool->settings()->config == config) continue;
      context_->metrics.pool_reloads.Increment();
    } else {
      context_->metrics.pools.Increment();
      pool = std::make_shared<ScrapePool>(context_, config.job_name);
    }
    pool->Configure(std::move(config), [this](const ScrapeConfig& started, const auto& callback) {
      return discoveries_.Start(started.discovery, started.job_name, callback);
    });
  }
  {
    MutexLock lock(mutex_);
    pools_ = std::move(next);
  }
  for (const auto& [name, pool] : old) pool->Stop(true);
  return absl::OkStatus();
}

void ScrapeManagerImpl::Stop() {
  MutexLock apply_lock(apply_mutex_);
  if (stopped_) return;
  stopped_ = true;
  PoolMap pools;
  {
    MutexLock lock(mutex_);
    pools.swap(pools_);
  }
  for (const auto& [name, pool] : pools) pool->Stop(false);
  discoveries_.Stop();
  context_->workers.Stop();
}

std::vector<std::string> ScrapeManagerImpl::Pools() const {
  std::vector<std::string> names;
  for (const auto& [name, pool] : PoolsNow()) names.push_back(name);
  return names;
}

TargetsSnapshot ScrapeManagerImpl::Targets(std::string_view wanted) const {
  TargetsSnapshot snapshot;
  for (const auto& [name, pool] : PoolsNow()) {
    if (wanted.empty() || wanted == name) pool->Snapshot(snapshot);
  }
  for (ActiveTarget& target : snapshot.active) {
    target.global_url = GlobalUrl(target.scrape_url, options_);
  }
  return snapshot;
}

absl::StatusOr<ScrapeConfig> ScrapeManagerImpl::PoolConfig(std::string_view name) const {
  const PoolMap pools = PoolsNow();
  const auto found = pools.find(name);
  if (found == pools.end()) return absl::NotFoundError("scrape pool not found");
  return found->second->settings()->config;
}

absl::StatusOr<ScrapePreview> ScrapeManagerImpl::ScrapeNow(std::string_view name,
                                                           std::string_view url,
                                                           size_t samples_max) {
  const PoolMap pools = PoolsNow();
  const auto pool = pools.find(name);
  if (pool == pools.end()) return absl::NotFoundError("scrape pool not found");
  const std::shared_ptr<const PoolSettings> settings = pool->second->settings();
  for (const std::shared_ptr<TargetLoop>& loop : pool->second->Loops()) {
    const std::shared_ptr<const Target> target = loop->target();
    if (target->url != url) continue;
    ClientRequest request = ScrapeRequest(settings->config, *target, settings->accept);
    request.config = settings->http;
    const TimestampMs time = options_.clock.Now();
    const absl::StatusOr<ClientResponse> response = options_.http_client.Fetch(std::move(request));
    return PreviewScrape(settings->config, *target, response, time, samples_max);
  }
  return absl::NotFoundError("no target of the pool has this URL");
}

std::vector<TargetMetadata> ScrapeManagerImpl::MetadataByTarget(
    const std::vector<Matcher>& target_matchers, std::string_view metric, int64_t limit) const {
  std::vector<TargetMetadata> found;
  for (const auto& [name, pool] : PoolsNow()) {
    for (const std::shared_ptr<TargetLoop>& loop : pool->Loops()) {
      const std::shared_ptr<const Target> target = loop->target();
      if (!MatchesAll(target_matchers, target->public_labels)) continue;
      for (const MetricFamilyPtr& family : loop->metadata().Families(metric)) {
        if (limit >= 0 && static_cast<int64_t>(found.size()) >= limit) return found;
        found.push_back({target->public_labels, family->name, family->metadata});
      }
    }
  }
  return found;
}

std::map<std::string, std::vector<MetricMetadata>> ScrapeManagerImpl::Metadata(
    std::string_view metric, int64_t limit, int64_t limit_per_metric) const {
  // Interned: a family seen at one target needs no second look at the next.
  std::set<MetricFamilyPtr> seen;
  std::map<std::string, std::vector<MetricMetadata>> found;
  for (const auto& [name, pool] : PoolsNow()) {
    for (const std::shared_ptr<TargetLoop>& loop : pool->Loops()) {
      for (const MetricFamilyPtr& family : loop->metadata().Families(metric)) {
        if (!seen.insert(family).second) continue;
        auto entry = found.find(family->name);
        if (entry == found.end()) {
          if (limit >= 0 && static_cast<int64_t>(found.size()) >= limit) continue;
          entry = found.try_emplace(family->name).first;
        }
        if (limit_per_metric >= 0 &&
            static_cast<int64_t>(entry->second.size()) >= limit_per_metric) {
          continue;
        }
        entry->second.push_back(family->metadata);
      }
    }
  }
  return found;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ScrapeManager>> ScrapeManager::Create(ScrapeManagerOptions options) {
  return std::make_unique<ScrapeManagerImpl>(std::move(options));
}

std::string_view TargetHealthText(TargetHealth health) {
  switch (health) {
    case TargetHealth::kUnknown:
      return "unknown";
    case TargetHealth::kUp:
      return "up";
    case TargetHealth::kDown:
      return "down";
  }
  return "";
}

}  // namespace varve
