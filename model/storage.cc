// SPDX-License-Identifier: Apache-2.0
//
// Names and statuses of the storage seam.

#include "model/storage.h"

#include <absl/strings/cord.h>

#include "model/check.h"

namespace varve {
namespace {

constexpr char kAppendErrorUrl[] = "varve/append-error";

std::string_view StandardText(AppendError error) {
  switch (error) {
    case AppendError::kNone:
      break;
    case AppendError::kOutOfOrder:
      return "out of order sample";
    case AppendError::kDuplicateTimestamp:
      return "duplicate sample for timestamp";
    case AppendError::kOutOfBounds:
      return "out of bounds";
    case AppendError::kTooOld:
      return "too old sample";
    case AppendError::kInvalidLabels:
      return "invalid labels";
    case AppendError::kInvalidHistogram:
      return "invalid histogram";
    case AppendError::kLimit:
      return "limit reached";
    case AppendError::kOutOfOrderExemplar:
      return "out of order exemplar";
    case AppendError::kDuplicateExemplar:
      return "duplicate exemplar";
  }
  INVARIANT(false);
}

absl::StatusCode CodeOf(AppendError error) {
  switch (error) {
    case AppendError::kInvalidLabels:
    case AppendError::kInvalidHistogram:
      return absl::StatusCode::kInvalidArgument;
    case AppendError::kLimit:
      return absl::StatusCode::kResourceExhausted;
    default:
      return absl::StatusCode::kFailedPrecondition;
  }
}

}  // namespace

ReadCost& ReadCost::operator+=(const ReadCost& other) {
  chunks += other.chunks;
  bytes += other.bytes;
  cache_hits += other.cache_hits;
  cache_misses += other.cache_misses;
  return *this;
}

void SeriesSamples::Clear() {
  times.clear();
  values.clear();
  start_times.clear();
  histograms.clear();
  histogram_start_times.clear();
  cost = ReadCost();
}

void DurationCounts::Add(double seconds) {
  sum += seconds;
  size_t bound = 0;
  while (bound < kBounds && seconds > static_cast<double>(uint64_t{1} << bound)) ++bound;
  ++counts[bound];
}

std::vector<absl::Status> Appendable::CommitAll(absl::Span<Appender* const> appenders) {
  std::vector<absl::Status> statuses;
  statuses.reserve(appenders.size());
  for (Appender* appender : appenders) statuses.push_back(appender->Commit());
  return statuses;
}

size_t Appender::AppendKnown(absl::Span<const KnownSample> samples, absl::Status& refused) {
  for (size_t i = 0; i < samples.size(); ++i) {
    const KnownSample& sample = samples[i];
    refused = Append(sample.ref, Labels(), sample.time, sample.value, sample.start_time).status();
    if (!refused.ok()) return i;
  }
  return samples.size();
}

std::string_view MetricTypeText(MetricType type) {
  switch (type) {
    case MetricType::kUnknown:
      return "unknown";
    case MetricType::kCounter:
      return "counter";
    case MetricType::kGauge:
      return "gauge";
    case MetricType::kHistogram:
      return "histogram";
    case MetricType::kGaugeHistogram:
      return "gaugehistogram";
    case MetricType::kSummary:
      return "summary";
    case MetricType::kInfo:
      return "info";
    case MetricType::kStateset:
      return "stateset";
  }
  INVARIANT(false);
}

absl::Status AppendErrorStatus(AppendError error, std::string_view detail) {
  INVARIANT(error != AppendError::kNone);
  const std::string_view text = detail.empty() ? StandardText(error) : detail;
  absl::Status status(CodeOf(error), absl::string_view(text.data(), text.size()));
  const char code = static_cast<char>(error);
  status.SetPayload(kAppendErrorUrl, absl::Cord(absl::string_view(&code, 1)));
  return status;
}

AppendError AppendErrorOf(const absl::Status& status) {
  const auto payload = status.GetPayload(kAppendErrorUrl);
  if (!payload.has_value() || payload->empty()) return AppendError::kNone;
  return static_cast<AppendError>((*payload)[0]);
}

}  // namespace varve
