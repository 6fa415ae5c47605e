// SPDX-License-Identifier: Apache-2.0
//
// Targets from discovered labels; URLs are written as Go's net/url writes them, since users compare
// and alert on them.
#include "scrape/target.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "model/clock.h"
#include "model/percent_encoding.h"
#include "model/relabel.h"
#include "model/status_macros.h"

namespace varve {
namespace {

constexpr uint64_t kFnvOffset = 14695981039346656037u;
constexpr uint64_t kFnvPrime = 1099511628211u;

constexpr DurationMs kSlotsMin = 10;  // In an interval.
constexpr DurationMs kSlotGridMax = kSecond;
constexpr size_t kSlotTargetsMax = 100;

uint64_t Fnv64a(std::string_view text, uint64_t hash = kFnvOffset) {
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * kFnvPrime;
  return hash;
}

std::string TargetUrl(const ScrapeConfig& config, const Labels& labels) {
  std::map<std::string, std::vector<std::string>> params;
  for (const auto& [name, values] : config.params) params[name] = values;
  for (const LabelView& label : labels) {
    if (!label.name.starts_with(kParamLabelPrefix)) continue;
    auto& values = params[std::string(label.name.substr(kParamLabelPrefix.size()))];
    if (values.empty()) values.emplace_back();
    values[0] = std::string(label.value);
  }
  std::string url = fmt::format("{}://{}", labels.Get(kSchemeLabel), labels.Get(kAddressLabel));
  const std::string_view path = labels.Get(kMetricsPathLabel);
  if (!path.starts_with('/')) url += '/';
  url += PercentEncoded(path, "/$&+,:;=@");
  char separator = '?';
  for (const auto& [name, values] : params) {
    for (const std::string& value : values) {
      url += separator;
      separator = '&';
      url += QueryEncoded(name);
      url += '=';
      url += QueryEncoded(value);
    }
  }
  return url;
}

absl::StatusOr<DurationMs> DurationLabel(const Labels& labels, std::string_view name,
                                         std::string_view what) {
  const absl::StatusOr<DurationMs> duration = ParseDuration(labels.Get(name));
  if (!duration.ok()) {
    return absl::InvalidArgumentError(
        fmt::format("error parsing scrape {}: {}", what, MessageOf(duration.status())));
  }
  if (*duration == 0) {
    return absl::InvalidArgumentError(fmt::format("scrape {} cannot be 0", what));
  }
  return duration;
}

constexpr std::string_view BoolText(bool value) { return value ? "true" : "false"; }

// As Go's strconv.ParseBool reads it; `fallback` if there is none.
absl::StatusOr<bool> BoolLabel(const Labels& labels, std::string_view name, bool fallback) {
  const std::string_view text = labels.Get(name);
  if (text.empty()) return fallback;
  for (const std::string_view yes : {"1", "t", "T", "true", "TRUE", "True"}) {
    if (text == yes) return true;
  }
  for (const std::string_view no : {"0", "f", "F", "false", "FALSE", "False"}) {
    if (text == no) return false;
  }
  return absl::InvalidArgumentError(fmt::format(
      "error parsing {}: strconv.ParseBool: parsing {}: invalid syntax", name, Quoted(text)));
}

}  // namespace

uint64_t Target::Hash() const { return Fnv64a(url, Fnv64a(fmt::format("{:016d}", labels.Hash()))); }

absl::Status CheckTargetAddress(std::string_view address) {
  if (address.find('/') == std::string_view::npos) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format("{} is not a valid hostname", Quoted(address)));
}

Labels DiscoveredLabels(const ScrapeConfig& config, const Labels& group, const Labels& target) {
  LabelsBuilder builder(group);
  for (const LabelView& label : target) builder.Set(label.name, label.value);
  const auto set_default = [&](std::string_view name, std::string_view value) {
    if (builder.Get(name).empty()) builder.Set(name, value);
  };
  set_default(kJobLabel, config.job_name);
  set_default(kScrapeIntervalLabel, FormatDuration(config.scrape_interval));
  set_default(kScrapeTimeoutLabel, FormatDuration(config.scrape_timeout));
  set_default(kMetricsPathLabel, config.metrics_path);
  set_default(kSchemeLabel, config.scheme);
  set_default(kNativeHistogramsLabel, BoolText(config.histograms.native));
  set_default(kConvertClassicLabel, BoolText(config.histograms.convert_classic));
  set_default(kAlwaysClassicLabel, BoolText(config.histograms.always_classic));
  for (const auto& [name, values] : config.params) {
    if (!values.empty()) set_default(fmt::format("{}{}", kParamLabelPrefix, name), values[0]);
  }
  return builder.Build();
}

