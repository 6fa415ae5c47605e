// SPDX-License-Identifier: Apache-2.0
//
// The targets of one scrape_config: discovered groups come in, relabelled targets come out, and
// each has a loop. A group is relabelled again only when it or the configuration has changed.
#pragma once

#include <absl/base/thread_annotations.h>
#include <absl/container/flat_hash_map.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/mutex.h"
#include "scrape/context.h"
#include "scrape/discovery/discovery.h"
#include "scrape/manager.h"
#include "scrape/target_loop.h"

namespace varve {

// Starts the discoveries of a configuration, each with a callback of its own. The callback of one
// that cannot start is called without groups.
using DiscoveryStarter = std::function<std::vector<std::unique_ptr<Discovery>>(
    const ScrapeConfig&, const std::function<TargetGroupsCallback()>& new_callback)>;

// Thread-safe, but Configure() and Stop() are called one at a time. Held by shared_ptr.
class ScrapePool : public std::enable_shared_from_this<ScrapePool> {
 public:
  ScrapePool(std::shared_ptr<ScrapeContext> context, std::string job);

  // Starts with `config`, or goes over to it: targets that stay the same keep their state.
  void Configure(ScrapeConfig config, const DiscoveryStarter& start) ABSL_LOCKS_EXCLUDED(mutex_);
  // Ends discovery and every loop, see TargetLoop::Stop().
  void Stop(bool end_series) ABSL_LOCKS_EXCLUDED(mutex_);

  std::shared_ptr<const PoolSettings> settings() const ABSL_LOCKS_EXCLUDED(mutex_);
  // Appends the pool's targets to `snapshot`.
  void Snapshot(TargetsSnapshot& snapshot) const ABSL_LOCKS_EXCLUDED(mutex_);
  std::vector<std::shared_ptr<TargetLoop>> Loops() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  using ProviderId = uint64_t;

  struct GroupState {
    TargetGroup group;
    // What relabelling made of it under `settings`; null: not done.
    std::shared_ptr<const PoolSettings> settings;
    std::vector<std::pair<uint64_t, std::shared_ptr<const Target>>> targets;  // With their hashes.
    std::vector<Labels> dropped;
  };
  using Groups = std::map<std::pair<ProviderId, std::string>, GroupState>;

  TargetGroupsCallback NewCallback(std::vector<ProviderId>& providers) ABSL_LOCKS_EXCLUDED(mutex_);
  void OnGroups(ProviderId provider, std::vector<TargetGroup> groups) ABSL_LOCKS_EXCLUDED(mutex_);
  void DropRetiredGroups() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ScheduleSync() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SubmitSync();
  void Sync() ABSL_LOCKS_EXCLUDED(mutex_);
  void RelabelGroup(GroupState& state, const std::shared_ptr<const PoolSettings>& settings);
  void UpdateLoops() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void UpdateTargetLimit() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Constant after construction.
  const std::shared_ptr<ScrapeContext> context_;
  const std::string job_;
  const std::shared_ptr<ScrapeMetrics::Pool> metrics_;

  // Touched by Configure() and Stop() only.
  std::vector<std::unique_ptr<Discovery>> discoveries_;

  mutable Mutex mutex_;
  std::shared_ptr<const PoolSettings> settings_ ABSL_GUARDED_BY(mutex_);
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  ProviderId next_provider_ ABSL_GUARDED_BY(mutex_) = 1;
  std::vector<ProviderId> providers_ ABSL_GUARDED_BY(mutex_);  // Of settings_.
  bool configuring_ ABSL_GUARDED_BY(mutex_) = false;        // providers_ are still the former ones.
  std::vector<ProviderId> silent_ ABSL_GUARDED_BY(mutex_);  // Those that have not called yet.
  Groups groups_ ABSL_GUARDED_BY(mutex_);
  bool sync_scheduled_ ABSL_GUARDED_BY(mutex_) = false;
  int64_t last_sync_nanos_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::flat_hash_map<uint64_t, std::shared_ptr<TargetLoop>> loops_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace varve
