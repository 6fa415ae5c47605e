// SPDX-License-Identifier: Apache-2.0
//
// One walk of the tree per step.
#include "tests/promql/reference_evaluator.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <regex>
#include <set>
#include <utility>

#include "model/histogram_math.h"
#include "model/status_macros.h"

namespace varve::promql {
namespace {

using HistogramPointer = std::shared_ptr<const Histogram>;

HistogramPointer Share(Histogram histogram) {
  return std::make_shared<const Histogram>(std::move(histogram));
}

// The labels `names` names, or all the others.
Labels Pick(const Labels& labels, const std::vector<std::string>& names, bool those) {
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const LabelView& label : labels) {
    const bool named = std::count(names.begin(), names.end(), label.name) > 0;
    if (named == those) pairs.emplace_back(label.name, label.value);
  }
  return Labels::FromPairs(std::move(pairs));
}

absl::Status Fails(const char* why) { return absl::FailedPreconditionError(why); }

// Fails if two samples have equal labels.
absl::StatusOr<ReferenceVector> Unique(ReferenceVector vector) {
  std::set<std::string> seen;
  for (const ReferenceSample& sample : vector) {
    if (!seen.insert(sample.labels.bytes()).second) return Fails("same labelset");
  }
  return vector;
}

bool Compare(BinaryOp op, double a, double b) {
  switch (op) {
    case BinaryOp::kEqual:
      return a == b;
    case BinaryOp::kNotEqual:
      return a != b;
    case BinaryOp::kGreater:
      return a > b;
    case BinaryOp::kLess:
      return a < b;
    case BinaryOp::kGreaterEqual:
      return a >= b;
    default:
      return a <= b;
  }
}

double Calculate(BinaryOp op, double a, double b) {
  switch (op) {
    case BinaryOp::kAdd:
      return a + b;
    case BinaryOp::kSub:
      return a - b;
    case BinaryOp::kMul:
      return a * b;
    case BinaryOp::kDiv:
      return a / b;
    case BinaryOp::kMod:
      return std::fmod(a, b);
    default:
      return std::pow(a, b);
  }
}

struct Combined {
  bool valid = false;  // The operator is for such samples.
  bool keep = true;    // A comparison holds.
  double value = 0;
  HistogramPointer histogram;
};

Combined Combine(BinaryOp op, const ReferenceSample& a, const ReferenceSample& b) {
  HistogramMergeNotes notes;
  if (a.histogram == nullptr && b.histogram == nullptr) {
    if (!IsComparison(op)) return {true, true, Calculate(op, a.value, b.value), nullptr};
    return {true, Compare(op, a.value, b.value), a.value, nullptr};
  }
  if (a.histogram != nullptr && b.histogram != nullptr) {
    if (op == BinaryOp::kEqual || op == BinaryOp::kNotEqual) {
      const bool same = SameHistogram(*a.histogram, *b.histogram);
      return {true, same == (op == BinaryOp::kEqual), 0, a.histogram};
    }
    if (!Combinable(*a.histogram, *b.histogram)) return {};
    if (op == BinaryOp::kAdd) {
      return {true, true, 0, Share(AddHistograms(*a.histogram, *b.histogram, notes))};
    }
    if (op != BinaryOp::kSub) return {};
    return {true, true, 0, Share(SubtractHistograms(*a.histogram, *b.histogram, notes))};
  }
  const Histogram& histogram = a.histogram != nullptr ? *a.histogram : *b.histogram;
  const double number = a.histogram != nullptr ? b.value : a.value;
  if (op == BinaryOp::kMul) return {true, true, 0, Share(MultiplyHistogram(histogram, number))};
  if (op != BinaryOp::kDiv || a.histogram == nullptr) return {};
  return {true, true, 0, Share(DivideHistogram(histogram, number))};
}

bool DropsName(const Binary& binary) { return binary.return_bool || !IsComparison(binary.op); }

// What a binary operator leaves of two samples, but for the labels; false if nothing.
bool Take(const Binary& binary, const Combined& combined, ReferenceSample& result) {
  if (binary.return_bool) {
    result.value = combined.keep ? 1 : 0;
    result.histogram = nullptr;
    return true;
  }
  result.value = combined.value;
  result.histogram = combined.histogram;
  return combined.keep;
}

Labels MatchKey(const VectorMatching& matching, const Labels& labels) {
  return matching.on ? Pick(labels, matching.labels, true)
                     : ReferenceWithoutName(Pick(labels, matching.labels, false));
}

ReferenceVector SetOperation(const Binary& binary, ReferenceVector left, ReferenceVector right) {
  const VectorMatching& matching = *binary.matching;
  const auto keys = [&](const ReferenceVector& vector) {
    std::set<std::string> found;
    for (const ReferenceSample& sample : vector) {
      found.insert(MatchKey(matching, sample.labels).bytes());
    }
    return found;
  };
  const bool is_union = binary.op == BinaryOp::kOr;
  const std::set<std::string> others = keys(is_union ? left : right);
  ReferenceVector result = is_union ? left : ReferenceVector();
  for (ReferenceSample& sample : is_union ? right : left) {
    const bool found = others.count(MatchKey(matching, sample.labels).bytes()) > 0;
    if (found == (binary.op == BinaryOp::kAnd)) result.push_back(std::move(sample));
  }
  return result;
}

Labels MatchedLabels(const Binary& binary, const Labels& many, const Labels& one) {
  const VectorMatching& matching = *binary.matching;
  Labels base = DropsName(binary) ? ReferenceWithoutName(many) : many;
  if (matching.card == Cardinality::kOneToOne) base = Pick(base, matching.labels, matching.on);
  LabelsBuilder builder(base);
  for (const std::string& name : matching.include) builder.Set(name, one.Get(name));
  return builder.Build();
}

absl::StatusOr<ReferenceVector> Join(const Binary& binary, const ReferenceVector& left,
                                     const ReferenceVector& right) {
  if (left.empty() || right.empty()) return ReferenceVector();
  const VectorMatching& matching = *binary.matching;
  const bool many_is_left = matching.card != Cardinality::kOneToMany;
  const ReferenceVector& many = many_is_left ? left : right;
  std::map<std::string, const ReferenceSample*> ones;
  for (const ReferenceSample& one : many_is_left ? right : left) {
    if (!ones.emplace(MatchKey(matching, one.labels).bytes(), &one).second) {
      return Fails("duplicate series on the one side");
    }
  }
  std::set<std::string> matched;
  ReferenceVector result;
  for (const ReferenceSample& sample : many) {
    const std::string key = MatchKey(matching, sample.labels).bytes();
    const auto found = ones.find(key);
    if (found == ones.end()) continue;
    const ReferenceSample& one = *found->second;
    const Combined combined =
        Combine(binary.op, many_is_left ? sample : one, many_is_left ? one : sample);
    if (!combined.valid) continue;
    ReferenceSample out;
    out.labels = MatchedLabels(binary, sample.labels, one.labels);
    const std::string claim =
        matching.card == Cardinality::kOneToOne ? key : key + "|" + out.labels.bytes();
    if (!matched.insert(claim).second) return Fails("multiple matches");
    if (Take(binary, combined, out)) result.push_back(std::move(out));
  }
  return Unique(std::move(result));
}

// One group of an aggregation at one step.
using Group = std::vector<const ReferenceSample*>;

double GroupMean(const std::vector<double>& values) {
  CompensatedSum sum;
  bool incremental = false;
  double count = 0;
  for (double value : values) {
    ++count;
    if (!incremental) {
      CompensatedSum next = sum;
      next.Add(value);
      if (count == 1 || !std::isinf(next.sum)) {
        sum = next;
        continue;
      }
      incremental = true;
      sum.sum /= count - 1;
      sum.carry /= count - 1;
    }
    const bool stays = std::isinf(sum.sum) &&
                       (std::isinf(value) ? (sum.sum > 0) == (value > 0) : !std::isnan(value));
    if (stays) continue;
    sum.sum *= (count - 1) / count;
    sum.carry *= (count - 1) / count;
    sum.Add(value / count);
  }
  return incremental ? sum.Total() : sum.sum / count + sum.carry / count;
}

double Welford(const std::vector<double>& values) {
  double count = 0, mean = 0, squares = 0;
  for (double value : values) {
    if (++count == 1) {
      mean = value;
      squares = std::isfinite(value) ? 0 : NormalNan();
      continue;
    }
    const double delta = value - mean;
    mean += delta / count;
    squares += delta * (value - mean);
  }
  return squares / count;
}

// sum and avg; false if the group's samples do not go together.
bool Add(const Group& group, const std::vector<double>& values, bool average,
         ReferenceSample& result) {
  if (values.size() == group.size()) {
    CompensatedSum sum;
    for (double value : values) sum.Add(value);
    result.value = average ? GroupMean(values) : sum.Total();
    return true;
  }
  HistogramSum sum;
  for (const ReferenceSample* sample : group) {
    if (sample->histogram == nullptr || !sum.Add(*sample->histogram)) return false;
  }
  result.histogram = Share(average ? sum.Average() : sum.Sum());
  return true;
}

bool Fold(const Aggregate& aggregate, double param, const Group& group, ReferenceSample& result) {
  std::vector<double> values;
  for (const ReferenceSample* sample : group) {
    if (sample->histogram == nullptr) values.push_back(sample->value);
  }
  switch (aggregate.op) {
    case AggregateOp::kSum:
    case AggregateOp::kAvg:
      return Add(group, values, aggregate.op == AggregateOp::kAvg, result);
    case AggregateOp::kCount:
      result.value = static_cast<double>(group.size());
      return true;
    case AggregateOp::kGroup:
      result.value = 1;
      return true;
    default:
      break;
  }
  if (values.empty()) return false;
  switch (aggregate.op) {
    case AggregateOp::kMin:
    case AggregateOp::kMax:
      result.value = values[0];
      for (double value : values) {
        const bool better =
            aggregate.op == AggregateOp::kMax ? value > result.value : value < result.value;
        if (better || std::isnan(result.value)) result.value = value;
      }
      return true;
    case AggregateOp::kQuantile:
      result.value = ReferenceQuantile(param, values);
      return true;
    default:
      result.value = Welford(values);
      if (aggregate.op == AggregateOp::kStddev) result.value = std::sqrt(result.value);
      return true;
  }
}

// topk, bottomk, limitk and limit_ratio: which of the group stay, in the input's order.
Group Choose(AggregateOp op, double param, const Group& group) {
  Group chosen;
  for (const ReferenceSample* sample : group) {
    if (op == AggregateOp::kLimitk) {
      if (static_cast<double>(chosen.size()) < param) chosen.push_back(sample);
    } else if (op == AggregateOp::kLimitRatio) {
      const double position = static_cast<double>(sample->labels.Hash()) / 0x1p64;
      if (position < param) chosen.push_back(sample);
    } else if (sample->histogram == nullptr) {
      // Picked if fewer than k others come before it.
      double before = 0;
      for (const ReferenceSample* other : group) {
        if (other == sample || other->histogram != nullptr) continue;
        const double a = other->value;
        const double b = sample->value;
        const bool tie = a == b || (std::isnan(a) && std::isnan(b));
        const bool better = std::isnan(b)              ? !std::isnan(a)
                            : op == AggregateOp::kTopk ? a > b
                                                       : a < b;
        before += tie ? other < sample : better;
      }
      if (before < param) chosen.push_back(sample);
    }
  }
  return chosen;
}

bool FloatCall(FunctionId function, double& value) {
  switch (function) {
    case FunctionId::kAbs:
      value = std::fabs(value);
      return true;
    case FunctionId::kCeil:
      value = std::ceil(value);
      return true;
    case FunctionId::kSqrt:
      value = std::sqrt(value);
      return true;
    case FunctionId::kSgn:
      value = value > 0 ? 1 : value < 0 ? -1 : value;
      return true;
    default:
      return false;
  }
}

TimestampMs Resolve(const TimeModifiers& modifiers, TimestampMs time) {
  return (modifiers.at == AtModifier::kTimestamp ? modifiers.at_ms : time) - modifiers.offset_ms;
}

Labels AbsentLabels(const Expr& expr) {
  const auto* selector = TryAs<VectorSelector>(Unparen(expr));
  if (const auto* matrix = TryAs<MatrixSelector>(Unparen(expr))) selector = matrix->selector.get();
  if (selector == nullptr) return Labels();
  std::map<std::string, std::vector<const Matcher*>> by_name;
  for (const Matcher& matcher : selector->matchers) by_name[matcher.name()].push_back(&matcher);
  by_name.erase(std::string(kMetricName));
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const auto& [name, matchers] : by_name) {
    if (matchers.size() == 1 && matchers[0]->type() == MatchType::kEqual) {
      pairs.emplace_back(name, matchers[0]->value());
    }
  }
  return Labels::FromPairs(std::move(pairs));
}

}  // namespace

