// SPDX-License-Identifier: Apache-2.0
//
// What every storage does alike when written to.
#include "model/appendable.h"

#include <absl/strings/cord.h>

#include "model/check.h"
#include "model/status_macros.h"

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

absl::Status Appender::AppendKnown(absl::FunctionRef<bool(KnownSample& sample)> next) {
  for (KnownSample sample; next(sample);) {
    RETURN_IF_ERROR(
        Append(sample.ref, Labels(), sample.time, sample.value, sample.start_time).status());
  }
  return absl::OkStatus();
}

size_t Appender::AppendKnown(absl::Span<const KnownSample> samples, absl::Status& refused) {
  size_t taken = 0;
  refused = AppendKnown([&](KnownSample& sample) {
    if (taken == samples.size()) return false;
    sample = samples[taken++];
    return true;
  });
  return refused.ok() ? taken : taken - 1;
}

std::vector<absl::Status> Appendable::CommitAll(absl::Span<Appender* const> appenders) {
  std::vector<absl::Status> statuses;
  statuses.reserve(appenders.size());
  for (Appender* appender : appenders) statuses.push_back(appender->Commit());
  return statuses;
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
