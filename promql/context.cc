// SPDX-License-Identifier: Apache-2.0
//
// Limits, annotations and error types of running queries.
#include "promql/context.h"

#include <absl/strings/cord.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "model/check.h"
#include "model/status_macros.h"
#include "promql/label_filter.h"

namespace varve::promql {
namespace {

constexpr absl::string_view kErrorTypeUrl = "varve.promql/error_type";

}  // namespace

std::string FormatGeneral(double value, int precision) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  if (precision > 0) return fmt::format("{:.{}g}", value, precision);
  char buffer[64];
  const auto end =
      std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::scientific);
  const std::string scientific(buffer, end.ptr);
  const int exponent = std::stoi(scientific.substr(scientific.find('e') + 1));
  if (exponent < -4 || exponent >= 6) return scientific;
  return FormatFloat(value);
}

std::string_view QueryErrorTypeText(QueryErrorType type) {
  switch (type) {
    case QueryErrorType::kBadData:
      return "bad_data";
    case QueryErrorType::kExecution:
      return "execution";
    case QueryErrorType::kTimeout:
      return "timeout";
    case QueryErrorType::kCanceled:
      return "canceled";
    case QueryErrorType::kUnavailable:
      return "unavailable";
    case QueryErrorType::kInternal:
      break;
  }
  return "internal";
}

absl::Status QueryError(QueryErrorType type, std::string_view message) {
  absl::StatusCode code = absl::StatusCode::kInternal;
  switch (type) {
    case QueryErrorType::kBadData:
      code = absl::StatusCode::kInvalidArgument;
      break;
    case QueryErrorType::kExecution:
      code = absl::StatusCode::kFailedPrecondition;
      break;
    case QueryErrorType::kTimeout:
      code = absl::StatusCode::kDeadlineExceeded;
      break;
    case QueryErrorType::kCanceled:
      code = absl::StatusCode::kCancelled;
      break;
    case QueryErrorType::kUnavailable:
      code = absl::StatusCode::kUnavailable;
      break;
    case QueryErrorType::kInternal:
      break;
  }
  absl::Status status(code, absl::string_view(message.data(), message.size()));
  const std::string_view text = QueryErrorTypeText(type);
  status.SetPayload(kErrorTypeUrl, absl::Cord(absl::string_view(text.data(), text.size())));
  return status;
}

QueryErrorType QueryErrorTypeOf(const absl::Status& status) {
  const auto payload = status.GetPayload(kErrorTypeUrl);
  if (!payload.has_value()) return QueryErrorType::kInternal;
  const std::string text(*payload);
  for (QueryErrorType type :
       {QueryErrorType::kBadData, QueryErrorType::kExecution, QueryErrorType::kTimeout,
        QueryErrorType::kCanceled, QueryErrorType::kUnavailable}) {
    if (text == QueryErrorTypeText(type)) return type;
  }
  return QueryErrorType::kInternal;
}

absl::Status ExecutionError(std::string_view message) {
  return QueryError(QueryErrorType::kExecution, message);
}

Labels WithoutName(const Labels& labels) {
  return FilterLabels(labels, [](std::string_view name) {
    return name != kMetricName && name != kTypeLabel && name != kUnitLabel;
  });
}

AnnotationCollector::Entry& AnnotationCollector::Find(Kind kind, std::string key, int position,
                                                      bool& created) {
  const auto [it, inserted] = index_.try_emplace({kind, std::move(key)}, entries_.size());
  created = inserted;
  if (inserted) {
    Entry entry;
    entry.kind = kind;
    entry.text = it->first.second;
    entry.position = position;
    entries_.push_back(std::move(entry));
    any_.store(true, std::memory_order_relaxed);
  }
  return entries_[it->second];
}

void AnnotationCollector::Warn(std::string message, int position) {
  MutexLock lock(mutex_);
  bool created = false;
  Find(Kind::kWarning, std::move(message), position, created);
}

void AnnotationCollector::Info(std::string message, int position) {
  MutexLock lock(mutex_);
  bool created = false;
  Find(Kind::kInfo, std::move(message), position, created);
}

