// SPDX-License-Identifier: Apache-2.0
//
// Copying happens without a lock. That what is copied is a consistent view is up to the order, the
// same as for one series: memory, then the table, then what is stored.
#include "tsdb/neighbours.h"

#include <algorithm>
#include <utility>

namespace varve {

NeighbourCopies::~NeighbourCopies() {
  if (counted != nullptr) counted->Remove(bytes);
}

bool IsAllOpen(const OpenSamples& open, TimestampMs needed_from, TimestampMs min) {
  return open.newest_late < min &&
         (!open.closed.empty() ? open.closed.front()->key.first_time <= needed_from
                               : !open.open.empty() && open.open_first_time <= needed_from);
}

Neighbours::Neighbours(const Engine& engine, const ReadSet& set, std::vector<uint64_t> ids,
                       size_t in_memory, std::optional<std::vector<TimestampMs>> last_times)
    : engine_(engine),
      set_(set),
      ids_(std::move(ids)),
      in_memory_(in_memory),
      groups_in_memory_((in_memory + kTogether - 1) / kTogether),
      last_times_(std::move(last_times)) {
  MutexLock lock(mutex_);
  for (size_t begin = 0; begin < ids_.size(); begin = groups_.back().end) {
    const size_t part_end = begin < in_memory_ ? in_memory_ : ids_.size();
    groups_.push_back({.begin = begin, .end = std::min(begin + kTogether, part_end)});
  }
}

size_t Neighbours::GroupOf(size_t index) const {
  return index < in_memory_ ? index / kTogether
                            : groups_in_memory_ + (index - in_memory_) / kTogether;
}

size_t Neighbours::Place(size_t index) const {
  return (index < in_memory_ ? index : index - in_memory_) % kTogether;
}

std::shared_ptr<const NeighbourCopies> Neighbours::Take(size_t index, TimestampMs min,
                                                        TimestampMs max, ReadCost& cost) {
  size_t begin = 0;
  size_t end = 0;
  {
    MutexLock lock(mutex_);
    Group& group = groups_[GroupOf(index)];
    begin = group.begin;
    end = group.end;
    if (end - begin < 2) return nullptr;
    ++group.asked;
    if (group.began) {
      std::shared_ptr<const NeighbourCopies> copies = group.copies;
      if (group.asked >= end - begin) group.copies.reset();
      const bool fits = copies != nullptr && copies->min == min && copies->max == max;
      return fits ? copies : nullptr;
    }
    group.began = true;
  }
  std::shared_ptr<const NeighbourCopies> copies = Copy(begin, end, min, max);
  if (copies == nullptr) return nullptr;
  cost += copies->stored.cost;
  MutexLock lock(mutex_);
  Group& group = groups_[GroupOf(index)];
  if (group.asked < end - begin) group.copies = copies;
  return copies;
}

std::vector<NewestSample> Neighbours::CopyNewest(size_t begin, size_t end, TimestampMs min,
                                                 TimestampMs max) const {
  std::vector<NewestWanted> wanted;
  wanted.reserve(end - begin);
  for (size_t i = begin; i < end; ++i) {
    wanted.push_back({ids_[i], std::min(max, (*last_times_)[i])});
  }
  return engine_.head.ReadNewest(wanted, min);
}

std::shared_ptr<const NeighbourCopies> Neighbours::Copy(size_t begin, size_t end, TimestampMs min,
                                                        TimestampMs max) const {
  CopiedBytes& counted = engine_.write_path.generation_cache().copied;
  if (counted.bytes() >= CopiedBytes::kMax) return nullptr;
  auto copies = std::make_shared<NeighbourCopies>();
  copies->min = min;
  copies->max = max;
  std::vector<uint64_t> wanted;
  wanted.reserve(end - begin);
  copies->open_place.resize(end - begin, NeighbourCopies::kNowhere);
  copies->stored_place.resize(end - begin, NeighbourCopies::kNowhere);
  const bool in_memory = begin < in_memory_;
  const bool newest_only = last_times_.has_value();
  if (in_memory && newest_only) {
    copies->newest = CopyNewest(begin, end, min, max);
    copies->bytes += copies->newest.size() * sizeof(NewestSample);
  } else if (in_memory) {
    copies->open.reserve(end - begin);
  }
  for (size_t i = begin; i < end; ++i) {
    if (in_memory && newest_only && copies->newest[i - begin].found) continue;
    if (in_memory) {
      copies->open_place[i - begin] = static_cast<uint8_t>(copies->open.size());
      const OpenSamples& open = copies->open.emplace_back(engine_.head.CopyOpen(ids_[i]));
      copies->bytes += sizeof(open) + open.open.size();
      if (IsAllOpen(open, newest_only ? max : min, min)) continue;
    }
    copies->stored_place[i - begin] = static_cast<uint8_t>(wanted.size());
    wanted.push_back(ids_[i]);
  }
  if (in_memory && engine_.write_path.hot_set() != set_.pinned()) return nullptr;
  if (!wanted.empty()) {
    // What is large of each series gains least by it.
    const uint64_t less = std::min(counted.bytes() / 4, kCopiesBytesMax);
    copies->stored =
        set_.Copy(wanted, in_memory, min, max, std::max(kCopiesBytesMax - less, kSmallBytesMax));
  }
  copies->bytes += copies->stored.bytes;
  if (!counted.Add(copies->bytes)) return nullptr;
  copies->counted = &counted;
  return copies;
}

}  // namespace varve
