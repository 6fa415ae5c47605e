// SPDX-License-Identifier: Apache-2.0
//
// A clock that is wrong for a while, ahead or behind: afterwards samples are accepted and found as
// ever, what was stored meanwhile stays where it was put, and retention deletes nothing for it.
#include <doctest/doctest.h>

#include "tests/tsdb/test_values.h"
#include "tsdb/db.h"
#include "tsdb/retention_clock.h"

namespace varve {
namespace {

constexpr DurationMs kYear = 365 * kDay;

struct ClockFixture {
  TempDir dir;
  ManualClock clock{kBegin};
  DbOptions options{.path = dir.path(), .retention = 0, .background = false};
  Contents expected;

  static Labels Series(int i) { return Labels::Of({{"__name__", "m"}, {"i", std::to_string(i)}}); }

  // A sample of each series now, one of them a histogram; whether all were accepted.
  bool Append(Db& db) {
    const auto appender = db.NewAppender();
    Histogram histogram;
    histogram.count = 1;
    histogram.zero_count = 1;
    histogram.sum = static_cast<double>(clock.Now() % 1000);
    for (int i = 0; i < 5; ++i) {
      const auto ref = i == 0
                           ? appender->AppendHistogram(kNoSeries, Series(i), clock.Now(), histogram)
                           : appender->Append(kNoSeries, Series(i), clock.Now(), i);
      if (!ref.ok()) return false;
    }
    if (!appender->Commit().ok()) return false;
    for (int i = 0; i < 5; ++i) {
      expected[Series(i).ToString()].push_back(i == 0 ? SampleText(clock.Now(), histogram, 0)
                                                      : SampleText(clock.Now(), i, 0));
    }
    return true;
  }

  void AppendFor(Db& db, DurationMs duration) {
    for (DurationMs passed = 0; passed < duration; passed += kMinute) {
      clock.Advance(kMinute);
      REQUIRE(Append(db));
      if (passed % (30 * kMinute) == 0) REQUIRE(db.Maintain().ok());
    }
  }

