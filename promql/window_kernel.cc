// SPDX-License-Identifier: Apache-2.0
//
// Windows, and most kernels. Extremes come from those of the runs between beginnings of windows.
#include "promql/window_kernel.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "promql/float_pair.h"
#include "promql/step_cursor.h"

namespace varve::promql {

namespace {

// As many targets are scraped side by side without their windows being found again and again.
constexpr size_t kKnownWindowsMax = 16;

bool IsFor(const FoundWindows& found, const RangeSpec& spec, const TimeList& times) {
  return times.size() == found.size && times.stamp() == found.stamp &&
         spec.grid.count == found.begin.size() && spec.EndAt(0) == found.spec.EndAt(0) &&
         spec.grid.step == found.spec.grid.step && spec.grid.uneven == found.spec.grid.uneven &&
         spec.fixed == found.spec.fixed && spec.range == found.spec.range;
}

void FindWindows(absl::Span<const TimestampMs> times, FoundWindows& found) {
  const RangeSpec& spec = found.spec;
  std::vector<uint32_t>& begin = found.begin;
  std::vector<uint32_t>& end = found.end;
  const size_t count = spec.grid.count;
  begin.resize(count);
  end.resize(count);
  const bool even = !spec.fixed && spec.grid.uneven == nullptr;
  StepCursor to(times);
  for (size_t step = 0; step < count; ++step) {
    end[step] = static_cast<uint32_t>(to.MoveTo(spec.EndAt(step)));
    if (!even || step + 1 == count) continue;
    step +=
        to.MoveEvenly(spec.EndAt(step + 1), spec.grid.step, absl::MakeSpan(end).subspan(step + 1));
  }
  // A window often begins where an earlier one ended.
  size_t known = count;
  if (even && spec.range % spec.grid.step == 0) {
    known = std::min(count, static_cast<size_t>(spec.range / spec.grid.step));
  }
  StepCursor from(times);
  for (size_t step = 0; step < known; ++step) {
    begin[step] = static_cast<uint32_t>(from.MoveTo(spec.EndAt(step) - spec.range));
  }
  std::copy(end.begin(), end.end() - static_cast<ptrdiff_t>(known),
            begin.begin() + static_cast<ptrdiff_t>(known));
  found.samples = 0;
  found.filled.assign((count + 63) / 64, 0);
  for (size_t step = 0; step < count; ++step) {
    found.samples += end[step] - begin[step];
    found.filled[step / 64] |= uint64_t{end[step] > begin[step]} << (step % 64);
  }
}

}  // namespace

void FloatWindows::Find(const RangeSpec& spec, const SeriesSamples& samples_read) {
  times = samples_read.times;
  values = samples_read.values;
  known = samples_read.known;
  ++series_;
  const auto known = std::find_if(known_.begin(), known_.end(), [&](const auto& one) {
    return IsFor(*one, spec, samples_read.times);
  });
  if (known != known_.end()) {
    found = known->get();
  } else {
    if (known_.size() < kKnownWindowsMax) known_.push_back(std::make_unique<FoundWindows>());
    found = std::min_element(known_.begin(), known_.end(), [](const auto& a, const auto& b) {
              return a->used < b->used;
            })->get();
    found->spec = spec;
    found->stamp = samples_read.times.stamp();
    found->size = times.size();
    for (auto& factors : found->factors) factors.reset();
    FindWindows(times, *found);
  }
  found->used = series_;
  begin = found->begin;
  end = found->end;
  samples = found->samples;
}

uint64_t FloatWindows::MemoryBytes() const {
  uint64_t bytes = 0;
  for (const auto& one : known_) {
    bytes += (one->begin.capacity() + one->end.capacity()) * sizeof(uint32_t);
    for (const auto& factors : one->factors) {
      if (factors.has_value()) bytes += factors->factors.capacity() * sizeof(double);
    }
  }
  return bytes;
}

namespace {

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

// Of values side by side; `fours` > 0. Of zeros of both signs any.
template <bool kMax>
double ExtremeOfFours(const double* values, size_t fours) {
  auto even = LoadPack<FloatPair>(values);
  auto odd = LoadPack<FloatPair>(values + 2);
  for (size_t i = 1; i < fours; ++i) {
    const auto next_even = LoadPack<FloatPair>(values + 4 * i);
    const auto next_odd = LoadPack<FloatPair>(values + 4 * i + 2);
    even = (kMax ? next_even > even : next_even < even) ? next_even : even;
    odd = (kMax ? next_odd > odd : next_odd < odd) ? next_odd : odd;
  }
  const FloatPair both = (kMax ? odd > even : odd < even) ? odd : even;
  return Better<kMax>(both[0], both[1]);
}

// The samples fall into runs between the beginnings of windows. A window is a number of whole runs,
// kept as a queue of two halves: the extremes from each run of the front half to its end, and one
// of the back half; and what is left of the window behind its last whole run, the tail, which grows
// from step to step where the grid is shorter than the range.
template <bool kMax>
void ExtremeKernel(FloatWindows& windows, RangeCall&, Row& row) {
  const absl::Span<const double> values = windows.values;
  const size_t steps = windows.steps();
  double nan = 0;
  for (double value : values.subspan(windows.known.numbers)) nan += value == value ? 0 : 1;
  if (nan != 0) return ExtremesWithNans<kMax>(windows, row);
  constexpr double kNone =
      kMax ? -std::numeric_limits<double>::infinity() : std::numeric_limits<double>::infinity();
  const auto extreme = [&](uint32_t from, uint32_t to) {
    double best = kNone;
    if (const uint32_t fours = (to - from) / 4; fours > 1) {
      best = ExtremeOfFours<kMax>(values.data() + from, fours);
      // Which zero came first cannot be told from it.
      if (best == 0) {
        best = kNone;
      } else {
        from += 4 * fours;
      }
    }
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

void ChangesKernel(FloatWindows& windows, RangeCall&, Row& row) {
  CountKernel(windows, row, [](double before, double now) {
    return now != before && !(std::isnan(now) && std::isnan(before));
  });
}

void ResetsKernel(FloatWindows& windows, RangeCall&, Row& row) {
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

void CountOverTimeKernel(FloatWindows& windows, RangeCall&, Row& row) {
  EdgeKernel(windows, row,
             [](uint32_t first, uint32_t end) { return static_cast<double>(end - first); });
}

void PresentKernel(FloatWindows& windows, RangeCall&, Row& row) {
  EdgeKernel(windows, row, [](uint32_t, uint32_t) { return 1.0; });
}

void FirstKernel(FloatWindows& windows, RangeCall&, Row& row) {
  EdgeKernel(windows, row, [&](uint32_t first, uint32_t) { return windows.values[first]; });
}

void LastKernel(FloatWindows& windows, RangeCall&, Row& row) {
  EdgeKernel(windows, row, [&](uint32_t, uint32_t end) { return windows.values[end - 1]; });
}

}  // namespace

FloatKernel FindFloatKernel(FunctionId id) {
  switch (id) {
    case FunctionId::kRate:
      return RateKernel;
    case FunctionId::kIncrease:
      return IncreaseKernel;
    case FunctionId::kDelta:
      return DeltaKernel;
    case FunctionId::kSumOverTime:
      return SumKernel;
    case FunctionId::kAvgOverTime:
      return AverageKernel;
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
