// SPDX-License-Identifier: Apache-2.0
//
// Recording rules: a query's result under another name.
#include <absl/container/flat_hash_set.h>
#include <fmt/format.h>

#include <variant>

#include "model/status_macros.h"
#include "rules/rule.h"

namespace varve {
namespace {

class RecordingRule : public Rule {
 public:
  RecordingRule(RuleSpec spec, std::string query)
      : Rule(std::move(spec)), query_(std::move(query)) {}

  absl::StatusOr<promql::Vector> Evaluate(const RuleContext& context, TimestampMs time) override {
    ASSIGN_OR_RETURN(promql::QueryResult result,
                     context.query(spec_.expr, time - context.query_offset));
    ASSIGN_OR_RETURN(promql::Vector vector, VectorOf(std::move(result)));
    absl::flat_hash_set<Labels> seen;
    LabelsBuilder builder;
    for (promql::VectorSample& sample : vector) {
      builder.Reset(sample.labels);
      builder.Set(kMetricName, spec_.record);
      for (const auto& [name, value] : spec_.labels) builder.Set(name, value);
      sample.labels = builder.Build();
      if (!seen.insert(sample.labels).second) {
        return absl::FailedPreconditionError(
            "vector contains metrics with the same labelset after applying rule labels");
      }
    }
    if (context.limit > 0 && vector.size() > context.limit) {
      return absl::FailedPreconditionError(
          fmt::format("exceeded limit of {} with {} series", context.limit, vector.size()));
    }
    return vector;
  }

  void Describe(RuleStatus& status) const override {
    status.is_alert = false;
    status.name = spec_.record;
    status.query = query_;
    std::vector<std::pair<std::string, std::string>> pairs(spec_.labels.begin(),
                                                           spec_.labels.end());
    status.labels = Labels::FromPairs(std::move(pairs));
  }

  void AdoptState(Rule&) override {}

 private:
  const std::string query_;
};

}  // namespace

absl::StatusOr<promql::Vector> VectorOf(promql::QueryResult result) {
  if (auto* vector = std::get_if<promql::Vector>(&result.value)) return std::move(*vector);
  if (const auto* scalar = std::get_if<promql::ScalarResult>(&result.value)) {
    promql::Vector vector(1);
    vector[0].time = scalar->time;
    vector[0].value = scalar->value;
    return vector;
  }
  return absl::FailedPreconditionError("rule result is not a vector or scalar");
}

std::unique_ptr<Rule> NewRecordingRule(RuleSpec spec, std::string query) {
  return std::make_unique<RecordingRule>(std::move(spec), std::move(query));
}

}  // namespace varve
