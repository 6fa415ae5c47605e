// SPDX-License-Identifier: Apache-2.0
//
// The memory budget of the process: who takes how much, and who must do without when it is spent.
//
// Parts say what they take; what the process really takes is read from the system now and then, and
// whichever is more counts. Between two readings it is assumed to grow and shrink with the parts.
// Over the limit, caches shrink and freed memory goes back to the system; if that is not enough,
// uses are refused in the order of MemoryUse: the more the limit is exceeded, the more of them.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "model/clock.h"
#include "model/mutex.h"

namespace varve {

enum class MemoryPart { kBlockCache, kWriteBuffers, kDecodedCaches, kHead, kFolding, kQueries };
inline constexpr size_t kMemoryParts = 6;
// "block_cache", "write_buffers", ...
std::string_view MemoryPartText(MemoryPart part);

// What may be refused, what goes first first.
enum class MemoryUse { kQuery, kNewSeries, kKnownSeries };
inline constexpr size_t kMemoryUses = 3;
// "query", "new_series", "known_series".
std::string_view MemoryUseText(MemoryUse use);

// Thread-safe. Adding is one atomic addition; figures may be a moment old.
class MemoryBudget {
 public:
  struct Options {
    uint64_t limit = 0;  // Bytes; 0 = none: everything is counted, nothing refused.
    // Bytes the process takes, 0 if unknown. Empty = only the parts count.
    std::function<uint64_t()> resident;
    // Has the allocator give freed memory back to the system. May be empty.
    std::function<void()> release_freed;
    Clock* clock = &RealClock();  // Outlives the budget.
  };
  // A limit by itself: only the parts count.
  explicit MemoryBudget(uint64_t limit = 0) : MemoryBudget(Options{.limit = limit}) {}
  explicit MemoryBudget(Options options);
  MemoryBudget(const MemoryBudget&) = delete;
  MemoryBudget& operator=(const MemoryBudget&) = delete;

  uint64_t limit() const { return options_.limit; }

  void Add(MemoryPart part, uint64_t bytes) {
    parts_[Index(part)].fetch_add(bytes, std::memory_order_relaxed);
  }
  // REQUIRES: they were added.
  void Subtract(MemoryPart part, uint64_t bytes) {
    parts_[Index(part)].fetch_sub(bytes, std::memory_order_relaxed);
  }
  // For parts that are measured, not counted.
  void Set(MemoryPart part, uint64_t bytes) {
    parts_[Index(part)].store(bytes, std::memory_order_relaxed);
  }
  uint64_t Of(MemoryPart part) const { return parts_[Index(part)].load(std::memory_order_relaxed); }
  // The sum of the parts, and what counts against the limit.
  uint64_t accounted() const;
  uint64_t used() const;
  // The last reading of the process; 0 if there is none.
  uint64_t resident() const { return resident_.load(std::memory_order_relaxed); }

  // Adds bytes of queries if the limit allows it, making room first if need be. On failure nothing
  // is added, and the refusal is counted.
  bool ChargeQuery(uint64_t bytes) ABSL_LOCKS_EXCLUDED(mutex_);
  // Whether the use is to go on; counts the refusal if not.
  bool Allows(MemoryUse use);
  uint64_t refused(MemoryUse use) const {
    return refused_[static_cast<size_t>(use)].load(std::memory_order_relaxed);
  }
  // How often caches shrank.
  uint64_t shrinks() const { return shrinks_.load(std::memory_order_relaxed); }

  // Reads what the process takes, makes room if that is too much, and lets caches grow again once
  // there is room. To be called every second or so.
  void Refresh() ABSL_LOCKS_EXCLUDED(mutex_);

  // Called with true to have caches give up what they can, with false when they may fill again.
  // Called by any thread that uses the budget, but for Add(), Subtract(), Set() and Allows(), one
  // call at a time; must not use the budget but for these.
  using Shrink = std::function<void(bool shrink)>;
  // No call is on its way or made any more once the registration is destroyed; the budget outlives
  // it.
  class Registration {
   public:
    Registration(MemoryBudget& budget, uint64_t id) : budget_(budget), id_(id) {}
    ~Registration() { budget_.Unregister(id_); }
    Registration(const Registration&) = delete;
    Registration& operator=(const Registration&) = delete;

   private:
    MemoryBudget& budget_;
    const uint64_t id_;
  };
  [[nodiscard]] std::unique_ptr<Registration> OnShortage(Shrink shrink) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  static size_t Index(MemoryPart part) { return static_cast<size_t>(part); }
  // The use is refused above this.
  uint64_t LimitOf(MemoryUse use) const;
  // Adds unless that goes past the limit. Bytes about to be added must not count in a reading of
  // the process, which does not have them yet.
  bool TryAddQuery(uint64_t bytes);
  void ReadResident() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void MakeRoom() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // What the process has and no part says it takes, at the last reading: freed memory among it.
  uint64_t Unaccounted() const;
  void Unregister(uint64_t id) ABSL_LOCKS_EXCLUDED(mutex_);

  const Options options_;
  std::array<std::atomic<uint64_t>, kMemoryParts> parts_{};
  std::array<std::atomic<uint64_t>, kMemoryUses> refused_{};
  std::atomic<uint64_t> shrinks_{0};
  std::atomic<uint64_t> resident_{0};
  std::atomic<uint64_t> accounted_then_{0};  // When resident_ was read.
  std::atomic<int64_t> read_nanos_{0};

  Mutex mutex_;
  bool shrunk_ ABSL_GUARDED_BY(mutex_) = false;
  int64_t released_nanos_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t unaccounted_released_ ABSL_GUARDED_BY(mutex_) = 0;  // Unaccounted() after releasing.
  uint64_t last_id_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<std::pair<uint64_t, Shrink>> shrinks_called_ ABSL_GUARDED_BY(mutex_);
};

// Bytes of queries that are subtracted when it goes. Moves, does not copy.
class MemoryCharge {
 public:
  MemoryCharge() = default;
  // Takes over `bytes` that were charged.
  MemoryCharge(MemoryBudget& budget, uint64_t bytes) : budget_(&budget), bytes_(bytes) {}
  ~MemoryCharge() { Clear(); }
  MemoryCharge(MemoryCharge&& other) noexcept
      : budget_(std::exchange(other.budget_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  MemoryCharge& operator=(MemoryCharge&& other) noexcept {
    if (this == &other) return *this;
    Clear();
    budget_ = std::exchange(other.budget_, nullptr);
    bytes_ = std::exchange(other.bytes_, 0);
    return *this;
  }

  uint64_t bytes() const { return bytes_; }

 private:
  void Clear() {
    if (bytes_ > 0) budget_->Subtract(MemoryPart::kQueries, std::exchange(bytes_, 0));
  }

  MemoryBudget* budget_ = nullptr;
  uint64_t bytes_ = 0;
};

}  // namespace varve
