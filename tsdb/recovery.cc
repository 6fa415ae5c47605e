// SPDX-License-Identifier: Apache-2.0
//
// Recovery: from the rows of a closed or killed database back to a head. What is damaged costs its
// own range, is named and counted, and does not stop the start.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "model/check.h"
#include "model/log_line.h"
#include "model/status_macros.h"
#include "tsdb/open_store.h"
#include "tsdb/postings.h"
#include "tsdb/read_ahead.h"
#include "tsdb/series_loader.h"
#include "tsdb/write_path.h"

namespace varve {

namespace {

// Rows as read ahead. DataLoss: the others are good all the same.
struct SeriesRow {
  absl::StatusOr<uint64_t> id;
  absl::StatusOr<Labels> labels;
};

struct StoredHeadRow {
  absl::StatusOr<uint64_t> first_id;
  std::unique_ptr<const std::string> value;  // What the row's views are of.
  absl::StatusOr<HeadRow> row;
};

struct LogEntry {
  absl::StatusOr<uint64_t> sequence;
  absl::StatusOr<LogRecord> record;
  size_t bytes = 0;  // Of the record as stored.
};

SeriesRow ReadSeriesRow(std::string_view key, std::string_view value) {
  return {DecodeIdKey(key), Labels::FromBytes(value)};
}

StoredHeadRow ReadHeadRow(std::string_view key, std::string_view value) {
  absl::StatusOr<uint64_t> first_id = DecodeIdKey(key);
  auto bytes = std::make_unique<const std::string>(value);
  absl::StatusOr<HeadRow> row =
      first_id.ok() ? DecodeHeadRow(*first_id, *bytes) : absl::StatusOr<HeadRow>(first_id.status());
  return {std::move(first_id), std::move(bytes), std::move(row)};
}

}  // namespace

void WritePath::NoteDamage(std::string_view part, const absl::Status& status) {
  counters_.damage.Note(part, status.ToString());
}

void WritePath::NoteDamage(std::string_view part, const std::vector<absl::Status>& damage) {
  for (const absl::Status& status : damage) {
    NoteDamage(part, status);
    if (const uint64_t table = TableNamedIn(MessageOf(status)); table != 0) {
      damaged_tables_.insert(table);
      damaged_families_.emplace(part);
    }
  }
}

std::optional<std::string> WritePath::RecoverRow(std::string_view key) {
  absl::StatusOr<std::string> row = store_.Get(store_.meta(), key);
  if (row.ok()) return *std::move(row);
  if (!absl::IsNotFound(row.status())) {
    NoteDamage(kMetaFamily, std::vector<absl::Status>{row.status()});
  }
  return std::nullopt;
}

absl::Status WritePath::RecoverMeta() {
  const Family& meta = store_.meta();
  const std::optional<std::string> version = RecoverRow(kFormatVersionKey);
  const absl::StatusOr<uint64_t> number =
      version.has_value() ? DecodeVarintValue(*version, "format version") : kFormatVersion;
  if (!number.ok()) NoteDamage(kMetaFamily, number.status());
  if (number.ok() && *number > kFormatVersion) {
    return absl::FailedPreconditionError(fmt::format(
        "the data directory \"{}\" has format version {}, written by a newer version of Varve; "
        "this one reads versions up to {}",
        options_.path, *number, kFormatVersion));
  }
  const auto decode = [this](std::string_view key, std::string_view what)
                          ABSL_NO_THREAD_SAFETY_ANALYSIS -> std::optional<uint64_t> {
    const std::optional<std::string> row = RecoverRow(key);
    if (!row.has_value()) return std::nullopt;
    const absl::StatusOr<uint64_t> value = DecodeVarintValue(*row, what);
    if (value.ok()) return *value;
    NoteDamage(kMetaFamily, value.status());
    return std::nullopt;
  };
  if (const auto id = decode(kSeriesHighWaterKey, "series high water")) head_.RaiseLastId(*id);
  if (const auto sequence = decode(kCheckpointKey, "checkpoint")) {
    replay_from_ = *sequence;
    last_sequence_ = std::max<uint64_t>(replay_from_, 1) - 1;
  }
  if (const std::optional<std::string> row = RecoverRow(kBucketTableKey)) {
    absl::StatusOr<BucketTable> table = BucketTable::Decode(*row);
    if (table.ok()) {
      head_.SetBucketTable(*std::move(table));
    } else {
      NoteDamage(kMetaFamily, table.status());
      table_lost_ = true;
    }
  }
  table_lost_ |= damaged_families_.contains(kMetaFamily);
  // From here on an older program could not read what is written.
  if (version.has_value() && number.ok() && *number == kFormatVersion) return absl::OkStatus();
  rocksdb::WriteBatch batch;
  batch.Put(meta.handle(), ToSlice(kFormatVersionKey), EncodeVarintValue(kFormatVersion));
  return Write(batch, "writing the format version");
}

absl::Status WritePath::RewriteDamaged() {
  std::vector<const Family*> rewritten;
  for (const Family* family : {&store_.meta(), &store_.series(), &store_.head(),
                               &store_.tombstones(), &store_.exemplars(), &store_.metadata()}) {
    if (!damaged_families_.contains(family->name())) continue;
    std::vector<absl::Status> damage;
    RETURN_IF_ERROR(store_.Scan(
        *family, {},
        [&](std::string_view key, std::string_view value) -> absl::StatusOr<bool> {
          rocksdb::WriteBatch batch;
          batch.Put(family->handle(), ToSlice(key), ToSlice(value));
          RETURN_IF_ERROR(store_.Write(batch, "writing the rows of a damaged table again"));
          return true;
        },
        &damage));
    rewritten.push_back(family);
  }
  RETURN_IF_ERROR(store_.Flush(rewritten));
  return store_.SyncWal();
}

absl::StatusOr<HotRange> WritePath::ScanHotRange(const Family& family) const {
  HotRange range;
  std::vector<absl::Status> damage;
  RETURN_IF_ERROR(store_.Scan(
      family, {},
      [&](std::string_view key, std::string_view value) -> absl::StatusOr<bool> {
        const absl::StatusOr<HotKey> hot_key = DecodeHotKey(key);
        const absl::StatusOr<HotChunk> chunk = DecodeHotChunk(value);
        if (hot_key.ok() && chunk.ok()) {
          WidenHotRange(range, hot_key->first_time, chunk->end_time);
          if (range.begun == kMinTimestamp) range.begun = hot_key->first_time;
        }
        return true;
      },
      &damage));
  if (!damage.empty()) return damage.front();
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
    const std::optional<std::string> stored = RecoverRow(HotRangeKey(number));
    absl::StatusOr<HotRange> decoded =
        stored.has_value() ? DecodeHotRange(*stored) : ScanHotRange(*family);
    if (decoded.ok()) {
      range = *decoded;
    } else {
      NoteDamage(family->name(), decoded.status());
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

absl::Status WritePath::RecoverSeries(SeriesLoader& loader) {
  ReadAhead<SeriesRow> reader(store_, store_.series(), {}, ReadSeriesRow);
  for (std::vector<SeriesRow> rows = reader.Next(); !rows.empty(); rows = reader.Next()) {
    for (SeriesRow& row : rows) {
      if (!row.id.ok() || *row.id == 0 || *row.id > kSeriesIdMax || !row.labels.ok()) {
        NoteDamage(kSeriesFamily, row.id.ok() ? row.labels.status() : row.id.status());
        continue;
      }
      loader.AddSaved(*row.id, *std::move(row.labels));
    }
  }
  RETURN_IF_ERROR(reader.status());
  NoteDamage(kSeriesFamily, reader.TakeDamage());
  return absl::OkStatus();
}

absl::Status WritePath::RecoverHead(const SeriesLoader& loader) {
  std::vector<uint64_t> with_entry;  // Rows come by id, and so do their entries.
  ReadAhead<StoredHeadRow> reader(store_, store_.head(), {}, ReadHeadRow);
  for (std::vector<StoredHeadRow> rows = reader.Next(); !rows.empty(); rows = reader.Next()) {
    for (const StoredHeadRow& stored : rows) {
      if (!stored.row.ok()) {
        NoteDamage(kHeadFamily, stored.row.status());
        continue;
      }
      row_sequences_[*stored.first_id / kHeadRowSeries] = stored.row->sequence;
      last_sequence_ = std::max(last_sequence_, stored.row->sequence);
      for (const HeadRowEntry& entry : stored.row->entries) {
        with_entry.push_back(entry.id);
        const absl::Status restored = head_.RestoreEntry(entry);
        if (!restored.ok()) NoteDamage(kHeadFamily, restored);
      }
    }
  }
  RETURN_IF_ERROR(reader.status());
  NoteDamage(kHeadFamily, reader.TakeDamage());
  std::vector<uint64_t> without_entry = loader.saved_ids();
  SubtractIds(without_entry, with_entry);
  for (const uint64_t id : without_entry) {
    head_.RestoreUnknownEntry(id, static_cast<uint32_t>(hot_.back()->number));
  }
  return absl::OkStatus();
}

void WritePath::ReplayRecord(uint64_t sequence, const LogRecord& record, SeriesLoader& loader) {
  for (const LogRecord::Series& series : record.series) {
    absl::StatusOr<Labels> labels = Labels::FromBytes(series.label_bytes);
    if (!labels.ok() || series.id == 0 || series.id > kSeriesIdMax) {
      NoteDamage("log", labels.status());
      continue;
    }
    loader.AddLogged(series.id, *std::move(labels));
  }
  metadata_.Replay(record.metadata);
  // Neighbouring samples are mostly of one row.
  uint64_t last_row = ~uint64_t{0};
  bool last_contained = false;
  const auto is_contained = [&](uint64_t id) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    if (id / kHeadRowSeries == last_row) return last_contained;
    last_row = id / kHeadRowSeries;
    const auto row = row_sequences_.find(last_row);
    return last_contained = row != row_sequences_.end() && sequence <= row->second;
  };
  uint64_t unknown = 0;
  head_.Replay(record, sequence, is_contained, unknown);
  counters_.unknown_series_samples += unknown;
}

absl::Status WritePath::ReplayLog(SeriesLoader& loader) {
  for (auto& [number, family] : store_.TakeNumbered(kLogFamilyPrefix)) {
    LogEpoch epoch{.number = number, .family = std::move(family), .first_sequence = 0, .bytes = 0};
    LogRecordDecoder decoder;
    ReadAhead<LogEntry> reader(
        store_, *epoch.family, EncodeIdKey(replay_from_),
        [&decoder](std::string_view key, std::string_view value) {
          return LogEntry{DecodeIdKey(key), decoder.Decode(value), value.size()};
        });
    for (std::vector<LogEntry> entries = reader.Next(); !entries.empty(); entries = reader.Next()) {
      for (const LogEntry& entry : entries) {
        if (!entry.sequence.ok() || !entry.record.ok()) {
          NoteDamage(epoch.family->name(), entry.record.status());
          continue;
        }
        if (epoch.first_sequence == 0) epoch.first_sequence = *entry.sequence;
        epoch.bytes += entry.bytes;
        last_sequence_ = std::max(last_sequence_, *entry.sequence);
        ++replayed_records_;
        ReplayRecord(*entry.sequence, *entry.record, loader);
        RETURN_IF_ERROR(WriteClosedIfMany());
      }
    }
    RETURN_IF_ERROR(WriteClosed());
    for (const absl::Status& damage : reader.TakeDamage()) NoteDamage(epoch.family->name(), damage);
    RETURN_IF_ERROR(reader.status());
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

absl::Status WritePath::Recover(bool losses) {
  MutexLock lock(commit_mutex_);
  table_lost_ = losses;
  RETURN_IF_ERROR(RecoverMeta());
  RETURN_IF_ERROR(RecoverHotFamilies());
  RETURN_IF_ERROR(RecoverGenerations());
  PublishHot();
  std::vector<absl::Status> damage;
  RETURN_IF_ERROR(tombstones_.Load(store_, damage));
  NoteDamage(kTombstonesFamily, damage);
  damage.clear();
  RETURN_IF_ERROR(exemplars_.Load(store_, damage));
  NoteDamage(kExemplarsFamily, damage);
  damage.clear();
  RETURN_IF_ERROR(metadata_.Load(store_, damage));
  NoteDamage(kMetadataFamily, damage);
  // Deletes have sequences too.
  last_sequence_ = std::max(last_sequence_, tombstones_.set()->sequence());
  for (const auto& [id, generation] : generations_) {
    last_sequence_ = std::max(last_sequence_, generation->info().sequence);
  }
  SeriesLoader loader(head_);
  RETURN_IF_ERROR(RecoverSeries(loader));
  RETURN_IF_ERROR(RecoverHead(loader));
  const uint64_t unknown_before = counters_.unknown_series_samples;
  RETURN_IF_ERROR(ReplayLog(loader));
  loader.Finish();
  if (const uint64_t unknown = counters_.unknown_series_samples - unknown_before; unknown > 0) {
    NoteDamage("log", absl::DataLossError(fmt::format("{} samples of unknown series", unknown)));
  }
  row_sequences_.clear();
  rocksdb::WriteBatch lost_metadata;
  metadata_.PutReplayed(store_, lost_metadata);
  if (lost_metadata.Count() > 0) {
    RETURN_IF_ERROR(Write(lost_metadata, "writing metadata again"));
  }
  // How far late samples went, as the last checkpoint says; without it, anywhere.
  TimestampMs newest_late = head_.max_time();
  const absl::StatusOr<std::string> stored = store_.Get(store_.meta(), kNewestLateKey);
  if (stored.ok() && !losses) {
    const absl::StatusOr<uint64_t> time = DecodeVarintValue(*stored, "newest late sample");
    if (time.ok()) newest_late = static_cast<TimestampMs>(*time);
  }
  head_.RaiseNewestLate(newest_late);
  RetireFuture();
  log_begun_nanos_ = clock_.MonotonicNanos();
  return absl::OkStatus();
}

}  // namespace varve
