// SPDX-License-Identifier: Apache-2.0
//
// Every key and value in the database, but for chunk payloads (xor_chunk.h, histogram_chunk.h),
// log records (log_record.h) and head rows (head_row.h). docs/format.md tells the story around it.
//
// Integers in keys are big endian; times in keys have their sign bit flipped: byte order is
// numeric order. Integers in values are varints unless a width is given. `partition` is a u16, 0
// today: room for tenants, retention classes and resolutions.
//
//   family      key                                                     value
//   meta        one of the names below                                  see there
//   series      series id u64                                           Labels::bytes()
//   head        first series id u64, a multiple of kHeadRowSeries       head_row.h
//   log.N       sequence u64                                            log_record.h
//   hot.N       partition, bucket start, series id u64, first time      HotChunk
//               (late samples: and a number u64)
//   columns     partition, bucket start, generation u32, id, min time, row kind   column.h
//   labels      partition, bucket start, generation u32, id             Labels::bytes()
//   postings    partition, bucket start, generation u32, name, 0xFF, value   set of ids
//   tombstones  series id u64, log sequence u64, min time, max time     nothing
//   exemplars   partition, bucket start, series id u64, time, number u32     Exemplar
//   metadata    metric name                                             MetricMetadata
//   default     empty; RocksDB insists on it
//
// N of `log` and `hot` rises and is never reused. What a generation's rows look like is in
// generation.h.
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/exemplar.h"
#include "model/metric_metadata.h"
#include "model/queryable.h"
#include "model/time.h"

