// SPDX-License-Identifier: Apache-2.0
//
// Goal: a write that fails is an error to its caller and leaves nothing behind; reading goes on,
// and so does writing once the disk allows it, without a restart. Method: a file system whose
// writes (or syncs) fail on demand, with "no space" or an I/O error, or that has so many bytes.
#include <doctest/doctest.h>
#include <rocksdb/env.h>
#include <rocksdb/file_system.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/tsdb/test_values.h"
#include "tsdb/db.h"

namespace varve {
namespace {

enum class Fault {
  kNone,
  kNoSpace,
  kNoSpaceForLog,
  kNoSpaceForNewLog,
  kNoNewLog,
  kNoManifest,
  kIoError,
  kSyncError
};

class FaultFile : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  FaultFile(std::unique_ptr<rocksdb::FSWritableFile> file, std::string name,
            const std::atomic<Fault>& fault)
      : FSWritableFileOwnerWrapper(std::move(file)),
        fails_(fault == Fault::kNoSpaceForNewLog && name.ends_with(".log")),
        name_(std::move(name)),
        fault_(fault) {}

  using FSWritableFileOwnerWrapper::Append;
  rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options,
                           rocksdb::IODebugContext* debug) override {
    if (fails_) return rocksdb::IOStatus::NoSpace("no space left (injected)");
    switch (fault_.load()) {
      case Fault::kNoSpace:
        return rocksdb::IOStatus::NoSpace("no space left (injected)");
      case Fault::kNoSpaceForLog:
        if (!name_.ends_with(".log")) break;
        return rocksdb::IOStatus::NoSpace("no space left (injected)");
      case Fault::kNoManifest:
        if (name_.find("MANIFEST-") == std::string::npos) break;
        return rocksdb::IOStatus::NoSpace("no space left (injected)");
      case Fault::kIoError:
        return rocksdb::IOStatus::IOError("write failed (injected)");
      case Fault::kNone:
      case Fault::kNoSpaceForNewLog:
      case Fault::kNoNewLog:
      case Fault::kSyncError:
        break;
    }
    return FSWritableFileOwnerWrapper::Append(data, options, debug);
  }
  rocksdb::IOStatus Sync(const rocksdb::IOOptions& options,
                         rocksdb::IODebugContext* debug) override {
    if (fault_ == Fault::kSyncError) return rocksdb::IOStatus::IOError("sync failed (injected)");
    return FSWritableFileOwnerWrapper::Sync(options, debug);
  }

 private:
  const bool fails_;
  const std::string name_;
  const std::atomic<Fault>& fault_;
};

class FaultFileSystem : public rocksdb::FileSystemWrapper {
 public:
  FaultFileSystem() : FileSystemWrapper(rocksdb::FileSystem::Default()) {}
  const char* Name() const override { return "FaultFileSystem"; }

  rocksdb::IOStatus NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* result,
                                    rocksdb::IODebugContext* debug) override {
    if (fault == Fault::kNoNewLog && name.ends_with(".log")) {
      return rocksdb::IOStatus::NoSpace("no space left for a file (injected)");
    }
    std::unique_ptr<rocksdb::FSWritableFile> file;
    rocksdb::IOStatus status = FileSystemWrapper::NewWritableFile(name, options, &file, debug);
    if (status.ok()) *result = std::make_unique<FaultFile>(std::move(file), name, fault);
    return status;
  }

  rocksdb::IOStatus GetFreeSpace(const std::string& /*path*/, const rocksdb::IOOptions& /*options*/,
                                 uint64_t* free, rocksdb::IODebugContext* /*debug*/) override {
    *free = free_bytes;
    return rocksdb::IOStatus::OK();
  }

  std::atomic<Fault> fault = Fault::kNone;
  std::atomic<uint64_t> free_bytes = uint64_t{1} << 30;
};

struct FaultFixture {
  const TempDir dir;
  const std::shared_ptr<FaultFileSystem> file_system = std::make_shared<FaultFileSystem>();
  const std::unique_ptr<rocksdb::Env> env = rocksdb::NewCompositeEnv(file_system);
  ManualClock clock{kBegin};
  DbOptions options{.path = dir.path(), .background = false, .env = env.get()};
  const Labels known = Labels::Of({{"series", "known"}});

  // As the server does every second: an attempt may still be told of a failure before it.
  static absl::Status MaintainUntilWritable(Db& db) {
    absl::Status status;
    for (int i = 0; i < 5; ++i) {
      status = db.Maintain();
      if (status.ok()) break;
    }
    return status;
  }

