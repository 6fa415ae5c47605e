// SPDX-License-Identifier: Apache-2.0
//
// Sums and averages of sliding windows. Those of integers are differences of running sums. Others
// depend on the order of additions, so that each window is added up by itself; but many at a time,
// and mostly without working out what each addition rounded off.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "model/histogram_math.h"
#include "promql/float_pair.h"
#include "promql/sum_lanes.h"
#include "promql/window_kernel.h"

namespace varve::promql {
namespace {

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

// The largest value if none is negative or no number; else infinity.
double LargestOf(absl::Span<const double> values) {
  FloatPair largest[4] = {};
  PairTest none_negative = {-1, -1};
  size_t i = 0;
  for (; i + 8 <= values.size(); i += 8) {
    for (size_t j = 0; j < 4; ++j) {
      const FloatPair value = LoadPack<FloatPair>(values.data() + i + 2 * j);
      none_negative &= value >= 0;
      largest[j] = value > largest[j] ? value : largest[j];
    }
  }
  double most = 0;
  bool good = (none_negative[0] & none_negative[1]) != 0;
  for (const FloatPair& pair : largest) most = std::max({most, pair[0], pair[1]});
  for (; i < values.size(); ++i) {
    good &= values[i] >= 0;
    most = std::max(most, values[i]);
  }
  return good ? most : std::numeric_limits<double>::infinity();
}

// Sets what AverageOf() and SumOf() give for the kSumLanes windows from `first` on. False, and
// nothing is set, if a window is empty or a sum is not finite.
template <bool kAverage>
bool SumSideBySide(const FloatWindows& windows, size_t first, double largest, RowWriter& out) {
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
  AddSideBySide(kAverage ? 1 : 0, common, largest, lanes);
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

// Sums of values whose compensation is known without working it out value by value. Rounding takes
// off multiples of the last bit that the smallest value may have, and in all windows together so
// few that a carry is an exact sum: it is what the plain sum lacks of the exact one. Exact sums
// come from the values' upper and lower bits, each of which add up without rounding.
struct ExactSplit {
  double shift = 0;  // A value plus this, less this, is its upper bits; 0: not such values.
};

ExactSplit FindSplit(absl::Span<const double> values) {
  const MagnitudeRange range = MagnitudesOf(values);
  if (!(range.largest <= std::numeric_limits<double>::max()) || range.largest == 0) return {};
  const int count_bits = std::bit_width(values.size());
  // No sum of values reaches 2^sum_bits, and a sum's last bit is 2^(sum_bits - 53) at most.
  const int sum_bits = std::ilogb(range.largest) + 1 + std::max(count_bits, 3);
  const int last_bit = std::ilogb(range.smallest) - 52;
  // Half a last bit of a sum, for each value, twice, below 2^53 last bits of a value.
  if (count_bits + sum_bits - 54 + 1 > last_bit + 53 || last_bit < -1000 || sum_bits > 1000) {
    return {};
  }
  return {.shift = std::ldexp(1.5, sum_bits)};
}

// What AverageOf() and SumOf() give for all windows: a value is added to those that it lies in side
// by side. False, and nothing is set, if the values are not such or the windows share too little.
template <bool kAverage>
bool SumAllTogether(const FloatWindows& windows, Row& row) {
  constexpr uint64_t kShared = 8;
  const absl::Span<const double> values = windows.values;
  const size_t steps = windows.steps();
  if (windows.samples < kShared * values.size()) return false;
  const ExactSplit split = FindSplit(values);
  if (split.shift == 0) return false;
  std::vector<double> sums(steps + kAddToAllSlack);
  std::vector<SplitSum> before(steps);  // Of the values before each window.
  SplitSum exact;
  RowWriter out(row);
  size_t begun = 0;
  size_t ended = 0;
  for (size_t at = windows.begin[0];;) {
    for (; begun < steps && windows.begin[begun] <= at; ++begun) {
      sums[begun] = 0;
      before[begun] = exact;
    }
    for (; ended < begun && windows.end[ended] <= at; ++ended) {
      const uint32_t size = windows.end[ended] - windows.begin[ended];
      if (size == 0) continue;
      const double sum = sums[ended];
      const double carry =
          ((exact.upper - before[ended].upper) - sum) + (exact.lower - before[ended].lower);
      const auto count = static_cast<double>(size);
      out.Set(ended, kAverage ? sum / count + carry / count : sum + carry);
    }
    if (ended == steps) return true;
    size_t next = values.size();
    if (begun < steps) next = std::min<size_t>(next, windows.begin[begun]);
    if (ended < begun) next = std::min<size_t>(next, windows.end[ended]);
    const double* const from = values.data() + at;
    AddToAll(from, next - at, begun - ended, sums.data() + ended);
    AddSplit(from, next - at, split.shift, exact);
    at = next;
  }
}

template <bool kAverage>
void Sums(const FloatWindows& windows, Row& row) {
  const std::vector<double> sums = ExactSums(windows);
  if (sums.empty() && SumAllTogether<kAverage>(windows, row)) return;
  const double largest =
      sums.empty() ? LargestOf(windows.values) : std::numeric_limits<double>::infinity();
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
    if (windows.steps() >= kSumLanes) {
      // At the end some are added up once more.
      const size_t from = std::min(step, windows.steps() - kSumLanes);
      if (SumSideBySide<kAverage>(windows, from, largest, out)) {
        step = from + kSumLanes - 1;
        continue;
      }
    }
    const absl::Span<const double> values = windows.Values(step);
    out.Set(step, kAverage ? AverageOf(values) : SumOf(values));
  }
}

}  // namespace

void SumKernel(FloatWindows& windows, RangeCall&, Row& row) { Sums<false>(windows, row); }

void AverageKernel(FloatWindows& windows, RangeCall&, Row& row) { Sums<true>(windows, row); }

}  // namespace varve::promql