Labels ReferenceWithoutName(const Labels& labels) {
  return Pick(labels, {std::string(kMetricName)}, false);
}

absl::StatusOr<std::vector<std::pair<Labels, SeriesSamples>>> ReferenceEvaluator::Read(
    const VectorSelector& selector, TimestampMs after, TimestampMs upto) const {
  std::vector<std::pair<Labels, SeriesSamples>> found;
  ASSIGN_OR_RETURN(const auto querier, storage_.OpenQuerier(after + 1, upto));
  ASSIGN_OR_RETURN(const auto set, querier->Select(selector.matchers, {}));
  for (size_t i = 0; i < set->size(); ++i) {
    found.emplace_back().first = set->labels(i);
    RETURN_IF_ERROR(set->Read(i, after + 1, upto, found.back().second));
  }
  return found;
}

absl::StatusOr<ReferenceVector> ReferenceEvaluator::Select(const VectorSelector& selector,
                                                           TimestampMs time,
                                                           bool timestamps) const {
  const TimestampMs at = Resolve(selector.time, time);
  ASSIGN_OR_RETURN(const auto found, Read(selector, at - lookback_, at));
  ReferenceVector result;
  for (const auto& [labels, samples] : found) {
    ReferenceSample sample;
    sample.labels = labels;
    TimestampMs newest = kMinTimestamp;
    bool stale = true;
    if (!samples.times.empty()) {
      newest = samples.times.back();
      sample.value = samples.values.back();
      stale = IsStaleNan(sample.value);
    }
    if (!samples.histograms.empty() && samples.histograms.back().time > newest) {
      newest = samples.histograms.back().time;
      sample.histogram = samples.histograms.back().histogram;
      stale = sample.histogram->IsStale();
    }
    if (stale) continue;
    if (timestamps) {
      sample.labels = ReferenceWithoutName(labels);
      sample.value = static_cast<double>(newest) / 1000;
      sample.histogram = nullptr;
    }
    result.push_back(std::move(sample));
  }
  return Unique(std::move(result));
}

