// SPDX-License-Identifier: Apache-2.0
//
// Field numbers are those of prompb's types.proto. Senders write labels sorted, so they are put
// into the canonical encoding as they come; only an unsorted set is taken apart and sorted.
#include "remote/write_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <protozero/pbf_reader.hpp>

#include "model/status_macros.h"

namespace varve {
namespace {

using LabelPair = std::pair<std::string_view, std::string_view>;

// Fields of a request.
constexpr uint32_t kSeriesField =
    protozero::tag_and_type(1, protozero::pbf_wire_type::length_delimited);
constexpr uint32_t kMetadataField =
    protozero::tag_and_type(3, protozero::pbf_wire_type::length_delimited);

std::string_view View(const protozero::data_view& view) { return {view.data(), view.size()}; }

absl::Status Malformed(const protozero::exception& error) {
  return absl::InvalidArgumentError(fmt::format("malformed protobuf: {}", error.what()));
}

LabelPair ReadLabel(protozero::pbf_reader label) {
  LabelPair pair;
  while (label.next()) {
    switch (label.tag_and_type()) {
      case protozero::tag_and_type(1, protozero::pbf_wire_type::length_delimited):
        pair.first = View(label.get_view());
        break;
      case protozero::tag_and_type(2, protozero::pbf_wire_type::length_delimited):
        pair.second = View(label.get_view());
        break;
      default:
        label.skip();
    }
  }
  return pair;
}

FloatSample ReadSample(protozero::pbf_reader message) {
  FloatSample sample;
  while (message.next()) {
    switch (message.tag_and_type()) {
      case protozero::tag_and_type(1, protozero::pbf_wire_type::fixed64):
        sample.value = message.get_double();
        break;
      case protozero::tag_and_type(2, protozero::pbf_wire_type::varint):
        sample.time = message.get_int64();
        break;
      default:
        message.skip();
    }
  }
  return sample;
}

WriteMetadata ReadMetadata(protozero::pbf_reader message) {
  using Wire = protozero::pbf_wire_type;
  WriteMetadata metadata;
  while (message.next()) {
    switch (message.tag_and_type()) {
      case protozero::tag_and_type(1, Wire::varint): {
        // The numbers are MetricType's.
        const int32_t type = message.get_enum();
        const bool is_known = type >= 0 && type <= static_cast<int32_t>(MetricType::kStateset);
        metadata.type = is_known ? static_cast<MetricType>(type) : MetricType::kUnknown;
        break;
      }
      case protozero::tag_and_type(2, Wire::length_delimited):
        metadata.metric = View(message.get_view());
        break;
      case protozero::tag_and_type(4, Wire::length_delimited):
        metadata.help = View(message.get_view());
        break;
      case protozero::tag_and_type(5, Wire::length_delimited):
        metadata.unit = View(message.get_view());
        break;
      default:
        message.skip();
    }
  }
  return metadata;
}

Span ReadSpan(protozero::pbf_reader message) {
  Span span;
  while (message.next()) {
    switch (message.tag_and_type()) {
      case protozero::tag_and_type(1, protozero::pbf_wire_type::varint):
        span.offset = message.get_sint32();
        break;
      case protozero::tag_and_type(2, protozero::pbf_wire_type::varint):
        span.length = message.get_uint32();
        break;
      default:
        message.skip();
    }
  }
  return span;
}

// Deltas become absolute counts: the first is the count of the first bucket.
void ReadDeltas(protozero::pbf_reader& message, std::vector<double>& counts) {
  if (message.wire_type() != protozero::pbf_wire_type::length_delimited) return message.skip();
  int64_t count = 0;
  for (const int64_t delta : message.get_packed_sint64()) {
    count = static_cast<int64_t>(static_cast<uint64_t>(count) + static_cast<uint64_t>(delta));
    counts.push_back(static_cast<double>(count));
    if (counts.size() > kHistogramBucketsMax) return;
  }
}

void ReadDoubles(protozero::pbf_reader& message, std::vector<double>& values) {
  if (message.wire_type() != protozero::pbf_wire_type::length_delimited) return message.skip();
  for (const double value : message.get_packed_double()) {
    values.push_back(value);
    if (values.size() > kHistogramBucketsMax) return;
  }
}

void ReadSpanInto(protozero::pbf_reader& message, std::vector<Span>& spans) {
  if (message.wire_type() != protozero::pbf_wire_type::length_delimited) return message.skip();
  if (spans.size() <= kHistogramBucketsMax) {
    spans.push_back(ReadSpan(message.get_message()));
  } else {
    message.skip();
  }
}

// Reads one field of the scalar kind; false if it is another one.
bool ReadHistogramScalar(protozero::pbf_reader& message, TimedHistogram& out) {
  Histogram& histogram = out.histogram;
  using Wire = protozero::pbf_wire_type;
  switch (message.tag_and_type()) {
    case protozero::tag_and_type(1, Wire::varint):
      histogram.count = static_cast<double>(message.get_uint64());
      histogram.integer_counts = true;
      return true;
    case protozero::tag_and_type(2, Wire::fixed64):
      histogram.count = message.get_double();
      histogram.integer_counts = false;
      return true;
    case protozero::tag_and_type(3, Wire::fixed64):
      histogram.sum = message.get_double();
      return true;
    case protozero::tag_and_type(4, Wire::varint):
      histogram.schema = message.get_sint32();
      return true;
    case protozero::tag_and_type(5, Wire::fixed64):
      histogram.zero_threshold = message.get_double();
      return true;
    case protozero::tag_and_type(6, Wire::varint):
      histogram.zero_count = static_cast<double>(message.get_uint64());
      return true;
    case protozero::tag_and_type(7, Wire::fixed64):
      histogram.zero_count = message.get_double();
      return true;
    case protozero::tag_and_type(14, Wire::varint): {
      const int32_t hint = message.get_int32();
      histogram.reset_hint =
          hint >= 1 && hint <= 3 ? static_cast<ResetHint>(hint) : ResetHint::kUnknown;
      return true;
    }
    case protozero::tag_and_type(15, Wire::varint):
      out.time = message.get_int64();
      return true;
    default:
      return false;
  }
}

TimedHistogram ReadHistogram(protozero::pbf_reader message) {
  TimedHistogram out;
  Histogram& histogram = out.histogram;
  while (message.next()) {
    if (ReadHistogramScalar(message, out)) continue;
    switch (message.tag()) {
      case 8:
        ReadSpanInto(message, histogram.negative.spans);
        break;
      case 9:
        ReadDeltas(message, histogram.negative.counts);
        break;
      case 10:
        ReadDoubles(message, histogram.negative.counts);
        break;
      case 11:
        ReadSpanInto(message, histogram.positive.spans);
        break;
      case 12:
        ReadDeltas(message, histogram.positive.counts);
        break;
      case 13:
        ReadDoubles(message, histogram.positive.counts);
        break;
      case 16:
        ReadDoubles(message, histogram.custom_bounds);
        break;
      default:
        message.skip();
    }
  }
  return out;
}

void AppendText(std::string_view text, std::string& out) {
  if (text.size() < 255) {
    out.push_back(static_cast<char>(text.size()));
  } else {
    out.push_back(static_cast<char>(0xFF));
    out.push_back(static_cast<char>(text.size() & 0xFF));
    out.push_back(static_cast<char>((text.size() >> 8) & 0xFF));
    out.push_back(static_cast<char>((text.size() >> 16) & 0xFF));
  }
  out.append(text);
}

// Whether a set of these labels can be stored. `pairs` is sorted by name.
bool ValidLabels(const std::vector<LabelPair>& pairs) {
  bool named = false;
  for (size_t i = 0; i < pairs.size(); ++i) {
    const auto& [name, value] = pairs[i];
    if (name.empty() || name.size() > kLabelTextBytesMax || value.size() > kLabelTextBytesMax ||
        !IsValidUtf8(name) || !IsValidUtf8(value)) {
      return false;
    }
    if (i > 0 && pairs[i - 1].first == name) return false;
    named = named || (name == kMetricName && !value.empty());
  }
  return named;
}

// REQUIRES: ValidLabels(pairs).
absl::StatusOr<Labels> BuildLabels(const std::vector<LabelPair>& pairs, std::string& bytes) {
  bytes.clear();
  for (const auto& [name, value] : pairs) {
    if (value.empty()) continue;
    AppendText(name, bytes);
    AppendText(value, bytes);
  }
  return Labels::FromBytes(bytes);
}

absl::Status CheckLabelCount(size_t count) {
  if (count <= kWriteLabelsMax) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("a series has more than {} labels", kWriteLabelsMax));
}

absl::StatusOr<Exemplar> ReadExemplar(protozero::pbf_reader message) {
  Exemplar exemplar;
  std::vector<LabelPair> views;
  while (message.next()) {
    switch (message.tag_and_type()) {
      case protozero::tag_and_type(1, protozero::pbf_wire_type::length_delimited):
        views.push_back(ReadLabel(message.get_message()));
        RETURN_IF_ERROR(CheckLabelCount(views.size()));
        break;
      case protozero::tag_and_type(2, protozero::pbf_wire_type::fixed64):
        exemplar.value = message.get_double();
        break;
      case protozero::tag_and_type(3, protozero::pbf_wire_type::varint):
        exemplar.time = message.get_int64();
        exemplar.has_time = true;
        break;
      default:
        message.skip();
    }
  }
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const auto& [name, value] : views) pairs.emplace_back(name, value);
  exemplar.labels = Labels::FromPairs(std::move(pairs));
  return exemplar;
}

