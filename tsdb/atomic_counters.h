// SPDX-License-Identifier: Apache-2.0
//
// What the storage counts about itself.
#pragma once

#include <atomic>
#include <cstdint>

#include "model/appendable.h"
#include "tsdb/damage.h"

namespace varve {

// Counters several threads raise.
struct AtomicCounters {
  std::atomic<uint64_t> floats = 0;
  std::atomic<uint64_t> histograms = 0;
  std::atomic<uint64_t> series_created = 0;
  std::atomic<uint64_t> series_removed = 0;
  std::atomic<uint64_t> out_of_order = 0;
  std::atomic<uint64_t> too_old = 0;
  std::atomic<uint64_t> out_of_bounds = 0;
  std::atomic<uint64_t> duplicates = 0;
  DamageLog damage;
  std::atomic<uint64_t> unknown_series_samples = 0;
  std::atomic<uint64_t> metadata_refused = 0;
  std::atomic<uint64_t> metadata_cut = 0;
  std::atomic<uint64_t> failed_commits = 0;
  std::atomic<uint64_t> families_expired = 0;
  std::atomic<uint64_t> size_expired = 0;
  std::atomic<uint64_t> active_appenders = 0;

  void CountRefused(AppendError error);
};

}  // namespace varve
