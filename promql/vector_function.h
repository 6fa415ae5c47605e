// SPDX-License-Identifier: Apache-2.0
//
// Functions over instant vectors and scalars, except those over classic and native histograms
// (histogram_call.h) and info() (info.h).
#pragma once

#include <string>
#include <vector>

#include "promql/ast.h"
#include "promql/context.h"
#include "promql/operator.h"

namespace varve::promql {

// A function of one number and up to two scalar arguments.
using ElementFunction = double (*)(double value, const double* params);
// Null if the function is none of that shape.
ElementFunction FindElementFunction(FunctionId id);

// Applies `function` to every float; histograms vanish, and so does the name.
OperatorPtr MakeElementCall(QueryContext& context, ElementFunction function, OperatorPtr input,
                            std::vector<OperatorPtr> scalars);
// clamp(): nothing where max < min.
OperatorPtr MakeClamp(QueryContext& context, OperatorPtr input, OperatorPtr min, OperatorPtr max);
// Unary minus: floats and histograms.
OperatorPtr MakeNegate(QueryContext& context, OperatorPtr input, bool is_scalar);
// timestamp() of anything but a plain selector: the evaluation time.
OperatorPtr MakeEvalTimestamp(QueryContext& context, const Grid& grid, OperatorPtr input);

// Drops the name and nothing else.
OperatorPtr MakeDropName(QueryContext& context, OperatorPtr input);
// The series without any sample: what start_timestamp() knows of computed values.
OperatorPtr MakeNothing(QueryContext& context, OperatorPtr input);

// Scalars.
OperatorPtr MakeConstant(const Grid& grid, double value);
OperatorPtr MakeTime(const Grid& grid);
OperatorPtr MakeScalar(const Grid& grid, OperatorPtr input);
// min_of(), max_of().
OperatorPtr MakeScalarPick(OperatorPtr a, OperatorPtr b, bool larger);

// absent(): one series, `labels`.
OperatorPtr MakeAbsent(const Grid& grid, OperatorPtr input, Labels labels);

struct SortOrder {
  bool descending = false;
  bool by_label = false;
  std::vector<std::string> names;  // Of sort_by_label().
};
// REQUIRES: the grid has one step.
OperatorPtr MakeSort(QueryContext& context, OperatorPtr input, SortOrder order);

// The string arguments as they are written.
struct LabelReplaceArguments {
  std::string destination;
  std::string replacement;
  std::string source;
  std::string regex;
};
absl::StatusOr<OperatorPtr> MakeLabelReplace(QueryContext& context, OperatorPtr input,
                                             const LabelReplaceArguments& arguments);
absl::StatusOr<OperatorPtr> MakeLabelJoin(QueryContext& context, OperatorPtr input,
                                          std::string destination, std::string separator,
                                          std::vector<std::string> sources);

// Gives `input` of a one-step grid at every step of `grid`.
OperatorPtr MakeStepInvariant(QueryContext& context, const Grid& grid, OperatorPtr input);

// Puts series with equal labels together; an execution error if two have samples at one step.
OperatorPtr MakeMerge(QueryContext& context, OperatorPtr input);

// All rows of an operator, counted against the sample limit while they are held.
class BufferedRows {
 public:
  explicit BufferedRows(QueryContext& context) : context_(context) {}
  ~BufferedRows() { context_.Release(held_); }
  BufferedRows(const BufferedRows&) = delete;
  BufferedRows& operator=(const BufferedRows&) = delete;

  // Reads the next `count` rows of `input`.
  absl::Status Read(Operator& input, size_t count);
  absl::Status Add(Row row);
  std::vector<Row>& rows() { return rows_; }
  const std::vector<Row>& rows() const { return rows_; }

 private:
  QueryContext& context_;
  std::vector<Row> rows_;
  uint64_t held_ = 0;
};

}  // namespace varve::promql
