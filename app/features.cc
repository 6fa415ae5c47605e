// SPDX-License-Identifier: Apache-2.0
//
// By name, as Prometheus calls them.
#include "app/features.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <string>

#include "model/log_line.h"

namespace varve {
namespace {

constexpr std::string_view kUsed[] = {
    "auto-reload-config",
    "created-timestamp-zero-ingestion",
    "extra-scrape-metrics",
    "promql-binop-fill-modifiers",
    "promql-delayed-name-removal",
    "promql-experimental-functions",
    "promql-extended-range-selectors",
    "promql-per-step-stats",
    "st-storage",
    "type-and-unit-labels",
    "use-start-timestamps",
};
constexpr std::string_view kWithoutEffect[] = {
    "concurrent-rule-eval",
    "delayed-compaction",
    "exemplar-storage",
    "fast-startup",
    "histograms-st-encoding",
    "memory-snapshot-on-shutdown",
    "metadata-wal-records",
    "native-histograms",
    "old-ui",
    "ooo-native-histograms",
    "otlp-deltatocumulative",
    "otlp-native-delta-ingestion",
    "promql-duration-expr",
    "search-api",
    "st-synthesis",
    "use-uncached-io",
    "xor2-encoding",
};

}  // namespace

FeatureKind FeatureKindOf(std::string_view name) {
  const auto is = [name](std::string_view known) { return known == name; };
  if (std::any_of(std::begin(kUsed), std::end(kUsed), is)) return FeatureKind::kUsed;
  return std::any_of(std::begin(kWithoutEffect), std::end(kWithoutEffect), is)
             ? FeatureKind::kWithoutEffect
             : FeatureKind::kUnknown;
}

void LogFeatures(const Flags& flags) {
  for (const std::string& name : flags.features) {
    switch (FeatureKindOf(name)) {
      case FeatureKind::kUsed:
        spdlog::info(LogLine("Feature enabled", {{"option", name}}));
        break;
      case FeatureKind::kWithoutEffect:
        spdlog::warn(
            LogLine("This option for --enable-feature has no effect in Varve", {{"option", name}}));
        break;
      case FeatureKind::kUnknown:
        spdlog::warn(LogLine("Unknown option for --enable-feature", {{"option", name}}));
        break;
    }
  }
}

bool StoresStartTimes(const Flags& flags) { return flags.HasFeature("st-storage"); }

bool StartsWithZeros(const Flags& flags) {
  return flags.HasFeature("created-timestamp-zero-ingestion");
}

ConfigOptions ConfigOptionsOf(const Flags& flags) {
  return {.start_times = StoresStartTimes(flags) || StartsWithZeros(flags),
          .type_and_unit_labels = flags.HasFeature("type-and-unit-labels"),
          .extra_scrape_metrics = flags.HasFeature("extra-scrape-metrics")};
}

promql::EngineFeatures FeaturesOf(const Flags& flags) {
  return {
      .experimental_functions = flags.HasFeature("promql-experimental-functions"),
      .extended_range_selectors = flags.HasFeature("promql-extended-range-selectors"),
      .binop_fill_modifiers = flags.HasFeature("promql-binop-fill-modifiers"),
      .delayed_name_removal = flags.HasFeature("promql-delayed-name-removal"),
      .use_start_timestamps = flags.HasFeature("use-start-timestamps"),
      .type_and_unit_labels = flags.HasFeature("type-and-unit-labels"),
      .per_step_stats = flags.HasFeature("promql-per-step-stats"),
  };
}

promql::ParserOptions ParserOptionsOf(const Flags& flags) {
  const promql::EngineFeatures features = FeaturesOf(flags);
  return {.experimental_functions = features.experimental_functions,
          .fill_modifiers = features.binop_fill_modifiers,
          .extended_range_selectors = features.extended_range_selectors};
}

}  // namespace varve
