// SPDX-License-Identifier: Apache-2.0
//
// Log records: one commit each, everything needed to apply it again. What a record says was
// accepted: replay applies it without asking.
//
//   version     u8       3
//   more        u8       1 if there is a frame
//   floats      varint n, and if n > 0:
//     base        zigzag   the first one's time
//     flags       u8       1: times differ, 2: some start times are known
//     ids         runs: zigzag of the first id's difference to the one after the run before, varint
//                 how many ids follow it one by one
//     times       if they differ: n zigzags of the difference to base
//     values      two to a byte the size of each (low half first), then all their bytes; size up to
//                 8: the f64's, highest first, without the zeros at its end; 8 + k: the zigzag of a
//                 number of thousandths in k bytes, lowest first
//     starts      if known: n varints, 0 = unknown, else 1 + zigzag of time - start
//   and if there is anything else, the frame:
//   raw_bytes   varint   of the frame before compression
//   frame       zstd:
//     base        zigzag   a time the histograms' are relative to
//     series      varint n, n times (varint id, varint length, label bytes)
//     histograms  varint n, n times (varint id, zigzag time, zigzag start, PutHistogram)
//     exemplars   varint n, n times (varint id, length, EncodeExemplar)
//     metadata    varint n, n times (length, metric name, length, EncodeMetadata)
//
// Floats are not compressed further: that took as long as the rest of a commit. Versions 1 and 2,
// still read, have floats in the frame behind the series: varint n, ids (zigzag of the difference
// to the one before), times (zigzag of the difference to base), values f64, u8 whether start times
// follow; version 1 has no metadata.
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

namespace varve {

// What a record has in floats, and in all else before compression.
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

  bool only_floats() const {
    return series.empty() && histograms.empty() && exemplars.empty() && metadata.empty();
  }
  bool empty() const { return floats.empty() && only_floats(); }
  void Clear();
};

// Encodes records, keeping its buffers between them. Not thread-safe.
class LogRecordEncoder {
 public:
  // The record's bytes, valid until the next call. ResourceExhausted past kLogPayloadBytesMax.
  absl::StatusOr<std::string_view> Encode(const LogRecord& record);

 private:
  std::string frame_;  // Before compression.
  std::string out_;
};

// Decodes records, keeping its buffer between them. Not thread-safe.
class LogRecordDecoder {
 public:
  // DataLoss if the bytes are no record; label bytes are not checked.
  absl::StatusOr<LogRecord> Decode(std::string_view bytes);

 private:
  std::vector<char> frame_;  // Decompressed.
};

// The same for a single record.
absl::StatusOr<LogRecord> DecodeLogRecord(std::string_view bytes);

}  // namespace varve
