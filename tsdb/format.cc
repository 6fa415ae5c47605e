// SPDX-License-Identifier: Apache-2.0
//
// Keys and values to bytes and back.
#include "tsdb/format.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>

#include "model/check.h"
#include "model/status_macros.h"
#include "tsdb/coding.h"
#include "tsdb/histogram_chunk.h"
#include "tsdb/xor_chunk.h"

namespace varve {

namespace {

constexpr uint8_t kBucketTableVersion = 2;
constexpr uint8_t kBucketTableVersionBeforeFolding = 1;
constexpr uint8_t kSealedFlag = 1;
constexpr uint8_t kMetadataVersion = 1;

absl::Status Damaged(std::string_view what) {
  return absl::DataLossError(fmt::format("damaged {}", what));
}

TimestampMs FloorTo(TimestampMs time, DurationMs size) {
  const TimestampMs rest = time % size;
  return time - (rest < 0 ? rest + size : rest);
}

}  // namespace

std::string NumberedFamily(std::string_view prefix, uint64_t number) {
  return fmt::format("{}{}", prefix, number);
}

std::optional<uint64_t> FamilyNumber(std::string_view prefix, std::string_view family) {
  if (!family.starts_with(prefix)) return std::nullopt;
  family.remove_prefix(prefix.size());
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(family.data(), family.data() + family.size(), number);
  if (error != std::errc() || end != family.data() + family.size()) return std::nullopt;
  return number;
}

std::string EncodeVarintValue(uint64_t value) {
  std::string out;
  PutVarint(out, value);
  return out;
}

absl::StatusOr<uint64_t> DecodeVarintValue(std::string_view value, std::string_view what) {
  ByteReader reader(value);
  const uint64_t number = reader.Varint();
  if (reader.failed() || !reader.done()) return Damaged(what);
  return number;
}

std::string EncodeIdKey(uint64_t id) {
  std::string out;
  PutBigEndian<uint64_t>(out, id);
  return out;
}

absl::StatusOr<uint64_t> DecodeIdKey(std::string_view key) {
  ByteReader reader(key);
  const auto id = reader.BigEndian<uint64_t>();
  if (reader.failed() || !reader.done()) return Damaged("id key");
  return id;
}

std::string EncodeHotKey(const HotKey& key) {
  std::string out;
  out.reserve(kHotKeyBytes);
  PutBigEndian<uint16_t>(out, key.partition);
  PutTime(out, key.bucket_start);
  PutBigEndian<uint64_t>(out, key.series);
  PutTime(out, key.first_time);
  if (key.late != 0) PutBigEndian<uint64_t>(out, key.late);
  return out;
}

absl::StatusOr<HotKey> DecodeHotKey(std::string_view bytes) {
  ByteReader reader(bytes);
  HotKey key;
  key.partition = reader.BigEndian<uint16_t>();
  key.bucket_start = reader.Time();
  key.series = reader.BigEndian<uint64_t>();
  key.first_time = reader.Time();
  if (bytes.size() == kLateHotKeyBytes) key.late = reader.BigEndian<uint64_t>();
  if (reader.failed() || !reader.done()) return Damaged("chunk key");
  return key;
}

std::string EncodeHotChunk(const HotChunk& chunk) {
  std::string out;
  out.reserve(1 + 2 + 8 + chunk.payload.size());
  out.push_back(static_cast<char>(chunk.encoding));
  PutBigEndian<uint16_t>(out, chunk.sample_count);
  PutTime(out, chunk.end_time);
  out.append(chunk.payload);
  return out;
}

absl::StatusOr<HotChunk> DecodeHotChunk(std::string_view value) {
  ByteReader reader(value);
  const uint8_t encoding = reader.Byte();
  HotChunk chunk;
  chunk.sample_count = reader.BigEndian<uint16_t>();
  chunk.end_time = reader.Time();
  chunk.payload = reader.rest();
  if (reader.failed() || encoding < 1 || encoding > 3 || chunk.sample_count == 0) {
    return Damaged("chunk");
  }
  chunk.encoding = static_cast<ChunkEncoding>(encoding);
  return chunk;
}

absl::Status DecodeChunkSamples(const HotChunk& chunk, TimestampMs first_time, TimestampMs min,
                                TimestampMs max, SeriesSamples& samples) {
  if (chunk.encoding == ChunkEncoding::kHistogram) {
    return DecodeHistogramChunk(chunk.payload, chunk.sample_count, first_time, min, max, samples);
  }
  return DecodeXorChunk(chunk.payload, chunk.sample_count, first_time,
                        chunk.encoding == ChunkEncoding::kXorWithStarts, min, max, samples);
}

std::string HotRangeKey(uint64_t number) { return fmt::format("{}{}", kHotRangeKeyPrefix, number); }

std::string EncodeHotRange(const HotRange& range) {
  std::string out;
  PutZigZag(out, range.min);
  PutZigZag(out, range.max);
  PutZigZag(out, range.begun);
  return out;
}

absl::StatusOr<HotRange> DecodeHotRange(std::string_view value) {
  ByteReader reader(value);
  HotRange range;
  range.min = reader.SignedVarint();
  range.max = reader.SignedVarint();
  range.begun = reader.SignedVarint();
  if (reader.failed() || !reader.done()) return Damaged("time range of chunks");
  return range;
}

bool WidenHotRange(HotRange& range, TimestampMs first, TimestampMs last) {
  const HotRange before = range;
  range.min = std::min(range.min, FloorTo(first, kHotRangeRounding));
  range.max = std::max(range.max, FloorTo(last, kHotRangeRounding) + kHotRangeRounding);
  return range != before;
}

std::string EncodeExemplarKey(const HotKey& key, uint32_t number) {
  std::string out = EncodeHotKey(key);
  PutBigEndian<uint32_t>(out, number);
  return out;
}

absl::StatusOr<uint64_t> SeriesOfExemplarKey(std::string_view key) {
  if (key.size() != kHotKeyBytes + sizeof(uint32_t)) return Damaged("exemplar key");
  ASSIGN_OR_RETURN(const HotKey parts, DecodeHotKey(key.substr(0, kHotKeyBytes)));
  return parts.series;
}

uint32_t NumberOfExemplarKey(std::string_view key) {
  return ByteReader(key.substr(kHotKeyBytes)).BigEndian<uint32_t>();
}

std::string EncodeExemplar(const Exemplar& exemplar) {
  std::string out;
  PutZigZag(out, exemplar.time);
  out.push_back(exemplar.has_time ? 1 : 0);
  PutDouble(out, exemplar.value);
  PutText(out, exemplar.labels.bytes());
  return out;
}

absl::StatusOr<Exemplar> DecodeExemplar(std::string_view value) {
  ByteReader reader(value);
  Exemplar exemplar;
  exemplar.time = reader.SignedVarint();
  exemplar.has_time = reader.Byte() != 0;
  exemplar.value = reader.Double();
  const std::string_view bytes = reader.Text();
  if (reader.failed() || !reader.done()) return Damaged("exemplar");
  absl::StatusOr<Labels> labels = Labels::FromBytes(bytes);
  if (!labels.ok()) return Damaged("exemplar");
  exemplar.labels = *std::move(labels);
  return exemplar;
}

std::string EncodeMetadata(const MetricMetadata& metadata) {
  std::string out;
  out.push_back(static_cast<char>(kMetadataVersion));
  out.push_back(static_cast<char>(metadata.type));
  PutText(out, metadata.unit);
  PutText(out, metadata.help);
  return out;
}

absl::StatusOr<MetricMetadata> DecodeMetadata(std::string_view value) {
  ByteReader reader(value);
  const uint8_t version = reader.Byte();
  const uint8_t type = reader.Byte();
  const std::string_view unit = reader.Text();
  const std::string_view help = reader.Text();
  if (reader.failed() || !reader.done() || version != kMetadataVersion ||
      type > static_cast<uint8_t>(MetricType::kStateset)) {
    return Damaged("metadata");
  }
  return MetricMetadata{static_cast<MetricType>(type), std::string(help), std::string(unit)};
}

const BucketTable::Bucket* BucketTable::Find(PartitionId partition, TimestampMs time) const {
  // The last bucket that starts at or before `time`; lookups are for recent times.
  for (auto it = buckets_.rbegin(); it != buckets_.rend(); ++it) {
    if (it->partition == partition && it->start <= time) return time < it->end ? &*it : nullptr;
  }
  return nullptr;
}

const BucketTable::Bucket& BucketTable::FindOrAdd(PartitionId partition, TimestampMs time,
                                                  DurationMs size, bool& added) {
  added = false;
  if (const Bucket* found = Find(partition, time)) return *found;
  INVARIANT(size > 0);
  Bucket bucket{.partition = partition, .start = FloorTo(time, size), .generations = {}};
  bucket.end = bucket.start + size;
  auto at = buckets_.begin();
  for (; at != buckets_.end(); ++at) {
    if (at->partition > partition || (at->partition == partition && at->start > time)) break;
    if (at->partition == partition) bucket.start = std::max(bucket.start, at->end);
  }
  if (at != buckets_.end() && at->partition == partition) {
    bucket.end = std::min(bucket.end, at->start);
  }
  added = true;
  return *buckets_.insert(at, std::move(bucket));
}

BucketTable::Bucket* BucketTable::FindStart(PartitionId partition, TimestampMs start) {
  const auto it = std::find_if(buckets_.begin(), buckets_.end(), [&](const Bucket& bucket) {
    return bucket.partition == partition && bucket.start == start;
  });
  return it == buckets_.end() ? nullptr : &*it;
}

size_t BucketTable::DropEmptyBefore(TimestampMs time) {
  return std::erase_if(buckets_, [time](const Bucket& bucket) {
    return bucket.generations.empty() && bucket.end <= time;
  });
}

size_t BucketTable::DropGenerationsBefore(TimestampMs time) {
  size_t dropped = 0;
  for (Bucket& bucket : buckets_) {
    if (bucket.end > time) continue;
    dropped += bucket.generations.size();
    bucket.generations.clear();
  }
  return dropped;
}

std::string BucketTable::Encode() const {
  std::string out;
  out.push_back(static_cast<char>(kBucketTableVersion));
  PutVarint(out, hot_folded_below_);
  PutVarint(out, buckets_.size());
  for (const Bucket& bucket : buckets_) {
    PutVarint(out, bucket.partition);
    PutZigZag(out, bucket.start);
    PutZigZag(out, bucket.end);
    out.push_back(static_cast<char>(bucket.sealed ? kSealedFlag : 0));
    PutVarint(out, bucket.generations.size());
    for (const Generation& generation : bucket.generations) {
      PutVarint(out, generation.number);
      PutZigZag(out, generation.min_time);
      PutZigZag(out, generation.max_time);
      PutVarint(out, generation.series);
      PutVarint(out, generation.samples);
      PutVarint(out, generation.bytes);
      PutVarint(out, generation.sequence);
    }
  }
  return out;
}

namespace {

absl::StatusOr<BucketTable::Generation> ReadGeneration(ByteReader& reader) {
  BucketTable::Generation generation;
  const uint64_t number = reader.Varint();
  generation.min_time = reader.SignedVarint();
  generation.max_time = reader.SignedVarint();
  generation.series = reader.Varint();
  generation.samples = reader.Varint();
  generation.bytes = reader.Varint();
  generation.sequence = reader.Varint();
  if (number > std::numeric_limits<uint32_t>::max()) return Damaged("bucket table");
  generation.number = static_cast<uint32_t>(number);
  return generation;
}

absl::StatusOr<BucketTable::Bucket> ReadBucket(ByteReader& reader, uint8_t version) {
  BucketTable::Bucket bucket;
  const uint64_t partition = reader.Varint();
  if (partition > std::numeric_limits<PartitionId>::max()) return Damaged("bucket table");
  bucket.partition = static_cast<PartitionId>(partition);
  bucket.start = reader.SignedVarint();
  bucket.end = reader.SignedVarint();
  if (version != kBucketTableVersionBeforeFolding) {
    bucket.sealed = (reader.Byte() & kSealedFlag) != 0;
  }
  const size_t generations = reader.Count(7);
  for (size_t i = 0; i < generations; ++i) {
    ASSIGN_OR_RETURN(const BucketTable::Generation generation, ReadGeneration(reader));
    if (i > 0 && generation.number <= bucket.generations.back().number) {
      return Damaged("bucket table");
    }
    bucket.generations.push_back(generation);
  }
  if (reader.failed() || bucket.end <= bucket.start) return Damaged("bucket table");
  return bucket;
}

}  // namespace

absl::StatusOr<BucketTable> BucketTable::Decode(std::string_view value) {
  ByteReader reader(value);
  BucketTable table;
  const uint8_t version = reader.Byte();
  if (version == kBucketTableVersion) {
    table.hot_folded_below_ = reader.Varint();
  } else if (version != kBucketTableVersionBeforeFolding) {
    return Damaged("bucket table");
  }
  const size_t count = reader.Count(4);
  for (size_t i = 0; i < count; ++i) {
    ASSIGN_OR_RETURN(Bucket bucket, ReadBucket(reader, version));
    const bool sorted = table.buckets_.empty() ||
                        table.buckets_.back().partition < bucket.partition ||
                        (table.buckets_.back().partition == bucket.partition &&
                         table.buckets_.back().end <= bucket.start);
    if (!sorted) return Damaged("bucket table");
    table.buckets_.push_back(std::move(bucket));
  }
  if (reader.failed() || !reader.done()) return Damaged("bucket table");
  return table;
}

}  // namespace varve
