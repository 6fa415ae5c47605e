// SPDX-License-Identifier: Apache-2.0
//
// Which series a label set as it arrives names: 128 bits of its hash to the series' ref.
//
// Senders repeat themselves: request after request holds the same series in the same order. Entries
// therefore lie in the order in which series were first seen, and a request looks at the one after
// the last it found before it asks the index: most look-ups read memory in sequence and take no
// lock. An entry knows how long its labels are, so that a message that begins with them need not be
// taken apart to find where they end.
#pragma once

#include <absl/container/flat_hash_set.h>
#include <absl/types/span.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>

#include "model/mutex.h"
#include "model/series_ref.h"

namespace varve {

// Series remembered at most, about 40 bytes each; then it starts over.
inline constexpr size_t kCachedSeriesMax = 2'000'000;

// Thread-safe.
class RefCache {
 private:
  struct Table;

 public:
  using Key = std::pair<uint64_t, uint64_t>;
  static Key KeyOf(std::string_view raw_labels);

  // A request's place. Not thread-safe; may outlive the cache.
  class Cursor {
   private:
    friend class RefCache;
    std::shared_ptr<Table> table_;
    uint32_t next_ = 0;
  };
  Cursor Begin() const ABSL_LOCKS_EXCLUDED(mutex_);

  // Of the labels that `message` begins with, if they are those expected next; else kNoSeries.
  // `label_bytes` is their length. What follows may belong to the labels too.
  static SeriesRef FindNext(Cursor& cursor, std::string_view message, size_t& label_bytes);

  // kNoSeries if it is not known.
  static SeriesRef Find(Cursor& cursor, const Key& key);

  struct Learned {
    Key key;
    size_t label_bytes = 0;
    SeriesRef ref = kNoSeries;
  };
  // Remembers the series of a request, in its order.
  void Insert(absl::Span<const Learned> learned) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  // Longer labels, and refs above 2^44, are not remembered.
  static constexpr unsigned kLengthBits = 20;
  struct Entry {
    Key key;
    std::atomic<uint64_t> ref_and_length = 0;

    SeriesRef ref() const {
      return SeriesRef{ref_and_length.load(std::memory_order_relaxed) >> kLengthBits};
    }
    size_t length() const {
      return ref_and_length.load(std::memory_order_relaxed) & ((size_t{1} << kLengthBits) - 1);
    }
  };
  // Entries are only added; those below `size` may be read without the lock.
  struct Table {
    static constexpr size_t kBlockEntries = 4096;
    struct KeyHash {
      using is_transparent = void;
      const Table* table;
      size_t operator()(const Key& key) const { return key.first; }
      size_t operator()(uint32_t index) const { return table->At(index).key.first; }
    };
    struct KeyEqual {
      using is_transparent = void;
      const Table* table;
      bool operator()(uint32_t a, uint32_t b) const { return a == b; }
      bool operator()(uint32_t index, const Key& key) const { return table->At(index).key == key; }
    };

    Entry& At(uint32_t index) const { return blocks[index / kBlockEntries][index % kBlockEntries]; }

    std::array<std::unique_ptr<Entry[]>, kCachedSeriesMax / kBlockEntries + 1> blocks;
    std::atomic<uint32_t> size = 0;
    Mutex mutex;
    absl::flat_hash_set<uint32_t, KeyHash, KeyEqual> index ABSL_GUARDED_BY(mutex){0, KeyHash{this},
                                                                                  KeyEqual{this}};
  };

  mutable Mutex mutex_;
  std::shared_ptr<Table> table_ ABSL_GUARDED_BY(mutex_) = std::make_shared<Table>();
};

}  // namespace varve
