// SPDX-License-Identifier: Apache-2.0
//
// Log records: one commit each, everything needed to apply it again. What a record says was
// accepted: replay applies it without asking.
//
//   version     u8       2; 1 without metadata
//   raw_bytes   varint   of the payload before compression
//   payload     zstd frame:
//     base      zigzag   a time all others are relative to
//     series    varint n, n times (varint id, varint length, label bytes)
//     floats    varint n, then in columns: ids (zigzag of the difference to the one before), times
//               (zigzag of the difference to base), values f64, u8 whether any has a start time
//               and if so start times (varint: 0 = unknown, else 1 + zigzag of time - start)
//     histograms  varint n, n times (varint id, zigzag time, zigzag start, PutHistogram)
//     exemplars   varint n, n times (varint id, length, EncodeExemplar)
//     metadata    varint n, n times (length, metric name, length, EncodeMetadata); version 2 only
//
// Series come before the samples that need them, in this record or an earlier one; a record may
// name a series that an earlier one named, with the same labels.
#pragma once

#include <absl/status/statusor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "model/exemplar.h"
#include "model/histogram.h"
#include "model/metric_metadata.h"

struct ZSTD_CCtx_s;
struct ZSTD_DCtx_s;

namespace varve {

// A record's payload, before compression.
inline constexpr size_t kLogPayloadBytesMax = size_t{1} << 30;

struct LogRecord {
  struct Series {
    uint64_t id = 0;
    std::string label_bytes;
    friend bool operator==(const Series&, const Series&) = default;
  };
  struct Float {
    uint64_t id = 0;
    TimestampMs time = 0;
    double value = 0;
    TimestampMs start_time = 0;
  };
  struct HistogramEntry {
    uint64_t id = 0;
    TimestampMs time = 0;
    TimestampMs start_time = 0;
    Histogram histogram;
  };
  struct ExemplarEntry {
    uint64_t id = 0;
    Exemplar exemplar;
  };

  std::vector<Series> series;
  std::vector<Float> floats;
  std::vector<HistogramEntry> histograms;
  std::vector<ExemplarEntry> exemplars;
  std::vector<MetricFamily> metadata;

  bool empty() const {
    return series.empty() && floats.empty() && histograms.empty() && exemplars.empty() &&
           metadata.empty();
  }
  void Clear();
};

// Encodes records, keeping the compressor and its buffers between them. Not thread-safe.
class LogRecordEncoder {
 public:
  LogRecordEncoder();
  ~LogRecordEncoder();
  LogRecordEncoder(const LogRecordEncoder&) = delete;
  LogRecordEncoder& operator=(const LogRecordEncoder&) = delete;

  // The record's bytes, valid until the next call. ResourceExhausted past kLogPayloadBytesMax.
  absl::StatusOr<std::string_view> Encode(const LogRecord& record);

 private:
  ZSTD_CCtx_s* compressor_;
  std::string payload_;
  std::string out_;
};

// Decodes records, keeping the decompressor and its buffer between them. Not thread-safe.
class LogRecordDecoder {
 public:
  LogRecordDecoder();
  ~LogRecordDecoder();
  LogRecordDecoder(const LogRecordDecoder&) = delete;
  LogRecordDecoder& operator=(const LogRecordDecoder&) = delete;

  // DataLoss if the bytes are no record; label bytes are not checked.
  absl::StatusOr<LogRecord> Decode(std::string_view bytes);

 private:
  ZSTD_DCtx_s* decompressor_;
  std::string payload_;
};

// The same for a single record.
absl::StatusOr<LogRecord> DecodeLogRecord(std::string_view bytes);

}  // namespace varve
