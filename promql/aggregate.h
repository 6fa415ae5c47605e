// SPDX-License-Identifier: Apache-2.0
//
// Aggregations. Groups are folded while their series stream in; they leave in the order in which
// their first series arrives.
#pragma once

#include <string>
#include <vector>

#include "promql/ast.h"
#include "promql/context.h"
#include "promql/operator.h"

namespace varve::promql {

// Which group each input series belongs to.
struct Grouping {
  std::vector<Labels> labels;      // Of the groups, in order of first appearance.
  std::vector<size_t> group_of;    // By input.
  std::vector<size_t> last_input;  // By group.
};
Grouping GroupSeries(const std::vector<Labels>& inputs, const std::vector<std::string>& names,
                     bool without);

// REQUIRES: `aggregate` outlives the operator; `param` is null for those without a parameter.
// sum, avg, count, group, min, max, stddev, stdvar, quantile.
OperatorPtr MakeFold(QueryContext& context, const Grid& grid, const Aggregate& aggregate,
                     OperatorPtr input, OperatorPtr param);
// topk, bottomk, limitk, limit_ratio: the series keep their labels.
OperatorPtr MakePick(QueryContext& context, const Grid& grid, const Aggregate& aggregate,
                     OperatorPtr input, OperatorPtr param);
// count_values. REQUIRES: `label` is the parameter's text.
absl::StatusOr<OperatorPtr> MakeCountValues(QueryContext& context, const Grid& grid,
                                            const Aggregate& aggregate, OperatorPtr input,
                                            std::string label);

// Folds one group's rows into one row.
class Fold {
 public:
  virtual ~Fold() = default;
  virtual absl::Status Add(const Row& row) = 0;
  // Writes values; `row` was reset. Called once.
  virtual absl::Status Finish(Row& row) = 0;
};
std::unique_ptr<Fold> NewFold(QueryContext& context, const Grid& grid, const Aggregate& aggregate,
                              const Row* param);

}  // namespace varve::promql
