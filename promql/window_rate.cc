// SPDX-License-Identifier: Apache-2.0
//
// rate, increase and delta of sliding windows. A counter's increase needs the resets inside the
// window only; windows over regular samples are stretched alike, 64 at a time but for a few.
#include <algorithm>
#include <bit>
#include <limits>
#include <vector>

#include "promql/float_pair.h"
#include "promql/window_kernel.h"

namespace varve::promql {
namespace {

// How far the increase between a window's samples is stretched. Windows over regular samples are
// alike: the figures of the window before mostly serve again.
class Extrapolation {
 public:
  explicit Extrapolation(const RangeSpec& spec, bool per_second)
      : range_ms_(spec.range),
        range_(static_cast<double>(spec.range) / 1000),
        per_second_(per_second) {}

  // `to_start` and `to_end` in milliseconds, from the window's edges to its first and last sample;
  // at least two samples.
  void Look(DurationMs to_start, DurationMs to_end, size_t samples) {
    if (to_start != to_start_ms_ || to_end != to_end_ms_ || samples != samples_) {
      Work(to_start, to_end, samples);
    }
  }

  double Factor() const { return factor_; }
  // Whether CounterFactor() is Factor() wherever the first value is not below the increase.
  bool ReachesZeroEarly() const { return sampled_ >= to_start_; }
  // A counter cannot have been below zero: it does not reach further back than there.
  double CounterFactor(double first, double increase) const {
    if (!(increase > 0 && first >= 0)) return factor_;
    if (first >= increase && sampled_ >= to_start_) return factor_;
    const double to_zero = sampled_ * (first / increase);
    return to_zero < to_start_ ? FactorFrom(to_zero) : factor_;
  }

 private:
  void Work(DurationMs to_start, DurationMs to_end, size_t samples) {
    to_start_ms_ = to_start;
    to_end_ms_ = to_end;
    samples_ = samples;
    sampled_ = static_cast<double>(range_ms_ - to_start - to_end) / 1000;
    const double spacing = sampled_ / static_cast<double>(samples - 1);
    const double threshold = spacing * 1.1;
    to_start_ = static_cast<double>(to_start) / 1000;
    to_end_ = static_cast<double>(to_end) / 1000;
    if (to_end_ >= threshold) to_end_ = spacing / 2;
    if (to_start_ >= threshold) to_start_ = spacing / 2;
    factor_ = FactorFrom(to_start_);
  }

  double FactorFrom(double to_start) const {
    const double factor = (sampled_ + to_start + to_end_) / sampled_;
    return per_second_ ? factor / range_ : factor;
  }

  const DurationMs range_ms_;
  const double range_;
  const bool per_second_;
  DurationMs to_start_ms_ = -1;
  DurationMs to_end_ms_ = -1;
  size_t samples_ = 0;
  double to_start_ = 0;
  double sampled_ = 0;
  double to_end_ = 0;
  double factor_ = 0;
};

// The samples that are below the one before, and one past all.
std::vector<uint32_t> FindResets(absl::Span<const double> values) {
  constexpr size_t kBlock = 32;  // Most have none.
  const auto size = static_cast<uint32_t>(values.size());
  std::vector<uint32_t> resets;
  uint32_t i = 1;
  const auto look_until = [&](uint32_t end) {
    for (; i < end; ++i) {
      if (values[i] < values[i - 1]) resets.push_back(i);
    }
  };
  while (i + kBlock <= size) {
    PairTest below{};
    for (size_t pair = 0; pair < kBlock / 2; ++pair) {
      const double* const at = values.data() + i + 2 * pair;
      below |= LoadPair(at) < LoadPair(at - 1);
    }
    if ((below[0] | below[1]) == 0) {
      i += kBlock;
    } else {
      look_until(i + kBlock);
    }
  }
  look_until(size);
  resets.push_back(std::numeric_limits<uint32_t>::max());
  return resets;
}

constexpr size_t kBlockSteps = 64;  // A word of Row::present().

// The increases of some windows and the values they begin with.
struct BlockIncreases {
  double first[kBlockSteps] = {};
  double increase[kBlockSteps] = {};
};

// Of the `count` windows from `step` on, each with samples; `start` is that of the first one.
// Returns the set of those that have not as many samples as the first one, or not at the same
// distances from the window's edges.
uint64_t TakeIncreases(const FloatWindows& windows, size_t step, size_t count, TimestampMs start,
                       DurationMs range, DurationMs advance, BlockIncreases& block) {
  const double* const values = windows.values.data();
  const TimestampMs* const times = windows.times.data();
  const uint32_t* const begin = windows.begin.data() + step;
  const uint32_t* const end = windows.end.data() + step;
  const uint32_t samples = end[0] - begin[0];
  const DurationMs to_start = times[begin[0]] - start;
  const DurationMs to_end = start + range - times[end[0] - 1];
  uint64_t unlike = 0;
  for (size_t i = 0; i < count; ++i, start += advance) {
    const uint32_t first = begin[i];
    const uint32_t last = end[i] - 1;
    int64_t differs = (last - first + 1) ^ samples;
    differs |= (times[first] - start) ^ to_start;
    differs |= (start + range - times[last]) ^ to_end;
    unlike |= static_cast<uint64_t>(differs != 0) << i;
    block.first[i] = values[first];
    block.increase[i] = values[last] - values[first];
  }
  return unlike;
}

// The windows whose increase is so large that the counter may have begun inside the stretched one.
uint64_t MaybeFromZero(const BlockIncreases& block) {
  const auto maybe = [](auto first, auto increase) {
    return (increase > 0) & (first >= 0) & ~(first >= increase);
  };
  PairTest any{};
  for (size_t i = 0; i < kBlockSteps; i += 2) {
    any |= maybe(LoadPair(block.first + i), LoadPair(block.increase + i));
  }
  uint64_t windows = 0;
  if ((any[0] | any[1]) == 0) return windows;
  for (size_t i = 0; i < kBlockSteps; ++i) {
    const FloatPair first = {block.first[i], 0};
    const FloatPair increase = {block.increase[i], 0};
    windows |= static_cast<uint64_t>(maybe(first, increase)[0] != 0) << i;
  }
  return windows;
}

template <bool kCounter, bool kPerSecond>
class ExtrapolatedKernel {
 public:
  ExtrapolatedKernel(const FloatWindows& windows, const RangeSpec& spec, Row& row)
      : windows_(windows),
        row_(row),
        range_(spec.range),
        advance_(spec.fixed ? 0 : spec.grid.step),
        window_end_(spec.EndAt(0)),
        extrapolation_(spec, kPerSecond),
        resets_(kCounter ? FindResets(windows.values)
                         : std::vector<uint32_t>{std::numeric_limits<uint32_t>::max()}),
        reset_(resets_.data()) {}

