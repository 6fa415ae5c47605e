// SPDX-License-Identifier: Apache-2.0
//
// The same loop for pairs, which every processor has, and for fours where there are such. What is
// rounded does not depend on it.
#include "promql/sum_lanes.h"

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

template <typename Pack>
[[gnu::always_inline]] inline void Add(size_t from, size_t to, SumLanes& lanes) {
  constexpr size_t kPack = sizeof(Pack) / sizeof(double);
  constexpr size_t kPacks = kSumLanes / kPack;
  const std::array<const double*, kSumLanes> values = lanes.values;
  Pack sums[kPacks];
  Pack carries[kPacks];
  // Unrolled, these stay in registers.
#pragma GCC unroll 4
  for (size_t pack = 0; pack < kPacks; ++pack) {
    std::memcpy(&sums[pack], &lanes.sums[pack * kPack], sizeof(Pack));
    std::memcpy(&carries[pack], &lanes.carries[pack * kPack], sizeof(Pack));
  }
  for (size_t i = from; i < to; ++i) {
#pragma GCC unroll 4
    for (size_t pack = 0; pack < kPacks; ++pack) {
      const Pack value = Gather(values.data() + pack * kPack, i, Pack{});
      carries[pack] += RoundedOff(sums[pack], value, sums[pack]);
    }
  }
#pragma GCC unroll 4
  for (size_t pack = 0; pack < kPacks; ++pack) {
    std::memcpy(&lanes.sums[pack * kPack], &sums[pack], sizeof(Pack));
    std::memcpy(&lanes.carries[pack * kPack], &carries[pack], sizeof(Pack));
  }
}

#ifdef __x86_64__
[[gnu::target("avx2")]] void AddFours(size_t from, size_t to, SumLanes& lanes) {
  Add<FloatFour>(from, to, lanes);
}
#endif

}  // namespace

void AddSideBySide(size_t from, size_t to, SumLanes& lanes) {
#ifdef __x86_64__
  static const bool kFours = __builtin_cpu_supports("avx2");
  if (kFours) return AddFours(from, to, lanes);
#endif
  Add<FloatPair>(from, to, lanes);
}

#pragma GCC diagnostic pop

}  // namespace varve::promql
