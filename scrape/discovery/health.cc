// SPDX-License-Identifier: Apache-2.0
//
// Discoveries of one job and mechanism share their series, which go with the last of them.
#include "scrape/discovery/health.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <tuple>

#include "model/log_line.h"
#include "model/status_macros.h"

namespace varve {

struct DiscoveryHealth::Series {
  ~Series() { healths.RemoveSeries(*this); }

  DiscoveryHealths& healths;
  const DiscoveryHealths::Key key;
  prometheus::Counter& failures;
  prometheus::Gauge& stale;
  prometheus::Counter* const mechanism_failures;  // Of all jobs; may be null.
};

void DiscoveryHealth::Succeeded() {
  MutexLock lock(mutex_);
  status_.last_success = clock_.Now();
  if (!status_.stale) return;
  status_.stale = false;
  status_.last_error.clear();
  status_.failing_since = 0;
  series_->stale.Decrement();
  spdlog::info(LogLine(
      "Service discovery works again",
      {{"discovery", status_.mechanism}, {"config", status_.config}, {"source", status_.source}}));
}

void DiscoveryHealth::Failed(const absl::Status& status) {
  MutexLock lock(mutex_);
  series_->failures.Increment();
  if (series_->mechanism_failures != nullptr) series_->mechanism_failures->Increment();
  const std::string error = MessageOf(status);
  if (error != status_.last_error) {
    spdlog::error(LogLine("Unable to refresh target groups", {{"discovery", status_.mechanism},
                                                              {"config", status_.config},
                                                              {"source", status_.source},
                                                              {"err", error}}));
  }
  status_.last_error = error;
  if (status_.stale) return;
  status_.stale = true;
  status_.failing_since = clock_.Now();
  series_->stale.Increment();
}

DiscoveryStatus DiscoveryHealth::Status() const {
  MutexLock lock(mutex_);
  return status_;
}

DiscoveryHealth::~DiscoveryHealth() {
  MutexLock lock(mutex_);
  if (status_.stale) series_->stale.Decrement();
}

DiscoveryHealths::DiscoveryHealths(prometheus::Registry& registry, Clock& clock)
    : clock_(clock),
      failures_(prometheus::BuildCounter()
                    .Name("prometheus_sd_refresh_failures_total")
                    .Help("Number of refresh failures for the given SD mechanism.")
                    .Register(registry)),
      stale_(prometheus::BuildGauge()
                 .Name("varve_sd_stale")
                 .Help("Discoveries that fail and so keep the targets they found before.")
                 .Register(registry)),
      http_failures_(prometheus::BuildCounter()
                         .Name("prometheus_sd_http_failures_total")
                         .Help("Number of HTTP service discovery refresh failures.")
                         .Register(registry)
                         .Add({})),
      dns_failures_(prometheus::BuildCounter()
                        .Name("prometheus_sd_dns_lookup_failures_total")
                        .Help("The number of DNS-SD lookup failures.")
                        .Register(registry)
                        .Add({})),
      consul_failures_(prometheus::BuildCounter()
                           .Name("prometheus_sd_consul_rpc_failures_total")
                           .Help("The number of Consul RPC call failures.")
                           .Register(registry)
                           .Add({})) {}

std::shared_ptr<DiscoveryHealth> DiscoveryHealths::Add(std::string config, std::string mechanism,
                                                       std::string source) {
  MutexLock lock(mutex_);
  std::weak_ptr<DiscoveryHealth::Series>& known = series_[{config, mechanism}];
  std::shared_ptr<DiscoveryHealth::Series> series = known.lock();
  if (series == nullptr) {
    const prometheus::Labels labels = {{"config", config}, {"mechanism", mechanism}};
    prometheus::Counter* const of_all = mechanism == "http"     ? &http_failures_
                                        : mechanism == "dns"    ? &dns_failures_
                                        : mechanism == "consul" ? &consul_failures_
                                                                : nullptr;
    series.reset(new DiscoveryHealth::Series{.healths = *this,
                                             .key = {config, mechanism},
                                             .failures = failures_.Add(labels),
                                             .stale = stale_.Add(labels),
                                             .mechanism_failures = of_all});
    known = series;
  }
  std::shared_ptr<DiscoveryHealth> health(new DiscoveryHealth(
      std::move(series),
      {.config = std::move(config), .mechanism = std::move(mechanism), .source = std::move(source)},
      clock_));
  std::erase_if(healths_, [](const auto& other) { return other.expired(); });
  healths_.push_back(health);
  return health;
}

void DiscoveryHealths::RemoveSeries(const DiscoveryHealth::Series& series) {
  MutexLock lock(mutex_);
  const auto known = series_.find(series.key);
  // Somebody may have added the same anew since the last user left: the series are theirs now.
  if (known == series_.end() || !known->second.expired()) return;
  series_.erase(known);
  failures_.Remove(&series.failures);
  stale_.Remove(&series.stale);
}

std::vector<DiscoveryStatus> DiscoveryHealths::List() const {
  std::vector<std::shared_ptr<DiscoveryHealth>> healths;
  {
    MutexLock lock(mutex_);
    for (const auto& weak : healths_) {
      if (auto health = weak.lock()) healths.push_back(std::move(health));
    }
  }
  std::vector<DiscoveryStatus> list;
  for (const auto& health : healths) list.push_back(health->Status());
  std::sort(list.begin(), list.end(), [](const DiscoveryStatus& a, const DiscoveryStatus& b) {
    return std::tie(a.config, a.mechanism, a.source) < std::tie(b.config, b.mechanism, b.source);
  });
  return list;
}

}  // namespace varve