namespace varve {

// 3: head rows of version 3. 2: log records of version 3, head rows of version 2.
inline constexpr uint64_t kFormatVersion = 3;

inline constexpr std::string_view kMetaFamily = "meta";
inline constexpr std::string_view kSeriesFamily = "series";
inline constexpr std::string_view kHeadFamily = "head";
inline constexpr std::string_view kColumnsFamily = "columns";
inline constexpr std::string_view kLabelsFamily = "labels";
inline constexpr std::string_view kPostingsFamily = "postings";
inline constexpr std::string_view kTombstonesFamily = "tombstones";
inline constexpr std::string_view kExemplarsFamily = "exemplars";
inline constexpr std::string_view kMetadataFamily = "metadata";
inline constexpr std::string_view kLogFamilyPrefix = "log.";
inline constexpr std::string_view kHotFamilyPrefix = "hot.";

// `prefix` and number; nothing if `family` is not such a name.
std::string NumberedFamily(std::string_view prefix, uint64_t number);
std::optional<uint64_t> FamilyNumber(std::string_view prefix, std::string_view family);

// Keys of `meta`.
inline constexpr std::string_view kFormatVersionKey = "format_version";  // varint
// varint of the time as u64: no late sample up to the checkpoint, and in saved rows, is newer.
inline constexpr std::string_view kNewestLateKey = "newest_late";
inline constexpr std::string_view kRetentionClockKey = "retention_clock";     // RetentionClock
inline constexpr std::string_view kSeriesHighWaterKey = "series_high_water";  // varint, highest id
inline constexpr std::string_view kUnflushedKey = "unflushed";    // Empty; Store::KeepUnflushed().
inline constexpr std::string_view kCheckpointKey = "checkpoint";  // varint: log sequence from which
                                                                  // on the log must be replayed
inline constexpr std::string_view kBucketTableKey = "bucket_table";   // BucketTable
inline constexpr std::string_view kHotRangeKeyPrefix = "hot_range.";  // + N: HotRange of `hot.N`

std::string EncodeVarintValue(uint64_t value);
absl::StatusOr<uint64_t> DecodeVarintValue(std::string_view value, std::string_view what);

using PartitionId = uint16_t;
inline constexpr PartitionId kDefaultPartition = 0;

// Series share a head row by 1024 consecutive ids.
inline constexpr uint64_t kHeadRowSeries = 1024;

// Times storage accepts: the rest would overflow sums of times and ranges.
inline constexpr TimestampMs kStoredTimeMax = int64_t{1} << 61;

// ------------------------------------------------------------------------------------------- keys

std::string EncodeIdKey(uint64_t id);  // Of `series`, `head` and `log.N`.
absl::StatusOr<uint64_t> DecodeIdKey(std::string_view key);

struct HotKey {
  PartitionId partition = kDefaultPartition;
  TimestampMs bucket_start = 0;
  uint64_t series = 0;
  TimestampMs first_time = 0;
  // Of a chunk of late samples: log sequence << 16 and a number, so that its key is its own.
  // 0 = samples in order; the key then ends before it.
  uint64_t late = 0;
  friend bool operator==(const HotKey&, const HotKey&) = default;
};
inline constexpr size_t kHotKeyBytes = 2 + 8 + 8 + 8;
inline constexpr size_t kLateHotKeyBytes = kHotKeyBytes + 8;
inline constexpr unsigned kLateSequenceShift = 16;
std::string EncodeHotKey(const HotKey& key);
absl::StatusOr<HotKey> DecodeHotKey(std::string_view key);

// ----------------------------------------------------------------------------------------- values

// On disk: add, never renumber.
enum class ChunkEncoding : uint8_t { kXor = 1, kHistogram = 2, kXorWithStarts = 3 };

// A closed chunk.
//   encoding      u8
//   sample_count  u16 BE  at least 1
//   end_ms        i64 BE, sign bit flipped: time of the last sample
//   payload       rest
//
// (1) Chunks of one series do not overlap, but for those of late samples; no chunk crosses a
//     bucket's edge.
// (2) A chunk spans less than kChunkSpanMax.
// (3) An entry is written once (or again with the same key after a crash); it goes with its family.
struct HotChunk {
  ChunkEncoding encoding = ChunkEncoding::kXor;
  uint16_t sample_count = 0;
  TimestampMs end_time = 0;
  std::string_view payload;
};
inline constexpr DurationMs kChunkSpanMax = kHour;
std::string EncodeHotChunk(const HotChunk& chunk);
absl::StatusOr<HotChunk> DecodeHotChunk(std::string_view value);  // Payload: a view into `value`.

// Decodes a chunk's samples in [min, max], appending to `samples`; see DecodeXorChunk.
absl::Status DecodeChunkSamples(const HotChunk& chunk, TimestampMs first_time, TimestampMs min,
                                TimestampMs max, SeriesSamples& samples);

// Times between which the chunks of a hot family lie, rounded outwards, and the head's time when
// the family got its first chunk.
//   min, max, begun  zigzag varints
struct HotRange {
  TimestampMs min = kMaxTimestamp;
  TimestampMs max = kMinTimestamp;
  TimestampMs begun = kMinTimestamp;
  friend bool operator==(const HotRange&, const HotRange&) = default;
};
inline constexpr DurationMs kHotRangeRounding = 10 * kMinute;
std::string HotRangeKey(uint64_t number);  // In `meta`.
std::string EncodeHotRange(const HotRange& range);
absl::StatusOr<HotRange> DecodeHotRange(std::string_view value);
// Widens `range` to hold [first, last], rounded. Returns whether it changed.
bool WidenHotRange(HotRange& range, TimestampMs first, TimestampMs last);

// Key and value of `exemplars`. The number tells exemplars of one time apart.
//   time (zigzag), u8 whether it came with a time, value f64, varint length and label bytes
std::string EncodeExemplarKey(const HotKey& key, uint32_t number);
absl::StatusOr<uint64_t> SeriesOfExemplarKey(std::string_view key);
// REQUIRES: SeriesOfExemplarKey(key) succeeds.
uint32_t NumberOfExemplarKey(std::string_view key);
std::string EncodeExemplar(const Exemplar& exemplar);
absl::StatusOr<Exemplar> DecodeExemplar(std::string_view value);

// Value of `metadata`.
//   version u8 1, type u8 (a MetricType), unit and help each as varint length and bytes
std::string EncodeMetadata(const MetricMetadata& metadata);
absl::StatusOr<MetricMetadata> DecodeMetadata(std::string_view value);

// The bucket table: what readers see of `columns`, `labels` and `postings`, and which hot families
// these have replaced. One put replaces it.
//   version      u8       2
//   folded       varint   hot families below this number are folded: nothing of them is needed
//   count        varint   buckets, sorted by partition and start, not overlapping in a partition:
//     partition  varint
//     start      zigzag
//     end        zigzag   exclusive, past start
//     flags      u8       1 sealed
//     count      varint   live generations, numbers rising:
//       number, min time zigzag, max time zigzag, series, samples, bytes, sequence: varints
// Version 1, from before there were generations, has neither `folded` nor `flags`.
//
// Of samples at the same time, the one in the lowest generation counts, then hot families by
// number, then the head.
class BucketTable {
 public:
  // A set of rows of `columns`, `labels` and `postings`. Numbers are never used twice at a time.
  struct Generation {
    uint32_t number = 0;
    TimestampMs min_time = 0;
    TimestampMs max_time = 0;
    uint64_t series = 0;
    uint64_t samples = 0;
    uint64_t bytes = 0;  // Of its files.
    // It was written without what tombstones up to this log sequence cover; they do not count for
    // it any more, as it may have samples that came later.
    uint64_t sequence = 0;
    friend bool operator==(const Generation&, const Generation&) = default;
  };
  struct Bucket {
    PartitionId partition = kDefaultPartition;
    TimestampMs start = 0;
    TimestampMs end = 0;
    bool sealed = false;  // Was merged into one generation once it had closed.
    std::vector<Generation> generations;
    friend bool operator==(const Bucket&, const Bucket&) = default;
  };

  // The bucket `time` lies in; null if there is none yet.
  const Bucket* Find(PartitionId partition, TimestampMs time) const;
  // The same, making a bucket of `size` aligned to its multiples, cut where neighbours begin or
  // end. `added` is set if it was made.
  const Bucket& FindOrAdd(PartitionId partition, TimestampMs time, DurationMs size, bool& added);
  // The bucket that starts at `start` exactly; null if there is none.
  Bucket* FindStart(PartitionId partition, TimestampMs start);
  // Removes the buckets without generations that end at or before `time`; returns how many.
  size_t DropEmptyBefore(TimestampMs time);
  // Removes the generations of all buckets that end at or before `time`; returns how many.
  size_t DropGenerationsBefore(TimestampMs time);

  const std::vector<Bucket>& buckets() const { return buckets_; }
  uint64_t hot_folded_below() const { return hot_folded_below_; }
  void set_hot_folded_below(uint64_t number) { hot_folded_below_ = number; }

  std::string Encode() const;
  static absl::StatusOr<BucketTable> Decode(std::string_view value);

  friend bool operator==(const BucketTable&, const BucketTable&) = default;

 private:
  std::vector<Bucket> buckets_;
  uint64_t hot_folded_below_ = 0;
};

}  // namespace varve