  void Run() {
    const size_t steps = windows_.steps();
    for (size_t step = 0; step < steps; step += kBlockSteps) {
      const size_t count = std::min(kBlockSteps, steps - step);
      if (!RunBlock(step, count)) RunSteps(step, count);
      window_end_ += static_cast<DurationMs>(count) * advance_;
    }
  }

 private:
  // What RunSteps() does where most windows are alike. False, and nothing is set, if they are not.
  bool RunBlock(size_t step, size_t count) {
    const size_t last = step + count - 1;
    if (windows_.end[step] < windows_.begin[step] + 2) return false;
    if (windows_.end[last] < windows_.begin[last] + 2) return false;
    while (*reset_ <= windows_.begin[step]) ++reset_;
    if (*reset_ < windows_.end[last]) return false;
    BlockIncreases block;
    const TimestampMs start = window_end_ - range_;
    uint64_t unlike = TakeIncreases(windows_, step, count, start, range_, advance_, block);
    Look(step, window_end_);
    if (kCounter && !extrapolation_.ReachesZeroEarly()) return false;
    if (kCounter) unlike |= MaybeFromZero(block);
    if (std::popcount(unlike) > static_cast<int>(kBlockSteps / 4)) return false;
    double* const out = row_.values().data() + step;
    const double factor = extrapolation_.Factor();
    for (size_t i = 0; i < count; ++i) out[i] = block.increase[i] * factor;
    row_.present()[step / kBlockSteps] = ~uint64_t{0} >> (kBlockSteps - count);
    for (; unlike != 0; unlike &= unlike - 1) {
      const auto i = static_cast<size_t>(std::countr_zero(unlike));
      SetUnlike(step + i, window_end_ + static_cast<DurationMs>(i) * advance_, block.first[i],
                block.increase[i]);
    }
    return true;
  }

  // A window without resets in a block that is set.
  void SetUnlike(size_t step, TimestampMs window_end, double first, double increase) {
    if (windows_.end[step] < windows_.begin[step] + 2) return row_.Clear(step);
    Look(step, window_end);
    const double factor =
        kCounter ? extrapolation_.CounterFactor(first, increase) : extrapolation_.Factor();
    row_.values()[step] = increase * factor;
  }

  void RunSteps(size_t step, size_t count) {
    const double* const values = windows_.values.data();
    RowWriter out(row_);
    TimestampMs window_end = window_end_;
    for (const size_t end_step = step + count; step < end_step; ++step, window_end += advance_) {
      const uint32_t first = windows_.begin[step];
      const uint32_t end = windows_.end[step];
      if (end < first + 2) continue;
      const uint32_t last = end - 1;
      double increase = values[last] - values[first];
      while (*reset_ <= first) ++reset_;
      for (const uint32_t* inside = reset_; *inside <= last; ++inside) {
        increase += values[*inside - 1];
      }
      Look(step, window_end);
      const double factor = kCounter ? extrapolation_.CounterFactor(values[first], increase)
                                     : extrapolation_.Factor();
      out.Set(step, increase * factor);
    }
  }

  void Look(size_t step, TimestampMs window_end) {
    const uint32_t first = windows_.begin[step];
    const uint32_t end = windows_.end[step];
    extrapolation_.Look(windows_.times[first] - (window_end - range_),
                        window_end - windows_.times[end - 1], end - first);
  }

  const FloatWindows& windows_;
  Row& row_;
  const DurationMs range_;
  const DurationMs advance_;
  TimestampMs window_end_;  // Of the block at hand.
  Extrapolation extrapolation_;
  const std::vector<uint32_t> resets_;
  const uint32_t* reset_;  // None before it is inside the window at hand.
};

}  // namespace

void RateKernel(const FloatWindows& windows, RangeCall& call, Row& row) {
  ExtrapolatedKernel<true, true>(windows, call.spec, row).Run();
  if (!row.Empty()) NotePossibleNonCounter(call);
}

void IncreaseKernel(const FloatWindows& windows, RangeCall& call, Row& row) {
  ExtrapolatedKernel<true, false>(windows, call.spec, row).Run();
  if (!row.Empty()) NotePossibleNonCounter(call);
}

void DeltaKernel(const FloatWindows& windows, RangeCall& call, Row& row) {
  ExtrapolatedKernel<false, false>(windows, call.spec, row).Run();
}

}  // namespace varve::promql
