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
constexpr DurationMs kStep = 5 * kMinute;  // Between samples.

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
    for (DurationMs passed = kStep; passed <= duration; passed += kStep) {
      clock.Advance(kStep);
      REQUIRE(Append(db));
      if (passed % kHour == 0) REQUIRE(db.Maintain().ok());
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
  CHECK(ReadAll(*db, before + kYear, kMaxTimestamp).begin()->second.size() == 6);

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
  AppendFor(*db, 55 * kMinute);
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

TEST_CASE_FIXTURE(ClockFixture, "old samples of a short run say nothing of the clock") {
  options.retention = kDay;
  options.hot_epoch = kHour;
  const Labels labels = Series(1);
  const auto append = [&](Db& db, TimestampMs time) {
    const auto appender = db.NewAppender();
    REQUIRE(appender->Append(kNoSeries, labels, time, 1).ok());
    REQUIRE(appender->Commit().ok());
  };
  TimestampMs time = kBegin - kYear;
  append(*MustOpen(options, clock), time);  // Ends before any maintenance.
  const auto db = MustOpen(options, clock);
  for (int i = 0; i < 24 * 5; ++i) {
    time += kHour / 2;
    append(*db, time);
    clock.Advance(10 * kSecond);
    REQUIRE(db->Maintain().ok());
  }
  CHECK(db->Counters().buckets_dropped_by_retention > 0);
}

struct WrongAtRestartFixture : ClockFixture {
  TimestampMs before = 0;  // When the clock was set wrong.
  std::unique_ptr<Db> db;

  // A day of samples, then restarts with a clock that is a year ahead.
  WrongAtRestartFixture() {
    options.retention = 2 * kDay;
    options.hot_epoch = kHour;
    db = MustOpen(options, clock);
    AppendFor(*db, kDay);
    before = clock.Now();
    db.reset();
    clock.Set(before + kYear);
    // Newest samples of the future are no reason to believe in it.
    for (int restart = 0; restart < 3; ++restart) {
      db = MustOpen(options, clock);
      AppendFor(*db, 15 * kMinute);
      REQUIRE(db->Maintain().ok());
      CHECK(db->Counters().buckets_dropped_by_retention == 0);
      db.reset();
    }
  }
};

TEST_CASE_FIXTURE(WrongAtRestartFixture, "restarts while the clock is wrong delete nothing") {
  clock.Set(before + kHour);
  db = MustOpen(options, clock);
  AppendFor(*db, 2 * kHour);
  CHECK(db->Counters().buckets_dropped_by_retention == 0);
  CHECK(ReadAll(*db) == Sorted());
}

TEST_CASE_FIXTURE(WrongAtRestartFixture, "a clock that is ahead for an hour in all is right") {
  db = MustOpen(options, clock);
  CHECK_FALSE(ReadAll(*db, kMinTimestamp, before).empty());
  AppendFor(*db, 3 * kHour);  // What is in one family with samples of the future is folded first.
  CHECK(ReadAll(*db, kMinTimestamp, before).empty());
  CHECK(ReadAll(*db, before + kYear, kMaxTimestamp).size() == 5);
}

TEST_CASE("retention's clock: what a restart must know") {
  constexpr TimestampMs kStart = kBegin;
  const auto restarted = [](const RetentionClock& clock, int64_t at_ms, int64_t now_ms) {
    const auto state = RetentionClock::Decode(clock.Encode(at_ms));
    REQUIRE(state.has_value());
    return RetentionClock(*state, now_ms);
  };
  RetentionClock first({.believed = kStart}, 0);
  CHECK(first.Now(kStart + 7, 7) == kStart + 7);
  // Time that passed unseen is a jump if it was an hour and more.
  RetentionClock second = restarted(first, 7, 1000);
  CHECK(second.Now(kStart + 7 + kHour, 1000) == kStart + 7 + kHour);
  second = restarted(first, 7, 1000);
  CHECK(second.Now(kStart + 8 + kHour, 1000) == kStart + 7);
  // How long a jump has lasted goes on where it was.
  CHECK(second.Now(kStart + kDay, 1000 + 40 * kMinute) == kStart + 7 + 40 * kMinute);
  RetentionClock third = restarted(second, 1000 + 40 * kMinute, 5);
  CHECK(third.Now(kStart + kDay, 5 + 20 * kMinute - 1) == kStart + 7 + kHour - 1);
  CHECK(third.Now(kStart + kDay, 5 + 20 * kMinute) == kStart + kDay);

  for (const std::string& bytes : {std::string(), std::string("\x80"), std::string("ab\x01"),
                                   std::string(10, '\xff') + "\x01"}) {
    CHECK_FALSE(RetentionClock::Decode(bytes).has_value());
  }
}

TEST_CASE("retention's clock: a jump counts after an hour") {
  constexpr TimestampMs kStart = kBegin;
  const auto opened = [](TimestampMs newest, TimestampMs wall) {
    return RetentionClock(RetentionClock::StateOf(newest, wall), 0);
  };
  RetentionClock clock = opened(kMinTimestamp, kStart);
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

  // Without a state the newest sample says what was believed.
  RetentionClock restarted = opened(kStart, kStart + 9 * kDay);
  CHECK(restarted.Now(kStart + 9 * kDay, 0) == kStart);
  CHECK(restarted.Now(kStart + 9 * kDay + kHour, kHour) == kStart + 9 * kDay + kHour);
  CHECK(opened(kStart + kHour, kStart).Now(kStart, 0) == kStart);
}

}  // namespace
}  // namespace varve