  Contents Sorted() const {
    Contents sorted = expected;
    for (auto& [labels, samples] : sorted) std::sort(samples.begin(), samples.end());
    return sorted;
  }
};

TEST_CASE_FIXTURE(ClockFixture, "a clock that was ahead: appends and queries go on") {
  auto db = MustOpen(options, clock);
  AppendFor(*db, 3 * kHour);
  const TimestampMs before = clock.Now();
  const SeriesRef known = *db->NewAppender()->Append(kNoSeries, Series(1), before + 1, 1);
  clock.Set(before + kYear);
  AppendFor(*db, 30 * kMinute);
  CHECK(db->Head().max_time == clock.Now());

  SUBCASE("it goes back while the server runs") {
    clock.Set(before + 30 * kMinute);
    CHECK_FALSE(Append(*db));  // Not yet: the series' newest samples are ahead.
    REQUIRE(db->Maintain().ok());
  }
  SUBCASE("and the server is started again") {
    clock.Set(before + 30 * kMinute);
    db.reset();
    db = MustOpen(options, clock);
  }
  SUBCASE("with a head that was checkpointed") {
    REQUIRE(db->Checkpoint().ok());
    clock.Set(before + 30 * kMinute);
    db.reset();
    db = MustOpen(options, clock);
  }
  CHECK(db->Head().max_time <= clock.Now());
  // A ref from before is unknown now, so that callers ask again by labels.
  CHECK(absl::IsNotFound(db->NewAppender()->Append(known, Labels(), clock.Now(), 1).status()));
  AppendFor(*db, 5 * kHour);
  CHECK(db->Head().max_time == clock.Now());
  CHECK(ReadAll(*db) == Sorted());
  // What came after the step back is judged as ever.
  CHECK(TryAppend(*db, Series(1), clock.Now() - kMinute, 3) == AppendError::kOutOfOrder);
  CHECK(TryAppend(*db, Series(1), clock.Now() - 2 * kHour, 3) == AppendError::kOutOfBounds);
  CHECK(TryAppend(*db, Series(1), clock.Now() + 11 * kMinute, 3) == AppendError::kOutOfBounds);
  // The series of the future have left memory, folded as others are.
  CHECK(db->Stored().generations >= 2);
  CHECK(db->Head().series == 5);
  CHECK(ReadAll(*db, before + kYear, kMaxTimestamp).begin()->second.size() == 30);

  db.reset();
  db = MustOpen(options, clock);
  CHECK(ReadAll(*db) == Sorted());
  AppendFor(*db, kHour);
  REQUIRE(db->Seal().ok());
  CHECK(ReadAll(*db) == Sorted());
}

TEST_CASE_FIXTURE(ClockFixture, "a clock that was behind: appends go on, before and after") {
  auto db = MustOpen(options, clock);
  AppendFor(*db, 3 * kHour);
  const TimestampMs before = clock.Now();
  // A little is waited out, as in Prometheus.
  clock.Set(before - 5 * kMinute);
  REQUIRE(db->Maintain().ok());
  CHECK(TryAppend(*db, Series(1), clock.Now(), 3) == AppendError::kOutOfOrder);
  clock.Set(before - kDay);
  REQUIRE(db->Maintain().ok());
  AppendFor(*db, kHour);
  clock.Set(before + kHour);
  AppendFor(*db, 3 * kHour);
  CHECK(ReadAll(*db) == Sorted());
  db.reset();
  db = MustOpen(options, clock);
  CHECK(ReadAll(*db) == Sorted());
  REQUIRE(db->Seal().ok());
  CHECK(ReadAll(*db) == Sorted());
}

TEST_CASE_FIXTURE(ClockFixture, "series of the future are found by labels and can be deleted") {
  auto db = MustOpen(options, clock);
  AppendFor(*db, 10 * kMinute);
  clock.Set(kBegin + kYear);
  AppendFor(*db, 10 * kMinute);
  clock.Set(kBegin + kHour);
  REQUIRE(db->Maintain().ok());
  AppendFor(*db, 10 * kMinute);
  REQUIRE(db->DeleteSeries({{Matcher::Equal("i", "2")}}, kBegin + kHour, kMaxTimestamp).ok());
  std::erase_if(expected[Series(2).ToString()],
                [](const std::string& text) { return std::stoll(text) >= kBegin + kHour; });
  CHECK(ReadAll(*db) == Sorted());
  REQUIRE(db->CleanTombstones().ok());
  CHECK(ReadAll(*db) == Sorted());
  AppendFor(*db, 10 * kMinute);
  CHECK(ReadAll(*db) == Sorted());
}

TEST_CASE_FIXTURE(ClockFixture, "a clock that is wrong for a while deletes nothing") {
  options.retention = 2 * kDay;
  options.hot_epoch = kHour;
  auto db = MustOpen(options, clock);
  AppendFor(*db, kDay);
  const TimestampMs before = clock.Now();
  clock.Set(before + kYear);
  AppendFor(*db, 58 * kMinute);
  REQUIRE(db->Maintain().ok());
  CHECK(db->Counters().buckets_dropped_by_retention == 0);
  clock.Set(before + kHour);
  REQUIRE(db->Maintain().ok());
  AppendFor(*db, 3 * kHour);
  CHECK(db->Counters().buckets_dropped_by_retention == 0);
  CHECK(ReadAll(*db) == Sorted());
  // Time that passes does delete.
  AppendFor(*db, 3 * kDay);
  CHECK(db->Counters().buckets_dropped_by_retention > 0);
  CHECK(ReadAll(*db, before, clock.Now() - 2 * kDay - kDay).empty());
  // So does a jump that lasts.
  clock.Set(clock.Now() + kYear);
  AppendFor(*db, 4 * kHour);
  CHECK(ReadAll(*db, kMinTimestamp, clock.Now() - kDay).empty());
}

TEST_CASE("retention's clock: a jump counts after an hour") {
  constexpr TimestampMs kStart = kBegin;
  RetentionClock clock(kMinTimestamp, kStart, 0);
  CHECK(clock.Now(kStart + 5, 5) == kStart + 5);
  // At the limit of a jump, and past it.
  CHECK(clock.Now(kStart + 10 + kHour, 10) == kStart + 10 + kHour);
  CHECK(clock.Now(kStart + 21 + 2 * kHour, 20) == kStart + 20 + kHour);
  CHECK(clock.Now(kStart + kDay, 19 + kHour) == kStart + 19 + 2 * kHour);
  CHECK(clock.Now(kStart + kDay, 20 + kHour) == kStart + kDay);
  // One that ends before does not count, and the next one has an hour of its own.
  CHECK(clock.Now(kStart + 9 * kDay, 30 + kHour) == kStart + kDay + 10);
  CHECK(clock.Now(kStart + kDay, 40 + kHour) == kStart + kDay);
  CHECK(clock.Now(kStart + 9 * kDay, 39 + 2 * kHour) == kStart + kDay + kHour - 1);
  // Back it goes at once.
  CHECK(clock.Now(kStart, 50 + 2 * kHour) == kStart);

  // After a start the newest sample says what was believed.
  RetentionClock restarted(kStart, kStart + 9 * kDay, 0);
  CHECK(restarted.Now(kStart + 9 * kDay, 0) == kStart);
  CHECK(restarted.Now(kStart + 9 * kDay + kHour, kHour) == kStart + 9 * kDay + kHour);
  CHECK(RetentionClock(kStart + kHour, kStart, 0).Now(kStart, 0) == kStart);
}

}  // namespace
}  // namespace varve
