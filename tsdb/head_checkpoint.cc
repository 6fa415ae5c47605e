// SPDX-License-Identifier: Apache-2.0
//
// The head's rows in a checkpoint, and the way back from them and from the log.
#include <algorithm>
#include <utility>

#include "model/status_macros.h"
#include "tsdb/head.h"
#include "tsdb/sample_walk.h"

namespace varve {

std::vector<uint64_t> Head::DirtyRows() const {
  std::vector<uint64_t> rows(dirty_rows_.begin(), dirty_rows_.end());
  std::sort(rows.begin(), rows.end());
  return rows;
}

Head::CapturedRow Head::CaptureRow(uint64_t row, uint64_t sequence) {
  dirty_rows_.erase(row);
  last_dirty_row_ = ~uint64_t{0};
  CapturedRow captured;
  const uint64_t first_id = row * kHeadRowSeries;
  HeadRowWriter writer(first_id, sequence, max_time());
  for (uint64_t base = first_id; base < first_id + kHeadRowSeries; base += kBlockSeries) {
    Shard& shard = shards_[ShardOf(base)];
    MutexLock lock(shard.mutex);
    const auto slot = shard.blocks.find(base / kBlockSeries);
    if (slot == shard.blocks.end()) continue;
    for (uint64_t i = 0; i < kBlockSeries; ++i) {
      const SeriesRecord& record = (*slot->second.records)[i];
      if (i + kNeighboursAhead < kBlockSeries) {
        FetchStream((*slot->second.records)[i + kNeighboursAhead]);
      }
      if (!record.present || !record.logged) continue;
      const uint64_t id = base + i;
      if (!record.saved) captured.unsaved_series.push_back(id);
      HeadRowEntry entry{.id = id,
                         .last_is_histogram = record.last_is_histogram,
                         .has_samples = record.has_samples,
                         .min_time = record.details().min_time,
                         .last_time = record.chunk.last_time,
                         .last_value = record.chunk.last_value,
                         .hot_epoch = record.details().hot_epoch,
                         .limit = record.chunk_limit};
      std::string histogram_payload;
      if (record.chunk.count > 0) {
        entry.kind = record.chunk.has_starts ? OpenChunkKind::kXorWithStarts : OpenChunkKind::kXor;
        entry.count = record.chunk.count;
        entry.first_time = record.chunk.first_time;
        entry.last_step = record.chunk.last_step;
        if (record.chunk.has_starts) {
          entry.last_start = record.chunk.last_start;
        } else {
          entry.steady_since = record.chunk.steady_since;
        }
        entry.window = record.chunk.window;
        entry.bits = record.chunk.bits;
        entry.payload = record.chunk.payload();
      } else if (const OpenHistogramChunk* const histogram = record.histogram()) {
        histogram_payload = histogram->payload();
        entry.kind = OpenChunkKind::kHistogram;
        entry.count = static_cast<uint8_t>(histogram->count());
        entry.first_time = histogram->first_time();
        entry.payload = histogram_payload;
      }
      writer.Add(entry);
    }
  }
  if (!writer.empty()) captured.value = writer.Finish();
  return captured;
}

void Head::RowSaved(uint64_t row, const CapturedRow& captured, const absl::Status& status) {
  if (!status.ok()) {
    dirty_rows_.insert(row);
    return;
  }
  for (const uint64_t id : captured.unsaved_series) {
    Shard& shard = shards_[ShardOf(id)];
    MutexLock lock(shard.mutex);
    if (SeriesRecord* record = FindRecord(shard, id)) record->saved = true;
  }
}

bool Head::RestoreLogged(uint64_t id) {
  {
    Shard& shard = shards_[ShardOf(id)];
    MutexLock lock(shard.mutex);
    if (FindRecord(shard, id) != nullptr) return false;
    InsertRecord(shard, id).logged = true;
  }
  MarkDirty(id);
  return true;
}

void Head::RestoreSaved(uint64_t id) {
  Shard& shard = shards_[ShardOf(id)];
  MutexLock lock(shard.mutex);
  SeriesRecord& record = InsertRecord(shard, id);
  record.logged = true;
  record.saved = true;
}

absl::Status Head::RestoreEntry(const HeadRowEntry& entry) {
  Shard& shard = shards_[ShardOf(entry.id)];
  MutexLock lock(shard.mutex);
  SeriesRecord* record = FindRecord(shard, entry.id);
  if (record == nullptr || !entry.has_samples) return absl::OkStatus();
  OpenXorChunk& chunk = record->chunk;
  record->details().hot_epoch = static_cast<uint32_t>(entry.hot_epoch);
  chunk.last_time = entry.last_time;
  chunk.last_value = entry.last_value;
  record->last_is_histogram = entry.last_is_histogram;
  record->chunk_limit = entry.limit;
  NoteSample(*record, entry.last_time);
  record->details().min_time = entry.min_time;
  min_time_.store(std::min(entry.min_time, min_time_.load(std::memory_order_relaxed)),
                  std::memory_order_relaxed);
  if (entry.kind == OpenChunkKind::kNone) return absl::OkStatus();
  if (entry.kind == OpenChunkKind::kHistogram) {
    ASSIGN_OR_RETURN(record->details().histogram,
                     OpenHistogramChunk::Restore(entry.payload, entry.count, entry.first_time));
    record->last_is_histogram = true;
  } else {
    chunk.Restore(entry.payload, entry.bits);
    chunk.has_starts = entry.kind == OpenChunkKind::kXorWithStarts;
    chunk.count = entry.count;
    chunk.first_time = entry.first_time;
    chunk.last_step = entry.last_step;
    if (chunk.has_starts) {
      chunk.last_start = entry.last_start;
    } else {
      chunk.steady_since = entry.steady_since;
    }
    chunk.window = entry.window;
  }
  open_chunks_.fetch_add(1, std::memory_order_relaxed);
  return absl::OkStatus();
}

void Head::RestoreUnknownEntry(uint64_t id, uint32_t hot_epoch) {
  Shard& shard = shards_[ShardOf(id)];
  MutexLock lock(shard.mutex);
  SeriesRecord* record = FindRecord(shard, id);
  if (record == nullptr || record->has_samples) return;
  record->details().hot_epoch = hot_epoch;
  record->chunk.last_time = max_time();
  record->details().min_time = kMinTimestamp;
  record->has_samples = true;
  MarkDirty(id);
}

// Records are found without their locks, which the analysis cannot allow.
void Head::Replay(const LogRecord& record, uint64_t sequence,
                  absl::FunctionRef<bool(uint64_t id)> is_contained,
                  uint64_t& unknown) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  sequence_ = sequence;
  late_number_ = 0;
  // Nobody else looks at a head that is being recovered: finding records needs no lock.
  uint64_t last_block = ~uint64_t{0};
  SeriesBlock* block = nullptr;
  const auto find = [&](uint64_t id) ABSL_NO_THREAD_SAFETY_ANALYSIS -> SeriesRecord* {
    if (id / kBlockSeries != last_block) {
      last_block = id / kBlockSeries;
      const Shard& shard = shards_[ShardOf(id)];
      const auto slot = shard.blocks.find(last_block);
      block = slot == shard.blocks.end() ? nullptr : slot->second.records.get();
    }
    SeriesRecord* found = block == nullptr ? nullptr : &(*block)[id % kBlockSeries];
    if (found != nullptr && !found->present) found = nullptr;
    if (found == nullptr) ++unknown;
    return found;
  };
  // Null: to be passed over.
  std::vector<SeriesRecord*> float_series(record.floats.size());
  for (size_t i = 0; i < float_series.size(); ++i) {
    const uint64_t id = record.floats[i].id;
    if (!is_contained(id)) float_series[i] = find(id);
  }
  std::vector<SeriesRecord*> histogram_series(record.histograms.size());
  for (size_t i = 0; i < histogram_series.size(); ++i) {
    const uint64_t id = record.histograms[i].id;
    if (!is_contained(id)) histogram_series[i] = find(id);
  }
  ShardHold hold(shards_);
  ForEachSample(
      record,
      [&](size_t i) ABSL_NO_THREAD_SAFETY_ANALYSIS {
        FetchAhead(float_series, i);
        const LogRecord::Float& sample = record.floats[i];
        if (float_series[i] == nullptr) return;
        ApplyFloat(hold.Of(sample.id), *float_series[i], sample);
      },
      [&](size_t i) ABSL_NO_THREAD_SAFETY_ANALYSIS {
        const LogRecord::HistogramEntry& sample = record.histograms[i];
        if (histogram_series[i] == nullptr) return;
        ApplyHistogram(hold.Of(sample.id), *histogram_series[i], sample);
      });
}

}  // namespace varve
