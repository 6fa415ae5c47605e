// SPDX-License-Identifier: Apache-2.0
//
// Functions over histograms: the simple ones of native histograms, and the estimates that work on
// classic histograms (groups of `le` series) and native ones alike.
#pragma once

#include <string>
#include <vector>

#include "promql/ast.h"
#include "promql/context.h"
#include "promql/operator.h"

namespace varve::promql {

// histogram_count, _sum, _avg, _stddev, _stdvar: a number per native histogram.
using HistogramNumber = double (*)(const Histogram& histogram);
HistogramNumber FindHistogramNumber(FunctionId id);
OperatorPtr MakeHistogramNumber(QueryContext& context, HistogramNumber function, OperatorPtr input);

// Where annotations of these calls point to.
struct HistogramCallPositions {
  int vector = 0;
  std::vector<int> scalars;
};

OperatorPtr MakeHistogramQuantile(QueryContext& context, const Grid& grid, OperatorPtr input,
                                  OperatorPtr quantile, HistogramCallPositions positions);
OperatorPtr MakeHistogramFraction(QueryContext& context, const Grid& grid, OperatorPtr input,
                                  OperatorPtr lower, OperatorPtr upper,
                                  HistogramCallPositions positions);
// histogram_quantiles(): one series per quantile, told apart by `label`.
absl::StatusOr<OperatorPtr> MakeHistogramQuantiles(QueryContext& context, const Grid& grid,
                                                   OperatorPtr input, std::string label,
                                                   std::vector<OperatorPtr> quantiles,
                                                   HistogramCallPositions positions);

}  // namespace varve::promql
