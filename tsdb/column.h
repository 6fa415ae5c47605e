// SPDX-License-Identifier: Apache-2.0
//
// Rows of `columns`: all samples that one series has in a bucket's generation, in columns of up to
// 512 samples each. Pure functions over bytes; every bit of every double comes back.
//
// A row is a header, a directory of blocks for each segment, then the blocks. A segment is a run of
// samples of one layout: floats, or histograms of the same schema, zero threshold, spans, bounds
// and integer flag. A block decodes by itself from its bytes and the directory.
//
//   version        u8      1
//   checksum       u32 LE  of everything from here up to the first block (low half of XXH3)
//   head size      varint  bytes from here up to the first block
//   flags          u8      1 the times are in another row
//   min            zigzag  time of the first sample
//   span           varint  time of the last sample - min
//   [series        varint  ] of the row that holds the times, with flag 1
//   [first time    zigzag  ] of that row
//   [first index   varint  ] where our first time is in it
//   segments       varint
//   segment:
//     flags        u8      1 histograms, 2 start timestamps, 4 integer counts (histograms),
//                          8 regular: each time is the one before + step, 16 times only
//     [layout]             of histograms: schema zigzag, zero threshold f64, varint n and n bounds
//                          f64, then for each side varint n and n spans (zigzag offset, varint
//                          length)
//     samples      varint  at least 1
//     [step        zigzag] usual distance of two times, unless the times are in another row
//     constant     bits    one per column, lowest first, set if all samples have the same value;
//                          zeros fill the last byte. The columns: start timestamps with flag 2; of
//                          histograms the hints, sums, counts, zero counts, and each bucket,
//                          positive ones first; of floats the values; with flag 16 none
//     constants            of these columns: zigzag, or a column_double.h column of one value
//     blocks, of as many samples as BlockSamples() in column_row.h says (512 unless histograms have
//     more than 511 columns), the last one shorter:
//       [begin     zigzag] first time - (last time of the block before + step); for the segment's
//                          first block, - the last time of the segment before, or - min
//       [extent    zigzag] last time - first time - step * (samples - 1)
//                          Neither if times are in another row; of regular times only one begin.
//       [size      varint] bytes of the block
//       [checksum  u32 LE] of these bytes; neither if there can be none: all columns constant and
//                          times regular or in another row
//   blocks         the columns that are not constant, one behind the other: [times unless regular
//                  or in another row, as column_int.h column of: time - first time - i * step],
//                  start timestamps and hints as column_int.h, the others as column_double.h has it
//
// (1) Times rise within a row.
// (2) A bare staleness marker (a histogram of nothing but its sum) fits any histogram segment of
//     its integer flag: its hint is raised by 4, its other columns repeat a neighbour.
// (3) Times are in another row only if they are an unbroken run of that row's times. Both rows are
//     in the same partition, bucket and generation, so that they go together.
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <absl/types/span.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/queryable.h"
#include "model/time.h"

namespace varve {

inline constexpr uint32_t kColumnBlockSamplesMax = 512;
// Samples of one row; a series with more of them in a bucket has several rows.
inline constexpr uint64_t kColumnRowSamplesMax = uint64_t{1} << 20;

// ---------------------------------------------------------------------------------------- writing

// Where the times of a row are if not in it: in a times row (EncodeTimes), stored in the same
// generation beside the first series that uses it.
struct TimesRef {
  uint64_t series = 0;         // With first_time: what the caller keys times rows by.
  TimestampMs first_time = 0;  // The first of the times row.
  uint64_t first_index = 0;    // Our first time is the times row's times[first_index].
  friend bool operator==(const TimesRef&, const TimesRef&) = default;
};

// The value of a row. With `shared`, its times are left out.
// REQUIRES: 1 to kColumnRowSamplesMax samples; times within +-kStoredTimeMax that rise within each
// list, none of them in both.
std::string EncodeColumns(const SeriesSamples& samples, const TimesRef* shared = nullptr);

// The value of a row that holds nothing but times. REQUIRES: as above.
std::string EncodeTimes(absl::Span<const TimestampMs> times);

// The times of all samples, floats and histograms together, rising.
std::vector<TimestampMs> TimesOf(const SeriesSamples& samples);

// Where `times` are in `row`, if they are an unbroken run of it; to fill TimesRef::first_index.
std::optional<uint64_t> FindTimes(absl::Span<const TimestampMs> row,
                                  absl::Span<const TimestampMs> times);

// ---------------------------------------------------------------------------------------- reading

// A block that could not be read.
struct ColumnDamage {
  TimestampMs min = 0;  // Its times, by the directory (of the row, or of its times row).
  TimestampMs max = 0;
  uint64_t samples = 0;
  std::string what;
};

// A decoded times row. Immutable once filled; one serves all series that refer to it.
struct SharedTimes {
  std::vector<TimestampMs> times;
  // Indexes [begin, end) whose block was damaged; their times are not to be used.
  struct Gap {
    uint64_t begin = 0;
    uint64_t end = 0;
  };
  std::vector<Gap> gaps;
};

struct ColumnReadOptions {
  TimestampMs min = kMinTimestamp;  // Inclusive.
  TimestampMs max = kMaxTimestamp;  // Inclusive.
  // Needed if ColumnSummary::times is set. Lists of times may keep it.
  std::shared_ptr<const SharedTimes> times;
  // Without, values of floats are as DecodePresence() gives them.
  bool values = true;
  // If set, damaged blocks are added here and passed over; otherwise the first one is DataLoss.
  std::vector<ColumnDamage>* damage = nullptr;
};

// Appends the samples in [min, max] to `samples`. Those that do not exceed the last time of their
// list in `samples` already are skipped. Only blocks that overlap the range are touched.
// DataLoss naming what is wrong; `samples` is then whole, with the blocks before. A damaged header
// is always DataLoss.
absl::Status DecodeColumns(std::string_view row, const ColumnReadOptions& options,
                           SeriesSamples& samples);

// Overwrites `times`. Damaged blocks become gaps (and entries of `damage` if it is not null);
// DataLoss only for a damaged header.
absl::Status DecodeTimes(std::string_view row, SharedTimes& times,
                         std::vector<ColumnDamage>* damage = nullptr);

// What a row says of itself, read from its header alone.
struct ColumnSummary {
  TimestampMs min_time = 0;
  TimestampMs max_time = 0;
  uint64_t float_samples = 0;  // Of a times row: its times.
  uint64_t histogram_samples = 0;
  uint64_t blocks = 0;
  std::optional<TimesRef> times;  // Set if the times are in another row.
};
absl::StatusOr<ColumnSummary> SummarizeColumns(std::string_view row);

// Checks every block's checksum without decoding; what fails is added to `damage`. DataLoss for a
// damaged header. Times rows too.
absl::Status VerifyColumns(std::string_view row, std::vector<ColumnDamage>& damage);

// ------------------------------------------------------------------------------------- statistics

// What the columns of some rows take, by encoding ("times linear", "values decimal delta packed").
struct ColumnUse {
  std::string encoding;
  uint64_t columns = 0;
  uint64_t samples = 0;
  uint64_t bytes = 0;
};
// Adds the columns of `row` to `uses`, kept sorted by encoding; headers and directories count as
// "directory". Damaged blocks are left out; DataLoss for a damaged header.
absl::Status AddColumnUses(std::string_view row, std::vector<ColumnUse>& uses);

}  // namespace varve
