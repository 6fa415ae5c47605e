// SPDX-License-Identifier: Apache-2.0
//
// Value types, and the table of PromQL's functions: names and types, which the parser needs. What
// the functions do is the engine's: it finds a call's body by FunctionId.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace varve::promql {

enum class ValueType : uint8_t { kNone, kScalar, kVector, kMatrix, kString };

// As error texts name them: "scalar", "instant vector", "range vector", "string".
std::string_view ValueTypeDescription(ValueType type);
// As the API names them: "scalar", "vector", "matrix", "string", "none".
std::string_view ValueTypeText(ValueType type);

enum class FunctionId : uint8_t {
  kAbs,
  kAbsent,
  kAbsentOverTime,
  kAcos,
  kAcosh,
  kAsin,
  kAsinh,
  kAtan,
  kAtanh,
  kAvgOverTime,
  kCeil,
  kChanges,
  kClamp,
  kClampMax,
  kClampMin,
  kCos,
  kCosh,
  kCountOverTime,
  kDayOfMonth,
  kDayOfWeek,
  kDayOfYear,
  kDaysInMonth,
  kDeg,
  kDelta,
  kDeriv,
  kDoubleExponentialSmoothing,
  kEnd,
  kExp,
  kFirstOverTime,
  kFloor,
  kHistogramAvg,
  kHistogramCount,
  kHistogramFraction,
  kHistogramQuantile,
  kHistogramQuantiles,
  kHistogramStddev,
  kHistogramStdvar,
  kHistogramSum,
  kHour,
  kIdelta,
  kIncrease,
  kInfo,
  kIrate,
  kLabelJoin,
  kLabelReplace,
  kLastOverTime,
  kLn,
  kLog10,
  kLog2,
  kMadOverTime,
  kMaxOf,
  kMaxOverTime,
  kMinOf,
  kMinOverTime,
  kMinute,
  kMonth,
  kPi,
  kPredictLinear,
  kPresentOverTime,
  kQuantileOverTime,
  kRad,
  kRange,
  kRate,
  kResets,
  kRound,
  kScalar,
  kSgn,
  kSin,
  kSinh,
  kSort,
  kSortByLabel,
  kSortByLabelDesc,
  kSortDesc,
  kSqrt,
  kStart,
  kStartTimestamp,
  kStddevOverTime,
  kStdvarOverTime,
  kStep,
  kSumOverTime,
  kTan,
  kTanh,
  kTime,
  kTimestamp,
  kTsOfFirstOverTime,
  kTsOfLastOverTime,
  kTsOfMaxOverTime,
  kTsOfMinOverTime,
  kVector,
  kYear,
};
inline constexpr size_t kFunctionCount = static_cast<size_t>(FunctionId::kYear) + 1;

struct FunctionSignature {
  FunctionId id;
  std::string_view name;
  std::vector<ValueType> args;
  // 0: exactly `args`. n > 0: the last argument may be left out or given up to n times.
  // -1: the last argument may be given any number of times, or not at all.
  int variadic = 0;
  ValueType result = ValueType::kVector;
  bool experimental = false;
};

// Null if there is no such function. Names are case-sensitive. The entry lives for ever.
const FunctionSignature* FindFunction(std::string_view name);
const FunctionSignature& SignatureOf(FunctionId id);

}  // namespace varve::promql
