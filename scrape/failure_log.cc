// SPDX-License-Identifier: Apache-2.0
//
// A line is one write to a file opened for appending, so that lines of several writers do not mix.
#include "scrape/failure_log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>

namespace varve {
namespace {

std::string JsonText(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += {'\\', c};
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out += c;
    }
  }
  return out + '"';
}

}  // namespace

absl::StatusOr<std::shared_ptr<FailureLog>> FailureLog::Open(const std::string& path) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (fd < 0) return absl::ErrnoToStatus(errno, fmt::format("opening {}", path));
  return std::shared_ptr<FailureLog>(new FailureLog(fd));
}

FailureLog::~FailureLog() { close(fd_); }

void FailureLog::Write(TimestampMs time, std::string_view job, std::string_view target,
                       std::string_view error) {
  const std::string line =
      fmt::format(R"({{"time":"{}","level":"ERROR","msg":{},"job_name":{},"target":{}}})"
                  "\n",
                  FormatRfc3339(time), JsonText(error), JsonText(job), JsonText(target));
  [[maybe_unused]] const ssize_t written = write(fd_, line.data(), line.size());
}

}  // namespace varve
