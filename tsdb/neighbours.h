// SPDX-License-Identifier: Apache-2.0
//
// Reading series together whose ids lie side by side. A selection is read in the order of labels,
// which jumps between the targets that series come from, while storage has them by id: looking up
// each by itself costs more than what is found. So the first of some neighbours to be read has what
// memory and storage hold of all of them copied, in one pass, and the others find it here.
#pragma once

#include <absl/types/span.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "model/mutex.h"
#include "model/queryable.h"
#include "tsdb/engine.h"
#include "tsdb/read_set.h"

namespace varve {

// What memory and storage hold of some neighbours in a range of times.
struct NeighbourCopies {
  NeighbourCopies() = default;
  ~NeighbourCopies();
  NeighbourCopies(const NeighbourCopies&) = delete;
  NeighbourCopies& operator=(const NeighbourCopies&) = delete;

  TimestampMs min = 0;
  TimestampMs max = 0;
  // Of each that is in memory, if no more is wanted.
  std::vector<NewestSample> newest;
  // Each one's place in `open` and `stored`; kNowhere if what comes before seemed to be enough, or
  // it is not in memory.
  static constexpr uint8_t kNowhere = UINT8_MAX;
  std::vector<uint8_t> open_place;
  std::vector<OpenSamples> open;
  std::vector<uint8_t> stored_place;
  StoredCopies stored;
  CopiedBytes* counted = nullptr;  // Where `bytes` are counted; outlives the copies.
  uint64_t bytes = 0;
};

// The series of a selection by id. Thread-safe.
class Neighbours {
 public:
  // Read together at most: so many that looking them up is cheap for each, so few that whoever
  // reads them first is soon done, and that of one that reaches far little is kept.
  static constexpr size_t kTogether = 32;
  static_assert(kTogether <= NeighbourCopies::kNowhere);
  // Bytes of one copy: so many while there are few, so many always.
  static constexpr uint64_t kCopiesBytesMax = 1 << 20;
  static constexpr uint64_t kSmallBytesMax = 128 << 10;

  // The first `in_memory` of `ids` are in memory, the others not; each part rises. With
  // `last_times` of those in memory, only the newest sample up to there is wanted of each. `engine`
  // and `set` outlive the object and what it gives.
  Neighbours(const Engine& engine, const ReadSet& set, std::vector<uint64_t> ids, size_t in_memory,
             std::optional<std::vector<TimestampMs>> last_times);

  // What was copied for series `index` of `ids`, which is place Place(index) in it, and others.
  // Null if it is better read by itself: it has no neighbours, another thread is copying them,
  // there is no room, or all of them were asked for already. Once for each series.
  std::shared_ptr<const NeighbourCopies> Take(size_t index, TimestampMs min, TimestampMs max,
                                              ReadCost& cost);
  size_t Place(size_t index) const;

 private:
  struct Group {
    size_t begin = 0;  // In ids_.
    size_t end = 0;
    size_t asked = 0;  // Members that were asked for.
    bool began = false;
    std::shared_ptr<const NeighbourCopies> copies;
  };

  size_t GroupOf(size_t index) const;
  std::shared_ptr<const NeighbourCopies> Copy(size_t begin, size_t end, TimestampMs min,
                                              TimestampMs max) const;
  std::vector<NewestSample> CopyNewest(size_t begin, size_t end, TimestampMs min,
                                       TimestampMs max) const;

  const Engine& engine_;
  const ReadSet& set_;
  const std::vector<uint64_t> ids_;
  const size_t in_memory_;
  const size_t groups_in_memory_;
  const std::optional<std::vector<TimestampMs>> last_times_;

  Mutex mutex_;
  std::vector<Group> groups_ ABSL_GUARDED_BY(mutex_);
};

// Whether `open` has all samples of a series from `needed_from` on: nothing that is stored is newer
// than `min` but older than what memory holds.
bool IsAllOpen(const OpenSamples& open, TimestampMs needed_from, TimestampMs min);

}  // namespace varve
