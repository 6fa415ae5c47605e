// SPDX-License-Identifier: Apache-2.0
//
// The rules of appending, reading back, restarts that were clean, and what opening refuses.
#include "tsdb/db.h"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <rocksdb/db.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "tests/tsdb/test_values.h"
#include "tsdb/format.h"

namespace varve {
namespace {

namespace fs = std::filesystem;

const Labels kUp = Labels::Of({{"__name__", "up"}, {"job", "x"}});
const Labels kDown = Labels::Of({{"__name__", "down"}, {"job", "x"}});

struct DbFixture {
  TempDir dir;
  ManualClock clock{kBegin};
  DbOptions options{.path = dir.path(), .background = false};
};

TEST_CASE_FIXTURE(DbFixture, "append: what is accepted and what is refused") {
  auto db = MustOpen(options, clock);
  // The first sample may be of any time up to the clock's limit.
  CHECK(TryAppend(*db, kUp, kBegin - kDay, 1) == AppendError::kNone);
  CHECK(TryAppend(*db, kUp, kBegin, 1) == AppendError::kNone);
  struct Case {
    const char* what;
    Labels labels;
    DurationMs after;
    double value;
    AppendError error;
  };
  const std::vector<Case> cases = {
      {"the same again", kUp, 0, 1, AppendError::kNone},
      {"another value", kUp, 0, 2, AppendError::kDuplicateTimestamp},
      {"the same value, other bits", kUp, 0, NormalNan(), AppendError::kDuplicateTimestamp},
      {"earlier", kUp, -1, 1, AppendError::kOutOfOrder},
      {"at the head's window", kUp, -kHour, 1, AppendError::kOutOfOrder},
      {"before the head's window", kUp, -kHour - 1, 1, AppendError::kOutOfBounds},
      {"another series may start late", kDown, -kHour, 1, AppendError::kNone},
      {"but not before the window", Labels::Of({{"a", "b"}}), -kHour - 1, 1,
       AppendError::kOutOfBounds},
      {"at the clock's limit", kDown, 10 * kMinute, 1, AppendError::kNone},
      {"past the clock's limit", kDown, 10 * kMinute + 1, 1, AppendError::kOutOfBounds},
      {"no labels", Labels(), 1, 1, AppendError::kInvalidLabels},
  };
  for (const Case& c : cases) {
    CAPTURE(c.what);
    CHECK(TryAppend(*db, c.labels, kBegin + c.after, c.value) == c.error);
  }
  CHECK(TryAppend(*db, kUp, kMinTimestamp, 1) == AppendError::kOutOfBounds);
  CHECK(TryAppend(*db, kUp, kMaxTimestamp, 1) == AppendError::kOutOfBounds);
  const StorageCounters counters = db->Counters();
  CHECK(counters.duplicate_samples == 2);
  CHECK(counters.out_of_order_samples == 2);
  CHECK(counters.out_of_bounds_samples == 5);
  CHECK(counters.float_samples_appended == 4);
  CHECK(ReadAll(*db)[kUp.ToString()] ==
        std::vector<std::string>{SampleText(kBegin - kDay, 1, 0), SampleText(kBegin, 1, 0)});
}

TEST_CASE_FIXTURE(DbFixture, "append: the rules hold within a batch") {
  auto db = MustOpen(options, clock);
  const auto appender = db->NewAppender();
  REQUIRE(appender->Append(kNoSeries, kUp, 1000, 1).ok());
  REQUIRE(appender->Append(kNoSeries, kUp, 2000, 2).ok());
  CHECK(appender->Append(kNoSeries, kUp, 2000, 2).ok());
  CHECK(AppendErrorOf(appender->Append(kNoSeries, kUp, 2000, 3).status()) ==
        AppendError::kDuplicateTimestamp);
  CHECK(AppendErrorOf(appender->Append(kNoSeries, kUp, 1500, 3).status()) ==
        AppendError::kOutOfOrder);
  std::mt19937_64 random(1);
  const Histogram histogram = RandomHistogram(random);
  CHECK(AppendErrorOf(appender->AppendHistogram(kNoSeries, kUp, 2000, histogram).status()) ==
        AppendError::kDuplicateTimestamp);
  CHECK(appender->AppendHistogram(kNoSeries, kUp, 3000, histogram).ok());
  CHECK(appender->Append(kNoSeries, kUp, 4000, 4).ok());
  REQUIRE(appender->Commit().ok());
  CHECK(ReadAll(*db)[kUp.ToString()] ==
        std::vector<std::string>{SampleText(1000, 1, 0), SampleText(2000, 2, 0),
                                 SampleText(4000, 4, 0), SampleText(3000, histogram, 0)});
}

TEST_CASE_FIXTURE(DbFixture, "append: of two appenders the one that commits first wins") {
  auto db = MustOpen(options, clock);
  const auto first = db->NewAppender();
  const auto second = db->NewAppender();
  REQUIRE(first->Append(kNoSeries, kUp, 1000, 1).ok());
  REQUIRE(second->Append(kNoSeries, kUp, 2000, 2).ok());
  REQUIRE(first->Append(kNoSeries, kDown, 1000, 1).ok());
  REQUIRE(second->Commit().ok());
  REQUIRE(first->Commit().ok());  // Its late sample is dropped and counted.
  CHECK(db->Counters().out_of_order_samples == 1);
  const Contents expected = {{kUp.ToString(), {SampleText(2000, 2, 0)}},
                             {kDown.ToString(), {SampleText(1000, 1, 0)}}};
  CHECK(ReadAll(*db) == expected);
}

TEST_CASE_FIXTURE(DbFixture, "append: batches that are committed together") {
  auto db = MustOpen(options, clock);
  MustAppend(*db, kUp, 500, 1);
  std::vector<std::unique_ptr<Appender>> appenders;
  const auto add = [&](const Labels& labels, TimestampMs time, double value) {
    appenders.push_back(db->NewAppender());
    REQUIRE(appenders.back()->Append(kNoSeries, labels, time, value).ok());
  };
  add(kUp, 3000, 3);
  add(kUp, 2000, 2);    // Too late: the one before comes first.
  add(kUp, 3000, 3);    // There already.
  add(kUp, 3000, 4);    // Another value.
  add(kDown, 1000, 1);  // Nobody else's.
  add(kUp, 4000, 4);
  appenders.push_back(db->NewAppender());  // Empty.
  const SeriesRef up = *appenders.back()->Append(kNoSeries, kUp, 500, 1);
  appenders.push_back(db->NewAppender());
  REQUIRE(appenders.back()->Append(up, Labels(), 5000, 5).ok());
  REQUIRE(appenders.back()->AppendExemplar(up, Labels(), {Labels(), 5, 5000, true}).ok());
  std::vector<Appender*> all;
  for (const auto& appender : appenders) all.push_back(appender.get());
  const std::vector<absl::Status> statuses = db->CommitAll(all);
  REQUIRE(statuses.size() == all.size());
  for (const absl::Status& status : statuses) CHECK(status.ok());
  CHECK(db->Counters().out_of_order_samples == 1);
  CHECK(db->Counters().duplicate_samples == 1);
  const Contents expected = {{kUp.ToString(),
                              {SampleText(500, 1, 0), SampleText(3000, 3, 0),
                               SampleText(4000, 4, 0), SampleText(5000, 5, 0)}},
                             {kDown.ToString(), {SampleText(1000, 1, 0)}}};
  CHECK(ReadAll(*db) == expected);
  const auto exemplars = db->SelectExemplars(0, kBegin, {{Matcher::Equal("job", "x")}});
  CHECK(exemplars->size() == 1);
  appenders.clear();
  db.reset();
  db = MustOpen(options, clock);
  CHECK(ReadAll(*db) == expected);
}

TEST_CASE_FIXTURE(DbFixture,
                  "append: nothing of a batch is there before Commit or after Rollback") {
  auto db = MustOpen(options, clock);
  {
    const auto appender = db->NewAppender();
    REQUIRE(appender->Append(kNoSeries, kUp, 1000, 1).ok());
    CHECK(ReadAll(*db).empty());
    appender->Rollback();
    CHECK(ReadAll(*db).empty());
  }
  { REQUIRE(db->NewAppender()->Append(kNoSeries, kUp, 1000, 1).ok()); }
  CHECK(ReadAll(*db).empty());
  CHECK(db->Counters().active_appenders == 0);
  MustAppend(*db, kUp, 500, 1);
  CHECK(ReadAll(*db).size() == 1);
}

TEST_CASE_FIXTURE(DbFixture, "append: a ref is found again, an unknown one falls back to labels") {
  auto db = MustOpen(options, clock);
  const auto appender = db->NewAppender();
  const auto ref = appender->Append(kNoSeries, kUp, 1000, 1);
  REQUIRE(ref.ok());
  CHECK(*appender->Append(*ref, kUp, 2000, 2) == *ref);
  CHECK(*appender->Append(SeriesRef{12345}, kUp, 3000, 3) == *ref);
  REQUIRE(appender->Commit().ok());
  CHECK(ReadAll(*db)[kUp.ToString()].size() == 3);
  CHECK(db->Head().series == 1);
}

TEST_CASE_FIXTURE(DbFixture, "append: a ref needs no labels, also for a series no log has named") {
  auto db = MustOpen(options, clock);
  SeriesRef ref = kNoSeries;
  {
    const auto rolled_back = db->NewAppender();
    ref = *rolled_back->Append(kNoSeries, kUp, 1000, 1);
    CHECK(absl::IsNotFound(rolled_back->Append(SeriesRef{12345}, Labels(), 1000, 1).status()));
    CHECK(AppendErrorOf(rolled_back->Append(kNoSeries, Labels(), 1000, 1).status()) ==
          AppendError::kInvalidLabels);
    rolled_back->Rollback();
  }
  {
    const auto appender = db->NewAppender();
    REQUIRE(*appender->Append(ref, Labels(), 2000, 2) == ref);
    REQUIRE(appender->Commit().ok());
  }
  CHECK(ReadAll(*db)[kUp.ToString()].size() == 1);
  db.reset();
  db = MustOpen(options, clock);
  CHECK(ReadAll(*db)[kUp.ToString()].size() == 1);
}

TEST_CASE_FIXTURE(DbFixture, "append: the limit of series") {
  options.series_max = 2;
  auto db = MustOpen(options, clock);
  MustAppend(*db, Labels::Of({{"a", "1"}}), 1000, 1);
  MustAppend(*db, Labels::Of({{"a", "2"}}), 1000, 1);
  CHECK(TryAppend(*db, Labels::Of({{"a", "3"}}), 1000, 1) == AppendError::kLimit);
  CHECK(TryAppend(*db, Labels::Of({{"a", "1"}}), 2000, 1) == AppendError::kNone);
}

TEST_CASE_FIXTURE(DbFixture, "append: short of memory, new series are refused, then everything") {
  MemoryBudget budget(64 << 20);
  options.memory = &budget;
  auto db = MustOpen(options, clock);
  MustAppend(*db, Labels::Of({{"a", "1"}}), 1000, 1);
  // The parts of the storage stay below a MiB here.
  budget.Add(MemoryPart::kFolding, 63 << 20);
  CHECK(TryAppend(*db, Labels::Of({{"a", "2"}}), 1000, 1) == AppendError::kNone);
  budget.Add(MemoryPart::kFolding, 8 << 20);  // 111 % of the limit.
  CHECK(TryAppend(*db, Labels::Of({{"a", "3"}}), 1000, 1) == AppendError::kLimit);
  CHECK(TryAppend(*db, Labels::Of({{"a", "1"}}), 2000, 1) == AppendError::kNone);
  CHECK(budget.refused(MemoryUse::kNewSeries) == 1);
  budget.Add(MemoryPart::kFolding, 10 << 20);  // 126 %.
  {
    const auto appender = db->NewAppender();
    const auto refused = appender->Append(kNoSeries, Labels::Of({{"a", "1"}}), 3000, 1);
    CHECK(refused.status().code() == absl::StatusCode::kResourceExhausted);
    CHECK(AppendErrorOf(refused.status()) == AppendError::kNone);
    CHECK(!appender->Commit().ok());
  }
  CHECK(budget.refused(MemoryUse::kKnownSeries) == 1);
  budget.Subtract(MemoryPart::kFolding, 81 << 20);
  CHECK(TryAppend(*db, Labels::Of({{"a", "3"}}), 3000, 1) == AppendError::kNone);
  CHECK(TryAppend(*db, Labels::Of({{"a", "1"}}), 3000, 1) == AppendError::kNone);
  CHECK(ReadAll(*db)[Labels::Of({{"a", "1"}}).ToString()].size() == 3);
}

TEST_CASE_FIXTURE(DbFixture, "memory: the parts are accounted for, caches shrink and fill again") {
  MemoryBudget budget(64 << 20);
  options.memory = &budget;
  options.background = false;
  auto db = MustOpen(options, clock);
  REQUIRE(db->Maintain().ok());
  const uint64_t empty = budget.Of(MemoryPart::kHead);
  const std::string text(100, 'x');
  for (int i = 0; i < 1000; ++i) {
    MustAppend(*db, Labels::Of({{"a", std::to_string(i)}, {"b", text}}), 1000, i);
  }
  REQUIRE(db->Maintain().ok());
  CHECK(budget.Of(MemoryPart::kHead) >= empty + 1000 * 200);
  CHECK(budget.Of(MemoryPart::kHead) <= empty + 1000 * 1000);
  CHECK(budget.Of(MemoryPart::kWriteBuffers) > 0);
  REQUIRE(db->Seal().ok());
  CHECK(budget.Of(MemoryPart::kFolding) == 0);
  CHECK(ReadAll(*db).size() == 1000);
  REQUIRE(db->Maintain().ok());
  const uint64_t cached =
      budget.Of(MemoryPart::kBlockCache) + budget.Of(MemoryPart::kDecodedCaches);
  CHECK(cached > 0);
  CHECK(!budget.ChargeQuery(64 << 20));
  CHECK(budget.shrinks() == 1);
  REQUIRE(db->Maintain().ok());
  CHECK(ReadAll(*db).size() == 1000);
  db.reset();
  CHECK(!budget.ChargeQuery(65 << 20));  // Nobody is called any more.
}

TEST_CASE_FIXTURE(DbFixture, "histograms: stored, validated, ended by a stale histogram") {
  auto db = MustOpen(options, clock);
  std::mt19937_64 random(7);
  Histogram histogram = RandomHistogram(random);
  {
    const auto appender = db->NewAppender();
    REQUIRE(appender->AppendHistogram(kNoSeries, kUp, 1000, histogram, 900).ok());
    Histogram broken = histogram;
    broken.positive = {{{0, 3}}, {1}};
    CHECK(AppendErrorOf(appender->AppendHistogram(kNoSeries, kUp, 2000, broken).status()) ==
          AppendError::kInvalidHistogram);
    REQUIRE(appender->Commit().ok());
  }
  {
    const auto appender = db->NewAppender();
    CHECK(appender->AppendHistogram(kNoSeries, kUp, 1000, histogram).ok());
    CHECK(AppendErrorOf(
              appender->AppendHistogram(kNoSeries, kUp, 1000, Grown(histogram, random)).status()) !=
          AppendError::kOutOfOrder);
    REQUIRE(appender->Append(kNoSeries, kUp, 2000, StaleNan()).ok());
    REQUIRE(appender->Commit().ok());
  }
  Histogram stale;
  stale.sum = StaleNan();
  stale.integer_counts = histogram.integer_counts;
  const Contents expected = {
      {kUp.ToString(), {SampleText(1000, histogram, 900), SampleText(2000, stale, 0)}}};
  CHECK(ReadAll(*db) == expected);
  db.reset();
  db = MustOpen(options, clock);
  CHECK(ReadAll(*db) == expected);
}

TEST_CASE_FIXTURE(DbFixture, "start times: kept or not") {
  for (const bool kept : {true, false}) {
    CAPTURE(kept);
    options.path = dir.path() + (kept ? "/kept" : "/dropped");
    options.store_start_times = kept;
    const auto db = MustOpen(options, clock);
    const auto appender = db->NewAppender();
    const absl::StatusOr<SeriesRef> up = appender->Append(kNoSeries, kUp, kBegin, 5, kBegin - 10);
    REQUIRE(up.ok());
    REQUIRE(appender->AppendHistogram(kNoSeries, kDown, kBegin, Histogram(), kBegin - 10).ok());
    REQUIRE(appender->Commit().ok());
    const auto second = db->NewAppender();
    const std::vector<KnownSample> known = {{*up, kBegin + 1, 6, kBegin - 10}};
    absl::Status refused;
    REQUIRE(second->AppendKnown(known, refused) == 1);
    REQUIRE(second->Commit().ok());
    const TimestampMs start = kept ? kBegin - 10 : 0;
    CHECK(
        ReadAll(*db) ==
        Contents{{kUp.ToString(), {SampleText(kBegin, 5, start), SampleText(kBegin + 1, 6, start)}},
                 {kDown.ToString(), {SampleText(kBegin, Histogram(), start)}}});
  }
}

// Goal: what counted from a start time begins with a zero there, once, and only in order.
TEST_CASE_FIXTURE(DbFixture, "start times: a zero where a series starts") {
  options.store_start_times = false;
  options.zero_at_start_time = true;
  options.out_of_order_window = kHour;  // Does not let late zeros in.
  const auto db = MustOpen(options, clock);
  const auto append = [&](const Labels& labels, TimestampMs time, double value, TimestampMs start) {
    const auto appender = db->NewAppender();
    const absl::StatusOr<SeriesRef> ref = appender->Append(kNoSeries, labels, time, value, start);
    REQUIRE(ref.ok());
    REQUIRE(appender->Commit().ok());
    return *ref;
  };
  const TimestampMs edge = kBegin - options.head_window;
  append(kUp, kBegin, 5, edge);  // The first sample: nothing says how old the head is but it.
  append(kDown, kBegin, 5, edge - 1);
  const SeriesRef up = append(kUp, kBegin + 1000, 6, edge);  // Not again.
  append(kDown, kBegin + 1000, 1, kBegin);                   // A sample is there.
  append(kDown, kBegin + 3000, 2, kBegin + 1001);            // It started anew.
  append(kDown, kBegin + 4000, 3, kBegin + 4000);            // Starts with its sample,
  append(kDown, kBegin + 5000, 4, kBegin + 6000);            // or after it.
  CHECK(db->Counters().duplicate_samples == 0);
  CHECK(db->Counters().out_of_order_samples_appended == 0);
  // The quick way takes it into account, too.
  const auto appender = db->NewAppender();
  const std::vector<KnownSample> known = {{up, kBegin + 8000, 7, edge},
                                          {up, kBegin + 9000, 1, kBegin + 8500}};
  absl::Status refused;
  REQUIRE(appender->AppendKnown(known, refused) == 2);
  REQUIRE(appender->Commit().ok());
  CHECK(ReadAll(*db) ==
        Contents{{kUp.ToString(),
                  {SampleText(edge, 0, 0), SampleText(kBegin, 5, 0),
                   SampleText(kBegin + 1000, 6, 0), SampleText(kBegin + 8000, 7, 0),
                   SampleText(kBegin + 8500, 0, 0), SampleText(kBegin + 9000, 1, 0)}},
                 {kDown.ToString(),
                  {SampleText(kBegin, 5, 0), SampleText(kBegin + 1000, 1, 0),
                   SampleText(kBegin + 1001, 0, 0), SampleText(kBegin + 3000, 2, 0),
                   SampleText(kBegin + 4000, 3, 0), SampleText(kBegin + 5000, 4, 0)}}});
}

TEST_CASE_FIXTURE(DbFixture, "start times: a histogram without observations") {
  options.zero_at_start_time = true;
  const auto db = MustOpen(options, clock);
  std::mt19937_64 random(7);
  for (const bool custom : {false, true}) {
    CAPTURE(custom);
    Histogram histogram = RandomHistogram(random);
    while (histogram.HasCustomBuckets() != custom) histogram = RandomHistogram(random);
    const Labels labels = Labels::Of({{"__name__", custom ? "custom" : "exponential"}});
    const auto appender = db->NewAppender();
    REQUIRE(appender->AppendHistogram(kNoSeries, labels, kBegin, histogram, kBegin - 5).ok());
    REQUIRE(appender->Commit().ok());
    Histogram zero;
    zero.integer_counts = histogram.integer_counts;
    zero.reset_hint = ResetHint::kReset;
    zero.schema = histogram.schema;
    zero.zero_threshold = histogram.zero_threshold;
    zero.custom_bounds = histogram.custom_bounds;
    CHECK(ReadAll(*db)[labels.ToString()] ==
          std::vector<std::string>{SampleText(kBegin - 5, zero, 0),
                                   SampleText(kBegin, histogram, kBegin - 5)});
  }
}

TEST_CASE_FIXTURE(DbFixture, "a day of samples: chunks are cut and everything reads back") {
  options.log_epoch_bytes = 1 << 20;
  auto db = MustOpen(options, clock);
  std::map<std::string, std::vector<std::string>> expected;
  SeriesRef refs[3] = {};
  const Labels labels[3] = {kUp, kDown, Labels::Of({{"__name__", "starts"}})};
  std::mt19937_64 random(3);
  for (TimestampMs time = kBegin - kDay; time < kBegin; time += 15 * kSecond) {
    const auto appender = db->NewAppender();
    for (int i = 0; i < 3; ++i) {
      const TimestampMs start = i == 2 ? time / kHour * kHour : 0;
      const double value = RandomValue(random);
      const auto ref = appender->Append(refs[i], labels[i], time, value, start);
      REQUIRE(ref.ok());
      refs[i] = *ref;
      expected[labels[i].ToString()].push_back(SampleText(time, value, start));
    }
    REQUIRE(appender->Commit().ok());
    if (time % kHour == 0) REQUIRE(db->Maintain().ok());
  }
  CHECK(ReadAll(*db) == expected);

  // Any part of it.
  for (int i = 0; i < 20; ++i) {
    const TimestampMs min = kBegin - kDay + static_cast<TimestampMs>(random() % kDay);
    const TimestampMs max = min + static_cast<TimestampMs>(random() % (6 * kHour));
    const Contents part = ReadAll(*db, min, max);
    const std::vector<std::string>& whole = expected[kUp.ToString()];
    std::vector<std::string> wanted;
    for (const std::string& text : whole) {
      const TimestampMs time = std::stoll(text);
      if (time >= min && time <= max) wanted.push_back(text);
    }
    REQUIRE(part.contains(kUp.ToString()));
    CHECK(part.at(kUp.ToString()) == wanted);
  }
  CHECK(ReadAll(*db, 0, kBegin - kDay - 1).empty());
  CHECK(ReadAll(*db, kBegin, kBegin + kDay).empty());

  REQUIRE(db->Close().ok());
  db.reset();
  db = MustOpen(options, clock);
  CHECK(db->replayed_records() == 0);
  CHECK(ReadAll(*db) == expected);
  CHECK(ReadAll(*db, 0, kBegin - kDay - 1).empty());
}

TEST_CASE_FIXTURE(DbFixture, "a series set is a view of the moment it was made") {
  auto db = MustOpen(options, clock);
  MustAppend(*db, kUp, 1000, 1);
  const auto querier = db->OpenQuerier(kMinTimestamp, kMaxTimestamp);
  const auto set = (*querier)->Select({}, {});
  REQUIRE(set.ok());
  for (int i = 2; i < 300; ++i) MustAppend(*db, kUp, i * 1000, i);
  SeriesSamples samples;
  REQUIRE((*set)->Read(0, kMinTimestamp, kMaxTimestamp, samples).ok());
  CHECK(SampleTexts(samples) == std::vector<std::string>{SampleText(1000, 1, 0)});
  // It survives the storage it came from.
  REQUIRE(db->Close().ok());
  db.reset();
  REQUIRE((*set)->Read(0, kMinTimestamp, kMaxTimestamp, samples).ok());
  CHECK(samples.times.size() == 1);
}

TEST_CASE_FIXTURE(DbFixture, "selection: sorted, limited, labels by matcher") {
  auto db = MustOpen(options, clock);
  for (const char* job : {"c", "a", "b"}) {
    MustAppend(*db, Labels::Of({{"__name__", "up"}, {"job", job}}), 1000, 1);
  }
  MustAppend(*db, Labels::Of({{"__name__", "old"}, {"zone", "z"}}), 500, 1);
  const auto querier = *db->OpenQuerier(900, 2000);
  const auto set = querier->Select({Matcher::Equal("__name__", "up")}, {.limit = 2});
  REQUIRE(set.ok());
  REQUIRE((*set)->size() == 2);
  CHECK((*set)->labels(0).Get("job") == "a");
  CHECK((*set)->labels(1).Get("job") == "b");
  using Texts = std::vector<std::string>;
  CHECK(querier->LabelNames({}, 0)->texts == Texts{"__name__", "job"});
  CHECK(querier->LabelValues("job", {}, 2)->texts == Texts{"a", "b"});
  CHECK(querier->LabelValues("job", {}, 2)->truncated);
  CHECK(querier->LabelValues("job", {{Matcher::Equal("job", "c")}, {Matcher::Equal("job", "a")}}, 0)
            ->texts == Texts{"a", "c"});
  CHECK(querier->LabelNames({{Matcher::Equal("__name__", "old")}}, 0)->texts.empty());
  CHECK((*db->OpenQuerier(0, 600))->LabelNames({}, 0)->texts == Texts{"__name__", "zone"});
  // What is deleted does not take the place of what is left.
  REQUIRE(db->DeleteSeries({{Matcher::Equal("job", "a")}}, 0, 2000).ok());
  const auto rest = querier->Select({Matcher::Equal("__name__", "up")}, {.limit = 2});
  REQUIRE(rest.ok());
  REQUIRE((*rest)->size() == 2);
  CHECK((*rest)->labels(1).Get("job") == "c");
}

TEST_CASE_FIXTURE(DbFixture, "exemplars: order, duplicates, limits, restart") {
  options.exemplars_max = 3;
  auto db = MustOpen(options, clock);
  MustAppend(*db, kUp, 1000, 1);
  const auto add = [&](TimestampMs time, double value, std::string_view text) {
    const auto appender = db->NewAppender();
    const absl::Status status = appender->AppendExemplar(
        kNoSeries, kUp, {Labels::Of({{"trace", text}}), value, time, true});
    if (!status.ok()) return AppendErrorOf(status);
    REQUIRE(appender->Commit().ok());
    return AppendError::kNone;
  };
  const auto values = [&] {
    std::vector<double> result;
    const auto selected = db->SelectExemplars(0, kBegin, {{Matcher::Equal("job", "x")}});
    REQUIRE(selected.ok());
    for (const SeriesExemplars& series : *selected) {
      CHECK(series.series == kUp);
      for (const Exemplar& exemplar : series.exemplars) result.push_back(exemplar.value);
    }
    return result;
  };
  CHECK(add(1000, 1, "a") == AppendError::kNone);
  CHECK(add(1000, 1, "a") == AppendError::kNone);  // Again: ignored.
  CHECK(add(900, 1, "a") == AppendError::kOutOfOrderExemplar);
  CHECK(add(2000, 2, std::string(124, 'x')) == AppendError::kInvalidLabels);
  CHECK(add(2000, 2, std::string(123, 'x')) == AppendError::kNone);
  CHECK(values() == std::vector<double>{1, 2});
  CHECK(add(3000, 3, "c") == AppendError::kNone);
  CHECK(add(4000, 4, "d") == AppendError::kNone);
  CHECK(values() == std::vector<double>{2, 3, 4});
  db.reset();
  db = MustOpen(options, clock);
  CHECK(values() == std::vector<double>{2, 3, 4});
  CHECK(db->SelectExemplars(3000, 3000, {{Matcher::Equal("job", "x")}})->size() == 1);
  CHECK(db->SelectExemplars(0, kBegin, {{Matcher::Equal("job", "y")}})->empty());
  const auto appender = db->NewAppender();
  CHECK_FALSE(appender->AppendExemplar(kNoSeries, kDown, {Labels(), 1, 1, true}).ok());
}

TEST_CASE_FIXTURE(DbFixture, "a commit after Close fails and says so") {
  auto db = MustOpen(options, clock);
  const auto appender = db->NewAppender();
  REQUIRE(appender->Append(kNoSeries, kUp, 1000, 1).ok());
  REQUIRE(db->Close().ok());
  CHECK(appender->Commit().code() == absl::StatusCode::kFailedPrecondition);
  CHECK(db->Close().ok());
}

TEST_CASE_FIXTURE(DbFixture, "open: a locked directory") {
  auto db = MustOpen(options, clock);
  const auto second = Db::Open(options, clock);
  CHECK(absl::IsUnavailable(second.status()));
  CHECK(second.status().ToString().find("in use by another process") != std::string::npos);
}

TEST_CASE_FIXTURE(DbFixture, "open: a path that is a file") {
  options.path = dir.path() + "/file";
  std::ofstream(options.path) << "x";
  const auto opened = Db::Open(options, clock);
  CHECK(absl::IsPermissionDenied(opened.status()));
  CHECK(opened.status().ToString().find(options.path) != std::string::npos);
}

TEST_CASE_FIXTURE(
    DbFixture,
    "open: a newer format is refused by name and left alone, an older one becomes the newest") {
  MustOpen(options, clock).reset();
  const std::string path = dir.path() + "/varve";
  // Sets the version if it is not 0; returns the one before.
  const auto exchange_version = [&](uint64_t version) {
    std::vector<std::string> names;
    REQUIRE(rocksdb::DB::ListColumnFamilies({}, path, &names).ok());
    std::vector<rocksdb::ColumnFamilyDescriptor> descriptors;
    for (const std::string& name : names)
      descriptors.emplace_back(name, rocksdb::ColumnFamilyOptions());
    std::vector<rocksdb::ColumnFamilyHandle*> handles;
    rocksdb::DB* raw = nullptr;
    REQUIRE(rocksdb::DB::Open({}, path, descriptors, &handles, &raw).ok());
    const std::string key(kFormatVersionKey);
    std::string before;
    for (rocksdb::ColumnFamilyHandle* handle : handles) {
      if (handle->GetName() == kMetaFamily) {
        REQUIRE(raw->Get({}, handle, key, &before).ok());
        if (version != 0) REQUIRE(raw->Put({}, handle, key, EncodeVarintValue(version)).ok());
      }
      REQUIRE(raw->DestroyColumnFamilyHandle(handle).ok());
    }
    delete raw;
    return DecodeVarintValue(before, "format version").value();
  };
  CHECK(exchange_version(kFormatVersion + 1) == kFormatVersion);
  const auto opened = Db::Open(options, clock);
  CHECK(opened.status().code() == absl::StatusCode::kFailedPrecondition);
  CHECK(opened.status().ToString().find(fmt::format("format version {}", kFormatVersion + 1)) !=
        std::string::npos);
  exchange_version(kFormatVersion);
  CHECK(Db::Open(options, clock).ok());
  // One from before is read, and then is of now: what is written to it may be.
  exchange_version(1);
  CHECK(Db::Open(options, clock).ok());
  CHECK(exchange_version(0) == kFormatVersion);
}

TEST_CASE_FIXTURE(DbFixture, "open: Prometheus' data is named and left untouched") {
  const fs::path block = fs::path(dir.path()) / "01HZX5Q9G4Y8N3J2K1M0P7R6TV";
  fs::create_directories(block);
  fs::create_directories(fs::path(dir.path()) / "wal");
  std::ofstream(block / "meta.json") << "{}";
  std::ofstream(fs::path(dir.path()) / "wal" / "00000001") << "x";
  auto db = MustOpen(options, clock);
  CHECK(db->foreign_data().find(dir.path()) != std::string::npos);
  CHECK(db->foreign_data().find("1 blocks") != std::string::npos);
  MustAppend(*db, kUp, 1000, 1);
  db.reset();
  CHECK(fs::file_size(block / "meta.json") == 2);
  CHECK(fs::file_size(fs::path(dir.path()) / "wal" / "00000001") == 1);
  db = MustOpen(options, clock);
  CHECK(ReadAll(*db).size() == 1);
}

TEST_CASE_FIXTURE(DbFixture, "head time stored too far in the future does not keep today out") {
  options.lookahead_limit = 0;
  auto db = MustOpen(options, clock);
  MustAppend(*db, kUp, kBegin + 365 * kDay, 1);
  CHECK(TryAppend(*db, kDown, kBegin, 1) == AppendError::kOutOfBounds);
  db.reset();
  options.lookahead_limit = 10 * kMinute;
  db = MustOpen(options, clock);
  CHECK(TryAppend(*db, kDown, kBegin, 1) == AppendError::kNone);
}

TEST_CASE_FIXTURE(DbFixture, "statistics") {
  auto db = MustOpen(options, clock);
  CHECK(db->Head().min_time == kMaxTimestamp);
  MustAppend(*db, kUp, 1000, 1);
  MustAppend(*db, kDown, 2000, 1);
  const CardinalityStats stats = db->Cardinality(10);
  CHECK(stats.head.series == 2);
  CHECK(stats.head.chunks == 2);
  CHECK(stats.head.min_time == 1000);
  CHECK(stats.head.max_time == 2000);
  CHECK(stats.head.label_pairs == 3);
  CHECK(stats.series_by_pair[0].name == "job=x");
  CHECK(db->Counters().series_created == 2);
  CHECK(db->Counters().disk_bytes > 0);
  CHECK(db->Counters().log_bytes > 0);
}

}  // namespace
}  // namespace varve
