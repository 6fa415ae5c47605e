// SPDX-License-Identifier: Apache-2.0
//
// The appender.
#include "tsdb/appender.h"

#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>

#include <optional>
#include <utility>

#include "model/check.h"
#include "model/status_macros.h"
#include "model/string_map.h"
#include "tsdb/sample_walk.h"

namespace varve {

namespace {

// What CommitAppenders() makes of an appender.
class BatchAppender : public Appender {
 public:
  // Ends the appender: what there is to commit, null if nothing, or why it must not be.
  virtual absl::StatusOr<AppendBuffers*> TakeBatch() = 0;
};

class HeadAppender : public BatchAppender {
 public:
  HeadAppender(Engine& engine, AppendWindow window)
      : head_(engine.head),
        write_path_(engine.write_path),
        exemplars_(engine.exemplars),
        metadata_(engine.metadata),
        counters_(*engine.counters),
        options_(engine.options),
        window_(window),
        buffers_(write_path_.TakeBuffers()),
        batch_(buffers_->batch) {
    batch_.late_min = window.late_min;
    batch_.shared_claims_before = head_.shared_claims();
    ++counters_.active_appenders;
  }

  ~HeadAppender() override {
    Rollback();
    write_path_.ReturnBuffers(std::move(buffers_));
    --counters_.active_appenders;
  }

  absl::StatusOr<SeriesRef> Append(SeriesRef ref, const Labels& labels, TimestampMs time,
                                   double value, TimestampMs start_time) override {
    AppendError error = AppendError::kNone;
    ASSIGN_OR_RETURN(
        const SeriesRef found, WithSeries(ref, labels, [&](uint64_t id, SeriesRecord& record) {
          if (start_time != 0) AcceptZero(id, labels, record, time, start_time, nullptr);
          const LastSample last = LastOf(record);
          if (IsStaleNan(value) && last.exists && last.is_histogram) {
            // The end of a histogram series is a stale histogram, so that it stays one.
            Histogram stale;
            stale.sum = value;
            stale.integer_counts = last.histogram != nullptr && last.histogram->integer_counts;
            error = AcceptHistogram(id, labels, record, last, time, stale, start_time);
          } else {
            error = AcceptFloat(id, labels, record, last, time, value, start_time);
          }
        }));
    return Result(found, error);
  }

  absl::Status AppendKnown(absl::FunctionRef<bool(KnownSample& sample)> next) override {
    INVARIANT(!finished_);
    for (KnownSample sample;;) {
      const bool all = head_.WithKnown(
          sample, next, [&](SeriesRecord& record) { return AcceptKnown(sample, record); });
      if (all) return absl::OkStatus();
      // One that needs a closer look.
      RETURN_IF_ERROR(
          Append(sample.ref, Labels(), sample.time, sample.value, sample.start_time).status());
    }
  }

  absl::StatusOr<SeriesRef> AppendHistogram(SeriesRef ref, const Labels& labels, TimestampMs time,
                                            const Histogram& histogram,
                                            TimestampMs start_time) override {
    if (const absl::Status valid = histogram.Validate(); !valid.ok()) {
      return AppendErrorStatus(AppendError::kInvalidHistogram, MessageOf(valid));
    }
    AppendError error = AppendError::kNone;
    ASSIGN_OR_RETURN(
        const SeriesRef found, WithSeries(ref, labels, [&](uint64_t id, SeriesRecord& record) {
          if (start_time != 0) AcceptZero(id, labels, record, time, start_time, &histogram);
          error = AcceptHistogram(id, labels, record, LastOf(record), time, histogram, start_time);
        }));
    return Result(found, error);
  }

  absl::Status AppendExemplar(SeriesRef ref, const Labels& labels,
                              const Exemplar& exemplar) override {
    INVARIANT(!finished_);
    if (!exemplars_.enabled()) return absl::OkStatus();
    uint64_t id = static_cast<uint64_t>(ref);
    if (id == 0 || !head_.index().Has(id)) id = head_.index().Find(labels);
    if (id == 0) {
      return absl::FailedPreconditionError("exemplar of a series that has no samples");
    }
    const AppendError error = exemplars_.Check(id, exemplar);
    if (error == AppendError::kInvalidLabels) {
      return AppendErrorStatus(error,
                               "label length for exemplar exceeds maximum of 128 UTF-8 "
                               "characters");
    }
    // Exposing the same exemplar again and again is normal.
    if (error == AppendError::kDuplicateExemplar) return absl::OkStatus();
    if (error != AppendError::kNone) return AppendErrorStatus(error);
    batch_.record.exemplars.push_back({id, exemplar});
    return absl::OkStatus();
  }

