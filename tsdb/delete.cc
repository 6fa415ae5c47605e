// SPDX-License-Identifier: Apache-2.0
//
// The write path's side of deleting.
#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "model/status_macros.h"
#include "tsdb/write_path.h"

namespace varve {

absl::Status WritePath::DeleteSeries(const std::vector<std::vector<Matcher>>& matcher_sets,
                                     TimestampMs min, TimestampMs max) {
  const std::shared_ptr<const HotSet> pinned = hot_set();
  std::set<uint64_t> ids;
  for (const std::vector<Matcher>& matchers : matcher_sets) {
    const std::vector<uint64_t> in_memory = head_.index().Select(matchers);
    ids.insert(in_memory.begin(), in_memory.end());
    for (const GenerationPtr& generation : pinned->generations) {
      if (!generation->Overlaps(min, max)) continue;
      ASSIGN_OR_RETURN(const std::vector<uint64_t> stored, generation->Select(matchers));
      ids.insert(stored.begin(), stored.end());
    }
  }
  MutexLock lock(commit_mutex_);
  RETURN_IF_ERROR(refusal_);
  // A sequence of its own: folding tells by it which deletes it has seen.
  const uint64_t sequence = ++last_sequence_;
  TombstoneStore::Entries entries;
  std::set<uint64_t> rows;
  for (const uint64_t id : ids) {
    const std::optional<TimestampMs> newest = head_.LastTimeOf(id);
    // Its first samples are on their way.
    if (!newest.has_value() && head_.index().Has(id)) continue;
    // In-order samples that come from now on lie behind the newest one, late ones know their
    // sequence if they share no chunk with those from before.
    const TimestampMs last = std::min(max, newest.value_or(max));
    if (last < min) continue;
    entries.emplace_back(id, Tombstone{.min = min, .max = last, .sequence = sequence});
    if (head_.CloseLateOf(id)) rows.insert(id / kHeadRowSeries);
  }
  if (entries.empty()) return absl::OkStatus();
  // Replay must not put late samples from before and from after into one chunk again.
  for (const uint64_t row : rows) RETURN_IF_ERROR(SaveRow(row, WriteVia::kWal));
  rocksdb::WriteBatch batch;
  TombstoneStore::Put(entries, store_, batch);
  RETURN_IF_ERROR(At("delete"));
  RETURN_IF_ERROR(Write(batch, "recording deleted samples"));
  RETURN_IF_ERROR(At("deleted"));
  tombstones_.Added(entries);
  return absl::OkStatus();
}

absl::Status WritePath::ForgetTombstones(uint64_t sequence, TimestampMs time) {
  MutexLock lock(commit_mutex_);
  const TombstoneStore::Entries entries = tombstones_.Outdated(sequence, time);
  if (entries.empty()) return absl::OkStatus();
  rocksdb::WriteBatch batch;
  TombstoneStore::Delete(entries, store_, batch);
  RETURN_IF_ERROR(Write(batch, "forgetting deleted samples"));
  tombstones_.Deleted(entries);
  return absl::OkStatus();
}

}  // namespace varve
