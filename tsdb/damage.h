// SPDX-License-Identifier: Apache-2.0
//
// Damage to stored data: naming and counting it, and getting past it.
#pragma once

#include <absl/container/flat_hash_set.h>
#include <absl/status/status.h>
#include <rocksdb/iterator.h>

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include "model/annotations.h"
#include "model/mutex.h"

namespace varve {

// Names in the log what could not be read, and counts it. Thread-safe.
class DamageLog {
 public:
  // `part` is the kind of data: "log", "columns", ...
  void Note(std::string_view part, std::string_view what);
  // The same, but for what has been noted so before: readers meet the same damage again and again.
  void NoteOnce(std::string_view part, std::string_view what) ABSL_LOCKS_EXCLUDED(mutex_);
  uint64_t count() const { return count_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> count_ = 0;
  Mutex mutex_;
  absl::flat_hash_set<std::string> noted_ ABSL_GUARDED_BY(mutex_);
};

// What one query could not read. Thread-safe.
class ReadDamage {
 public:
  // What is noted in `log` too. It outlives this.
  explicit ReadDamage(DamageLog& log) : log_(log) {}

  // `what` says where and why: `samples of up{job="a"} from ... to ...: block checksum mismatch`.
  void Note(std::string_view part, std::string_view what) ABSL_LOCKS_EXCLUDED(mutex_);
  Annotations Warnings() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  DamageLog& log_;
  mutable Mutex mutex_;
  Annotations warnings_ ABSL_GUARDED_BY(mutex_);
};

// Call this before `it`, which met damage, is moved elsewhere: RocksDB's iterators may take the
// damaged block for the one they were in before, and report its damage there.
void ForgetBlock(rocksdb::Iterator& it);

// After `it` met a block that cannot be read: moves it to the first key behind `from` that can.
// `from` is the key it was seeking or stood on last. Returns false if there is nothing more to
// read; the iterator's status then says whether that is because of an error of another kind.
bool SeekPastDamage(rocksdb::Iterator& it, std::string_view from);

}  // namespace varve
