// SPDX-License-Identifier: Apache-2.0
//
// Field numbers are those of the client model's metrics.proto. Absent fields are zero, repeated
// numbers may be packed or not.
#include "scrape/proto_parser.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <array>
#include <cmath>
#include <limits>
#include <protozero/pbf_reader.hpp>
#include <utility>

#include "model/check.h"
#include "model/labels.h"
#include "model/status_macros.h"

namespace varve {
namespace {

using Wire = protozero::pbf_wire_type;
constexpr auto Field(protozero::pbf_tag_type tag, Wire type) {
  return protozero::tag_and_type(tag, type);
}

// What `type` of a family may be.
constexpr uint64_t kWireCounter = 0;
constexpr uint64_t kWireTypes = 6;
constexpr std::array<MetricType, kWireTypes> kTypes = {
    MetricType::kCounter, MetricType::kGauge,     MetricType::kSummary,
    MetricType::kUnknown, MetricType::kHistogram, MetricType::kGaugeHistogram,
};
// Of a metric, the field that holds the value of each type.
constexpr std::array<protozero::pbf_tag_type, kWireTypes> kValueFields = {3, 2, 4, 5, 7, 7};

constexpr std::string_view kCounterSuffix = "_total";
constexpr int64_t kSecondsMax = 9'000'000'000'000;

std::string_view ViewOf(const protozero::data_view& view) { return {view.data(), view.size()}; }

protozero::pbf_reader Message(std::string_view bytes) {
  return protozero::pbf_reader(bytes.data(), bytes.size());
}

uint64_t HashOf(std::string_view text, uint64_t seed = 0) {
  return XXH3_64bits_withSeed(text.data(), text.size(), seed);
}

// A google.protobuf.Timestamp in milliseconds; false if it is beyond any.
bool ReadTimestamp(std::string_view bytes, TimestampMs& time) {
  int64_t seconds = 0;
  int64_t nanos = 0;
  auto message = Message(bytes);
  while (message.next()) {
    switch (message.tag_and_type()) {
      case Field(1, Wire::varint):
        seconds = message.get_int64();
        break;
      case Field(2, Wire::varint):
        nanos = message.get_int32();
        break;
      default:
        message.skip();
    }
  }
  if (seconds > kSecondsMax || seconds < -kSecondsMax) return false;
  time = seconds * kSecond + nanos / 1'000'000;
  return true;
}

std::pair<std::string_view, std::string_view> ReadLabelPair(std::string_view bytes) {
  std::pair<std::string_view, std::string_view> label;
  auto message = Message(bytes);
  while (message.next()) {
    switch (message.tag_and_type()) {
      case Field(1, Wire::length_delimited):
        label.first = ViewOf(message.get_view());
        break;
      case Field(2, Wire::length_delimited):
        label.second = ViewOf(message.get_view());
        break;
      default:
        message.skip();
    }
  }
  return label;
}

Exemplar ReadExemplarMessage(std::string_view bytes) {
  Exemplar exemplar;
  LabelPairs pairs;
  auto message = Message(bytes);
  while (message.next()) {
    switch (message.tag_and_type()) {
      case Field(1, Wire::length_delimited): {
        const auto [name, value] = ReadLabelPair(ViewOf(message.get_view()));
        pairs.emplace_back(name, value);
        break;
      }
      case Field(2, Wire::fixed64):
        exemplar.value = message.get_double();
        break;
      case Field(3, Wire::length_delimited):
        exemplar.has_time = ReadTimestamp(ViewOf(message.get_view()), exemplar.time);
        break;
      default:
        message.skip();
    }
  }
  exemplar.labels = Labels::FromPairs(std::move(pairs));
  return exemplar;
}

void ReadSpanMessage(std::string_view bytes, std::vector<Span>& spans) {
  if (spans.size() > kHistogramBucketsMax) return;  // Refused later, for its size.
  Span& span = spans.emplace_back();
  auto message = Message(bytes);
  while (message.next()) {
    switch (message.tag_and_type()) {
      case Field(1, Wire::varint):
        span.offset = message.get_sint32();
        break;
      case Field(2, Wire::varint):
        span.length = message.get_uint32();
        break;
      default:
        message.skip();
    }
  }
}

// Deltas become absolute counts.
void AppendDelta(int64_t delta, int64_t& count, std::vector<double>& counts) {
  if (counts.size() > kHistogramBucketsMax) return;
  count = static_cast<int64_t>(static_cast<uint64_t>(count) + static_cast<uint64_t>(delta));
  counts.push_back(static_cast<double>(count));
}

void ReadDeltaField(protozero::pbf_reader& message, int64_t& count, std::vector<double>& counts) {
  if (message.wire_type() == Wire::varint) {
    AppendDelta(message.get_sint64(), count, counts);
  } else if (message.wire_type() == Wire::length_delimited) {
    for (const int64_t delta : message.get_packed_sint64()) AppendDelta(delta, count, counts);
  } else {
    message.skip();
  }
}

void ReadCountField(protozero::pbf_reader& message, std::vector<double>& counts) {
  if (message.wire_type() == Wire::fixed64) {
    counts.push_back(message.get_double());
  } else if (message.wire_type() == Wire::length_delimited) {
    for (const double count : message.get_packed_double()) {
      if (counts.size() <= kHistogramBucketsMax) counts.push_back(count);
    }
  } else {
    message.skip();
  }
}

// The scalar fields and buckets of a histogram message, integers beside floats.
struct HistogramFields {
  uint64_t count = 0;
  double count_float = 0;
  double sum = 0;
  int32_t schema = 0;
  double zero_threshold = 0;
  uint64_t zero_count = 0;
  double zero_count_float = 0;
  int64_t negative_last = 0;
  int64_t positive_last = 0;
  Buckets negative;
  Buckets positive;
  Buckets negative_float;  // Without spans.
  Buckets positive_float;

