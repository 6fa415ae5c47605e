// SPDX-License-Identifier: Apache-2.0
//
// A rule group at work: its rules with their state, what they stored last, and how it went.
#pragma once

#include <absl/container/flat_hash_set.h>
#include <absl/status/statusor.h>

#include <atomic>
#include <memory>
#include <optional>
#include <vector>

#include "model/appendable.h"
#include "model/clock.h"
#include "model/mutex.h"
#include "model/queryable.h"
#include "promql/engine.h"
#include "promql/parser.h"
#include "rules/manager.h"
#include "rules/rule.h"
#include "rules/rule_file.h"
#include "rules/rule_metrics.h"

namespace varve {

// A group's specification with the configuration's defaults filled in.
struct GroupSettings {
  RuleGroupSpec spec;
  DurationMs interval = kMinute;
  DurationMs query_offset = 0;
  Labels external_labels;
  std::string external_url;
  friend bool operator==(const GroupSettings&, const GroupSettings&) = default;
};

// What groups work with; outlives them.
struct RuleBackends {
  const Queryable& storage;
  Appendable& appendable;
  promql::Engine& engine;
  Clock& clock;
  promql::ParserOptions parser;
  RuleMetrics* metrics = nullptr;     // May be null.
  const std::atomic<bool>& stopping;  // Ends evaluations early.
};

class Group {
 public:
  // InvalidArgument if a rule's expression does not parse.
  static absl::StatusOr<std::unique_ptr<Group>> Create(GroupSettings settings,
                                                       const RuleBackends& backends);
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  const GroupSettings& settings() const { return settings_; }

  // The first slot after `time`.
  TimestampMs SlotAfter(TimestampMs time) const;

  // Evaluates the rules in order for `slot` and stores what they give. `missed` slots were skipped
  // before it. One thread at a time.
  void Evaluate(TimestampMs slot, int64_t missed) ABSL_LOCKS_EXCLUDED(mutex_);

  // Takes over the state of rules that `before` has too; series of its other rules end at the next
  // evaluation. REQUIRES: neither is being evaluated.
  void AdoptState(Group& before) ABSL_LOCKS_EXCLUDED(mutex_);

  // The series stored last, which nobody will store again. REQUIRES: not being evaluated.
  std::vector<Labels> TakeStoredSeries();

  // Thread-safe.
  RuleGroupStatus Status() const ABSL_LOCKS_EXCLUDED(mutex_);

  const std::optional<RuleMetrics::Group>& metrics() const { return metrics_; }

 private:
  using SeriesNames = absl::flat_hash_set<Labels>;

  Group(GroupSettings settings, const RuleBackends& backends)
      : settings_(std::move(settings)), backends_(backends) {}

  RuleContext Context() const;
  void EvaluateRule(size_t index, TimestampMs slot, uint64_t& samples) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status Store(size_t index, const promql::Vector& vector, TimestampMs time);
  void EndOrphans(TimestampMs time);

  const GroupSettings settings_;
  const RuleBackends& backends_;
  uint64_t hash_ = 0;
  std::optional<RuleMetrics::Group> metrics_;

  // Of whoever evaluates.
  std::vector<std::unique_ptr<Rule>> rules_;
  std::vector<SeriesNames> stored_;  // By rule: the series of the last successful evaluation.
  std::vector<Labels> orphans_;      // Series of rules that are gone.

  mutable Mutex mutex_;
  RuleGroupStatus status_ ABSL_GUARDED_BY(mutex_);
};

// Writes staleness markers for `series` at `time`; series that have moved on are skipped.
absl::Status EndSeries(Appendable& appendable, const std::vector<Labels>& series, TimestampMs time);

}  // namespace varve
