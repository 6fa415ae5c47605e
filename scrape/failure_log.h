// SPDX-License-Identifier: Apache-2.0
//
// The scrape failure log: every failed scrape as a line of JSON with Prometheus' keys, in the file
// that scrape_failure_log_file names.
#pragma once

#include <absl/status/statusor.h>

#include <memory>
#include <string>
#include <string_view>

#include "model/time.h"

namespace varve {

// Thread-safe; several may have the same file open.
class FailureLog {
 public:
  // Opens `path` for appending.
  static absl::StatusOr<std::shared_ptr<FailureLog>> Open(const std::string& path);
  ~FailureLog();
  FailureLog(const FailureLog&) = delete;
  FailureLog& operator=(const FailureLog&) = delete;

  // A line that cannot be written is lost.
  void Write(TimestampMs time, std::string_view job, std::string_view target,
             std::string_view error);

 private:
  explicit FailureLog(int fd) : fd_(fd) {}

  const int fd_;
};

}  // namespace varve
