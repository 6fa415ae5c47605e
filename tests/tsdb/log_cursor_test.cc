// SPDX-License-Identifier: Apache-2.0
//
// Goal: a cursor gives every commit behind it once and in order, whatever checkpoints do meanwhile,
// and holds no more of the log than it may.
#include <doctest/doctest.h>

#include <atomic>
#include <thread>

#include "tests/tsdb/test_values.h"
#include "tsdb/db.h"

namespace varve {
namespace {

struct CursorFixture {
  TempDir dir;
  ManualClock clock{kBegin};
  DbOptions options{.path = dir.path(), .background = false};

  // Commits `series` samples of the same value.
  static void Commit(Db& db, int series, int step) {
    const auto appender = db.NewAppender();
    for (int i = 0; i < series; ++i) {
      const Labels labels = Labels::Of({{"__name__", "m"}, {"i", std::to_string(i)}});
      REQUIRE(appender->Append(kNoSeries, labels, kBegin + step * kSecond, step).ok());
    }
    REQUIRE(appender->Commit().ok());
  }

  // The value of each commit that is there to be read.
  static std::vector<double> Values(LogCursor& cursor, size_t bytes_max) {
    std::vector<double> values;
    for (;;) {
      const auto commits = cursor.Read(bytes_max);
      REQUIRE(commits.ok());
      if (commits->empty()) return values;
      for (const LoggedCommit& commit : *commits) values.push_back(commit.floats[0].value);
    }
  }
};

TEST_CASE_FIXTURE(CursorFixture, "log cursor: what was committed behind it, with labels") {
  auto db = MustOpen(options, clock);
  Commit(*db, 2, 1);
  const std::unique_ptr<LogCursor> cursor = db->OpenLog();
  CHECK(Values(*cursor, 1) == std::vector<double>{});
  std::mt19937_64 random(1);
  const Histogram histogram = RandomHistogram(random);
  const Labels labels = Labels::Of({{"__name__", "h"}});
  const auto appender = db->NewAppender();
  const auto ref = appender->AppendHistogram(kNoSeries, labels, kBegin, histogram, kBegin - 1);
  REQUIRE(ref.ok());
  REQUIRE(
      appender->AppendExemplar(*ref, labels, {Labels::Of({{"trace", "x"}}), 2, kBegin, true}).ok());
  REQUIRE(appender->Commit().ok());
  Commit(*db, 2, 2);

  auto commits = cursor->Read(1);
  REQUIRE(commits.ok());
  REQUIRE(commits->size() == 1);
  const LoggedCommit first = commits->front();
  REQUIRE(first.histograms.size() == 1);
  CHECK(first.histograms[0].histogram == histogram);
  CHECK(first.histograms[0].time == kBegin);
  CHECK(first.histograms[0].start_time == kBegin - 1);
  CHECK(cursor->LabelsOf(first.histograms[0].ref) == labels);
  REQUIRE(first.exemplars.size() == 1);
  CHECK(first.exemplars[0].exemplar.value == 2);
  commits = cursor->Read(1 << 20);
  REQUIRE(commits.ok());
  REQUIRE(commits->size() == 1);
  REQUIRE(commits->front().floats.size() == 2);
  CHECK(commits->front().sequence > first.sequence);
  CHECK(commits->front().floats[1].value == 2);
  CHECK(commits->front().floats[1].time == kBegin + 2 * kSecond);
  CHECK(cursor->LabelsOf(SeriesRef{12345}).empty());
}

TEST_CASE_FIXTURE(CursorFixture, "log cursor: checkpoints leave what it has not released") {
  auto db = MustOpen(options, clock);
  std::unique_ptr<LogCursor> cursor = db->OpenLog();
  std::vector<double> expected;
  for (int step = 1; step <= 30; ++step) {
    Commit(*db, 10, step);
    expected.push_back(step);
    if (step % 7 == 0) REQUIRE(db->Checkpoint().ok());
    // A delete takes a sequence too.
    if (step == 10) REQUIRE(db->DeleteSeries({{Matcher::Equal("i", "3")}}, 0, kBegin).ok());
  }
  const uint64_t held = db->Counters().log_bytes;
  CHECK(Values(*cursor, 300) == expected);
  REQUIRE(db->Checkpoint().ok());
  CHECK(db->Counters().log_bytes == held);
  Commit(*db, 10, 31);
  const auto last = cursor->Read(1 << 20);
  REQUIRE(last.ok());
  cursor->Release(last->back().sequence);
  REQUIRE(db->Checkpoint().ok());
  CHECK(db->Counters().log_bytes == 0);

  // So does the cursor's end; and a restart needs nothing of what was held.
  Commit(*db, 10, 32);
  REQUIRE(db->Checkpoint().ok());
  CHECK(db->Counters().log_bytes > 0);
  cursor.reset();
  Commit(*db, 10, 33);
  REQUIRE(db->Checkpoint().ok());
  CHECK(db->Counters().log_bytes == 0);
  REQUIRE(db->Close().ok());
  db.reset();
  db = MustOpen(options, clock);
  CHECK(db->replayed_records() == 0);
  cursor = db->OpenLog();
  Commit(*db, 10, 34);
  CHECK(Values(*cursor, 1) == std::vector<double>{34});
}

TEST_CASE_FIXTURE(CursorFixture, "log cursor: one that is too far behind is told so once") {
  auto db = MustOpen(options, clock);
  Commit(*db, 10, 1);
  const uint64_t record = db->Counters().log_bytes;
  db.reset();
  options.held_log_bytes_max = 4 * record;
  db = MustOpen(options, clock);
  const std::unique_ptr<LogCursor> cursor = db->OpenLog();
  for (int step = 2; step <= 4; ++step) {
    Commit(*db, 10, step);
    REQUIRE(db->Checkpoint().ok());
  }
  CHECK(Values(*cursor, 1) == std::vector<double>{2, 3, 4});  // Up to the limit all is held.
  for (int step = 5; step <= 40; ++step) {
    Commit(*db, 10, step);
    REQUIRE(db->Checkpoint().ok());
  }
  Commit(*db, 10, 41);
  CHECK(absl::IsOutOfRange(cursor->Read(1).status()));
  const std::vector<double> rest = Values(*cursor, 1);
  REQUIRE(!rest.empty());
  CHECK(rest.back() == 41);
  CHECK(rest.size() < 37);
  for (size_t i = 1; i < rest.size(); ++i) CHECK(rest[i] == rest[i - 1] + 1);
}

TEST_CASE_FIXTURE(CursorFixture, "log cursor: tails the log while it is written and trimmed") {
  auto db = MustOpen(options, clock);
  const std::unique_ptr<LogCursor> cursor = db->OpenLog();
  constexpr int kCommits = 300;
  std::atomic<bool> done = false;
  std::thread writer([&] {
    for (int step = 1; step <= kCommits; ++step) Commit(*db, 5, step);
  });
  std::thread trimmer([&] {
    while (!done) CHECK(db->Checkpoint().ok());
  });
  double next = 1;
  while (next <= kCommits) {
    const auto commits = cursor->Read(1000);
    REQUIRE(commits.ok());
    for (const LoggedCommit& commit : *commits) {
      CHECK(commit.floats.size() == 5);
      CHECK(commit.floats[0].value == next++);
      cursor->Release(commit.sequence);
    }
  }
  done = true;
  writer.join();
  trimmer.join();
}

}  // namespace
}  // namespace varve
