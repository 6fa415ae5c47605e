// SPDX-License-Identifier: Apache-2.0
//
// Goal: a power cut costs what was committed since the last sync, no more; what is left is what
// some first commits made, whatever checkpoints, folding and deletes were under way. Method: a file
// system that knows how much of each file was synced. The cut makes every write fail, then
// truncates each file to that; the rest of the world opens it again.
#include <doctest/doctest.h>
#include <rocksdb/env.h>
#include <rocksdb/file_system.h>

#include <filesystem>
#include <map>
#include <random>

#include "model/mutex.h"
#include "tests/tsdb/test_values.h"
#include "tsdb/db.h"

namespace varve {
namespace {

namespace fs = std::filesystem;

// What a power cut would leave of each file written since the start. Thread-safe.
class SyncedSizes {
 public:
  void Created(const std::string& name) {
    MutexLock lock(mutex_);
    sizes_[name] = 0;
  }
  void Synced(const std::string& name, uint64_t size) {
    MutexLock lock(mutex_);
    sizes_[name] = size;
  }
  void Renamed(const std::string& from, const std::string& to) {
    MutexLock lock(mutex_);
    const auto it = sizes_.find(from);
    if (it == sizes_.end()) return;
    sizes_[to] = it->second;
    sizes_.erase(it);
  }
  void Deleted(const std::string& name) {
    MutexLock lock(mutex_);
    sizes_.erase(name);
  }
  void Cut() {
    MutexLock lock(mutex_);
    cut_ = true;
  }
  bool cut() const {
    MutexLock lock(mutex_);
    return cut_;
  }
  // Makes the files what the cut left.
  void Truncate() const {
    MutexLock lock(mutex_);
    for (const auto& [name, size] : sizes_) {
      if (fs::exists(name) && fs::file_size(name) > size) fs::resize_file(name, size);
    }
  }

 private:
  mutable Mutex mutex_;
  std::map<std::string, uint64_t> sizes_ ABSL_GUARDED_BY(mutex_);
  bool cut_ ABSL_GUARDED_BY(mutex_) = false;
};

rocksdb::IOStatus NoPower() { return rocksdb::IOStatus::IOError("no power (injected)"); }

class PowerFile : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  PowerFile(std::unique_ptr<rocksdb::FSWritableFile> file, std::string name, SyncedSizes& sizes)
      : FSWritableFileOwnerWrapper(std::move(file)), name_(std::move(name)), sizes_(sizes) {}

  using FSWritableFileOwnerWrapper::Append;
  rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options,
                           rocksdb::IODebugContext* debug) override {
    if (sizes_.cut()) return NoPower();
    rocksdb::IOStatus status = FSWritableFileOwnerWrapper::Append(data, options, debug);
    if (status.ok()) written_ += data.size();
    return status;
  }
  rocksdb::IOStatus Sync(const rocksdb::IOOptions& options,
                         rocksdb::IODebugContext* debug) override {
    return Note(FSWritableFileOwnerWrapper::Sync(options, debug));
  }
  rocksdb::IOStatus Fsync(const rocksdb::IOOptions& options,
                          rocksdb::IODebugContext* debug) override {
    return Note(FSWritableFileOwnerWrapper::Fsync(options, debug));
  }

 private:
  rocksdb::IOStatus Note(rocksdb::IOStatus status) {
    if (sizes_.cut()) return NoPower();
    if (status.ok()) sizes_.Synced(name_, written_);
    return status;
  }

  const std::string name_;
  SyncedSizes& sizes_;
  uint64_t written_ = 0;
};

class PowerFileSystem : public rocksdb::FileSystemWrapper {
 public:
  PowerFileSystem() : FileSystemWrapper(rocksdb::FileSystem::Default()) {}
  const char* Name() const override { return "PowerFileSystem"; }

