// SPDX-License-Identifier: Apache-2.0
//
// A few threads share all groups: each takes the group that is due first and evaluates it while
// the others go on. Lock order: apply_mutex_, mutex_, then a group's own.
#include "rules/manager.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <limits>
#include <map>
#include <thread>
#include <utility>

#include "model/log_line.h"
#include "model/mutex.h"
#include "model/status_macros.h"
#include "rules/group.h"

namespace varve {
namespace {

// The longest wait for a slot; clock steps are noticed after it.
constexpr DurationMs kWaitMax = kMinute;

class RuleManagerImpl : public RuleManager {
 public:
  RuleManagerImpl(const RuleManagerOptions& options, const Queryable& storage,
                  Appendable& appendable, promql::Engine& engine, Clock& clock)
      : metrics_(options.registry != nullptr ? std::make_unique<RuleMetrics>(*options.registry)
                                             : nullptr),
        backends_{.storage = storage,
                  .appendable = appendable,
                  .engine = engine,
                  .clock = clock,
                  .parser = options.parser,
                  .metrics = metrics_.get(),
                  .stopping = stopping_} {
    for (size_t i = 0; i < std::max<size_t>(options.evaluations_max, 1); ++i) {
      threads_.emplace_back([this] { Work(); });
    }
  }
  ~RuleManagerImpl() override { Stop(); }

  absl::Status Apply(const RuleSettings& settings) override
      ABSL_LOCKS_EXCLUDED(apply_mutex_, mutex_);
  std::vector<RuleGroupStatus> Groups() const override ABSL_LOCKS_EXCLUDED(mutex_);
  void Stop() override ABSL_LOCKS_EXCLUDED(apply_mutex_, mutex_);

 private:
  using Key = std::pair<std::string, std::string>;  // File, name.
  struct Entry {
    std::shared_ptr<Group> group;
    TimestampMs next_slot = 0;
    bool busy = false;
    bool retired = false;  // Being replaced or removed: not to be picked.
  };
  // Series of a removed group, to be ended once its last samples have had time to be used.
  struct Ending {
    TimestampMs due = 0;
    std::vector<Labels> series;
  };