void AnnotationCollector::Monotonicity::Merge(const Monotonicity& other) {
  bucket_min = std::min(bucket_min, other.bucket_min);
  bucket_max = std::max(bucket_max, other.bucket_max);
  diff_max = std::max(diff_max, other.diff_max);
  samples += other.samples;
  time_min = std::min(time_min, other.time_min);
  time_max = std::max(time_max, other.time_max);
}

void AnnotationCollector::AddMonotonicity(const Monotonicity& fixed, int position) {
  MutexLock lock(mutex_);
  bool created = false;
  Monotonicity& merged = Find(Kind::kMonotonicity, fixed.metric, position, created).monotonicity;
  if (created) {
    merged = fixed;
  } else {
    merged.Merge(fixed);
  }
}

void AnnotationCollector::AddStartTimeOverlap(std::string_view metric, uint64_t occurrences,
                                              int position) {
  MutexLock lock(mutex_);
  bool created = false;
  Find(Kind::kOverlap, std::string(metric), position, created).occurrences += occurrences;
}

void AnnotationCollector::Take(AnnotationCollector& other) {
  if (!other.any_.load(std::memory_order_relaxed)) return;
  std::vector<Entry> entries;
  {
    MutexLock lock(other.mutex_);
    if (other.entries_.empty()) return;
    entries.swap(other.entries_);
    other.index_.clear();
  }
  MutexLock lock(mutex_);
  for (Entry& entry : entries) {
    bool created = false;
    Entry& known = Find(entry.kind, entry.text, entry.position, created);
    known.occurrences += entry.occurrences;
    if (created) {
      known.monotonicity = entry.monotonicity;
    } else {
      known.monotonicity.Merge(entry.monotonicity);
    }
  }
}

Annotations AnnotationCollector::Render(std::string_view query) const {
  Annotations annotations;
  MutexLock lock(mutex_);
  for (const Entry& entry : entries_) {
    const std::string where = fmt::format(" ({})", LineColumn(query, entry.position));
    switch (entry.kind) {
      case Kind::kWarning:
        annotations.AddWarning("PromQL warning: " + entry.text + where);
        break;
      case Kind::kInfo:
        annotations.AddInfo("PromQL info: " + entry.text + where);
        break;
      case Kind::kMonotonicity: {
        const Monotonicity& fixed = entry.monotonicity;
        annotations.AddInfo(fmt::format(
            "PromQL info: input to histogram_quantile needed to be fixed for monotonicity (see "
            "https://prometheus.io/docs/prometheus/latest/querying/functions/"
            "#histogram_quantile){}, from buckets {} to {}, with a max diff of {}, over {} samples "
            "from {} to {}{}",
            fixed.metric.empty() ? "" : " for metric name " + Quoted(fixed.metric),
            FormatGeneral(fixed.bucket_min, 0), FormatGeneral(fixed.bucket_max, 0),
            FormatGeneral(fixed.diff_max, 2), fixed.samples, FormatRfc3339(fixed.time_min),
            FormatRfc3339(fixed.time_max), where));
        break;
      }
      case Kind::kOverlap:
        annotations.AddWarning(fmt::format(
            "PromQL warning: sample has start time that overlaps with previous sample timestamp "
            "for metric {}{}{}",
            Quoted(entry.text),
            entry.occurrences > 1 ? fmt::format(" ({} occurrences)", entry.occurrences) : "",
            where));
        break;
    }
  }
  return annotations;
}

absl::Status QueryContext::HoldPlanned(const Grid& grid, uint64_t step_bytes) {
  const uint64_t bytes = grid.count * step_bytes;
  planned_bytes_ += bytes;
  return setup_.memory.Hold(bytes);
}

void QueryContext::WillRead(TimestampMs min, TimestampMs max) {
  min_time_ = reads_ ? std::min(min_time_, min) : min;
  max_time_ = reads_ ? std::max(max_time_, max) : max;
  reads_ = true;
}

