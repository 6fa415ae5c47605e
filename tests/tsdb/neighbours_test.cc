// SPDX-License-Identifier: Apache-2.0
//
// What is read of a series together with its neighbours is what is read of it alone, wherever its
// samples lie, in whatever order and by however many threads; also where nothing may be copied.
#include "tsdb/neighbours.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <atomic>
#include <thread>

#include "model/matcher.h"
#include "tests/tsdb/test_values.h"
#include "tsdb/db.h"
#include "tsdb/querier.h"

namespace varve {
namespace {

TEST_CASE("row copies: a series is walked over as its family would be") {
  RowCopies rows;
  rows.EndSeries(2);  // Has none.
  rows.Add("a1", "one");
  rows.Add("a3", "three");
  rows.Add("a5", "");
  rows.EndSeries(1);
  rows.Add("b1", "other");
  rows.EndSeries(0);
  CHECK(rows.bytes() == 8 + 3 + 5 + 5);

  RowCopiesIterator none(rows, 0);
  none.Seek("");
  CHECK(!none.Valid());
  none.SeekToFirst();
  CHECK(!none.Valid());
  none.SeekToLast();
  CHECK(!none.Valid());

  RowCopiesIterator it(rows, 1);
  CHECK(!it.Valid());
  it.Seek("a2");
  REQUIRE(it.Valid());
  CHECK(it.key() == "a3");
  CHECK(it.value() == "three");
  it.Next();
  CHECK(it.key() == "a5");
  CHECK(it.value() == "");
  it.Next();
  CHECK(!it.Valid());
  it.Seek("a5");
  CHECK(it.Valid());
  it.Seek("a6");  // Not the next series' rows.
  CHECK(!it.Valid());
  it.SeekForPrev("a4");
  CHECK(it.key() == "a3");
  it.SeekForPrev("a3");
  CHECK(it.key() == "a3");
  it.Prev();
  CHECK(it.key() == "a1");
  it.Prev();
  CHECK(!it.Valid());
  it.SeekForPrev("a0");
  CHECK(!it.Valid());
  it.SeekToLast();
  CHECK(it.key() == "a5");
  CHECK(it.status().ok());
}

TEST_CASE("row copies: up to the limit of bytes, and no further") {
  CopiedBytes copied;
  CHECK(copied.Add(CopiedBytes::kMax - 1));
  CHECK(copied.Add(1));
  CHECK(!copied.Add(1));
  CHECK(copied.bytes() == CopiedBytes::kMax);
  copied.Remove(2);
  CHECK(!copied.Add(3));
  CHECK(copied.Add(2));
}

constexpr size_t kNeighbours = 150;
constexpr DurationMs kNeighbourStep = kMinute;
constexpr TimestampMs kMidnight = (kBegin / kDay + 1) * kDay;
constexpr TimestampMs kFirstTime = kMidnight - 5 * kHour;
constexpr TimestampMs kLastTime = kMidnight + 6 * kHour;

// Orders by labels and by ids differ, and of some metrics every third series is one.
Labels LabelsOf(size_t i) {
  return Labels::Of({{"__name__", i % 3 == 0 ? "third" : "other"},
                     {"n", fmt::format("{:03}", i * 77 % kNeighbours)}});
}

Matcher EachSeries() { return *Matcher::Create(MatchType::kNotEqual, "n", ""); }

struct NeighboursFixture {
  TempDir dir;
  ManualClock clock{kLastTime + kDay};
  DbOptions options{
      .path = dir.path(), .retention = 0, .out_of_order_window = kDay, .background = false};

