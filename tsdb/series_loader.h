// SPDX-License-Identifier: Apache-2.0
//
// Brings the rows of `series` back into the head. The caller reads and checks them; a thread of its
// own puts them into head and index meanwhile, which takes as long.
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

// Used by one thread, which is the head's writer; `head` outlives the loader.
class SeriesLoader {
 public:
  explicit SeriesLoader(Head& head);
  ~SeriesLoader();
  SeriesLoader(const SeriesLoader&) = delete;
  SeriesLoader& operator=(const SeriesLoader&) = delete;

  // REQUIRES: no series of this id was added, and Finish() was not called.
  void Add(uint64_t id, Labels labels);
  // Returns once all series are in the head. Idempotent.
  void Finish() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  using Group = std::vector<SeriesIndex::NewSeries>;

  void Hand() ABSL_LOCKS_EXCLUDED(mutex_);
  void Run() ABSL_LOCKS_EXCLUDED(mutex_);

  Head& head_;
  Group group_;  // The caller's.
  Mutex mutex_;
  CondVar changed_;
  std::deque<Group> ready_ ABSL_GUARDED_BY(mutex_);
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace varve
