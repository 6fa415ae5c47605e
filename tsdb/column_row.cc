// SPDX-License-Identifier: Apache-2.0
//
// Parsing of a row's head. Its checksum has been compared by then, so that what is checked beyond
// is what keeps readers within bounds whoever wrote the bytes.
#include "tsdb/column_row.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <cstring>
#include <utility>

#include "model/histogram.h"
#include "model/status_macros.h"
#include "tsdb/column_double.h"
#include "tsdb/column_int.h"

namespace varve {

namespace {

absl::Status BadRow(std::string_view what) {
  return absl::DataLossError(fmt::format("columns row: {}", what));
}

uint32_t ReadChecksum(ByteReader& reader) {
  uint32_t checksum = 0;
  const std::string_view bytes = reader.Bytes(sizeof(checksum));
  if (!bytes.empty()) std::memcpy(&checksum, bytes.data(), sizeof(checksum));
  return checksum;
}

bool ReadColumnSpans(ByteReader& reader, std::vector<Span>& spans, size_t& buckets) {
  const size_t count = reader.Count(2);
  spans.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    const int64_t offset = reader.SignedVarint();
    const uint64_t length = reader.Varint();
    if (offset != static_cast<int32_t>(offset) || length > kHistogramBucketsMax) return false;
    buckets += length;
    if (buckets > kHistogramBucketsMax) return false;
    spans.push_back({static_cast<int32_t>(offset), static_cast<uint32_t>(length)});
  }
  return !reader.failed();
}

bool ReadColumnLayout(ByteReader& reader, ColumnSegment& segment) {
  Histogram& layout = segment.layout;
  const int64_t schema = reader.SignedVarint();
  if (schema != static_cast<int32_t>(schema)) return false;
  layout.schema = static_cast<int32_t>(schema);
  layout.zero_threshold = reader.Double();
  const size_t bounds = reader.Count(sizeof(double));
  layout.custom_bounds.reserve(bounds);
  for (size_t i = 0; i < bounds; ++i) layout.custom_bounds.push_back(reader.Double());
  size_t buckets = 0;
  if (!ReadColumnSpans(reader, layout.positive.spans, buckets)) return false;
  segment.positive = buckets;
  if (!ReadColumnSpans(reader, layout.negative.spans, buckets)) return false;
  segment.doubles = 3 + buckets;
  return true;
}

// Reads which columns are constant, and their values.
bool ReadConstants(ByteReader& reader, ColumnSegment& segment) {
  const size_t columns =
      (segment.has_starts ? 1 : 0) + (segment.histograms ? 1 : 0) + segment.doubles;
  const std::string_view bits = reader.Bytes((columns + 7) / 8);
  if (reader.failed()) return false;
  size_t next = 0;
  const auto is_constant = [&] {
    const size_t column = next++;
    return (static_cast<uint8_t>(bits[column / 8]) >> (column % 8) & 1) != 0;
  };
  if (segment.has_starts && is_constant()) segment.start = reader.SignedVarint();
  if (segment.histograms && is_constant()) segment.hint = reader.SignedVarint();
  segment.constants.resize(segment.doubles);
  for (std::optional<double>& constant : segment.constants) {
    if (!is_constant()) continue;
    const std::optional<DoubleColumn> column = ReadDoubleColumn(reader, 1);
    double value = 0;
    if (!column.has_value() || !DecodeDoubles(*column, 1, &value)) return false;
    constant = value;
  }
  return !reader.failed();
}

bool AllConstant(const ColumnSegment& segment) {
  if (segment.has_starts && !segment.start.has_value()) return false;
  if (segment.histograms && !segment.hint.has_value()) return false;
  for (const std::optional<double>& constant : segment.constants) {
    if (!constant.has_value()) return false;
  }
  return true;
}

// Times of a segment's blocks as they are read; wraps, and is checked afterwards.
bool ReadBlocks(ByteReader& reader, bool shared, ColumnRow& row, TimestampMs& last,
                ColumnSegment& segment) {
  const bool has_bytes = !AllConstant(segment) || (!shared && !segment.regular);
  const uint64_t block_samples = BlockSamples(segment.doubles);
  if (segment.regular && segment.step <= 0) return false;
  for (uint64_t done = 0; done < segment.samples;) {
    ColumnBlock block;
    block.samples = static_cast<uint32_t>(std::min(block_samples, segment.samples - done));
    block.first_index = row.samples + done;
    const auto intervals = static_cast<int64_t>(block.samples - 1);
    if (shared) {
      block.begin = row.min;
      block.end = row.max;
    } else {
      block.begin = done == 0 ? last : WrapAdd(last, segment.step);
      if (!segment.regular || done == 0) block.begin = WrapAdd(block.begin, reader.SignedVarint());
      int64_t extent = 0;
      if (__builtin_mul_overflow(segment.step, intervals, &extent)) return false;
      if (!segment.regular) extent = WrapAdd(extent, reader.SignedVarint());
      if (__builtin_add_overflow(block.begin, extent, &block.end)) return false;
      const bool first = block.first_index == 0;
      if (extent < intervals || (first ? block.begin != row.min : block.begin <= last)) {
        return false;
      }
      last = block.end;
    }
    if (has_bytes) {
      block.size = reader.Varint();
      block.checksum = ReadChecksum(reader);
    }
    if (reader.failed()) return false;
    done += block.samples;
    segment.blocks.push_back(block);
  }
  return true;
}

bool ReadSegment(ByteReader& reader, ColumnRow& row, TimestampMs& last, ColumnSegment& segment) {
  constexpr uint8_t kKnown =
      kHistogramsFlag | kStartsFlag | kIntegerCountsFlag | kRegularFlag | kTimesOnlyFlag;
  const uint8_t flags = reader.Byte();
  if ((flags & ~kKnown) != 0) return false;
  segment.histograms = (flags & kHistogramsFlag) != 0;
  segment.has_starts = (flags & kStartsFlag) != 0;
  segment.regular = (flags & kRegularFlag) != 0;
  segment.times_only = (flags & kTimesOnlyFlag) != 0;
  segment.layout.integer_counts = (flags & kIntegerCountsFlag) != 0;
  if (segment.times_only && (segment.histograms || segment.has_starts)) return false;
  if (segment.histograms) {
    if (!ReadColumnLayout(reader, segment)) return false;
  } else {
    segment.doubles = segment.times_only ? 0 : 1;
  }
  segment.samples = reader.Varint();
  if (segment.samples == 0 || segment.samples > kColumnRowSamplesMax - row.samples) return false;
  if (!row.times.has_value()) segment.step = reader.SignedVarint();
  return ReadConstants(reader, segment) &&
         ReadBlocks(reader, row.times.has_value(), row, last, segment);
}

}  // namespace

