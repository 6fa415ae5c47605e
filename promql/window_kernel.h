// SPDX-License-Identifier: Apache-2.0
//
// Functions over range vectors for series of floats, all windows at once: what two windows have in
// common is not gone through twice. Each gives exactly what the body of range_function.h gives
// window by window, to the last bit; where the order of additions makes that impossible, it goes
// over each window after all.
#pragma once

#include <absl/types/span.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "promql/range_function.h"

namespace varve::promql {

// What extrapolation needs to know of windows, whatever the values are. A set has a bit a step, 64
// steps a word; bits past the last step are 0.
struct WindowFactors {
  std::vector<double> factors;   // By which an increase is stretched; where there are two samples.
  std::vector<uint64_t> usable;  // Windows with two samples at least.
  // Those of them where a counter that begins at its increase or above is stretched so, too.
  std::vector<uint64_t> for_counters;
  // By word: by how many samples each window of the block is behind the one before, both where it
  // begins and where it ends; 0 if they differ in that.
  std::vector<uint32_t> strides;
};

// Which samples the steps see, by the samples' times alone.
struct FoundWindows {
  RangeSpec spec;
  uint64_t stamp = 0;  // Of these times,
  size_t size = 0;     // and how many they are.
  std::vector<uint32_t> begin;
  std::vector<uint32_t> end;
  std::vector<uint64_t> filled;  // Windows that are not empty: a bit a step, 64 steps a word.
  uint64_t samples = 0;          // In all windows together.
  // For rates (true) and increases; made when first asked for.
  std::optional<WindowFactors> factors[2];
  uint64_t used = 0;  // When last, counted in series.
};

// Step i sees the samples [begin[i], end[i]); both rise with i. Not thread-safe.
struct FloatWindows {
  absl::Span<const TimestampMs> times;
  absl::Span<const double> values;
  SeriesSamples::Known known;
  absl::Span<const uint32_t> begin;
  absl::Span<const uint32_t> end;
  uint64_t samples = 0;  // In all windows together.
  FoundWindows* found = nullptr;

  // REQUIRES: the range is neither anchored nor smoothed. `samples` stays alive.
  // Series that were scraped together have the same times: what was found for one of the series
  // before serves again.
  void Find(const RangeSpec& spec, const SeriesSamples& samples);

  size_t steps() const { return begin.size(); }
  absl::Span<const double> Values(size_t step) const {
    return values.subspan(begin[step], end[step] - begin[step]);
  }
  // What is kept from one series to the next, about.
  uint64_t MemoryBytes() const;

 private:
  std::vector<std::unique_ptr<FoundWindows>> known_;
  uint64_t series_ = 0;
};

// Sets `row` at every step whose window gives a value; the row was reset.
// REQUIRES: start timestamps are not to be looked at.
using FloatKernel = void (*)(FloatWindows& windows, RangeCall& call, Row& row);

// The kernels of quantile_over_time, rate, increase, delta, sum_over_time and avg_over_time.
void QuantileKernel(FloatWindows& windows, RangeCall& call, Row& row);
void RateKernel(FloatWindows& windows, RangeCall& call, Row& row);
void IncreaseKernel(FloatWindows& windows, RangeCall& call, Row& row);
void DeltaKernel(FloatWindows& windows, RangeCall& call, Row& row);
void SumKernel(FloatWindows& windows, RangeCall& call, Row& row);
void AverageKernel(FloatWindows& windows, RangeCall& call, Row& row);

// Null if the function has none.
FloatKernel FindFloatKernel(FunctionId id);

}  // namespace varve::promql
