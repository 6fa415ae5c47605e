// SPDX-License-Identifier: Apache-2.0
//
// Sums of several windows, or of several steps, side by side: each adds up its own values in order,
// but none waits for the rounding of another.
#pragma once

#include <absl/types/span.h>

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

// Room behind the sums that AddToAll() may write to.
inline constexpr size_t kAddToAllSlack = 3;

// Adds the values, one after the other, to each of `sums` sums, and to up to kAddToAllSlack more.
void AddToAll(const double* values, size_t count, size_t size, double* sums);

// An exact sum: of upper bits of values, and of what is left of these.
struct SplitSum {
  double upper = 0;
  double lower = 0;
};

// Adds `values`; the upper bits of each are what is left when `shift` is added and taken off again.
// REQUIRES: no sum of upper bits or of lower bits is rounded.
void AddSplit(const double* values, size_t count, double shift, SplitSum& sum);

// How far values are from zero. Zeros do not count: `smallest` is infinity if there are no others,
// `largest` 0. `largest` is no number if one of the values is none.
struct MagnitudeRange {
  double smallest = 0;
  double largest = 0;
};
MagnitudeRange MagnitudesOf(absl::Span<const double> values);

}  // namespace varve::promql
