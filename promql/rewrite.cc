// SPDX-License-Identifier: Apache-2.0
//
// Each rewrite is a pass over the tree, which itself is not changed.
#include "promql/rewrite.h"

#include <absl/container/flat_hash_set.h>

#include <algorithm>
#include <numbers>
#include <string>
#include <utility>

#include "promql/binary.h"
#include "promql/label_filter.h"
#include "promql/printer.h"

namespace varve::promql {
namespace {

// Annotations of these are merged by adding up.
bool CountsInAnnotations(FunctionId id) {
  return id == FunctionId::kHistogramQuantile || id == FunctionId::kHistogramQuantiles ||
         id == FunctionId::kHistogramFraction;
}

bool IsLeaf(const Expr& expr) {
  if (expr.kind == ExprKind::kVectorSelector) return true;
  const auto* call = TryAs<Call>(expr);
  return call != nullptr &&
         std::any_of(call->args.begin(), call->args.end(), [](const ExprPtr& arg) {
           return Unparen(*arg).kind == ExprKind::kMatrixSelector;
         });
}

// Finds the parts worth sharing by their text.
class PartFinder {
 public:
  // True if `expr` and all below may be shared.
  bool Visit(const Expr& expr) {
    bool may_share = true;
    bool selects = expr.kind == ExprKind::kVectorSelector || expr.kind == ExprKind::kMatrixSelector;
    for (const Expr* child : Children(expr)) {
      may_share &= Visit(*child);
      selects |= selects_.contains(child);
    }
    if (selects) selects_.insert(&expr);
    const auto* call = TryAs<Call>(expr);
    if (call != nullptr && CountsInAnnotations(call->function->id)) may_share = false;
    const bool has_steps = expr.type == ValueType::kVector || expr.type == ValueType::kScalar;
    const auto length = static_cast<size_t>(expr.position.end - expr.position.start);
    if (may_share && selects && has_steps && expr.kind != ExprKind::kParen && !IsLeaf(expr) &&
        length <= text_left_) {
      text_left_ -= length;
      parts_[ToString(expr)].push_back(&expr);
    }
    return may_share;
  }

  absl::flat_hash_map<const Expr*, size_t> Repeated() const {
    absl::flat_hash_map<const Expr*, size_t> repeated;
    size_t number = 0;
    for (const auto& [text, parts] : parts_) {
      if (parts.size() < 2) continue;
      ++number;
      for (const Expr* part : parts) repeated[part] = number;
    }
    return repeated;
  }

 private:
  size_t text_left_ = kRepeatedTextMax;
  absl::flat_hash_set<const Expr*> selects_;
  absl::flat_hash_map<std::string, std::vector<const Expr*>> parts_;
};

using MatcherList = std::vector<const Matcher*>;

bool GroupsByLabel(const Aggregate& aggregate, std::string_view label) {
  if (label == kMetricName) return false;
  return IsOneOf(label, aggregate.grouping) != aggregate.without;
}

// Matchers that the labels of all series of `expr` fulfil, but for the name's.
MatcherList KnownMatchers(const Expr& expr) {
  MatcherList known;
  switch (expr.kind) {
    case ExprKind::kParen:
      return KnownMatchers(*As<Paren>(expr).expr);
    case ExprKind::kUnary:
      return KnownMatchers(*As<Unary>(expr).expr);
    case ExprKind::kMatrixSelector:
      return KnownMatchers(*As<MatrixSelector>(expr).selector);
    case ExprKind::kSubquery:
      return KnownMatchers(*As<Subquery>(expr).expr);
    case ExprKind::kVectorSelector:
      for (const Matcher& matcher : As<VectorSelector>(expr).matchers) {
        if (matcher.name() != kMetricName) known.push_back(&matcher);
      }
      return known;
    case ExprKind::kAggregate: {
      const auto& aggregate = As<Aggregate>(expr);
      if (aggregate.op == AggregateOp::kCountValues) return known;
      for (const Matcher* matcher : KnownMatchers(*aggregate.expr)) {
        if (GroupsByLabel(aggregate, matcher->name())) known.push_back(matcher);
      }
      return known;
    }
    case ExprKind::kCall:
      // Functions over ranges keep all labels but the name.
      if (IsLeaf(expr) && As<Call>(expr).function->id != FunctionId::kAbsentOverTime) {
        for (const ExprPtr& arg : As<Call>(expr).args) {
          if (arg->type == ValueType::kMatrix) return KnownMatchers(*arg);
        }
      }
      return known;
    default:
      return known;
  }
}

// A selector whose series are seen by presence alone or as they are, and which of its labels reach
// the top.
struct Target {
  const VectorSelector* selector = nullptr;
  std::vector<const Aggregate*> aggregates;

