// SPDX-License-Identifier: Apache-2.0
//
// The seam between those who produce samples and the engine that keeps them: scrape, rules and
// remote write through Appender; only app and the tests know which engine (tsdb/) fulfils it.
#pragma once

#include <absl/functional/function_ref.h>
#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <absl/types/span.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "model/exemplar.h"
#include "model/histogram.h"
#include "model/labels.h"
#include "model/metric_metadata.h"
#include "model/series_ref.h"
#include "model/time.h"

namespace varve {

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
  // A series whose sample may come some 16 samples later: what is kept of it is fetched meanwhile.
  SeriesRef soon = kNoSeries;
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
  // Appends the samples that `next` sets, one after the other, as Append() without labels would:
  // until it returns false, or until one is refused, which was the last one set; its error is
  // returned. Samples of neighbouring refs cost little. `next` is called under the storage's locks:
  // it is to be quick and must not use the storage.
  virtual absl::Status AppendKnown(absl::FunctionRef<bool(KnownSample& sample)> next);
  // The same for `samples`. Returns how many it appended: all, or those before the first one
  // refused, whose error is then in `refused`.
  size_t AppendKnown(absl::Span<const KnownSample> samples, absl::Status& refused);
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

}  // namespace varve
