// SPDX-License-Identifier: Apache-2.0
//
// Reads a remote-write 1.0 message, protobuf `prometheus.WriteRequest`, one series at a time
// straight from its bytes.
#pragma once

#include <absl/status/statusor.h>

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/appendable.h"
#include "model/exemplar.h"
#include "model/histogram.h"
#include "model/labels.h"
#include "model/metric_metadata.h"
#include "model/sample.h"
#include "model/series_ref.h"

namespace varve {

// The most labels of one series.
inline constexpr size_t kWriteLabelsMax = 1000;

// What a request says of a metric. Views are into the message.
struct WriteMetadata {
  std::string_view metric;
  MetricType type = MetricType::kUnknown;
  std::string_view help;
  std::string_view unit;
};

struct TimedHistogram {
  TimestampMs time = 0;
  Histogram histogram;
};

// One series of a request. Reused: Next() overwrites it and keeps its memory. Views are into the
// message.
struct WriteSeries {
  // The bytes of all labels as they came, if they stand together: equal bytes are equal labels, so
  // that a series seen before needs no decoding. Empty if they do not stand together.
  std::string_view raw_labels;
  std::vector<std::string_view> label_messages;
  std::vector<FloatSample> samples;
  std::vector<TimedHistogram> histograms;
  std::vector<Exemplar> exemplars;
};

// `message` must outlive the reader. Not thread-safe.
class WriteRequestReader {
 public:
  explicit WriteRequestReader(std::string_view message) : rest_(message) {}

  // The bytes of the next series, which may be empty; nothing at the end. InvalidArgument if the
  // bytes of the request are no such message.
  absl::StatusOr<std::optional<std::string_view>> Next();

  // The next metric's metadata, once Next() has come to the end; nothing at its own end.
  // InvalidArgument as Next().
  absl::StatusOr<std::optional<WriteMetadata>> NextMetadata();

  // Takes a series' message apart. InvalidArgument if it is none. Labels are only delimited.
  static absl::Status Read(std::string_view message, WriteSeries& series);

  // Appends the samples in `rest`, a series' message behind its labels, to `samples` as samples of
  // `ref`. False, with some of them appended, if there is anything else in it, or damage.
  static bool ReadSamples(std::string_view rest, SeriesRef ref, std::vector<KnownSample>& samples);

  // Decodes the labels of `series` into `labels`; false if they cannot be stored: no metric name,
  // a name twice or empty, a text that is not UTF-8. InvalidArgument as Next().
  absl::StatusOr<bool> DecodeLabels(const WriteSeries& series, Labels& labels);

 private:
  std::string_view rest_;
  std::string_view metadata_;  // From the first metadata on.
  std::string label_bytes_;
  std::vector<std::pair<std::string_view, std::string_view>> pairs_;
};

}  // namespace varve
