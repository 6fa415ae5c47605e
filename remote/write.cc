// SPDX-License-Identifier: Apache-2.0
//
// Decompress, read, append, commit. The first sample that cannot be stored rolls the request back,
// as Prometheus' receiver of version 1.0 does.
#include "remote/write.h"

#include <fmt/format.h>
#include <prometheus/counter.h>
#include <snappy.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "model/log_line.h"
#include "model/status_macros.h"
#include "remote/ref_cache.h"
#include "remote/write_reader.h"

namespace varve {
namespace {

constexpr std::string_view kMessageV1 = "prometheus.WriteRequest";

std::string_view Trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// Empty if the type is one we take.
std::string RefuseContentType(std::string_view content_type) {
  if (content_type.empty()) return "";
  size_t semicolon = std::min(content_type.find(';'), content_type.size());
  const std::string_view media = Trim(content_type.substr(0, semicolon));
  if (media != "application/x-protobuf") {
    return fmt::format(
        "expected application/x-protobuf as the first (media) part, got {} content-type",
        content_type);
  }
  while (semicolon < content_type.size()) {
    content_type.remove_prefix(semicolon + 1);
    semicolon = std::min(content_type.find(';'), content_type.size());
    const std::string_view parameter = Trim(content_type.substr(0, semicolon));
    if (!parameter.starts_with("proto=")) continue;
    const std::string_view proto = parameter.substr(6);
    if (proto != kMessageV1) {
      return fmt::format("{} protobuf message is not accepted by this server; only accepts {}",
                         proto, kMessageV1);
    }
  }
  return "";
}

// Samples of exponential histograms finer than storage keeps lose resolution: each halving of the
// schema merges two neighbouring buckets.
void ReduceSide(Buckets& side, int32_t halvings) {
  Buckets reduced;
  int32_t last_index = 0;
  side.ForEach([&](int32_t index, double count) {
    const int32_t target = ((index - 1) >> halvings) + 1;
    if (!reduced.counts.empty() && target == last_index) {
      reduced.counts.back() += count;
      return;
    }
    if (!reduced.counts.empty() && target == last_index + 1) {
      ++reduced.spans.back().length;
    } else {
      // A span's offset counts from the end of the one before.
      const int32_t from = reduced.counts.empty() ? 0 : last_index + 1;
      reduced.spans.push_back({.offset = target - from, .length = 1});
    }
    reduced.counts.push_back(count);
    last_index = target;
  });
  side = std::move(reduced);
}

absl::Status CheckedSide(const Buckets& side) {
  size_t length = 0;
  for (const Span& span : side.spans) length += span.length;
  if (length != side.counts.size() || length > kHistogramBucketsMax) {
    return absl::InvalidArgumentError("histogram spans do not match its buckets");
  }
  return absl::OkStatus();
}

absl::Status ReduceResolution(Histogram& histogram) {
  if (histogram.schema <= kExponentialSchemaMax || histogram.schema > 52) return absl::OkStatus();
  RETURN_IF_ERROR(CheckedSide(histogram.positive));
  RETURN_IF_ERROR(CheckedSide(histogram.negative));
  const int32_t halvings = histogram.schema - kExponentialSchemaMax;
  ReduceSide(histogram.positive, halvings);
  ReduceSide(histogram.negative, halvings);
  histogram.schema = kExponentialSchemaMax;
  return absl::OkStatus();
}

class WriteReceiverImpl : public WriteReceiver {
 public:
  WriteReceiverImpl(Appendable& appendable, prometheus::Registry* registry)
      : appendable_(appendable) {
    if (registry == nullptr) return;
    invalid_labels_ = &prometheus::BuildCounter()
                           .Name("prometheus_api_remote_write_invalid_labels_samples_total")
                           .Help(
                               "The total number of received remote write samples and histogram "
                               "samples which contained invalid labels.")
                           .Register(*registry)
                           .Add({});
  }