  static absl::Status Append(Db& db, const Labels& labels, TimestampMs time, double value) {
    const auto appender = db.NewAppender();
    const auto ref = appender->Append(kNoSeries, labels, time, value);
    return ref.ok() ? appender->Commit() : ref.status();
  }
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
      REQUIRE(appender->AppendMetadata("m", {MetricType::kGauge, "", ""}).ok());
      const absl::Status status = appender->Commit();
      CHECK_FALSE(status.ok());
      CHECK(status.ToString().find("writing the log") != std::string::npos);
      CHECK(ReadAll(*db) == before);
      CHECK(db->Metadata("").empty());
      (void)db->Maintain();  // Resuming may work, with nothing to write; the next commit fails.
    }
    {
      // Of batches that share a write, each fails.
      const auto first = db->NewAppender();
      const auto second = db->NewAppender();
      REQUIRE(first->Append(kNoSeries, known, kBegin + 1000, 2).ok());
      REQUIRE(second->Append(kNoSeries, created, kBegin + 1000, 2).ok());
      Appender* const both[] = {first.get(), second.get()};
      for (const absl::Status& status : db->CommitAll(both)) {
        CHECK(status.ToString().find("writing the log") != std::string::npos);
      }
      CHECK(ReadAll(*db) == before);
    }
    CHECK(db->Counters().float_samples_appended == 1);
    CHECK(db->Counters().failed_commits == 5);
    CHECK_FALSE(db->Counters().writable);

    file_system->fault = Fault::kNone;
    const absl::Status resumed = db->Maintain();
    CHECK_MESSAGE(resumed.ok(), resumed.ToString());
    CHECK(db->Counters().writable);
    CHECK(ReadAll(*db) == before);
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

TEST_CASE_FIXTURE(FaultFixture, "after a failed sync nothing is written until tables hold it all") {
  auto db = MustOpen(options, clock);
  MustAppend(*db, known, kBegin, 1);
  file_system->fault = Fault::kSyncError;
  CHECK_FALSE(db->Sync().ok());
  CHECK_FALSE(db->Maintain().ok());
  CHECK_FALSE(db->Counters().writable);
  file_system->fault = Fault::kNone;
  // The sync itself would succeed now, having lost what it was for.
  CHECK_FALSE(Append(*db, known, kBegin + 1000, 2).ok());
  CHECK(ReadAll(*db).at(known.ToString()).size() == 1);
  const auto has_tables = [&] {
    const std::filesystem::directory_iterator files(dir.path() + "/varve");
    return std::any_of(begin(files), end(files),
                       [](const auto& file) { return file.path().extension() == ".sst"; });
  };
  CHECK_FALSE(has_tables());
  REQUIRE(db->Maintain().ok());
  CHECK(has_tables());
  CHECK(db->Counters().writable);
  MustAppend(*db, known, kBegin + 1000, 3);
  const std::vector<std::string> expected = {SampleText(kBegin, 1, 0),
                                             SampleText(kBegin + 1000, 3, 0)};
  CHECK(ReadAll(*db).at(known.ToString()) == expected);
  db.reset();
  db = MustOpen(options, clock);
  CHECK(db->Counters().corruptions == 0);
  CHECK(ReadAll(*db).at(known.ToString()) == expected);
}

TEST_CASE_FIXTURE(FaultFixture,
                  "writing goes on after any number of failures, with nothing between") {
  auto db = MustOpen(options, clock);
  std::vector<std::string> expected;
  for (const Fault fault : {Fault::kNoSpace, Fault::kIoError, Fault::kSyncError}) {
    for (int i = 0; i < 5; ++i) {
      CAPTURE(static_cast<int>(fault));
      CAPTURE(i);
      const TimestampMs time = kBegin + static_cast<TimestampMs>(expected.size()) * 1000;
      // With fault i even, nothing is in RocksDB's memory when it strikes.
      if (i % 2 == 0) REQUIRE(db->Checkpoint().ok());
      file_system->fault = fault;
      (void)Append(*db, Labels::Of({{"series", "other"}}), time, 1);
      CHECK_FALSE(db->Sync().ok());
      CHECK_FALSE(Append(*db, known, time, 1).ok());
      file_system->fault = Fault::kNone;
      const absl::Status resumed = MaintainUntilWritable(*db);
      REQUIRE_MESSAGE(resumed.ok(), resumed.ToString());
      // At once again.
      file_system->fault = fault;
      (void)Append(*db, Labels::Of({{"series", "other"}}), time + 1, 1);
      (void)db->Sync();
      file_system->fault = Fault::kNone;
      const absl::Status again = MaintainUntilWritable(*db);
      REQUIRE_MESSAGE(again.ok(), again.ToString());
      MustAppend(*db, known, time, i);
      expected.push_back(SampleText(time, i, 0));
      CHECK(ReadAll(*db).at(known.ToString()) == expected);
    }
  }
  db.reset();
  db = MustOpen(options, clock);
  CHECK(db->Counters().corruptions == 0);
  CHECK(ReadAll(*db).at(known.ToString()) == expected);
}

