// SPDX-License-Identifier: Apache-2.0
//
// Goal: a write that fails is an error to its caller and leaves nothing behind; reading goes on.
// After a full disk writing goes on by itself, after an I/O error when the storage is reopened.
// Method: a file system whose writes fail on demand, with "no space" or an I/O error.
#include <doctest/doctest.h>
#include <rocksdb/env.h>
#include <rocksdb/file_system.h>

#include <atomic>

#include "tests/tsdb/test_values.h"
#include "tsdb/db.h"

namespace varve {
namespace {

enum class Fault { kNone, kNoSpace, kIoError };

class FaultFile : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  FaultFile(std::unique_ptr<rocksdb::FSWritableFile> file, const std::atomic<Fault>& fault)
      : FSWritableFileOwnerWrapper(std::move(file)), fault_(fault) {}

  using FSWritableFileOwnerWrapper::Append;
  rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options,
                           rocksdb::IODebugContext* debug) override {
    switch (fault_.load()) {
      case Fault::kNoSpace:
        return rocksdb::IOStatus::NoSpace("no space left (injected)");
      case Fault::kIoError:
        return rocksdb::IOStatus::IOError("write failed (injected)");
      case Fault::kNone:
        break;
    }
    return FSWritableFileOwnerWrapper::Append(data, options, debug);
  }

 private:
  const std::atomic<Fault>& fault_;
};

class FaultFileSystem : public rocksdb::FileSystemWrapper {
 public:
  FaultFileSystem() : FileSystemWrapper(rocksdb::FileSystem::Default()) {}
  const char* Name() const override { return "FaultFileSystem"; }

  rocksdb::IOStatus NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* result,
                                    rocksdb::IODebugContext* debug) override {
    std::unique_ptr<rocksdb::FSWritableFile> file;
    rocksdb::IOStatus status = FileSystemWrapper::NewWritableFile(name, options, &file, debug);
    if (status.ok()) *result = std::make_unique<FaultFile>(std::move(file), fault);
    return status;
  }

  std::atomic<Fault> fault = Fault::kNone;
};

TEST_CASE("a failed write rolls back, and writing goes on later") {
  for (const Fault fault : {Fault::kNoSpace, Fault::kIoError}) {
    CAPTURE(static_cast<int>(fault));
    const TempDir dir;
    const auto file_system = std::make_shared<FaultFileSystem>();
    const std::unique_ptr<rocksdb::Env> env = rocksdb::NewCompositeEnv(file_system);
    ManualClock clock(kBegin);
    const DbOptions options{.path = dir.path(), .background = false, .env = env.get()};
    auto db = MustOpen(options, clock);
    const Labels known = Labels::Of({{"series", "known"}});
    const Labels created = Labels::Of({{"series", "new"}});
    MustAppend(*db, known, kBegin, 1);
    const Contents before = ReadAll(*db);

    file_system->fault = fault;
    for (int i = 0; i < 3; ++i) {
      const auto appender = db->NewAppender();
      REQUIRE(appender->Append(kNoSeries, known, kBegin + 1000, 2).ok());
      REQUIRE(appender->Append(kNoSeries, created, kBegin + 1000, 2).ok());
      const absl::Status status = appender->Commit();
      CHECK_FALSE(status.ok());
      CHECK(status.ToString().find("writing the log") != std::string::npos);
      CHECK(ReadAll(*db) == before);
      (void)db->Maintain();  // Resuming may work, with nothing to write; the next commit fails.
    }
    CHECK(db->Counters().float_samples_appended == 1);

    file_system->fault = Fault::kNone;
    const absl::Status resumed = db->Maintain();
    if (fault == Fault::kIoError) {
      // RocksDB does not trust the log file any more: writing stays refused until it is reopened.
      CHECK_FALSE(resumed.ok());
      CHECK(ReadAll(*db) == before);
      CHECK_FALSE(db->Close().ok());
      db.reset();
      db = MustOpen(options, clock);
      CHECK(ReadAll(*db) == before);
    } else {
      CHECK_MESSAGE(resumed.ok(), resumed.ToString());
    }
    MustAppend(*db, known, kBegin + 1000, 3);
    MustAppend(*db, created, kBegin + 1000, 3);
    const Contents after = ReadAll(*db);
    CHECK(after.at(known.ToString()) ==
          std::vector<std::string>{SampleText(kBegin, 1, 0), SampleText(kBegin + 1000, 3, 0)});
    db.reset();
    db = MustOpen(options, clock);
    CHECK(db->Counters().corruptions == 0);
    CHECK(ReadAll(*db) == after);
  }
}

}  // namespace
}  // namespace varve
