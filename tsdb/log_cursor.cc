// SPDX-License-Identifier: Apache-2.0
//
// Holds on the log, and reading it while it is written.
#include "tsdb/log_cursor.h"

#include <algorithm>
#include <utility>

#include "model/status_macros.h"

namespace varve {

// ------------------------------------------------------------------------------------------- holds

bool WritePath::HoldsOldestEpoch() const {
  if (log_bytes_.load(std::memory_order_relaxed) > options_.held_log_bytes_max) return false;
  return std::any_of(holds_.begin(), holds_.end(),
                     [this](const auto& hold) ABSL_NO_THREAD_SAFETY_ANALYSIS {
                       return hold.second + 1 < log_[1].first_sequence;
                     });
}

uint64_t WritePath::HoldLog() {
  MutexLock lock(commit_mutex_);
  holds_.emplace(++last_hold_, last_sequence_);
  return last_hold_;
}

void WritePath::MoveHold(uint64_t hold, uint64_t sequence) {
  MutexLock lock(commit_mutex_);
  uint64_t& held = holds_.at(hold);
  held = std::max(held, std::min(sequence, last_sequence_));
}

void WritePath::EndHold(uint64_t hold) {
  MutexLock lock(commit_mutex_);
  holds_.erase(hold);
}

uint64_t WritePath::HeldAfter(uint64_t hold) const {
  MutexLock lock(commit_mutex_);
  return holds_.at(hold);
}

absl::StatusOr<std::vector<WritePath::StoredCommit>> WritePath::ReadLog(uint64_t& sequence,
                                                                        size_t bytes_max) const {
  // An epoch that is dropped meanwhile stays readable through its family.
  std::vector<FamilyPtr> families;
  uint64_t last = 0;
  {
    MutexLock lock(commit_mutex_);
    last = last_sequence_;
    if (log_.front().first_sequence > sequence + 1) {
      sequence = log_.front().first_sequence - 1;
      return absl::OutOfRangeError("commits were dropped from the log before they were read");
    }
    for (size_t i = 0; i < log_.size(); ++i) {
      if (i + 1 == log_.size() || log_[i + 1].first_sequence > sequence + 1) {
        families.push_back(log_[i].family);
      }
    }
  }
  std::vector<StoredCommit> commits;
  size_t bytes = 0;
  for (const FamilyPtr& family : families) {
    if (last <= sequence || bytes >= bytes_max) break;
    RETURN_IF_ERROR(
        store_.Scan(*family, EncodeIdKey(sequence + 1),
                    [&](std::string_view key, std::string_view value) -> absl::StatusOr<bool> {
                      ASSIGN_OR_RETURN(const uint64_t found, DecodeIdKey(key));
                      if (found > last) return false;
                      commits.push_back({found, std::string(value)});
                      bytes += value.size();
                      return bytes < bytes_max;
                    }));
  }
  return commits;
}

// ------------------------------------------------------------------------------------------ cursor

namespace {

LoggedCommit FromRecord(uint64_t sequence, LogRecord record) {
  LoggedCommit commit;
  commit.sequence = sequence;
  commit.floats.reserve(record.floats.size());
  for (const LogRecord::Float& sample : record.floats) {
    commit.floats.push_back({SeriesRef{sample.id}, sample.time, sample.value, sample.start_time});
  }
  for (LogRecord::HistogramEntry& sample : record.histograms) {
    commit.histograms.push_back(
        {SeriesRef{sample.id}, sample.time, sample.start_time, std::move(sample.histogram)});
  }
  for (LogRecord::ExemplarEntry& entry : record.exemplars) {
    commit.exemplars.push_back({SeriesRef{entry.id}, std::move(entry.exemplar)});
  }
  commit.metadata = std::move(record.metadata);
  return commit;
}

class HeldCursor : public LogCursor {
 public:
  HeldCursor(const Head& head, WritePath& write_path)
      : head_(head),
        write_path_(write_path),
        hold_(write_path.HoldLog()),
        read_(write_path.HeldAfter(hold_)) {}
  ~HeldCursor() override { write_path_.EndHold(hold_); }

  absl::StatusOr<std::vector<LoggedCommit>> Read(size_t bytes_max) override {
    ASSIGN_OR_RETURN(std::vector<WritePath::StoredCommit> stored,
                     write_path_.ReadLog(read_, bytes_max));
    std::vector<LoggedCommit> commits;
    for (const WritePath::StoredCommit& commit : stored) {
      absl::StatusOr<LogRecord> record = decoder_.Decode(commit.record);
      if (!record.ok()) {
        if (!commits.empty()) break;  // Those before it first; it is met again.
        read_ = commit.sequence;
        return std::move(record).status();
      }
      read_ = commit.sequence;
      commits.push_back(FromRecord(commit.sequence, *std::move(record)));
    }
    return commits;
  }

  void Release(uint64_t sequence) override { write_path_.MoveHold(hold_, sequence); }
  Labels LabelsOf(SeriesRef ref) const override {
    return head_.index().LabelsOf(static_cast<uint64_t>(ref));
  }

 private:
  const Head& head_;
  WritePath& write_path_;
  const uint64_t hold_;
  uint64_t read_;  // The last sequence that was read.
  LogRecordDecoder decoder_;
};

}  // namespace

std::unique_ptr<LogCursor> NewLogCursor(const Head& head, WritePath& write_path) {
  return std::make_unique<HeldCursor>(head, write_path);
}

}  // namespace varve