TEST_CASE_FIXTURE(FaultFixture, "a write that fails while tables are folded costs the fold only") {
  for (const Fault fault : {Fault::kNoSpaceForLog, Fault::kIoError}) {
    CAPTURE(static_cast<int>(fault));
    const TempDir directory;
    options.path = directory.path();
    std::unique_ptr<Db> db;
    bool failed = false;
    options.at_step = [&](std::string_view step) {
      if (step == "series" && !failed) {
        failed = true;
        file_system->fault = fault;
        CHECK_FALSE(Append(*db, known, kBegin + 1000, 2).ok());
      }
      return absl::OkStatus();
    };
    db = MustOpen(options, clock);
    MustAppend(*db, known, kBegin, 1);
    const absl::Status refused = db->Seal();
    CHECK(failed);
    CHECK_FALSE(refused.ok());
    CHECK(db->Stored().generations == 0);
    file_system->fault = Fault::kNone;
    const absl::Status resumed = MaintainUntilWritable(*db);
    REQUIRE_MESSAGE(resumed.ok(), resumed.ToString());
    const absl::Status sealed = db->Seal();
    CHECK_MESSAGE(sealed.ok(), sealed.ToString());
    CHECK(db->Stored().generations == 1);
    CHECK(ReadAll(*db).at(known.ToString()) == std::vector<std::string>{SampleText(kBegin, 1, 0)});
  }
}

TEST_CASE_FIXTURE(FaultFixture, "tables are folded after writing has gone on") {
  auto db = MustOpen(options, clock);
  std::vector<std::string> expected;
  uint64_t generations = 0;
  for (const Fault fault : {Fault::kNoSpace, Fault::kNoSpaceForLog, Fault::kIoError,
                            Fault::kSyncError, Fault::kNoNewLog, Fault::kNoSpaceForNewLog}) {
    CAPTURE(static_cast<int>(fault));
    const TimestampMs time = kBegin + static_cast<TimestampMs>(expected.size()) * 1000;
    MustAppend(*db, known, time, 1);
    expected.push_back(SampleText(time, 1, 0));
    file_system->fault = fault;
    (void)Append(*db, Labels::Of({{"series", "other"}}), time, 1);
    (void)db->Sync();
    (void)db->Checkpoint();
    file_system->fault = Fault::kNone;
    const absl::Status resumed = MaintainUntilWritable(*db);
    REQUIRE_MESSAGE(resumed.ok(), resumed.ToString());
    const absl::Status sealed = db->Seal();
    REQUIRE_MESSAGE(sealed.ok(), sealed.ToString());
    CHECK(db->Stored().generation_samples >= expected.size());
    generations = db->Stored().generations;
    CHECK(generations > 0);
    CHECK(ReadAll(*db).at(known.ToString()) == expected);
  }
  db.reset();
  db = MustOpen(options, clock);
  CHECK(db->Counters().corruptions == 0);
  CHECK(db->Stored().generations == generations);
  CHECK(ReadAll(*db).at(known.ToString()) == expected);
}

// Each step of a fold meets a manifest that cannot be written to; then the log fails too.
TEST_CASE_FIXTURE(FaultFixture, "a manifest that cannot be written to costs the fold only") {
  int step_number = 0;
  for (int failing = 0;; ++failing) {
    CAPTURE(failing);
    const TempDir directory;
    options.path = directory.path();
    step_number = 0;
    bool armed = true;
    options.at_step = [&](std::string_view /*step*/) {
      if (armed && step_number++ == failing) file_system->fault = Fault::kNoManifest;
      return absl::OkStatus();
    };
    auto db = MustOpen(options, clock);
    MustAppend(*db, known, kBegin, 1);
    (void)db->Seal();
    armed = false;
    const bool all_steps_passed = step_number <= failing;
    const bool log_too = failing % 2 == 1;
    if (log_too) {
      file_system->fault = Fault::kNoSpace;
      CHECK_FALSE(Append(*db, known, kBegin + 500, 1).ok());
    }
    (void)db->Maintain();
    file_system->fault = Fault::kNone;
    const absl::Status resumed = MaintainUntilWritable(*db);
    REQUIRE_MESSAGE(resumed.ok(), resumed.ToString());
    MustAppend(*db, known, kBegin + 1000, 2);
    const absl::Status sealed = db->Seal();
    CHECK_MESSAGE(sealed.ok(), sealed.ToString());
    const std::vector<std::string> expected = {SampleText(kBegin, 1, 0),
                                               SampleText(kBegin + 1000, 2, 0)};
    CHECK(ReadAll(*db).at(known.ToString()) == expected);
    options.at_step = nullptr;
    db.reset();
    db = MustOpen(options, clock);
    CHECK(db->Counters().corruptions == 0);
    CHECK(ReadAll(*db).at(known.ToString()) == expected);
    if (all_steps_passed) break;
  }
  CHECK(step_number > 3);
}