absl::StatusOr<std::vector<std::pair<Labels, ReferenceWindow>>> ReferenceEvaluator::Windows(
    const Expr& expr, TimestampMs time) const {
  std::vector<std::pair<Labels, ReferenceWindow>> windows;
  ReferenceWindow empty;
  empty.eval_time = time;
  if (const auto* matrix = TryAs<MatrixSelector>(Unparen(expr))) {
    empty.end = Resolve(matrix->selector->time, time);
    empty.start = empty.end - matrix->range_ms;
    ASSIGN_OR_RETURN(const auto found, Read(*matrix->selector, empty.start, empty.end));
    for (const auto& [labels, samples] : found) {
      ReferenceWindow window = empty;
      for (size_t i = 0; i < samples.times.size(); ++i) {
        if (!IsStaleNan(samples.values[i])) {
          window.floats.push_back({samples.times[i], samples.values[i]});
        }
      }
      for (const HistogramSample& sample : samples.histograms) {
        if (!sample.histogram->IsStale()) window.histograms.push_back(sample);
      }
      windows.emplace_back(labels, std::move(window));
    }
    return windows;
  }
  const auto& subquery = As<Subquery>(Unparen(expr));
  empty.end = Resolve(subquery.time, time);
  empty.start = empty.end - subquery.range_ms;
  std::map<std::string, size_t> index;
  for (TimestampMs at = -kHour; at <= empty.end; at += subquery.step_ms) {
    if (at <= empty.start) continue;
    ASSIGN_OR_RETURN(ReferenceVector vector, At(*subquery.expr, at));
    for (ReferenceSample& sample : vector) {
      const auto [it, inserted] = index.try_emplace(sample.labels.bytes(), windows.size());
      if (inserted) windows.emplace_back(sample.labels, empty);
      ReferenceWindow& window = windows[it->second].second;
      if (sample.histogram == nullptr) {
        window.floats.push_back({at, sample.value});
        continue;
      }
      Histogram copy = *sample.histogram;
      if (copy.reset_hint != ResetHint::kGauge) copy.reset_hint = ResetHint::kUnknown;
      window.histograms.push_back({at, Share(std::move(copy))});
    }
  }
  return windows;
}