  bool Reaches(std::string_view label) const {
    return std::all_of(aggregates.begin(), aggregates.end(), [&](const Aggregate* aggregate) {
      return GroupsByLabel(*aggregate, label);
    });
  }
};

Target FindTarget(const Expr& expr) {
  Target target;
  const Expr* at = &Unparen(expr);
  while (const auto* aggregate = TryAs<Aggregate>(*at)) {
    if (aggregate->op != AggregateOp::kCount && aggregate->op != AggregateOp::kGroup) return target;
    target.aggregates.push_back(aggregate);
    at = &Unparen(*aggregate->expr);
  }
  target.selector = TryAs<VectorSelector>(*at);
  // Samples between which is interpolated can be of mixed types, which is said.
  if (target.selector != nullptr && target.selector->smoothed) target.selector = nullptr;
  return target;
}

// Whether a match group has one series of `expr` at most.
bool IsUnique(const Expr& expr, const VectorMatching& matching) {
  const auto* aggregate = TryAs<Aggregate>(Unparen(expr));
  if (aggregate == nullptr || aggregate->without || !matching.on) return false;
  switch (aggregate->op) {
    case AggregateOp::kTopk:
    case AggregateOp::kBottomk:
    case AggregateOp::kLimitk:
    case AggregateOp::kLimitRatio:
    case AggregateOp::kCountValues:
      return false;
    default:
      return std::all_of(aggregate->grouping.begin(), aggregate->grouping.end(),
                         [&](const std::string& label) { return IsOneOf(label, matching.labels); });
  }
}

class MatcherCarrier {
 public:
  using Carried = absl::flat_hash_map<const VectorSelector*, std::vector<Matcher>>;

  void Visit(const Expr& expr) {
    // Chains are long to the left.
    const Expr* at = &expr;
    while (const auto* binary = TryAs<Binary>(*at)) {
      if (binary->matching.has_value()) Join(*binary);
      Visit(*binary->rhs);
      at = &Unparen(*binary->lhs);
    }
    for (const Expr* child : Children(*at)) Visit(*child);
  }

  Carried Take() { return std::move(carried_); }

 private:
  void Join(const Binary& binary) {
    const VectorMatching& matching = *binary.matching;
    switch (binary.op) {
      case BinaryOp::kOr:
        return;
      case BinaryOp::kAnd:
        Carry(*binary.rhs, *binary.lhs, matching);
        [[fallthrough]];
      case BinaryOp::kUnless:
        Carry(*binary.lhs, *binary.rhs, matching);
        return;
      default:
        break;
    }
    if (matching.fill_left.has_value() || matching.fill_right.has_value()) return;
    // Where the one side has several series for a group, that is an error even if the many side
    // has none.
    const bool many_is_left = matching.card != Cardinality::kOneToMany;
    const Expr& many = many_is_left ? *binary.lhs : *binary.rhs;
    const Expr& one = many_is_left ? *binary.rhs : *binary.lhs;
    if (!IsUnique(one, matching)) return;
    Carry(one, many, matching);
    Carry(many, one, matching);
  }

  void Carry(const Expr& from, const Expr& to, const VectorMatching& matching) {
    const Target target = FindTarget(to);
    if (target.selector == nullptr) return;
    for (const Matcher* matcher : KnownMatchers(from)) {
      const std::string_view label = matcher->name();
      if (IsOneOf(label, matching.labels) != matching.on || !target.Reaches(label)) continue;
      const auto same = [&](const Matcher& other) {
        return other.name() == label && other.type() == matcher->type() &&
               other.value() == matcher->value();
      };
      const auto& own = target.selector->matchers;
      if (std::any_of(own.begin(), own.end(), same)) continue;
      auto& all = carried_.try_emplace(target.selector, own).first->second;
      if (std::none_of(all.begin(), all.end(), same)) all.push_back(*matcher);
    }
  }

  Carried carried_;
};

}  // namespace

std::optional<double> ConstantValue(const Expr& expr) {
  const Expr& inner = Unparen(expr);
  if (inner.type != ValueType::kScalar) return std::nullopt;
  if (const auto* number = TryAs<NumberLiteral>(inner)) return number->value;
  if (const auto* call = TryAs<Call>(inner)) {
    if (call->function->id == FunctionId::kPi) return std::numbers::pi;
    return std::nullopt;
  }
  if (const auto* unary = TryAs<Unary>(inner)) {
    const std::optional<double> value = ConstantValue(*unary->expr);
    return value.has_value() && unary->negative ? -*value : value;
  }
  const auto* binary = TryAs<Binary>(inner);
  if (binary == nullptr) return std::nullopt;
  const std::optional<double> right = ConstantValue(*binary->rhs);
  if (!right.has_value()) return std::nullopt;
  const std::optional<double> left = ConstantValue(*binary->lhs);
  if (!left.has_value()) return std::nullopt;
  if (IsComparison(binary->op)) return Compare(binary->op, *left, *right) ? 1 : 0;
  return ApplyFloats(binary->op, *left, *right);
}

absl::flat_hash_map<const Expr*, size_t> RepeatedParts(const Expr& expr) {
  PartFinder finder;
  finder.Visit(expr);
  return finder.Repeated();
}

absl::flat_hash_map<const VectorSelector*, std::vector<Matcher>> CarriedMatchers(const Expr& expr) {
  MatcherCarrier carrier;
  carrier.Visit(expr);
  return carrier.Take();
}

}  // namespace varve::promql
