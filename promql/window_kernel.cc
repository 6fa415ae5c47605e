// SPDX-License-Identifier: Apache-2.0
//
// The kernels. A counter's increase needs the resets inside the window only; sums of integers are
// differences of running sums; extremes come from a queue of candidates; quantiles from the window
// kept sorted.
#include "promql/window_kernel.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "model/histogram_math.h"
#include "promql/float_pair.h"
#include "promql/step_cursor.h"
#include "promql/sum_lanes.h"

namespace varve::promql {

void FloatWindows::Find(const RangeSpec& spec, const SeriesSamples& samples_read) {
  times = samples_read.times;
  values = samples_read.values;
  const size_t count = spec.grid.count;
  begin.resize(count);
  end.resize(count);
  StepCursor to(times);
  for (size_t step = 0; step < count; ++step) {
    end[step] = static_cast<uint32_t>(to.MoveTo(spec.EndAt(step)));
    if (spec.fixed || step + 1 == count) continue;
    step +=
        to.MoveEvenly(spec.EndAt(step + 1), spec.grid.step, absl::MakeSpan(end).subspan(step + 1));
  }
  // A window often begins where an earlier one ended.
  size_t known = count;
  if (!spec.fixed && spec.range % spec.grid.step == 0) {
    known = std::min(count, static_cast<size_t>(spec.range / spec.grid.step));
  }
  StepCursor from(times);
  for (size_t step = 0; step < known; ++step) {
    begin[step] = static_cast<uint32_t>(from.MoveTo(spec.EndAt(step) - spec.range));
  }
  std::copy(end.begin(), end.end() - static_cast<ptrdiff_t>(known),
            begin.begin() + static_cast<ptrdiff_t>(known));
  samples = 0;
  for (size_t step = 0; step < count; ++step) samples += end[step] - begin[step];
}

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

template <bool kCounter, bool kPerSecond>
void ExtrapolatedKernel(const FloatWindows& windows, RangeCall& call, Row& row) {
  const double* const values = windows.values.data();
  const TimestampMs* const times = windows.times.data();
  const RangeSpec& spec = call.spec;
  const std::vector<uint32_t> resets =
      kCounter ? FindResets(windows.values)
               : std::vector<uint32_t>{std::numeric_limits<uint32_t>::max()};
  const uint32_t* reset = resets.data();
  Extrapolation extrapolation(spec, kPerSecond);
  RowWriter out(row);
  const size_t steps = windows.steps();
  const DurationMs advance = spec.fixed ? 0 : spec.grid.step;
  TimestampMs window_end = spec.EndAt(0);
  for (size_t step = 0; step < steps; ++step, window_end += advance) {
    const uint32_t first = windows.begin[step];
    const uint32_t end = windows.end[step];
    if (end < first + 2) continue;
    const uint32_t last = end - 1;
    double increase = values[last] - values[first];
    while (*reset <= first) ++reset;
    for (const uint32_t* inside = reset; *inside <= last; ++inside) increase += values[*inside - 1];
    extrapolation.Look(times[first] - (window_end - spec.range), window_end - times[last],
                       end - first);
    const double factor =
        kCounter ? extrapolation.CounterFactor(values[first], increase) : extrapolation.Factor();
    out.Set(step, increase * factor);
  }
  out.Flush();
  if (kCounter && !row.Empty()) NotePossibleNonCounter(call);
}

// Running sums of values that add up without rounding: integers whose absolute values add up to at
// most 2^53. Every order of additions then gives the same, and compensation is zero throughout.
// Empty if the values are not such, or if the windows share too little for it to pay.
std::vector<double> ExactSums(const FloatWindows& windows) {
  if (windows.samples < 2 * windows.values.size()) return {};
  constexpr double kExactMax = 9007199254740992.0;
  std::vector<double> sums;
  sums.reserve(windows.values.size() + 1);
  sums.push_back(0);
  double sum = 0;
  double absolute = 0;
  for (double value : windows.values) {
    absolute += std::fabs(value);
    if (!(absolute <= kExactMax)) return {};
    if (static_cast<double>(static_cast<int64_t>(value)) != value) return {};
    if (value == 0 && std::signbit(value)) return {};
    sum += value;
    sums.push_back(sum);
  }
  return sums;
}

// Sets what AverageOf() and SumOf() give for the kSumLanes windows from `first` on. False, and
// nothing is set, if a window is empty or a sum is not finite.
template <bool kAverage>
bool SumSideBySide(const FloatWindows& windows, size_t first, RowWriter& out) {
  SumLanes lanes;
  size_t common = SIZE_MAX;
  for (size_t lane = 0; lane < kSumLanes; ++lane) {
    const absl::Span<const double> values = windows.Values(first + lane);
    lanes.values[lane] = values.data();
    common = std::min(common, values.size());
  }
  if (common == 0) return false;
  if (kAverage) {  // The first value is no addition.
    for (size_t lane = 0; lane < kSumLanes; ++lane) lanes.sums[lane] = lanes.values[lane][0];
  }
  AddSideBySide(kAverage ? 1 : 0, common, lanes);
  std::array<double, kSumLanes> results;
  double not_finite = 0;
  for (size_t lane = 0; lane < kSumLanes; ++lane) {
    CompensatedSum sum{lanes.sums[lane], lanes.carries[lane]};
    not_finite += (sum.sum + sum.carry) * 0;  // Once infinite or no number, they stay so.
    for (double value : windows.Values(first + lane).subspan(common)) sum.Add(value);
    not_finite += sum.sum * 0;
    const double count = static_cast<double>(windows.Values(first + lane).size());
    results[lane] = kAverage ? sum.sum / count + sum.carry / count : sum.Total();
  }
  if (not_finite != 0) return false;
  for (size_t lane = 0; lane < kSumLanes; ++lane) out.Set(first + lane, results[lane]);
  return true;
}

template <bool kAverage>
void SumKernel(const FloatWindows& windows, RangeCall&, Row& row) {
  const std::vector<double> sums = ExactSums(windows);
  RowWriter out(row);
  for (size_t step = 0; step < windows.steps(); ++step) {
    const uint32_t first = windows.begin[step];
    const uint32_t end = windows.end[step];
    if (first == end) continue;
    if (!sums.empty()) {
      const double sum = sums[end] - sums[first];
      out.Set(step, kAverage ? sum / static_cast<double>(end - first) : sum);
      continue;
    }
    if (step + kSumLanes <= windows.steps() && SumSideBySide<kAverage>(windows, step, out)) {
      step += kSumLanes - 1;
      continue;
    }
    const absl::Span<const double> values = windows.Values(step);
    out.Set(step, kAverage ? AverageOf(values) : SumOf(values));
  }
}

// Of equal values (zeros of both signs) the first one counts.
template <bool kMax>
double Better(double earlier, double later) {
  return (kMax ? later > earlier : later < earlier) ? later : earlier;
}

// A queue of the samples that are, or may become, the extreme: each better than those behind it.
template <bool kMax>
void ExtremesWithNans(const FloatWindows& windows, Row& row) {
  const absl::Span<const double> values = windows.values;
  std::vector<uint32_t> queue(values.size());
  size_t head = 0;
  size_t tail = 0;
  uint32_t next = 0;
  for (size_t step = 0; step < windows.steps(); ++step) {
    const uint32_t first = windows.begin[step];
    const uint32_t end = windows.end[step];
    if (first == end) continue;
    for (next = std::max(next, first); next < end; ++next) {
      const double value = values[next];
      if (std::isnan(value)) continue;
      // Of equal values the first stays in front.
      while (tail > head &&
             (kMax ? value > values[queue[tail - 1]] : value < values[queue[tail - 1]])) {
        --tail;
      }
      queue[tail++] = next;
    }
    while (head < tail && queue[head] < first) ++head;
    row.SetFloat(step, head < tail ? values[queue[head]] : values[end - 1]);
  }
}

// The samples fall into runs between the beginnings of windows. A window is a number of whole runs,
// kept as a queue of two halves: the extremes from each run of the front half to its end, and one
// of the back half; and what is left of the window behind its last whole run, the tail, which grows
// from step to step where the grid is shorter than the range.
template <bool kMax>
void ExtremeKernel(const FloatWindows& windows, RangeCall&, Row& row) {
  const absl::Span<const double> values = windows.values;
  const size_t steps = windows.steps();
  double nan = 0;
  for (double value : values) nan += value == value ? 0 : 1;
  if (nan != 0) return ExtremesWithNans<kMax>(windows, row);
  constexpr double kNone =
      kMax ? -std::numeric_limits<double>::infinity() : std::numeric_limits<double>::infinity();
  const auto extreme = [&](uint32_t from, uint32_t to) {
    double best = kNone;
    for (uint32_t i = from; i < to; ++i) best = Better<kMax>(best, values[i]);
    return best;
  };
  const auto begin_of = [&](size_t run) {
    return run < steps ? windows.begin[run] : windows.end[steps - 1];
  };
  std::vector<double> runs(steps);
  std::vector<double> front(steps + 1, kNone);
  size_t done = 0;    // Runs before it are in `runs`.
  size_t middle = 0;  // Where the back half begins.
  double back = kNone;
  uint32_t tail_from = 0;
  uint32_t tail_to = 0;
  double tail = kNone;
  RowWriter out(row);
  for (size_t step = 0; step < steps; ++step) {
    const uint32_t end = windows.end[step];
    while (done < steps && begin_of(done + 1) <= end) {
      runs[done] = extreme(begin_of(done), begin_of(done + 1));
      back = Better<kMax>(back, runs[done]);
      ++done;
    }
    if (middle <= step) {
      // The front half is used up: all runs go there.
      front[done] = kNone;
      for (size_t run = done; run-- > step;) front[run] = Better<kMax>(runs[run], front[run + 1]);
      middle = done;
      back = kNone;
    }
    if (windows.begin[step] == end) continue;
    const double whole = Better<kMax>(step < middle ? front[step] : kNone, back);
    const uint32_t from = begin_of(std::max(done, step));
    if (from != tail_from) {
      tail = kNone;
      tail_from = tail_to = from;
    }
    for (; tail_to < end; ++tail_to) tail = Better<kMax>(tail, values[tail_to]);
    out.Set(step, Better<kMax>(whole, tail));
  }
}

// The values of a window in order, NaNs first.
class SortedWindow {
 public:
  void MoveTo(absl::Span<const double> values, uint32_t first, uint32_t end) {
    const size_t changed = size_t{first} - first_ + (end - end_);
    // Moving a value costs about as much as sorting a few.
    if (first >= end_ || changed > (end - first) / 2) {
      sorted_.assign(values.begin() + first, values.begin() + end);
      std::sort(sorted_.begin(), sorted_.end(), Less);
    } else {
      uint32_t gone = first_;
      uint32_t come = end_;
      for (; gone < first && come < end; ++gone, ++come) Replace(values[gone], values[come]);
      for (; gone < first; ++gone) sorted_.erase(sorted_.begin() + Place(values[gone]));
      for (; come < end; ++come) {
        sorted_.insert(sorted_.begin() + Place(values[come]), values[come]);
      }
    }
    first_ = first;
    end_ = end;
  }
  absl::Span<const double> values() const { return sorted_; }

