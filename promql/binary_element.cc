// SPDX-License-Identifier: Apache-2.0
//
// What a binary operator does to two samples, and the operators with a scalar on one side.
#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "model/check.h"
#include "model/histogram_math.h"
#include "model/status_macros.h"
#include "promql/binary.h"

namespace varve::promql {
namespace {

ElementResult Incompatible(QueryContext& context, const Binary& binary, const Operand& left,
                           const Operand& right) {
  const auto name = [](const Operand& operand) {
    return operand.histogram != nullptr ? "histogram" : "float";
  };
  context.annotations().Info(
      fmt::format("incompatible sample types encountered for binary operator {}: {} {} {}",
                  Quoted(BinaryOpText(binary.op)), name(left), BinaryOpText(binary.op),
                  name(right)),
      binary.position.start);
  return {};
}

ElementResult OfHistogram(Histogram histogram) {
  ElementResult result;
  result.valid = result.keep = true;
  result.histogram = std::make_shared<const Histogram>(std::move(histogram));
  return result;
}

ElementResult BothHistograms(QueryContext& context, const Binary& binary, const Operand& left,
                             const Operand& right) {
  if (binary.op == BinaryOp::kEqual || binary.op == BinaryOp::kNotEqual) {
    ElementResult result;
    result.valid = result.left_histogram = true;
    result.keep =
        SameHistogram(*left.histogram, *right.histogram) == (binary.op == BinaryOp::kEqual);
    return result;
  }
  if (binary.op != BinaryOp::kAdd && binary.op != BinaryOp::kSub) {
    return Incompatible(context, binary, left, right);
  }
  const int position = binary.position.start;
  if (!Combinable(*left.histogram, *right.histogram)) {
    context.annotations().Warn(
        fmt::format("incompatible bucket layout encountered for binary operator {}",
                    BinaryOpText(binary.op)),
        position);
    return {};
  }
  const bool add = binary.op == BinaryOp::kAdd;
  HistogramMergeNotes notes;
  Histogram result = add ? AddHistograms(*left.histogram, *right.histogram, notes)
                         : SubtractHistograms(*left.histogram, *right.histogram, notes);
  if (!add) result.reset_hint = ResetHint::kGauge;
  const std::string_view what = add ? "addition" : "subtraction";
  if (notes.reset_hint_conflict) {
    context.annotations().Warn(fmt::format("conflicting counter resets during histogram {}", what),
                               position);
  }
  if (notes.bounds_reconciled) {
    context.annotations().Info(
        fmt::format("mismatched custom buckets were reconciled during {}", what), position);
  }
  return OfHistogram(std::move(result));
}

class ScalarBinary : public Operator {
 public:
  ScalarBinary(const Binary& binary, OperatorPtr left, OperatorPtr right)
      : binary_(binary), left_(std::move(left)), right_(std::move(right)) {}

  absl::StatusOr<std::vector<Labels>> Open() override {
    RETURN_IF_ERROR(right_->Open().status());
    return left_->Open();
  }

  absl::Status Next(Row& row) override {
    RETURN_IF_ERROR(left_->Next(row));
    Row right;
    RETURN_IF_ERROR(right_->Next(right));
    std::vector<double>& values = row.values();
    if (!IsComparison(binary_.op)) {
      ApplyToAll(binary_.op, values, right.values(), absl::MakeSpan(values));
      return absl::OkStatus();
    }
    for (size_t step = 0; step < row.steps(); ++step) {
      values[step] = Compare(binary_.op, values[step], right.value(step)) ? 1 : 0;
    }
    return absl::OkStatus();
  }

 private:
  const Binary& binary_;
  OperatorPtr left_;
  OperatorPtr right_;
};

class VectorScalarBinary : public Operator {
 public:
  VectorScalarBinary(QueryContext& context, const Binary& binary, OperatorPtr vector,
                     OperatorPtr scalar, bool scalar_is_left)
      : context_(context),
        binary_(binary),
        vector_(std::move(vector)),
        scalar_(std::move(scalar)),
        scalar_is_left_(scalar_is_left),
        drops_name_(binary.return_bool || IsArithmetic(binary.op)) {}

  absl::StatusOr<std::vector<Labels>> Open() override {
    RETURN_IF_ERROR(scalar_->Open().status());
    RETURN_IF_ERROR(scalar_->Next(scalar_row_));
    ASSIGN_OR_RETURN(std::vector<Labels> labels, vector_->Open());
    if (drops_name_ && !context_.delayed_name_removal()) {
      for (Labels& set : labels) set = WithoutName(set);
    }
    return labels;
  }

  absl::Status Next(Row& row) override {
    RETURN_IF_ERROR(vector_->Next(row));
    row.drop_name |= drops_name_ && context_.delayed_name_removal();
    if (!row.has_histograms() && IsArithmetic(binary_.op)) {
      ComputeAll(row);
      return absl::OkStatus();
    }
    const bool comparison = IsComparison(binary_.op);
    for (size_t step = 0; step < row.steps(); ++step) {
      if (!row.Has(step)) continue;
      const double scalar = scalar_row_.value(step);
      if (!row.HasHistogram(step) && binary_.op != BinaryOp::kTrimLower &&
          binary_.op != BinaryOp::kTrimUpper) {
        const double left = scalar_is_left_ ? scalar : row.value(step);
        const double right = scalar_is_left_ ? row.value(step) : scalar;
        if (!comparison) {
          row.values()[step] = ApplyFloats(binary_.op, left, right);
        } else if (binary_.return_bool) {
          row.values()[step] = Compare(binary_.op, left, right) ? 1 : 0;
        } else if (!Compare(binary_.op, left, right)) {
          row.Clear(step);
        }
        continue;
      }
      const Operand vector = OperandAt(row, step);
      const Operand other{scalar, nullptr};
      ElementResult result = ApplyBinary(context_, binary_, scalar_is_left_ ? other : vector,
                                         scalar_is_left_ ? vector : other);
      if (!result.valid || !result.keep) {
        row.Clear(step);
      } else if (result.histogram != nullptr) {
        row.SetHistogram(step, std::move(result.histogram));
      }
    }
    return absl::OkStatus();
  }