absl::Status ReadSeries(protozero::pbf_reader message, WriteSeries& series) {
  series.label_messages.clear();
  series.samples.clear();
  series.histograms.clear();
  series.exemplars.clear();
  const char* const begin = message.data().data();
  const char* labels_end = begin;
  bool together = true;
  while (message.next()) {
    if (message.wire_type() != protozero::pbf_wire_type::length_delimited) {
      message.skip();
      continue;
    }
    switch (message.tag()) {
      case 1: {
        const std::string_view label = View(message.get_view());
        series.label_messages.push_back(label);
        RETURN_IF_ERROR(CheckLabelCount(series.label_messages.size()));
        together = together && series.samples.empty() && series.histograms.empty() &&
                   series.exemplars.empty();
        labels_end = label.data() + label.size();
        break;
      }
      case 2:
        series.samples.push_back(ReadSample(message.get_message()));
        break;
      case 3: {
        ASSIGN_OR_RETURN(Exemplar exemplar, ReadExemplar(message.get_message()));
        series.exemplars.push_back(std::move(exemplar));
        break;
      }
      case 4:
        series.histograms.push_back(ReadHistogram(message.get_message()));
        break;
      default:
        message.skip();
        together = false;
    }
  }
  series.raw_labels = {};
  if (together) {
    series.raw_labels = std::string_view(begin, static_cast<size_t>(labels_end - begin));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::optional<std::string_view>> WriteRequestReader::Next() {
  try {
    protozero::pbf_reader request(rest_.data(), rest_.size());
    const char* field = rest_.data();
    while (request.next()) {
      if (request.tag_and_type() != kSeriesField) {
        if (request.tag_and_type() == kMetadataField && metadata_.empty()) {
          metadata_ = rest_.substr(static_cast<size_t>(field - rest_.data()));
        }
        request.skip();
        field = request.data().data();
        continue;
      }
      const std::string_view message = View(request.get_view());
      rest_.remove_prefix(static_cast<size_t>(message.data() + message.size() - rest_.data()));
      return message;
    }
    rest_ = {};
    return std::nullopt;
  } catch (const protozero::exception& error) {
    return Malformed(error);
  }
}

absl::StatusOr<std::optional<WriteMetadata>> WriteRequestReader::NextMetadata() {
  try {
    protozero::pbf_reader request(metadata_.data(), metadata_.size());
    while (request.next()) {
      if (request.tag_and_type() != kMetadataField) {
        request.skip();
        continue;
      }
      const std::string_view message = View(request.get_view());
      metadata_.remove_prefix(
          static_cast<size_t>(message.data() + message.size() - metadata_.data()));
      return ReadMetadata(protozero::pbf_reader(message.data(), message.size()));
    }
    metadata_ = {};
    return std::nullopt;
  } catch (const protozero::exception& error) {
    return Malformed(error);
  }
}

absl::Status WriteRequestReader::Read(std::string_view message, WriteSeries& series) {
  try {
    return ReadSeries(protozero::pbf_reader(message.data(), message.size()), series);
  } catch (const protozero::exception& error) {
    return Malformed(error);
  }
}

bool WriteRequestReader::ReadSamples(std::string_view rest, SeriesRef ref,
                                     std::vector<KnownSample>& samples) {
  try {
    protozero::pbf_reader message(rest.data(), rest.size());
    while (message.next()) {
      if (message.tag_and_type() !=
          protozero::tag_and_type(2, protozero::pbf_wire_type::length_delimited)) {
        return false;
      }
      const FloatSample sample = ReadSample(message.get_message());
      samples.push_back({.ref = ref, .time = sample.time, .value = sample.value});
    }
    return true;
  } catch (const protozero::exception&) {
    return false;
  }
}

absl::StatusOr<bool> WriteRequestReader::DecodeLabels(const WriteSeries& series, Labels& labels) {
  pairs_.clear();
  try {
    for (const std::string_view label : series.label_messages) {
      pairs_.push_back(ReadLabel(protozero::pbf_reader(label.data(), label.size())));
    }
  } catch (const protozero::exception& error) {
    return Malformed(error);
  }
  const auto by_name = [](const LabelPair& a, const LabelPair& b) { return a.first < b.first; };
  if (!std::is_sorted(pairs_.begin(), pairs_.end(), by_name)) {
    std::stable_sort(pairs_.begin(), pairs_.end(), by_name);
  }
  if (!ValidLabels(pairs_)) return false;
  ASSIGN_OR_RETURN(labels, BuildLabels(pairs_, label_bytes_));
  return true;
}

}  // namespace varve
