// SPDX-License-Identifier: Apache-2.0
//
// Samples of one series: floats, native histograms, and the staleness marker that says a series
// ended.
#pragma once

#include <bit>
#include <cstdint>
#include <memory>

#include "model/histogram.h"
#include "model/time.h"

namespace varve {

// Two quiet NaNs told apart by their bits, as in Prometheus' storage and remote write.
inline constexpr uint64_t kStaleNanBits = 0x7ff0000000000002;
inline constexpr uint64_t kNormalNanBits = 0x7ff8000000000001;

inline double StaleNan() { return std::bit_cast<double>(kStaleNanBits); }
inline double NormalNan() { return std::bit_cast<double>(kNormalNanBits); }
inline bool IsStaleNan(double value) { return std::bit_cast<uint64_t>(value) == kStaleNanBits; }

struct FloatSample {
  TimestampMs time = 0;
  double value = 0;
};

struct HistogramSample {
  TimestampMs time = 0;
  std::shared_ptr<const Histogram> histogram;  // Never null.
};

}  // namespace varve
