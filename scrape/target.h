// SPDX-License-Identifier: Apache-2.0
//
// One target: what discovery said of it, what relabelling made of that, and when and where it is to
// be scraped.
#pragma once

#include <absl/status/statusor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "model/labels.h"
#include "model/time.h"
#include "scrape/config.h"

namespace varve {

// Labels with a meaning before and during relabelling.
inline constexpr std::string_view kAddressLabel = "__address__";
inline constexpr std::string_view kSchemeLabel = "__scheme__";
inline constexpr std::string_view kMetricsPathLabel = "__metrics_path__";
inline constexpr std::string_view kScrapeIntervalLabel = "__scrape_interval__";
inline constexpr std::string_view kScrapeTimeoutLabel = "__scrape_timeout__";
inline constexpr std::string_view kParamLabelPrefix = "__param_";
inline constexpr std::string_view kMetaLabelPrefix = "__meta_";
inline constexpr std::string_view kNativeHistogramsLabel = "__scrape_native_histograms__";
inline constexpr std::string_view kConvertClassicLabel = "__convert_classic_histograms_to_nhcb__";
inline constexpr std::string_view kAlwaysClassicLabel = "__always_scrape_classic_histograms__";
inline constexpr std::string_view kUnixSocketLabel = "__unix_socket__";
inline constexpr std::string_view kJobLabel = "job";
inline constexpr std::string_view kInstanceLabel = "instance";

struct Target {
  Labels discovered_labels;
  Labels labels;         // After relabelling, with the `__` labels that are not `__meta_`.
  Labels public_labels;  // Those samples get.
  std::string url;
  std::string unix_socket;
  DurationMs interval = 0;
  DurationMs timeout = 0;
  HistogramIngestion histograms;

  // Names the target: labels and URL. The same in every process, as its slot depends on it.
  uint64_t Hash() const;
};

// The labels relabelling starts from: those of discovery, `target` winning over `group`, and the
// defaults of `config` for what they leave out.
Labels DiscoveredLabels(const ScrapeConfig& config, const Labels& group, const Labels& target);

// Relabels. Nothing if the rules drop the target; InvalidArgument, in Prometheus' words, if what is
// left is no target.
absl::StatusOr<std::optional<Target>> MakeTarget(const ScrapeConfig& config,
                                                 const Labels& discovered);

// `"a/b" is not a valid hostname` for an address with a slash.
absl::Status CheckTargetAddress(std::string_view address);

// What spreads the slots of several servers that scrape the same targets.
uint64_t OffsetSeed(std::string_view hostname, const Labels& external_labels);

// The first slot after `now_nanos` (Unix time): slots are an interval apart and begin at an offset
// that depends on target and seed, a multiple of `grid`.
int64_t NextSlotNanos(int64_t now_nanos, DurationMs interval, DurationMs grid, uint64_t target_hash,
                      uint64_t seed);
// Targets whose slots coincide are scraped together, which costs less than waking up for each. The
// grid for that: the coarsest with no more than about a hundred of `targets` in a slot, so that
// none is late, but at most a tenth of the interval and a second.
DurationMs SlotGrid(DurationMs interval, size_t targets);

}  // namespace varve
