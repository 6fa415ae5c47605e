// SPDX-License-Identifier: Apache-2.0
//
// Deleting samples and snapshots: what is gone stays gone through restarts, folding and cleaning,
// what was appended later stays, and a snapshot is a data directory of its own.
#include <doctest/doctest.h>

#include <filesystem>

#include "tests/tsdb/test_values.h"
#include "tsdb/db.h"

namespace varve {
namespace {

namespace fs = std::filesystem;

const Labels kA = Labels::Of({{"__name__", "a"}, {"job", "x"}});
const Labels kB = Labels::Of({{"__name__", "b"}, {"job", "x"}});

std::vector<Matcher> Named(const char* name) {
  return {*Matcher::Create(MatchType::kEqual, "__name__", name)};
}

struct DeleteFixture {
  TempDir dir;
  ManualClock clock{kBegin};
  DbOptions options{
      .path = dir.path(), .retention = 0, .out_of_order_window = 2 * kHour, .background = false};

  static constexpr DurationMs kStep = 30 * kSecond;
  static std::string Text(int i) { return SampleText(kBegin + i * kStep, i, 0); }
  static std::vector<std::string> Texts(int from, int to) {
    std::vector<std::string> texts;
    for (int i = from; i < to; ++i) texts.push_back(Text(i));
    return texts;
  }
  void Append(Db& db, int from, int to) {
    for (int i = from; i < to; ++i) {
      clock.Set(kBegin + i * kStep);
      const auto appender = db.NewAppender();
      CHECK(appender->Append(kNoSeries, kA, kBegin + i * kStep, i).ok());
      CHECK(appender->Append(kNoSeries, kB, kBegin + i * kStep, i).ok());
      CHECK(appender->Commit().ok());
    }
  }
  // Opens a copy of the files as they are: what a killed process leaves.
  Contents AfterKill() {
    TempDir copy;
    fs::copy(dir.path(), copy.path(),
             fs::copy_options::recursive | fs::copy_options::overwrite_existing);
    DbOptions copied = options;
    copied.path = copy.path();
    return ReadAll(*MustOpen(copied, clock));
  }
};

TEST_CASE_FIXTURE(DeleteFixture, "deleted samples are gone, later ones stay") {
  auto db = MustOpen(options, clock);
  Append(*db, 0, 300);
  CHECK(db->DeleteSeries({Named("a")}, kBegin + 100 * kStep, kMaxTimestamp).ok());
  Append(*db, 300, 400);
  std::vector<std::string> expected = Texts(0, 100);
  const std::vector<std::string> later = Texts(300, 400);
  expected.insert(expected.end(), later.begin(), later.end());
  // A late sample into the gap is one that was appended later.
  MustAppend(*db, kA, kBegin + 250 * kStep, 250);
  expected.insert(expected.begin() + 100, Text(250));
  const auto check = [&](const char* when) {
    CAPTURE(when);
    Contents all = ReadAll(*db);
    CHECK(all[kA.ToString()] == expected);
    CHECK(all[kB.ToString()] == Texts(0, 400));
  };
  check("at once");
  CHECK(AfterKill()[kA.ToString()] == expected);
  CHECK(db->Close().ok());
  db.reset();
  db = MustOpen(options, clock);
  check("after a restart");
  CHECK(db->Seal().ok());
  check("sealed");
  CHECK(db->CleanTombstones().ok());
  check("cleaned");
  db.reset();
  db = MustOpen(options, clock);
  check("cleaned and restarted");
  // Nothing is left that a tombstone could name: the same times can be deleted and cleaned again.
  CHECK(db->DeleteSeries({Named("a"), Named("b")}, kMinTimestamp, kMaxTimestamp).ok());
  const auto left = [&] {
    Contents all = ReadAll(*db);
    // A series may be selected that has nothing left.
    std::erase_if(all, [](const auto& series) { return series.second.empty(); });
    return all.size();
  };
  CHECK(left() == 0);
  CHECK(db->CleanTombstones().ok());
  CHECK(left() == 0);
}

TEST_CASE_FIXTURE(DeleteFixture, "late samples from before a delete go, those from after stay") {
  auto db = MustOpen(options, clock);
  Append(*db, 0, 10);
  Append(*db, 20, 30);
  MustAppend(*db, kA, kBegin + 12 * kStep, 12);
  MustAppend(*db, kA, kBegin + 15 * kStep, 15);
  CHECK(db->DeleteSeries({Named("a")}, kBegin + 5 * kStep, kBegin + 14 * kStep).ok());
  MustAppend(*db, kA, kBegin + 13 * kStep, 13);
  std::vector<std::string> expected = Texts(0, 5);
  for (const int i : {13, 15, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29}) expected.push_back(Text(i));
  CHECK(ReadAll(*db)[kA.ToString()] == expected);
  CHECK(AfterKill()[kA.ToString()] == expected);
  CHECK(db->Checkpoint().ok());
  CHECK(AfterKill()[kA.ToString()] == expected);
  CHECK(db->Seal().ok());
  CHECK(ReadAll(*db)[kA.ToString()] == expected);
  CHECK(db->CleanTombstones().ok());
  CHECK(ReadAll(*db)[kA.ToString()] == expected);
  CHECK(AfterKill()[kA.ToString()] == expected);
}

TEST_CASE_FIXTURE(DeleteFixture, "spans deleted one after another are all gone") {
  auto db = MustOpen(options, clock);
  Append(*db, 0, 10);
  for (const int i : {2, 5, 7}) {
    CHECK(db->DeleteSeries({Named("a")}, kBegin + i * kStep, kBegin + i * kStep).ok());
  }
  std::vector<std::string> expected;
  for (const int i : {0, 1, 3, 4, 6, 8, 9}) expected.push_back(Text(i));
  CHECK(ReadAll(*db)[kA.ToString()] == expected);
  CHECK(AfterKill()[kA.ToString()] == expected);
  CHECK(db->CleanTombstones().ok());
  CHECK(ReadAll(*db)[kA.ToString()] == expected);
  CHECK(ReadAll(*db)[kB.ToString()] == Texts(0, 10));
  // The log still has them, and no tombstone says that they are deleted.
  CHECK(AfterKill()[kA.ToString()] == expected);
  Append(*db, 10, 20);
  for (int i = 10; i < 20; ++i) expected.push_back(Text(i));
  CHECK(AfterKill()[kA.ToString()] == expected);
}

TEST_CASE_FIXTURE(DeleteFixture, "a series without samples left is not selected") {
  auto db = MustOpen(options, clock);
  Append(*db, 0, 10);
  db->SetOutOfOrderWindow(0);
  CHECK(db->DeleteSeries({Named("a")}, kMinTimestamp, kMaxTimestamp).ok());
  const Contents all = ReadAll(*db);
  CHECK(all.size() == 1);
  CHECK(all.contains(kB.ToString()));
  // A series whose first sample is on its way when it is deleted gets that sample.
  const auto appender = db->NewAppender();
  CHECK(appender->Append(kNoSeries, Labels::Of({{"__name__", "c"}}), clock.Now(), 1).ok());
  CHECK(db->DeleteSeries({Named("c")}, kMinTimestamp, kMaxTimestamp).ok());
  CHECK(appender->Commit().ok());
  CHECK(ReadAll(*db).size() == 2);
  // No series matches: nothing to do.
  CHECK(db->DeleteSeries({Named("nothing")}, kMinTimestamp, kMaxTimestamp).ok());
  CHECK(db->Close().ok());
  CHECK_FALSE(db->DeleteSeries({Named("b")}, kMinTimestamp, kMaxTimestamp).ok());
}

TEST_CASE_FIXTURE(DeleteFixture, "a snapshot is a data directory of its own") {
  auto db = MustOpen(options, clock);
  Append(*db, 0, 150);
  CHECK(db->Seal().ok());
  Append(*db, 150, 300);
  CHECK(db->Checkpoint().ok());
  Append(*db, 300, 310);
  const auto name = db->Snapshot();
  REQUIRE(name.ok());
  CHECK(name->substr(0, 17) == "20231115T004750Z-");
  CHECK(name->size() == 33);
  Append(*db, 310, 320);
  DbOptions copied = options;
  copied.path = (fs::path(dir.path()) / kSnapshotsSubdirectory / *name).native();
  {
    const auto copy = MustOpen(copied, clock);
    Contents all = ReadAll(*copy);
    CHECK(all[kA.ToString()] == Texts(0, 310));
    CHECK(all[kB.ToString()] == Texts(0, 310));
    MustAppend(*copy, kA, kBegin + 310 * kStep, 7);
  }
  CHECK(ReadAll(*db)[kA.ToString()] == Texts(0, 320));
  CHECK(db->Snapshot().value_or("") != *name);
}

}  // namespace
}  // namespace varve
