// SPDX-License-Identifier: Apache-2.0
//
// What all pools and targets of one manager share.
#pragma once

#include <atomic>
#include <cstdint>

#include "model/appendable.h"
#include "model/clock.h"
#include "net/client.h"
#include "scrape/finished_scrapes.h"
#include "scrape/metadata_store.h"
#include "scrape/metrics.h"
#include "scrape/worker_pool.h"

namespace varve {

// Held by shared_ptr: callbacks of the event loop may run after the manager is gone, and then find
// the workers stopped. The referenced objects outlive the workers.
struct ScrapeContext {
  ScrapeContext(Clock& clock, HttpClient& http, Appendable& storage, prometheus::Registry& registry,
                uint32_t threads)
      : clock(clock), http(http), storage(storage), metrics(registry), workers(threads) {}

  Clock& clock;
  HttpClient& http;
  Appendable& storage;
  ScrapeMetrics metrics;
  MetadataPool metadata;
  bool adjust_timestamps = true;
  DurationMs timestamp_tolerance = 2;
  uint64_t unlimited_samples_max = 0;
  DurationMs discovery_reload_interval = 5 * kSecond;
  TimestampMs start_time = 0;
  std::atomic<uint64_t> offset_seed{0};
  std::atomic<size_t> targets{0};  // Of all pools.
  FinishedScrapes finished;
  ScrapeWorkers workers;  // Last: its threads use the others.
};

}  // namespace varve
