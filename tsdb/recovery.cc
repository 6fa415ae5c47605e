// SPDX-License-Identifier: Apache-2.0
//
// Recovery: from the rows of a closed or killed database back to a head. What is damaged costs its
// own range, is named and counted, and does not stop the start.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "model/check.h"
#include "model/log_line.h"
#include "model/status_macros.h"
#include "tsdb/log_reader.h"
#include "tsdb/postings.h"
#include "tsdb/series_loader.h"
#include "tsdb/write_path.h"

namespace varve {

namespace {

// Chunks that replay closes are put this many at a time.
constexpr size_t kReplayedChunksPut = 1024;

}  // namespace

void WritePath::CountCorruption(std::string_view what, const absl::Status& status) {
  ++counters_.corruptions;
  spdlog::error(LogLine("Stored data is damaged and left out",
                        {{"part", std::string(what)}, {"err", status.ToString()}}));
}

absl::Status WritePath::RecoverMeta() {
  const Family& meta = store_.meta();
  const absl::StatusOr<std::string> version = store_.Get(meta, kFormatVersionKey);
  if (absl::IsNotFound(version.status())) {
    rocksdb::WriteBatch batch;
    batch.Put(meta.handle(), ToSlice(kFormatVersionKey), EncodeVarintValue(kFormatVersion));
    return Write(batch, "writing the format version");
  }
  RETURN_IF_ERROR(version.status());
  ASSIGN_OR_RETURN(const uint64_t number, DecodeVarintValue(*version, "format version"));
  if (number > kFormatVersion) {
    return absl::FailedPreconditionError(fmt::format(
        "the data directory \"{}\" has format version {}, written by a newer version of Varve; "
        "this one reads versions up to {}",
        options_.path, number, kFormatVersion));
  }
  if (const auto high_water = store_.Get(meta, kSeriesHighWaterKey); high_water.ok()) {
    ASSIGN_OR_RETURN(const uint64_t id, DecodeVarintValue(*high_water, "series high water"));
    head_.RaiseLastId(id);
  }
  if (const auto checkpoint = store_.Get(meta, kCheckpointKey); checkpoint.ok()) {
    ASSIGN_OR_RETURN(replay_from_, DecodeVarintValue(*checkpoint, "checkpoint"));
    last_sequence_ = std::max<uint64_t>(replay_from_, 1) - 1;
  }
  if (const auto table = store_.Get(meta, kBucketTableKey); table.ok()) {
    ASSIGN_OR_RETURN(BucketTable buckets, BucketTable::Decode(*table));
    head_.SetBucketTable(std::move(buckets));
  }
  return absl::OkStatus();
}

absl::StatusOr<HotRange> WritePath::ScanHotRange(const Family& family) const {
  HotRange range;
  RETURN_IF_ERROR(store_.Scan(
      family, {}, [&](std::string_view key, std::string_view value) -> absl::StatusOr<bool> {
        const absl::StatusOr<HotKey> hot_key = DecodeHotKey(key);
        const absl::StatusOr<HotChunk> chunk = DecodeHotChunk(value);
        if (hot_key.ok() && chunk.ok()) {
          WidenHotRange(range, hot_key->first_time, chunk->end_time);
          if (range.begun == kMinTimestamp) range.begun = hot_key->first_time;
        }
        return true;
      }));
  return range;
}

absl::Status WritePath::RecoverHotFamilies() {
  const uint64_t folded_below = head_.bucket_table().hot_folded_below();
  for (auto& [number, family] : store_.TakeNumbered(kHotFamilyPrefix)) {
    if (number < folded_below) {
      RETURN_IF_ERROR(store_.Drop(*family));
      continue;
    }
    HotRange range;
    const absl::StatusOr<std::string> stored = store_.Get(store_.meta(), HotRangeKey(number));
    absl::StatusOr<HotRange> decoded =
        stored.ok() ? DecodeHotRange(*stored) : ScanHotRange(*family);
    if (decoded.ok()) {
      range = *decoded;
    } else {
      CountCorruption(family->name(), decoded.status());
      range = {.min = kMinTimestamp, .max = kMaxTimestamp, .begun = 0};
    }
    auto hot = std::make_shared<HotFamily>();
    hot->number = number;
    hot->family = std::move(family);
    hot->min = range.min;
    hot->max = range.max;
    hot->begun = range.begun;
    hot_.push_back(std::move(hot));
  }
  if (hot_.empty()) {
    auto hot = std::make_shared<HotFamily>();
    hot->number = std::max<uint64_t>(folded_below, 1);
    ASSIGN_OR_RETURN(hot->family, store_.CreateNumbered(kHotFamilyPrefix, hot->number));
    hot_.push_back(std::move(hot));
  }
  return absl::OkStatus();
}

absl::Status WritePath::RecoverSeries() {
  SeriesLoader loader(head_);
  const absl::Status status =
      store_.Scan(store_.series(), {},
                  [&](std::string_view key, std::string_view value)
                      ABSL_NO_THREAD_SAFETY_ANALYSIS -> absl::StatusOr<bool> {
                        const absl::StatusOr<uint64_t> id = DecodeIdKey(key);
                        absl::StatusOr<Labels> labels = Labels::FromBytes(value);
                        if (!id.ok() || *id == 0 || *id > kSeriesIdMax || !labels.ok()) {
                          CountCorruption("series", id.ok() ? labels.status() : id.status());
                          return true;
                        }
                        loader.Add(*id, *std::move(labels));
                        return true;
                      });
  loader.Finish();
  if (!status.ok()) CountCorruption("series", status);
  return absl::OkStatus();
}

absl::Status WritePath::RecoverHead() {
  std::vector<uint64_t> with_entry;  // Rows come by id, and so do their entries.
  const absl::Status status =
      store_.Scan(store_.head(), {},
                  [&](std::string_view key, std::string_view value)
                      ABSL_NO_THREAD_SAFETY_ANALYSIS -> absl::StatusOr<bool> {
                        const absl::StatusOr<uint64_t> first_id = DecodeIdKey(key);
                        absl::StatusOr<HeadRow> row =
                            first_id.ok() ? DecodeHeadRow(*first_id, value)
                                          : absl::StatusOr<HeadRow>(first_id.status());
                        if (!row.ok()) {
                          CountCorruption("head", row.status());
                          return true;
                        }
                        row_sequences_[*first_id / kHeadRowSeries] = row->sequence;
                        last_sequence_ = std::max(last_sequence_, row->sequence);
                        for (const HeadRowEntry& entry : row->entries) {
                          with_entry.push_back(entry.id);
                          const absl::Status restored = head_.RestoreEntry(entry);
                          if (!restored.ok()) CountCorruption("head", restored);
                        }
                        return true;
                      });
  if (!status.ok()) CountCorruption("head", status);
  std::vector<uint64_t> without_entry = head_.index().Select({});
  SubtractIds(without_entry, with_entry);
  for (const uint64_t id : without_entry) {
    head_.RestoreUnknownEntry(id, static_cast<uint32_t>(hot_.back()->number));
  }
  return absl::OkStatus();
}

void WritePath::ReplayRecord(uint64_t sequence, const LogRecord& record) {
  for (const LogRecord::Series& series : record.series) {
    const absl::StatusOr<Labels> labels = Labels::FromBytes(series.label_bytes);
    if (!labels.ok() || series.id == 0 || series.id > kSeriesIdMax) {
      CountCorruption("log", labels.status());
      continue;
    }
    head_.RestoreSeries(series.id, *labels);
  }
  // Neighbouring samples are mostly of one row.
  uint64_t last_row = ~uint64_t{0};
  bool last_contained = false;
  const auto is_contained = [&](uint64_t id) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    if (id / kHeadRowSeries == last_row) return last_contained;
    last_row = id / kHeadRowSeries;
    const auto row = row_sequences_.find(last_row);
    return last_contained = row != row_sequences_.end() && sequence <= row->second;
  };
  head_.Replay(record, sequence, is_contained, unknown_series_samples_);
}

