// SPDX-License-Identifier: Apache-2.0
//
// Late samples of a series: those that came out of order, within the window that allows it. A few
// are kept in memory, sorted; then they become chunks of their own, whose times overlap those of
// other chunks. Readers and folding merge them.
#pragma once

#include <absl/functional/function_ref.h>

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "model/histogram.h"
#include "model/queryable.h"
#include "model/time.h"

namespace varve {

// Samples kept before they become chunks.
inline constexpr size_t kLateSamplesMax = 32;

struct LateSample {
  TimestampMs time = 0;
  double value = 0;
  TimestampMs start_time = 0;
  std::shared_ptr<const Histogram> histogram;  // Null: a float.
};

// Not thread-safe.
class LateSamples {
 public:
  // Returns false if there is a sample of this time already: the first one stays.
  bool Insert(LateSample sample);
  size_t size() const { return samples_.size(); }

  SeriesSamples Copy() const;

  // The samples as chunks, by time: none spans kChunkSpanMax or more, or a bucket's edge.
  struct Chunk {
    TimestampMs first_time = 0;
    TimestampMs last_time = 0;
    std::string value;  // EncodeHotChunk
  };
  // `bucket_end` says where the bucket of a time ends.
  std::vector<Chunk> Encode(absl::FunctionRef<TimestampMs(TimestampMs time)> bucket_end) const;

 private:
  std::vector<LateSample> samples_;  // By time.
};

}  // namespace varve