  absl::StatusOr<std::vector<GroupSettings>> Load(const RuleSettings& settings) const;
  void Retire(const Key& key) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Work() ABSL_LOCKS_EXCLUDED(mutex_);
  Entry* FirstDue(TimestampMs now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool RunDueEnding(TimestampMs now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  TimestampMs NextDue() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void RunGroup(const Key& key, TimestampMs now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  std::atomic<bool> stopping_{false};
  const std::unique_ptr<RuleMetrics> metrics_;
  const RuleBackends backends_;

  Mutex apply_mutex_;
  mutable Mutex mutex_;
  CondVar wake_;
  CondVar idle_;  // A group's evaluation ended.
  std::map<Key, Entry> entries_ ABSL_GUARDED_BY(mutex_);
  std::vector<Ending> endings_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::thread> threads_;  // Emptied by Stop() only.
};

absl::StatusOr<std::vector<GroupSettings>> RuleManagerImpl::Load(
    const RuleSettings& settings) const {
  std::vector<std::string> files = settings.files;
  std::sort(files.begin(), files.end());
  files.erase(std::unique(files.begin(), files.end()), files.end());
  std::vector<GroupSettings> loaded;
  for (const std::string& file : files) {
    ASSIGN_OR_RETURN(std::vector<RuleGroupSpec> groups, LoadRuleFile(file, backends_.parser));
    for (RuleGroupSpec& spec : groups) {
      GroupSettings group;
      group.interval = spec.interval > 0 ? spec.interval : settings.evaluation_interval;
      group.query_offset = spec.query_offset.value_or(settings.query_offset);
      group.external_labels = settings.external_labels;
      group.external_url = settings.external_url;
      group.spec = std::move(spec);
      loaded.push_back(std::move(group));
    }
  }
  return loaded;
}

absl::Status RuleManagerImpl::Apply(const RuleSettings& settings) {
  MutexLock apply_lock(apply_mutex_);
  ASSIGN_OR_RETURN(std::vector<GroupSettings> loaded, Load(settings));
  std::map<Key, std::shared_ptr<Group>> wanted;
  for (GroupSettings& group : loaded) {
    const Key key(group.spec.file, group.spec.name);
    {
      MutexLock lock(mutex_);
      const auto found = entries_.find(key);
      if (found != entries_.end() && found->second.group->settings() == group) {
        wanted[key] = found->second.group;
        continue;
      }
    }
    ASSIGN_OR_RETURN(wanted[key], Group::Create(std::move(group), backends_));
  }

  const TimestampMs now = backends_.clock.Now();
  MutexLock lock(mutex_);
  std::vector<Key> gone;
  for (const auto& [key, entry] : entries_) {
    if (!wanted.contains(key)) gone.push_back(key);
  }
  for (const Key& key : gone) {
    Retire(key);
    const std::shared_ptr<Group> group = entries_.at(key).group;
    endings_.push_back(
        {.due = now + 2 * group->settings().interval, .series = group->TakeStoredSeries()});
    if (group->metrics().has_value()) metrics_->Forget(*group->metrics());
    entries_.erase(key);
  }
  for (auto& [key, group] : wanted) {
    const auto found = entries_.find(key);
    if (found != entries_.end()) {
      if (found->second.group == group) continue;
      Retire(key);
      group->AdoptState(*found->second.group);
    }
    entries_[key] = Entry{.group = group, .next_slot = group->SlotAfter(now)};
  }
  wake_.NotifyAll();
  return absl::OkStatus();
}

// Keeps the group from being picked again and waits until it is not being evaluated.
void RuleManagerImpl::Retire(const Key& key) {
  entries_.at(key).retired = true;
  while (entries_.at(key).busy) idle_.Wait(mutex_);
}

RuleManagerImpl::Entry* RuleManagerImpl::FirstDue(TimestampMs now) {
  Entry* first = nullptr;
  for (auto& [key, entry] : entries_) {
    if (entry.busy || entry.retired) continue;
    // After a step back of the clock the slot would be far ahead.
    if (entry.next_slot > now + 2 * entry.group->settings().interval) {
      entry.next_slot = entry.group->SlotAfter(now);
    }
    if (entry.next_slot > now) continue;
    if (first == nullptr || entry.next_slot < first->next_slot) first = &entry;
  }
  return first;
}

TimestampMs RuleManagerImpl::NextDue() const {
  TimestampMs next = std::numeric_limits<TimestampMs>::max();
  for (const auto& [key, entry] : entries_) {
    if (!entry.busy && !entry.retired) next = std::min(next, entry.next_slot);
  }
  for (const Ending& ending : endings_) next = std::min(next, ending.due);
  return next;
}

bool RuleManagerImpl::RunDueEnding(TimestampMs now) {
  const auto due = std::find_if(endings_.begin(), endings_.end(),
                                [&](const Ending& ending) { return ending.due <= now; });
  if (due == endings_.end()) return false;
  const std::vector<Labels> series = std::move(due->series);
  endings_.erase(due);
  mutex_.Unlock();
  const absl::Status status = EndSeries(backends_.appendable, series, now);
  if (!status.ok()) {
    spdlog::warn(LogLine("Cannot end the series of removed rules", {{"err", MessageOf(status)}}));
  }
  mutex_.Lock();
  return true;
}

void RuleManagerImpl::RunGroup(const Key& key, TimestampMs now) {
  Entry& entry = entries_.at(key);
  const std::shared_ptr<Group> group = entry.group;
  const DurationMs interval = group->settings().interval;
  const int64_t missed = (now - entry.next_slot) / interval;
  const TimestampMs slot = entry.next_slot + missed * interval;
  entry.busy = true;
  mutex_.Unlock();
  group->Evaluate(slot, missed);
  mutex_.Lock();
  // Still there: whoever removes it waits for `busy`.
  Entry& after = entries_.at(key);
  after.busy = false;
  after.next_slot = slot + interval;
  idle_.NotifyAll();
}

void RuleManagerImpl::Work() {
  mutex_.Lock();
  while (!stopping_) {
    const TimestampMs now = backends_.clock.Now();
    if (RunDueEnding(now)) continue;
    if (const Entry* due = FirstDue(now); due != nullptr) {
      const RuleGroupSpec& spec = due->group->settings().spec;
      RunGroup(Key(spec.file, spec.name), now);
      continue;
    }
    const TimestampMs next = NextDue();
    const DurationMs wait = next > now + kWaitMax ? kWaitMax : next - now;
    backends_.clock.WaitFor(wake_, mutex_, std::chrono::milliseconds(wait));
  }
  mutex_.Unlock();
}

std::vector<RuleGroupStatus> RuleManagerImpl::Groups() const {
  std::vector<std::shared_ptr<Group>> groups;
  {
    MutexLock lock(mutex_);
    for (const auto& [key, entry] : entries_) groups.push_back(entry.group);
  }
  std::vector<RuleGroupStatus> statuses;
  statuses.reserve(groups.size());
  for (const auto& group : groups) statuses.push_back(group->Status());
  return statuses;
}

void RuleManagerImpl::Stop() {
  MutexLock apply_lock(apply_mutex_);
  {
    // Under the lock, so that no worker misses it between its check and its wait.
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  wake_.NotifyAll();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

}  // namespace

std::string_view RuleHealthText(RuleHealth health) {
  switch (health) {
    case RuleHealth::kUnknown:
      return "unknown";
    case RuleHealth::kOk:
      return "ok";
    case RuleHealth::kError:
      return "err";
  }
  return "unknown";
}

std::string_view AlertStateText(AlertState state) {
  switch (state) {
    case AlertState::kUnknown:
      return "unknown";
    case AlertState::kInactive:
      return "inactive";
    case AlertState::kPending:
      return "pending";
    case AlertState::kFiring:
      return "firing";
  }
  return "unknown";
}

std::unique_ptr<RuleManager> RuleManager::Create(const RuleManagerOptions& options,
                                                 const Queryable& storage, Appendable& appendable,
                                                 promql::Engine& engine, Clock& clock) {
  return std::make_unique<RuleManagerImpl>(options, storage, appendable, engine, clock);
}

}  // namespace varve
