// SPDX-License-Identifier: Apache-2.0
//
// A scrape on demand: a target's answer now, and the samples it would become, without storing any.
#pragma once

#include <absl/status/statusor.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/histogram.h"
#include "model/labels.h"
#include "model/time.h"
#include "net/client.h"
#include "scrape/body_appender.h"
#include "scrape/config.h"
#include "scrape/exposition.h"
#include "scrape/target.h"

namespace varve {

struct PreviewSample {
  Labels labels;
  TimestampMs time = 0;
  double value = 0;
  std::optional<Histogram> histogram;  // Instead of `value`.
};

struct ScrapePreview {
  std::string error;  // Why the scrape would fail; empty if it would not.
  double seconds = 0;
  int64_t body_bytes = 0;
  std::string content_type;
  AppendCounts counts;
  std::vector<PreviewSample> samples;  // Those read before an error, too.
  bool truncated = false;              // There are more samples.
};

// What a scrape with this answer at `time` would store, at most `samples_max` samples of it.
ScrapePreview PreviewScrape(const ScrapeConfig& config, const Target& target,
                            const absl::StatusOr<ClientResponse>& response, TimestampMs time,
                            size_t samples_max);

}  // namespace varve
