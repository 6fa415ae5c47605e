// SPDX-License-Identifier: Apache-2.0
//
// Folding and sealing.
#include "tsdb/fold.h"

#include <absl/container/flat_hash_map.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <optional>

#include "model/log_line.h"
#include "model/status_macros.h"
#include "tsdb/merge_samples.h"
#include "tsdb/table_by_table.h"

namespace varve {

namespace {

// As many generations as a merge takes at least: with a fold every two hours, a day's samples are
// merged twice and then sealed.
constexpr size_t kMergeMin = 6;
// What reading ahead takes, of each iterator.
constexpr size_t kReadAheadBytes = 1 << 20;

rocksdb::ReadOptions ScanOptions() {
  rocksdb::ReadOptions options;
  options.fill_cache = false;  // What queries use stays in the cache.
  options.readahead_size = kReadAheadBytes;
  return options;
}

std::unique_ptr<rocksdb::Iterator> NewScan(const Family& family) {
  return std::unique_ptr<rocksdb::Iterator>(
      family.db().NewIterator(ScanOptions(), family.handle()));
}

}  // namespace

// The chunks of a hot family in the order of their keys. Damaged blocks are stepped over: what lies
// in them is lost.
class HotCursor {
 public:
  explicit HotCursor(const HotFamily& hot) : family_(*hot.family), it_(NewScan(family_)) {
    it_->SeekToFirst();
    Settle();
  }

  bool valid() const { return valid_; }
  const HotKey& key() const { return key_; }
  std::string_view value() const { return ToView(it_->value()); }
  void Next() {
    it_->Next();
    Settle();
  }
  uint64_t damaged() const { return damaged_; }
  // Of an error that is not damage.
  const absl::Status& status() const { return status_; }

 private:
  void Settle() {
    for (;;) {
      if (it_->Valid()) {
        const absl::StatusOr<HotKey> key = DecodeHotKey(ToView(it_->key()));
        if (key.ok()) {
          key_ = *key;
          last_.assign(it_->key().data(), it_->key().size());
          valid_ = true;
          return;
        }
        ++damaged_;
        it_->Next();
        continue;
      }
      valid_ = false;
      const absl::Status status = FromRocks(it_->status(), "reading chunks to fold");
      if (status.ok()) return;
      if (!absl::IsDataLoss(status)) {
        status_ = status;
        return;
      }
      ++damaged_;
      it_ = NewTableByTableIterator(family_, ScanOptions());
      it_->Seek(last_.empty() ? last_ : last_ + '\0');
    }
  }

  const Family& family_;
  std::unique_ptr<rocksdb::Iterator> it_;
  bool valid_ = false;
  HotKey key_;
  std::string last_;  // As key_; empty before the first one.
  uint64_t damaged_ = 0;
  absl::Status status_;
};

// A generation that is merged: its series in order, with labels and samples. Columns say which
// series come next; each has a row of labels, unless that was lost.
class MergeInput {
 public:
  // All outlive this.
  MergeInput(const Store& store, const Generation& generation, DamageLog& damage)
      : generation_(generation),
        damage_(damage),
        prefix_(GenerationPrefix(generation.id())),
        last_(prefix_),
        labels_(NewScan(*store.labels())),
        columns_(NewScan(*store.columns())) {
    labels_->Seek(prefix_);
    columns_->Seek(prefix_);
  }

  // The series that comes next; nothing at the end. Call Settle() first.
  const std::optional<uint64_t>& series() const { return series_; }

  absl::Status Settle() {
    series_.reset();
    if (!columns_->Valid()) {
      const absl::Status status = FromRocks(columns_->status(), "reading columns to merge");
      if (!absl::IsDataLoss(status)) return status;
      damage_.NoteOnce(kColumnsFamily, status.ToString());
      if (!SeekPastDamage(*columns_, last_)) return FromRocks(columns_->status(), "merging");
    }
    last_.assign(columns_->key().data(), columns_->key().size());
    if (!last_.starts_with(prefix_)) return absl::OkStatus();
    ASSIGN_OR_RETURN(const ColumnKey key, DecodeColumnKey(last_));
    series_ = key.series;
    return absl::OkStatus();
  }

