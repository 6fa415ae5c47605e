// SPDX-License-Identifier: Apache-2.0
//
// The head of a `columns` row (column.h has the layout), taken apart: segments and where their
// blocks are. What column.cc reads with and column_encode.cc writes for.
#pragma once

#include <absl/container/inlined_vector.h>
#include <absl/status/statusor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tsdb/coding.h"
#include "tsdb/column.h"

namespace varve {

inline constexpr uint8_t kColumnVersion = 1;

// Row flags.
inline constexpr uint8_t kSharedTimesFlag = 1;

// Segment flags.
inline constexpr uint8_t kHistogramsFlag = 1;
inline constexpr uint8_t kStartsFlag = 2;
inline constexpr uint8_t kIntegerCountsFlag = 4;
inline constexpr uint8_t kRegularFlag = 8;
inline constexpr uint8_t kTimesOnlyFlag = 16;

// What a hint is raised by for a bare staleness marker.
inline constexpr int64_t kMarkerHint = 4;

// Values that the blocks of a histogram segment hold at most, all columns together.
inline constexpr size_t kColumnBlockValuesMax = size_t{1} << 18;

// Samples of each block but the last, for a segment with so many columns.
inline uint32_t BlockSamples(size_t columns) {
  const size_t samples = kColumnBlockValuesMax / (columns + 1);
  return static_cast<uint32_t>(samples > kColumnBlockSamplesMax ? kColumnBlockSamplesMax
                               : samples < 16                   ? 16
                                                                : samples);
}

struct ColumnBlock {
  uint32_t samples = 0;
  uint64_t first_index = 0;  // Of its first sample in the row.
  TimestampMs begin = 0;     // Its first and last time; the row's if its times are shared.
  TimestampMs end = 0;
  uint32_t checksum = 0;
  uint64_t size = 0;
  std::string_view bytes;
};

struct ColumnSegment {
  bool histograms = false;
  bool has_starts = false;
  bool regular = false;
  bool times_only = false;
  Histogram layout;     // Counts empty.
  size_t positive = 0;  // Buckets of the positive side.
  size_t doubles = 0;   // Columns of doubles.
  uint64_t samples = 0;
  int64_t step = 0;
  // Columns that are the same in every sample: the value, and none in blocks.
  std::optional<int64_t> start;
  std::optional<int64_t> hint;
  std::vector<std::optional<double>> constants;  // One per column of doubles.
  absl::InlinedVector<ColumnBlock, 12> blocks;
};

struct ColumnRow {
  TimestampMs min = 0;
  TimestampMs max = 0;
  std::optional<TimesRef> times;
  uint64_t samples = 0;
  size_t head_bytes = 0;  // Everything up to the first block.
  absl::InlinedVector<ColumnSegment, 1> segments;
};

// Views into `row`. DataLoss if the head is damaged or the row ends amid its blocks.
absl::StatusOr<ColumnRow> ParseColumnRow(std::string_view row);
// DecodeColumns() for a row that has been parsed.
absl::Status DecodeColumnRow(const ColumnRow& row, const ColumnReadOptions& options,
                             SeriesSamples& samples);

// Whether the block's bytes are as they were written.
bool IsIntact(const ColumnBlock& block);
uint32_t ColumnChecksum(std::string_view bytes);

void PutColumnLayout(const Histogram& histogram, std::string& out);

}  // namespace varve
