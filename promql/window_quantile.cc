// SPDX-License-Identifier: Apache-2.0
//
// Quantiles of sliding windows. Of a window only the values around the wanted rank are kept in
// order: of the others it is enough to know how many are below. A value that comes or goes is
// mostly one of those.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "promql/float_pair.h"
#include "promql/window_kernel.h"

namespace varve::promql {
namespace {

// How many values come before `value` among sorted ones, NaNs first. Halves without branches: which
// half is anybody's guess.
ptrdiff_t PlaceOf(double value, const std::vector<double>& sorted) {
  const double* at = sorted.data();
  size_t left = sorted.size();
  while (left > 0) {
    const size_t half = left / 2;
    // NaNs lie in front: nothing is less than they are, and they are less than any number.
    const bool before = !(at[half] >= value) && value == value;
    at = before ? at + half + 1 : at;
    left = before ? left - half - 1 : half;
  }
  return at - sorted.data();
}

// The values of a window in order, NaNs first: for what RankBand is not.
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
      for (; gone < first; ++gone) sorted_.erase(sorted_.begin() + PlaceOf(values[gone], sorted_));
      for (; come < end; ++come) {
        sorted_.insert(sorted_.begin() + PlaceOf(values[come], sorted_), values[come]);
      }
    }
    first_ = first;
    end_ = end;
  }
  absl::Span<const double> values() const { return sorted_; }

 private:
  static bool Less(double a, double b) { return std::isnan(a) ? !std::isnan(b) : a < b; }

  // Moves only what lies between the two.
  void Replace(double old_value, double new_value) {
    const ptrdiff_t from = PlaceOf(old_value, sorted_);
    ptrdiff_t to = PlaceOf(new_value, sorted_);
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

// The values of a window around a rank, in order, and how many are below these. Values must be
// numbers, and zeros of one sign, as equal ones are not told apart.
class RankBand {
 public:
  // The window gets the values [first, end), not empty; both rise from call to call, and the band
  // reaches from rank `lower` to `upper` at least.
  void MoveTo(absl::Span<const double> values, uint32_t first, uint32_t end, size_t lower,
              size_t upper) {
    if (first >= end_) {
      Build(values.subspan(first, end - first), lower, upper);
    } else {
      for (uint32_t gone = first_; gone < first; ++gone) Remove(values[gone]);
      for (uint32_t come = end_; come < end; ++come) Add(values[come]);
      const bool reaches = below_ <= lower && upper < below_ + band_.size();
      if (!reaches || band_.size() > size_max_) {
        Build(values.subspan(first, end - first), lower, upper);
      }
    }
    first_ = first;
    end_ = end;
  }
  // REQUIRES: `rank` is in the band.
  double ValueAt(size_t rank) const { return band_[rank - below_]; }

 private:
  static constexpr double kInfinity = std::numeric_limits<double>::infinity();

  // Wide enough that ranks may drift for some hundred steps, as making a band takes a look at all
  // values; so narrow that most values that come and go are none of it.
  void Build(absl::Span<const double> window, size_t lower, size_t upper) {
    const size_t margin = 8 + window.size() / 32;
    const size_t from = lower - std::min(lower, margin);
    const size_t to = std::min(window.size(), upper + 1 + margin);
    band_.assign(window.begin(), window.end());
    const auto at = [this](size_t rank) { return band_.begin() + static_cast<ptrdiff_t>(rank); };
    lowest_ = -kInfinity;
    if (from > 0) {
      std::nth_element(band_.begin(), at(from), band_.end());
      lowest_ = *at(from);
    }
    highest_ = kInfinity;
    if (to < window.size()) {
      std::nth_element(at(from), at(to - 1), band_.end());
      highest_ = *at(to - 1);
    }
    // Values equal to the lowest and highest one belong to the band, wherever they are.
    const auto below_end =
        std::partition(band_.begin(), at(from), [this](double value) { return value < lowest_; });
    const auto band_end =
        std::partition(at(to), band_.end(), [this](double value) { return value <= highest_; });
    below_ = static_cast<size_t>(below_end - band_.begin());
    band_.erase(band_end, band_.end());
    band_.erase(band_.begin(), below_end);
    std::sort(band_.begin(), band_.end());
    size_max_ = 2 * band_.size();
  }

  // Most values are beside the band, on either side of it: which is not asked for.
  bool IsInside(double value) const { return (value >= lowest_) & (value <= highest_); }

  void Remove(double value) {
    below_ -= static_cast<size_t>(value < lowest_);
    if (IsInside(value)) band_.erase(band_.begin() + PlaceInside(value));
  }

  void Add(double value) {
    below_ += static_cast<size_t>(value < lowest_);
    if (IsInside(value)) band_.insert(band_.begin() + PlaceInside(value), value);
  }

  // How many values of the band come before this one. It has so few that looking at all takes less
  // time than waiting for one half after the other.
  ptrdiff_t PlaceInside(double value) const {
    const double* const at = band_.data();
    PairTest before{};  // -1 for each.
    size_t i = 0;
    for (; i + 2 <= band_.size(); i += 2) before += LoadPack<FloatPair>(at + i) < value;
    if (i < band_.size()) before[0] -= at[i] < value ? 1 : 0;
    return -(before[0] + before[1]);
  }

  std::vector<double> band_;  // The values of the window in [lowest_, highest_], in order.
  double lowest_ = 0;
  double highest_ = 0;
  size_t below_ = 0;     // How many values of the window are below lowest_.
  size_t size_max_ = 0;  // A band that has grown beyond is made anew.
  uint32_t first_ = 0;
  uint32_t end_ = 0;
};

bool FitsBand(absl::Span<const double> values) {
  constexpr uint64_t kMinusZero = uint64_t{1} << 63;
  bool fits = true;
  for (const double value : values) {
    fits &= value == value;
    fits &= std::bit_cast<uint64_t>(value) != kMinusZero;
  }
  return fits;
}

}  // namespace

void QuantileKernel(FloatWindows& windows, RangeCall& call, Row& row) {
  const bool fits_band = FitsBand(windows.values);
  SortedWindow sorted;
  RankBand band;
  for (size_t step = 0; step < windows.steps(); ++step) {
    const uint32_t first = windows.begin[step];
    const uint32_t end = windows.end[step];
    if (first == end) continue;
    const double quantile = call.param_rows[0].value(step);
    WarnInvalidQuantile(call.annotations, quantile, call.param_position);
    if (!fits_band || !(quantile >= 0 && quantile <= 1)) {
      sorted.MoveTo(windows.values, first, end);
      row.SetFloat(step, QuantileOfSorted(quantile, sorted.values()));
      continue;
    }
    const QuantilePlace place = PlaceOfQuantile(quantile, end - first);
    band.MoveTo(windows.values, first, end, place.lower, place.upper);
    row.SetFloat(step, place.Between(band.ValueAt(place.lower), band.ValueAt(place.upper)));
  }
}

}  // namespace varve::promql