absl::StatusOr<ReferenceVector> ReferenceEvaluator::RangeCall(const Call& call,
                                                              TimestampMs time) const {
  const FunctionId function = call.function->id;
  const bool param_first = function == FunctionId::kQuantileOverTime;
  const Expr& range = *call.args[param_first ? 1 : 0];
  ASSIGN_OR_RETURN(auto windows, Windows(range, time));
  double param = 0;
  if (call.args.size() > 1) {
    ASSIGN_OR_RETURN(const ReferenceVector value, At(*call.args[param_first ? 0 : 1], time));
    param = value[0].value;
  }
  const bool keeps_name =
      function == FunctionId::kFirstOverTime || function == FunctionId::kLastOverTime;
  ReferenceVector result;
  bool any = false;
  for (auto& [labels, window] : windows) {
    window.param = param;
    any = any || !window.floats.empty() || !window.histograms.empty();
    if (function == FunctionId::kAbsentOverTime) continue;
    ReferenceSample sample;
    ASSIGN_OR_RETURN(const bool present, ReferenceRangeFunction(function, window, sample));
    if (!present) continue;
    sample.labels = keeps_name ? labels : ReferenceWithoutName(labels);
    result.push_back(std::move(sample));
  }
  if (function == FunctionId::kAbsentOverTime && !any) {
    result.push_back({AbsentLabels(range), 1, nullptr});
  }
  return Unique(std::move(result));
}

