// SPDX-License-Identifier: Apache-2.0
//
// The same loop for pairs, which every processor has, and for fours where there are such. What is
// rounded does not depend on it.
#include "promql/sum_lanes.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "promql/float_pair.h"

namespace varve::promql {
namespace {

// Fours are handed to functions that are inlined only, so how they are passed does not matter.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpsabi"

using FloatFour [[gnu::vector_size(32)]] = double;

[[gnu::always_inline]] inline FloatPair Gather(const double* const* at, size_t i, FloatPair) {
  return FloatPair{at[0][i], at[1][i]};
}
[[gnu::always_inline]] inline FloatFour Gather(const double* const* at, size_t i, FloatFour) {
  return FloatFour{at[0][i], at[1][i], at[2][i], at[3][i]};
}

// What RoundedOff() gives if `a` is at least as far from zero as `b`.
template <typename Pack>
[[gnu::always_inline]] inline Pack RoundedOffSmaller(Pack a, Pack b, Pack& total) {
  const Pack sum = a + b;
  total = sum;
  return b - (sum - a);
}

template <typename Pack, bool kSumsAreLarger>
[[gnu::always_inline]] inline void AddRange(size_t from, size_t to, SumLanes& lanes) {
  constexpr size_t kPack = sizeof(Pack) / sizeof(double);
  constexpr size_t kPacks = kSumLanes / kPack;
  const std::array<const double*, kSumLanes> values = lanes.values;
  Pack sums[kPacks];
  Pack carries[kPacks];
  // Unrolled, these stay in registers.
#pragma GCC unroll 4
  for (size_t pack = 0; pack < kPacks; ++pack) {
    sums[pack] = LoadPack<Pack>(&lanes.sums[pack * kPack]);
    carries[pack] = LoadPack<Pack>(&lanes.carries[pack * kPack]);
  }
  for (size_t i = from; i < to; ++i) {
#pragma GCC unroll 4
    for (size_t pack = 0; pack < kPacks; ++pack) {
      const Pack value = Gather(values.data() + pack * kPack, i, Pack{});
      carries[pack] += kSumsAreLarger ? RoundedOffSmaller(sums[pack], value, sums[pack])
                                      : RoundedOff(sums[pack], value, sums[pack]);
    }
  }
#pragma GCC unroll 4
  for (size_t pack = 0; pack < kPacks; ++pack) {
    StorePack(sums[pack], &lanes.sums[pack * kPack]);
    StorePack(carries[pack], &lanes.carries[pack * kPack]);
  }
}

template <typename Pack>
[[gnu::always_inline]] inline void Add(size_t from, size_t to, double largest, SumLanes& lanes) {
  constexpr size_t kBetweenLooks = 8;
  const auto are_larger = [&] {
    bool all = true;
    for (const double sum : lanes.sums) all &= sum >= largest;
    return all;
  };
  while (from < to && !are_larger()) {
    // Without a bound there is no use in looking again.
    const size_t end =
        largest <= std::numeric_limits<double>::max() ? std::min(to, from + kBetweenLooks) : to;
    AddRange<Pack, false>(from, end, lanes);
    from = end;
  }
  AddRange<Pack, true>(from, to, lanes);
}

template <typename Pack>
[[gnu::always_inline]] inline bool AddToEach(const double* values, size_t count, double* sums,
                                             double* carries) {
  constexpr size_t kPack = sizeof(Pack) / sizeof(double);
  Pack totals[kAddEachMax / kPack];
  Pack rounded_off[kAddEachMax / kPack];
  Pack not_finite{};
  for (size_t i = 0; i < count / kPack; ++i) {
    rounded_off[i] =
        RoundedOff(LoadPack<Pack>(sums + i * kPack), LoadPack<Pack>(values + i * kPack), totals[i]);
    not_finite += rounded_off[i] * 0;  // NaN from there on.
  }
  double any = 0;
  for (size_t i = 0; i < kPack; ++i) any += not_finite[i];
  if (any != 0) return false;
  for (size_t i = 0; i < count / kPack; ++i) {
    StorePack(totals[i], sums + i * kPack);
    StorePack(LoadPack<Pack>(carries + i * kPack) + rounded_off[i], carries + i * kPack);
  }
  return true;
}

// With a constant count the loops are unrolled.
template <typename Pack>
[[gnu::always_inline]] inline bool AddToEachOf(const double* values, size_t count, double* sums,
                                               double* carries) {
  return count == kAddEachMax ? AddToEach<Pack>(values, kAddEachMax, sums, carries)
                              : AddToEach<Pack>(values, count, sums, carries);
}

// Adds the values to the sums of kPacks packs, which stay in registers.
template <typename Pack, size_t kPacks>
[[gnu::always_inline]] inline void AddToPacks(const double* values, size_t count, double* sums) {
  constexpr size_t kPack = sizeof(Pack) / sizeof(double);
  Pack packs[kPacks];
#pragma GCC unroll 8
  for (size_t pack = 0; pack < kPacks; ++pack) packs[pack] = LoadPack<Pack>(sums + pack * kPack);
  for (size_t i = 0; i < count; ++i) {
    const Pack value = values[i] - Pack{};  // The same in each lane.
#pragma GCC unroll 8
    for (size_t pack = 0; pack < kPacks; ++pack) packs[pack] += value;
  }
#pragma GCC unroll 8
  for (size_t pack = 0; pack < kPacks; ++pack) StorePack(packs[pack], sums + pack * kPack);
}

template <typename Pack>
[[gnu::always_inline]] inline void AddToAllOf(const double* values, size_t count, size_t size,
                                              double* sums) {
  constexpr size_t kPack = sizeof(Pack) / sizeof(double);
  constexpr size_t kPacks = 8;  // Additions that are under way at a time.
  static_assert(kPack <= kAddToAllSlack + 1);
  size_t sum = 0;
  for (; sum + kPacks * kPack <= size; sum += kPacks * kPack) {
    AddToPacks<Pack, kPacks>(values, count, sums + sum);
  }
  for (; sum < size; sum += kPack) AddToPacks<Pack, 1>(values, count, sums + sum);
}

template <typename Pack>
[[gnu::always_inline]] inline void AddSplitOf(const double* values, size_t count, double shift,
                                              SplitSum& sum) {
  constexpr size_t kPack = sizeof(Pack) / sizeof(double);
  Pack upper{};
  Pack lower{};
  size_t i = 0;
  for (; i + kPack <= count; i += kPack) {
    const Pack value = LoadPack<Pack>(values + i);
    const Pack top = (value + shift) - shift;
    upper += top;
    lower += value - top;
  }
  for (size_t lane = 0; lane < kPack; ++lane) {
    sum.upper += upper[lane];
    sum.lower += lower[lane];
  }
  for (; i < count; ++i) {
    const double top = (values[i] + shift) - shift;
    sum.upper += top;
    sum.lower += values[i] - top;
  }
}

template <typename Pack>
[[gnu::always_inline]] inline MagnitudeRange MagnitudesIn(absl::Span<const double> values) {
  constexpr size_t kPack = sizeof(Pack) / sizeof(double);
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const Pack none = Pack{} + kInfinity;
  Pack smallest = none;
  Pack largest{};
  Pack not_numbers{};
  size_t i = 0;
  for (; i + kPack <= values.size(); i += kPack) {
    const Pack value = LoadPack<Pack>(values.data() + i);
    const Pack magnitude = value < 0 ? -value : value;
    const Pack others = magnitude == 0 ? none : magnitude;
    not_numbers += value * 0;
    smallest = others < smallest ? others : smallest;
    largest = magnitude > largest ? magnitude : largest;
  }
  MagnitudeRange range{.smallest = kInfinity};
  double not_number = 0;
  for (size_t lane = 0; lane < kPack; ++lane) {
    range.smallest = std::min(range.smallest, smallest[lane]);
    range.largest = std::max(range.largest, largest[lane]);
    not_number += not_numbers[lane];
  }
  for (; i < values.size(); ++i) {
    const double magnitude = std::fabs(values[i]);
    not_number += magnitude * 0;
    if (magnitude != 0) range.smallest = std::min(range.smallest, magnitude);
    range.largest = std::max(range.largest, magnitude);
  }
  if (not_number != 0) range.largest = std::numeric_limits<double>::quiet_NaN();
  return range;
}

#ifdef __x86_64__
[[gnu::target("avx2")]] void AddToAllFours(const double* values, size_t count, size_t size,
                                           double* sums) {
  AddToAllOf<FloatFour>(values, count, size, sums);
}
[[gnu::target("avx2")]] void AddSplitFours(const double* values, size_t count, double shift,
                                           SplitSum& sum) {
  AddSplitOf<FloatFour>(values, count, shift, sum);
}
[[gnu::target("avx2")]] MagnitudeRange MagnitudesInFours(absl::Span<const double> values) {
  return MagnitudesIn<FloatFour>(values);
}
[[gnu::target("avx2")]] void AddFours(size_t from, size_t to, double largest, SumLanes& lanes) {
  Add<FloatFour>(from, to, largest, lanes);
}
[[gnu::target("avx2")]] bool AddFoursToEach(const double* values, size_t count, double* sums,
                                            double* carries) {
  return AddToEachOf<FloatFour>(values, count, sums, carries);
}
bool HasFours() {
  static const bool kHas = __builtin_cpu_supports("avx2");
  return kHas;
}
#endif

}  // namespace

void AddSideBySide(size_t from, size_t to, double largest, SumLanes& lanes) {
#ifdef __x86_64__
  if (HasFours()) return AddFours(from, to, largest, lanes);
#endif
  Add<FloatPair>(from, to, largest, lanes);
}

bool AddEach(const double* values, size_t count, double* sums, double* carries) {
#ifdef __x86_64__
  if (HasFours()) return AddFoursToEach(values, count, sums, carries);
#endif
  return AddToEachOf<FloatPair>(values, count, sums, carries);
}

void AddToAll(const double* values, size_t count, size_t size, double* sums) {
#ifdef __x86_64__
  if (HasFours()) return AddToAllFours(values, count, size, sums);
#endif
  AddToAllOf<FloatPair>(values, count, size, sums);
}

void AddSplit(const double* values, size_t count, double shift, SplitSum& sum) {
#ifdef __x86_64__
  if (HasFours()) return AddSplitFours(values, count, shift, sum);
#endif
  AddSplitOf<FloatPair>(values, count, shift, sum);
}

MagnitudeRange MagnitudesOf(absl::Span<const double> values) {
#ifdef __x86_64__
  if (HasFours()) return MagnitudesInFours(values);
#endif
  return MagnitudesIn<FloatPair>(values);
}

#pragma GCC diagnostic pop

}  // namespace varve::promql
