// SPDX-License-Identifier: Apache-2.0
//
// The functions' table. Entries stand in the order of FunctionId, which is alphabetical.
#include "promql/function_signatures.h"

#include "model/check.h"
#include "model/string_map.h"

namespace varve::promql {
namespace {

constexpr ValueType kScalar = ValueType::kScalar;
constexpr ValueType kVector = ValueType::kVector;
constexpr ValueType kMatrix = ValueType::kMatrix;
constexpr ValueType kString = ValueType::kString;

using Signatures = std::vector<FunctionSignature>;
using Id = FunctionId;

constexpr bool kExperimental = true;

Signatures MakeSignatures() {
  return {
      {Id::kAbs, "abs", {kVector}},
      {Id::kAbsent, "absent", {kVector}},
      {Id::kAbsentOverTime, "absent_over_time", {kMatrix}},
      {Id::kAcos, "acos", {kVector}},
      {Id::kAcosh, "acosh", {kVector}},
      {Id::kAsin, "asin", {kVector}},
      {Id::kAsinh, "asinh", {kVector}},
      {Id::kAtan, "atan", {kVector}},
      {Id::kAtanh, "atanh", {kVector}},
      {Id::kAvgOverTime, "avg_over_time", {kMatrix}},
      {Id::kCeil, "ceil", {kVector}},
      {Id::kChanges, "changes", {kMatrix}},
      {Id::kClamp, "clamp", {kVector, kScalar, kScalar}},
      {Id::kClampMax, "clamp_max", {kVector, kScalar}},
      {Id::kClampMin, "clamp_min", {kVector, kScalar}},
      {Id::kCos, "cos", {kVector}},
      {Id::kCosh, "cosh", {kVector}},
      {Id::kCountOverTime, "count_over_time", {kMatrix}},
      {Id::kDayOfMonth, "day_of_month", {kVector}, 1},
      {Id::kDayOfWeek, "day_of_week", {kVector}, 1},
      {Id::kDayOfYear, "day_of_year", {kVector}, 1},
      {Id::kDaysInMonth, "days_in_month", {kVector}, 1},
      {Id::kDeg, "deg", {kVector}},
      {Id::kDelta, "delta", {kMatrix}},
      {Id::kDeriv, "deriv", {kMatrix}},
      {Id::kDoubleExponentialSmoothing,
       "double_exponential_smoothing",
       {kMatrix, kScalar, kScalar},
       0,
       kVector,
       kExperimental},
      {Id::kEnd, "end", {}, 0, kScalar, kExperimental},
      {Id::kExp, "exp", {kVector}},
      {Id::kFirstOverTime, "first_over_time", {kMatrix}},
      {Id::kFloor, "floor", {kVector}},
      {Id::kHistogramAvg, "histogram_avg", {kVector}},
      {Id::kHistogramCount, "histogram_count", {kVector}},
      {Id::kHistogramFraction, "histogram_fraction", {kScalar, kScalar, kVector}},
      {Id::kHistogramQuantile, "histogram_quantile", {kScalar, kVector}},
      {Id::kHistogramQuantiles,
       "histogram_quantiles",
       {kVector, kString, kScalar, kScalar},
       9,
       kVector,
       kExperimental},
      {Id::kHistogramStddev, "histogram_stddev", {kVector}},
      {Id::kHistogramStdvar, "histogram_stdvar", {kVector}},
      {Id::kHistogramSum, "histogram_sum", {kVector}},
      {Id::kHour, "hour", {kVector}, 1},
      {Id::kIdelta, "idelta", {kMatrix}},
      {Id::kIncrease, "increase", {kMatrix}},
      {Id::kInfo, "info", {kVector, kVector}, 1, kVector, kExperimental},
      {Id::kIrate, "irate", {kMatrix}},
      {Id::kLabelJoin, "label_join", {kVector, kString, kString, kString}, -1},
      {Id::kLabelReplace, "label_replace", {kVector, kString, kString, kString, kString}},
      {Id::kLastOverTime, "last_over_time", {kMatrix}},
      {Id::kLn, "ln", {kVector}},
      {Id::kLog10, "log10", {kVector}},
      {Id::kLog2, "log2", {kVector}},
      {Id::kMadOverTime, "mad_over_time", {kMatrix}, 0, kVector, kExperimental},
      {Id::kMaxOf, "max_of", {kScalar, kScalar}, 0, kScalar, kExperimental},
      {Id::kMaxOverTime, "max_over_time", {kMatrix}},
      {Id::kMinOf, "min_of", {kScalar, kScalar}, 0, kScalar, kExperimental},
      {Id::kMinOverTime, "min_over_time", {kMatrix}},
      {Id::kMinute, "minute", {kVector}, 1},
      {Id::kMonth, "month", {kVector}, 1},
      {Id::kPi, "pi", {}, 0, kScalar},
      {Id::kPredictLinear, "predict_linear", {kMatrix, kScalar}},
      {Id::kPresentOverTime, "present_over_time", {kMatrix}},
      {Id::kQuantileOverTime, "quantile_over_time", {kScalar, kMatrix}},
      {Id::kRad, "rad", {kVector}},
      {Id::kRange, "range", {}, 0, kScalar, kExperimental},
      {Id::kRate, "rate", {kMatrix}},
      {Id::kResets, "resets", {kMatrix}},
      {Id::kRound, "round", {kVector, kScalar}, 1},
      {Id::kScalar, "scalar", {kVector}, 0, kScalar},
      {Id::kSgn, "sgn", {kVector}},
      {Id::kSin, "sin", {kVector}},
      {Id::kSinh, "sinh", {kVector}},
      {Id::kSort, "sort", {kVector}},
      {Id::kSortByLabel, "sort_by_label", {kVector, kString}, -1, kVector, kExperimental},
      {Id::kSortByLabelDesc, "sort_by_label_desc", {kVector, kString}, -1, kVector, kExperimental},
      {Id::kSortDesc, "sort_desc", {kVector}},
      {Id::kSqrt, "sqrt", {kVector}},
      {Id::kStart, "start", {}, 0, kScalar, kExperimental},
      {Id::kStartTimestamp, "start_timestamp", {kVector}, 0, kVector, kExperimental},
      {Id::kStddevOverTime, "stddev_over_time", {kMatrix}},
      {Id::kStdvarOverTime, "stdvar_over_time", {kMatrix}},
      {Id::kStep, "step", {}, 0, kScalar, kExperimental},
      {Id::kSumOverTime, "sum_over_time", {kMatrix}},
      {Id::kTan, "tan", {kVector}},
      {Id::kTanh, "tanh", {kVector}},
      {Id::kTime, "time", {}, 0, kScalar},
      {Id::kTimestamp, "timestamp", {kVector}},
      {Id::kTsOfFirstOverTime, "ts_of_first_over_time", {kMatrix}, 0, kVector, kExperimental},
      {Id::kTsOfLastOverTime, "ts_of_last_over_time", {kMatrix}, 0, kVector, kExperimental},
      {Id::kTsOfMaxOverTime, "ts_of_max_over_time", {kMatrix}, 0, kVector, kExperimental},
      {Id::kTsOfMinOverTime, "ts_of_min_over_time", {kMatrix}, 0, kVector, kExperimental},
      {Id::kVector, "vector", {kScalar}},
      {Id::kYear, "year", {kVector}, 1},
  };
}

struct Table {
  Signatures signatures = MakeSignatures();
  StringMap<const FunctionSignature*> by_name;

