// SPDX-License-Identifier: Apache-2.0
//
// What readers find closed chunks and generations by, and how it changes; and the log's epochs.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "model/time.h"
#include "tsdb/format.h"
#include "tsdb/generation.h"
#include "tsdb/store.h"

namespace varve {

// A family of closed chunks. The range only widens, and does so before a chunk is readable.
struct HotFamily {
  uint64_t number = 0;
  FamilyPtr family;
  std::atomic<TimestampMs> min = kMaxTimestamp;
  std::atomic<TimestampMs> max = kMinTimestamp;
  TimestampMs begun = kMinTimestamp;  // The writer's own.
};

// The bucket table as readers pin it: what they need to find closed chunks and generations, whose
// files stay while the set lives. Immutable, but for the ranges.
struct HotSet {
  std::vector<std::shared_ptr<HotFamily>> families;  // By number, hence by time for one series.
  std::vector<GenerationPtr> generations;            // By bucket and number.
  BucketTable buckets;
};

// A stretch of the log, dropped as a whole.
struct LogEpoch {
  uint64_t number = 0;
  FamilyPtr family;
  uint64_t first_sequence = 0;
  uint64_t bytes = 0;
};

// A step from one bucket table to the next.
struct TableChange {
  struct Bucket {
    PartitionId partition = kDefaultPartition;
    TimestampMs start = 0;
    std::vector<uint32_t> replaced;  // Generations that go.
    std::optional<BucketTable::Generation> added;
    bool sealed = false;
  };
  std::vector<Bucket> buckets;
  uint64_t folded_below = 0;  // Hot families below this number go; 0 = none.
};

}  // namespace varve
