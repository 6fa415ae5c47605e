// SPDX-License-Identifier: Apache-2.0
//
// Room on the disk kept for bad times: a file that is deleted when the disk is full, so that what
// is in memory can still be written and the oldest data be given up.
#pragma once

#include <cstdint>
#include <string>

namespace varve {

// Not thread-safe.
class ReserveFile {
 public:
  // Nothing happens yet; a file left at `path` is taken over. 0 bytes: none is ever made.
  ReserveFile(std::string path, uint64_t bytes);

  // Makes the file, unless it is there, if that leaves as much again free. `free_bytes` is what the
  // disk has. Small disks (less than ten times its size) get a smaller one. Returns whether it is
  // there.
  bool Make(uint64_t free_bytes);
  // Deletes the file. Returns whether there was one.
  bool Release();

  uint64_t bytes() const { return held_; }  // 0 if it is not there.

 private:
  const std::string path_;
  const uint64_t wanted_;
  uint64_t held_ = 0;
};

}  // namespace varve