  rocksdb::IOStatus NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* result,
                                    rocksdb::IODebugContext* debug) override {
    if (sizes.cut()) return NoPower();
    std::unique_ptr<rocksdb::FSWritableFile> file;
    rocksdb::IOStatus status = FileSystemWrapper::NewWritableFile(name, options, &file, debug);
    if (!status.ok()) return status;
    sizes.Created(name);
    *result = std::make_unique<PowerFile>(std::move(file), name, sizes);
    return status;
  }
  rocksdb::IOStatus RenameFile(const std::string& from, const std::string& to,
                               const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* debug) override {
    if (sizes.cut()) return NoPower();
    rocksdb::IOStatus status = FileSystemWrapper::RenameFile(from, to, options, debug);
    if (status.ok()) sizes.Renamed(from, to);
    return status;
  }
  rocksdb::IOStatus DeleteFile(const std::string& name, const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* debug) override {
    if (sizes.cut()) return NoPower();
    sizes.Deleted(name);
    return FileSystemWrapper::DeleteFile(name, options, debug);
  }

  SyncedSizes sizes;
};

constexpr int kSeries = 5;

Labels SeriesLabels(int series) { return Labels::Of({{"s", std::to_string(series)}}); }
TimestampMs TimeOf(int commit) { return kBegin + commit * kMinute; }

// What the first `commits` commits made.
Contents Expected(int commits) {
  Contents expected;
  for (int commit = 0; commit < commits; ++commit) {
    for (int series = 0; series < kSeries; ++series) {
      expected[SeriesLabels(series).ToString()].push_back(
          SampleText(TimeOf(commit), series + commit * 0.5, 0));
    }
  }
  return expected;
}

TEST_CASE("a power cut costs what was not synced, and nothing else") {
  const uint64_t seed = TestSeed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  const TempDir dir;
  ManualClock clock(kBegin);
  int commits = 0;
  for (int round = 0; round < 6; ++round) {
    CAPTURE(round);
    const auto file_system = std::make_shared<PowerFileSystem>();
    const std::unique_ptr<rocksdb::Env> env = rocksdb::NewCompositeEnv(file_system);
    const DbOptions options{.path = dir.path(),
                            .retention = 0,
                            .lookahead_limit = 0,
                            .log_epoch_bytes = 4000,
                            .bucket_size = 6 * kHour,
                            .write_buffer_bytes = 64 << 10,
                            .background = false,
                            .env = env.get()};
    auto db = MustOpen(options, clock);
    int synced = commits;
    for (int step = static_cast<int>(100 + random() % 200); step > 0; --step) {
      const uint64_t what = random() % 100;
      if (what < 85) {
        const auto appender = db->NewAppender();
        for (int series = 0; series < kSeries; ++series) {
          REQUIRE(
              appender
                  ->Append(kNoSeries, SeriesLabels(series), TimeOf(commits), series + commits * 0.5)
                  .ok());
        }
        REQUIRE(appender->Commit().ok());
        ++commits;
      } else if (what < 90) {
        REQUIRE(db->Sync().ok());
        synced = commits;
      } else if (what < 94) {
        REQUIRE(db->Maintain().ok());
        synced = commits;
      } else if (what < 97) {
        REQUIRE(db->Checkpoint().ok());
      } else {
        REQUIRE(db->Seal().ok());
      }
    }
    file_system->sizes.Cut();
    CHECK_FALSE(db->Close().ok());
    db.reset();
    file_system->sizes.Truncate();

    DbOptions plain = options;
    plain.env = nullptr;
    db = MustOpen(plain, clock);
    CHECK(db->Counters().corruptions == 0);
    const Contents found = ReadAll(*db);
    const int kept =
        found.empty() ? 0 : static_cast<int>(found.at(SeriesLabels(0).ToString()).size());
    CHECK(kept >= synced);
    CHECK(kept <= commits);
    REQUIRE(found == Expected(kept));
    commits = kept;
    REQUIRE(db->Close().ok());
  }
}

}  // namespace
}  // namespace varve