  // Labels of the series that comes next; empty if they are lost.
  absl::StatusOr<Labels> LabelsNow() {
    const std::string key = EncodeLabelKey(generation_.id(), *series_);
    while (labels_->Valid() && ToView(labels_->key()) < key) labels_->Next();
    if (!labels_->Valid()) {
      ForgetBlock(*labels_);
      labels_->Seek(key);
    }
    if (labels_->Valid() && ToView(labels_->key()) == key) {
      return Labels::FromBytes(ToView(labels_->value()));
    }
    if (restored_.empty()) {
      damage_.NoteOnce(kLabelsFamily, "labels of " + std::to_string(generation_.id().number) +
                                          " are read from its postings");
      ASSIGN_OR_RETURN(const std::vector<uint64_t> ids, generation_.Select({}));
      ASSIGN_OR_RETURN(std::vector<Labels> found, generation_.LabelsOf(ids));
      for (size_t i = 0; i < ids.size(); ++i) restored_.emplace(ids[i], std::move(found[i]));
    }
    return restored_[*series_];
  }

  // Merges its samples into `samples`, and moves on to the next series.
  absl::Status ReadNow(const TombstoneSet& deleted, SeriesSamples& samples) {
    std::vector<ColumnDamage> damage;
    RETURN_IF_ERROR(ReadLiving(Since(deleted.Of(*series_), generation_.info().sequence),
                               kWrittenInOrder, samples, [&](SeriesSamples& to) {
                                 return generation_.Read(*columns_, {}, *series_, kMinTimestamp,
                                                         kMaxTimestamp, &damage, to);
                               }));
    for (const ColumnDamage& part : damage) damage_.Note(kColumnsFamily, part.what);
    // Reading has moved the columns behind the series.
    return Settle();
  }

