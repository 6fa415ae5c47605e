// SPDX-License-Identifier: Apache-2.0
//
// What one query holds in memory, against its own limit and the budget of the process.
//
// The budget is asked for steps of kStepBytes, so that counting costs an addition.
#pragma once

#include <absl/status/status.h>

#include <atomic>
#include <cstdint>

#include "model/memory_budget.h"
#include "model/mutex.h"

namespace varve::promql {

// Thread-safe.
class QueryMemory {
 public:
  static constexpr uint64_t kStepBytes = 256 << 10;

  // `bytes_max` of 0 = only the budget, which outlives the query, sets a limit.
  QueryMemory(MemoryBudget& budget, uint64_t bytes_max) : budget_(budget), bytes_max_(bytes_max) {}
  ~QueryMemory() { budget_.Subtract(MemoryPart::kQueries, reserved_); }
  QueryMemory(const QueryMemory&) = delete;
  QueryMemory& operator=(const QueryMemory&) = delete;

  // kExecution past the query's limit, kUnavailable if the budget is spent. The bytes count in any
  // case: release them.
  absl::Status Hold(uint64_t bytes) {
    const uint64_t held = held_.fetch_add(bytes, std::memory_order_relaxed) + bytes;
    if (held > reserved_.load(std::memory_order_relaxed)) return Reserve(held);
    return absl::OkStatus();
  }
  // Only counts; for what has failed already.
  void Count(uint64_t bytes) { held_.fetch_add(bytes, std::memory_order_relaxed); }
  void Release(uint64_t bytes) { held_.fetch_sub(bytes, std::memory_order_relaxed); }

  uint64_t held() const { return held_.load(std::memory_order_relaxed); }
  // Most bytes held at one time, as far as the budget was asked: in steps.
  uint64_t peak() const { return reserved_.load(std::memory_order_relaxed); }

  // Hands over what is held now; the rest goes back to the budget. Nothing is held afterwards.
  MemoryCharge Keep() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  absl::Status Reserve(uint64_t held) ABSL_LOCKS_EXCLUDED(mutex_);

  MemoryBudget& budget_;
  const uint64_t bytes_max_;
  std::atomic<uint64_t> held_{0};
  std::atomic<uint64_t> reserved_{0};  // Charged to the budget; changes under mutex_.
  Mutex mutex_;
};

}  // namespace varve::promql
