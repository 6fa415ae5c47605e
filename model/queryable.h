// SPDX-License-Identifier: Apache-2.0
//
// The seam between those who ask for samples and the engine that keeps them: promql and http read
// through Queryable; only app and the tests know which engine (tsdb/) fulfils it.
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "model/annotations.h"
#include "model/exemplar.h"
#include "model/labels.h"
#include "model/matcher.h"
#include "model/metric_metadata.h"
#include "model/sample.h"
#include "model/time.h"
#include "model/time_list.h"

namespace varve {

// What the caller will do with a selection: lets storage skip work, never changes an answer that
// the caller would see. Times are inclusive.
struct SelectHints {
  TimestampMs start_ms = kMinTimestamp;
  TimestampMs end_ms = kMaxTimestamp;
  DurationMs step_ms = 0;
  DurationMs range_ms = 0;            // Of a range selector; 0 otherwise.
  std::string function;               // Enclosing function or aggregation; "series" = labels only.
  std::vector<std::string> grouping;  // Of the enclosing aggregation.
  bool grouping_by = false;
  // Only the labels in `grouping` count, and not the order of series that have the same ones:
  // others may be left out. Series are then sorted by those left, and several may have the same.
  // With newest_only and presence_only one may stand for several (SeriesSet::Alike).
  bool grouping_only = false;
  uint64_t limit = 0;  // Series wanted at most; 0 = all.
  // Of each series only the newest sample up to end_ms counts: older ones may be left out.
  bool newest_only = false;
  // Only when there are samples counts: floats that are no staleness markers may come as others.
  // With newest_only, not even when: if the newest sample is such a float, then its time, too, may
  // be another one in the selection's range.
  bool presence_only = false;
  // Told how many series match before their labels are made; its error ends the call. May be empty.
  std::function<absl::Status(uint64_t series)> found;
};

// What reading samples took.
struct ReadCost {
  uint64_t chunks = 0;        // Open and closed chunks, and rows of columns.
  uint64_t bytes = 0;         // Of these, encoded.
  uint64_t cache_hits = 0;    // Pieces from the disk that were in a cache,
  uint64_t cache_misses = 0;  // and those that were not.

  ReadCost& operator+=(const ReadCost& other);
};

// Samples of one series, times rising within each list. The caller owns the buffers and reuses
// them: Read() overwrites them.
struct SeriesSamples {
  TimeList times;
  std::vector<double> values;  // As many as times. Staleness markers are included.
  // How many of the first values are known to be numbers, of these not to fall from one to the
  // next, and to be the same bits: lets readers of a series skip looking. Not more than there are.
  struct Known {
    size_t numbers = 0;
    size_t rising = 0;
    size_t same = 0;
  };
  Known known;
  // Start timestamps of the float samples, 0 = unknown; empty if no sample has one.
  std::vector<TimestampMs> start_times;
  std::vector<HistogramSample> histograms;
  // As start_times, for the histograms.
  std::vector<TimestampMs> histogram_start_times;
  ReadCost cost;

  void Clear();
  // Of the last `count` values, which were appended just now, something is known.
  void Know(size_t count, bool numbers, bool rising, bool same);
};

// The series that matched, sorted by labels. Immutable and thread-safe: several threads may read
// different series, each with buffers of its own. Lives independently of its Querier.
class SeriesSet {
 public:
  virtual ~SeriesSet() = default;
  virtual size_t size() const = 0;
  // REQUIRES: index < size(). The reference lives as long as the set.
  virtual const Labels& labels(size_t index) const = 0;
  // How many series it stands for: if more than 1, it is to be read over the selection's whole
  // range, and what it gives is what each of them would. REQUIRES: index < size().
  virtual uint64_t Alike(size_t) const { return 1; }
  // Whether Read() of most series looks at no samples.
  virtual bool is_known() const { return false; }
  // Overwrites `samples` with those in [min, max]. What is damaged is left out and said in its
  // querier's Warnings().
  virtual absl::Status Read(size_t index, TimestampMs min, TimestampMs max,
                            SeriesSamples& samples) const = 0;
};

// Sorted, without duplicates, and whether `limit` cut it.
struct LabelTexts {
  std::vector<std::string> texts;
  bool truncated = false;
};

// A consistent view of the storage over a time range. Thread-safe.
class Querier {
 public:
  virtual ~Querier() = default;
  virtual absl::StatusOr<std::unique_ptr<SeriesSet>> Select(const std::vector<Matcher>& matchers,
                                                            const SelectHints& hints) const = 0;
  // Names (values of `name`) of the series that match one of `matcher_sets` (all series if there
  // is none). limit 0 = all.
  virtual absl::StatusOr<LabelTexts> LabelNames(
      const std::vector<std::vector<Matcher>>& matcher_sets, uint64_t limit) const = 0;
  virtual absl::StatusOr<LabelTexts> LabelValues(
      std::string_view name, const std::vector<std::vector<Matcher>>& matcher_sets,
      uint64_t limit) const = 0;
  // What it and the series sets it gave could not read so far.
  virtual Annotations Warnings() const { return {}; }
};

// Thread-safe.
class Queryable {
 public:
  virtual ~Queryable() = default;
  // A view of the samples in [min, max].
  virtual absl::StatusOr<std::unique_ptr<Querier>> OpenQuerier(TimestampMs min,
                                                               TimestampMs max) const = 0;
};

// Thread-safe.
class MetadataQueryable {
 public:
  virtual ~MetadataQueryable() = default;
  // What was committed last of `metric`, or of all metrics if it is empty, sorted by name.
  virtual std::vector<MetricFamilyPtr> Metadata(std::string_view metric) const = 0;
};

// Thread-safe.
class ExemplarQueryable {
 public:
  virtual ~ExemplarQueryable() = default;
  virtual absl::StatusOr<std::vector<SeriesExemplars>> SelectExemplars(
      TimestampMs start, TimestampMs end,
      const std::vector<std::vector<Matcher>>& matcher_sets) const = 0;
};

}  // namespace varve
