// SPDX-License-Identifier: Apache-2.0
//
// Goal: what a batch says of metrics is committed with it or not at all, survives what commits
// survive, costs nothing while it stays the same, and has its limits.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "model/memory_budget.h"
#include "tests/tsdb/test_values.h"
#include "tsdb/db.h"
#include "tsdb/format.h"
#include "tsdb/metadata_store.h"
#include "tsdb/store.h"

namespace varve {
namespace {

namespace fs = std::filesystem;

struct MetadataFixture {
  TempDir dir;
  ManualClock clock{kBegin};
  DbOptions options{.path = dir.path(), .background = false};

  // What Append and Commit said, the former if it was refused.
  static absl::Status Say(Db& db, std::string_view metric, const MetricMetadata& metadata) {
    const auto appender = db.NewAppender();
    const absl::Status appended = appender->AppendMetadata(metric, metadata);
    const absl::Status committed = appender->Commit();
    return appended.ok() ? committed : appended;
  }
  // `name type help unit`, a line each.
  static std::string Text(const Db& db, std::string_view metric = "") {
    std::string text;
    for (const MetricFamilyPtr& family : db.Metadata(metric)) {
      const MetricMetadata& metadata = family->metadata;
      text += family->name + " " + std::string(MetricTypeText(metadata.type)) + " " +
              metadata.help + " " + metadata.unit + "\n";
    }
    return text;
  }
  // `killed` becomes what a process killed now would leave.
  void Kill(Db& db) {
    REQUIRE(db.Sync().ok());
    killed = std::make_unique<TempDir>();
    fs::copy(dir.path(), killed->path(), fs::copy_options::recursive);
  }
  std::unique_ptr<Db> OpenKilled(Db& db) {
    Kill(db);
    DbOptions copied = options;
    copied.path = killed->path();
    return MustOpen(copied, clock);
  }
  // Writes a row of the family as it is. The storage must be closed.
  static void PutRow(const std::string& path, std::string_view key, std::string_view value) {
    const auto store = Store::Open({.path = path + "/varve"});
    REQUIRE(store.ok());
    rocksdb::WriteBatch batch;
    batch.Put((*store)->metadata().handle(), ToSlice(key), ToSlice(value));
    REQUIRE((*store)->Write(batch, "test").ok());
  }

