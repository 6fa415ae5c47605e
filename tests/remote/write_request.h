// SPDX-License-Identifier: Apache-2.0
//
// Builds remote-write requests, field by field, so that tests can also build wrong ones.
#pragma once

#include <snappy.h>

#include <protozero/pbf_writer.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/histogram.h"

namespace varve {

using LabelList = std::vector<std::pair<std::string_view, std::string_view>>;

inline std::string EncodeLabel(std::string_view name, std::string_view value) {
  std::string bytes;
  protozero::pbf_writer label(bytes);
  label.add_string(1, name.data(), name.size());
  label.add_string(2, value.data(), value.size());
  return bytes;
}

inline std::string EncodeSample(double value, int64_t time) {
  std::string bytes;
  protozero::pbf_writer sample(bytes);
  sample.add_double(1, value);
  sample.add_int64(2, time);
  return bytes;
}

// A histogram with integer counts: deltas, as clients send them.
inline std::string EncodeHistogram(const Histogram& histogram, int64_t time) {
  std::string bytes;
  protozero::pbf_writer out(bytes);
  out.add_uint64(1, static_cast<uint64_t>(histogram.count));
  out.add_double(3, histogram.sum);
  out.add_sint32(4, histogram.schema);
  out.add_double(5, histogram.zero_threshold);
  out.add_uint64(6, static_cast<uint64_t>(histogram.zero_count));
  const auto side = [&](const Buckets& buckets, uint32_t spans, uint32_t deltas) {
    for (const Span& span : buckets.spans) {
      std::string text;
      protozero::pbf_writer writer(text);
      writer.add_sint32(1, span.offset);
      writer.add_uint32(2, span.length);
      out.add_message(spans, text);
    }
    std::vector<int64_t> values;
    int64_t last = 0;
    for (const double count : buckets.counts) {
      values.push_back(static_cast<int64_t>(count) - last);
      last = static_cast<int64_t>(count);
    }
    out.add_packed_sint64(deltas, values.begin(), values.end());
  };
  side(histogram.negative, 8, 9);
  side(histogram.positive, 11, 12);
  out.add_int32(14, static_cast<int32_t>(histogram.reset_hint));
  out.add_int64(15, time);
  return bytes;
}

class WriteRequestBuilder {
 public:
  // Starts a series.
  WriteRequestBuilder& Series(const LabelList& labels) {
    FinishSeries();
    open_ = true;
    protozero::pbf_writer out(series_);
    for (const auto& [name, value] : labels) out.add_message(1, EncodeLabel(name, value));
    return *this;
  }
  WriteRequestBuilder& Sample(double value, int64_t time) {
    protozero::pbf_writer(series_).add_message(2, EncodeSample(value, time));
    return *this;
  }
  WriteRequestBuilder& AddHistogram(const Histogram& histogram, int64_t time) {
    protozero::pbf_writer(series_).add_message(4, EncodeHistogram(histogram, time));
    return *this;
  }
  // `type` is the protocol's number; 0 and empty texts are left out, as clients do.
  WriteRequestBuilder& Metadata(std::string_view metric, int32_t type, std::string_view help,
                                std::string_view unit = "") {
    FinishSeries();
    std::string bytes;
    protozero::pbf_writer out(bytes);
    if (type != 0) out.add_enum(1, type);
    out.add_string(2, metric.data(), metric.size());
    if (!help.empty()) out.add_string(4, help.data(), help.size());
    if (!unit.empty()) out.add_string(5, unit.data(), unit.size());
    protozero::pbf_writer(message_).add_message(3, bytes);
    return *this;
  }
  std::string Message() {
    FinishSeries();
    return message_;
  }
  std::string Compressed() {
    const std::string message = Message();
    std::string out;
    snappy::Compress(message.data(), message.size(), &out);
    return out;
  }

 private:
  void FinishSeries() {
    if (open_) protozero::pbf_writer(message_).add_message(1, series_);
    series_.clear();
    open_ = false;
  }

  std::string message_;
  std::string series_;
  bool open_ = false;
};

}  // namespace varve
