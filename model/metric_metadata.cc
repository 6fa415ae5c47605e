// SPDX-License-Identifier: Apache-2.0
//
// Names of types.
#include "model/metric_metadata.h"

#include "model/check.h"

namespace varve {

std::string_view MetricTypeText(MetricType type) {
  switch (type) {
    case MetricType::kUnknown:
      return "unknown";
    case MetricType::kCounter:
      return "counter";
    case MetricType::kGauge:
      return "gauge";
    case MetricType::kHistogram:
      return "histogram";
    case MetricType::kGaugeHistogram:
      return "gaugehistogram";
    case MetricType::kSummary:
      return "summary";
    case MetricType::kInfo:
      return "info";
    case MetricType::kStateset:
      return "stateset";
  }
  INVARIANT(false);
}

}  // namespace varve
