// SPDX-License-Identifier: Apache-2.0
//
// Sums of several windows, or of several steps, side by side: each adds up its own values in order,
// but none waits for the rounding of another.
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
// `largest`: no value is negative, no number or larger than that, which saves work once the sums
// are as large. Infinity if there is no such bound.
void AddSideBySide(size_t from, size_t to, double largest, SumLanes& lanes);

inline constexpr size_t kAddEachMultiple = 4;
inline constexpr size_t kAddEachMax = 64;

// Adds values[i] to what CompensatedSum would have as sums[i] and carries[i], for each i < count.
// False, and nothing is changed, where a sum is not finite, or nearly not.
// REQUIRES: count is a multiple of kAddEachMultiple and at most kAddEachMax.
bool AddEach(const double* values, size_t count, double* sums, double* carries);

}  // namespace varve::promql
