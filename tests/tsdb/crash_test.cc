// SPDX-License-Identifier: Apache-2.0
//
// Goal: a killed process loses nothing it was told is committed, and invents nothing.
// Method: a child process appends in a known pattern, reports each commit over a pipe, and is
// killed with SIGKILL at a random moment, checkpoints and rotations included; the parent opens the
// directory and compares. Several generations of children go on with the same directory.
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <thread>

#include "tests/tsdb/test_values.h"
#include "tsdb/db.h"

namespace varve {
namespace {

constexpr TimestampMs kBegin = 1'700'000'000'000;
constexpr int kSeries = 40;
constexpr int kSamplesPerCommit = 30;

Labels LabelsOf(int series, int commit) {
  // Some series live for a few commits only.
  const bool is_short = series % 4 == 3;
  return Labels::Of({{"__name__", is_short ? "short" : "long"},
                     {"series", std::to_string(series)},
                     {"run", is_short ? std::to_string(commit / 20) : ""}});
}

Histogram HistogramOf(int commit) {
  Histogram histogram;
  histogram.integer_counts = true;
  histogram.schema = 2;
  histogram.positive.spans = {{commit / 50, 3}};
  histogram.positive.counts = {1.0 + commit, 2, 3.0 * commit};
  histogram.count = 6 + 4.0 * commit;
  histogram.sum = commit * 0.25;
  return histogram;
}

TimestampMs TimeOf(int commit) { return kBegin + commit * 20 * kSecond; }
double ValueOf(int series, int commit) { return series * 1000.0 + commit * 0.5; }

// What commit number `commit` holds.
absl::Status AppendCommit(Db& db, int commit) {
  const auto appender = db.NewAppender();
  for (int i = 0; i < kSamplesPerCommit; ++i) {
    const int series = (commit * 7 + i) % kSeries;
    const auto ref = series == 0
                         ? appender->AppendHistogram(kNoSeries, LabelsOf(series, commit),
                                                     TimeOf(commit), HistogramOf(commit))
                         : appender->Append(kNoSeries, LabelsOf(series, commit), TimeOf(commit),
                                            ValueOf(series, commit), series == 1 ? kBegin : 0);
    if (!ref.ok()) return ref.status();
  }
  return appender->Commit();
}

Contents Expected(int commits) {
  Contents expected;
  for (int commit = 0; commit < commits; ++commit) {
    for (int i = 0; i < kSamplesPerCommit; ++i) {
      const int series = (commit * 7 + i) % kSeries;
      expected[LabelsOf(series, commit).ToString()].push_back(
          series == 0
              ? SampleText(TimeOf(commit), HistogramOf(commit), 0)
              : SampleText(TimeOf(commit), ValueOf(series, commit), series == 1 ? kBegin : 0));
    }
  }
  return expected;
}

DbOptions CrashOptions(const std::string& path) {
  return {.path = path,
          .retention = 0,
          .wal_sync_interval = 50,
          .lookahead_limit = 0,
          .log_epoch_bytes = 20'000,
          .write_buffer_bytes = 64 << 10,
          .maintenance_interval = 10};
}

// Appends from `first` on, until it is killed.
[[noreturn]] void RunChild(const std::string& path, int first, int report) {
  auto db = Db::Open(CrashOptions(path), RealClock());
  if (!db.ok()) _exit(3);
  for (int commit = first;; ++commit) {
    if (!AppendCommit(**db, commit).ok()) _exit(4);
    if (write(report, &commit, sizeof(commit)) != sizeof(commit)) _exit(5);
  }
}

TEST_CASE("kill -9: everything acknowledged is there, nothing is invented") {
  const uint64_t seed = TestSeed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  const TempDir dir;
  int commits = 0;  // Those found after the last start.
  for (int generation = 0; generation < 10; ++generation) {
    CAPTURE(generation);
    int ends[2];
    REQUIRE(pipe(ends) == 0);
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      close(ends[0]);
      RunChild(dir.path(), commits, ends[1]);
    }
    close(ends[1]);
    const int wanted = static_cast<int>(random() % 400);
    int acknowledged = commits;
    int commit = 0;
    // Killed between two reports, or amid whatever happens up to 3 ms later.
    while (acknowledged < commits + wanted &&
           read(ends[0], &commit, sizeof(commit)) == sizeof(commit)) {
      acknowledged = commit + 1;
    }
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 3000));
    REQUIRE(kill(child, SIGKILL) == 0);
    while (read(ends[0], &commit, sizeof(commit)) == sizeof(commit)) acknowledged = commit + 1;
    close(ends[0]);
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    REQUIRE(WIFSIGNALED(status));

    DbOptions options = CrashOptions(dir.path());
    options.background = false;
    auto db = MustOpen(options, RealClock());
    CHECK(db->Counters().corruptions == 0);
    const Contents contents = ReadAll(*db);
    // The last commit may have been durable without having been reported.
    const bool one_more = contents == Expected(acknowledged + 1);
    CHECK((one_more || contents == Expected(acknowledged)));
    commits = acknowledged + (one_more ? 1 : 0);
    // Sometimes the parent leaves without closing down cleanly either; sometimes it appends.
    if (generation % 3 == 1) {
      REQUIRE(AppendCommit(*db, commits++).ok());
      REQUIRE(db->Maintain().ok());
    }
    if (generation % 2 == 0) REQUIRE(db->Close().ok());
  }
  CHECK(commits > 0);
}

}  // namespace
}  // namespace varve
