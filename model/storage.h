// SPDX-License-Identifier: Apache-2.0
//
// The seam between the layers that produce or ask for samples and the engine that keeps them.
// scrape, rules and remote write through Appender; promql and http read through Queryable; only
// app and the tests know which engine (tsdb/) fulfils it.
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <absl/types/span.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/annotations.h"
#include "model/labels.h"
#include "model/matcher.h"
#include "model/sample.h"
#include "model/time.h"

namespace varve {

// Names a series inside one storage, for as long as it is open: 0 is never a series. A ref may
// become unknown when its series leaves memory; appending with its labels again finds or makes it.
enum class SeriesRef : uint64_t {};
inline constexpr SeriesRef kNoSeries{0};

enum class MetricType : uint8_t {
  kUnknown,
  kCounter,
  kGauge,
  kHistogram,
  kGaugeHistogram,
  kSummary,
  kInfo,
  kStateset,
};
// "counter", "gauge", ... ("unknown" for kUnknown).
std::string_view MetricTypeText(MetricType type);

struct MetricMetadata {
  MetricType type = MetricType::kUnknown;
  std::string help;
  std::string unit;
  friend bool operator==(const MetricMetadata&, const MetricMetadata&) = default;
};

// What is said of a metric. Series of a histogram or summary have its name and a suffix.
struct MetricFamily {
  std::string name;
  MetricMetadata metadata;
  friend bool operator==(const MetricFamily&, const MetricFamily&) = default;
};
using MetricFamilyPtr = std::shared_ptr<const MetricFamily>;

// ---------------------------------------------------------------------------------------- reading

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
  uint64_t limit = 0;  // Series wanted at most; 0 = all.
  // Of each series only the newest sample up to end_ms counts: older ones may be left out.
  bool newest_only = false;
  // Only when there are samples counts: floats that are no staleness markers may come as others.
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
  std::vector<TimestampMs> times;
  std::vector<double> values;  // As many as times. Staleness markers are included.
  // Start timestamps of the float samples, 0 = unknown; empty if no sample has one.
  std::vector<TimestampMs> start_times;
  std::vector<HistogramSample> histograms;
  // As start_times, for the histograms.
  std::vector<TimestampMs> histogram_start_times;
  ReadCost cost;

  void Clear();
};

// The series that matched, sorted by labels. Immutable and thread-safe: several threads may read
// different series, each with buffers of its own. Lives independently of its Querier.
class SeriesSet {
 public:
  virtual ~SeriesSet() = default;
  virtual size_t size() const = 0;
  // REQUIRES: index < size(). The reference lives as long as the set.
  virtual const Labels& labels(size_t index) const = 0;
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

struct Exemplar {
  Labels labels;
  double value = 0;
  TimestampMs time = 0;
  bool has_time = false;
};

struct SeriesExemplars {
  Labels series;
  std::vector<Exemplar> exemplars;
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

// ---------------------------------------------------------------------------------------- writing

// Why a sample was refused; the payload of a failed Append. Prometheus' texts.
enum class AppendError {
  kNone,
  kOutOfOrder,          // `out of order sample`
  kDuplicateTimestamp,  // `duplicate sample for timestamp`: same time, another value
  kOutOfBounds,         // `out of bounds`: before the head's or past the clock's limit
  kTooOld,              // `too old sample`: before the out-of-order window
  kInvalidLabels,
  kInvalidHistogram,
  kLimit,  // a series or memory limit
  kOutOfOrderExemplar,
  kDuplicateExemplar,
};
// The failure as a status (FailedPrecondition; InvalidArgument for invalid ones, ResourceExhausted
// for kLimit) whose AppendErrorOf() is `error`. `detail` replaces the standard text if not empty.
absl::Status AppendErrorStatus(AppendError error, std::string_view detail = "");
// What a status of AppendErrorStatus() says; kNone for any other status.
AppendError AppendErrorOf(const absl::Status& status);

// A float sample of a series that was appended to before.
struct KnownSample {
  SeriesRef ref = kNoSeries;
  TimestampMs time = 0;
  double value = 0;
  TimestampMs start_time = 0;
};

// One batch of writes (a scrape, a remote-write request, a rule's result): all of it is committed
// at once or nothing is. Not thread-safe; several appenders may be in use at the same time.
// Destroying an appender that was not committed rolls it back.
class Appender {
 public:
  virtual ~Appender() = default;

