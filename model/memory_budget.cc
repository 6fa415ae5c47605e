// SPDX-License-Identifier: Apache-2.0
//
// Comparing what is taken with the limit.
#include "model/memory_budget.h"

#include <algorithm>

namespace varve {
namespace {

// A reading of the process this old is not asked to decide whether a query may go on.
constexpr int64_t kReadingNanosMax = 100 * kNanosPerMs;
// Giving memory back walks all the allocator has: not more often than this, unless a good part of
// the limit was freed since.
constexpr int64_t kReleaseNanos = 500 * kNanosPerMs;
constexpr uint64_t kReleaseFraction = 16;

}  // namespace

std::string_view MemoryPartText(MemoryPart part) {
  constexpr std::array<std::string_view, kMemoryParts> kTexts = {
      "block_cache", "write_buffers", "decoded_caches", "head", "folding", "queries"};
  return kTexts[static_cast<size_t>(part)];
}

std::string_view MemoryUseText(MemoryUse use) {
  constexpr std::array<std::string_view, kMemoryUses> kTexts = {"query", "new_series",
                                                                "known_series"};
  return kTexts[static_cast<size_t>(use)];
}

MemoryBudget::MemoryBudget(Options options) : options_(std::move(options)) {
  MutexLock lock(mutex_);
  ReadResident();
}

uint64_t MemoryBudget::accounted() const {
  uint64_t sum = 0;
  for (const std::atomic<uint64_t>& part : parts_) sum += part.load(std::memory_order_relaxed);
  return sum;
}

uint64_t MemoryBudget::used() const {
  const uint64_t now = accounted();
  const uint64_t resident = resident_.load(std::memory_order_relaxed);
  const uint64_t then = accounted_then_.load(std::memory_order_relaxed);
  // Subtracting first could go below zero.
  const uint64_t grown = resident + now;
  return std::max(now, grown > then ? grown - then : 0);
}

uint64_t MemoryBudget::LimitOf(MemoryUse use) const {
  switch (use) {
    case MemoryUse::kQuery:
      break;
    case MemoryUse::kNewSeries:
      return options_.limit + options_.limit / 10;
    case MemoryUse::kKnownSeries:
      return options_.limit + options_.limit / 4;
  }
  return options_.limit;
}

bool MemoryBudget::Allows(MemoryUse use) {
  if (options_.limit == 0) return true;
  // Parts that are measured change before the process is read again: not a growth of the process.
  // What queries have given back since then it no longer has.
  uint64_t taken = std::min(std::max(accounted(), resident()), used());
  // Queries end and can be asked again, samples that are refused are lost for good.
  if (use == MemoryUse::kKnownSeries) taken -= std::min(taken, Of(MemoryPart::kQueries));
  if (taken <= LimitOf(use)) return true;
  refused_[static_cast<size_t>(use)].fetch_add(1, std::memory_order_relaxed);
  return false;
}

bool MemoryBudget::TryAddQuery(uint64_t bytes) {
  Add(MemoryPart::kQueries, bytes);
  if (used() <= options_.limit) return true;
  Subtract(MemoryPart::kQueries, bytes);
  return false;
}

bool MemoryBudget::ChargeQuery(uint64_t bytes) {
  if (options_.limit == 0) {
    Add(MemoryPart::kQueries, bytes);
    return true;
  }
  const bool fresh = !options_.resident || options_.clock->MonotonicNanos() -
                                                   read_nanos_.load(std::memory_order_relaxed) <=
                                               kReadingNanosMax;
  if (fresh && TryAddQuery(bytes)) return true;
  MutexLock lock(mutex_);
  ReadResident();
  if (TryAddQuery(bytes)) return true;
  MakeRoom();
  if (TryAddQuery(bytes)) return true;
  refused_[static_cast<size_t>(MemoryUse::kQuery)].fetch_add(1, std::memory_order_relaxed);
  return false;
}

void MemoryBudget::ReadResident() {
  if (!options_.resident) return;
  const uint64_t accounted_now = accounted();
  resident_.store(options_.resident(), std::memory_order_relaxed);
  accounted_then_.store(accounted_now, std::memory_order_relaxed);
  read_nanos_.store(options_.clock->MonotonicNanos(), std::memory_order_relaxed);
}

uint64_t MemoryBudget::Unaccounted() const {
  const uint64_t resident = resident_.load(std::memory_order_relaxed);
  const uint64_t then = accounted_then_.load(std::memory_order_relaxed);
  return resident > then ? resident - then : 0;
}

void MemoryBudget::MakeRoom() {
  if (!std::exchange(shrunk_, true)) {
    shrinks_.fetch_add(1, std::memory_order_relaxed);
    for (const auto& [id, shrink] : shrinks_called_) shrink(true);
  } else if (options_.clock->MonotonicNanos() - released_nanos_ < kReleaseNanos &&
             Unaccounted() <= unaccounted_released_ + options_.limit / kReleaseFraction) {
    return;
  }
  if (options_.release_freed) options_.release_freed();
  released_nanos_ = options_.clock->MonotonicNanos();
  ReadResident();
  unaccounted_released_ = Unaccounted();
}

void MemoryBudget::Refresh() {
  MutexLock lock(mutex_);
  ReadResident();
  if (options_.limit == 0) return;
  if (used() > options_.limit) return MakeRoom();
  if (shrunk_ && used() < options_.limit / 4 * 3) {
    shrunk_ = false;
    for (const auto& [id, shrink] : shrinks_called_) shrink(false);
  }
}

std::unique_ptr<MemoryBudget::Registration> MemoryBudget::OnShortage(Shrink shrink) {
  MutexLock lock(mutex_);
  shrinks_called_.emplace_back(++last_id_, std::move(shrink));
  return std::make_unique<Registration>(*this, last_id_);
}

void MemoryBudget::Unregister(uint64_t id) {
  MutexLock lock(mutex_);
  std::erase_if(shrinks_called_, [id](const auto& entry) { return entry.first == id; });
}

}  // namespace varve