  bool IsFloat() const { return count_float > 0 || zero_count_float > 0; }
  bool IsNative() const {
    return !positive.spans.empty() || !negative.spans.empty() || zero_threshold > 0 ||
           zero_count > 0;
  }
};

// Reads one field that belongs to HistogramFields; false if it is another.
bool ReadHistogramField(protozero::pbf_reader& message, HistogramFields& fields) {
  switch (message.tag_and_type()) {
    case Field(1, Wire::varint):
      fields.count = message.get_uint64();
      return true;
    case Field(2, Wire::fixed64):
      fields.sum = message.get_double();
      return true;
    case Field(4, Wire::fixed64):
      fields.count_float = message.get_double();
      return true;
    case Field(5, Wire::varint):
      fields.schema = message.get_sint32();
      return true;
    case Field(6, Wire::fixed64):
      fields.zero_threshold = message.get_double();
      return true;
    case Field(7, Wire::varint):
      fields.zero_count = message.get_uint64();
      return true;
    case Field(8, Wire::fixed64):
      fields.zero_count_float = message.get_double();
      return true;
    case Field(9, Wire::length_delimited):
      ReadSpanMessage(ViewOf(message.get_view()), fields.negative.spans);
      return true;
    case Field(12, Wire::length_delimited):
      ReadSpanMessage(ViewOf(message.get_view()), fields.positive.spans);
      return true;
    default:
      break;
  }
  switch (message.tag()) {
    case 10:
      ReadDeltaField(message, fields.negative_last, fields.negative.counts);
      return true;
    case 11:
      ReadCountField(message, fields.negative_float.counts);
      return true;
    case 13:
      ReadDeltaField(message, fields.positive_last, fields.positive.counts);
      return true;
    case 14:
      ReadCountField(message, fields.positive_float.counts);
      return true;
    default:
      return false;
  }
}

Histogram MakeNative(HistogramFields&& fields, bool is_gauge) {
  Histogram histogram;
  histogram.integer_counts = !fields.IsFloat();
  histogram.reset_hint = is_gauge ? ResetHint::kGauge : ResetHint::kUnknown;
  histogram.schema = fields.schema;
  histogram.sum = fields.sum;
  histogram.zero_threshold = fields.zero_threshold;
  histogram.positive = std::move(fields.positive);
  histogram.negative = std::move(fields.negative);
  if (histogram.integer_counts) {
    histogram.count = static_cast<double>(fields.count);
    histogram.zero_count = static_cast<double>(fields.zero_count);
  } else {
    histogram.count = fields.count_float;
    histogram.zero_count = fields.zero_count_float;
    histogram.positive.counts = std::move(fields.positive_float.counts);
    histogram.negative.counts = std::move(fields.negative_float.counts);
  }
  return histogram;
}

}  // namespace

ProtoParser::ProtoParser(std::string_view body, ProtoParserOptions options)
    : options_(options), rest_(body) {}

absl::StatusOr<LineKind> ProtoParser::Next() {
  try {
    return NextEntry();
  } catch (const protozero::exception& error) {
    return absl::InvalidArgumentError(fmt::format("malformed protobuf: {}", error.what()));
  }
}

absl::StatusOr<LineKind> ProtoParser::NextEntry() {
  for (;;) {
    if (said_ < 3) {
      const int now = said_++;
      if (now == 0) help_ = std::string(help_text_);
      if (now == 2) {
        if (unit_.empty()) continue;
        help_ = std::string(unit_);
      }
      const LineKind kind = now == 0   ? LineKind::kHelp
                            : now == 1 ? LineKind::kType
                                       : LineKind::kUnit;
      // Help may change while the metric stays.
      const uint64_t text = kind == LineKind::kType ? wire_type_ : HashOf(help_);
      SetKey(HashOf(metric_, text + static_cast<uint64_t>(kind)), metric_.size());
      return kind;
    }
    if (NextPart()) return LineKind::kSeries;
    if (next_metric_ < metrics_.size()) {
      ReadMetric(metrics_[next_metric_++]);
      continue;
    }
    if (rest_.empty()) return LineKind::kEnd;
    const char* at = rest_.data();
    const char* const end = at + rest_.size();
    const uint64_t bytes = protozero::decode_varint(&at, end);
    if (bytes > static_cast<uint64_t>(end - at)) {
      return absl::InvalidArgumentError("malformed protobuf: unexpected EOF");
    }
    rest_ = std::string_view(at + bytes, static_cast<size_t>(end - at) - bytes);
    RETURN_IF_ERROR(ReadFamily(std::string_view(at, bytes)));
  }
}

absl::Status ProtoParser::ReadFamily(std::string_view bytes) {
  metric_.clear();
  help_text_ = {};
  unit_ = {};
  wire_type_ = kWireCounter;
  metrics_.clear();
  next_metric_ = 0;
  auto family = Message(bytes);
  while (family.next()) {
    switch (family.tag_and_type()) {
      case Field(1, Wire::length_delimited):
        metric_ = std::string(ViewOf(family.get_view()));
        break;
      case Field(2, Wire::length_delimited):
        help_text_ = ViewOf(family.get_view());
        break;
      case Field(3, Wire::varint):
        wire_type_ = family.get_uint64();
        break;
      case Field(4, Wire::length_delimited):
        metrics_.push_back(ViewOf(family.get_view()));
        break;
      case Field(5, Wire::length_delimited):
        unit_ = ViewOf(family.get_view());
        break;
      default:
        family.skip();
    }
  }
  RETURN_IF_ERROR(CheckFamily());
  type_ = kTypes[wire_type_];
  kind_ = type_ == MetricType::kSummary ? Kind::kSummary
          : type_ == MetricType::kHistogram || type_ == MetricType::kGaugeHistogram
              ? Kind::kHistogram
              : Kind::kValue;
  family_hash_ =
      options_.metadata_labels ? HashOf(metric_, HashOf(unit_, wire_type_ + 1)) : HashOf(metric_);
  said_ = 0;
  return absl::OkStatus();
}

absl::Status ProtoParser::CheckFamily() {
  if (metric_.empty() || !IsValidUtf8(metric_)) {
    return absl::InvalidArgumentError(fmt::format("invalid metric name: {}", metric_));
  }
  if (!IsValidUtf8(help_text_)) {
    return absl::InvalidArgumentError(
        fmt::format("invalid help for metric {}: {}", Quoted(metric_), Quoted(help_text_)));
  }
  if (wire_type_ >= kWireTypes) {
    return absl::InvalidArgumentError(
        fmt::format("unknown metric type for metric {}: {}", Quoted(metric_), wire_type_));
  }
  if (unit_.empty()) return absl::OkStatus();
  std::string_view name = metric_;
  const bool counts = wire_type_ == kWireCounter && name.ends_with(kCounterSuffix);
  if (counts) name.remove_suffix(kCounterSuffix.size());
  if (name.ends_with(unit_) && IsValidUtf8(unit_)) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format("unit {} not a suffix of {} {}", Quoted(unit_),
                                                counts ? "counter" : "metric", Quoted(metric_)));
}

