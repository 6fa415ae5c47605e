// SPDX-License-Identifier: Apache-2.0
//
// Old samples go with whole files, series without samples leave memory, ids are never reused.
#include <doctest/doctest.h>

#include <filesystem>

#include "tests/tsdb/test_values.h"
#include "tsdb/db.h"

namespace varve {
namespace {

struct RetentionFixture {
  TempDir dir;
  ManualClock clock{kBegin};
  DbOptions options{.path = dir.path(), .retention = kHour, .background = false};

  // One sample of `series` series every 15 s for `duration` of the clock, with maintenance.
  void Run(Db& db, DurationMs duration, const std::string& generation, int series = 200) {
    for (DurationMs passed = 0; passed < duration; passed += 15 * kSecond) {
      clock.Advance(15 * kSecond);
      const auto appender = db.NewAppender();
      for (int i = 0; i < series; ++i) {
        REQUIRE(appender
                    ->Append(kNoSeries,
                             Labels::Of({{"generation", generation}, {"i", std::to_string(i)}}),
                             clock.Now(), static_cast<double>(random() % 1000))
                    .ok());
      }
      REQUIRE(appender->Commit().ok());
      if (passed % (5 * kMinute) == 0) REQUIRE(db.Maintain().ok());
    }
  }

  uint64_t TableBytes() const {
    uint64_t bytes = 0;
    for (const auto& file : std::filesystem::directory_iterator(dir.path() + "/varve")) {
      if (file.path().extension() == ".sst") bytes += file.file_size();
    }
    return bytes;
  }

