// SPDX-License-Identifier: Apache-2.0
//
// A selection of which only the newest samples count ends in the same sample as a whole one,
// wherever samples lie and whatever was deleted or came late, and reads less.
#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <random>

#include "model/matcher.h"
#include "tests/tsdb/test_values.h"
#include "tsdb/db.h"

namespace varve {
namespace {

constexpr DurationMs kStep = 15 * kSecond;
const Labels kSteady = Labels::Of({{"__name__", "steady"}});

struct NewestFixture {
  TempDir dir;
  ManualClock clock{kBegin + kDay};
  DbOptions options{
      .path = dir.path(), .retention = 0, .out_of_order_window = kDay, .background = false};

  static SeriesSamples Read(const Db& db, TimestampMs min, TimestampMs max, bool newest_only) {
    const auto set = (*db.OpenQuerier(min, max))
                         ->Select({Matcher::Equal("__name__", "steady")},
                                  {.start_ms = min, .end_ms = max, .newest_only = newest_only});
    REQUIRE(set.ok());
    SeriesSamples samples;
    if ((*set)->size() > 0) REQUIRE((*set)->Read(0, min, max, samples).ok());
    return samples;
  }

  // Returns how many chunks less were read.
  static size_t Compare(const Db& db, TimestampMs end) {
    size_t saved = 0;
    for (TimestampMs max = kBegin - kMinute; max < end; max += 97 * kSecond) {
      CAPTURE(max);
      for (const DurationMs window : {5 * kMinute, 3 * kHour}) {
        const SeriesSamples all = Read(db, max - window, max, false);
        const SeriesSamples newest = Read(db, max - window, max, true);
        REQUIRE(newest.times.empty() == all.times.empty());
        REQUIRE(newest.cost.chunks <= all.cost.chunks);
        saved += all.cost.chunks - newest.cost.chunks;
        if (all.times.empty()) continue;
        CHECK(newest.times.back() == all.times.back());
        CHECK(BitsOf(newest.values.back()) == BitsOf(all.values.back()));
      }
    }
    return saved;
  }
};

TEST_CASE_FIXTURE(NewestFixture, "selection: the newest samples only") {
  auto db = MustOpen(options, clock);
  constexpr int kCount = 600;  // Closed chunks, and an open one.
  for (int i = 0; i < kCount; ++i) {
    if (i % 100 < 40 && i > 300) continue;  // Gaps longer than the shorter window.
    MustAppend(*db, kSteady, kBegin + i * kStep, i % 50 == 7 ? StaleNan() : i);
  }
  const TimestampMs end = kBegin + kCount * kStep + 10 * kMinute;
  CHECK(Compare(*db, end) > 0);
  SUBCASE("late samples") {
    for (int i = 310; i < 330; ++i) MustAppend(*db, kSteady, kBegin + i * kStep + 1, -i);
    Compare(*db, end);
    MustAppend(*db, kSteady, kBegin + (kCount - 20) * kStep + 1, -1);
    Compare(*db, end);
  }
  SUBCASE("deleted samples") {
    REQUIRE(db->DeleteSeries({{Matcher::Equal("__name__", "steady")}},
                             kBegin + (kCount - 30) * kStep, kMaxTimestamp)
                .ok());
    Compare(*db, end);
    MustAppend(*db, kSteady, kBegin + kCount * kStep, 1);
    Compare(*db, end);
  }
  SUBCASE("a restart") {
    REQUIRE(db->Close().ok());
    db.reset();
    db = MustOpen(options, clock);
    Compare(*db, end);
    MustAppend(*db, kSteady, kBegin + kCount * kStep, 1);
    Compare(*db, end);
  }
}

TEST_CASE_FIXTURE(NewestFixture, "selection: the newest sample of all is known without its chunk") {
  auto db = MustOpen(options, clock);
  constexpr int kCount = 20;
  const TimestampMs last = kBegin + (kCount - 1) * kStep;
  for (int i = 0; i < kCount; ++i) MustAppend(*db, kSteady, kBegin + i * kStep, i);
  const SeriesSamples samples = Read(*db, last - kMinute, last, true);
  CHECK(samples.cost.chunks == 0);
  REQUIRE(samples.times.size() == 1);
  CHECK(samples.times[0] == last);
  CHECK(samples.values[0] == kCount - 1);
  CHECK(Read(*db, last - kMinute, last - 1, true).times.back() == last - kStep);
  CHECK(Read(*db, last + 1, last + kMinute, true).times.empty());

  // One that came after the selection is not in it.
  const auto set =
      (*db->OpenQuerier(last - kMinute, last + kMinute))
          ->Select({Matcher::Equal("__name__", "steady")},
                   {.start_ms = last - kMinute, .end_ms = last + kMinute, .newest_only = true});
  REQUIRE(set.ok());
  MustAppend(*db, kSteady, last + kStep, -1);
  SeriesSamples earlier;
  REQUIRE((*set)->Read(0, last - kMinute, last + kMinute, earlier).ok());
  REQUIRE(!earlier.times.empty());
  CHECK(earlier.times.back() == last);
}

// What a selection gives for each set of the labels that count: numbers of samples, sorted.
using Groups = std::map<Labels, std::vector<size_t>>;

Groups GroupsOf(const Db& db, const std::vector<std::string>& names, bool grouping_only,
                TimestampMs min = kBegin, TimestampMs max = kBegin + kDay) {
  const auto set = (*db.OpenQuerier(min, max))
                       ->Select({Matcher::Equal("job", "a")}, {.start_ms = min,
                                                               .end_ms = max,
                                                               .grouping = names,
                                                               .grouping_by = true,
                                                               .grouping_only = grouping_only});
  REQUIRE(set.ok());
  Groups groups;
  for (size_t i = 0; i < (*set)->size(); ++i) {
    if (grouping_only && i > 0) CHECK((*set)->labels(i - 1) <= (*set)->labels(i));
    LabelsBuilder kept((*set)->labels(i));
    kept.Keep(names);
    SeriesSamples samples;
    REQUIRE((*set)->Read(i, min, max, samples).ok());
    groups[kept.Build()].push_back(samples.times.size());
  }
  for (auto& [labels, counts] : groups) std::sort(counts.begin(), counts.end());
  return groups;
}

// Whether labels that do not count were left out.
bool LeavesOut(const Db& db) {
  const auto set = (*db.OpenQuerier(kBegin, kBegin + kDay))
                       ->Select({Matcher::Equal("job", "a")},
                                {.grouping = {"zone"}, .grouping_by = true, .grouping_only = true});
  REQUIRE(set.ok());
  REQUIRE((*set)->size() > 0);
  return !(*set)->labels(0).Has("job");
}

TEST_CASE_FIXTURE(NewestFixture, "selection: only labels that count") {
  auto db = MustOpen(options, clock);
  const auto series = [](int i) {
    return Labels::Of({{"__name__", i % 2 == 0 ? "even" : "odd"},
                       {"job", "a"},
                       {"n", std::to_string(i)},
                       {i % 5 == 0 ? "other" : "zone", i % 3 == 0 ? "x" : "y"}});
  };
  const auto compare = [&] {
    for (const std::vector<std::string>& names :
         {std::vector<std::string>{}, {"__name__"}, {"zone"}, {"zone", "__name__"}, {"no", "n"}}) {
      CAPTURE(names.size());
      CHECK(GroupsOf(*db, names, true) == GroupsOf(*db, names, false));
      const TimestampMs middle = kBegin + 30 * kStep;
      CHECK(GroupsOf(*db, names, true, middle, middle + kMinute) ==
            GroupsOf(*db, names, false, middle, middle + kMinute));
    }
  };
  CHECK(GroupsOf(*db, {"zone"}, true).empty());
  for (int i = 0; i < 100; ++i) {
    for (int sample = 0; sample <= i; ++sample) {
      MustAppend(*db, series(i), kBegin + sample * kStep, sample);
    }
  }
  compare();
  CHECK(LeavesOut(*db));
  CHECK(GroupsOf(*db, {"zone"}, true).size() == 3);
  REQUIRE(db->Seal().ok());
  compare();
  CHECK(LeavesOut(*db));
  // What is deleted is known by all labels.
  REQUIRE(db->DeleteSeries({{Matcher::Equal("n", "7")}}, kBegin, kBegin + kDay).ok());
  compare();
  CHECK_FALSE(LeavesOut(*db));
}

// How many series of each set of the labels in `names` have a sample in [min, max], their newest
// one no marker; and into how many series of the selection they went.
struct Counts {
  std::map<Labels, uint64_t> present;
  size_t series = 0;
};

Counts CountsOf(const Db& db, const std::vector<std::string>& names, bool alike, TimestampMs min,
                TimestampMs max) {
  const auto set = (*db.OpenQuerier(min, max))
                       ->Select({Matcher::Equal("job", "a")}, {.start_ms = min,
                                                               .end_ms = max,
                                                               .grouping = names,
                                                               .grouping_by = true,
                                                               .grouping_only = alike,
                                                               .newest_only = alike,
                                                               .presence_only = alike});
  REQUIRE(set.ok());
  Counts counts{.present = {}, .series = (*set)->size()};
  for (size_t i = 0; i < (*set)->size(); ++i) {
    LabelsBuilder kept((*set)->labels(i));
    kept.Keep(names);
    SeriesSamples samples;
    REQUIRE((*set)->Read(i, min, max, samples).ok());
    if (samples.times.empty() || IsStaleNan(samples.values.back())) continue;
    counts.present[kept.Build()] += (*set)->Alike(i);
  }
  return counts;
}

TEST_CASE_FIXTURE(NewestFixture, "selection: one series for those that only count") {
  auto db = MustOpen(options, clock);
  constexpr int kSeries = 60;
  const auto series = [](int i) {
    return Labels::Of(
        {{"__name__", i % 3 == 0 ? "a" : "b"}, {"job", "a"}, {"n", std::to_string(i)}});
  };
  for (int sample = 0; sample < 30; ++sample) {
    for (int i = 0; i < kSeries; ++i) {
      if (i % 10 == 7 && sample > 20) continue;  // Gone, without a marker.
      const bool ends = i % 10 == 4 && sample == 29;
      MustAppend(*db, series(i), kBegin + sample * kStep, ends ? StaleNan() : sample);
    }
  }
  const TimestampMs last = kBegin + 29 * kStep;
  const auto compare = [&] {
    for (const std::vector<std::string>& names :
         {std::vector<std::string>{}, {"__name__"}, {"__name__", "job"}, {"n"}}) {
      CAPTURE(names.size());
      for (TimestampMs max = last - 15 * kStep; max < last + 3 * kMinute; max += 7 * kSecond) {
        CAPTURE(max);
        for (const DurationMs range : {kStep / 2, kMinute, 5 * kMinute}) {
          CAPTURE(range);
          CHECK(CountsOf(*db, names, true, max - range + 1, max).present ==
                CountsOf(*db, names, false, max - range + 1, max).present);
        }
      }
    }
  };
  const auto counted = [&] { return CountsOf(*db, {"__name__"}, true, last - kMinute, last); };
  compare();
  // One series of each name, and those that end.
  CHECK(counted().series == 2 + kSeries / 10);
  CHECK(counted().present.at(Labels::Of({{"__name__", "a"}})) == 16);
  SUBCASE("late samples") {
    for (int i = 0; i < kSeries; i += 7) MustAppend(*db, series(i), last - kStep + 1, 1);
    compare();
  }
  SUBCASE("deleted samples") {
    REQUIRE(db->DeleteSeries({{Matcher::Equal("__name__", "a")}}, last - kMinute, last).ok());
    compare();
  }
  SUBCASE("a restart") {
    REQUIRE(db->Close().ok());
    db.reset();
    db = MustOpen(options, clock);
    compare();
    for (int i = 0; i < kSeries; i += 2) MustAppend(*db, series(i), last + kStep, 1);
    compare();
  }
}

// Open chunks, hot ones and columns, with numbers of every form and what is none.
TEST_CASE_FIXTURE(NewestFixture, "selection: presence only") {
  auto db = MustOpen(options, clock);
  constexpr int kCount = 3'000;
  const std::vector<double> odd = {StaleNan(), NormalNan(), INFINITY, -0.0, 1.0 / 3};
  for (int i = 0; i < kCount; ++i) {
    MustAppend(*db, kSteady, kBegin + i * kStep,
               i % 100 == 7 ? odd[static_cast<size_t>(i / 100) % odd.size()] : i / 4.0);
  }
  const TimestampMs end = kBegin + kCount * kStep;
  const auto compare = [&] {
    const auto read = [&](bool presence_only) {
      const auto set =
          (*db->OpenQuerier(kBegin, end))
              ->Select({Matcher::Equal("__name__", "steady")},
                       {.start_ms = kBegin, .end_ms = end, .presence_only = presence_only});
      REQUIRE(set.ok());
      SeriesSamples samples;
      REQUIRE((*set)->Read(0, kBegin, end, samples).ok());
      return samples;
    };
    const SeriesSamples all = read(false);
    const SeriesSamples present = read(true);
    REQUIRE(all.times.size() == kCount);
    CHECK(present.times == all.times);
    int wrong = 0;
    for (size_t i = 0; i < all.values.size(); ++i) {
      REQUIRE(IsStaleNan(present.values[i]) == IsStaleNan(all.values[i]));
      wrong += BitsOf(present.values[i]) != BitsOf(all.values[i]);
    }
    return wrong;
  };
  CHECK(compare() == 0);
  REQUIRE(db->Seal().ok());
  CHECK(compare() > kCount / 10);
}

// Whether the newest sample in [min, max] is there for who counts, as by a whole read, and what
// that took of chunks.
struct Presence {
  bool present = false;
  uint64_t chunks = 0;
};

Presence PresenceOf(const Db& db, TimestampMs min, TimestampMs max) {
  Presence found;
  for (const bool newest_present : {false, true}) {
    const auto set =
        (*db.OpenQuerier(min, max))
            ->Select({Matcher::Equal("__name__", "steady")}, {.start_ms = min,
                                                              .end_ms = max,
                                                              .newest_only = newest_present,
                                                              .presence_only = newest_present});
    REQUIRE(set.ok());
    SeriesSamples samples;
    if ((*set)->size() > 0) REQUIRE((*set)->Read(0, min, max, samples).ok());
    const TimestampMs float_time = samples.times.empty() ? kMinTimestamp : samples.times.back();
    const TimestampMs histogram_time =
        samples.histograms.empty() ? kMinTimestamp : samples.histograms.back().time;
    bool present = float_time > kMinTimestamp && !IsStaleNan(samples.values.back());
    if (histogram_time > float_time) present = !samples.histograms.back().histogram->IsStale();
    if (!newest_present) {
      found.present = present;
      continue;
    }
    CHECK(present == found.present);
    if (present) CHECK(std::max(float_time, histogram_time) >= min);
    if (present) CHECK(std::max(float_time, histogram_time) <= max);
    found.chunks = samples.cost.chunks;
  }
  return found;
}

TEST_CASE_FIXTURE(NewestFixture, "selection: that a steady series is there takes no chunk") {
  auto db = MustOpen(options, clock);
  constexpr int kCount = 400;  // Closed chunks, and an open one.
  for (int i = 0; i < kCount; ++i) MustAppend(*db, kSteady, kBegin + i * kStep, i);
  const TimestampMs last = kBegin + (kCount - 1) * kStep;
  for (const bool restart : {false, true}) {
    CAPTURE(restart);
    if (restart) {
      REQUIRE(db->Close().ok());
      db.reset();
      db = MustOpen(options, clock);
    }
    for (TimestampMs max = kBegin; max < last + 5 * kMinute; max += 7 * kSecond) {
      CAPTURE(max);
      const Presence found = PresenceOf(*db, max - 5 * kMinute + 1, max);
      CHECK(found.present);
      CHECK(found.chunks == 0);
    }
    CHECK_FALSE(PresenceOf(*db, last + 1, last + 5 * kMinute).present);
    // A window shorter than the gaps that are steady may lie between two samples.
    CHECK_FALSE(PresenceOf(*db, last - kStep + 1, last - 1).present);
    CHECK(PresenceOf(*db, last - kStep, last - 1).chunks > 0);
  }
}

// Markers, gaps, histograms, start times, late and deleted samples: where the newest sample is
// known without looking, it is what looking finds.
TEST_CASE_FIXTURE(NewestFixture, "selection: whether a series is there") {
  const uint64_t seed = TestSeed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  const std::vector<DurationMs> gaps = {kStep,   kStep,       kStep,           kStep,
                                        kMinute, 2 * kMinute, 2 * kMinute + 1, 6 * kMinute};
  for (int round = 0; round < TestRounds(12); ++round) {
    CAPTURE(round);
    TempDir fresh;
    options.path = fresh.path();
    auto db = MustOpen(options, clock);
    Histogram histogram = RandomHistogram(random);
    TimestampMs time = kBegin;
    const auto append = [&](int samples) {
      for (int i = 0; i < samples; ++i) {
        const auto appender = db->NewAppender();
        const uint64_t kind = random() % 64;
        if (kind == 0 || (kind == 1 && round % 3 == 0)) {
          histogram = Grown(histogram, random);
          REQUIRE(appender->AppendHistogram(kNoSeries, kSteady, time, histogram).ok());
        } else {
          REQUIRE(appender
                      ->Append(kNoSeries, kSteady, time,
                               kind == 2 ? StaleNan() : RandomValue(random), kind == 3 ? kBegin : 0)
                      .ok());
        }
        REQUIRE(appender->Commit().ok());
        time += random() % 8 == 0 ? gaps[random() % gaps.size()] : kStep;
      }
    };
    const auto compare = [&] {
      for (int i = 0; i < 150; ++i) {
        const auto max = kBegin + static_cast<TimestampMs>(
                                      random() % static_cast<uint64_t>(time + kMinute - kBegin));
        for (const DurationMs window : {5 * kMinute, 2 * kMinute, kStep}) {
          PresenceOf(*db, max - window + 1, max);
        }
      }
    };
    append(200);
    compare();
    if (round % 2 == 0) {
      REQUIRE(db->Close().ok());
      db.reset();
      db = MustOpen(options, clock);
      compare();
    }
    append(20);
    compare();
    if (round % 4 == 1) {
      const TimestampMs late = time - 4 * kMinute;
      MustAppend(*db, kSteady, late + 1, StaleNan());
      compare();
    }
    if (round % 4 == 3) {
      REQUIRE(db->DeleteSeries({{Matcher::Equal("__name__", "steady")}}, time - 9 * kMinute,
                               time - 4 * kMinute)
                  .ok());
      compare();
    }
  }
}

// Without late samples, what an open chunk covers is read from it alone, also after a restart.
TEST_CASE_FIXTURE(NewestFixture, "selection: late samples are remembered over restarts") {
  for (const bool clean : {true, false}) {
    CAPTURE(clean);
    TempDir fresh;
    options.path = fresh.path();
    auto db = MustOpen(options, clock);
    constexpr int kCount = 200;
    const TimestampMs end = kBegin + (kCount - 1) * kStep;
    const auto restart = [&] {
      if (clean) {
        REQUIRE(db->Close().ok());
      } else {
        REQUIRE(db->Checkpoint().ok());
      }
      db.reset();
      db = MustOpen(options, clock);
    };
    for (int i = 0; i < kCount; ++i) MustAppend(*db, kSteady, kBegin + i * kStep, i);
    restart();
    CHECK(Read(*db, end - 5 * kMinute, end, false).cost.chunks == 1);
    MustAppend(*db, kSteady, end - kMinute + 1, -1);
    restart();
    const SeriesSamples samples = Read(*db, end - 5 * kMinute, end, false);
    CHECK(std::count(samples.values.begin(), samples.values.end(), -1) == 1);
    CHECK(samples.cost.chunks > 1);
    CHECK(Read(*db, end - 30 * kSecond, end, false).cost.chunks == 1);
  }
}

}  // namespace
}  // namespace varve
