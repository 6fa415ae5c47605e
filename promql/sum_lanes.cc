// SPDX-License-Identifier: Apache-2.0
//
// The same loop for pairs, which every processor has, and for fours where there are such. What is
// rounded does not depend on it.
#include "promql/sum_lanes.h"

#include <algorithm>
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

#ifdef __x86_64__
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

#pragma GCC diagnostic pop

}  // namespace varve::promql