  WriteAnswer Write(std::string_view content_type, std::string_view content_encoding,
                    std::string_view body) override {
    const std::string refusal = RefuseContentType(content_type);
    if (!refusal.empty()) return {.status = 415, .message = refusal};
    if (!content_encoding.empty() && content_encoding != "snappy") {
      return {.status = 415,
              .message = fmt::format("{} encoding (compression) is not accepted by this server; "
                                     "only snappy is acceptable",
                                     content_encoding)};
    }
    size_t decoded_bytes = 0;
    if (!snappy::GetUncompressedLength(body.data(), body.size(), &decoded_bytes)) {
      return {.status = 400, .message = "snappy: corrupt input"};
    }
    if (decoded_bytes > kWriteDecodedBytesMax) {
      return {.status = 413,
              .message = fmt::format("decoded message of {} bytes exceeds {} bytes", decoded_bytes,
                                     kWriteDecodedBytesMax)};
    }
    // Not a std::string: its bytes would be zeroed first.
    const std::unique_ptr<char[]> decoded(new char[decoded_bytes]);
    if (!snappy::RawUncompress(body.data(), body.size(), decoded.get())) {
      return {.status = 400, .message = "snappy: corrupt input"};
    }
    return Store(std::string_view(decoded.get(), decoded_bytes));
  }

 private:
  // One request under way.
  struct Batch {
    WriteRequestReader reader;
    std::unique_ptr<Appender> appender;
    WriteAnswer answer;
    RefCache::Cursor cursor;
    Labels labels;
    WriteSeries series;
    std::vector<RefCache::Learned> learned;
    // Samples of series that are known, not appended yet, and the message each is from.
    std::vector<KnownSample> known;
    std::vector<std::string_view> known_from;
    uint64_t series_refused = 0;  // For want of memory.
    std::string first_refusal;
  };

  WriteAnswer Store(std::string_view message) {
    Batch batch{.reader = WriteRequestReader(message),
                .appender = appendable_.NewAppender(),
                .cursor = refs_.Begin()};
    if (const absl::Status status = AppendAll(batch); !status.ok()) {
      batch.appender->Rollback();
      return Refusal(status);
    }
    if (const absl::Status status = batch.appender->Commit(); !status.ok()) {
      return Refusal(status);
    }
    refs_.Insert(batch.learned);
    if (batch.series_refused > 0) {
      // As for other samples that will not be accepted: sending them again is of no use.
      batch.answer.status = 400;
      batch.answer.message =
          fmt::format("{} series refused: {}", batch.series_refused, batch.first_refusal);
    }
    return batch.answer;
  }

  static WriteAnswer Refusal(const absl::Status& status) {
    // Bytes that are no request.
    if (absl::IsInvalidArgument(status)) return {.status = 400, .message = MessageOf(status)};
    switch (AppendErrorOf(status)) {
      case AppendError::kNone:
      case AppendError::kLimit:
        spdlog::error(LogLine("Remote write failed", {{"err", MessageOf(status)}}));
        return {.status = 500, .message = MessageOf(status)};
      default:
        return {.status = 400, .message = MessageOf(status)};
    }
  }

  absl::Status AppendAll(Batch& batch) {
    for (;;) {
      ASSIGN_OR_RETURN(const std::optional<std::string_view> message, batch.reader.Next());
      if (!message.has_value()) break;
      if (CollectKnown(batch, *message)) continue;
      RETURN_IF_ERROR(FlushKnown(batch));
      RETURN_IF_ERROR(AppendSeries(batch, *message));
    }
    RETURN_IF_ERROR(FlushKnown(batch));
    return AppendMetadata(batch);
  }

  static absl::Status AppendMetadata(Batch& batch) {
    MetricMetadata metadata;
    for (;;) {
      ASSIGN_OR_RETURN(const std::optional<WriteMetadata> message, batch.reader.NextMetadata());
      if (!message.has_value()) return absl::OkStatus();
      metadata.type = message->type;
      metadata.help = message->help;
      metadata.unit = message->unit;
      const absl::Status appended = batch.appender->AppendMetadata(message->metric, metadata);
      // One that cannot be kept, which the storage counts, costs only itself.
      if (!appended.ok() && AppendErrorOf(appended) == AppendError::kNone) return appended;
    }
  }

  // False if it is not the series expected next, or has more than float samples.
  static bool CollectKnown(Batch& batch, std::string_view message) {
    size_t label_bytes = 0;
    const SeriesRef ref = RefCache::FindNext(batch.cursor, message, label_bytes);
    if (ref == kNoSeries) return false;
    const size_t before = batch.known.size();
    if (!WriteRequestReader::ReadSamples(message.substr(label_bytes), ref, batch.known)) {
      batch.known.resize(before);
      return false;
    }
    batch.known_from.resize(batch.known.size(), message);
    return true;
  }

