// SPDX-License-Identifier: Apache-2.0
//
// Sums of several windows side by side: each adds up its own values in order, but none waits for
// the rounding of another.
#pragma once

#include <array>
#include <cstddef>

namespace varve::promql {

inline constexpr size_t kSumLanes = 8;

struct SumLanes {
  std::array<const double*, kSumLanes> values{};
  // As CompensatedSum's.
  std::array<double, kSumLanes> sums{};
  std::array<double, kSumLanes> carries{};
};

// Adds the values [from, to) of every lane. A carry or sum that is not finite says that one was
// not on the way, or nearly: lanes are then to be added up one by one.
void AddSideBySide(size_t from, size_t to, SumLanes& lanes);

}  // namespace varve::promql
