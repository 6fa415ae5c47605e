// SPDX-License-Identifier: Apache-2.0
//
// From one scrape's body to samples in the storage: labels of the target added, metrics relabelled,
// limits kept, series that are gone ended. Lines known from the last scrape go from their hash
// straight to their SeriesRef.
#pragma once

#include <absl/base/attributes.h>
#include <absl/status/status.h>

#include <cstdint>
#include <string_view>
#include <vector>

#include "model/appendable.h"
#include "model/labels.h"
#include "model/metric_metadata.h"
#include "model/series_ref.h"
#include "scrape/config.h"
#include "scrape/exposition.h"
#include "scrape/metadata_store.h"
#include "scrape/series_cache.h"
#include "scrape/text_parser.h"

namespace varve {

struct AppendCounts {
  uint64_t scraped = 0;       // Samples in the body.
  uint64_t post_relabel = 0;  // Those left after relabelling.
  uint64_t series_added = 0;
  // Refused by the storage without failing the scrape.
  uint64_t out_of_order = 0;
  uint64_t duplicate_timestamp = 0;
  uint64_t out_of_bounds = 0;
  // What failed the scrape, if it was one of these.
  bool sample_limit_exceeded = false;
  bool label_limit_exceeded = false;
  bool bucket_limit_exceeded = false;
};

// A histogram within the limits of `config`: its resolution is lowered until it is, which fails
// with ResourceExhausted where there is nothing left to lower.
absl::StatusOr<Histogram> LimitHistogram(const ScrapeConfig& config, const Histogram& histogram);

// Appends the scrapes of one target. Not thread-safe; what it refers to outlives it.
class BodyAppender {
 public:
  BodyAppender(const ScrapeConfig& config, const HistogramIngestion& histograms,
               const Labels& target_labels, SeriesCache& cache, TargetMetadataStore& metadata)
      : config_(config),
        histograms_(histograms),
        target_labels_(target_labels),
        cache_(cache),
        metadata_(metadata) {}

  // Appends every sample of `body`, and staleness markers for the series that are gone. A status
  // that is not OK fails the scrape: its batch is to be rolled back and AppendFailure() to be
  // called with a new one. Its text is Prometheus'.
  absl::Status AppendBody(std::string_view body, ExpositionFormat format, TimestampMs scrape_time,
                          Appender& appender, AppendCounts& counts);

  // Ends every series of the last scrape.
  void AppendFailure(TimestampMs scrape_time, Appender& appender);

 private:
  struct Scrape {
    ExpositionReader& reader;
    TextParser* text;    // The same reader, if lines can be known by their text.
    bool expects_lines;  // Whether known lines may be read without looking at their labels.
    Appender& appender;
    TimestampMs time;
    AppendCounts& counts;
  };
  absl::Status AppendEntries(Scrape& scrape);
  absl::Status AppendNextEntry(Scrape& scrape, bool& at_end);
  // The lines up to one that is not the expected one.
  absl::Status AppendExpectedLines(Scrape& scrape);
  // Reads expected lines up to the next sample, of `entry`, that storage need only be given; false
  // if there is none. `own_way`: `entry`'s line was read and needs AppendSample().
  ABSL_ATTRIBUTE_ALWAYS_INLINE bool NextExpected(Scrape& scrape, KnownSample& sample,
                                                 SeriesCache::Entry*& entry, bool& own_way);
  absl::Status AppendSample(Scrape& scrape, SeriesCache::Entry& entry, bool is_new);
  // Of a series that storage has not named yet.
  absl::Status AppendUnnamed(Scrape& scrape, SeriesCache::Entry& entry, bool own_time, bool is_new);
  // Counts a sample; false if it is not to be stored.
  ABSL_ATTRIBUTE_ALWAYS_INLINE bool Admit(Scrape& scrape, SeriesCache::Entry& entry, bool own_time);
  // Stores it and its exemplars at once. `labels` may be empty if `entry` has a ref.
  absl::Status AppendNow(Scrape& scrape, SeriesCache::Entry& entry, const Labels& labels,
                         bool own_time, bool is_new);
  // The sample goes to the storage; false if it was refused without failing the scrape.
  absl::StatusOr<bool> Store(Scrape& scrape, SeriesCache::Entry& entry, const Labels& labels,
                             TimestampMs time);
  absl::StatusOr<SeriesRef> StoreValue(Scrape& scrape, const Histogram* histogram, SeriesRef ref,
                                       const Labels& labels, TimestampMs time) const;
  absl::Status StoreExemplars(Scrape& scrape, const SeriesCache::Entry& entry);
  // The current line's sample was refused.
  absl::Status HandleRefused(Scrape& scrape, SeriesCache::Entry& entry,
                             const absl::Status& refused);
  // The labels the current entry is stored with; empty if relabelling dropped it.
  absl::StatusOr<Labels> BuildLabels(ExpositionReader& reader, AppendCounts& counts) const;
  void AddTargetLabels(LabelPairs& pairs) const;
  absl::Status CheckLabels(const Labels& labels) const;
  absl::Status CheckLimits(const Labels& labels, AppendCounts& counts) const;

  const ScrapeConfig& config_;
  const HistogramIngestion histograms_;
  const Labels& target_labels_;
  SeriesCache& cache_;
  TargetMetadataStore& metadata_;
};

}  // namespace varve