// A commit fails in a log that a sync is about to reach.
TEST_CASE_FIXTURE(FaultFixture, "syncs go on while commits fail") {
  auto db = MustOpen(options, clock);
  std::atomic<bool> stop = false;
  std::vector<std::thread> threads;
  threads.emplace_back([&] {
    while (!stop) (void)db->Sync();
  });
  threads.emplace_back([&] {
    const Labels labels = Labels::Of({{"series", "failing"}});
    for (TimestampMs time = kBegin; !stop; ++time) {
      file_system->fault = Fault::kNoSpaceForLog;
      (void)Append(*db, labels, time, 1);
      file_system->fault = Fault::kNone;
    }
  });
  for (int i = 0; i < 100; ++i) (void)db->Maintain();
  stop = true;
  for (std::thread& thread : threads) thread.join();
  const absl::Status resumed = MaintainUntilWritable(*db);
  REQUIRE_MESSAGE(resumed.ok(), resumed.ToString());
  MustAppend(*db, known, kBegin, 1);
}

// Going on leaves nothing in memory for a moment: a commit that fails just then must not be what
// the next attempt finds.
TEST_CASE_FIXTURE(FaultFixture, "writing goes on although commits failed while it was tried") {
  auto db = MustOpen(options, clock);
  MustAppend(*db, known, kBegin, 1);
  file_system->fault = Fault::kNoSpaceForLog;
  std::atomic<bool> stop = false;
  std::atomic<int> accepted = 0;
  std::vector<std::thread> committers;
  for (int i = 0; i < 2; ++i) {
    committers.emplace_back([&, i] {
      const Labels labels = Labels::Of({{"series", std::to_string(i)}});
      while (!stop) accepted += Append(*db, labels, kBegin, 1).ok();
    });
  }
  for (int i = 0; i < 100; ++i) (void)db->Maintain();  // Works, but for the next commit.
  stop = true;
  for (std::thread& committer : committers) committer.join();
  CHECK(accepted == 0);
  file_system->fault = Fault::kNone;
  const absl::Status resumed = MaintainUntilWritable(*db);
  REQUIRE_MESSAGE(resumed.ok(), resumed.ToString());
  MustAppend(*db, known, kBegin + 1000, 2);
  const Contents after = ReadAll(*db);
  CHECK(after.at(known.ToString()).size() == 2);
  db.reset();
  db = MustOpen(options, clock);
  CHECK(db->Counters().corruptions == 0);
  CHECK(ReadAll(*db) == after);
}