absl::Status WritePath::ReplayLog() {
  for (auto& [number, family] : store_.TakeNumbered(kLogFamilyPrefix)) {
    LogEpoch epoch{.number = number, .family = std::move(family), .first_sequence = 0, .bytes = 0};
    LogReader reader(store_, *epoch.family, replay_from_);
    for (std::vector<LogReader::Entry> entries = reader.Next(); !entries.empty();
         entries = reader.Next()) {
      for (const LogReader::Entry& entry : entries) {
        if (!entry.sequence.ok() || !entry.record.ok()) {
          CountCorruption(epoch.family->name(), entry.record.status());
          continue;
        }
        if (epoch.first_sequence == 0) epoch.first_sequence = *entry.sequence;
        epoch.bytes += entry.bytes;
        last_sequence_ = std::max(last_sequence_, *entry.sequence);
        ++replayed_records_;
        ReplayRecord(*entry.sequence, *entry.record);
        if (head_.unwritten_chunks().size() >= kReplayedChunksPut) RETURN_IF_ERROR(WriteClosed());
      }
    }
    RETURN_IF_ERROR(WriteClosed());
    const absl::Status status = reader.status();
    if (absl::IsDataLoss(status)) {
      CountCorruption(epoch.family->name(), status);
    } else {
      RETURN_IF_ERROR(status);
    }
    log_bytes_ += epoch.bytes;
    log_.push_back(std::move(epoch));
  }
  // Epochs without records to replay: the last one goes on, the others are left-overs of a trim.
  while (log_.size() > 1 && log_.front().first_sequence == 0) {
    RETURN_IF_ERROR(store_.Drop(*log_.front().family));
    log_.pop_front();
  }
  if (log_.empty()) {
    LogEpoch epoch{.number = 1, .family = nullptr, .first_sequence = 0, .bytes = 0};
    ASSIGN_OR_RETURN(epoch.family, store_.CreateNumbered(kLogFamilyPrefix, epoch.number));
    log_.push_back(std::move(epoch));
  }
  if (log_.back().first_sequence == 0) log_.back().first_sequence = last_sequence_ + 1;
  for (size_t i = log_.size() - 1; i-- > 0;) {
    if (log_[i].first_sequence == 0) log_[i].first_sequence = log_[i + 1].first_sequence;
  }
  return absl::OkStatus();
}

