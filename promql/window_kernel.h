// SPDX-License-Identifier: Apache-2.0
//
// Functions over range vectors for series of floats, all windows at once: what two windows have in
// common is not gone through twice. Each gives exactly what the body of range_function.h gives
// window by window, to the last bit; where the order of additions makes that impossible, it goes
// over each window after all.
#pragma once

#include <absl/types/span.h>

#include <cstdint>
#include <vector>

#include "promql/range_function.h"

namespace varve::promql {

// Step i sees the samples [begin[i], end[i]); both rise with i.
struct FloatWindows {
  absl::Span<const TimestampMs> times;
  absl::Span<const double> values;
  std::vector<uint32_t> begin;
  std::vector<uint32_t> end;
  uint64_t samples = 0;  // In all windows together.

  // REQUIRES: the range is neither anchored nor smoothed. Keeps the memory; `samples` stays alive.
  void Find(const RangeSpec& spec, const SeriesSamples& samples);

  size_t steps() const { return begin.size(); }
  absl::Span<const double> Values(size_t step) const {
    return values.subspan(begin[step], end[step] - begin[step]);
  }
};

// Sets `row` at every step whose window gives a value; the row was reset.
// REQUIRES: start timestamps are not to be looked at.
using FloatKernel = void (*)(const FloatWindows& windows, RangeCall& call, Row& row);

// The kernels of quantile_over_time, rate, increase and delta.
void QuantileKernel(const FloatWindows& windows, RangeCall& call, Row& row);
void RateKernel(const FloatWindows& windows, RangeCall& call, Row& row);
void IncreaseKernel(const FloatWindows& windows, RangeCall& call, Row& row);
void DeltaKernel(const FloatWindows& windows, RangeCall& call, Row& row);

// Null if the function has none.
FloatKernel FindFloatKernel(FunctionId id);

}  // namespace varve::promql
