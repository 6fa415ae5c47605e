// SPDX-License-Identifier: Apache-2.0
//
// Head rows to bytes and back.
#include "tsdb/head_row.h"

#include "model/check.h"
#include "tsdb/coding.h"
#include "tsdb/format.h"
#include "tsdb/xor_chunk.h"

namespace varve {

namespace {

constexpr uint8_t kHeadRowVersion = 1;
constexpr uint8_t kLastIsHistogramFlag = 8;
constexpr uint8_t kHasSamplesFlag = 16;

bool ReadChunk(ByteReader& reader, TimestampMs base, HeadRowEntry& entry) {
  entry.count = reader.Byte();
  entry.limit = reader.Byte();
  entry.first_time = WrapAdd(base, reader.SignedVarint());
  if (entry.count == 0 || entry.count > kChunkSamplesMax || entry.limit > kChunkSamplesMax) {
    return false;
  }
  if (entry.kind == OpenChunkKind::kHistogram) {
    entry.payload = reader.Text();
    return !reader.failed();
  }
  entry.last_step = reader.SignedVarint();
  if (entry.kind == OpenChunkKind::kXorWithStarts) entry.last_start = reader.SignedVarint();
  entry.window.leading = reader.Byte();
  entry.window.significant = reader.Byte();
  const uint64_t bits = reader.Varint();
  if (bits > kXorChunkBitsMax || entry.window.leading + entry.window.significant > 64) return false;
  entry.bits = static_cast<uint16_t>(bits);
  entry.payload = reader.Bytes(BitBytes(bits));
  return !reader.failed();
}

}  // namespace

HeadRowWriter::HeadRowWriter(uint64_t first_id, uint64_t sequence, TimestampMs base)
    : last_id_(first_id), base_(base) {
  header_.push_back(static_cast<char>(kHeadRowVersion));
  PutVarint(header_, sequence);
  PutZigZag(header_, base);
}

void HeadRowWriter::Add(const HeadRowEntry& entry) {
  INVARIANT(entry.id >= last_id_);
  PutVarint(entries_, entry.id - last_id_);
  last_id_ = entry.id;
  ++count_;
  entries_.push_back(static_cast<char>(static_cast<uint8_t>(entry.kind) |
                                       (entry.last_is_histogram ? kLastIsHistogramFlag : 0) |
                                       (entry.has_samples ? kHasSamplesFlag : 0)));
  if (!entry.has_samples) return;
  PutZigZag(entries_, WrapSub(entry.min_time, base_));
  PutZigZag(entries_, WrapSub(entry.last_time, base_));
  PutDouble(entries_, entry.last_value);
  PutVarint(entries_, entry.hot_epoch);
  if (entry.kind == OpenChunkKind::kNone) return;
  entries_.push_back(static_cast<char>(entry.count));
  entries_.push_back(static_cast<char>(entry.limit));
  PutZigZag(entries_, WrapSub(entry.first_time, base_));
  if (entry.kind == OpenChunkKind::kHistogram) return PutText(entries_, entry.payload);
  PutZigZag(entries_, entry.last_step);
  if (entry.kind == OpenChunkKind::kXorWithStarts) PutZigZag(entries_, entry.last_start);
  entries_.push_back(static_cast<char>(entry.window.leading));
  entries_.push_back(static_cast<char>(entry.window.significant));
  PutVarint(entries_, entry.bits);
  entries_.append(entry.payload);
}

std::string HeadRowWriter::Finish() const {
  std::string row = header_;
  PutVarint(row, count_);
  return row + entries_;
}

absl::StatusOr<HeadRow> DecodeHeadRow(uint64_t first_id, std::string_view value) {
  const absl::Status damaged = absl::DataLossError("damaged head row");
  ByteReader reader(value);
  HeadRow row;
  if (reader.Byte() != kHeadRowVersion) return damaged;
  row.sequence = reader.Varint();
  const TimestampMs base = reader.SignedVarint();
  const size_t count = reader.Count(2);
  if (count > kHeadRowSeries) return damaged;
  uint64_t id = first_id;
  row.entries.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    HeadRowEntry entry;
    id += reader.Varint();
    entry.id = id;
    const uint8_t flags = reader.Byte();
    if (id < first_id || id - first_id >= kHeadRowSeries || (flags & 7) > 3 || flags > 31 ||
        (i > 0 && id == row.entries.back().id)) {
      return damaged;
    }
    entry.kind = static_cast<OpenChunkKind>(flags & 7);
    entry.last_is_histogram = (flags & kLastIsHistogramFlag) != 0;
    entry.has_samples = (flags & kHasSamplesFlag) != 0;
    if (entry.has_samples) {
      entry.min_time = WrapAdd(base, reader.SignedVarint());
      entry.last_time = WrapAdd(base, reader.SignedVarint());
      entry.last_value = reader.Double();
      entry.hot_epoch = reader.Varint();
      if (entry.kind != OpenChunkKind::kNone && !ReadChunk(reader, base, entry)) return damaged;
    } else if (entry.kind != OpenChunkKind::kNone) {
      return damaged;
    }
    row.entries.push_back(entry);
  }
  if (reader.failed() || !reader.done()) return damaged;
  return row;
}

}  // namespace varve