void ProtoParser::ReadMetric(std::string_view bytes) {
  Metric& now = metric_now_;
  now.labels.clear();
  now.value = {};
  now.time = 0;
  now.start_time = 0;
  now.number = 0;
  now.count = 0;
  now.sum = 0;
  now.bounds.clear();
  now.exemplars.clear();
  now.is_native = false;
  labels_hash_ = family_hash_;
  labels_bytes_ = 0;
  auto metric = Message(bytes);
  while (metric.next()) {
    if (metric.tag_and_type() == Field(1, Wire::length_delimited)) {
      const std::string_view label = ViewOf(metric.get_view());
      now.labels.push_back(label);
      labels_hash_ = HashOf(label, labels_hash_);
      labels_bytes_ += label.size() + 1;
    } else if (metric.tag_and_type() == Field(6, Wire::varint)) {
      now.time = metric.get_int64();
    } else if (metric.tag_and_type() == Field(kValueFields[wire_type_], Wire::length_delimited)) {
      now.value = ViewOf(metric.get_view());
    } else {
      metric.skip();
    }
  }
  next_bound_ = 0;
  part_ = Part::kCount;
  if (kind_ == Kind::kValue) {
    ReadNumber(now.value);
  } else if (kind_ == Kind::kSummary) {
    ReadSummary(now.value);
  } else {
    ReadHistogram(now.value);
    const bool classic =
        !now.is_native || (options_.always_classic_histograms && !now.bounds.empty());
    part_ = now.is_native ? Part::kNative : Part::kCount;
    // Without classic parts a native histogram ends after its one sample.
    if (!classic) next_bound_ = std::numeric_limits<size_t>::max();
  }
}

