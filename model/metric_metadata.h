// SPDX-License-Identifier: Apache-2.0
//
// What is said of a metric: type, help, unit.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace varve {

enum class MetricType : uint8_t {
  kUnknown,
  kCounter,
  kGauge,
  kHistogram,
  kGaugeHistogram,
  kSummary,
  kInfo,
  kStateset,
};
// "counter", "gauge", ... ("unknown" for kUnknown).
std::string_view MetricTypeText(MetricType type);

struct MetricMetadata {
  MetricType type = MetricType::kUnknown;
  std::string help;
  std::string unit;
  friend bool operator==(const MetricMetadata&, const MetricMetadata&) = default;
};

// What is said of a metric. Series of a histogram or summary have its name and a suffix.
struct MetricFamily {
  std::string name;
  MetricMetadata metadata;
  friend bool operator==(const MetricFamily&, const MetricFamily&) = default;
};
using MetricFamilyPtr = std::shared_ptr<const MetricFamily>;

}  // namespace varve