// The write that fails has just had its family's memory written out, so that the two go together.
TEST_CASE_FIXTURE(FaultFixture, "writing goes on after a log could not be begun or written to") {
  options.write_buffer_bytes = 64 << 10;
  auto db = MustOpen(options, clock);
  TimestampMs time = kBegin;
  int accepted = 0;
  for (int round = 0; round < 20; ++round) {
    CAPTURE(round);
    file_system->fault = round % 2 == 0 ? Fault::kNoSpaceForNewLog : Fault::kNoNewLog;
    const std::string text(2000, static_cast<char>('a' + round));
    for (int i = 0;; ++i) {
      REQUIRE(i < 10'000);
      const Labels labels = Labels::Of({{"series", text + std::to_string(i)}});
      if (!Append(*db, labels, ++time, 1).ok()) break;
      ++accepted;
    }
    file_system->fault = Fault::kNone;
    const absl::Status resumed = MaintainUntilWritable(*db);
    REQUIRE_MESSAGE(resumed.ok(), resumed.ToString());
  }
  CHECK(ReadAll(*db).size() == static_cast<size_t>(accepted));
  db.reset();
  db = MustOpen(options, clock);
  CHECK(db->Counters().corruptions == 0);
  CHECK(ReadAll(*db).size() == static_cast<size_t>(accepted));
}

TEST_CASE_FIXTURE(FaultFixture, "a reserve is given up when the disk is full, and made again") {
  options.reserve_bytes = 1 << 20;
  const std::filesystem::path reserve = std::filesystem::path(dir.path()) / "varve.reserve";
  auto db = MustOpen(options, clock);
  file_system->free_bytes = (2 << 20) - 1;
  REQUIRE(db->Maintain().ok());
  CHECK_FALSE(std::filesystem::exists(reserve));
  file_system->free_bytes = 2 << 20;
  REQUIRE(db->Maintain().ok());
  REQUIRE(std::filesystem::exists(reserve));
  CHECK(std::filesystem::file_size(reserve) == options.reserve_bytes);
  CHECK(db->Counters().reserve_bytes == options.reserve_bytes);

  file_system->fault = Fault::kNoSpace;
  const absl::Status full = Append(*db, known, kBegin, 1);
  CHECK(absl::IsResourceExhausted(full));
  CHECK(full.ToString().find("No space left on device") != std::string::npos);
  CHECK_FALSE(db->Maintain().ok());
  CHECK_FALSE(std::filesystem::exists(reserve));
  file_system->free_bytes = 0;
  file_system->fault = Fault::kNone;  // The room that the reserve took.
  REQUIRE(db->Maintain().ok());
  MustAppend(*db, known, kBegin, 1);
  CHECK_FALSE(std::filesystem::exists(reserve));
  file_system->free_bytes = 8 << 20;
  REQUIRE(db->Maintain().ok());
  CHECK(std::filesystem::exists(reserve));
  REQUIRE(db->Close().ok());
  CHECK_FALSE(std::filesystem::exists(reserve));
}

TEST_CASE_FIXTURE(FaultFixture, "the oldest data goes before a full disk fails anything") {
  options.reserve_bytes = 1 << 20;
  options.retention = 0;
  options.hot_epoch = kHour;
  options.bucket_size = kHour;
  auto db = MustOpen(options, clock);
  for (int minute = 0; minute < 6 * 60; ++minute) {
    clock.Set(kBegin + minute * kMinute);
    MustAppend(*db, known, clock.Now(), minute * 0.37);
  }
  REQUIRE(db->Seal().ok());
  const uint64_t before = db->Stored().generation_samples;
  db->SetSizeRetention({.bytes = 1});
  file_system->free_bytes = options.reserve_bytes - 1;
  REQUIRE(db->Maintain().ok());
  CHECK(db->Stored().generation_samples < before);
  CHECK(db->Counters().generations_dropped_by_size > 0);
  CHECK(db->Counters().failed_commits == 0);
}

// ------------------------------------------------------------------------------------------ clock

TEST_CASE_FIXTURE(FaultFixture, "a clock that jumps does not keep samples out") {
  auto db = MustOpen(options, clock);
  MustAppend(*db, known, kBegin, 0);
  for (const DurationMs jump : {12 * kHour, -12 * kHour}) {
    CAPTURE(jump);
    // Scrapes go on by the clock while it is wrong, and after it has been put right.
    const TimestampMs wrong = kBegin + jump;
    clock.Set(wrong);
    const Labels during = Labels::Of({{"series", "during"}, {"jump", std::to_string(jump)}});
    // Which of the times is the wrong one nobody knows: they are accepted either way.
    CHECK(TryAppend(*db, during, wrong, 1) == AppendError::kNone);
    db.reset();
    clock.Set(kBegin + kMinute);
    db = MustOpen(options, clock);
    CHECK(db->Head().max_time <= clock.Now() + options.lookahead_limit);
    const Labels after = Labels::Of({{"series", "after"}, {"jump", std::to_string(jump)}});
    CHECK(TryAppend(*db, after, clock.Now(), 1) == AppendError::kNone);
    CHECK(TryAppend(*db, known, clock.Now(), 1) != AppendError::kOutOfBounds);
    CHECK(db->Maintain().ok());
  }
}

TEST_CASE_FIXTURE(FaultFixture, "samples far in the future are refused at the limit") {
  auto db = MustOpen(options, clock);
  const TimestampMs limit = kBegin + options.lookahead_limit;
  CHECK(TryAppend(*db, known, limit + 1, 1) == AppendError::kOutOfBounds);
  CHECK(TryAppend(*db, known, kMaxTimestamp - 1, 1) == AppendError::kOutOfBounds);
  CHECK(db->Head().max_time == kMinTimestamp);
  CHECK(TryAppend(*db, known, limit, 1) == AppendError::kNone);
  CHECK(TryAppend(*db, Labels::Of({{"series", "now"}}), kBegin, 1) == AppendError::kNone);
}

}  // namespace
}  // namespace varve