void ProtoParser::ReadNumber(std::string_view bytes) {
  Metric& now = metric_now_;
  const bool counts = wire_type_ == kWireCounter;
  auto number = Message(bytes);
  while (number.next()) {
    if (number.tag_and_type() == Field(1, Wire::fixed64)) {
      now.number = number.get_double();
    } else if (counts && number.tag_and_type() == Field(2, Wire::length_delimited)) {
      now.exemplars.assign(1, ViewOf(number.get_view()));
    } else if (counts && number.tag_and_type() == Field(3, Wire::length_delimited)) {
      ReadTimestamp(ViewOf(number.get_view()), now.start_time);
    } else {
      number.skip();
    }
  }
}

void ProtoParser::ReadSummary(std::string_view bytes) {
  Metric& now = metric_now_;
  auto summary = Message(bytes);
  while (summary.next()) {
    switch (summary.tag_and_type()) {
      case Field(1, Wire::varint):
        now.count = static_cast<double>(summary.get_uint64());
        break;
      case Field(2, Wire::fixed64):
        now.sum = summary.get_double();
        break;
      case Field(3, Wire::length_delimited): {
        Bound& quantile = now.bounds.emplace_back();
        auto message = Message(ViewOf(summary.get_view()));
        while (message.next()) {
          switch (message.tag_and_type()) {
            case Field(1, Wire::fixed64):
              quantile.bound = message.get_double();
              break;
            case Field(2, Wire::fixed64):
              quantile.value = message.get_double();
              break;
            default:
              message.skip();
          }
        }
        break;
      }
      case Field(4, Wire::length_delimited):
        ReadTimestamp(ViewOf(summary.get_view()), now.start_time);
        break;
      default:
        summary.skip();
    }
  }
}

