// SPDX-License-Identifier: Apache-2.0
//
// Control groups, /proc, and jemalloc's control interface.
#include "app/system_memory.h"

#include <fcntl.h>
#include <jemalloc/jemalloc.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string_view>

// What jemalloc is told when the process starts; the variable MALLOC_CONF may say otherwise. Any
// thread appends to any series: with an arena for each of them, what one frees is not there for the
// others. Freed pages stay for the next scrapes and for the queries of a dashboard instead of being
// given back and faulted in anew; where memory is short they go at once (ReleaseFreedMemory()).
extern "C" const char* malloc_conf;
const char* malloc_conf = "narenas:2,dirty_decay_ms:300000";

namespace varve {
namespace {

namespace fs = std::filesystem;

std::optional<uint64_t> ReadNumber(const fs::path& path) {
  std::ifstream in(path);
  std::string text;
  if (!(in >> text)) return std::nullopt;
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;  // "max"
  return number;
}

uint64_t MachineBytes(const fs::path& root) {
  std::ifstream in(root / "proc/meminfo");
  std::string key;
  uint64_t kib = 0;
  while (in >> key) {
    if (key == "MemTotal:" && in >> kib) return kib * 1024;
    std::getline(in, key);
  }
  return 0;
}

// The least `file` of `group` and the groups above it, below `mount`. In a container the group's
// path may be that of the host, of which only the mount itself is there.
std::optional<uint64_t> LeastLimit(const fs::path& mount, std::string_view group,
                                   const char* file) {
  std::optional<uint64_t> least;
  fs::path path = fs::path(group).relative_path();
  for (;;) {
    const std::optional<uint64_t> limit = ReadNumber(mount / path / file);
    if (limit.has_value()) least = std::min(*limit, least.value_or(*limit));
    if (path.empty()) return least;
    path = path.parent_path();
  }
}

}  // namespace

SystemMemory FindSystemMemory(const std::string& root_path) {
  const fs::path root(root_path);
  SystemMemory memory{.bytes = MachineBytes(root), .source = "machine"};
  const auto lower = [&memory](std::optional<uint64_t> limit, const char* source) {
    if (!limit.has_value() || (memory.bytes > 0 && *limit >= memory.bytes)) return;
    memory = {.bytes = *limit, .source = source};
  };
  // Lines `NUMBER:CONTROLLERS:PATH`; version 2 has number 0 and no controllers.
  std::ifstream groups(root / "proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const std::string path = line.substr(second + 1);
    if (controllers == ",,") {
      lower(LeastLimit(root / "sys/fs/cgroup", path, "memory.max"), "cgroup v2");
    } else if (controllers.find(",memory,") != std::string::npos) {
      lower(LeastLimit(root / "sys/fs/cgroup/memory", path, "memory.limit_in_bytes"), "cgroup v1");
    }
  }
  return memory;
}

uint64_t ResidentBytes() {
  // Every query asks: opening it takes longer than reading it. Of this process as long as it lives.
  static const int kFile = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  if (kFile < 0) return 0;
  std::array<char, 128> text{};
  const ssize_t size = pread(kFile, text.data(), text.size() - 1, 0);
  if (size <= 0) return 0;
  // `SIZE RESIDENT ...`, in pages.
  const char* const end = text.data() + size;
  const char* const space = std::find<const char*>(text.data(), end, ' ');
  uint64_t pages = 0;
  if (space == end) return 0;
  std::from_chars(space + 1, end, pages);
  return pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

void ReleaseFreedMemory() {
  // 4096 stands for all arenas (MALLCTL_ARENAS_ALL).
  static_assert(MALLCTL_ARENAS_ALL == 4096);
  mallctl("arena.4096.purge", nullptr, nullptr, nullptr, 0);
}

}  // namespace varve
