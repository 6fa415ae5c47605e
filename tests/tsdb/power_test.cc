// SPDX-License-Identifier: Apache-2.0
//
// Goal: a power cut costs what was committed since the last sync, no more; what is left is what
// some first commits made, whatever checkpoints, folding and deletes were under way. Method: a file
// system that knows how much of each file was synced. The cut comes at some write or sync, whoever
// makes it, and makes all later ones fail; then each file is truncated to what was synced, and the
// rest of the world opens it again.
#include <doctest/doctest.h>
#include <rocksdb/env.h>
#include <rocksdb/file_system.h>

#include <filesystem>
#include <map>
#include <random>

#include "model/mutex.h"
#include "model/status_macros.h"
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
  // The cut comes after so many operations.
  void CutAfter(uint64_t operations) {
    MutexLock lock(mutex_);
    operations_left_ = operations;
  }
  // Counts an operation; false if the cut came before it.
  bool Works() {
    MutexLock lock(mutex_);
    if (operations_left_ > 0) --operations_left_;
    return operations_left_ > 0;
  }
  bool cut() const {
    MutexLock lock(mutex_);
    return operations_left_ == 0;
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
  uint64_t operations_left_ ABSL_GUARDED_BY(mutex_) = ~uint64_t{0};
};

rocksdb::IOStatus NoPower() { return rocksdb::IOStatus::IOError("no power (injected)"); }

class PowerFile : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  PowerFile(std::unique_ptr<rocksdb::FSWritableFile> file, std::string name, SyncedSizes& sizes)
      : FSWritableFileOwnerWrapper(std::move(file)), name_(std::move(name)), sizes_(sizes) {}

  using FSWritableFileOwnerWrapper::Append;
  rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options,
                           rocksdb::IODebugContext* debug) override {
    if (!sizes_.Works()) return NoPower();
    rocksdb::IOStatus status = FSWritableFileOwnerWrapper::Append(data, options, debug);
    if (status.ok()) written_ += data.size();
    return status;
  }
  rocksdb::IOStatus Sync(const rocksdb::IOOptions& options,
                         rocksdb::IODebugContext* debug) override {
    if (!sizes_.Works()) return NoPower();
    return Note(FSWritableFileOwnerWrapper::Sync(options, debug));
  }
  rocksdb::IOStatus Fsync(const rocksdb::IOOptions& options,
                          rocksdb::IODebugContext* debug) override {
    if (!sizes_.Works()) return NoPower();
    return Note(FSWritableFileOwnerWrapper::Fsync(options, debug));
  }

 private:
  rocksdb::IOStatus Note(rocksdb::IOStatus status) {
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
    if (!sizes.Works()) return NoPower();
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
    if (!sizes.Works()) return NoPower();
    rocksdb::IOStatus status = FileSystemWrapper::RenameFile(from, to, options, debug);
    if (status.ok()) sizes.Renamed(from, to);
    return status;
  }
  rocksdb::IOStatus DeleteFile(const std::string& name, const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* debug) override {
    if (!sizes.Works()) return NoPower();
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

// One of the things that go on; what was committed, and of it synced for sure, is counted.
absl::Status TakeStep(Db& db, uint64_t what, int& commits, int& synced) {
  if (what < 82) {
    const auto appender = db.NewAppender();
    for (int series = 0; series < kSeries; ++series) {
      const auto ref = appender->Append(kNoSeries, SeriesLabels(series), TimeOf(commits),
                                        series + commits * 0.5);
      RETURN_IF_ERROR(ref.status());
    }
    RETURN_IF_ERROR(appender->Commit());
    ++commits;
    return absl::OkStatus();
  }
  if (what < 94) {
    RETURN_IF_ERROR(what < 88 ? db.Sync() : db.Maintain());
    synced = commits;
    return absl::OkStatus();
  }
  if (what < 96) return db.Checkpoint();
  if (what < 98) return db.Seal();
  // Deletes what no commit wrote, so that it changes nothing but takes its steps.
  RETURN_IF_ERROR(db.DeleteSeries({{Matcher::Equal("s", "0")}}, 0, 1));
  return db.CleanTombstones();
}

TEST_CASE("a power cut costs what was not synced, and nothing else") {
  const uint64_t seed = TestSeed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  const TempDir dir;
  ManualClock clock(kBegin);
  int commits = 0;
  for (int round = 0; round < TestRounds(16); ++round) {
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
    file_system->sizes.CutAfter(100 + random() % 500);
    absl::Status status;
    while (!file_system->sizes.cut()) {
      status = TakeStep(*db, random() % 100, commits, synced);
      if (!status.ok()) break;
    }
    CHECK_MESSAGE(file_system->sizes.cut(), status.ToString());
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
  CHECK(commits > 0);
}

}  // namespace
}  // namespace varve
