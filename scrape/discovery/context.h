// SPDX-License-Identifier: Apache-2.0
//
// What the discoveries of one process share.
#pragma once

#include <prometheus/registry.h>

#include "model/clock.h"
#include "net/client.h"
#include "scrape/discovery/health.h"
#include "scrape/worker_pool.h"

namespace varve {

// Held by shared_ptr: callbacks of the event loop may run after the discoveries are gone, and then
// find the worker stopped.
struct DiscoveryContext {
  DiscoveryContext(Clock& clock, HttpClient& http, prometheus::Registry& registry)
      : clock(clock), http(http), healths(registry, clock) {}

  Clock& clock;
  HttpClient& http;
  DiscoveryHealths healths;
  // Reads answers and files: they may be large, and scrapes do not wait for them.
  ScrapeWorkers workers{1};
};

}  // namespace varve
