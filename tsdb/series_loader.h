// SPDX-License-Identifier: Apache-2.0
//
// Brings series back: into the head at once, so that the caller can go on with their state and
// their samples; into the index on a thread of its own, which takes about as long as all the rest
// of a restart.
#pragma once

#include <cstdint>
#include <deque>
#include <thread>
#include <vector>

#include "model/labels.h"
#include "model/mutex.h"
#include "tsdb/head.h"
#include "tsdb/series_index.h"

namespace varve {

// Used by one thread, which is the head's writer; `head` outlives the loader. Until Finish() nobody
// else uses the head's index.
class SeriesLoader {
 public:
  explicit SeriesLoader(Head& head);
  ~SeriesLoader();
  SeriesLoader(const SeriesLoader&) = delete;
  SeriesLoader& operator=(const SeriesLoader&) = delete;

  // REQUIRES (both): Finish() was not called.
  // A series with a row of `series`. REQUIRES: none of this id was added; ids rise.
  void AddSaved(uint64_t id, Labels labels);
  // A series that the log names; no effect if one of this id was added.
  void AddLogged(uint64_t id, Labels labels);
  // Returns once all series are in the index. Idempotent.
  void Finish() ABSL_LOCKS_EXCLUDED(mutex_);

  // Of the series with a row.
  const std::vector<uint64_t>& saved_ids() const { return saved_ids_; }

 private:
  using Group = std::vector<SeriesIndex::NewSeries>;

  void Add(uint64_t id, Labels labels) ABSL_LOCKS_EXCLUDED(mutex_);
  void Hand() ABSL_LOCKS_EXCLUDED(mutex_);
  void Run() ABSL_LOCKS_EXCLUDED(mutex_);

  Head& head_;
  // The caller's.
  Group group_;
  std::vector<uint64_t> saved_ids_;
  uint64_t highest_id_ = 0;

  Mutex mutex_;
  CondVar changed_;
  std::deque<Group> ready_ ABSL_GUARDED_BY(mutex_);
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace varve
