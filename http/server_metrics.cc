// SPDX-License-Identifier: Apache-2.0
//
// Names and buckets are Prometheus'.
#include "http/server_metrics.h"

namespace varve {

ServerMetrics::ServerMetrics(prometheus::Registry& registry)
    : requests_(prometheus::BuildCounter()
                    .Name("prometheus_http_requests_total")
                    .Help("Counter of HTTP requests.")
                    .Register(registry)),
      durations_(prometheus::BuildHistogram()
                     .Name("prometheus_http_request_duration_seconds")
                     .Help("Histogram of latencies for HTTP requests.")
                     .Register(registry)),
      sizes_(prometheus::BuildHistogram()
                 .Name("prometheus_http_response_size_bytes")
                 .Help("Histogram of response size for HTTP requests.")
                 .Register(registry)) {}

void ServerMetrics::Observe(const std::string& handler, int status, double seconds, size_t bytes) {
  static const prometheus::Histogram::BucketBoundaries kSeconds = {.1, .2, .4, 1,  3,
                                                                   8,  20, 60, 120};
  static const prometheus::Histogram::BucketBoundaries kBytes = {100, 1e3, 1e4, 1e5,
                                                                 1e6, 1e7, 1e8, 1e9};
  requests_.Add({{"code", std::to_string(status)}, {"handler", handler}}).Increment();
  durations_.Add({{"handler", handler}}, kSeconds).Observe(seconds);
  sizes_.Add({{"handler", handler}}, kBytes).Observe(static_cast<double>(bytes));
}

}  // namespace varve
