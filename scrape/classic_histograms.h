// SPDX-License-Identifier: Apache-2.0
//
// Classic histograms as native ones with custom buckets: a reader that stands before another and
// gives, for the buckets, sum and count that follow one another of one histogram, one histogram
// sample. What cannot be converted, since its counts contradict each other, stays as it is.
#pragma once

#include <absl/status/statusor.h>

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "model/exemplar.h"
#include "model/histogram.h"
#include "scrape/exposition.h"

namespace varve {

class ClassicHistogramReader final : public ExpositionReader {
 public:
  // `inner` must outlive the reader. `keep_classic`: the classic series are given, too.
  ClassicHistogramReader(ExpositionReader& inner, bool keep_classic)
      : inner_(inner), keep_classic_(keep_classic) {}

  absl::StatusOr<LineKind> Next() override;
  uint64_t KeyHash() const override;
  uint32_t KeyBytes() const override;
  absl::Status ReadExemplars(std::vector<Exemplar>& exemplars) const override;
  absl::Status ReadLabels(LabelPairs& pairs) override;

 private:
  // A sample that is held back: the series as read, or the histogram made of them.
  struct Held {
    uint64_t key_hash = 0;
    uint32_t key_bytes = 0;
    double value = 0;
    std::optional<Histogram> histogram;
    bool has_time = false;
    TimestampMs time = 0;
    TimestampMs start_time = 0;
    LabelPairs pairs;
    std::vector<Exemplar> exemplars;
  };
  struct Bucket {
    double bound = 0;
    double count = 0;
  };
  enum class Part { kNone, kBucket, kSum, kCount };

  // The part of a classic histogram that the inner entry is. `pairs` becomes the labels of the
  // whole, `bound` that of a bucket.
  absl::StatusOr<Part> PartOf(LabelPairs& pairs, double& bound);
  absl::Status Collect(Part part, LabelPairs whole, double bound);
  void AddBucket(double bound, double count);
  void EndGroup();
  std::optional<Histogram> Convert();
  void TakeInner(LineKind kind);
  void Show(const Held& held);

  ExpositionReader& inner_;
  const bool keep_classic_;

  // The histogram being read.
  bool collecting_ = false;
  LabelPairs whole_;
  std::vector<Bucket> buckets_;
  double sum_ = 0;
  std::optional<double> count_;
  bool contradictory_ = false;
  std::vector<Held> parts_;
  LabelPairs native_whole_;  // Of the last histogram sample: its classic parts are not converted.

  std::deque<Held> ready_;           // Given before anything of `inner_`.
  std::optional<Held> shown_;        // The current entry, unless it is the inner one.
  std::optional<LineKind> waiting_;  // The inner entry comes when ready_ is empty.
  absl::Status inner_status_;        // As does the error that ended it.
};

}  // namespace varve