  std::mt19937_64 random{5};
};

TEST_CASE_FIXTURE(RetentionFixture, "an hour's retention deletes files") {
  auto db = MustOpen(options, clock);
  Run(*db, 2 * kHour, "a");
  const uint64_t before = TableBytes();
  Run(*db, 6 * kHour, "a");
  const StorageCounters counters = db->Counters();
  CHECK(counters.buckets_dropped_by_retention >= 4);
  // Four times the data went in; what is there did not grow.
  CHECK(TableBytes() < 2 * before);
  const Contents contents = ReadAll(*db);
  REQUIRE(contents.size() == 200);
  const TimestampMs oldest = std::stoll(contents.begin()->second.front());
  CHECK(oldest < clock.Now() - kHour);
  CHECK(oldest > clock.Now() - 4 * kHour);
  CHECK(db->Head().min_time > clock.Now() - 4 * kHour);
  // What was within the retention is complete.
  const Contents recent = ReadAll(*db, clock.Now() - kHour, clock.Now());
  for (const auto& [labels, samples] : recent) CHECK(samples.size() == 241);
  db.reset();
  db = MustOpen(options, clock);
  CHECK(ReadAll(*db) == contents);
}

TEST_CASE_FIXTURE(RetentionFixture, "a series that misses samples is folded before it leaves") {
  options.retention = 0;
  options.hot_epoch = 15 * kMinute;
  auto db = MustOpen(options, clock);
  int minute = 0;
  Contents expected;
  const auto append = [&](const std::string& name) {
    const Labels labels = Labels::Of({{"__name__", name}});
    MustAppend(*db, labels, clock.Now(), minute);
    expected[labels.ToString()].push_back(SampleText(clock.Now(), minute, 0));
  };
  // Time passes; returns how many chunks are open then.
  const auto chunks_at = [&](int then) {
    while (minute < then) {
      ++minute;
      clock.Advance(kMinute);
      append("always");
    }
    REQUIRE(db->Maintain().ok());
    REQUIRE(db->Maintain().ok());  // A series must have been quiet before, too.
    return db->Head().chunks;
  };
  const Labels histogram = Labels::Of({{"__name__", "histogram"}});
  for (int i = 1; i <= 50; ++i) {
    CHECK(chunks_at(i) > 0);
    append("minutely");
    if (i % 5 == 0) append("five_minutely");
    if (i % 2 == 0) {
      Histogram value;
      value.sum = i;
      const auto appender = db->NewAppender();
      REQUIRE(appender->AppendHistogram(kNoSeries, histogram, clock.Now(), value).ok());
      REQUIRE(appender->Commit().ok());
      expected[histogram.ToString()].push_back(SampleText(clock.Now(), value, 0));
    }
  }
  append("once");
  // At ten minutes and past them, at four samples, at half an hour.
  CHECK(chunks_at(60) == 5);
  CHECK(chunks_at(61) == 3);
  CHECK(chunks_at(70) == 3);
  CHECK(chunks_at(71) == 2);
  CHECK(chunks_at(80) == 2);
  CHECK(chunks_at(81) == 1);
  // Folded, but for an hour what is not in order is still refused as such.
  CHECK(chunks_at(109) == 1);
  CHECK(db->Stored().generation_samples > 100);
  CHECK(db->Head().series == 5);
  const Labels minutely = Labels::Of({{"__name__", "minutely"}});
  CHECK(TryAppend(*db, minutely, kBegin + 49 * kMinute, 1) == AppendError::kOutOfOrder);
  CHECK(TryAppend(*db, minutely, kBegin + 50 * kMinute, 1) == AppendError::kDuplicateTimestamp);
  append("five_minutely");  // It goes on.
  CHECK(chunks_at(110) == 2);
  CHECK(db->Head().series == 5);
  CHECK(chunks_at(111) == 2);
  CHECK(db->Head().series == 2);
  CHECK(TryAppend(*db, minutely, kBegin + 50 * kMinute, 1) == AppendError::kOutOfBounds);
  CHECK(ReadAll(*db) == expected);
  db.reset();
  db = MustOpen(options, clock);
  CHECK(ReadAll(*db) == expected);
}

TEST_CASE_FIXTURE(RetentionFixture, "chunks of a series that is behind the others are not cut") {
  options.retention = 0;
  auto db = MustOpen(options, clock);
  for (int minute = 0; minute < 60; ++minute) {
    clock.Advance(kMinute);
    MustAppend(*db, Labels::Of({{"__name__", "ahead"}}), clock.Now(), minute);
    MustAppend(*db, Labels::Of({{"__name__", "behind"}}), clock.Now() - 12 * kMinute, minute);
    REQUIRE(db->Maintain().ok());
    CHECK(db->Head().chunks == 2);
  }
}

TEST_CASE_FIXTURE(RetentionFixture, "a limit of size deletes the oldest samples") {
  options.retention = 0;
  options.hot_epoch = kHour;
  options.bucket_size = 6 * kHour;
  options.size_retention = {.bytes = 512 << 10};
  auto db = MustOpen(options, clock);
  std::mt19937_64 random(TestSeed());
  const TimestampMs begin = clock.Now();
  TimestampMs time = begin;
  for (int hour = 0; hour < 48; ++hour) {
    for (int i = 0; i < 60; ++i) {
      time += kMinute;
      clock.Set(time);
      const auto appender = db->NewAppender();
      for (int series = 0; series < 50; ++series) {
        const Labels labels = Labels::Of({{"s", std::to_string(series)}});
        REQUIRE(
            appender->Append(kNoSeries, labels, time, static_cast<double>(random()) * 1e-3).ok());
      }
      REQUIRE(appender->Commit().ok());
    }
    REQUIRE(db->Maintain().ok());
    REQUIRE(db->Checkpoint().ok());
  }
  CHECK(db->Counters().generations_dropped_by_size > 0);
  CHECK(db->Counters().disk_bytes < 1 << 20);
  CHECK(ReadAll(*db, begin, begin + 12 * kHour).empty());
  const Contents newest = ReadAll(*db, time - 3 * kHour, time);
  CHECK(newest.size() == 50);
  for (const auto& [labels, samples] : newest) CHECK(samples.size() == 181);
  CHECK(db->Head().min_time > begin);
  // A percentage takes the limit's place; so large a part of a disk is free.
  const uint64_t dropped = db->Counters().generations_dropped_by_size;
  db->SetSizeRetention({.bytes = 1, .percentage = 100});
  REQUIRE(db->Maintain().ok());
  CHECK(db->Counters().generations_dropped_by_size == dropped);
  db->SetSizeRetention({.bytes = 1});
  REQUIRE(db->Maintain().ok());
  CHECK(db->Counters().generations_dropped_by_size > dropped);
  CHECK(ReadAll(*db, time, time).size() == 50);
}

TEST_CASE_FIXTURE(RetentionFixture, "series without samples leave memory and their ids stay used") {
  auto db = MustOpen(options, clock);
  Run(*db, kHour, "a", 50);
  Run(*db, 5 * kHour, "b", 50);
  CHECK(db->Head().series == 50);
  CHECK(db->Counters().series_removed == 50);
  CHECK((*db->OpenQuerier(kMinTimestamp, kMaxTimestamp))->LabelValues("generation", {}, 0)->texts ==
        std::vector<std::string>{"b"});
  REQUIRE(db->Close().ok());
  db.reset();
  db = MustOpen(options, clock);
  CHECK(db->Head().series == 50);
  const auto appender = db->NewAppender();
  clock.Advance(kSecond);
  const auto ref =
      appender->Append(kNoSeries, Labels::Of({{"generation", "a"}, {"i", "0"}}), clock.Now(), 1);
  REQUIRE(ref.ok());
  CHECK(static_cast<uint64_t>(*ref) > 100);
  REQUIRE(appender->Commit().ok());
  CHECK(ReadAll(*db, kMinTimestamp, kMaxTimestamp, {Matcher::Equal("generation", "a")}).size() ==
        1);
}

TEST_CASE_FIXTURE(RetentionFixture, "an appender keeps the series it is about to write") {
  auto db = MustOpen(options, clock);
  const Labels labels = Labels::Of({{"a", "b"}});
  MustAppend(*db, labels, clock.Now(), 1);
  const auto appender = db->NewAppender();
  REQUIRE(appender->Append(kNoSeries, labels, clock.Now() + 1, 2).ok());
  Run(*db, 5 * kHour, "other", 3);
  REQUIRE(appender->Commit().ok());
  const Contents contents = ReadAll(*db, kMinTimestamp, kMaxTimestamp, {Matcher::Equal("a", "b")});
  REQUIRE(contents.size() == 1);
  CHECK(contents.begin()->second.back() == SampleText(kBegin + 1, 2, 0));
}

TEST_CASE_FIXTURE(RetentionFixture, "a series set outlives the files it reads") {
  auto db = MustOpen(options, clock);
  Run(*db, kHour, "a", 5);
  Run(*db, 75 * kMinute, "b", 5);  // By now all of "a" lies in files.
  const auto set = *(*db->OpenQuerier(kMinTimestamp, kMaxTimestamp))
                        ->Select({Matcher::Equal("generation", "a")}, {});
  REQUIRE(set->size() == 5);
  SeriesSamples before;
  REQUIRE(set->Read(0, kMinTimestamp, kMaxTimestamp, before).ok());
  Run(*db, 6 * kHour, "b", 5);
  CHECK(db->Counters().buckets_dropped_by_retention > 0);
  CHECK(ReadAll(*db, kMinTimestamp, kMaxTimestamp, {Matcher::Equal("generation", "a")}).empty());
  SeriesSamples after;
  REQUIRE(set->Read(0, kMinTimestamp, kMaxTimestamp, after).ok());
  CHECK(SampleTexts(after) == SampleTexts(before));
}

TEST_CASE_FIXTURE(RetentionFixture, "the log is trimmed by checkpoints") {
  options.retention = 0;
  options.log_epoch_bytes = 50'000;
  auto db = MustOpen(options, clock);
  Run(*db, kHour, "a");
  CHECK(db->Counters().log_bytes < 500'000);
  const Contents contents = ReadAll(*db);
  REQUIRE(db->Checkpoint().ok());
  CHECK(db->Counters().log_bytes == 0);
  Run(*db, kMinute, "a");
  REQUIRE(db->Close().ok());
  db.reset();
  db = MustOpen(options, clock);
  CHECK(db->replayed_records() == 0);
  CHECK(ReadAll(*db, kMinTimestamp, clock.Now() - kMinute) == contents);
}

}  // namespace
}  // namespace varve
