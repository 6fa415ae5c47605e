// SPDX-License-Identifier: Apache-2.0
//
// The reserve file.
#include "tsdb/reserve_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

namespace varve {

namespace {

namespace fs = std::filesystem;

// Of the disk, at most.
constexpr uint64_t kDiskShare = 10;

}  // namespace

ReserveFile::ReserveFile(std::string path, uint64_t bytes)
    : path_(std::move(path)), wanted_(bytes) {
  std::error_code error;
  const uint64_t size = fs::file_size(path_, error);
  if (!error) held_ = size;
}

bool ReserveFile::Make(uint64_t free_bytes) {
  if (held_ > 0) return true;
  std::error_code error;
  const fs::space_info space = fs::space(fs::path(path_).parent_path(), error);
  if (error) return false;
  const uint64_t bytes = std::min<uint64_t>(wanted_, space.capacity / kDiskShare);
  if (bytes == 0 || free_bytes < 2 * bytes) return false;
  const int file = open(path_.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  if (file < 0) return false;
  // Not posix_fallocate: where this does not work it would write all those bytes instead.
  const bool made = fallocate(file, 0, 0, static_cast<off_t>(bytes)) == 0;
  close(file);
  if (made) {
    held_ = bytes;
  } else {
    fs::remove(path_, error);
  }
  return made;
}

bool ReserveFile::Release() {
  std::error_code error;
  held_ = 0;
  return fs::remove(path_, error);
}

}  // namespace varve
