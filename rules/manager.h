// SPDX-License-Identifier: Apache-2.0
//
// Evaluates rule groups on their schedules and stores what they give.
//
// A group runs at its slots: times that are its own offset (a hash of file and name) plus a
// multiple of its interval. A slot that has passed when the previous evaluation ends is skipped
// and counted as missed. The rules of a group run one after the other, each seeing what the ones
// before stored; groups run side by side on `evaluations_max` threads.
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <prometheus/registry.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/appendable.h"
#include "model/clock.h"
#include "model/labels.h"
#include "model/queryable.h"
#include "model/time.h"
#include "promql/engine.h"
#include "promql/parser.h"

namespace varve {

struct RuleManagerOptions {
  size_t evaluations_max = 4;
  promql::ParserOptions parser;
  prometheus::Registry* registry = nullptr;  // prometheus_rule_*; null = none.
};

// What the configuration says about rules.
struct RuleSettings {
  std::vector<std::string> files;  // Globs already expanded.
  DurationMs evaluation_interval = kMinute;
  DurationMs query_offset = 0;
  Labels external_labels;  // `$externalLabels` of alert templates.
  std::string external_url;
};

enum class RuleHealth { kUnknown, kOk, kError };
// "unknown", "ok", "err".
std::string_view RuleHealthText(RuleHealth health);

enum class AlertState { kUnknown, kInactive, kPending, kFiring };
// "unknown", "inactive", "pending", "firing".
std::string_view AlertStateText(AlertState state);

struct AlertStatus {
  Labels labels;
  Labels annotations;
  AlertState state = AlertState::kInactive;
  TimestampMs active_at = 0;
  std::optional<TimestampMs> keep_firing_since;
  double value = 0;
};

struct RuleStatus {
  bool is_alert = false;
  std::string name;
  std::string query;  // Printed from the tree.
  Labels labels;
  RuleHealth health = RuleHealth::kUnknown;
  std::string last_error;
  double evaluation_seconds = 0;
  TimestampMs last_evaluation = 0;  // 0 = never.
  // Alerts only.
  DurationMs for_ms = 0;
  DurationMs keep_firing_for_ms = 0;
  Labels annotations;
  AlertState state = AlertState::kUnknown;
  std::vector<AlertStatus> alerts;  // Pending and firing.
};

struct RuleGroupStatus {
  std::string name;
  std::string file;
  DurationMs interval = 0;
  uint64_t limit = 0;
  double evaluation_seconds = 0;
  TimestampMs last_evaluation = 0;  // 0 = never.
  std::vector<RuleStatus> rules;
};

// Thread-safe.
class RuleManager {
 public:
  // All references must outlive the manager.
  static std::unique_ptr<RuleManager> Create(const RuleManagerOptions& options,
                                             const Queryable& storage, Appendable& appendable,
                                             promql::Engine& engine, Clock& clock);

  // Stops.
  virtual ~RuleManager() = default;

  // Loads the files and replaces the groups; those that did not change keep their state and
  // schedule. If a file is bad, nothing changes and the status names it.
  virtual absl::Status Apply(const RuleSettings& settings) = 0;

  // The groups in order of file and name.
  virtual std::vector<RuleGroupStatus> Groups() const = 0;

  // Lets running evaluations end and starts no more. Idempotent.
  virtual void Stop() = 0;

 protected:
  RuleManager() = default;
};

}  // namespace varve