void ProtoParser::ReadHistogram(std::string_view bytes) {
  Metric& now = metric_now_;
  HistogramFields fields;
  auto message = Message(bytes);
  while (message.next()) {
    if (ReadHistogramField(message, fields)) continue;
    switch (message.tag_and_type()) {
      case Field(3, Wire::length_delimited): {
        Bound& bucket = now.bounds.emplace_back();
        double count_float = 0;
        auto inner = Message(ViewOf(message.get_view()));
        while (inner.next()) {
          switch (inner.tag_and_type()) {
            case Field(1, Wire::varint):
              bucket.value = static_cast<double>(inner.get_uint64());
              break;
            case Field(2, Wire::fixed64):
              bucket.bound = inner.get_double();
              break;
            case Field(3, Wire::length_delimited):
              bucket.exemplar = ViewOf(inner.get_view());
              break;
            case Field(4, Wire::fixed64):
              count_float = inner.get_double();
              break;
            default:
              inner.skip();
          }
        }
        if (count_float != 0) bucket.value = count_float;
        break;
      }
      case Field(15, Wire::length_delimited):
        ReadTimestamp(ViewOf(message.get_view()), now.start_time);
        break;
      case Field(16, Wire::length_delimited):
        now.exemplars.push_back(ViewOf(message.get_view()));
        break;
      default:
        message.skip();
    }
  }
  now.count = fields.count_float != 0 ? fields.count_float : static_cast<double>(fields.count);
  now.sum = fields.sum;
  now.is_native = options_.native_histograms && fields.IsNative();
  if (now.is_native) native_ = MakeNative(std::move(fields), type_ == MetricType::kGaugeHistogram);
}

// Makes the next series of the current metric the current entry; false if there is none.
bool ProtoParser::NextPart() {
  const Metric& now = metric_now_;
  switch (part_) {
    case Part::kNative:
      part_ = next_bound_ == 0 ? Part::kCount : Part::kDone;
      SetSeries(0, "", "", nullptr);
      histogram_ = &native_;
      has_exemplars_ = !now.exemplars.empty();
      for (const Bound& bucket : now.bounds) has_exemplars_ |= !bucket.exemplar.empty();
      return true;
    case Part::kCount:
      if (kind_ == Kind::kValue) {
        part_ = Part::kDone;
        SetSeries(now.number, "", "", nullptr);
        has_exemplars_ = !now.exemplars.empty();
      } else {
        part_ = Part::kSum;
        SetSeries(now.count, "_count", "", nullptr);
      }
      return true;
    case Part::kSum:
      part_ = Part::kBounds;
      SetSeries(now.sum, "_sum", "", nullptr);
      return true;
    case Part::kBounds: {
      // The bucket up to +Inf may be left out.
      static constexpr Bound kAll = {.bound = std::numeric_limits<double>::infinity()};
      if (next_bound_ < now.bounds.size()) {
        const Bound& bound = now.bounds[next_bound_++];
        const bool all = std::isinf(bound.bound) && bound.bound > 0;
        if (next_bound_ == now.bounds.size() && (all || kind_ == Kind::kSummary)) {
          part_ = Part::kDone;
        }
        const bool is_bucket = kind_ == Kind::kHistogram;
        SetSeries(bound.value, is_bucket ? "_bucket" : "", is_bucket ? kBucketLabel : "quantile",
                  &bound);
        has_exemplars_ = !bound.exemplar.empty();
        return true;
      }
      part_ = Part::kDone;
      if (kind_ == Kind::kSummary) return false;
      SetSeries(now.count, "_bucket", kBucketLabel, &kAll);
      return true;
    }
    case Part::kDone:
      break;
  }
  return false;
}