 private:
  static bool Less(double a, double b) { return std::isnan(a) ? !std::isnan(b) : a < b; }

  // How many values come before `value`. Halves without branches: which half is anybody's guess.
  ptrdiff_t Place(double value) const {
    const double* at = sorted_.data();
    size_t left = sorted_.size();
    while (left > 0) {
      const size_t half = left / 2;
      // NaNs lie in front: nothing is less than they are, and they are less than any number.
      const bool before = !(at[half] >= value) && value == value;
      at = before ? at + half + 1 : at;
      left = before ? left - half - 1 : half;
    }
    return at - sorted_.data();
  }

  // Moves only what lies between the two.
  void Replace(double old_value, double new_value) {
    const ptrdiff_t from = Place(old_value);
    ptrdiff_t to = Place(new_value);
    double* const at = sorted_.data();
    if (to > from) {
      --to;
      std::memmove(at + from, at + from + 1, static_cast<size_t>(to - from) * sizeof(double));
    } else {
      std::memmove(at + to + 1, at + to, static_cast<size_t>(from - to) * sizeof(double));
    }
    at[to] = new_value;
  }

  std::vector<double> sorted_;
  uint32_t first_ = 0;
  uint32_t end_ = 0;
};

void QuantileKernel(const FloatWindows& windows, RangeCall& call, Row& row) {
  SortedWindow window;
  for (size_t step = 0; step < windows.steps(); ++step) {
    const uint32_t first = windows.begin[step];
    const uint32_t end = windows.end[step];
    if (first == end) continue;
    const double quantile = call.param_rows[0].value(step);
    WarnInvalidQuantile(call.annotations, quantile, call.param_position);
    window.MoveTo(windows.values, first, end);
    row.SetFloat(step, QuantileOfSorted(quantile, window.values()));
  }
}

// Pairs of neighbours for which `differs` holds, by how many lie up to each sample.
template <typename Differs>
void CountKernel(const FloatWindows& windows, Row& row, Differs differs) {
  const absl::Span<const double> values = windows.values;
  std::vector<uint32_t> count(values.size(), 0);
  for (size_t i = 1; i < values.size(); ++i) {
    count[i] = count[i - 1] + (differs(values[i - 1], values[i]) ? 1 : 0);
  }
  for (size_t step = 0; step < windows.steps(); ++step) {
    const uint32_t first = windows.begin[step];
    const uint32_t end = windows.end[step];
    if (first == end) continue;
    row.SetFloat(step, static_cast<double>(count[end - 1] - count[first]));
  }
}

void ChangesKernel(const FloatWindows& windows, RangeCall&, Row& row) {
  CountKernel(windows, row, [](double before, double now) {
    return now != before && !(std::isnan(now) && std::isnan(before));
  });
}

void ResetsKernel(const FloatWindows& windows, RangeCall&, Row& row) {
  CountKernel(windows, row, [](double before, double now) { return now < before; });
}

template <typename ValueOf>
void EdgeKernel(const FloatWindows& windows, Row& row, ValueOf value_of) {
  RowWriter out(row);
  for (size_t step = 0; step < windows.steps(); ++step) {
    if (windows.begin[step] == windows.end[step]) continue;
    out.Set(step, value_of(windows.begin[step], windows.end[step]));
  }
}

void CountOverTimeKernel(const FloatWindows& windows, RangeCall&, Row& row) {
  EdgeKernel(windows, row,
             [](uint32_t first, uint32_t end) { return static_cast<double>(end - first); });
}

void PresentKernel(const FloatWindows& windows, RangeCall&, Row& row) {
  EdgeKernel(windows, row, [](uint32_t, uint32_t) { return 1.0; });
}

void FirstKernel(const FloatWindows& windows, RangeCall&, Row& row) {
  EdgeKernel(windows, row, [&](uint32_t first, uint32_t) { return windows.values[first]; });
}

void LastKernel(const FloatWindows& windows, RangeCall&, Row& row) {
  EdgeKernel(windows, row, [&](uint32_t, uint32_t end) { return windows.values[end - 1]; });
}

}  // namespace

FloatKernel FindFloatKernel(FunctionId id) {
  switch (id) {
    case FunctionId::kRate:
      return ExtrapolatedKernel<true, true>;
    case FunctionId::kIncrease:
      return ExtrapolatedKernel<true, false>;
    case FunctionId::kDelta:
      return ExtrapolatedKernel<false, false>;
    case FunctionId::kSumOverTime:
      return SumKernel<false>;
    case FunctionId::kAvgOverTime:
      return SumKernel<true>;
    case FunctionId::kMinOverTime:
      return ExtremeKernel<false>;
    case FunctionId::kMaxOverTime:
      return ExtremeKernel<true>;
    case FunctionId::kQuantileOverTime:
      return QuantileKernel;
    case FunctionId::kChanges:
      return ChangesKernel;
    case FunctionId::kResets:
      return ResetsKernel;
    case FunctionId::kCountOverTime:
      return CountOverTimeKernel;
    case FunctionId::kPresentOverTime:
      return PresentKernel;
    case FunctionId::kFirstOverTime:
      return FirstKernel;
    case FunctionId::kLastOverTime:
      return LastKernel;
    default:
      return nullptr;
  }
}

}  // namespace varve::promql
