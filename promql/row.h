// SPDX-License-Identifier: Apache-2.0
//
// A Row is one series over all steps of a query: a dense array of values, a bitmap saying at which
// steps there is a sample, and the histograms on the side. Presence is a bit, never a NaN.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "model/histogram.h"
#include "model/time.h"

namespace varve::promql {

using HistogramPtr = std::shared_ptr<const Histogram>;

// The evaluation times of a (sub)query, rising: start, start + step, ..., or those of a list.
struct Grid {
  TimestampMs start = 0;
  DurationMs step = 1;  // > 0, also when there is one step only; the least, if they are uneven.
  size_t count = 1;
  // Of uneven steps, `count` or more. Null: they are even.
  std::shared_ptr<const std::vector<TimestampMs>> uneven;

  TimestampMs TimeAt(size_t index) const {
    return uneven == nullptr ? start + static_cast<DurationMs>(index) * step : (*uneven)[index];
  }
  TimestampMs end() const { return TimeAt(count == 0 ? 0 : count - 1); }
};

class Row {
 public:
  // What a row of floats takes, about.
  static constexpr uint64_t kStepBytes = 9;

  // Empties the row and gives it `steps` steps; keeps the memory.
  void Reset(size_t steps) {
    values_.resize(steps);
    present_.assign((steps + 63) / 64, 0);
    histograms_.clear();
    zeros_ = false;
    drop_name = false;
    series = 1;
  }
  // Sets floats of 0 at the steps whose bits are set. REQUIRES: the row was reset.
  void SetZeros(const std::vector<uint64_t>& present) {
    std::fill(values_.begin(), values_.end(), 0.0);
    present_ = present;
    zeros_ = true;
  }

  size_t steps() const { return values_.size(); }

  bool Has(size_t step) const { return (present_[step / 64] >> (step % 64)) & 1; }
  bool HasHistogram(size_t step) const {
    return !histograms_.empty() && histograms_[step] != nullptr;
  }
  bool HasFloat(size_t step) const { return Has(step) && !HasHistogram(step); }

  void SetFloat(size_t step, double value) {
    values_[step] = value;
    zeros_ = false;
    present_[step / 64] |= uint64_t{1} << (step % 64);
    if (!histograms_.empty()) histograms_[step] = nullptr;
  }
  // REQUIRES: histogram is not null.
  void SetHistogram(size_t step, HistogramPtr histogram) {
    if (histograms_.empty()) histograms_.resize(steps());
    histograms_[step] = std::move(histogram);
    present_[step / 64] |= uint64_t{1} << (step % 64);
  }
  void Clear(size_t step) {
    present_[step / 64] &= ~(uint64_t{1} << (step % 64));
    if (!histograms_.empty()) histograms_[step] = nullptr;
  }
  // Copies the sample of `from` at `from_step`. REQUIRES: from.Has(from_step).
  void CopyFrom(size_t step, const Row& from, size_t from_step) {
    if (from.HasHistogram(from_step)) {
      SetHistogram(step, from.histograms_[from_step]);
    } else {
      SetFloat(step, from.values_[from_step]);
    }
  }

  // The value at a step with a float; anything elsewhere.
  double value(size_t step) const { return values_[step]; }
  // Null where there is no histogram.
  const HistogramPtr& histogram(size_t step) const {
    static const HistogramPtr kNone;
    return histograms_.empty() ? kNone : histograms_[step];
  }

  // The raw arrays, for loops over whole rows.
  std::vector<double>& values() {
    zeros_ = false;
    return values_;
  }
  const std::vector<double>& values() const { return values_; }
  std::vector<uint64_t>& present() { return present_; }
  const std::vector<uint64_t>& present() const { return present_; }
  bool has_histograms() const { return !histograms_.empty(); }
  // Whether all floats are known to be 0: whoever adds them up need not read them.
  bool are_zeros() const { return zeros_; }

  bool Empty() const {
    for (uint64_t word : present_) {
      if (word != 0) return false;
    }
    return true;
  }
  size_t CountPresent() const {
    size_t count = 0;
    for (uint64_t word : present_) count += static_cast<size_t>(__builtin_popcountll(word));
    return count;
  }

  // What the row weighs in the sample limit: 1 per float, (bytes + 8) / 16 per histogram.
  uint64_t Weight() const {
    uint64_t weight = CountPresent();
    for (const HistogramPtr& histogram : histograms_) {
      if (histogram != nullptr) weight += (histogram->MemoryBytes() + 8) / 16 - 1;
    }
    return weight;
  }

  // The same while the row is kept: it takes its memory also where it has no samples.
  uint64_t HeldWeight() const { return std::max<uint64_t>(Weight(), steps() / 2); }

  // The metric name goes when the query ends (delayed name removal).
  bool drop_name = false;

  // How many series have these samples, all of which it stands for: more than 1 only in front of
  // an aggregation that counts them.
  uint64_t series = 1;

 private:
  std::vector<double> values_;
  std::vector<uint64_t> present_;
  std::vector<HistogramPtr> histograms_;  // Empty if the series has none.
  bool zeros_ = false;
};

// Sets floats of a row that has no histograms, steps in rising order: cheaper than SetFloat().
class RowWriter {
 public:
  // REQUIRES: `row` was reset and outlives the writer.
  explicit RowWriter(Row& row) : values_(row.values().data()), present_(row.present().data()) {}
  ~RowWriter() { Flush(); }
  RowWriter(const RowWriter&) = delete;
  RowWriter& operator=(const RowWriter&) = delete;

  void Set(size_t step, double value) {
    Enter(step / 64);
    bits_ |= uint64_t{1} << (step % 64);
    values_[step] = value;
  }
  // Makes what was set visible.
  void Flush() {
    if (bits_ != 0) present_[word_] |= bits_;
    bits_ = 0;
  }

 private:
  void Enter(size_t word) {
    if (word == word_) return;
    Flush();
    word_ = word;
  }

  double* const values_;
  uint64_t* const present_;
  size_t word_ = 0;
  uint64_t bits_ = 0;
};

}  // namespace varve::promql