 private:
  // What lies where the row has no sample does not count.
  void ComputeAll(Row& row) const {
    std::vector<double>& values = row.values();
    const std::vector<double>& scalars = scalar_row_.values();
    if (scalar_is_left_) {
      ApplyToAll(binary_.op, scalars, values, absl::MakeSpan(values));
    } else {
      ApplyToAll(binary_.op, values, scalars, absl::MakeSpan(values));
    }
  }

  QueryContext& context_;
  const Binary& binary_;
  OperatorPtr vector_;
  OperatorPtr scalar_;
  const bool scalar_is_left_;
  const bool drops_name_;
  Row scalar_row_;
};

}  // namespace

bool IsArithmetic(BinaryOp op) {
  switch (op) {
    case BinaryOp::kAdd:
    case BinaryOp::kSub:
    case BinaryOp::kMul:
    case BinaryOp::kDiv:
    case BinaryOp::kMod:
    case BinaryOp::kPow:
    case BinaryOp::kAtan2:
      return true;
    default:
      return false;
  }
}

void ApplyToAll(BinaryOp op, absl::Span<const double> left, absl::Span<const double> right,
                absl::Span<double> out) {
  // A loop for each operator: none decides anything for each pair.
  const auto apply = [&](auto operation) {
    for (size_t i = 0; i < out.size(); ++i) out[i] = operation(left[i], right[i]);
  };
  switch (op) {
    case BinaryOp::kAdd:
      return apply([](double a, double b) { return a + b; });
    case BinaryOp::kSub:
      return apply([](double a, double b) { return a - b; });
    case BinaryOp::kMul:
      return apply([](double a, double b) { return a * b; });
    case BinaryOp::kDiv:
      return apply([](double a, double b) { return a / b; });
    case BinaryOp::kMod:
      return apply([](double a, double b) { return std::fmod(a, b); });
    case BinaryOp::kPow:
      return apply([](double a, double b) { return std::pow(a, b); });
    case BinaryOp::kAtan2:
      return apply([](double a, double b) { return std::atan2(a, b); });
    default:
      INVARIANT(false);
  }
}

double ApplyFloats(BinaryOp op, double left, double right) {
  double result = 0;
  ApplyToAll(op, {&left, 1}, {&right, 1}, {&result, 1});
  return result;
}

bool Compare(BinaryOp op, double left, double right) {
  switch (op) {
    case BinaryOp::kEqual:
      return left == right;
    case BinaryOp::kNotEqual:
      return left != right;
    case BinaryOp::kGreater:
      return left > right;
    case BinaryOp::kLess:
      return left < right;
    case BinaryOp::kGreaterEqual:
      return left >= right;
    case BinaryOp::kLessEqual:
      return left <= right;
    default:
      INVARIANT(false);
  }
  return false;
}

Operand OperandAt(const Row& row, size_t step) {
  if (row.HasHistogram(step)) return {0, row.histogram(step).get()};
  return {row.value(step), nullptr};
}

ElementResult ApplyBinary(QueryContext& context, const Binary& binary, const Operand& left,
                          const Operand& right) {
  const BinaryOp op = binary.op;
  if (left.histogram != nullptr && right.histogram != nullptr) {
    return BothHistograms(context, binary, left, right);
  }
  if (left.histogram != nullptr) {
    switch (op) {
      case BinaryOp::kMul:
        return OfHistogram(MultiplyHistogram(*left.histogram, right.value));
      case BinaryOp::kDiv:
        return OfHistogram(DivideHistogram(*left.histogram, right.value));
      case BinaryOp::kTrimUpper:
        return OfHistogram(TrimHistogramAbove(*left.histogram, right.value));
      case BinaryOp::kTrimLower:
        return OfHistogram(TrimHistogramBelow(*left.histogram, right.value));
      default:
        return Incompatible(context, binary, left, right);
    }
  }
  if (right.histogram != nullptr) {
    if (op == BinaryOp::kMul) return OfHistogram(MultiplyHistogram(*right.histogram, left.value));
    return Incompatible(context, binary, left, right);
  }
  ElementResult result;
  if (IsArithmetic(op)) {
    result.valid = result.keep = true;
    result.value = ApplyFloats(op, left.value, right.value);
    return result;
  }
  if (!IsComparison(op)) return Incompatible(context, binary, left, right);
  result.valid = true;
  result.keep = Compare(op, left.value, right.value);
  result.value = left.value;
  return result;
}

OperatorPtr MakeScalarBinary(const Binary& binary, OperatorPtr left, OperatorPtr right) {
  return std::make_unique<ScalarBinary>(binary, std::move(left), std::move(right));
}

OperatorPtr MakeVectorScalarBinary(QueryContext& context, const Binary& binary, OperatorPtr vector,
                                   OperatorPtr scalar, bool scalar_is_left) {
  return std::make_unique<VectorScalarBinary>(context, binary, std::move(vector), std::move(scalar),
                                              scalar_is_left);
}

}  // namespace varve::promql
