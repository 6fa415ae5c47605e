// SPDX-License-Identifier: Apache-2.0
//
// Commits in their order, as the storage logged them: what a remote-write sender reads.
#pragma once

#include <absl/status/statusor.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "model/appendable.h"
#include "model/exemplar.h"
#include "model/histogram.h"
#include "model/labels.h"
#include "model/metric_metadata.h"
#include "model/series_ref.h"
#include "model/time.h"

namespace varve {

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

}  // namespace varve
