// SPDX-License-Identifier: Apache-2.0
//
// Handing series over in groups.
#include "tsdb/series_loader.h"

#include <algorithm>
#include <utility>

namespace varve {

namespace {

constexpr size_t kGroupSeries = 1024;
// Groups waiting to be put into the index: enough that the caller need not wait, as reading rows is
// faster, and less than open chunks will take.
constexpr size_t kWaitingGroupsMax = 256;

}  // namespace

SeriesLoader::SeriesLoader(Head& head) : head_(head), thread_([this] { Run(); }) {}

SeriesLoader::~SeriesLoader() { Finish(); }

void SeriesLoader::AddSaved(uint64_t id, Labels labels) {
  head_.RestoreSaved(id);
  saved_ids_.push_back(id);
  Add(id, std::move(labels));
}

void SeriesLoader::AddLogged(uint64_t id, Labels labels) {
  if (head_.RestoreLogged(id)) Add(id, std::move(labels));
}

void SeriesLoader::Add(uint64_t id, Labels labels) {
  highest_id_ = std::max(highest_id_, id);
  group_.push_back({id, std::move(labels)});
  if (group_.size() >= kGroupSeries) Hand();
}

void SeriesLoader::Hand() {
  MutexLock lock(mutex_);
  while (ready_.size() >= kWaitingGroupsMax) changed_.Wait(mutex_);
  ready_.push_back(std::exchange(group_, {}));
  changed_.NotifyAll();
}

void SeriesLoader::Finish() {
  if (!thread_.joinable()) return;
  if (!group_.empty()) Hand();
  {
    MutexLock lock(mutex_);
    ended_ = true;
    changed_.NotifyAll();
  }
  thread_.join();
  head_.RaiseLastId(highest_id_);
}

void SeriesLoader::Run() {
  for (;;) {
    Group group;
    {
      MutexLock lock(mutex_);
      while (ready_.empty() && !ended_) changed_.Wait(mutex_);
      if (ready_.empty()) return;
      group = std::move(ready_.front());
      ready_.pop_front();
      changed_.NotifyAll();
    }
    head_.index().AddAll(group);
  }
}

}  // namespace varve
