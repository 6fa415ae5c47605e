// SPDX-License-Identifier: Apache-2.0
//
// Binary operators between scalars, between vectors and scalars, and between vectors.
#pragma once

#include <absl/types/span.h>

#include <vector>

#include "promql/ast.h"
#include "promql/context.h"
#include "promql/operator.h"

namespace varve::promql {

// One operand: a float, or a histogram if there is one.
struct Operand {
  double value = 0;
  const Histogram* histogram = nullptr;
};

// What an operator makes of two samples.
struct ElementResult {
  bool valid = false;  // False: the types do not go together; an annotation said so.
  bool keep = false;   // For comparisons: whether it holds.
  double value = 0;
  bool left_histogram = false;  // The result is the left histogram as it is.
  HistogramPtr histogram;
};
ElementResult ApplyBinary(QueryContext& context, const Binary& binary, const Operand& left,
                          const Operand& right);
// Sets each of `out` to what an arithmetic operator makes of those at its place in `left` and
// `right`, which are as long; either may be `out`.
void ApplyToAll(BinaryOp op, absl::Span<const double> left, absl::Span<const double> right,
                absl::Span<double> out);
// The same of two numbers.
double ApplyFloats(BinaryOp op, double left, double right);
bool Compare(BinaryOp op, double left, double right);
// + - * / % ^ atan2, which drop the name.
bool IsArithmetic(BinaryOp op);

// REQUIRES: row.Has(step).
Operand OperandAt(const Row& row, size_t step);

OperatorPtr MakeScalarBinary(const Binary& binary, OperatorPtr left, OperatorPtr right);
// One side is a scalar.
OperatorPtr MakeVectorScalarBinary(QueryContext& context, const Binary& binary, OperatorPtr vector,
                                   OperatorPtr scalar, bool scalar_is_left);
OperatorPtr MakeVectorBinary(QueryContext& context, const Grid& grid, const Binary& binary,
                             OperatorPtr left, OperatorPtr right);
// and, unless.
OperatorPtr MakeSetOperator(QueryContext& context, const Grid& grid, const Binary& binary,
                            OperatorPtr left, OperatorPtr right);
// `a or b or c ...`, all with the matching of `binary`.
OperatorPtr MakeUnion(QueryContext& context, const Grid& grid, const Binary& binary,
                      std::vector<OperatorPtr> inputs);

// The labels two series must agree on.
Labels MatchKey(const VectorMatching& matching, const Labels& labels);

}  // namespace varve::promql