  absl::Status AppendMetadata(std::string_view metric, const MetricMetadata& metadata) override {
    INVARIANT(!finished_);
    const auto before = metadata_at_.find(metric);
    if (before == metadata_at_.end() && metadata_.IsKnown(metric, metadata)) {
      return absl::OkStatus();
    }
    std::vector<MetricFamily>& families = batch_.record.metadata;
    bool cut = false;
    MetricFamily family = metadata_.Cut(metric, metadata, cut);
    const bool is_new = before == metadata_at_.end();
    const AppendError error = metadata_.Check(family, is_new ? families.size() : 0);
    if (error != AppendError::kNone) {
      ++counters_.metadata_refused;
      return AppendErrorStatus(error, error == AppendError::kLimit
                                          ? "the limit of stored metadata is reached"
                                          : "invalid metric name of metadata");
    }
    if (cut) ++counters_.metadata_cut;
    if (is_new) {
      metadata_at_.emplace(metric, families.size());
      families.push_back(std::move(family));
    } else {
      families[before->second] = std::move(family);
    }
    return absl::OkStatus();
  }

  absl::Status Commit() override {
    Appender* const self = this;
    std::vector<absl::Status> statuses = CommitAppenders(write_path_, {&self, 1});
    return std::move(statuses.front());
  }

  absl::StatusOr<AppendBuffers*> TakeBatch() override {
    INVARIANT(!finished_);
    finished_ = true;
    return batch_.record.empty() ? nullptr : buffers_.get();
  }

  void Rollback() override {
    if (std::exchange(finished_, true)) return;
    head_.Release(batch_);
  }

 private:
  // The newest sample this batch has for a series.
  struct Tail {
    bool is_histogram = false;
    size_t index = 0;  // In the batch's floats or histograms.
  };

  template <typename Use>
  absl::StatusOr<SeriesRef> WithSeries(SeriesRef ref, const Labels& labels, Use use) {
    INVARIANT(!finished_);
    if (labels.empty() && ref == kNoSeries) {
      return AppendErrorStatus(AppendError::kInvalidLabels, "empty labelset: invalid sample");
    }
    uint64_t found = 0;
    const size_t named_before = batch_.record.series.size();
    RETURN_IF_ERROR(head_.WithSeries(static_cast<uint64_t>(ref), labels,
                                     [&](uint64_t id, SeriesRecord& record) {
                                       found = id;
                                       use(id, record);
                                     }));
    // Not under the shard's lock. The claim keeps the series in the index.
    if (labels.empty() && batch_.record.series.size() > named_before) {
      batch_.record.series.back().label_bytes = head_.index().LabelsOf(found).bytes();
    }
    return SeriesRef{found};
  }

  absl::StatusOr<SeriesRef> Result(SeriesRef ref, AppendError error) {
    if (error == AppendError::kNone) [[likely]]
      return ref;
    counters_.CountRefused(error);
    return AppendErrorStatus(error);
  }

  // The sample before the next one: the batch's own, or the head's.
  LastSample LastOf(const SeriesRecord& record) {
    // Only then may the batch have one: records count samples on their way.
    if (record.pending.load(std::memory_order_relaxed) == 0) return Head::LastOf(record);
    if (!tails_.has_value()) BuildTails();
    const auto it = tails_->find(&record);
    const LastSample stored = Head::LastOf(record);
    if (it == tails_->end()) return stored;
    const Tail& tail = it->second;
    if (stored.exists && TimeOf(tail) <= stored.time) return stored;  // The batch's is late.
    if (tail.is_histogram) {
      const LogRecord::HistogramEntry& sample = batch_.record.histograms[tail.index];
      return {true, true, sample.time, 0, &sample.histogram};
    }
    const LogRecord::Float& sample = batch_.record.floats[tail.index];
    return {true, false, sample.time, sample.value, nullptr};
  }

