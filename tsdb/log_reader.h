// SPDX-License-Identifier: Apache-2.0
//
// Reads the records of a log family for replay. A thread of its own reads and decodes ahead of the
// caller, who applies what it gets meanwhile: on two cores a restart takes little more than the
// slower of the two.
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <cstdint>
#include <deque>
#include <string_view>
#include <thread>
#include <vector>

#include "model/mutex.h"
#include "tsdb/log_record.h"
#include "tsdb/store.h"

namespace varve {

// Not thread-safe.
class LogReader {
 public:
  struct Entry {
    absl::StatusOr<uint64_t> sequence;
    absl::StatusOr<LogRecord> record;  // DataLoss: the others are good all the same.
    size_t bytes = 0;                  // Of the record as stored.
  };

  // Reads from log sequence `from` on. Store and family outlive the reader.
  LogReader(const Store& store, const Family& family, uint64_t from);
  ~LogReader();
  LogReader(const LogReader&) = delete;
  LogReader& operator=(const LogReader&) = delete;

  // The next entries in order; none at the end.
  std::vector<Entry> Next() ABSL_LOCKS_EXCLUDED(mutex_);
  // After the end: why it was reached, OK if because there is no more.
  absl::Status status() const ABSL_LOCKS_EXCLUDED(mutex_);
  // After the end: damaged blocks that were passed over.
  std::vector<absl::Status> TakeDamage() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void Run(const Store& store, const Family& family, uint64_t from) ABSL_LOCKS_EXCLUDED(mutex_);
  // Waits for room and hands over; false if nobody wants it any more.
  bool Hand(std::vector<Entry> entries) ABSL_LOCKS_EXCLUDED(mutex_);

  mutable Mutex mutex_;
  CondVar changed_;
  std::deque<std::vector<Entry>> ready_ ABSL_GUARDED_BY(mutex_);
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  bool unwanted_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  std::vector<absl::Status> damage_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace varve