  // Adds a float sample and returns its series' ref, which the next Append of the same series may
  // pass to skip the look-up (kNoSeries = look `labels` up). With a ref, `labels` may be empty: if
  // the ref has become unknown, that is NotFound, and the caller tries again with labels.
  // A refused sample returns AppendErrorStatus and changes nothing else in the batch.
  // `start_time` is the sample's start timestamp, 0 = unknown.
  virtual absl::StatusOr<SeriesRef> Append(SeriesRef ref, const Labels& labels, TimestampMs time,
                                           double value, TimestampMs start_time = 0) = 0;
  // Appends the samples one after the other, as Append() without labels would, and returns how many
  // it appended: all, or those before the first one refused, whose error is then in `refused`.
  virtual size_t AppendKnown(absl::Span<const KnownSample> samples, absl::Status& refused);
  virtual absl::StatusOr<SeriesRef> AppendHistogram(SeriesRef ref, const Labels& labels,
                                                    TimestampMs time, const Histogram& histogram,
                                                    TimestampMs start_time = 0) = 0;
  virtual absl::Status AppendExemplar(SeriesRef ref, const Labels& labels,
                                      const Exemplar& exemplar) = 0;
  // Says what the metric is from now on; what is known already costs nothing. Texts may be cut.
  // A refused one returns AppendErrorStatus and changes nothing else in the batch.
  virtual absl::Status AppendMetadata(std::string_view metric, const MetricMetadata& metadata) = 0;

  // Makes the batch durable against a killed process, then visible. On failure nothing of the
  // batch is visible. REQUIRES: called at most once, nothing appended after it.
  virtual absl::Status Commit() = 0;
  virtual void Rollback() = 0;
};

// Thread-safe.
class Appendable {
 public:
  virtual ~Appendable() = default;
  virtual std::unique_ptr<Appender> NewAppender() = 0;
  // Commits each of `appenders`, which are of this storage, and says how that went: the same as one
  // after the other, but cheaper.
  virtual std::vector<absl::Status> CommitAll(absl::Span<Appender* const> appenders);
};

// ------------------------------------------------------------------------------ reading the log

// One commit, as it was accepted. Series are named by their refs.
struct LoggedCommit {
  struct TimedHistogram {
    SeriesRef ref = kNoSeries;
    TimestampMs time = 0;
    TimestampMs start_time = 0;
    Histogram histogram;
  };
  struct TimedExemplar {
    SeriesRef ref = kNoSeries;
    Exemplar exemplar;
  };
  uint64_t sequence = 0;  // Rises from commit to commit, with gaps.
  std::vector<KnownSample> floats;
  std::vector<TimedHistogram> histograms;
  std::vector<TimedExemplar> exemplars;
  std::vector<MetricFamily> metadata;  // What changed.
};

// A place in the log that holds it: what was committed behind it can be read in order, until the
// cursor has moved past it. Lives no longer than its storage. Not thread-safe.
class LogCursor {
 public:
  virtual ~LogCursor() = default;
  // The next commits, at least one and then as many as take about `bytes_max` stored; none if there
  // is nothing new. OutOfRange, once, if commits were dropped before they were read, since the
  // cursor lay further behind than the storage allows; the next call goes on with what is there.
  // DataLoss, once, if a commit is damaged; the next call goes on behind it.
  virtual absl::StatusOr<std::vector<LoggedCommit>> Read(size_t bytes_max) = 0;
  // The log up to this commit is not needed any more.
  virtual void Release(uint64_t sequence) = 0;
  // Empty if the series has left memory: none of its samples is younger than hours.
  virtual Labels LabelsOf(SeriesRef ref) const = 0;
};

// Thread-safe.
class LogSource {
 public:
  virtual ~LogSource() = default;
  // A cursor behind the last commit.
  virtual std::unique_ptr<LogCursor> OpenLog() = 0;
};

// --------------------------------------------------------------------------------- administration

struct NamedCount {
  std::string name;
  uint64_t value = 0;
};

struct HeadStats {
  uint64_t series = 0;
  uint64_t label_pairs = 0;
  uint64_t chunks = 0;
  TimestampMs min_time = kMaxTimestamp;  // kMaxTimestamp / kMinTimestamp while empty.
  TimestampMs max_time = kMinTimestamp;
};

// The `limit` largest of each kind over the series in memory.
struct CardinalityStats {
  HeadStats head;
  std::vector<NamedCount> series_by_metric;
  std::vector<NamedCount> values_by_label;
  std::vector<NamedCount> bytes_by_label;
  std::vector<NamedCount> series_by_pair;  // "name=value"
};

// How long the runs of a job took, in seconds.
struct DurationCounts {
  // The run took at most 1, 2, 4, ... 8192 seconds, or more.
  static constexpr size_t kBounds = 14;
  std::array<uint64_t, kBounds + 1> counts{};  // Of each bound alone, then of longer ones.
  double sum = 0;