absl::StatusOr<std::optional<Target>> MakeTarget(const ScrapeConfig& config,
                                                 const Labels& discovered) {
  LabelsBuilder builder(discovered);
  if (!Relabel(config.relabel_rules, builder)) return std::optional<Target>();
  const std::string address(builder.Get(kAddressLabel));
  if (address.empty()) return absl::InvalidArgumentError("no address");
  RETURN_IF_ERROR(CheckTargetAddress(address));

  if (builder.Get(kInstanceLabel).empty()) builder.Set(kInstanceLabel, address);
  std::vector<std::string> meta;
  std::vector<std::string> hidden;
  for (const auto& [name, value] : builder.pairs()) {
    if (!IsValidUtf8(value)) {
      return absl::InvalidArgumentError(
          fmt::format("invalid label value for {}: {}", Quoted(name), Quoted(value)));
    }
    if (name.starts_with(kMetaLabelPrefix)) meta.push_back(name);
    if (name.starts_with("__")) hidden.push_back(name);
  }
  Target target;
  target.discovered_labels = discovered;
  for (const std::string& name : meta) builder.Delete(name);
  target.labels = builder.Build();
  for (const std::string& name : hidden) builder.Delete(name);
  target.public_labels = builder.Build();

  ASSIGN_OR_RETURN(target.interval, DurationLabel(target.labels, kScrapeIntervalLabel, "interval"));
  ASSIGN_OR_RETURN(target.timeout, DurationLabel(target.labels, kScrapeTimeoutLabel, "timeout"));
  if (target.timeout > target.interval) {
    return absl::InvalidArgumentError(
        fmt::format("scrape timeout cannot be greater than scrape interval ({} > {})",
                    Quoted(target.labels.Get(kScrapeTimeoutLabel)),
                    Quoted(target.labels.Get(kScrapeIntervalLabel))));
  }
  const HistogramIngestion& defaults = config.histograms;
  HistogramIngestion& histograms = target.histograms;
  ASSIGN_OR_RETURN(histograms.native,
                   BoolLabel(target.labels, kNativeHistogramsLabel, defaults.native));
  ASSIGN_OR_RETURN(histograms.convert_classic,
                   BoolLabel(target.labels, kConvertClassicLabel, defaults.convert_classic));
  ASSIGN_OR_RETURN(histograms.always_classic,
                   BoolLabel(target.labels, kAlwaysClassicLabel, defaults.always_classic));
  target.unix_socket = std::string(target.labels.Get(kUnixSocketLabel));
  target.url = TargetUrl(config, target.labels);
  return std::optional<Target>(std::move(target));
}

uint64_t OffsetSeed(std::string_view hostname, const Labels& external_labels) {
  return Fnv64a(external_labels.ToString(), Fnv64a(hostname));
}

DurationMs SlotGrid(DurationMs interval, size_t targets) {
  DurationMs grid = std::clamp<DurationMs>(interval / kSlotsMin, 1, kSlotGridMax);
  while (grid > 1 && targets * grid > kSlotTargetsMax * interval) grid /= 2;
  return grid;
}

int64_t NextSlotNanos(int64_t now_nanos, DurationMs interval, DurationMs grid, uint64_t target_hash,
                      uint64_t seed) {
  const int64_t interval_nanos = interval * kNanosPerMs;
  const auto hashed =
      static_cast<int64_t>((target_hash ^ seed) % static_cast<uint64_t>(interval_nanos));
  const int64_t offset = hashed - hashed % (grid * kNanosPerMs);
  const int64_t base = now_nanos - now_nanos % interval_nanos;
  const int64_t slot = base + offset;
  return slot > now_nanos ? slot : slot + interval_nanos;
}

}  // namespace varve
