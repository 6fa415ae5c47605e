// SPDX-License-Identifier: Apache-2.0
//
// Goal: a killed process loses nothing it was told is committed, and invents nothing.
// Method: a child process appends in a known pattern, reports each commit over a pipe, and is
// killed with SIGKILL at a random moment, checkpoints, rotations, folding, sealing, deletes and
// snapshots included, or at a random step of these; the parent opens the directory (or a copy) and
// compares. Several generations of children go on with the same directory.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "tests/tsdb/test_values.h"
#include "tsdb/db.h"

namespace varve {
namespace {

constexpr int kSeries = 40;
constexpr int kSamplesPerCommit = 30;

Labels CrashLabels(int series, int commit) {
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
                         ? appender->AppendHistogram(kNoSeries, CrashLabels(series, commit),
                                                     TimeOf(commit), HistogramOf(commit))
                         : appender->Append(kNoSeries, CrashLabels(series, commit), TimeOf(commit),
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
      expected[CrashLabels(series, commit).ToString()].push_back(
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
          .hot_epoch = 10 * kMinute,
          .bucket_size = kHour,
          .write_buffer_bytes = 64 << 10,
          .maintenance_interval = 10};
}

// The child: appends from commit $CRASH_FIRST on to $CRASH_PATH, reporting to descriptor
// $CRASH_REPORT, until it is killed. A program of its own, since RocksDB's threads do not survive a
// fork.
TEST_CASE("crash child" * doctest::skip()) {
  const char* path = std::getenv("CRASH_PATH");
  const char* first = std::getenv("CRASH_FIRST");
  const char* report = std::getenv("CRASH_REPORT");
  if (path == nullptr || first == nullptr || report == nullptr) return;
  DbOptions options = CrashOptions(path);
  if (const char* steps = std::getenv("CRASH_FOLD_STEPS")) {
    options.at_step = [left = std::atoi(steps)](std::string_view) mutable {
      if (left-- == 0) raise(SIGKILL);
      return absl::OkStatus();
    };
  }
  auto db = Db::Open(options, RealClock());
  if (!db.ok()) _exit(3);
  // Deletes what no commit wrote, so that it changes nothing but takes its steps, and snapshots.
  const std::vector<Matcher> nothing = {*Matcher::Create(MatchType::kEqual, "__name__", "long")};
  for (int commit = std::atoi(first);; ++commit) {
    if (commit % 40 == 39) {
      if (!(*db)->DeleteSeries({nothing}, 0, 1).ok()) _exit(6);
      if (!(*db)->CleanTombstones().ok()) _exit(7);
    }
    if (commit % 100 == 99) {
      if (!(*db)->Snapshot().ok()) _exit(8);
      std::filesystem::remove_all(std::string(path) + "/" + std::string(kSnapshotsSubdirectory));
    }
    if (!AppendCommit(**db, commit).ok()) _exit(4);
    if (write(std::atoi(report), &commit, sizeof(commit)) != sizeof(commit)) _exit(5);
  }
}

// Starts the child; its reports can be read from `reports`. It kills itself at step `fold_step` of
// folding, if that is not negative.
pid_t StartChild(const std::string& path, int first, int fold_step, int& reports) {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  REQUIRE(fcntl(ends[0], F_SETFD, FD_CLOEXEC) == 0);
  const std::vector<std::string> arguments = {"tsdb_test", "--test-case=crash child", "--no-skip"};
  std::vector<std::string> environment = {"CRASH_PATH=" + path,
                                          "CRASH_FIRST=" + std::to_string(first),
                                          "CRASH_REPORT=" + std::to_string(ends[1])};
  if (fold_step >= 0) environment.push_back("CRASH_FOLD_STEPS=" + std::to_string(fold_step));
  std::vector<char*> argv;
  for (const std::string& text : arguments) argv.push_back(const_cast<char*>(text.c_str()));
  argv.push_back(nullptr);
  std::vector<char*> envp;
  for (const std::string& text : environment) envp.push_back(const_cast<char*>(text.c_str()));
  for (char** inherited = environ; *inherited != nullptr; ++inherited) envp.push_back(*inherited);
  envp.push_back(nullptr);
  pid_t child = 0;
  posix_spawn_file_actions_t actions;
  REQUIRE(posix_spawn_file_actions_init(&actions) == 0);
  REQUIRE(posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0) == 0);
  REQUIRE(posix_spawn(&child, "/proc/self/exe", &actions, nullptr, argv.data(), envp.data()) == 0);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  reports = ends[0];
  return child;
}

TEST_CASE("kill -9: everything acknowledged is there, nothing is invented") {
  const uint64_t seed = TestSeed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  const TempDir dir;
  int commits = 0;  // Those found after the last start.
  uint64_t folded = 0;
  const int rounds = TestRounds(18);
  for (int generation = 0; generation < rounds; ++generation) {
    CAPTURE(generation);
    int reports = -1;
    const int fold_step = generation % 2 == 0 ? static_cast<int>(random() % 200) : -1;
    const pid_t child = StartChild(dir.path(), commits, fold_step, reports);
    const int wanted =
        fold_step >= 0 ? 2000 : static_cast<int>(random() % 400);  // It comes to folding by then.
    int acknowledged = commits;
    int commit = 0;
    // Killed between two reports, or amid whatever happens up to 3 ms later.
    while (acknowledged < commits + wanted &&
           read(reports, &commit, sizeof(commit)) == sizeof(commit)) {
      acknowledged = commit + 1;
    }
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 3000));
    kill(child, SIGKILL);
    while (read(reports, &commit, sizeof(commit)) == sizeof(commit)) acknowledged = commit + 1;
    close(reports);
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    REQUIRE(WIFSIGNALED(status));

    // Looked at in a copy, so that the next child recovers from the kill itself, and perhaps is
    // killed amid that; or in place, with some work on top and a clean end.
    const bool in_copy = generation % 3 != 2;
    const TempDir copy;
    if (in_copy) {
      std::filesystem::copy(dir.path(), copy.path(), std::filesystem::copy_options::recursive);
    }
    DbOptions options = CrashOptions(in_copy ? copy.path() : dir.path());
    options.background = false;
    auto db = MustOpen(options, RealClock());
    CHECK(db->Counters().corruptions == 0);
    folded += db->Stored().generations;
    const Contents contents = ReadAll(*db);
    // The last commit may have been durable without having been reported.
    const bool one_more = contents == Expected(acknowledged + 1);
    CHECK((one_more || contents == Expected(acknowledged)));
    commits = acknowledged + (one_more ? 1 : 0);
    if (!in_copy) {
      REQUIRE(AppendCommit(*db, commits++).ok());
      REQUIRE(db->Maintain().ok());
      REQUIRE(db->Seal().ok());
      CHECK(ReadAll(*db) == Expected(commits));
      REQUIRE(db->Close().ok());
    }
  }
  CHECK(commits > 0);
  CHECK(folded > 0);
}

}  // namespace
}  // namespace varve