absl::Status WritePath::Recover() {
  MutexLock lock(commit_mutex_);
  RETURN_IF_ERROR(RecoverMeta());
  RETURN_IF_ERROR(RecoverHotFamilies());
  RETURN_IF_ERROR(RecoverGenerations());
  PublishHot();
  if (const absl::Status status = tombstones_.Load(store_); !status.ok()) {
    CountCorruption("tombstones", status);
  }
  // Deletes have sequences too.
  last_sequence_ = std::max(last_sequence_, tombstones_.set()->sequence());
  for (const auto& [id, generation] : generations_) {
    last_sequence_ = std::max(last_sequence_, generation->info().sequence);
  }
  RETURN_IF_ERROR(RecoverSeries());
  RETURN_IF_ERROR(RecoverHead());
  RETURN_IF_ERROR(ReplayLog());
  if (unknown_series_samples_ > 0) {
    ++counters_.corruptions;
    spdlog::warn(LogLine("Logged samples of unknown series dropped",
                         {{"count", std::to_string(unknown_series_samples_)}}));
  }
  row_sequences_.clear();
  head_.RaiseNewestLate(head_.max_time());  // How far they went before is not known any more.
  // A clock that was wrong before must not keep today's samples out.
  if (options_.lookahead_limit > 0 && head_.max_time() != kMinTimestamp) {
    head_.ClampMaxTime(clock_.Now() + options_.lookahead_limit);
  }
  log_begun_nanos_ = clock_.MonotonicNanos();
  return absl::OkStatus();
}

}  // namespace varve