absl::Status QueryContext::OpenStorage(const Queryable& storage) {
  if (!reads_) return absl::OkStatus();
  auto querier = storage.OpenQuerier(min_time_, max_time_);
  if (!querier.ok()) {
    return ExecutionError(fmt::format("expanding series: {}", MessageOf(querier.status())));
  }
  querier_ = std::move(*querier);
  return absl::OkStatus();
}

absl::Status QueryContext::Check() const {
  if (setup_.killed) return QueryError(QueryErrorType::kCanceled, "query was killed");
  if (setup_.query.canceled && setup_.query.canceled()) {
    return QueryError(QueryErrorType::kCanceled, "query was canceled in expression evaluation");
  }
  if (setup_.clock.MonotonicNanos() >= setup_.deadline_nanos) {
    return QueryError(QueryErrorType::kTimeout, "query timed out in expression evaluation");
  }
  return absl::OkStatus();
}

TimestampMs QueryContext::StepOf(TimestampMs time) const {
  if (setup_.step == 0 || time <= setup_.start) return setup_.start;
  const TimestampMs steps = (time - setup_.start + setup_.step - 1) / setup_.step;
  const TimestampMs last = (setup_.end - setup_.start) / setup_.step;
  return setup_.start + std::min(steps, last) * setup_.step;
}

void QueryContext::CountQueryableAt(TimestampMs time, uint64_t samples) {
  MutexLock lock(mutex_);
  queryable_per_step_[StepOf(time)] += samples;
}

void QueryContext::CountReadPerStep(const SeriesSamples& samples, DurationMs offset, bool fixed) {
  MutexLock lock(mutex_);
  const auto count = [&](TimestampMs time) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    ++read_per_step_[fixed ? setup_.start : StepOf(time + offset)];
  };
  for (const TimestampMs time : samples.times) count(time);
  for (const HistogramSample& sample : samples.histograms) count(sample.time);
}

StepCounts QueryContext::queryable_per_step() const {
  MutexLock lock(mutex_);
  return AllSteps(queryable_per_step_);
}

StepCounts QueryContext::read_per_step() const {
  MutexLock lock(mutex_);
  return AllSteps(read_per_step_);
}

StepCounts QueryContext::AllSteps(const std::map<TimestampMs, uint64_t>& counted) const {
  StepCounts counts;
  if (!counts_per_step()) return counts;
  const DurationMs step = std::max<DurationMs>(setup_.step, 1);
  for (TimestampMs time = setup_.start; time <= setup_.end; time += step) {
    const auto found = counted.find(time);
    counts.emplace_back(time, found == counted.end() ? 0 : found->second);
    if (setup_.step == 0) break;
  }
  return counts;
}

absl::Status QueryContext::Hold(uint64_t samples) {
  uint64_t held = held_ += samples;
  // Rows that were only kept so as not to be read again go first.
  if (held > setup_.engine.max_samples && leaves_.Discard()) held = held_;
  if (held > setup_.engine.max_samples) {
    setup_.memory.Count(samples * kSampleBytes);
    return ExecutionError(
        "query processing would load too many samples into memory in query execution");
  }
  if (held > peak_) peak_ = held;
  return setup_.memory.Hold(samples * kSampleBytes);
}

namespace {

uint64_t BytesOf(const Labels& labels) {
  // Short texts lie in the object.
  const size_t capacity = labels.bytes().capacity();
  return sizeof(Labels) + (capacity > 15 ? capacity + 1 : 0);
}

}  // namespace

absl::Status HeldMemory::Add(const Labels& labels, uint64_t copies) {
  return Add(BytesOf(labels) * copies);
}

absl::Status HeldMemory::Add(const std::vector<Labels>& labels, uint64_t copies) {
  uint64_t bytes = 0;
  for (const Labels& set : labels) bytes += BytesOf(set);
  return Add(bytes * copies);
}

bool QueryContext::HoldIfRoom(uint64_t samples, uint64_t room) {
  if (held_ + samples > room) return false;
  if (!setup_.memory.Hold(samples * kSampleBytes).ok()) {
    setup_.memory.Release(samples * kSampleBytes);
    return false;
  }
  const uint64_t held = held_ += samples;
  if (held > peak_) peak_ = held;
  return true;
}

}  // namespace varve::promql
