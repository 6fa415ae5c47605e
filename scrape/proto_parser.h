// SPDX-License-Identifier: Apache-2.0
//
// The protobuf exposition format: io.prometheus.client.MetricFamily messages, each behind its
// length. Read straight from the bytes, a metric at a time.
//
// A histogram with spans, a zero threshold or a zero count is a native one and gives a histogram
// sample; its classic buckets, as those of a histogram that is not native, give the series text
// formats write.
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model/exemplar.h"
#include "model/histogram.h"
#include "scrape/exposition.h"

namespace varve {

struct ProtoParserOptions {
  bool native_histograms = true;           // Otherwise only their classic buckets are read.
  bool always_classic_histograms = false;  // Classic buckets of native histograms, too.
  bool metadata_labels = false;            // Series have the labels __type__ and __unit__.
};

class ProtoParser final : public ExpositionReader {
 public:
  ProtoParser(std::string_view body, ProtoParserOptions options);

  absl::StatusOr<LineKind> Next() override;
  uint64_t KeyHash() const override { return key_hash_; }
  uint32_t KeyBytes() const override { return key_bytes_; }
  absl::Status ReadExemplars(std::vector<Exemplar>& exemplars) const override;
  absl::Status ReadLabels(LabelPairs& pairs) override;

 private:
  enum class Kind { kValue, kSummary, kHistogram };  // How a metric becomes samples.
  // Of the current metric, the series of a summary or histogram in the order they are given.
  enum class Part { kNative, kCount, kSum, kBounds, kDone };

  struct Bound {
    double bound = 0;  // Or the quantile.
    double value = 0;
    std::string_view exemplar;  // Its message, or empty.
  };
  // The current metric, as decoded. Views are into the body.
  struct Metric {
    std::vector<std::string_view> labels;  // Messages.
    std::string_view value;                // The message of its one value.
    TimestampMs time = 0;
    TimestampMs start_time = 0;
    double number = 0;  // Of kValue.
    double count = 0;
    double sum = 0;
    std::vector<Bound> bounds;
    std::vector<std::string_view> exemplars;
    bool is_native = false;
  };

  absl::Status ReadFamily(std::string_view message);
  absl::Status CheckFamily();
  void ReadMetric(std::string_view message);
  void ReadNumber(std::string_view message);
  void ReadSummary(std::string_view message);
  void ReadHistogram(std::string_view message);
  bool NextPart();
  absl::StatusOr<LineKind> NextEntry();
  void SetSeries(double value, std::string_view suffix, std::string_view bound_label,
                 const Bound* bound);
  void SetKey(uint64_t hash, size_t bytes);

  const ProtoParserOptions options_;
  std::string_view rest_;  // Families not read yet.

  // The current family: what is said about it comes before its metrics.
  std::string_view help_text_;
  std::string_view unit_;
  uint64_t wire_type_ = 0;  // As its `type` field says.
  Kind kind_ = Kind::kValue;
  int said_ = 3;  // How many of HELP, TYPE and UNIT were given.
  uint64_t family_hash_ = 0;
  std::vector<std::string_view> metrics_;  // Messages.
  size_t next_metric_ = 0;

  Metric metric_now_;
  uint64_t labels_hash_ = 0;
  size_t labels_bytes_ = 0;
  Part part_ = Part::kDone;
  size_t next_bound_ = 0;
  Histogram native_;

  // The current entry.
  uint64_t key_hash_ = 0;
  uint32_t key_bytes_ = 0;
  std::string_view suffix_;
  std::string_view bound_label_;
  const Bound* bound_ = nullptr;
};

}  // namespace varve
