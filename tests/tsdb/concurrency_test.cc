// SPDX-License-Identifier: Apache-2.0
//
// Goal: appenders, queries, maintenance and checkpoints beside one another, without races (run it
// under ThreadSanitizer) and without a query ever seeing part of a commit.
// Method: writers commit batches in which all series get the same value at the same time; readers
// check that all series agree on their last sample, and that samples never vanish.
#include <doctest/doctest.h>

#include <atomic>
#include <thread>

#include "tests/tsdb/test_values.h"
#include "tsdb/db.h"

namespace varve {
namespace {

constexpr int kWriters = 3;
constexpr int kSeriesPerWriter = 20;
constexpr int kCommits = 400;

Labels WriterLabels(int writer, int series) {
  return Labels::Of(
      {{"__name__", "m"}, {"series", std::to_string(series)}, {"writer", std::to_string(writer)}});
}

void Write(Db& db, int writer) {
  SeriesRef refs[kSeriesPerWriter] = {};
  for (int commit = 0; commit < kCommits; ++commit) {
    const auto appender = db.NewAppender();
    for (int i = 0; i < kSeriesPerWriter; ++i) {
      const auto ref = appender->Append(refs[i], WriterLabels(writer, i),
                                        kBegin + commit * 15 * kSecond, commit);
      if (!ref.ok()) continue;  // Another writer may be an hour ahead.
      refs[i] = *ref;
    }
    // A series both writers compete for; the slower one's sample is refused or dropped.
    (void)appender->Append(kNoSeries, Labels::Of({{"__name__", "contended"}}),
                           kBegin + commit * 15 * kSecond + writer, commit);
    INFO("commit ", commit);
    CHECK(appender->Commit().ok());
  }
}

void Read(const Db& db, const std::atomic<bool>& done) {
  std::vector<size_t> seen(kWriters, 0);
  SeriesSamples samples;
  while (!done) {
    for (int writer = 0; writer < kWriters; ++writer) {
      const auto querier = db.OpenQuerier(kMinTimestamp, kMaxTimestamp);
      const auto set = (*querier)->Select({Matcher::Equal("writer", std::to_string(writer))}, {});
      if ((*set)->size() == 0) continue;
      CHECK((*set)->size() == kSeriesPerWriter);
      TimeList first;
      for (size_t i = 0; i < (*set)->size(); ++i) {
        CHECK((*set)->Read(i, kMinTimestamp, kMaxTimestamp, samples).ok());
        if (i == 0) first = samples.times;
        CHECK(samples.times == first);
        CHECK(std::is_sorted(samples.times.begin(), samples.times.end()));
      }
      CHECK(first.size() >= seen[writer]);
      seen[writer] = first.size();
    }
    CHECK((*db.OpenQuerier(kMinTimestamp, kMaxTimestamp))->LabelValues("writer", {}, 0).ok());
    (void)db.Cardinality(10);
    (void)db.Counters();
  }
}

TEST_CASE("appenders, queries and maintenance at the same time") {
  const TempDir dir;
  auto db = MustOpen({.path = dir.path(),
                      .retention = 0,
                      .wal_sync_interval = 5,
                      .lookahead_limit = 0,
                      .head_window = kDay,
                      .log_epoch_bytes = 30'000,
                      .write_buffer_bytes = 64 << 10,
                      .maintenance_interval = 5},
                     RealClock());
  std::atomic<bool> done = false;
  std::vector<std::thread> writers;
  for (int i = 0; i < kWriters; ++i) writers.emplace_back([&db, i] { Write(*db, i); });
  std::vector<std::thread> others;
  for (int i = 0; i < 2; ++i) others.emplace_back([&db, &done] { Read(*db, done); });
  others.emplace_back([&db, &done] {
    while (!done) CHECK(db->Checkpoint().ok());
  });
  others.emplace_back([&db, &done] {
    while (!done) CHECK(db->Maintain().ok());
  });
  for (std::thread& writer : writers) writer.join();
  done = true;
  for (std::thread& other : others) other.join();

  const Contents contents = ReadAll(*db);
  CHECK(contents.size() == kWriters * kSeriesPerWriter + 1);
  for (const auto& [labels, samples] : contents) {
    if (labels != "contended") CHECK(samples.size() == kCommits);
  }
  REQUIRE(db->Close().ok());
  db.reset();
  db = MustOpen({.path = dir.path(), .retention = 0, .lookahead_limit = 0, .background = false},
                RealClock());
  CHECK(ReadAll(*db) == contents);
}

}  // namespace
}  // namespace varve
