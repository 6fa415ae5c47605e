// SPDX-License-Identifier: Apache-2.0
//
// rate, increase and delta of sliding windows. A counter's increase needs the resets inside the
// window only; how windows are stretched depends on times only, and mostly serves many series.
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <optional>
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

struct Resets {
  std::vector<uint32_t> at;  // The samples that are below the one before, and one past all.
  bool numbers = true;       // Whether all other samples are as large as the one before or larger.
};

// Those from the place `from` on, where it is not 0; before there are none.
Resets FindResets(absl::Span<const double> values, size_t from) {
  constexpr size_t kBlock = 32;  // Most have none.
  const auto size = static_cast<uint32_t>(values.size());
  Resets resets;
  auto i = static_cast<uint32_t>(std::max<size_t>(from, 1));
  const auto look_until = [&](uint32_t end) {
    for (; i < end; ++i) {
      if (values[i] >= values[i - 1]) continue;
      if (values[i] < values[i - 1]) {
        resets.at.push_back(i);
      } else {
        resets.numbers = false;
      }
    }
  };
  while (i + kBlock <= size) {
    const double* const at = values.data() + i;
    PairTest rises = {-1, -1};
#pragma GCC unroll 16
    for (size_t pair = 0; pair < kBlock / 2; ++pair) {
      rises &= LoadPack<FloatPair>(at + 2 * pair) >= LoadPack<FloatPair>(at + 2 * pair - 1);
    }
    if ((rises[0] & rises[1]) != 0) {
      i += kBlock;
    } else {
      look_until(i + kBlock);
    }
  }
  look_until(size);
  resets.at.push_back(std::numeric_limits<uint32_t>::max());
  return resets;
}

constexpr size_t kBlockSteps = 64;  // A word of Row::present().

uint64_t BlockMask(size_t count) { return ~uint64_t{0} >> (kBlockSteps - count); }

// Whether the windows [step, step + count), of which the first one is not empty, have as many
// samples as that one, at the same distances from their edges.
bool AreAlike(const FloatWindows& windows, const RangeSpec& spec, size_t step, size_t count) {
  const TimestampMs* const times = windows.times.data();
  const uint32_t* const begin = windows.begin.data() + step;
  const uint32_t* const end = windows.end.data() + step;
  if (spec.grid.uneven != nullptr) return false;
  const DurationMs advance = spec.fixed ? 0 : spec.grid.step;
  const uint32_t samples = end[0] - begin[0];
  const TimestampMs first = times[begin[0]];
  const TimestampMs last = times[end[0] - 1];
  int64_t differs = 0;
  for (size_t i = 0; i < count; ++i) {
    const DurationMs later = static_cast<DurationMs>(i) * advance;
    if (end[i] == begin[i]) return false;
    differs |= (end[i] - begin[i]) ^ samples;
    differs |= (times[begin[i]] - later) ^ first;
    differs |= (times[end[i] - 1] - later) ^ last;
  }
  return differs == 0;
}

// WindowFactors::strides of the block [step, step + count).
uint32_t StrideOf(const FloatWindows& windows, size_t step, size_t count) {
  if (count < 2) return 0;
  const uint32_t* const begin = windows.begin.data() + step;
  const uint32_t* const end = windows.end.data() + step;
  const uint32_t stride = end[1] - end[0];
  uint32_t differs = 0;
  for (size_t i = 1; i < count; ++i) {
    differs |= (end[i] - end[i - 1]) ^ stride;
    differs |= (begin[i] - begin[i - 1]) ^ stride;
  }
  return differs == 0 ? stride : 0;
}

WindowFactors FindFactors(const FloatWindows& windows, const RangeSpec& spec, bool per_second) {
  const size_t steps = windows.steps();
  WindowFactors found;
  found.factors.resize(steps);
  found.usable.resize((steps + kBlockSteps - 1) / kBlockSteps);
  found.for_counters.resize(found.usable.size());
  Extrapolation extrapolation(spec, per_second);
  const auto set = [&](size_t step, size_t count) {
    const uint32_t first = windows.begin[step];
    const uint32_t end = windows.end[step];
    if (end < first + 2) return;
    const TimestampMs window_end = spec.EndAt(step);
    extrapolation.Look(windows.times[first] - (window_end - spec.range),
                       window_end - windows.times[end - 1], end - first);
    std::fill_n(found.factors.begin() + static_cast<ptrdiff_t>(step), count,
                extrapolation.Factor());
    const uint64_t bits = BlockMask(count) << (step % kBlockSteps);
    found.usable[step / kBlockSteps] |= bits;
    if (extrapolation.ReachesZeroEarly()) found.for_counters[step / kBlockSteps] |= bits;
  };
  for (size_t step = 0; step < steps; step += kBlockSteps) {
    found.strides.push_back(StrideOf(windows, step, std::min(kBlockSteps, steps - step)));
  }
  constexpr size_t kAlike = 16;
  for (size_t step = 0; step < steps; step += kAlike) {
    const size_t count = std::min(kAlike, steps - step);
    if (windows.end[step] > windows.begin[step] && AreAlike(windows, spec, step, count)) {
      set(step, count);
    } else {
      for (size_t i = step; i < step + count; ++i) set(i, 1);
    }
  }
  return found;
}