  // Series begin and end at different times, on both sides of a bucket's edge. Two generations, hot
  // chunks and open ones; late samples; deleted ones.
  void Fill() {
    auto db = MustOpen(options, clock);
    for (TimestampMs time = kFirstTime; time < kLastTime; time += kNeighbourStep) {
      auto appender = db->NewAppender();
      for (size_t i = 0; i < kNeighbours; ++i) {
        const bool ended = i % 7 == 3 && time > kFirstTime + 3 * kHour;
        const bool not_begun = i % 11 == 5 && time < kMidnight + kHour;
        if (ended || not_begun || (i % 13 == 1 && time % kHour == 0)) continue;
        REQUIRE(appender
                    ->Append(kNoSeries, LabelsOf(i), time,
                             static_cast<double>(i) + static_cast<double>(time % kDay) / 7)
                    .ok());
      }
      REQUIRE(appender->Commit().ok());
      if (time == kFirstTime + 2 * kHour || time == kMidnight + 2 * kHour) {
        REQUIRE(db->Maintain().ok());
        REQUIRE(db->Seal().ok());
      }
    }
    for (size_t i = 0; i < kNeighbours; i += 9) {
      MustAppend(*db, LabelsOf(i), kMidnight + 10 * kMinute + 1, -1);
      MustAppend(*db, LabelsOf(i), kLastTime - 10 * kMinute + 1, -2);
    }
    REQUIRE(db->DeleteSeries({{Matcher::Equal("n", "017")}, {Matcher::Equal("n", "120")}},
                             kMidnight - kHour, kLastTime - 20 * kMinute)
                .ok());
    REQUIRE(db->Close().ok());
  }

  struct Found {
    std::vector<std::string> samples;
    uint64_t chunks = 0;
    friend bool operator==(const Found&, const Found&) = default;
  };
  using All = std::map<std::string, Found>;

  static Found Read(const SeriesSet& set, size_t index, TimestampMs min, TimestampMs max) {
    SeriesSamples samples;
    REQUIRE(set.Read(index, min, max, samples).ok());
    return {SampleTexts(samples), samples.cost.chunks};
  }

  static std::unique_ptr<SeriesSet> Select(const std::shared_ptr<Engine>& engine,
                                           const Matcher& matcher, TimestampMs min,
                                           TimestampMs max) {
    auto set =
        NewHeadQuerier(engine, min, max)->Select({matcher}, {.start_ms = min, .end_ms = max});
    REQUIRE(set.ok());
    return *std::move(set);
  }

  // Each series by a selection of its own.
  static All ReadAlone(const std::shared_ptr<Engine>& engine, TimestampMs min, TimestampMs max) {
    All all;
    for (size_t i = 0; i < kNeighbours; ++i) {
      const auto set = Select(engine, Matcher::Equal("n", fmt::format("{:03}", i)), min, max);
      if (set->size() == 0) continue;
      REQUIRE(set->size() == 1);
      all[set->labels(0).ToString()] = Read(*set, 0, min, max);
    }
    return all;
  }

