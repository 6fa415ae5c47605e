// SPDX-License-Identifier: Apache-2.0
//
// What memory the system has for this process, and what the process takes.
#pragma once

#include <cstdint>
#include <string>

namespace varve {

struct SystemMemory {
  uint64_t bytes = 0;  // 0 = unknown.
  std::string source;  // "cgroup v2", "cgroup v1", "machine".
};

// The least limit of the process' control group and those above it, or what the machine has if
// there is none below that. `root` is where /proc and /sys are found.
SystemMemory FindSystemMemory(const std::string& root = "/");

// From /proc/self/statm; 0 if it cannot be read.
uint64_t ResidentBytes();

// Has the allocator give freed pages back to the system.
void ReleaseFreedMemory();

}  // namespace varve