  void Add(double seconds);
};

// Folding closed chunks into columns, or merging what was folded before.
struct FoldCounters {
  uint64_t runs = 0;
  uint64_t failures = 0;
  uint64_t bytes = 0;  // Written.
  DurationCounts durations;
};

// Counters since the start and sizes of now, for /metrics.
struct StorageCounters {
  uint64_t float_samples_appended = 0;
  uint64_t histogram_samples_appended = 0;
  uint64_t series_created = 0;
  uint64_t series_removed = 0;
  uint64_t out_of_order_samples = 0;  // Refused.
  uint64_t out_of_order_samples_appended = 0;
  uint64_t too_old_samples = 0;
  uint64_t out_of_bounds_samples = 0;
  uint64_t duplicate_samples = 0;
  uint64_t corruptions = 0;             // Damaged parts of what is stored that were left out.
  uint64_t unknown_series_samples = 0;  // Logged, of series that damage made unknown.
  uint64_t metadata_refused = 0;        // Of metrics, for a limit or a name that is none.
  uint64_t metadata_cut = 0;            // Stored with a text cut.
  uint64_t failed_commits = 0;          // Batches that could not be written.
  bool writable = true;                 // Whether the last attempt to write worked.
  uint64_t reserve_bytes = 0;           // Held back for when the disk is full.
  uint64_t buckets_dropped_by_retention = 0;
  uint64_t generations_dropped_by_size = 0;
  uint64_t disk_bytes = 0;
  uint64_t log_bytes = 0;
  uint64_t active_appenders = 0;
  FoldCounters folds;
  FoldCounters merges;
  uint64_t buckets = 0;
  uint64_t generations = 0;
  uint64_t generation_samples = 0;
  uint64_t generation_bytes = 0;
  uint64_t unfolded_families = 0;  // Finished stretches of closed chunks that wait to be folded.
  TimestampMs oldest_sample = kMaxTimestamp;  // About: no sample is older. kMaxTimestamp = none.
};

// What the admin and status endpoints ask of the storage. Thread-safe.
class StorageAdmin {
 public:
  virtual ~StorageAdmin() = default;
  virtual CardinalityStats Cardinality(size_t limit) const = 0;
  virtual HeadStats Head() const = 0;
  virtual StorageCounters Counters() const = 0;

  // Makes the samples in [min, max] of the series that match one of `matcher_sets` invisible. What
  // is appended later is not touched.
  virtual absl::Status DeleteSeries(const std::vector<std::vector<Matcher>>& matcher_sets,
                                    TimestampMs min, TimestampMs max) = 0;
  // Removes deleted samples from the disk.
  virtual absl::Status CleanTombstones() = 0;
  // Writes a copy of everything that can be opened as a data directory, and returns its name below
  // `snapshots/` of this one.
  virtual absl::StatusOr<std::string> Snapshot() = 0;
};

}  // namespace varve
