// SPDX-License-Identifier: Apache-2.0
//
// Reading the log ahead.
#include "tsdb/log_reader.h"

#include <utility>

namespace varve {

namespace {

// Handing over costs a lock, so records go in groups of about this many stored bytes; decoded they
// take some six times as much.
constexpr size_t kGroupBytes = 256 << 10;
// Groups waiting to be applied.
constexpr size_t kGroupsMax = 4;

}  // namespace

LogReader::LogReader(const Store& store, const Family& family, uint64_t from)
    : thread_([this, &store, &family, from] { Run(store, family, from); }) {}

LogReader::~LogReader() {
  {
    MutexLock lock(mutex_);
    unwanted_ = true;
  }
  changed_.NotifyAll();
  thread_.join();
}

bool LogReader::Hand(std::vector<Entry> entries) {
  MutexLock lock(mutex_);
  while (ready_.size() >= kGroupsMax && !unwanted_) changed_.Wait(mutex_);
  if (unwanted_) return false;
  ready_.push_back(std::move(entries));
  changed_.NotifyAll();
  return true;
}

void LogReader::Run(const Store& store, const Family& family, uint64_t from) {
  LogRecordDecoder decoder;
  std::vector<Entry> group;
  size_t group_bytes = 0;
  std::vector<absl::Status> damage;
  absl::Status status = store.Scan(
      family, EncodeIdKey(from),
      [&](std::string_view key, std::string_view value) -> absl::StatusOr<bool> {
        group.push_back({DecodeIdKey(key), decoder.Decode(value), value.size()});
        group_bytes += value.size();
        if (group_bytes < kGroupBytes) return true;
        group_bytes = 0;
        return Hand(std::exchange(group, {}));
      },
      &damage);
  if (!group.empty()) Hand(std::move(group));
  MutexLock lock(mutex_);
  status_ = std::move(status);
  damage_ = std::move(damage);
  ended_ = true;
  changed_.NotifyAll();
}

std::vector<LogReader::Entry> LogReader::Next() {
  MutexLock lock(mutex_);
  while (ready_.empty() && !ended_) changed_.Wait(mutex_);
  if (ready_.empty()) return {};
  std::vector<Entry> entries = std::move(ready_.front());
  ready_.pop_front();
  changed_.NotifyAll();
  return entries;
}

std::vector<absl::Status> LogReader::TakeDamage() {
  MutexLock lock(mutex_);
  return std::exchange(damage_, {});
}

absl::Status LogReader::status() const {
  MutexLock lock(mutex_);
  return status_;
}

}  // namespace varve
