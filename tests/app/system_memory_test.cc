// SPDX-License-Identifier: Apache-2.0
//
// Finding the memory limit in made-up /proc and /sys trees.
#include "app/system_memory.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <vector>

namespace varve {
namespace {

class FakeRoot {
 public:
  FakeRoot() {
    std::string pattern = (std::filesystem::temp_directory_path() / "varve-XXXXXX").native();
    REQUIRE(mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
    Write("proc/meminfo", "MemFree: 1 kB\nMemTotal:       1000000 kB\nBuffers: 5 kB\n");
  }
  ~FakeRoot() { std::filesystem::remove_all(path_); }
  FakeRoot(const FakeRoot&) = delete;
  FakeRoot& operator=(const FakeRoot&) = delete;

  void Write(const std::string& file, const std::string& text) const {
    const std::filesystem::path path = path_ / file;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  SystemMemory Find() const { return FindSystemMemory(path_.native()); }

 private:
  std::filesystem::path path_;
};

TEST_CASE("system memory: without a control group the machine's counts") {
  const FakeRoot root;
  CHECK(root.Find().bytes == 1'024'000'000);
  CHECK(root.Find().source == "machine");
}

TEST_CASE("system memory: the least limit of a version 2 group and those above") {
  const FakeRoot root;
  root.Write("proc/self/cgroup", "0::/pods/one/main\n");
  root.Write("sys/fs/cgroup/pods/one/main/memory.max", "max\n");
  CHECK(root.Find().source == "machine");
  root.Write("sys/fs/cgroup/pods/memory.max", "700000000\n");
  CHECK(root.Find().bytes == 700'000'000);
  CHECK(root.Find().source == "cgroup v2");
  root.Write("sys/fs/cgroup/pods/one/main/memory.max", "300000000\n");
  CHECK(root.Find().bytes == 300'000'000);
  root.Write("sys/fs/cgroup/pods/memory.max", "200000000\n");
  CHECK(root.Find().bytes == 200'000'000);
}

TEST_CASE("system memory: a container sees its version 2 group as the root") {
  const FakeRoot root;
  root.Write("proc/self/cgroup", "0::/\n");
  root.Write("sys/fs/cgroup/memory.max", "536870912\n");
  CHECK(root.Find().bytes == 536'870'912);
}

TEST_CASE("system memory: version 1, also where the group's path is the host's") {
  const FakeRoot root;
  root.Write("proc/self/cgroup", "5:cpu,cpuacct:/docker/abc\n3:memory:/docker/abc\n0::/x\n");
  root.Write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  CHECK(root.Find().source == "machine");
  root.Write("sys/fs/cgroup/memory/memory.limit_in_bytes", "268435456\n");
  CHECK(root.Find().bytes == 268'435'456);
  CHECK(root.Find().source == "cgroup v1");
}

TEST_CASE("system memory: a limit above what the machine has is none") {
  const FakeRoot root;
  root.Write("proc/self/cgroup", "0::/\n");
  root.Write("sys/fs/cgroup/memory.max", "1024000000\n");
  CHECK(root.Find().source == "machine");
  root.Write("sys/fs/cgroup/memory.max", "1023999999\n");
  CHECK(root.Find().source == "cgroup v2");
}

TEST_CASE("system memory: what this process takes grows when it takes more") {
  const uint64_t before = ResidentBytes();
  CHECK(before > 0);
  const std::vector<char> more(64 << 20, 'x');
  CHECK(ResidentBytes() >= before + (32 << 20));
  CHECK(more.back() == 'x');
  ReleaseFreedMemory();
}

}  // namespace
}  // namespace varve
