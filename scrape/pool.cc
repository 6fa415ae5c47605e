// SPDX-License-Identifier: Apache-2.0
//
// Discovery callbacks only store groups and ask for a sync, which a worker does: at once after a
// quiet time, else once per reload interval, however often the groups change.
#include "scrape/pool.h"

#include <absl/container/flat_hash_set.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>

#include "model/clock.h"
#include "model/log_line.h"
#include "model/status_macros.h"

namespace varve {

ScrapePool::ScrapePool(std::shared_ptr<ScrapeContext> context, std::string job)
    : context_(std::move(context)),
      job_(std::move(job)),
      metrics_(context_->metrics.AddPool(job_)) {}

void ScrapePool::Configure(ScrapeConfig config, const DiscoveryStarter& start) {
  const auto settings = PoolSettings::Create(std::move(config));
  metrics_->target_limit.Set(static_cast<double>(settings->config.limits.targets));
  {
    MutexLock lock(mutex_);
    if (settings_ != nullptr && settings_->config.discovery == settings->config.discovery) {
      settings_ = settings;
      ScheduleSync();
      return;
    }
    // Before the discoveries start, since static ones call back at once.
    if (settings_ == nullptr) settings_ = settings;
    configuring_ = true;
    silent_.clear();
  }
  std::vector<ProviderId> providers;
  auto discoveries = start(settings->config, [this, &providers] { return NewCallback(providers); });
  discoveries_.swap(discoveries);
  MutexLock lock(mutex_);
  settings_ = settings;
  providers_ = std::move(providers);
  configuring_ = false;
  if (silent_.empty()) DropRetiredGroups();
  ScheduleSync();
}

TargetGroupsCallback ScrapePool::NewCallback(std::vector<ProviderId>& providers) {
  MutexLock lock(mutex_);
  const ProviderId provider = next_provider_++;
  providers.push_back(provider);
  silent_.push_back(provider);
  return [weak = weak_from_this(), provider](std::vector<TargetGroup> groups) {
    if (const auto pool = weak.lock()) pool->OnGroups(provider, std::move(groups));
  };
}

void ScrapePool::OnGroups(ProviderId provider, std::vector<TargetGroup> groups) {
  context_->metrics.discovery_updates.Increment();
  MutexLock lock(mutex_);
  if (stopped_) return;
  for (TargetGroup& group : groups) {
    const std::pair<ProviderId, std::string> key(provider, group.source);
    if (group.targets.empty()) {
      groups_.erase(key);
    } else {
      groups_[key] = {.group = std::move(group)};
    }
  }
  if (std::erase(silent_, provider) > 0 && silent_.empty()) DropRetiredGroups();
  ScheduleSync();
}

// Groups of discoveries that a reload replaced stay until every new one has spoken.
void ScrapePool::DropRetiredGroups() {
  if (configuring_) return;
  const std::vector<ProviderId> current = providers_;  // A lambda holds no lock, to the analysis.
  std::erase_if(groups_, [&current](const auto& group) {
    return std::find(current.begin(), current.end(), group.first.first) == current.end();
  });
}

void ScrapePool::ScheduleSync() {
  if (sync_scheduled_ || stopped_) return;
  sync_scheduled_ = true;
  const int64_t since = context_->clock.MonotonicNanos() - last_sync_nanos_;
  const int64_t interval = context_->discovery_reload_interval * kNanosPerMs;
  if (last_sync_nanos_ == 0 || since >= interval) {
    SubmitSync();
    return;
  }
  context_->http.loop().RunAfter(std::chrono::nanoseconds(interval - since),
                                 [weak = weak_from_this()] {
                                   if (const auto pool = weak.lock()) pool->SubmitSync();
                                 });
}

void ScrapePool::SubmitSync() {
  context_->workers.Submit([weak = weak_from_this()] {
    if (const auto pool = weak.lock()) pool->Sync();
  });
}

void ScrapePool::Sync() {
  MutexLock lock(mutex_);
  sync_scheduled_ = false;
  if (stopped_) return;
  const int64_t start = context_->clock.MonotonicNanos();
  for (auto& [key, state] : groups_) {
    if (state.settings != settings_) RelabelGroup(state, settings_);
  }
  UpdateLoops();
  UpdateTargetLimit();
  last_sync_nanos_ = context_->clock.MonotonicNanos();
  metrics_->syncs.Increment();
  metrics_->sync_seconds.Observe(static_cast<double>(last_sync_nanos_ - start) /
                                 (kNanosPerMs * kSecond));
}

void ScrapePool::RelabelGroup(GroupState& state,
                              const std::shared_ptr<const PoolSettings>& settings) {
  state.settings = settings;
  state.targets.clear();
  state.dropped.clear();
  for (size_t i = 0; i < state.group.targets.size(); ++i) {
    Labels discovered =
        DiscoveredLabels(settings->config, state.group.labels, state.group.targets[i]);
    absl::StatusOr<std::optional<Target>> target = MakeTarget(settings->config, discovered);
    if (!target.ok()) {
      spdlog::error(LogLine("Creating target failed", {{"scrape_pool", job_},
                                                       {"instance", std::to_string(i)},
                                                       {"group", state.group.source},
                                                       {"err", MessageOf(target.status())}}));
      metrics_->sync_failures.Increment();
      continue;
    }
    if (!target->has_value()) {
      state.dropped.push_back(std::move(discovered));
      continue;
    }
    auto made = std::make_shared<const Target>(std::move(**target));
    const uint64_t hash = made->Hash();
    state.targets.emplace_back(hash, std::move(made));
  }
}

void ScrapePool::UpdateLoops() {
  struct Wanted {
    const GroupState* state;
    uint64_t hash;
    const std::shared_ptr<const Target>* target;
  };
  std::vector<Wanted> targets;  // Each once, however often it was found.
  absl::flat_hash_set<uint64_t> wanted;
  size_t discovered = 0;
  for (const auto& [key, state] : groups_) {
    discovered += state.group.targets.size();
    for (const auto& [hash, target] : state.targets) {
      if (wanted.insert(hash).second) targets.push_back({&state, hash, &target});
    }
  }
  context_->targets += wanted.size() - loops_.size();  // Before a slot is chosen.
  for (const auto& [state, hash, target] : targets) {
    std::shared_ptr<TargetLoop>& loop = loops_[hash];
    if (loop == nullptr) {
      loop = std::make_shared<TargetLoop>(context_, metrics_, state->settings, *target);
      loop->Start();
    } else {
      loop->Change(state->settings, *target);
    }
  }
  for (auto loop = loops_.begin(); loop != loops_.end();) {
    if (wanted.contains(loop->first)) {
      ++loop;
      continue;
    }
    loop->second->Stop(true);
    loops_.erase(loop++);
  }
  metrics_->targets.Set(static_cast<double>(loops_.size()));
  metrics_->discovered_targets.Set(static_cast<double>(discovered));
}

void ScrapePool::UpdateTargetLimit() {
  const uint64_t limit = settings_->config.limits.targets;
  std::string error;
  if (limit > 0 && loops_.size() > limit) {
    context_->metrics.target_limit_exceeded.Increment();
    error = fmt::format("target_limit exceeded (number of targets: {}, limit: {})", loops_.size(),
                        limit);
  }
  for (const auto& [hash, loop] : loops_) loop->SetForcedError(error);
}

void ScrapePool::Stop(bool end_series) {
  discoveries_.clear();  // Without the lock: its destruction waits for callbacks.
  MutexLock lock(mutex_);
  stopped_ = true;
  for (const auto& [hash, loop] : loops_) loop->Stop(end_series);
  context_->targets -= loops_.size();
  loops_.clear();
  groups_.clear();
}

std::shared_ptr<const PoolSettings> ScrapePool::settings() const {
  MutexLock lock(mutex_);
  return settings_;
}

std::vector<std::shared_ptr<TargetLoop>> ScrapePool::Loops() const {
  MutexLock lock(mutex_);
  std::vector<std::shared_ptr<TargetLoop>> loops;
  for (const auto& [hash, loop] : loops_) loops.push_back(loop);
  return loops;
}

void ScrapePool::Snapshot(TargetsSnapshot& snapshot) const {
  const size_t first = snapshot.active.size();
  for (const std::shared_ptr<TargetLoop>& loop : Loops()) {
    ActiveTarget& target = snapshot.active.emplace_back(loop->Snapshot());
    target.scrape_pool = job_;
  }
  std::sort(snapshot.active.begin() + static_cast<ptrdiff_t>(first), snapshot.active.end(),
            [](const ActiveTarget& a, const ActiveTarget& b) { return a.labels < b.labels; });
  MutexLock lock(mutex_);
  uint64_t& dropped = snapshot.dropped_counts[job_];
  const uint64_t keep = settings_ == nullptr ? 0 : settings_->config.limits.keep_dropped_targets;
  for (const auto& [key, state] : groups_) {
    for (const Labels& labels : state.dropped) {
      if (keep == 0 || dropped < keep) snapshot.dropped.push_back({labels, job_});
      ++dropped;
    }
  }
}

}  // namespace varve
