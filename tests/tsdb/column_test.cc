// SPDX-License-Identifier: Apache-2.0
//
// Goal: what goes into a row of columns comes out with the same bits, as a whole and in parts;
// damage costs its own block and is named.
// Method: hostile values, random series from a printed seed against a plain filter, flipped bytes.
#include "tsdb/column.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/tsdb/test_values.h"

namespace varve {
namespace {

// The samples of `all` in [min, max].
SeriesSamples Filter(const SeriesSamples& all, TimestampMs min, TimestampMs max) {
  SeriesSamples some;
  for (size_t i = 0; i < all.times.size(); ++i) {
    if (all.times[i] < min || all.times[i] > max) continue;
    some.times.push_back(all.times[i]);
    some.values.push_back(all.values[i]);
    if (!all.start_times.empty()) some.start_times.push_back(all.start_times[i]);
  }
  for (size_t i = 0; i < all.histograms.size(); ++i) {
    if (all.histograms[i].time < min || all.histograms[i].time > max) continue;
    some.histograms.push_back(all.histograms[i]);
    if (!all.histogram_start_times.empty()) {
      some.histogram_start_times.push_back(all.histogram_start_times[i]);
    }
  }
  return some;
}

std::vector<std::string> Decoded(std::string_view row, const ColumnReadOptions& options = {}) {
  SeriesSamples samples;
  const absl::Status status = DecodeColumns(row, options, samples);
  REQUIRE_MESSAGE(status.ok(), status.ToString());
  return SampleTexts(samples);
}

void CheckParts(const SeriesSamples& samples, std::string_view row, std::mt19937_64& random,
                const SharedTimes* shared = nullptr) {
  const std::vector<TimestampMs> times = TimesOf(samples);
  for (int i = 0; i < 6; ++i) {
    TimestampMs min = times[random() % times.size()] + static_cast<int64_t>(random() % 3) - 1;
    TimestampMs max = times[random() % times.size()] + static_cast<int64_t>(random() % 3) - 1;
    if (i > 0 && min > max) std::swap(min, max);
    CHECK(Decoded(row, {.min = min, .max = max, .times = shared}) ==
          SampleTexts(Filter(samples, min, max)));
  }
}

// Encodes, decodes as a whole and in parts, with times of its own and shared ones.
void CheckRoundTrip(const SeriesSamples& samples, std::mt19937_64& random) {
  const std::string row = EncodeColumns(samples);
  const std::vector<std::string> texts = SampleTexts(samples);
  REQUIRE(Decoded(row) == texts);
  CheckParts(samples, row, random);

  const auto summary = SummarizeColumns(row);
  REQUIRE(summary.ok());
  const std::vector<TimestampMs> times = TimesOf(samples);
  CHECK(summary->min_time == times.front());
  CHECK(summary->max_time == times.back());
  CHECK(summary->float_samples == samples.times.size());
  CHECK(summary->histogram_samples == samples.histograms.size());
  CHECK_FALSE(summary->times.has_value());
  std::vector<ColumnDamage> damage;
  CHECK(VerifyColumns(row, damage).ok());
  CHECK(damage.empty());
  std::vector<ColumnUse> uses;
  CHECK(AddColumnUses(row, uses).ok());
  uint64_t bytes = 0;
  for (const ColumnUse& use : uses) bytes += use.bytes;
  CHECK(bytes == row.size());

  std::vector<TimestampMs> more = times;
  more.insert(more.begin(), {times.front() - 20, times.front() - 1});
  more.push_back(times.back() + 7);
  SharedTimes shared;
  REQUIRE(DecodeTimes(EncodeTimes(more), shared).ok());
  REQUIRE(shared.times == more);
  const TimesRef ref{7, more.front(), FindTimes(more, times).value()};
  const std::string referring = EncodeColumns(samples, &ref);
  CHECK(SummarizeColumns(referring)->times == ref);
  CHECK(Decoded(referring, {.times = &shared}) == texts);
  CheckParts(samples, referring, random, &shared);
}

SeriesSamples Floats(const std::vector<double>& values, TimestampMs begin = kBegin,
                     DurationMs step = 15000) {
  SeriesSamples samples;
  samples.values = values;
  for (size_t i = 0; i < values.size(); ++i) {
    samples.times.push_back(begin + static_cast<int64_t>(i) * step);
  }
  return samples;
}

TEST_CASE("columns: each hostile value amid each other one") {
  std::mt19937_64 random(TestSeed());
  for (const double first : HostileValues()) {
    CheckRoundTrip(Floats({first}), random);
    for (const double second : HostileValues()) {
      CheckRoundTrip(Floats({first, second, first, first, second}), random);
    }
  }
}

// Kinds of series that the encodings are made for, and such that resist them.
std::vector<double> RandomKind(std::mt19937_64& random, size_t count) {
  std::vector<double> values;
  const uint64_t kind = random() % 14;
  const double scale = std::pow(10, static_cast<double>(random() % 18));
  const uint64_t range = 1 + (random() >> (random() % 63));
  double value = static_cast<double>(random() % 1000000);
  for (size_t i = 0; i < count; ++i) {
    const double unit = static_cast<double>(random() >> 11) * 0x1p-53;
    switch (kind) {
      case 0:  // counter
        value += static_cast<double>(random() % range);
        if (random() % 200 == 0) value = 0;
        values.push_back(value);
        break;
      case 1:  // decimals
        values.push_back(std::round(unit * 1000 * scale) / scale);
        break;
      case 2:  // decimal counter
        value += unit;
        values.push_back(std::round(value * scale) / scale);
        break;
      case 3:  // bytes
        if (random() % 2 == 0) value += 4096 * (static_cast<double>(random() % 4001) - 2000);
        values.push_back(value);
        break;
      case 4:
        values.push_back(unit * scale);
        break;
      case 5:
        values.push_back(std::bit_cast<double>(random()));
        break;
      case 6:
        values.push_back(RandomValue(random));
        break;
      case 7:  // rarely changes
        if (random() % 50 == 0) value = static_cast<double>(random() % 5);
        values.push_back(value);
        break;
      case 8:
        values.push_back(std::sin(static_cast<double>(i) / 50) * scale);
        break;
      case 9:
        values.push_back(static_cast<double>(i * i) * 0.25);
        break;
      case 10:
        values.push_back(std::ldexp(unit, static_cast<int>(random() % 2000) - 1000));
        break;
      case 11:
        values.push_back(random() % 2 == 0 ? NormalNan() : unit);
        break;
      case 12:  // periodic
        values.push_back(std::fmod(static_cast<double>(i * range), 37) + 0.1);
        break;
      default:
        values.push_back(-static_cast<double>(random() % range) / 8);
        break;
    }
    if (random() % 150 == 0) values.back() = StaleNan();
  }
  return values;
}

void RandomTimes(std::mt19937_64& random, size_t count, std::vector<TimestampMs>& times) {
  TimestampMs time = kBegin;
  const uint64_t kind = random() % 4;
  for (size_t i = 0; i < count; ++i) {
    time += 15000;
    if (kind == 1) time += static_cast<int64_t>(random() % 7) - 3;
    if (kind == 2) time += static_cast<int64_t>(random() >> (20 + random() % 40));
    if (kind == 3 && random() % 30 == 0) time += static_cast<int64_t>(random() % 100000);
    times.push_back(time);
  }
}

TEST_CASE("columns: random series of all kinds, times and start timestamps") {
  const uint64_t seed = TestSeed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 500; ++round) {
    CAPTURE(round);
    SeriesSamples samples;
    const size_t count = 1 + random() % (round % 10 == 0 ? 3000 : 700);
    RandomTimes(random, count, samples.times);
    samples.values = RandomKind(random, count);
    if (round % 3 == 0) {
      TimestampMs start = 0;
      for (const TimestampMs time : samples.times) {
        if (random() % 100 == 0) start = time - static_cast<int64_t>(random() % 5000);
        samples.start_times.push_back(start);
      }
      if (start == 0) samples.start_times.clear();
    }
    CheckRoundTrip(samples, random);
  }
}

}  // namespace
}  // namespace varve
