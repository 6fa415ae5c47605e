// SPDX-License-Identifier: Apache-2.0
//
// Asking the budget, and how a refusal reads.
#include "promql/query_memory.h"

#include <fmt/format.h>

#include <algorithm>

#include "promql/engine.h"

namespace varve::promql {

absl::Status QueryMemory::Reserve(uint64_t held) {
  MutexLock lock(mutex_);
  const uint64_t reserved = reserved_.load(std::memory_order_relaxed);
  if (held <= reserved) return absl::OkStatus();
  if (bytes_max_ > 0 && held > bytes_max_) {
    return QueryError(
        QueryErrorType::kExecution,
        fmt::format("query processing would take more than {} bytes of memory", bytes_max_));
  }
  const uint64_t wanted = (held + kStepBytes - 1) / kStepBytes * kStepBytes;
  if (!budget_.ChargeQuery(wanted - reserved)) {
    return QueryError(
        QueryErrorType::kUnavailable,
        fmt::format("the memory limit of {} bytes is reached: queries are refused for now",
                    budget_.limit()));
  }
  reserved_.store(wanted, std::memory_order_relaxed);
  return absl::OkStatus();
}

MemoryCharge QueryMemory::Keep() {
  MutexLock lock(mutex_);
  const uint64_t reserved = reserved_.exchange(0, std::memory_order_relaxed);
  const uint64_t kept = std::min(held_.exchange(0, std::memory_order_relaxed), reserved);
  budget_.Subtract(MemoryPart::kQueries, reserved - kept);
  return {budget_, kept};
}

}  // namespace varve::promql