  absl::Status FlushKnown(Batch& batch) {
    absl::Span<const KnownSample> left = batch.known;
    while (!left.empty()) {
      absl::Status refused;
      const size_t appended = batch.appender->AppendKnown(left, refused);
      batch.answer.samples += appended;
      left.remove_prefix(appended);
      if (left.empty()) break;
      if (!absl::IsNotFound(refused)) return refused;
      // Storage has forgotten the series, which its first sample shows.
      const std::string_view message = batch.known_from[batch.known.size() - left.size()];
      RETURN_IF_ERROR(AppendSeries(batch, message));
      while (!left.empty() &&
             batch.known_from[batch.known.size() - left.size()].data() == message.data()) {
        left.remove_prefix(1);
      }
    }
    batch.known.clear();
    batch.known_from.clear();
    return absl::OkStatus();
  }

  absl::Status AppendSeries(Batch& batch, std::string_view message) {
    WriteSeries& series = batch.series;
    RETURN_IF_ERROR(WriteRequestReader::Read(message, series));
    if (series.raw_labels.empty()) return AppendDecoded(batch, series, nullptr);
    const RefCache::Key key = RefCache::KeyOf(series.raw_labels);
    const SeriesRef ref = RefCache::Find(batch.cursor, key);
    if (ref == kNoSeries) return AppendDecoded(batch, series, &key);
    // Exemplars need the labels.
    if (!series.exemplars.empty()) return AppendDecoded(batch, series, &key);
    const WriteAnswer before = batch.answer;
    const absl::StatusOr<SeriesRef> known = AppendSamples(batch, series, ref, Labels());
    if (known.ok()) return absl::OkStatus();
    // Storage has forgotten the series, which the first sample shows.
    if (!absl::IsNotFound(known.status())) return known.status();
    batch.answer = before;
    return AppendDecoded(batch, series, &key);
  }

  // `key` is null if the labels cannot be remembered.
  absl::Status AppendDecoded(Batch& batch, WriteSeries& series, const RefCache::Key* key) {
    ASSIGN_OR_RETURN(const bool valid, batch.reader.DecodeLabels(series, batch.labels));
    if (!valid) {
      if (invalid_labels_ != nullptr) {
        invalid_labels_->Increment(
            static_cast<double>(series.samples.size() + series.histograms.size()));
      }
      return absl::OkStatus();
    }
    const absl::StatusOr<SeriesRef> appended =
        AppendSamples(batch, series, kNoSeries, batch.labels);
    if (AppendErrorOf(appended.status()) == AppendError::kLimit) {
      // A new one; the series that are known go on.
      if (batch.series_refused++ == 0) batch.first_refusal = MessageOf(appended.status());
      return absl::OkStatus();
    }
    RETURN_IF_ERROR(appended.status());
    const SeriesRef ref = *appended;
    for (const Exemplar& exemplar : series.exemplars) {
      // An exemplar that cannot be kept costs only itself.
      if (batch.appender->AppendExemplar(ref, batch.labels, exemplar).ok()) {
        ++batch.answer.exemplars;
      }
    }
    if (key != nullptr && ref != kNoSeries) {
      batch.learned.push_back({*key, series.raw_labels.size(), ref});
    }
    return absl::OkStatus();
  }

  static absl::StatusOr<SeriesRef> AppendSamples(Batch& batch, WriteSeries& series, SeriesRef ref,
                                                 const Labels& labels) {
    for (const FloatSample& sample : series.samples) {
      ASSIGN_OR_RETURN(ref, batch.appender->Append(ref, labels, sample.time, sample.value));
      ++batch.answer.samples;
    }
    for (TimedHistogram& item : series.histograms) {
      RETURN_IF_ERROR(CheckHistogram(item.histogram));
      ASSIGN_OR_RETURN(ref,
                       batch.appender->AppendHistogram(ref, labels, item.time, item.histogram));
      ++batch.answer.histograms;
    }
    return ref;
  }

  static absl::Status CheckHistogram(Histogram& histogram) {
    absl::Status status = ReduceResolution(histogram);
    if (status.ok() && !histogram.IsStale()) status = histogram.Validate();
    if (status.ok()) return status;
    return AppendErrorStatus(AppendError::kInvalidHistogram, MessageOf(status));
  }

  Appendable& appendable_;
  RefCache refs_;
  prometheus::Counter* invalid_labels_ = nullptr;
};

}  // namespace

std::unique_ptr<WriteReceiver> WriteReceiver::Create(Appendable& appendable, Clock&,
                                                     prometheus::Registry* registry) {
  return std::make_unique<WriteReceiverImpl>(appendable, registry);
}

}  // namespace varve
