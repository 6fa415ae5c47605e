// SPDX-License-Identifier: Apache-2.0
//
// One rule with the state it keeps from one evaluation to the next.
#pragma once

#include <absl/status/statusor.h>

#include <functional>
#include <memory>
#include <string_view>

#include "model/time.h"
#include "promql/engine.h"
#include "rules/manager.h"
#include "rules/rule_file.h"

namespace varve {

// Evaluates a query at a time; what a rule sees of engine and storage.
using RuleQuery =
    std::function<absl::StatusOr<promql::QueryResult>(std::string_view query, TimestampMs time)>;

struct RuleContext {
  RuleQuery query;
  DurationMs query_offset = 0;
  uint64_t limit = 0;  // 0 = none.
  Labels external_labels;
  std::string external_url;
};

// Used by one thread at a time.
class Rule {
 public:
  virtual ~Rule() = default;
  Rule(const Rule&) = delete;
  Rule& operator=(const Rule&) = delete;

  const RuleSpec& spec() const { return spec_; }

  // Evaluates at `time` and returns the series to store, their labels all different.
  // FailedPrecondition if they are not, or if there are more than the limit.
  virtual absl::StatusOr<promql::Vector> Evaluate(const RuleContext& context, TimestampMs time) = 0;

  // Writes what the rule is and its alerts; leaves health and timings alone.
  virtual void Describe(RuleStatus& status) const = 0;

  // Takes over the state of `before`, a rule of the same name and labels.
  virtual void AdoptState(Rule& before) = 0;

 protected:
  explicit Rule(RuleSpec spec) : spec_(std::move(spec)) {}

  const RuleSpec spec_;
};

// The elements of a vector or scalar result. FailedPrecondition
// `rule result is not a vector or scalar`.
absl::StatusOr<promql::Vector> VectorOf(promql::QueryResult result);

// `query` is the expression as it is printed.
std::unique_ptr<Rule> NewRecordingRule(RuleSpec spec, std::string query);
std::unique_ptr<Rule> NewAlertingRule(RuleSpec spec, std::string query);

}  // namespace varve