  Table() {
    INVARIANT(signatures.size() == kFunctionCount);
    for (size_t i = 0; i < signatures.size(); ++i) {
      INVARIANT(static_cast<size_t>(signatures[i].id) == i);
      by_name.emplace(signatures[i].name, &signatures[i]);
    }
  }
};

const Table& TheTable() {
  static const Table& table = *new Table;  // Never destroyed: trees may outlive main().
  return table;
}

}  // namespace

const FunctionSignature* FindFunction(std::string_view name) {
  const auto found = TheTable().by_name.find(name);
  return found == TheTable().by_name.end() ? nullptr : found->second;
}

const FunctionSignature& SignatureOf(FunctionId id) {
  return TheTable().signatures[static_cast<size_t>(id)];
}

std::string_view ValueTypeDescription(ValueType type) {
  switch (type) {
    case ValueType::kNone:
      break;
    case ValueType::kScalar:
      return "scalar";
    case ValueType::kVector:
      return "instant vector";
    case ValueType::kMatrix:
      return "range vector";
    case ValueType::kString:
      return "string";
  }
  return "none";
}

std::string_view ValueTypeText(ValueType type) {
  switch (type) {
    case ValueType::kNone:
      break;
    case ValueType::kScalar:
      return "scalar";
    case ValueType::kVector:
      return "vector";
    case ValueType::kMatrix:
      return "matrix";
    case ValueType::kString:
      return "string";
  }
  return "none";
}

}  // namespace varve::promql