absl::StatusOr<ReferenceVector> ReferenceEvaluator::EvaluateCall(const Call& call,
                                                                 TimestampMs time) const {
  const FunctionId function = call.function->id;
  if (function == FunctionId::kTime) {
    return ReferenceVector{{Labels(), static_cast<double>(time) / 1000, nullptr}};
  }
  for (const ExprPtr& argument : call.args) {
    if (argument->type == ValueType::kMatrix) return RangeCall(call, time);
  }
  const bool quantile = function == FunctionId::kHistogramQuantile;
  const Expr& argument = *call.args[quantile ? 1 : 0];
  if (const auto* selector = TryAs<VectorSelector>(Unparen(argument));
      selector != nullptr && function == FunctionId::kTimestamp) {
    return Select(*selector, time, true);
  }
  ASSIGN_OR_RETURN(const ReferenceVector input, At(argument, time));
  if (function == FunctionId::kAbsent) {
    if (!input.empty()) return ReferenceVector();
    return ReferenceVector{{AbsentLabels(argument), 1, nullptr}};
  }
  if (function == FunctionId::kScalar) {
    std::vector<double> floats;
    for (const ReferenceSample& sample : input) {
      if (sample.histogram == nullptr) floats.push_back(sample.value);
    }
    const double value = floats.size() == 1 ? floats[0] : NormalNan();
    return ReferenceVector{{Labels(), value, nullptr}};
  }
  ReferenceVector result;
  for (const ReferenceSample& sample : input) {
    ReferenceSample out{ReferenceWithoutName(sample.labels), sample.value, nullptr};
    if (function == FunctionId::kTimestamp) {
      out.value = static_cast<double>(time) / 1000;
    } else if (function == FunctionId::kLabelReplace) {
      const auto text = [&](size_t i) { return As<StringLiteral>(*call.args[i]).value; };
      const std::string source(sample.labels.Get(text(3)));
      std::smatch match;
      LabelsBuilder builder(sample.labels);
      if (std::regex_match(source, match, std::regex(text(4)))) {
        builder.Set(text(1), match.format(text(2)));
      }
      out = sample;
      out.labels = builder.Build();
    } else if (sample.histogram == nullptr) {
      if (!FloatCall(function, out.value)) continue;
    } else if (function == FunctionId::kHistogramCount) {
      out.value = sample.histogram->count;
    } else if (function == FunctionId::kHistogramSum) {
      out.value = sample.histogram->sum;
    } else if (quantile) {
      ASSIGN_OR_RETURN(const ReferenceVector wanted, At(*call.args[0], time));
      out.value = HistogramQuantile(wanted[0].value, *sample.histogram).value;
    } else {
      continue;
    }
    result.push_back(std::move(out));
  }
  return Unique(std::move(result));
}

