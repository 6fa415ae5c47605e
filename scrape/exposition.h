// SPDX-License-Identifier: Apache-2.0
//
// What the readers of all exposition formats have in common: a body is a sequence of entries, each
// a sample of a series or something said about a metric.
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/exemplar.h"
#include "model/histogram.h"
#include "model/metric_metadata.h"
#include "model/time.h"

namespace varve {

enum class ExpositionFormat { kPrometheusText, kOpenMetricsText, kProtobuf };

enum class LineKind { kEnd, kSeries, kHelp, kType, kUnit };

// A metric's name, labels and bounds, unescaped; names may repeat, values may be empty.
using LabelPairs = std::vector<std::pair<std::string, std::string>>;

// Reads one body, which outlives it. Not thread-safe.
class ExpositionReader {
 public:
  virtual ~ExpositionReader() = default;

  // Goes to the next entry; InvalidArgument if there is none that is well-formed.
  virtual absl::StatusOr<LineKind> Next() = 0;

  // Names the current entry: the same in every body that says the same of the same series or
  // metric, but for the values.
  virtual uint64_t KeyHash() const = 0;
  virtual uint32_t KeyBytes() const = 0;

  // Of a series.
  double value() const { return value_; }
  const Histogram* histogram() const { return histogram_; }  // Null: the sample is value().
  bool has_time() const { return has_time_; }
  TimestampMs time() const { return time_; }
  TimestampMs start_time() const { return start_time_; }  // 0 = unknown.
  bool has_exemplars() const { return has_exemplars_; }
  // Appends the sample's exemplars to `exemplars`.
  virtual absl::Status ReadExemplars(std::vector<Exemplar>& exemplars) const = 0;
  // Overwrites `pairs` with the metric name (as __name__) and the labels in the body's order,
  // bounds and quantiles in their normal form. InvalidArgument for text that is not UTF-8.
  virtual absl::Status ReadLabels(LabelPairs& pairs) = 0;

  // Of HELP, TYPE and UNIT: the metric, and what is said.
  const std::string& metric() const { return metric_; }
  const std::string& help() const { return help_; }
  const std::string& unit() const { return help_; }
  // The last type declared.
  MetricType type() const { return type_; }

 protected:
  ExpositionReader() = default;
  ExpositionReader(const ExpositionReader&) = default;
  ExpositionReader& operator=(const ExpositionReader&) = default;

  double value_ = 0;
  const Histogram* histogram_ = nullptr;
  bool has_time_ = false;
  TimestampMs time_ = 0;
  TimestampMs start_time_ = 0;
  bool has_exemplars_ = false;
  std::string metric_;
  std::string help_;
  MetricType type_ = MetricType::kUnknown;
};

// The pair of that name, or pairs.end().
LabelPairs::iterator FindPair(LabelPairs& pairs, std::string_view name);

// Adds __type__ and __unit__, in place of exposed ones; an unknown type and no unit add nothing.
void SetMetadataLabels(MetricType type, std::string_view unit, LabelPairs& pairs);

// A float as OpenMetrics writes bounds and quantiles: `1.0`, `0.5`, `1e+06`, `+Inf`.
std::string OpenMetricsFloat(double value);

}  // namespace varve
