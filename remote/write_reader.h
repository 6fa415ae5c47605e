// SPDX-License-Identifier: Apache-2.0
//
// Reads a remote-write 1.0 message, protobuf `prometheus.WriteRequest`, one series at a time
// straight from its bytes.
#pragma once

#include <absl/status/statusor.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/histogram.h"
#include "model/labels.h"
#include "model/sample.h"
#include "model/storage.h"

namespace varve {

// The most labels of one series.
inline constexpr size_t kWriteLabelsMax = 1000;

struct TimedHistogram {
  TimestampMs time = 0;
  Histogram histogram;
};

// One series of a request. Reused: Next() overwrites it and keeps its memory.
struct WriteSeries {
  Labels labels;
  // Whether the labels can be stored: a metric name, names and values UTF-8, no name twice.
  bool valid_labels = false;
  std::vector<FloatSample> samples;
  std::vector<TimedHistogram> histograms;
  std::vector<Exemplar> exemplars;
};

// `message` must outlive the reader. Not thread-safe.
class WriteRequestReader {
 public:
  explicit WriteRequestReader(std::string_view message) : rest_(message) {}

  // Reads the next series into `series`; false at the end. InvalidArgument if the bytes are no such
  // message.
  absl::StatusOr<bool> Next(WriteSeries& series);

 private:
  std::string_view rest_;
  std::string label_bytes_;
  std::vector<std::pair<std::string_view, std::string_view>> pairs_;
};

}  // namespace varve