absl::StatusOr<ReferenceVector> ReferenceEvaluator::EvaluateAggregate(const Aggregate& aggregate,
                                                                      TimestampMs time) const {
  ASSIGN_OR_RETURN(const ReferenceVector input, At(*aggregate.expr, time));
  double param = 0;
  if (aggregate.param != nullptr) {
    ASSIGN_OR_RETURN(const ReferenceVector value, At(*aggregate.param, time));
    param = value[0].value;
  }
  std::vector<std::pair<Labels, Group>> groups;
  for (const ReferenceSample& sample : input) {
    Labels key = Pick(sample.labels, aggregate.grouping, !aggregate.without);
    if (aggregate.without) key = ReferenceWithoutName(key);
    auto group = std::find_if(groups.begin(), groups.end(),
                              [&](const auto& known) { return known.first == key; });
    if (group == groups.end()) group = groups.insert(groups.end(), {key, Group()});
    group->second.push_back(&sample);
  }
  ReferenceVector result;
  std::set<const ReferenceSample*> chosen;
  for (const auto& [labels, group] : groups) {
    switch (aggregate.op) {
      case AggregateOp::kTopk:
      case AggregateOp::kBottomk:
      case AggregateOp::kLimitk:
      case AggregateOp::kLimitRatio:
        for (const ReferenceSample* sample : Choose(aggregate.op, param, group)) {
          chosen.insert(sample);
        }
        break;
      default: {
        ReferenceSample sample{labels, 0, nullptr};
        if (Fold(aggregate, param, group, sample)) result.push_back(std::move(sample));
      }
    }
  }
  for (const ReferenceSample* sample : chosen) result.push_back(*sample);  // In input order.
  return result;
}

absl::StatusOr<ReferenceVector> ReferenceEvaluator::EvaluateBinary(const Binary& binary,
                                                                   TimestampMs time) const {
  ASSIGN_OR_RETURN(ReferenceVector left, At(*binary.lhs, time));
  ASSIGN_OR_RETURN(ReferenceVector right, At(*binary.rhs, time));
  if (IsSetOperator(binary.op)) return SetOperation(binary, std::move(left), std::move(right));
  if (binary.matching.has_value()) return Join(binary, left, right);
  const bool scalar_left = binary.lhs->type == ValueType::kScalar;
  ReferenceVector result;
  for (const ReferenceSample& sample : scalar_left ? right : left) {
    Combined combined =
        Combine(binary.op, scalar_left ? left[0] : sample, scalar_left ? sample : right[0]);
    if (!combined.valid) continue;
    if (IsComparison(binary.op) && !binary.return_bool) combined.value = sample.value;
    ReferenceSample out;
    out.labels = DropsName(binary) ? ReferenceWithoutName(sample.labels) : sample.labels;
    if (Take(binary, combined, out)) result.push_back(std::move(out));
  }
  return Unique(std::move(result));
}

absl::StatusOr<ReferenceVector> ReferenceEvaluator::At(const Expr& expr, TimestampMs time) const {
  const Expr& inner = Unparen(expr);
  switch (inner.kind) {
    case ExprKind::kNumberLiteral:
      return ReferenceVector{{Labels(), As<NumberLiteral>(inner).value, nullptr}};
    case ExprKind::kVectorSelector:
      return Select(As<VectorSelector>(inner), time, false);
    case ExprKind::kCall:
      return EvaluateCall(As<Call>(inner), time);
    case ExprKind::kAggregate:
      return EvaluateAggregate(As<Aggregate>(inner), time);
    case ExprKind::kBinary:
      return EvaluateBinary(As<Binary>(inner), time);
    case ExprKind::kUnary: {
      ASSIGN_OR_RETURN(ReferenceVector vector, At(*As<Unary>(inner).expr, time));
      for (ReferenceSample& sample : vector) {
        sample.labels = ReferenceWithoutName(sample.labels);
        sample.value = -sample.value;
        if (sample.histogram != nullptr) {
          sample.histogram = Share(MultiplyHistogram(*sample.histogram, -1));
        }
      }
      return Unique(std::move(vector));
    }
    default:
      return absl::UnimplementedError("expression");
  }
}

}  // namespace varve::promql
