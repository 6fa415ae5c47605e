// SPDX-License-Identifier: Apache-2.0
//
// prometheus_http_*: requests, durations and response sizes by handler.
#pragma once

#include <prometheus/counter.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <cstddef>
#include <string>

namespace varve {

// Thread-safe.
class ServerMetrics {
 public:
  explicit ServerMetrics(prometheus::Registry& registry);

  // `handler` is the route's pattern.
  void Observe(const std::string& handler, int status, double seconds, size_t bytes);

 private:
  prometheus::Family<prometheus::Counter>& requests_;
  prometheus::Family<prometheus::Histogram>& durations_;
  prometheus::Family<prometheus::Histogram>& sizes_;
};

}  // namespace varve