  static All ReadTogether(const SeriesSet& set, TimestampMs min, TimestampMs max) {
    All all;
    for (size_t i = 0; i < set.size(); ++i) all[set.labels(i).ToString()] = Read(set, i, min, max);
    return all;
  }
};

TEST_CASE_FIXTURE(NeighboursFixture, "neighbours: read together as alone") {
  Fill();
  const auto engine = *Engine::Open(options, clock);
  CopiedBytes& copied = engine->write_path.generation_cache().copied;
  const std::vector<std::pair<TimestampMs, TimestampMs>> ranges = {
      {kFirstTime, kLastTime},
      {kMidnight - kHour, kMidnight + kHour},
      {kLastTime - 5 * kMinute, kLastTime},
      {kMidnight + 5 * kHour, kMidnight + 5 * kHour},
      {kFirstTime - kDay, kFirstTime}};
  for (const auto& range : ranges) {
    const TimestampMs min = range.first;
    const TimestampMs max = range.second;
    CAPTURE(min - kFirstTime);
    const All alone = ReadAlone(engine, min, max);
    CHECK(alone.size() > 50);
    {
      const auto set = Select(engine, EachSeries(), min, max);
      CHECK(ReadTogether(*set, min, max) == alone);
      CHECK(ReadTogether(*set, min, max) == alone);  // When all were asked for.
    }
    CHECK(copied.bytes() == 0);
    {
      // Some at other times than those that were copied.
      const auto set = Select(engine, EachSeries(), min, max);
      Read(*set, 0, max, max);
      CHECK(ReadTogether(*set, min, max) == alone);
    }
    {
      // No room.
      REQUIRE(copied.Add(CopiedBytes::kMax));
      const auto set = Select(engine, EachSeries(), min, max);
      CHECK(ReadTogether(*set, min, max) == alone);
      copied.Remove(CopiedBytes::kMax);
    }
    const auto thirds = Select(engine, Matcher::Equal("__name__", "third"), min, max);
    for (const auto& entry : ReadTogether(*thirds, min, max)) {
      CHECK(entry.second == alone.at(entry.first));
    }
  }
  const auto set = Select(engine, EachSeries(), kFirstTime, kLastTime);
  Read(*set, 0, kFirstTime, kLastTime);
  CHECK(copied.bytes() > 0);
}

// Open chunks that begin before the end of the range and behind it, side by side.
TEST_CASE_FIXTURE(NeighboursFixture, "neighbours: the newest samples only") {
  Fill();
  const auto engine = *Engine::Open(options, clock);
  for (TimestampMs max = kLastTime - 2 * kHour; max < kLastTime; max += 7 * kMinute) {
    CAPTURE(max - kFirstTime);
    const TimestampMs min = max - 5 * kMinute;
    const All alone = ReadAlone(engine, min, max);
    const auto set =
        NewHeadQuerier(engine, min, max)
            ->Select({EachSeries()}, {.start_ms = min, .end_ms = max, .newest_only = true});
    REQUIRE(set.ok());
    REQUIRE((*set)->size() == alone.size());
    for (const auto& entry : ReadTogether(**set, min, max)) {
      const std::vector<std::string>& all = alone.at(entry.first).samples;
      REQUIRE(entry.second.samples.empty() == all.empty());
      if (!all.empty()) CHECK(entry.second.samples.back() == all.back());
    }
  }
}

TEST_CASE_FIXTURE(NeighboursFixture, "neighbours: read by several threads") {
  Fill();
  const auto engine = *Engine::Open(options, clock);
  const All alone = ReadAlone(engine, kFirstTime, kLastTime);
  for (int round = 0; round < 5; ++round) {
    const auto set = Select(engine, EachSeries(), kFirstTime, kLastTime);
    std::vector<Found> found(set->size());
    std::atomic<size_t> next{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i) {
      threads.emplace_back([&] {
        for (size_t at = next++; at < found.size(); at = next++) {
          found[at] = Read(*set, at, kFirstTime, kLastTime);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (size_t i = 0; i < found.size(); ++i) {
      CHECK(found[i] == alone.at(set->labels(i).ToString()));
    }
  }
}

// What arrives after the selection was made is not seen, what moves on its way to disk is.
TEST_CASE_FIXTURE(NeighboursFixture, "neighbours: chunks that move between reads") {
  Fill();
  auto db = MustOpen(options, clock);
  const auto select = [&] {
    auto set = (*db->OpenQuerier(kFirstTime, kLastTime + kHour))
                   ->Select({EachSeries()}, {.start_ms = kFirstTime, .end_ms = kLastTime + kHour});
    REQUIRE(set.ok());
    return *std::move(set);
  };
  const auto before = select();
  const All expected = ReadTogether(*before, kFirstTime, kLastTime + kHour);
  const auto set = select();
  for (size_t i = 0; i < set->size(); ++i) {
    if (i % 40 == 20) {
      for (TimestampMs time = kLastTime; time < kLastTime + 50 * kMinute;
           time += kNeighbourStep / 4) {
        auto appender = db->NewAppender();
        const TimestampMs at = time + static_cast<DurationMs>(i / 40) * kHour;
        for (size_t j = 0; j < kNeighbours; ++j) {
          REQUIRE(appender->Append(kNoSeries, LabelsOf(j), at, 1).ok());
        }
        REQUIRE(appender->Commit().ok());
      }
      REQUIRE(db->Maintain().ok());
    }
    if (i == 100) REQUIRE(db->Seal().ok());
    CHECK(Read(*set, i, kFirstTime, kLastTime + kHour).samples ==
          expected.at(set->labels(i).ToString()).samples);
  }
}

}  // namespace
}  // namespace varve