uint32_t ColumnChecksum(std::string_view bytes) {
  return static_cast<uint32_t>(XXH3_64bits(bytes.data(), bytes.size()));
}

bool IsIntact(const ColumnBlock& block) {
  return block.bytes.empty() || ColumnChecksum(block.bytes) == block.checksum;
}

void PutColumnLayout(const Histogram& histogram, std::string& out) {
  PutZigZag(out, histogram.schema);
  PutDouble(out, histogram.zero_threshold);
  PutVarint(out, histogram.custom_bounds.size());
  for (const double bound : histogram.custom_bounds) PutDouble(out, bound);
  for (const Buckets* side : {&histogram.positive, &histogram.negative}) {
    PutVarint(out, side->spans.size());
    for (const Span& span : side->spans) {
      PutZigZag(out, span.offset);
      PutVarint(out, span.length);
    }
  }
}

absl::StatusOr<ColumnRow> ParseColumnRow(std::string_view bytes) {
  ByteReader start(bytes);
  const uint8_t version = start.Byte();
  if (version != kColumnVersion && !start.failed()) {
    return BadRow(fmt::format("unknown version {}", version));
  }
  const uint32_t checksum = ReadChecksum(start);
  const std::string_view checked = start.rest();
  ByteReader reader(start.Text());
  if (start.failed()) return BadRow("cut off within its head");
  if (ColumnChecksum(checked.substr(0, checked.size() - start.rest().size())) != checksum) {
    return BadRow("checksum mismatch in its head");
  }
  absl::StatusOr<ColumnRow> parsed = ColumnRow();  // In place: moving one is no small matter.
  ColumnRow& row = *parsed;
  row.head_bytes = bytes.size() - start.rest().size();
  const uint8_t flags = reader.Byte();
  row.min = reader.SignedVarint();
  row.max = WrapAdd(row.min, static_cast<int64_t>(reader.Varint()));
  if (row.max < row.min) return BadRow("times out of range");
  if ((flags & ~kSharedTimesFlag) != 0) return BadRow("unknown flags");
  if ((flags & kSharedTimesFlag) != 0) {
    TimesRef ref;
    ref.series = reader.Varint();
    ref.first_time = reader.SignedVarint();
    ref.first_index = reader.Varint();
    if (ref.first_index > kColumnRowSamplesMax) return BadRow("times reference out of range");
    row.times = ref;
  }
  const size_t segments = reader.Count(3);
  if (segments == 0) return BadRow("no segments");
  TimestampMs last = row.min;
  uint64_t offset = 0;
  for (size_t i = 0; i < segments; ++i) {
    ColumnSegment& segment = row.segments.emplace_back();
    if (!ReadSegment(reader, row, last, segment)) return BadRow("malformed segment");
    for (ColumnBlock& block : segment.blocks) {
      if (block.size > start.rest().size() - offset) return BadRow("cut off");
      block.bytes = start.rest().substr(offset, block.size);
      offset += block.size;
    }
    row.samples += segment.samples;
  }
  if (reader.failed() || !reader.done()) return BadRow("malformed head");
  if (offset != start.rest().size()) return BadRow("bytes behind its blocks");
  if (!row.times.has_value() && last != row.max) return BadRow("last time does not fit");
  return parsed;
}

}  // namespace varve
