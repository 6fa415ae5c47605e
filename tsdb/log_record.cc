// SPDX-License-Identifier: Apache-2.0
//
// Log records to bytes and back.
#include "tsdb/log_record.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <optional>
#include <utility>

#include "model/check.h"
#include "model/status_macros.h"
#include "tsdb/coding.h"
#include "tsdb/format.h"
#include "tsdb/histogram_chunk.h"
#include "tsdb/zstd_frames.h"

namespace varve {

namespace {

constexpr uint8_t kLogRecordVersion = 3;
// Earlier versions, which are only read: all in one frame.
constexpr uint8_t kWithoutMetadata = 1;
constexpr uint8_t kOneFrame = 2;

// What follows in a record's floats.
constexpr uint8_t kTimesDiffer = 1;
constexpr uint8_t kAnyStart = 2;

absl::Status Damaged() { return absl::DataLossError("damaged log record"); }

// Adding 1 does not wrap: times lie within kStoredTimeMax, so their distance is far from 2^63.
uint64_t StartCode(TimestampMs time, TimestampMs start) {
  return start == 0 ? 0 : 1 + ZigZag(WrapSub(time, start));
}
TimestampMs StartOfCode(TimestampMs time, uint64_t code) {
  return code == 0 ? 0 : WrapSub(time, UnZigZag(code - 1));
}

// Ids that follow one another, as those of a target's series do, take no room of their own.
void PutIds(const std::vector<LogRecord::Float>& floats, std::string& out) {
  uint64_t expected = 0;
  for (size_t i = 0; i < floats.size();) {
    PutZigZag(out, static_cast<int64_t>(floats[i].id - expected));
    const size_t first = i;
    do {
      expected = floats[i++].id + 1;
    } while (i < floats.size() && floats[i].id == expected);
    PutVarint(out, i - first - 1);
  }
}

bool ReadIds(ByteReader& reader, std::vector<LogRecord::Float>& floats) {
  uint64_t expected = 0;
  for (size_t i = 0; i < floats.size();) {
    expected += static_cast<uint64_t>(reader.SignedVarint());
    const uint64_t more = reader.Varint();
    if (reader.failed() || more >= floats.size() - i) return false;
    for (const size_t end = i + more + 1; i < end; ++i) floats[i].id = expected++;
  }
  return true;
}

// A value's size in half a byte: up to eight of its first bytes, the rest being zeros, or past that
// so many bytes of a number of thousandths.
constexpr size_t kWholeBytes = sizeof(double);
constexpr size_t kThousandthsBytesMax = 6;
// With fewer bytes than this a value is short enough as it is.
constexpr size_t kLongBytesMin = 5;
constexpr double kThousandthsMax = int64_t{1} << (8 * kThousandthsBytesMax - 2);

// Writes eight bytes at `at`, and returns how many of them, and which kind, count.
size_t PutValue(double value, char* at) {
  const auto bits = std::bit_cast<uint64_t>(value);
  const size_t bytes = kWholeBytes - static_cast<size_t>(std::countr_zero(bits)) / 8;
  const double scaled = value * 1000;
  if (bytes >= kLongBytesMin && std::abs(scaled) < kThousandthsMax) {
    const auto thousandths = static_cast<int64_t>(scaled + std::copysign(0.5, scaled));
    const uint64_t code = ZigZag(thousandths);
    const size_t code_bytes = (static_cast<size_t>(std::bit_width(code)) + 7) / 8;
    if (code_bytes > 0 && code_bytes < bytes && static_cast<double>(thousandths) / 1000 == value) {
      std::memcpy(at, &code, sizeof(code));
      return kWholeBytes + code_bytes;
    }
  }
  const uint64_t first = __builtin_bswap64(bits);
  std::memcpy(at, &first, sizeof(first));
  return bytes;
}

size_t ValueBytes(size_t size) { return size > kWholeBytes ? size - kWholeBytes : size; }

void PutValues(const std::vector<LogRecord::Float>& floats, std::string& out) {
  const size_t sizes = out.size();
  const size_t begin = sizes + (floats.size() + 1) / 2;
  out.resize(begin + floats.size() * sizeof(double));  // What is too much is overwritten.
  char* at = out.data() + begin;
  for (size_t i = 0; i < floats.size(); ++i) {
    const size_t size = PutValue(floats[i].value, at);
    at += ValueBytes(size);
    char& pair = out[sizes + i / 2];
    pair = static_cast<char>(i % 2 == 0 ? size : static_cast<uint8_t>(pair) | size << 4);
  }
  out.resize(static_cast<size_t>(at - out.data()));
}

bool ReadValues(ByteReader& reader, std::vector<LogRecord::Float>& floats) {
  const std::string_view sizes = reader.Bytes((floats.size() + 1) / 2);
  if (reader.failed()) return false;
  for (size_t i = 0; i < floats.size(); ++i) {
    const size_t size = (static_cast<uint8_t>(sizes[i / 2]) >> (i % 2 * 4)) & 15;
    const std::string_view read = reader.Bytes(ValueBytes(size));
    if (reader.failed() || size > kWholeBytes + kThousandthsBytesMax) return false;
    uint64_t word = 0;
    if (!read.empty()) std::memcpy(&word, read.data(), read.size());
    floats[i].value = size > kWholeBytes ? static_cast<double>(UnZigZag(word)) / 1000
                                         : std::bit_cast<double>(__builtin_bswap64(word));
  }
  return true;
}

void PutFloats(const std::vector<LogRecord::Float>& floats, std::string& out) {
  PutVarint(out, floats.size());
  if (floats.empty()) return;
  const TimestampMs base = floats.front().time;
  bool times_differ = false;
  bool any_start = false;
  for (const LogRecord::Float& sample : floats) {
    times_differ |= sample.time != base;
    any_start |= sample.start_time != 0;
  }
  PutZigZag(out, base);
  out.push_back(static_cast<char>((times_differ ? kTimesDiffer : 0) | (any_start ? kAnyStart : 0)));
  PutIds(floats, out);
  if (times_differ) {
    for (const LogRecord::Float& sample : floats) PutZigZag(out, WrapSub(sample.time, base));
  }
  PutValues(floats, out);
  if (!any_start) return;
  for (const LogRecord::Float& sample : floats) {
    PutVarint(out, StartCode(sample.time, sample.start_time));
  }
}

// False if they are damaged.
bool ReadFloats(ByteReader& reader, std::vector<LogRecord::Float>& floats) {
  const uint64_t count = reader.Varint();
  // Two sizes of values take a byte.
  if (reader.failed() || count > 2 * reader.rest().size()) return false;
  floats.resize(count);
  if (count == 0) return true;
  const TimestampMs base = reader.SignedVarint();
  const uint8_t flags = reader.Byte();
  if (flags > (kTimesDiffer | kAnyStart) || !ReadIds(reader, floats)) return false;
  for (LogRecord::Float& sample : floats) {
    sample.time = (flags & kTimesDiffer) != 0 ? WrapAdd(base, reader.SignedVarint()) : base;
  }
  if (!ReadValues(reader, floats)) return false;
  if ((flags & kAnyStart) != 0) {
    for (LogRecord::Float& sample : floats) {
      sample.start_time = StartOfCode(sample.time, reader.Varint());
    }
  }
  return !reader.failed();
}

// As versions before 3 have them.
void ReadColumns(ByteReader& reader, TimestampMs base, std::vector<LogRecord::Float>& floats) {
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

// What a record has besides floats.
void PutOthers(const LogRecord& record, std::string& out) {
  const TimestampMs base = record.histograms.empty() ? 0 : record.histograms.front().time;
  PutZigZag(out, base);
  PutVarint(out, record.series.size());
  for (const LogRecord::Series& series : record.series) {
    PutVarint(out, series.id);
    PutText(out, series.label_bytes);
  }
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
  PutVarint(out, record.metadata.size());
  for (const MetricFamily& family : record.metadata) {
    PutText(out, family.name);
    PutText(out, EncodeMetadata(family.metadata));
  }
}

absl::Status ReadOthers(std::string_view payload, uint8_t version, LogRecord& record) {
  ByteReader reader(payload);
  const TimestampMs base = reader.SignedVarint();
  record.series.resize(reader.Count(2));
  for (LogRecord::Series& series : record.series) {
    series.id = reader.Varint();
    series.label_bytes = reader.Text();
  }
  if (version <= kOneFrame) ReadColumns(reader, base, record.floats);
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
  return absl::OkStatus();
}

}  // namespace

void LogRecord::Clear() {
  series.clear();
  floats.clear();
  histograms.clear();
  exemplars.clear();
  metadata = {};  // Rare: its memory is not kept.
}

absl::StatusOr<std::string_view> LogRecordEncoder::Encode(const LogRecord& record) {
  out_.clear();
  out_.push_back(static_cast<char>(kLogRecordVersion));
  const bool has_frame = !record.only_floats();
  out_.push_back(has_frame ? 1 : 0);
  PutFloats(record.floats, out_);
  frame_.clear();
  if (has_frame) PutOthers(record, frame_);
  if (out_.size() > kLogPayloadBytesMax || frame_.size() > kLogPayloadBytesMax) {
    return absl::ResourceExhaustedError(fmt::format("a commit of {} bytes exceeds the limit of {}",
                                                    std::max(out_.size(), frame_.size()),
                                                    kLogPayloadBytesMax));
  }
  if (frame_.empty()) return std::string_view(out_);
  RETURN_IF_ERROR(PutSizedFrame(frame_, "a log record", out_));
  return std::string_view(out_);
}

absl::StatusOr<LogRecord> LogRecordDecoder::Decode(std::string_view bytes) {
  ByteReader reader(bytes);
  const uint8_t version = reader.Byte();
  if (version < kWithoutMetadata || version > kLogRecordVersion) return Damaged();
  LogRecord record;
  if (version > kOneFrame) {
    const uint8_t has_frame = reader.Byte();
    if (has_frame > 1 || !ReadFloats(reader, record.floats)) return Damaged();
    if (has_frame == 0) {
      if (!reader.done()) return Damaged();
      return record;
    }
  }
  if (!ReadSizedFrame(reader, kLogPayloadBytesMax, frame_)) return Damaged();
  RETURN_IF_ERROR(ReadOthers({frame_.data(), frame_.size()}, version, record));
  return record;
}

absl::StatusOr<LogRecord> DecodeLogRecord(std::string_view bytes) {
  return LogRecordDecoder().Decode(bytes);
}

}  // namespace varve