  std::unique_ptr<TempDir> killed;
};

TEST_CASE_FIXTURE(MetadataFixture, "metadata: with its batch or not at all") {
  auto db = MustOpen(options, clock);
  {
    const auto appender = db->NewAppender();
    REQUIRE(appender->AppendMetadata("b", {MetricType::kCounter, "help b", "bytes"}).ok());
    REQUIRE(appender->AppendMetadata("a", {MetricType::kGauge, "", ""}).ok());
    CHECK(Text(*db).empty());
    REQUIRE(appender->Append(kNoSeries, Labels::Of({{"__name__", "a"}}), kBegin, 1).ok());
    REQUIRE(appender->Commit().ok());
  }
  CHECK(Text(*db) == "a gauge  \nb counter help b bytes\n");
  CHECK(Text(*db, "b") == "b counter help b bytes\n");
  CHECK(Text(*db, "c").empty());
  {
    const auto appender = db->NewAppender();
    REQUIRE(appender->AppendMetadata("c", {MetricType::kGauge, "", ""}).ok());
    appender->Rollback();
  }
  {
    const auto appender = db->NewAppender();
    REQUIRE(appender->AppendMetadata("d", {MetricType::kGauge, "", ""}).ok());
  }
  CHECK(Text(*db) == "a gauge  \nb counter help b bytes\n");
  CHECK(Text(*OpenKilled(*db)) == "a gauge  \nb counter help b bytes\n");
}

TEST_CASE_FIXTURE(MetadataFixture, "metadata: the last word counts, what is known costs nothing") {
  auto db = MustOpen(options, clock);
  const std::unique_ptr<LogCursor> cursor = db->OpenLog();
  const auto changes = [&] {
    std::vector<std::string> names;
    const auto commits = cursor->Read(1 << 20);
    REQUIRE(commits.ok());
    for (const LoggedCommit& commit : *commits) {
      for (const MetricFamily& family : commit.metadata) {
        names.push_back(family.name + " " + std::string(MetricTypeText(family.metadata.type)));
      }
    }
    return names;
  };
  REQUIRE(Say(*db, "m", {MetricType::kCounter, "one", ""}).ok());
  CHECK(changes() == std::vector<std::string>{"m counter"});
  const uint64_t log_bytes = db->Counters().log_bytes;
  REQUIRE(Say(*db, "m", {MetricType::kCounter, "one", ""}).ok());
  CHECK(db->Counters().log_bytes == log_bytes);
  REQUIRE(Say(*db, "m", {MetricType::kGauge, "one", ""}).ok());
  CHECK(Text(*db) == "m gauge one \n");
  CHECK(changes() == std::vector<std::string>{"m gauge"});

  // There and back in one batch, and again with an end that is known.
  for (const MetricType last : {MetricType::kSummary, MetricType::kSummary}) {
    const auto appender = db->NewAppender();
    REQUIRE(appender->AppendMetadata("m", {last, "one", ""}).ok());
    REQUIRE(appender->AppendMetadata("m", {MetricType::kInfo, "two", ""}).ok());
    REQUIRE(appender->AppendMetadata("m", {last, "one", ""}).ok());
    REQUIRE(appender->Commit().ok());
    CHECK(Text(*db) == "m summary one \n");
  }
  CHECK(changes() == std::vector<std::string>{"m summary"});

  // Of two batches under way the second has nothing new, but for its sample.
  const auto first = db->NewAppender();
  const auto second = db->NewAppender();
  for (Appender* appender : {first.get(), second.get()}) {
    REQUIRE(appender->AppendMetadata("n", {MetricType::kGauge, "", ""}).ok());
  }
  REQUIRE(second->Append(kNoSeries, Labels::Of({{"__name__", "n"}}), kBegin, 1).ok());
  REQUIRE(first->Commit().ok());
  REQUIRE(second->Commit().ok());
  CHECK(changes() == std::vector<std::string>{"n gauge"});
  CHECK(ReadAll(*db).size() == 1);
}

TEST_CASE_FIXTURE(MetadataFixture, "metadata: restarts, checkpoints and snapshots") {
  auto db = MustOpen(options, clock);
  std::string expected;
  for (int round = 0; round < 5; ++round) {
    const std::string name = "m" + std::to_string(round);
    REQUIRE(Say(*db, name, {MetricType::kGauge, "h", "s"}).ok());
    expected += name + " gauge h s\n";
    CHECK(Text(*OpenKilled(*db)) == expected);
    REQUIRE(db->Checkpoint().ok());
    auto reopened = OpenKilled(*db);
    CHECK(Text(*reopened) == expected);
    CHECK(reopened->replayed_records() == 0);
    CHECK(reopened->Counters().corruptions == 0);
  }
  const auto snapshot = db->Snapshot();
  REQUIRE(snapshot.ok());
  REQUIRE(Say(*db, "later", {MetricType::kGauge, "", ""}).ok());
  DbOptions copied = options;
  copied.path = (fs::path(dir.path()) / kSnapshotsSubdirectory / *snapshot).native();
  CHECK(Text(*MustOpen(copied, clock)) == expected);
  REQUIRE(db->Close().ok());
  db.reset();
  CHECK(Text(*MustOpen(options, clock)) == "later gauge  \n" + expected);
}

TEST_CASE_FIXTURE(MetadataFixture, "metadata: its rows do not hold back the write-ahead log") {
  auto db = MustOpen(options, clock);
  for (int round = 0; round < 10; ++round) {
    REQUIRE(Say(*db, "m" + std::to_string(round), {MetricType::kGauge, "h", "s"}).ok());
    MustAppend(*db, Labels::Of({{"__name__", "m"}}), kBegin + round, round);
    REQUIRE(db->Checkpoint().ok());
  }
  // Each of a checkpoint's two flushes begins another file.
  const fs::directory_iterator files(dir.path() + "/varve");
  CHECK(std::count_if(begin(files), end(files),
                      [](const auto& file) { return file.path().extension() == ".log"; }) <= 3);
}

TEST_CASE_FIXTURE(MetadataFixture, "metadata: limits of texts") {
  const MetadataLimits limits;
  auto db = MustOpen(options, clock);
  const auto gauge = [](std::string help, std::string unit = "") {
    return MetricMetadata{MetricType::kGauge, std::move(help), std::move(unit)};
  };
  // A name at the limit, and one past it, which costs nothing else of its batch.
  const std::string longest(limits.name_bytes, 'n');
  {
    const auto appender = db->NewAppender();
    REQUIRE(appender->AppendMetadata(longest, gauge("h")).ok());
    for (const std::string& bad : {longest + "n", std::string(), std::string("\xff")}) {
      CHECK(AppendErrorOf(appender->AppendMetadata(bad, gauge("h"))) ==
            AppendError::kInvalidLabels);
    }
    REQUIRE(appender->AppendMetadata("m", gauge("h")).ok());
    REQUIRE(appender->Commit().ok());
  }
  CHECK(Text(*db) == "m gauge h \n" + longest + " gauge h \n");
  CHECK(db->Counters().metadata_refused == 3);

  // A help (unit) at the limit, and one past it.
  const std::string help(limits.help_bytes, 'h');
  const std::string unit(limits.unit_bytes, 'u');
  REQUIRE(Say(*db, "m", gauge(help, unit)).ok());
  CHECK(db->Metadata("m")[0]->metadata == gauge(help, unit));
  CHECK(db->Counters().metadata_cut == 0);
  REQUIRE(Say(*db, "n", gauge(help + "h", unit)).ok());
  REQUIRE(Say(*db, "o", gauge(help, unit + "u")).ok());
  CHECK(db->Metadata("n")[0]->metadata == gauge(help, unit));
  CHECK(db->Metadata("o")[0]->metadata == gauge(help, unit));
  CHECK(db->Counters().metadata_cut == 2);
  // The same text again is known although it is cut.
  const uint64_t log_bytes = db->Counters().log_bytes;
  REQUIRE(Say(*db, "n", gauge(help + "h", unit)).ok());
  CHECK(db->Counters().log_bytes == log_bytes);
  CHECK(db->Counters().metadata_cut == 2);
  // No character is split; what is none is cut within three bytes.
  const std::string euros = std::string(limits.help_bytes - 2, 'h') + "\xe2\x82\xac";
  REQUIRE(Say(*db, "p", gauge(euros)).ok());
  CHECK(db->Metadata("p")[0]->metadata.help == euros.substr(0, limits.help_bytes - 2));
  REQUIRE(Say(*db, "q", gauge(std::string(2 * limits.help_bytes, '\x80'))).ok());
  CHECK(db->Metadata("q")[0]->metadata.help.size() == limits.help_bytes - 3);
  const std::string before = Text(*db);
  CHECK(Text(*OpenKilled(*db)) == before);
}

TEST_CASE_FIXTURE(MetadataFixture, "metadata: the limit of metrics") {
  const size_t limit = MetadataLimits().metrics;
  auto db = MustOpen(options, clock);
  const auto name = [](size_t i) { return "m" + std::to_string(i); };
  const MetricMetadata counter{MetricType::kCounter, "", ""};
  // One batch cannot have more either.
  auto appender = db->NewAppender();
  for (size_t i = 0; i < limit; ++i) REQUIRE(appender->AppendMetadata(name(i), counter).ok());
  CHECK(AppendErrorOf(appender->AppendMetadata("past", counter)) == AppendError::kLimit);
  CHECK(appender->AppendMetadata(name(1), {MetricType::kGauge, "", ""}).ok());
  REQUIRE(appender->Commit().ok());
  CHECK(db->Metadata("").size() == limit);
  CHECK(AppendErrorOf(Say(*db, "past", counter)) == AppendError::kLimit);
  CHECK(db->Counters().metadata_refused == 2);
  // Those that are there may change, and the others of a batch are committed.
  CHECK(Say(*db, name(2), {MetricType::kGauge, "", ""}).ok());
  CHECK(Text(*db, name(1)) == "m1 gauge  \n");
  CHECK(Text(*db, name(2)) == "m2 gauge  \n");
  auto reopened = OpenKilled(*db);
  CHECK(reopened->Metadata("").size() == limit);
  CHECK(Text(*reopened, "past").empty());
}

TEST_CASE_FIXTURE(MetadataFixture, "metadata: two batches that pass the limit together") {
  const size_t limit = MetadataLimits().metrics;
  auto db = MustOpen(options, clock);
  const MetricMetadata counter{MetricType::kCounter, "", ""};
  const auto first = db->NewAppender();
  const auto second = db->NewAppender();
  for (size_t i = 0; i < limit - 1; ++i) {
    REQUIRE(first->AppendMetadata("m" + std::to_string(i), counter).ok());
  }
  REQUIRE(second->AppendMetadata("a", counter).ok());
  REQUIRE(second->AppendMetadata("b", counter).ok());
  REQUIRE(second->Append(kNoSeries, Labels::Of({{"__name__", "a"}}), kBegin, 1).ok());
  REQUIRE(first->Commit().ok());
  REQUIRE(second->Commit().ok());
  CHECK(db->Metadata("").size() == limit);
  CHECK(Text(*db, "a") == "a counter  \n");
  CHECK(Text(*db, "b").empty());
  CHECK(db->Counters().metadata_refused == 1);
  CHECK(ReadAll(*db).size() == 1);
}

TEST_CASE_FIXTURE(MetadataFixture, "metadata: the limit of bytes, and what is accounted for") {
  const MetadataLimits limits;
  MemoryBudget budget;
  options.memory = &budget;
  auto db = MustOpen(options, clock);
  REQUIRE(db->Maintain().ok());
  const uint64_t before = budget.Of(MemoryPart::kHead);
  const std::string help(limits.help_bytes, 'h');
  // Names of four bytes: each takes help_bytes + 4.
  const size_t fit = limits.bytes / (limits.help_bytes + 4);
  const auto name = [](size_t i) { return std::to_string(1000 + i); };
  auto appender = db->NewAppender();
  for (size_t i = 0; i < fit; ++i) {
    REQUIRE(appender->AppendMetadata(name(i), {MetricType::kGauge, help, ""}).ok());
  }
  REQUIRE(appender->Commit().ok());
  REQUIRE(db->Metadata("").size() == fit);
  const size_t left = limits.bytes - fit * (limits.help_bytes + 4);
  REQUIRE(left >= 5);
  REQUIRE(left < limits.help_bytes);
  const MetricMetadata small{MetricType::kGauge, help.substr(0, left - 4), ""};
  const MetricMetadata large{MetricType::kGauge, help.substr(0, left - 3), ""};
  CHECK(AppendErrorOf(Say(*db, "last", large)) == AppendError::kLimit);
  CHECK(Say(*db, "last", small).ok());
  CHECK(AppendErrorOf(Say(*db, "last", large)) == AppendError::kLimit);
  CHECK(AppendErrorOf(Say(*db, "x", {})) == AppendError::kLimit);
  // A type may change, and a text become shorter.
  CHECK(Say(*db, "last", {MetricType::kCounter, small.help, ""}).ok());
  CHECK(Say(*db, "last", {MetricType::kCounter, "", ""}).ok());
  CHECK(Say(*db, "x", {}).ok());
  REQUIRE(db->Maintain().ok());
  const uint64_t taken = budget.Of(MemoryPart::kHead) - before;
  CHECK(taken > limits.bytes - left);
  CHECK(taken < limits.bytes + 200 * (fit + 2));
}

TEST_CASE_FIXTURE(MetadataFixture, "metadata: a damaged row costs itself, unless the log has it") {
  auto db = MustOpen(options, clock);
  for (const char* metric : {"a", "b", "c"}) {
    REQUIRE(Say(*db, metric, {MetricType::kGauge, "old", ""}).ok());
  }
  REQUIRE(db->Checkpoint().ok());
  REQUIRE(Say(*db, "c", {MetricType::kGauge, "newer", ""}).ok());
  REQUIRE(Say(*db, "c", {MetricType::kGauge, "newest", ""}).ok());
  Kill(*db);
  PutRow(killed->path(), "b", "\x02");
  PutRow(killed->path(), "c", "\x01");
  DbOptions copied = options;
  copied.path = killed->path();
  for (int restart = 0; restart < 3; ++restart) {
    CAPTURE(restart);
    auto damaged = MustOpen(copied, clock);
    CHECK(Text(*damaged) == "a gauge old \nc gauge newest \n");
    // `c` was put again.
    CHECK(damaged->Counters().corruptions == (restart == 0 ? 2 : 1));
    REQUIRE(damaged->Checkpoint().ok());
    REQUIRE(damaged->Close().ok());
  }
  auto damaged = MustOpen(copied, clock);
  REQUIRE(Say(*damaged, "b", {MetricType::kGauge, "back", ""}).ok());
  REQUIRE(damaged->Close().ok());
  damaged = nullptr;
  damaged = MustOpen(copied, clock);
  CHECK(Text(*damaged) == "a gauge old \nb gauge back \nc gauge newest \n");
  CHECK(damaged->Counters().corruptions == 0);
}

TEST_CASE_FIXTURE(MetadataFixture, "metadata: what the family says is not made older by replay") {
  auto db = MustOpen(options, clock);
  REQUIRE(Say(*db, "m", {MetricType::kGauge, "logged", ""}).ok());
  Kill(*db);
  // As if the record of a later change were damaged.
  PutRow(killed->path(), "m", EncodeMetadata({MetricType::kGauge, "later", ""}));
  options.path = killed->path();
  CHECK(Text(*MustOpen(options, clock)) == "m gauge later \n");
}

}  // namespace
}  // namespace varve