void ProtoParser::SetSeries(double value, std::string_view suffix, std::string_view bound_label,
                            const Bound* bound) {
  value_ = value;
  suffix_ = suffix;
  bound_label_ = bound_label;
  bound_ = bound;
  histogram_ = nullptr;
  has_time_ = metric_now_.time != 0;
  time_ = metric_now_.time;
  start_time_ = metric_now_.start_time;
  has_exemplars_ = false;
  struct {
    uint64_t labels;
    uint64_t suffix;
    double bound;
  } key = {labels_hash_, suffix.size(), bound == nullptr ? 0 : bound->bound};
  SetKey(XXH3_64bits(&key, sizeof(key)), labels_bytes_ + metric_.size() + suffix.size());
}

void ProtoParser::SetKey(uint64_t hash, size_t bytes) {
  key_hash_ = hash;
  key_bytes_ = static_cast<uint32_t>(bytes & ((1u << 24) - 1));
}

absl::Status ProtoParser::ReadExemplars(std::vector<Exemplar>& exemplars) const {
  try {
    if (bound_ != nullptr) {
      if (!bound_->exemplar.empty()) exemplars.push_back(ReadExemplarMessage(bound_->exemplar));
      return absl::OkStatus();
    }
    const Metric& now = metric_now_;
    for (const std::string_view message : now.exemplars) {
      exemplars.push_back(ReadExemplarMessage(message));
    }
    if (histogram_ == nullptr) return absl::OkStatus();
    if (now.exemplars.empty()) {
      for (const Bound& bucket : now.bounds) {
        if (!bucket.exemplar.empty()) exemplars.push_back(ReadExemplarMessage(bucket.exemplar));
      }
    }
    // Without a time nothing says which of them are new.
    std::erase_if(exemplars, [](const Exemplar& exemplar) { return !exemplar.has_time; });
    return absl::OkStatus();
  } catch (const protozero::exception& error) {
    return absl::InvalidArgumentError(fmt::format("malformed protobuf: {}", error.what()));
  }
}

absl::Status ProtoParser::ReadLabels(LabelPairs& pairs) {
  pairs.clear();
  pairs.emplace_back(kMetricName, fmt::format("{}{}", metric_, suffix_));
  try {
    for (const std::string_view message : metric_now_.labels) {
      const auto [name, value] = ReadLabelPair(message);
      if (!IsValidUtf8(name) || !IsValidUtf8(value)) {
        return absl::InvalidArgumentError(fmt::format("invalid UTF-8 in label {}={}",
                                                      Quoted(name.substr(0, 128)),
                                                      Quoted(value.substr(0, 128))));
      }
      pairs.emplace_back(name, value);
    }
  } catch (const protozero::exception& error) {
    return absl::InvalidArgumentError(fmt::format("malformed protobuf: {}", error.what()));
  }
  if (bound_ != nullptr) {
    pairs.emplace_back(std::string(bound_label_), OpenMetricsFloat(bound_->bound));
  }
  if (options_.metadata_labels) SetMetadataLabels(type_, unit_, pairs);
  return absl::OkStatus();
}

}  // namespace varve