  TimestampMs TimeOf(const Tail& tail) const {
    return tail.is_histogram ? batch_.record.histograms[tail.index].time
                             : batch_.record.floats[tail.index].time;
  }

  void BuildTails() {
    tails_.emplace();
    const auto note = [this](const SeriesRecord* record, Tail tail) {
      const auto [it, added] = tails_->try_emplace(record, tail);
      if (!added && TimeOf(it->second) < TimeOf(tail)) it->second = tail;
    };
    for (size_t i = 0; i < batch_.float_series.size(); ++i) {
      note(batch_.float_series[i], {false, i});
    }
    for (size_t i = 0; i < batch_.histogram_series.size(); ++i) {
      note(batch_.histogram_series[i], {true, i});
    }
  }

  AppendError AcceptFloat(uint64_t id, const Labels& labels, SeriesRecord& record,
                          const LastSample& last, TimestampMs time, double value,
                          TimestampMs start_time) {
    bool same = false;
    NoteFirst(time);
    const AppendError error = Head::CheckOrder(last, window_, time, value, nullptr, same);
    if (error != AppendError::kNone || same) return error;
    Claim(id, labels, record);
    batch_.record.floats.push_back({id, time, value, KnownStart(start_time)});
    batch_.float_series.push_back(&record);
    if (tails_.has_value() && (!last.exists || time > last.time)) {
      (*tails_)[&record] = {false, batch_.float_series.size() - 1};
    }
    return error;
  }

  // Accepts the sample if it is simply the next one of a series that a log record names.
  bool AcceptKnown(const KnownSample& sample, SeriesRecord& record) {
    if (!record.logged || !record.has_samples || record.last_is_histogram ||
        record.pending.load(std::memory_order_relaxed) != 0 ||
        sample.time <= record.chunk.last_time) {
      return false;
    }
    if (sample.time != known_time_) {
      if (window_.late_window != 0 || sample.time < window_.min || sample.time > window_.max ||
          sample.time > kStoredTimeMax) {
        return false;
      }
      known_time_ = sample.time;
    }
    if (tails_.has_value() || (sample.start_time != 0 && options_.zero_at_start_time)) return false;
    FetchStreamEnd(record);  // Where it goes to once it is logged.
    head_.Claim(record);
    batch_.record.floats.push_back({static_cast<uint64_t>(sample.ref), sample.time, sample.value,
                                    KnownStart(sample.start_time)});
    batch_.float_series.push_back(&record);
    return true;
  }

  AppendError AcceptHistogram(uint64_t id, const Labels& labels, SeriesRecord& record,
                              const LastSample& last, TimestampMs time, const Histogram& histogram,
                              TimestampMs start_time) {
    bool same = false;
    NoteFirst(time);
    const AppendError error = Head::CheckOrder(last, window_, time, 0, &histogram, same);
    if (error != AppendError::kNone || same) return error;
    Claim(id, labels, record);
    batch_.record.histograms.push_back({id, time, KnownStart(start_time), histogram});
    batch_.histogram_series.push_back(&record);
    if (tails_.has_value() && (!last.exists || time > last.time)) {
      (*tails_)[&record] = {true, batch_.histogram_series.size() - 1};
    }
    return error;
  }

  // A zero where the sample at `time` starts, unless the series has something at or after that
  // place; nobody is told if there is no room for one.
  void AcceptZero(uint64_t id, const Labels& labels, SeriesRecord& record, TimestampMs time,
                  TimestampMs start_time, const Histogram* histogram) {
    if (!options_.zero_at_start_time || start_time >= time || time < -kStoredTimeMax) return;
    NoteFirst(time);
    // Before the head has a time, the sample's own bounds it.
    const TimestampMs min =
        window_.min == kMinTimestamp ? time - options_.head_window : window_.min;
    const LastSample last = LastOf(record);
    if (start_time < min || (last.exists && start_time <= last.time)) return;
    if (histogram == nullptr) {
      AcceptFloat(id, labels, record, last, start_time, 0, 0);
      return;
    }
    Histogram zero;
    zero.integer_counts = histogram->integer_counts;
    zero.reset_hint = ResetHint::kReset;
    zero.schema = histogram->schema;
    zero.zero_threshold = histogram->zero_threshold;
    zero.custom_bounds = histogram->custom_bounds;
    AcceptHistogram(id, labels, record, last, start_time, zero, 0);
  }