 private:
  const Generation& generation_;
  DamageLog& damage_;
  const std::string prefix_;
  std::string last_;  // Where `columns_` stood last.
  std::unique_ptr<rocksdb::Iterator> labels_;
  std::unique_ptr<rocksdb::Iterator> columns_;
  std::optional<uint64_t> series_;
  // Of all series, once a row of labels was missing.
  absl::flat_hash_map<uint64_t, Labels> restored_;
};

size_t FirstToMerge(const std::vector<BucketTable::Generation>& generations) {
  uint64_t bytes = 0;
  size_t first = generations.size();
  while (first > 0) {
    const uint64_t older = generations[first - 1].bytes;
    const size_t run = generations.size() - first;
    // The newest ones differ in size as the load does; an older one joins if it is no larger than
    // all of them.
    if (run + 1 >= kMergeMin && older > bytes) break;
    if (run > 0 && older > 4 * std::max<uint64_t>(bytes / run, 1) && older > bytes) break;
    bytes += older;
    --first;
  }
  return generations.size() - first >= kMergeMin ? first : generations.size();
}

void Folder::CountDamage(std::string_view what, const absl::Status& status) {
  counters_.damage.Note(what, status.ToString());
}

absl::Status Folder::At(std::string_view step) {
  if (stopped_.load(std::memory_order_relaxed)) return absl::CancelledError("folding was stopped");
  return options_.at_step ? options_.at_step(step) : absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<GenerationWriter>> Folder::NewWriter(PartitionId partition,
                                                                    TimestampMs bucket_start) {
  if (scratch_.empty()) {
    ASSIGN_OR_RETURN(scratch_, store_.ClearScratch());
  }
  const GenerationId id{
      .partition = partition, .bucket_start = bucket_start, .number = write_path_.NextGeneration()};
  return std::make_unique<GenerationWriter>(store_, id, scratch_);
}

absl::Status Folder::Publish(const TableChange& change) {
  absl::Status status = At("tables taken in");
  bool published = false;
  if (status.ok()) status = write_path_.Install(change, published);
  if (published) return status;
  for (const TableChange::Bucket& bucket : change.buckets) {
    if (!bucket.added.has_value()) continue;
    const absl::Status deleted = DeleteGeneration(store_, {.partition = bucket.partition,
                                                           .bucket_start = bucket.start,
                                                           .number = bucket.added->number});
    if (!deleted.ok())
      spdlog::warn(LogLine("Deleting unused tables", {{"err", deleted.ToString()}}));
  }
  return status;
}

// ---------------------------------------------------------------------------------------- counting

absl::Status Folder::Counted(FoldCounters Folder::*into,
                             absl::FunctionRef<absl::Status(uint64_t& bytes)> job) {
  const int64_t begin = clock_.MonotonicNanos();
  uint64_t bytes = 0;
  absl::Status status = job(bytes);
  if (absl::IsCancelled(status) || absl::IsAborted(status)) return status;  // Done again later.
  const double seconds = static_cast<double>(clock_.MonotonicNanos() - begin) / 1e9;
  MutexLock lock(counts_mutex_);
  FoldCounters& counters = this->*into;
  ++counters.runs;
  if (!status.ok()) ++counters.failures;
  counters.bytes += bytes;
  counters.durations.Add(seconds);
  return status;
}

FoldCounters Folder::folds() const {
  MutexLock lock(counts_mutex_);
  return folds_;
}

FoldCounters Folder::merges() const {
  MutexLock lock(counts_mutex_);
  return merges_;
}

// ----------------------------------------------------------------------------------------- folding

absl::Status Folder::FoldBucket(const HotFamily& hot, HotCursor& cursor, TableChange& change) {
  const HotKey begin = cursor.key();
  ASSIGN_OR_RETURN(const std::unique_ptr<GenerationWriter> writer,
                   NewWriter(begin.partition, begin.bucket_start));
  const std::shared_ptr<const TombstoneSet> deleted = write_path_.tombstones();
  const auto in_bucket = [&] {
    return cursor.valid() && cursor.key().partition == begin.partition &&
           cursor.key().bucket_start == begin.bucket_start;
  };
  while (in_bucket()) {
    RETURN_IF_ERROR(At("series"));
    const uint64_t series = cursor.key().series;
    SeriesSamples samples;
    for (; in_bucket() && cursor.key().series == series; cursor.Next()) {
      const absl::StatusOr<HotChunk> chunk = DecodeHotChunk(cursor.value());
      const TimestampMs first_time = cursor.key().first_time;
      const uint64_t written = cursor.key().late >> kLateSequenceShift;
      const absl::Status decoded =
          !chunk.ok()
              ? chunk.status()
              : ReadLiving(deleted->Of(series), written, samples, [&](SeriesSamples& into) {
                  return DecodeInto(first_time, into, [&](SeriesSamples& to) {
                    return DecodeChunkSamples(*chunk, first_time, kMinTimestamp, kMaxTimestamp, to);
                  });
                });
      if (!decoded.ok()) CountDamage("chunk", decoded);
    }
    if (samples.times.empty() && samples.histograms.empty()) continue;
    const Labels labels = head_.index().LabelsOf(series);
    if (labels.empty()) {
      const std::vector<std::shared_ptr<HotFamily>> live = write_path_.FinishedHot();
      if (std::none_of(live.begin(), live.end(),
                       [&hot](const auto& family) { return family.get() == &hot; })) {
        return absl::AbortedError("retention was faster");  // The series left with its chunks.
      }
      CountDamage("chunk", absl::DataLossError("chunks of an unknown series"));
      continue;
    }
    RETURN_IF_ERROR(writer->Add(series, labels, std::move(samples)));
    options_.memory->Set(MemoryPart::kFolding, writer->MemoryBytes());
  }
  RETURN_IF_ERROR(At("bucket written"));
  ASSIGN_OR_RETURN(const BucketTable::Generation added, writer->Finish());
  if (added.series == 0) return absl::OkStatus();
  TableChange::Bucket bucket{.partition = begin.partition, .start = begin.bucket_start};
  bucket.added = added;
  bucket.added->sequence = deleted->sequence();
  change.buckets.push_back(std::move(bucket));
  return absl::OkStatus();
}

absl::Status Folder::Fold(const HotFamily& hot, uint64_t& bytes) {
  RETURN_IF_ERROR(At("begin"));
  TableChange change;
  change.folded_below = hot.number + 1;
  HotCursor cursor(hot);
  absl::Status status;
  while (status.ok() && cursor.valid()) status = FoldBucket(hot, cursor, change);
  if (status.ok()) status = cursor.status();
  if (!status.ok()) {
    // Nothing of it was published: Publish() only cleans up.
    for (const TableChange::Bucket& bucket : change.buckets) {
      DeleteGeneration(store_, {.partition = bucket.partition,
                                .bucket_start = bucket.start,
                                .number = bucket.added->number})
          .IgnoreError();
    }
    return status;
  }
  if (cursor.damaged() > 0) {
    CountDamage(hot.family->name(), absl::DataLossError("blocks could not be read"));
  }
  RETURN_IF_ERROR(Publish(change));
  for (const TableChange::Bucket& bucket : change.buckets) bytes += bucket.added->bytes;
  return At("hot family dropped");
}

// ----------------------------------------------------------------------------------------- merging

absl::Status Folder::MergeInto(const std::vector<GenerationPtr>& from, const TombstoneSet& deleted,
                               GenerationWriter& writer) {
  std::vector<MergeInput> inputs;
  for (const GenerationPtr& generation : from) {
    inputs.emplace_back(store_, *generation, counters_.damage);
    RETURN_IF_ERROR(inputs.back().Settle());
  }
  for (;;) {
    RETURN_IF_ERROR(At("series"));
    std::optional<uint64_t> next;
    for (const MergeInput& input : inputs) {
      if (input.series().has_value() && (!next.has_value() || *input.series() < *next)) {
        next = input.series();
      }
    }
    if (!next.has_value()) return absl::OkStatus();
    SeriesSamples samples;
    std::optional<Labels> labels;
    for (MergeInput& input : inputs) {
      if (input.series() != next) continue;
      if (!labels.has_value() || labels->empty()) {
        ASSIGN_OR_RETURN(labels, input.LabelsNow());
      }
      RETURN_IF_ERROR(input.ReadNow(deleted, samples));
    }
    if (samples.times.empty() && samples.histograms.empty()) continue;
    if (labels->empty()) *labels = head_.index().LabelsOf(*next);
    if (labels->empty()) {
      CountDamage(kLabelsFamily, absl::DataLossError("samples of a series whose labels are lost"));
      continue;
    }
    RETURN_IF_ERROR(writer.Add(*next, *labels, std::move(samples)));
    options_.memory->Set(MemoryPart::kFolding, writer.MemoryBytes());
  }
}

absl::Status Folder::Merge(const HotSet& set, const BucketTable::Bucket& bucket, size_t first,
                           uint64_t& bytes) {
  RETURN_IF_ERROR(At("begin merge"));
  TableChange::Bucket change{.partition = bucket.partition, .start = bucket.start};
  std::vector<GenerationPtr> from;
  for (const GenerationPtr& generation : set.generations) {
    if (generation->id().partition != bucket.partition ||
        generation->id().bucket_start != bucket.start ||
        generation->id().number < bucket.generations[first].number) {
      continue;
    }
    from.push_back(generation);
    change.replaced.push_back(generation->id().number);
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<GenerationWriter> writer,
                   NewWriter(bucket.partition, bucket.start));
  const std::shared_ptr<const TombstoneSet> deleted = write_path_.tombstones();
  RETURN_IF_ERROR(MergeInto(from, *deleted, *writer));
  RETURN_IF_ERROR(At("bucket written"));
  ASSIGN_OR_RETURN(const BucketTable::Generation added, writer->Finish());
  if (added.series > 0) {
    change.added = added;
    change.added->sequence = deleted->sequence();
  }
  change.sealed = first == 0 && HasClosed(bucket);
  TableChange table;
  table.buckets.push_back(std::move(change));
  RETURN_IF_ERROR(Publish(table));
  bytes += added.bytes;
  return absl::OkStatus();
}

absl::Status Folder::MergeCounted(const HotSet& set, const BucketTable::Bucket& bucket,
                                  size_t first) {
  return Counted(&Folder::merges_, [&](uint64_t& bytes) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    return Merge(set, bucket, first, bytes);
  });
}

bool Folder::HasClosed(const BucketTable::Bucket& bucket) const {
  const TimestampMs newest = head_.max_time();
  return newest != kMinTimestamp &&
         bucket.end < newest - std::max({kHour, options_.head_window,
                                         late_window_.load(std::memory_order_relaxed)});
}

absl::Status Folder::MergeGenerations(bool seal_all) {
  const std::shared_ptr<const HotSet> set = write_path_.hot_set();
  for (const BucketTable::Bucket& bucket : set->buckets.buckets()) {
    const size_t count = bucket.generations.size();
    if (count < 2 || unmergeable_.contains({bucket.partition, bucket.start})) continue;
    // Chunks that lie in hot families would make another generation soon.
    const bool in_hot = std::any_of(
        set->families.begin(), set->families.end(), [&](const std::shared_ptr<HotFamily>& hot) {
          return hot->min.load(std::memory_order_relaxed) < bucket.end &&
                 hot->max.load(std::memory_order_relaxed) >= bucket.start;
        });
    const bool seal = seal_all || (!bucket.sealed && !in_hot && HasClosed(bucket));
    const size_t first = seal ? 0 : FirstToMerge(bucket.generations);
    if (first == count) continue;
    const absl::Status status = MergeCounted(*set, bucket, first);
    if (absl::IsDataLoss(status)) {
      CountDamage("generation", status);
      unmergeable_.emplace(bucket.partition, bucket.start);
    } else if (!absl::IsAborted(status)) {  // Aborted: retention was faster.
      RETURN_IF_ERROR(status);
    }
  }
  return absl::OkStatus();
}

absl::Status Folder::Clean(uint64_t sequence) {
  MutexLock lock(mutex_);
  RETURN_IF_ERROR(RunLocked(/*seal_all=*/false));
  const std::shared_ptr<const HotSet> set = write_path_.hot_set();
  const std::shared_ptr<const TombstoneSet> deleted = write_path_.tombstones();
  for (const BucketTable::Bucket& bucket : set->buckets.buckets()) {
    const auto has_deleted = [&](const BucketTable::Generation& generation) {
      return generation.sequence < sequence &&
             std::any_of(deleted->by_series().begin(), deleted->by_series().end(),
                         [&](const auto& series) {
                           return std::any_of(series.second.begin(), series.second.end(),
                                              [&](const Tombstone& tombstone) {
                                                return tombstone.min <= generation.max_time &&
                                                       tombstone.max >= generation.min_time;
                                              });
                         });
    };
    if (!std::any_of(bucket.generations.begin(), bucket.generations.end(), has_deleted)) continue;
    RETURN_IF_ERROR(MergeCounted(*set, bucket, 0));
  }
  return write_path_.DropRetired();
}

absl::Status Folder::RunLocked(bool seal_all) {
  const absl::Status status = FoldAndMerge(seal_all);
  options_.memory->Set(MemoryPart::kFolding, 0);
  return status;
}

absl::Status Folder::FoldAndMerge(bool seal_all) {
  for (const std::shared_ptr<HotFamily>& hot : write_path_.FinishedHot()) {
    const absl::Status status =
        Counted(&Folder::folds_,
                [&](uint64_t& bytes) ABSL_NO_THREAD_SAFETY_ANALYSIS { return Fold(*hot, bytes); });
    if (!absl::IsAborted(status)) RETURN_IF_ERROR(status);
  }
  RETURN_IF_ERROR(MergeGenerations(seal_all));
  return write_path_.DropRetired();
}

absl::Status Folder::Run() {
  MutexLock lock(mutex_);
  const absl::Status status = RunLocked(/*seal_all=*/false);
  return absl::IsCancelled(status) ? absl::OkStatus() : status;
}

absl::Status Folder::SealAll() {
  MutexLock lock(mutex_);
  return RunLocked(/*seal_all=*/true);
}

}  // namespace varve
