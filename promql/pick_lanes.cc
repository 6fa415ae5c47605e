// SPDX-License-Identifier: Apache-2.0
//
// No branches but one: whether any of four steps has something better than its last pick. Series
// often come in the order of their values, so that each of them moves all picks of most steps.
#include "promql/pick_lanes.h"

#include "promql/float_pair.h"

namespace varve::promql {
namespace {

// Packs are handed to functions that are inlined only, so how they are passed does not matter.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpsabi"

template <size_t kSize>
struct PickPacks {
  using Floats [[gnu::vector_size(kSize * 8)]] = double;
  using Masks [[gnu::vector_size(kSize * 8)]] = int64_t;
};

// Whether lanes of `value` go before those of `than`, which come earlier.
template <bool kLargest, typename Masks, typename Floats>
[[gnu::always_inline]] inline Masks GoBefore(Floats value, Floats than, Masks is_number) {
  const Masks beyond = kLargest ? value > than : value < than;
  return (beyond | (than != than)) & is_number;
}

template <size_t kSize, bool kLargest>
[[gnu::always_inline]] inline void PickSome(const double* values, uint64_t of, size_t i,
                                            const PickLanes& picks) {
  using Floats = typename PickPacks<kSize>::Floats;
  using Masks = typename PickPacks<kSize>::Masks;
  auto value = LoadPack<Floats>(values + i);
  const Masks is_number = value == value;
  const auto last = LoadPack<Floats>(picks.values + (picks.ranks - 1) * picks.stride + i);
  const Masks any = GoBefore<kLargest>(value, last, is_number);
  int64_t bits = 0;
  for (size_t lane = 0; lane < kSize; ++lane) bits |= any[lane];
  if (bits == 0) return;
  Masks series = Masks{} + static_cast<int64_t>(of);
  Masks moves{};  // Whatever is behind a better one moves.
  for (size_t rank = 0; rank < picks.ranks; ++rank) {
    double* const at = picks.values + rank * picks.stride + i;
    uint64_t* const series_at = picks.series + rank * picks.stride + i;
    const auto picked = LoadPack<Floats>(at);
    const auto picked_series = LoadPack<Masks>(series_at);
    moves |= GoBefore<kLargest>(value, picked, is_number);
    const Floats now = moves ? value : picked;
    const Masks now_series = moves ? series : picked_series;
    value = moves ? picked : value;
    series = moves ? picked_series : series;
    StorePack(now, at);
    StorePack(now_series, series_at);
  }
}

template <size_t kSize>
[[gnu::always_inline]] inline void PickAll(const double* values, uint64_t series, size_t count,
                                           bool largest, const PickLanes& picks) {
  for (size_t i = 0; i < count; i += kSize) {
    if (largest) {
      PickSome<kSize, true>(values, series, i, picks);
    } else {
      PickSome<kSize, false>(values, series, i, picks);
    }
  }
}

#ifdef __x86_64__
[[gnu::target("avx2")]] void PickFours(const double* values, uint64_t series, size_t count,
                                       bool largest, const PickLanes& picks) {
  PickAll<4>(values, series, count, largest, picks);
}
#endif

}  // namespace

void PickEach(const double* values, uint64_t series, size_t count, bool largest,
              const PickLanes& picks) {
#ifdef __x86_64__
  static const bool kHasFours = __builtin_cpu_supports("avx2");
  if (kHasFours) return PickFours(values, series, count, largest, picks);
#endif
  PickAll<2>(values, series, count, largest, picks);
}

#pragma GCC diagnostic pop

}  // namespace varve::promql
