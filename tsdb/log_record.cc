// SPDX-License-Identifier: Apache-2.0
//
// Log records to bytes and back.
#include "tsdb/log_record.h"

#include <fmt/format.h>
#include <zstd.h>

#include <optional>
#include <utility>

#include "model/check.h"
#include "model/status_macros.h"
#include "tsdb/coding.h"
#include "tsdb/format.h"
#include "tsdb/histogram_chunk.h"

namespace varve {

namespace {

constexpr uint8_t kLogRecordVersion = 2;
// What programs from before there was metadata read, and still get where there is none.
constexpr uint8_t kWithoutMetadata = 1;
// Records live for minutes, so speed counts more than the last tenth of their size.
constexpr int kCompressionLevel = -1;

absl::Status Damaged() { return absl::DataLossError("damaged log record"); }

// Adding 1 does not wrap: times lie within kStoredTimeMax, so their distance is far from 2^63.
uint64_t StartCode(TimestampMs time, TimestampMs start) {
  return start == 0 ? 0 : 1 + ZigZag(WrapSub(time, start));
}
TimestampMs StartOfCode(TimestampMs time, uint64_t code) {
  return code == 0 ? 0 : WrapSub(time, UnZigZag(code - 1));
}

void PutFloats(const std::vector<LogRecord::Float>& floats, TimestampMs base, std::string& out) {
  PutVarint(out, floats.size());
  uint64_t before = 0;
  bool any_start = false;
  for (const LogRecord::Float& sample : floats) {
    PutZigZag(out, static_cast<int64_t>(sample.id - before));
    before = sample.id;
    any_start |= sample.start_time != 0;
  }
  for (const LogRecord::Float& sample : floats) PutZigZag(out, WrapSub(sample.time, base));
  const size_t values = out.size();
  out.resize(values + floats.size() * sizeof(double));
  char* at = out.data() + values;
  for (const LogRecord::Float& sample : floats) {
    std::memcpy(at, &sample.value, sizeof(double));
    at += sizeof(double);
  }
  out.push_back(any_start ? 1 : 0);
  if (!any_start) return;
  for (const LogRecord::Float& sample : floats) {
    PutVarint(out, StartCode(sample.time, sample.start_time));
  }
}

void ReadFloats(ByteReader& reader, TimestampMs base, std::vector<LogRecord::Float>& floats) {
  floats.resize(reader.Count(1 + 1 + sizeof(double)));
  uint64_t id = 0;
  for (LogRecord::Float& sample : floats) {
    id += static_cast<uint64_t>(reader.SignedVarint());
    sample.id = id;
  }
  for (LogRecord::Float& sample : floats) sample.time = WrapAdd(base, reader.SignedVarint());
  const std::string_view values = reader.Bytes(floats.size() * sizeof(double));
  if (reader.failed()) return;
  const char* at = values.data();
  for (LogRecord::Float& sample : floats) {
    std::memcpy(&sample.value, at, sizeof(double));
    at += sizeof(double);
  }
  if (reader.Byte() == 0) return;
  for (LogRecord::Float& sample : floats) {
    sample.start_time = StartOfCode(sample.time, reader.Varint());
  }
}

void PutPayload(const LogRecord& record, std::string& out) {
  TimestampMs base = 0;
  if (!record.floats.empty()) {
    base = record.floats.front().time;
  } else if (!record.histograms.empty()) {
    base = record.histograms.front().time;
  }
  PutZigZag(out, base);
  PutVarint(out, record.series.size());
  for (const LogRecord::Series& series : record.series) {
    PutVarint(out, series.id);
    PutText(out, series.label_bytes);
  }
  PutFloats(record.floats, base, out);
  PutVarint(out, record.histograms.size());
  for (const LogRecord::HistogramEntry& entry : record.histograms) {
    PutVarint(out, entry.id);
    PutZigZag(out, WrapSub(entry.time, base));
    PutZigZag(out, entry.start_time);
    PutHistogram(entry.histogram, out);
  }
  PutVarint(out, record.exemplars.size());
  for (const LogRecord::ExemplarEntry& entry : record.exemplars) {
    PutVarint(out, entry.id);
    PutText(out, EncodeExemplar(entry.exemplar));
  }
  if (record.metadata.empty()) return;
  PutVarint(out, record.metadata.size());
  for (const MetricFamily& family : record.metadata) {
    PutText(out, family.name);
    PutText(out, EncodeMetadata(family.metadata));
  }
}

absl::StatusOr<LogRecord> ReadPayload(std::string_view payload, uint8_t version) {
  ByteReader reader(payload);
  LogRecord record;
  const TimestampMs base = reader.SignedVarint();
  record.series.resize(reader.Count(2));
  for (LogRecord::Series& series : record.series) {
    series.id = reader.Varint();
    series.label_bytes = reader.Text();
  }
  ReadFloats(reader, base, record.floats);
  const size_t histograms = reader.Count(8);
  for (size_t i = 0; i < histograms; ++i) {
    LogRecord::HistogramEntry entry;
    entry.id = reader.Varint();
    entry.time = WrapAdd(base, reader.SignedVarint());
    entry.start_time = reader.SignedVarint();
    std::optional<Histogram> histogram = ReadHistogram(reader);
    if (!histogram.has_value()) return Damaged();
    entry.histogram = *std::move(histogram);
    record.histograms.push_back(std::move(entry));
  }
  const size_t exemplars = reader.Count(3);
  for (size_t i = 0; i < exemplars; ++i) {
    const uint64_t id = reader.Varint();
    ASSIGN_OR_RETURN(Exemplar exemplar, DecodeExemplar(reader.Text()));
    record.exemplars.push_back({id, std::move(exemplar)});
  }
  const size_t metadata = version == kWithoutMetadata ? 0 : reader.Count(2);
  for (size_t i = 0; i < metadata; ++i) {
    const std::string_view name = reader.Text();
    ASSIGN_OR_RETURN(MetricMetadata read, DecodeMetadata(reader.Text()));
    record.metadata.push_back({std::string(name), std::move(read)});
  }
  if (reader.failed() || !reader.done()) return Damaged();
  return record;
}

}  // namespace

void LogRecord::Clear() {
  series.clear();
  floats.clear();
  histograms.clear();
  exemplars.clear();
  metadata = {};  // Rare: its memory is not kept.
}

LogRecordEncoder::LogRecordEncoder() : compressor_(ZSTD_createCCtx()) {
  INVARIANT(compressor_ != nullptr);
}
LogRecordEncoder::~LogRecordEncoder() { ZSTD_freeCCtx(compressor_); }

absl::StatusOr<std::string_view> LogRecordEncoder::Encode(const LogRecord& record) {
  payload_.clear();
  PutPayload(record, payload_);
  if (payload_.size() > kLogPayloadBytesMax) {
    return absl::ResourceExhaustedError(fmt::format("a commit of {} bytes exceeds the limit of {}",
                                                    payload_.size(), kLogPayloadBytesMax));
  }
  out_.clear();
  out_.push_back(static_cast<char>(record.metadata.empty() ? kWithoutMetadata : kLogRecordVersion));
  PutVarint(out_, payload_.size());
  const size_t header = out_.size();
  out_.resize(header + ZSTD_compressBound(payload_.size()));
  const size_t written = ZSTD_compressCCtx(compressor_, out_.data() + header, out_.size() - header,
                                           payload_.data(), payload_.size(), kCompressionLevel);
  if (ZSTD_isError(written) != 0) {
    return absl::InternalError(
        fmt::format("compressing a log record: {}", ZSTD_getErrorName(written)));
  }
  out_.resize(header + written);
  return std::string_view(out_);
}

LogRecordDecoder::LogRecordDecoder() : decompressor_(ZSTD_createDCtx()) {
  INVARIANT(decompressor_ != nullptr);
}
LogRecordDecoder::~LogRecordDecoder() { ZSTD_freeDCtx(decompressor_); }

absl::StatusOr<LogRecord> LogRecordDecoder::Decode(std::string_view bytes) {
  ByteReader reader(bytes);
  const uint8_t version = reader.Byte();
  if (version < kWithoutMetadata || version > kLogRecordVersion) return Damaged();
  const uint64_t raw_bytes = reader.Varint();
  const std::string_view frame = reader.rest();
  // The frame itself knows its size, which bounds what damaged bytes can make us allocate.
  if (reader.failed() || raw_bytes > kLogPayloadBytesMax ||
      ZSTD_getFrameContentSize(frame.data(), frame.size()) != raw_bytes) {
    return Damaged();
  }
  payload_.resize(raw_bytes);
  const size_t size = ZSTD_decompressDCtx(decompressor_, payload_.data(), payload_.size(),
                                          frame.data(), frame.size());
  if (ZSTD_isError(size) != 0 || size != raw_bytes) return Damaged();
  return ReadPayload(payload_, version);
}

absl::StatusOr<LogRecord> DecodeLogRecord(std::string_view bytes) {
  return LogRecordDecoder().Decode(bytes);
}

}  // namespace varve
