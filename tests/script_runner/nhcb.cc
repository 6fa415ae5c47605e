// SPDX-License-Identifier: Apache-2.0
//
// Collects the parts of each histogram by time, then turns cumulative counts into buckets.
#include "tests/script_runner/nhcb.h"

#include <cmath>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "model/histogram_math.h"

namespace varve::script {
namespace {

struct Parts {
  std::map<double, double> cumulative;  // Count by upper bound.
  std::optional<double> count;
  double sum = 0;
};

std::optional<Histogram> Convert(const Parts& parts) {
  Histogram histogram;
  histogram.schema = kCustomBucketsSchema;
  histogram.sum = parts.sum;
  std::vector<double> counts;
  double previous = 0;
  for (const auto& [upper, count] : parts.cumulative) {
    if (count < previous) return std::nullopt;
    if (!std::isinf(upper)) histogram.custom_bounds.push_back(upper);
    counts.push_back(count - previous);
    previous = count;
  }
  const bool has_inf = !parts.cumulative.empty() && std::isinf(parts.cumulative.rbegin()->first);
  histogram.count = parts.count.value_or(previous);
  if (histogram.count < previous || (has_inf && histogram.count != previous)) return std::nullopt;
  if (!has_inf) counts.push_back(histogram.count - previous);
  histogram.positive.spans.push_back({0, static_cast<uint32_t>(counts.size())});
  histogram.positive.counts = std::move(counts);
  return CompactHistogram(histogram);
}

bool CutSuffix(std::string_view& name, std::string_view suffix) {
  if (name.size() <= suffix.size() || name.substr(name.size() - suffix.size()) != suffix) {
    return false;
  }
  name.remove_suffix(suffix.size());
  return true;
}

}  // namespace

void AddNativeForms(const std::vector<SeriesLine>& series, DurationMs step,
                    MemoryStorage& storage) {
  std::map<Labels, std::map<TimestampMs, Parts>> histograms;
  std::map<Labels, bool> has_buckets;
  for (const SeriesLine& line : series) {
    const std::string full_name(line.labels.Get(kMetricName));
    std::string_view name = full_name;
    const bool bucket = CutSuffix(name, "_bucket");
    const bool count = !bucket && CutSuffix(name, "_count");
    const bool sum = !bucket && !count && CutSuffix(name, "_sum");
    if (!bucket && !count && !sum) continue;
    const std::optional<double> upper = ParseFloat(line.labels.Get(kBucketLabel));
    if (bucket && !upper.has_value()) continue;
    LabelsBuilder builder(line.labels);
    builder.Set(kMetricName, name);
    builder.Delete(kBucketLabel);
    const Labels labels = builder.Build();
    has_buckets[labels] |= bucket;
    for (size_t i = 0; i < line.values.size(); ++i) {
      if (!line.values[i].value.has_value()) continue;
      Parts& parts = histograms[labels][static_cast<DurationMs>(i) * step];
      const double value = *line.values[i].value;
      if (bucket) {
        parts.cumulative[*upper] = value;
      } else if (count) {
        parts.count = value;
      } else {
        parts.sum = value;
      }
    }
  }
  for (const auto& [labels, by_time] : histograms) {
    if (!has_buckets[labels]) continue;
    for (const auto& [time, parts] : by_time) {
      if (const std::optional<Histogram> histogram = Convert(parts)) {
        storage.AddHistogram(labels, time, *histogram);
      }
    }
  }
}

}  // namespace varve::script