template <bool kCounter, bool kPerSecond>
class ExtrapolatedKernel {
 public:
  ExtrapolatedKernel(FloatWindows& windows, const RangeSpec& spec, Row& row)
      : windows_(windows),
        spec_(spec),
        row_(row),
        extrapolation_(spec, kPerSecond),
        resets_(kCounter ? FindResets(windows.values, windows.known.rising)
                         : Resets{.at = {std::numeric_limits<uint32_t>::max()}}),
        reset_(resets_.at.data()) {}

  void Run() {
    std::optional<WindowFactors>& factors = windows_.found->factors[kPerSecond ? 1 : 0];
    if (!factors.has_value()) factors = FindFactors(windows_, spec_, kPerSecond);
    factors_ = factors->factors.data();
    const size_t steps = windows_.steps();
    if (!windows_.values.empty() && windows_.known.same == windows_.values.size() &&
        std::isfinite(windows_.values[0])) {
      // Zero however it is stretched.
      row_.SetZeros(factors->usable);
      return;
    }
    for (size_t step = 0; step < steps; step += kBlockSteps) {
      const uint64_t usable = factors->usable[step / kBlockSteps];
      if (usable == 0) continue;
      const size_t count = std::min(kBlockSteps, steps - step);
      const uint64_t easy = kCounter ? factors->for_counters[step / kBlockSteps] : usable;
      if (easy != BlockMask(count) ||
          !RunBlock(step, count, factors->strides[step / kBlockSteps])) {
        RunSteps(step, usable, easy);
      }
      row_.present()[step / kBlockSteps] = usable;
    }
  }

 private:
  // What RunSteps() does where all windows are stretched as the factors say, whatever their values:
  // without resets, and for counters that begin at their increase or above. False, and nothing is
  // set, if that is not certain.
  bool RunBlock(size_t step, size_t count, uint32_t stride) {
    const uint32_t* const begin = windows_.begin.data() + step;
    const uint32_t* const end = windows_.end.data() + step;
    const double* const values = windows_.values.data();
    if (kCounter) {
      while (*reset_ <= begin[0]) ++reset_;
      if (*reset_ < end[count - 1] || !resets_.numbers) return false;
      // As values rise, no window begins lower than the first one or increases more than all.
      const double first = values[begin[0]];
      if (!(first >= 0 && first >= values[end[count - 1] - 1] - first)) return false;
    }
    double* const out = row_.values().data() + step;
    const double* const factors = factors_ + step;
    if (stride == 0) {
      for (size_t i = 0; i < count; ++i) {
        out[i] = (values[end[i] - 1] - values[begin[i]]) * factors[i];
      }
      return true;
    }
    const double* const first = values + begin[0];
    const double* const last = values + end[0] - 1;
    size_t i = 0;
    for (; stride == 1 && i + 2 <= count; i += 2) {
      const auto increase = LoadPack<FloatPair>(last + i) - LoadPack<FloatPair>(first + i);
      StorePack(increase * LoadPack<FloatPair>(factors + i), out + i);
    }
    for (; i < count; ++i) out[i] = (last[i * stride] - first[i * stride]) * factors[i];
    return true;
  }

  // The windows of the block from `block` on that are `usable`; `easy` as WindowFactors says.
  void RunSteps(size_t block, uint64_t usable, uint64_t easy) {
    const double* const values = windows_.values.data();
    for (; usable != 0; usable &= usable - 1) {
      const auto bit = static_cast<size_t>(std::countr_zero(usable));
      const size_t step = block + bit;
      const uint32_t first = windows_.begin[step];
      const uint32_t last = windows_.end[step] - 1;
      double increase = values[last] - values[first];
      while (*reset_ <= first) ++reset_;
      for (const uint32_t* inside = reset_; *inside <= last; ++inside) {
        increase += values[*inside - 1];
      }
      const bool plain = !kCounter || ((easy >> bit & 1) != 0 && values[first] >= increase);
      row_.values()[step] =
          increase * (plain ? factors_[step] : CounterFactor(step, values[first], increase));
    }
  }

  double CounterFactor(size_t step, double first, double increase) {
    const uint32_t begin = windows_.begin[step];
    const uint32_t end = windows_.end[step];
    const TimestampMs window_end = spec_.EndAt(step);
    extrapolation_.Look(windows_.times[begin] - (window_end - spec_.range),
                        window_end - windows_.times[end - 1], end - begin);
    return extrapolation_.CounterFactor(first, increase);
  }

  FloatWindows& windows_;
  const RangeSpec& spec_;
  Row& row_;
  Extrapolation extrapolation_;
  const double* factors_ = nullptr;
  const Resets resets_;
  const uint32_t* reset_;  // None before it is inside the window at hand.
};

}  // namespace

void RateKernel(FloatWindows& windows, RangeCall& call, Row& row) {
  ExtrapolatedKernel<true, true>(windows, call.spec, row).Run();
  if (!row.Empty()) NotePossibleNonCounter(call);
}

void IncreaseKernel(FloatWindows& windows, RangeCall& call, Row& row) {
  ExtrapolatedKernel<true, false>(windows, call.spec, row).Run();
  if (!row.Empty()) NotePossibleNonCounter(call);
}

void DeltaKernel(FloatWindows& windows, RangeCall& call, Row& row) {
  ExtrapolatedKernel<false, false>(windows, call.spec, row).Run();
}

}  // namespace varve::promql