  // In an empty head the first sample says where late ones begin.
  void NoteFirst(TimestampMs time) {
    if (window_.late_window == 0 || time > window_.max || time < -kStoredTimeMax) return;
    window_.late_min = batch_.late_min = time - std::exchange(window_.late_window, 0);
  }

  TimestampMs KnownStart(TimestampMs start_time) const {
    if (start_time == 0) return 0;
    const bool known = start_time <= kStoredTimeMax && start_time >= -kStoredTimeMax;
    return known && options_.store_start_times ? start_time : 0;
  }

  // Keeps the record from leaving, and has the log name its series if none did.
  void Claim(uint64_t id, const Labels& labels, SeriesRecord& record) {
    head_.Claim(record);
    if (record.logged || !named_.insert(id).second) return;
    batch_.record.series.push_back({id, labels.bytes()});
  }

  Head& head_;
  WritePath& write_path_;
  ExemplarStore& exemplars_;
  MetadataStore& metadata_;
  AtomicCounters& counters_;
  const DbOptions& options_;
  AppendWindow window_;
  std::unique_ptr<AppendBuffers> buffers_;
  Batch& batch_;
  TimestampMs known_time_ = kMinTimestamp;  // Lies in window_, as AcceptKnown() has seen.
  bool finished_ = false;
  absl::flat_hash_set<uint64_t> named_;  // Series in batch_.record.series.
  StringMap<size_t> metadata_at_;        // Metrics in batch_.record.metadata.
  // Built once a series has several samples on their way.
  std::optional<absl::flat_hash_map<const SeriesRecord*, Tail>> tails_;
};

class RefusingAppender : public BatchAppender {
 public:
  absl::StatusOr<SeriesRef> Append(SeriesRef, const Labels&, TimestampMs, double,
                                   TimestampMs) override {
    return Refusal();
  }
  absl::StatusOr<SeriesRef> AppendHistogram(SeriesRef, const Labels&, TimestampMs, const Histogram&,
                                            TimestampMs) override {
    return Refusal();
  }
  absl::Status AppendExemplar(SeriesRef, const Labels&, const Exemplar&) override {
    return Refusal();
  }
  absl::Status AppendMetadata(std::string_view, const MetricMetadata&) override {
    return Refusal();
  }
  absl::Status Commit() override { return Refusal(); }
  absl::StatusOr<AppendBuffers*> TakeBatch() override { return Refusal(); }
  void Rollback() override {}

 private:
  static absl::Status Refusal() {
    return absl::ResourceExhaustedError("the memory limit is exceeded: all samples are refused");
  }
};

}  // namespace

std::unique_ptr<Appender> NewRefusingAppender() { return std::make_unique<RefusingAppender>(); }

std::vector<absl::Status> CommitAppenders(WritePath& write_path,
                                          absl::Span<Appender* const> appenders) {
  std::vector<absl::Status> statuses(appenders.size());
  std::vector<AppendBuffers*> batches;
  std::vector<size_t> owners;
  for (size_t i = 0; i < appenders.size(); ++i) {
    const absl::StatusOr<AppendBuffers*> batch =
        static_cast<BatchAppender*>(appenders[i])->TakeBatch();
    statuses[i] = batch.status();
    if (!batch.ok() || *batch == nullptr) continue;
    batches.push_back(*batch);
    owners.push_back(i);
  }
  if (batches.empty()) return statuses;
  std::vector<absl::Status> committed = write_path.Commit(batches);
  for (size_t i = 0; i < owners.size(); ++i) statuses[owners[i]] = std::move(committed[i]);
  return statuses;
}

std::unique_ptr<Appender> NewHeadAppender(Engine& engine, AppendWindow window) {
  return std::make_unique<HeadAppender>(engine, window);
}

}  // namespace varve
