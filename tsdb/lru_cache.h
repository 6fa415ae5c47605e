// SPDX-License-Identifier: Apache-2.0
//
// A cache of immutable values by text, within a bound of bytes: the least recently used go first.
#pragma once

#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "model/mutex.h"
#include "model/string_map.h"

namespace varve {

// Thread-safe.
template <typename Value>
class LruCache {
 public:
  using Ptr = std::shared_ptr<const Value>;

  explicit LruCache(uint64_t bytes_max) : bytes_max_(bytes_max) {}

  // Null if it is not there.
  Ptr Find(std::string_view key) ABSL_LOCKS_EXCLUDED(mutex_) {
    MutexLock lock(mutex_);
    const auto it = by_key_.find(key);
    if (it == by_key_.end()) return nullptr;
    entries_.splice(entries_.begin(), entries_, it->second);
    return it->second->value;
  }

  // `bytes` is what the value takes. One that would push out most others is not kept.
  void Add(std::string_view key, Ptr value, uint64_t bytes) ABSL_LOCKS_EXCLUDED(mutex_) {
    bytes += 2 * key.size() + sizeof(Entry);
    if (bytes > bytes_max_.load(std::memory_order_relaxed) / 4) return;
    MutexLock lock(mutex_);
    if (by_key_.contains(key)) return;
    entries_.push_front({std::string(key), std::move(value), bytes});
    by_key_.emplace(std::string(key), entries_.begin());
    bytes_ += bytes;
    Trim();
  }

  // Drops what is too much already.
  void SetBytesMax(uint64_t bytes_max) ABSL_LOCKS_EXCLUDED(mutex_) {
    bytes_max_.store(bytes_max, std::memory_order_relaxed);
    MutexLock lock(mutex_);
    Trim();
  }

  uint64_t bytes() const ABSL_LOCKS_EXCLUDED(mutex_) {
    MutexLock lock(mutex_);
    return bytes_;
  }

 private:
  struct Entry {
    std::string key;
    Ptr value;
    uint64_t bytes = 0;
  };

  void Trim() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    while (bytes_ > bytes_max_.load(std::memory_order_relaxed)) {
      bytes_ -= entries_.back().bytes;
      by_key_.erase(entries_.back().key);
      entries_.pop_back();
    }
  }

  std::atomic<uint64_t> bytes_max_;
  mutable Mutex mutex_;
  std::list<Entry> entries_ ABSL_GUARDED_BY(mutex_);  // The most recently used first.
  StringMap<typename std::list<Entry>::iterator> by_key_ ABSL_GUARDED_BY(mutex_);
  uint64_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace varve
