// SPDX-License-Identifier: Apache-2.0
//
// The write path's side of folding: from one bucket table to the next, and what may be deleted
// then.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <set>
#include <utility>

#include "model/log_line.h"
#include "model/status_macros.h"
#include "tsdb/write_path.h"

namespace varve {

std::vector<std::shared_ptr<HotFamily>> WritePath::FinishedHot() {
  MutexLock lock(commit_mutex_);
  return {hot_.begin(), hot_.end() - 1};
}

absl::Status WritePath::Apply(const TableChange& change, BucketTable& table) const {
  for (const TableChange::Bucket& part : change.buckets) {
    BucketTable::Bucket* bucket = table.FindStart(part.partition, part.start);
    if (bucket == nullptr && part.replaced.empty()) {
      // Its row was lost: the chunks still say where it began.
      bool added = false;
      table.FindOrAdd(part.partition, part.start, options_.bucket_size, added);
      bucket = table.FindStart(part.partition, part.start);
    }
    if (bucket == nullptr) return absl::AbortedError("the bucket is gone");
    for (const uint32_t number : part.replaced) {
      const size_t gone = std::erase_if(
          bucket->generations, [number](const auto& live) { return live.number == number; });
      if (gone == 0) return absl::AbortedError("the generation is gone");
    }
    if (part.added.has_value()) {
      // Merged ones take the place of the newest; concurrent ones may not be newer.
      bucket->generations.push_back(*part.added);
      std::sort(bucket->generations.begin(), bucket->generations.end(),
                [](const auto& a, const auto& b) { return a.number < b.number; });
    }
    bucket->sealed |= part.sealed;
  }
  if (change.folded_below > 0) table.set_hot_folded_below(change.folded_below);
  return absl::OkStatus();
}

void WritePath::SetGenerations(const BucketTable& table) {
  std::map<GenerationId, GenerationPtr> generations;
  for (const BucketTable::Bucket& bucket : table.buckets()) {
    for (const BucketTable::Generation& info : bucket.generations) {
      const GenerationId id{bucket.partition, bucket.start, info.number};
      const auto known = generations_.find(id);
      generations.emplace(id, known != generations_.end()
                                  ? known->second
                                  : std::make_shared<Generation>(
                                        store_, id, info, generation_cache_, counters_.damage));
    }
  }
  for (const auto& [id, generation] : generations_) {
    if (!generations.contains(id)) retired_.emplace_back(id, generation);
  }
  generations_ = std::move(generations);
}

absl::Status WritePath::Install(const TableChange& change, bool& published) {
  published = false;
  {
    MutexLock lock(commit_mutex_);
    BucketTable table = head_.bucket_table();
    RETURN_IF_ERROR(Apply(change, table));
    rocksdb::WriteBatch batch;
    batch.Put(store_.meta().handle(), ToSlice(kBucketTableKey), table.Encode());
    for (const std::shared_ptr<HotFamily>& hot : hot_) {
      if (hot->number >= change.folded_below) break;
      batch.Delete(store_.meta().handle(), HotRangeKey(hot->number));
    }
    RETURN_IF_ERROR(Write(batch, "recording folded chunks"));
    published = true;
    head_.TakeBucketTableChanged();  // Just written.
    SetGenerations(table);
    head_.SetBucketTable(std::move(table));
    while (hot_.size() > 1 && hot_.front()->number < change.folded_below) {
      folded_.push_back(hot_.front()->family);
      hot_.erase(hot_.begin());
    }
    PublishHot();
  }
  return DropFolded();
}

absl::Status WritePath::DropFolded() {
  std::vector<FamilyPtr> folded;
  {
    MutexLock lock(commit_mutex_);
    if (folded_.empty()) return absl::OkStatus();
    folded = folded_;
  }
  // A drop is durable at once, a put only when synced.
  RETURN_IF_ERROR(store_.SyncWal());
  for (const FamilyPtr& family : folded) {
    RETURN_IF_ERROR(At("dropping a hot family"));
    RETURN_IF_ERROR(store_.Drop(*family));
    MutexLock lock(commit_mutex_);
    std::erase(folded_, family);
  }
  return absl::OkStatus();
}

absl::Status WritePath::DropRetired() {
  RETURN_IF_ERROR(DropFolded());
  std::vector<GenerationId> unread;
  {
    MutexLock lock(commit_mutex_);
    for (const auto& [id, generation] : retired_) {
      if (generation.expired()) unread.push_back(id);
    }
  }
  if (unread.empty()) return absl::OkStatus();
  // The table without them must be durable before they go.
  RETURN_IF_ERROR(store_.SyncWal());
  for (const GenerationId& id : unread) {
    RETURN_IF_ERROR(At("deleting a generation"));
    RETURN_IF_ERROR(DeleteGeneration(store_, id));
    MutexLock lock(commit_mutex_);
    std::erase_if(retired_, [&id](const auto& retired) { return retired.first == id; });
  }
  return absl::OkStatus();
}

absl::Status WritePath::CloseAll() {
  if (head_.max_time() == kMinTimestamp) return absl::OkStatus();
  for (size_t first = 0; first < kSeriesShards; first += kShardsSwept) {
    MutexLock lock(commit_mutex_);
    // Those with samples stay, however old: they may be about to go on.
    RETURN_IF_ERROR(SweepShards(first,
                                {.ended_before = kMaxTimestamp, .silent_before = kMaxTimestamp},
                                /*oldest_epoch=*/0));
  }
  {
    MutexLock lock(commit_mutex_);
    if (hot_.back()->begun == kMinTimestamp) return absl::OkStatus();
  }
  return RotateHot();
}

void WritePath::AdoptGeneration(const GenerationId& id) {
  std::vector<absl::Status> damage;
  const BucketTable::Generation found = DescribeGeneration(store_, id, damage);
  for (const absl::Status& status : damage) NoteDamage(kColumnsFamily, status);
  TableChange change;
  change.buckets.push_back({.partition = id.partition, .start = id.bucket_start, .added = found});
  BucketTable table = head_.bucket_table();
  if (found.samples == 0 || !Apply(change, table).ok()) return;
  head_.SetBucketTable(std::move(table));
  head_.MarkBucketTableChanged();
  spdlog::warn(LogLine(
      "A generation that the bucket table did not name is used again",
      {{"generation", std::to_string(id.number)}, {"samples", std::to_string(found.samples)}}));
}

absl::Status WritePath::RecoverGenerations() {
  std::vector<absl::Status> damage;
  ASSIGN_OR_RETURN(const std::set<GenerationId> found, ListGenerations(store_, damage));
  for (const absl::Status& status : damage) NoteDamage("generations", status);
  // The table is there before the first generation is.
  table_lost_ |= head_.bucket_table().buckets().empty() && !found.empty();
  SetGenerations(head_.bucket_table());
  uint32_t highest = 0;
  for (const GenerationId& id : found) {
    highest = std::max(highest, id.number);
    if (generations_.contains(id)) continue;
    if (table_lost_) {
      AdoptGeneration(id);
      continue;
    }
    RETURN_IF_ERROR(DeleteGeneration(store_, id));
    spdlog::info(LogLine("Deleted tables of an unfinished fold",
                         {{"generation", std::to_string(id.number)}}));
  }
  if (table_lost_) {
    for (const GenerationId& id : found) {
      // Ids are never used again, not even those whose high-water mark was lost.
      head_.RaiseLastId(LastSeriesOf(store_, id));
    }
    SetGenerations(head_.bucket_table());
  }
  for (const auto& [id, generation] : generations_) {
    highest = std::max(highest, id.number);
    // A damaged block may hide it.
    if (!found.contains(id) && damage.empty()) {
      NoteDamage("generations",
                 absl::DataLossError(fmt::format("generation {} has no rows", id.number)));
    }
  }
  next_generation_ = highest + 1;
  return absl::OkStatus();
}

}  // namespace varve
