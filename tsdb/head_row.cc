// SPDX-License-Identifier: Apache-2.0
//
// Head rows to bytes and back.
#include "tsdb/head_row.h"

#include "model/check.h"
#include "tsdb/coding.h"
#include "tsdb/format.h"
#include "tsdb/xor_chunk.h"
#include "tsdb/zstd_frames.h"

namespace varve {

namespace {

constexpr uint8_t kHeadRowVersion = 3;
// Only read: each entry has all its fields, and none are compressed.
constexpr uint8_t kWholeEntries = 1;
// Only read: entries do not say since when they are steady.
constexpr uint8_t kWithoutSteady = 2;

constexpr uint8_t kLastIsHistogramFlag = 8;
constexpr uint8_t kHasSamplesFlag = 16;

// Fields an entry has in common with the one before it, which then are not written: series of one
// target have the same times.
constexpr uint8_t kSameMinTime = 1;
constexpr uint8_t kSameLastTime = 2;
constexpr uint8_t kSameEpoch = 4;
constexpr uint8_t kSameCount = 8;
constexpr uint8_t kSameLimit = 16;
constexpr uint8_t kSameFirstTime = 32;
constexpr uint8_t kSameStep = 64;
constexpr uint8_t kSameSteady = 128;

constexpr size_t kRowBytesMax = size_t{64} << 20;

uint8_t SameFields(const HeadRowEntry& entry, const HeadRowEntry& before) {
  return static_cast<uint8_t>((entry.min_time == before.min_time ? kSameMinTime : 0) |
                              (entry.last_time == before.last_time ? kSameLastTime : 0) |
                              (entry.hot_epoch == before.hot_epoch ? kSameEpoch : 0) |
                              (entry.count == before.count ? kSameCount : 0) |
                              (entry.limit == before.limit ? kSameLimit : 0) |
                              (entry.first_time == before.first_time ? kSameFirstTime : 0) |
                              (entry.last_step == before.last_step ? kSameStep : 0) |
                              (entry.steady_since == before.steady_since ? kSameSteady : 0));
}

// Notes in `before` the fields that `entry` has a use for: reader and writer agree about these.
void Remember(const HeadRowEntry& entry, HeadRowEntry& before) {
  before.id = entry.id;
  if (!entry.has_samples) return;
  before.min_time = entry.min_time;
  before.last_time = entry.last_time;
  before.hot_epoch = entry.hot_epoch;
  if (entry.kind == OpenChunkKind::kNone) return;
  before.count = entry.count;
  before.limit = entry.limit;
  before.first_time = entry.first_time;
  if (entry.kind != OpenChunkKind::kHistogram) before.last_step = entry.last_step;
  if (entry.kind == OpenChunkKind::kXor) before.steady_since = entry.steady_since;
}

bool ReadChunk(ByteReader& reader, TimestampMs base, uint8_t version, uint8_t same,
               const HeadRowEntry& before, HeadRowEntry& entry) {
  entry.count = (same & kSameCount) != 0 ? before.count : reader.Byte();
  entry.limit = (same & kSameLimit) != 0 ? before.limit : reader.Byte();
  entry.first_time =
      (same & kSameFirstTime) != 0 ? before.first_time : WrapAdd(base, reader.SignedVarint());
  if (entry.count == 0 || entry.count > kChunkSamplesMax || entry.limit > kChunkSamplesMax) {
    return false;
  }
  if (entry.kind == OpenChunkKind::kHistogram) {
    entry.payload = reader.Text();
    return !reader.failed();
  }
  entry.last_step = (same & kSameStep) != 0 ? before.last_step : reader.SignedVarint();
  if (entry.kind == OpenChunkKind::kXorWithStarts) {
    entry.last_start = reader.SignedVarint();
  } else if (version > kWithoutSteady) {
    entry.steady_since =
        (same & kSameSteady) != 0 ? before.steady_since : WrapAdd(base, reader.SignedVarint());
  }
  entry.window.leading = reader.Byte();
  entry.window.significant = reader.Byte();
  const uint64_t bits = reader.Varint();
  if (bits > kXorChunkBitsMax || entry.window.leading + entry.window.significant > 64) return false;
  entry.bits = static_cast<uint16_t>(bits);
  entry.payload = reader.Bytes(BitBytes(bits));
  return !reader.failed();
}

bool ReadEntry(ByteReader& reader, TimestampMs base, uint8_t version, const HeadRowEntry& before,
               HeadRowEntry& entry) {
  entry.id = before.id + reader.Varint();
  const uint8_t flags = reader.Byte();
  if ((flags & 7) > 3 || flags > 31) return false;
  entry.kind = static_cast<OpenChunkKind>(flags & 7);
  entry.last_is_histogram = (flags & kLastIsHistogramFlag) != 0;
  entry.has_samples = (flags & kHasSamplesFlag) != 0;
  if (!entry.has_samples) return entry.kind == OpenChunkKind::kNone;
  const uint8_t same = version == kWholeEntries ? 0 : reader.Byte();
  entry.min_time =
      (same & kSameMinTime) != 0 ? before.min_time : WrapAdd(base, reader.SignedVarint());
  entry.last_time =
      (same & kSameLastTime) != 0 ? before.last_time : WrapAdd(base, reader.SignedVarint());
  entry.last_value = reader.Double();
  entry.hot_epoch = (same & kSameEpoch) != 0 ? before.hot_epoch : reader.Varint();
  return entry.kind == OpenChunkKind::kNone ||
         ReadChunk(reader, base, version, same, before, entry);
}

}  // namespace

HeadRowWriter::HeadRowWriter(uint64_t first_id, uint64_t sequence, TimestampMs base) : base_(base) {
  before_.id = first_id;
  header_.push_back(static_cast<char>(kHeadRowVersion));
  PutVarint(header_, sequence);
  PutZigZag(header_, base);
}

void HeadRowWriter::Add(const HeadRowEntry& entry) {
  INVARIANT(entry.id >= before_.id);
  PutVarint(entries_, entry.id - before_.id);
  ++count_;
  entries_.push_back(static_cast<char>(static_cast<uint8_t>(entry.kind) |
                                       (entry.last_is_histogram ? kLastIsHistogramFlag : 0) |
                                       (entry.has_samples ? kHasSamplesFlag : 0)));
  const uint8_t same = SameFields(entry, before_);
  Remember(entry, before_);
  if (!entry.has_samples) return;
  entries_.push_back(static_cast<char>(same));
  if ((same & kSameMinTime) == 0) PutZigZag(entries_, WrapSub(entry.min_time, base_));
  if ((same & kSameLastTime) == 0) PutZigZag(entries_, WrapSub(entry.last_time, base_));
  PutDouble(entries_, entry.last_value);
  if ((same & kSameEpoch) == 0) PutVarint(entries_, entry.hot_epoch);
  if (entry.kind != OpenChunkKind::kNone) PutChunk(entry, same);
}

void HeadRowWriter::PutChunk(const HeadRowEntry& entry, uint8_t same) {
  if ((same & kSameCount) == 0) entries_.push_back(static_cast<char>(entry.count));
  if ((same & kSameLimit) == 0) entries_.push_back(static_cast<char>(entry.limit));
  if ((same & kSameFirstTime) == 0) PutZigZag(entries_, WrapSub(entry.first_time, base_));
  if (entry.kind == OpenChunkKind::kHistogram) return PutText(entries_, entry.payload);
  if ((same & kSameStep) == 0) PutZigZag(entries_, entry.last_step);
  if (entry.kind == OpenChunkKind::kXorWithStarts) {
    PutZigZag(entries_, entry.last_start);
  } else if ((same & kSameSteady) == 0) {
    PutZigZag(entries_, WrapSub(entry.steady_since, base_));
  }
  entries_.push_back(static_cast<char>(entry.window.leading));
  entries_.push_back(static_cast<char>(entry.window.significant));
  PutVarint(entries_, entry.bits);
  entries_.append(entry.payload);
}

std::string HeadRowWriter::Finish() const {
  std::string row = header_;
  PutVarint(row, count_);
  const absl::Status compressed = PutSizedFrame(entries_, "a head row", row);
  INVARIANT(compressed.ok());
  return row;
}

absl::StatusOr<HeadRow> DecodeHeadRow(uint64_t first_id, std::string_view value) {
  const absl::Status damaged = absl::DataLossError("damaged head row");
  ByteReader reader(value);
  HeadRow row;
  const uint8_t version = reader.Byte();
  if (version < kWholeEntries || version > kHeadRowVersion) return damaged;
  row.sequence = reader.Varint();
  const TimestampMs base = reader.SignedVarint();
  const uint64_t count = version == kWholeEntries ? reader.Count(2) : reader.Varint();
  if (reader.failed() || count > kHeadRowSeries) return damaged;
  if (version != kWholeEntries) {
    if (!ReadSizedFrame(reader, kRowBytesMax, row.bytes)) return damaged;
    reader = ByteReader({row.bytes.data(), row.bytes.size()});
  }
  HeadRowEntry before{.id = first_id};
  row.entries.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    HeadRowEntry entry;
    if (!ReadEntry(reader, base, version, before, entry) || entry.id < first_id ||
        entry.id - first_id >= kHeadRowSeries || (i > 0 && entry.id == row.entries.back().id)) {
      return damaged;
    }
    Remember(entry, before);
    row.entries.push_back(entry);
  }
  if (reader.failed() || !reader.done()) return damaged;
  return row;
}

}  // namespace varve
