// SPDX-License-Identifier: Apache-2.0
//
// Goal: what goes into a row of columns comes out with the same bits, as a whole and in parts;
// damage costs its own block and is named.
// Method: hostile values, random series from a printed seed against a plain filter, flipped bytes.
#include "tsdb/column.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

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
                const std::shared_ptr<const SharedTimes>& shared = nullptr) {
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
  const auto shared = std::make_shared<SharedTimes>();
  REQUIRE(DecodeTimes(EncodeTimes(more), *shared).ok());
  REQUIRE(shared->times == more);
  const TimesRef ref{7, more.front(), FindTimes(more, times).value()};
  const std::string referring = EncodeColumns(samples, &ref);
  CHECK(SummarizeColumns(referring)->times == ref);
  CHECK(Decoded(referring, {.times = shared}) == texts);
  CheckParts(samples, referring, random, shared);
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
    std::vector<TimestampMs> times;
    RandomTimes(random, count, times);
    samples.times = times;
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

// ------------------------------------------------------------------------------------- histograms

Histogram BareMarker(std::mt19937_64& random, bool integers) {
  Histogram marker;
  marker.sum = StaleNan();
  marker.integer_counts = integers;
  marker.reset_hint = static_cast<ResetHint>(random() % 4);
  return marker;
}

void AddHistogram(SeriesSamples& samples, TimestampMs time, Histogram histogram) {
  samples.histograms.push_back({time, std::make_shared<const Histogram>(std::move(histogram))});
}

TEST_CASE("columns: floats and histograms mixed, with changing layouts, markers and starts") {
  const uint64_t seed = TestSeed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 120; ++round) {
    CAPTURE(round);
    SeriesSamples samples;
    const bool has_starts = round % 2 == 1;
    const uint64_t change = round % 5 == 0 ? 2 : 60;
    Histogram last = RandomHistogram(random);
    bool is_float = round % 3 == 0;
    const size_t count = 1 + random() % 900;
    for (size_t i = 0; i < count; ++i) {
      const TimestampMs time = kBegin + static_cast<int64_t>(i) * 15000;
      if (round % 3 != 2 && random() % change == 0) is_float = !is_float;
      if (random() % change == 0) last = RandomHistogram(random);
      if (is_float) {
        samples.times.push_back(time);
        samples.values.push_back(RandomValue(random));
        if (has_starts) samples.start_times.push_back(time - static_cast<int64_t>(i % 50));
        continue;
      }
      last = Grown(last, random);
      if (random() % 20 == 0) last.reset_hint = static_cast<ResetHint>(random() % 4);
      const bool marker = random() % 40 == 0;
      AddHistogram(samples, time, marker ? BareMarker(random, last.integer_counts) : last);
      if (has_starts) samples.histogram_start_times.push_back(kBegin - 1);
    }
    CheckRoundTrip(samples, random);
  }
}

TEST_CASE("columns: histograms with hostile counts, thresholds and bounds") {
  std::mt19937_64 random(TestSeed());
  for (const double value : HostileValues()) {
    SeriesSamples samples;
    for (int i = 0; i < 6; ++i) {
      Histogram histogram = RandomHistogram(random);
      histogram.zero_threshold = i % 2 == 0 ? value : 0.5;
      histogram.count = value;
      histogram.zero_count = value;
      for (double& count : histogram.positive.counts) count = value;
      for (double& bound : histogram.custom_bounds) bound = value;
      AddHistogram(samples, kBegin + i, histogram);
      AddHistogram(samples, kBegin + 100 + i, histogram);
    }
    std::sort(samples.histograms.begin(), samples.histograms.end(),
              [](const auto& a, const auto& b) { return a.time < b.time; });
    CheckRoundTrip(samples, random);
  }
}

TEST_CASE("columns: bare markers alone, and before the first histogram") {
  std::mt19937_64 random(TestSeed());
  SeriesSamples samples;
  AddHistogram(samples, kBegin, BareMarker(random, true));
  AddHistogram(samples, kBegin + 1, BareMarker(random, true));
  CheckRoundTrip(samples, random);
  Histogram histogram = RandomHistogram(random);
  histogram.integer_counts = true;
  AddHistogram(samples, kBegin + 2, histogram);
  AddHistogram(samples, kBegin + 3, BareMarker(random, true));
  AddHistogram(samples, kBegin + 4, histogram);
  CheckRoundTrip(samples, random);
}

TEST_CASE("columns: a histogram of very many buckets has shorter blocks") {
  std::mt19937_64 random(TestSeed());
  Histogram histogram;
  histogram.positive.spans = {{0, 5000}};
  histogram.positive.counts.assign(5000, 1);
  SeriesSamples samples;
  for (int i = 0; i < 100; ++i) {
    histogram.positive.counts[random() % 5000] += 1;
    AddHistogram(samples, kBegin + i, histogram);
  }
  const std::string row = EncodeColumns(samples);
  CHECK(SummarizeColumns(row)->blocks == 2);
  CHECK(Decoded(row) == SampleTexts(samples));
}

// ------------------------------------------------------------------------------------------- size

size_t RowBytes(const std::vector<double>& values) { return EncodeColumns(Floats(values)).size(); }

TEST_CASE("columns: a day of a regular constant is its directory") {
  CHECK(RowBytes(std::vector<double>(5760, 1)) < 40);
  CHECK(RowBytes(std::vector<double>(5760, 0.1)) < 45);
}

TEST_CASE("columns: a staleness marker costs a counter next to nothing") {
  std::mt19937_64 random(TestSeed());
  std::vector<double> values;
  double value = 0;
  for (int i = 0; i < 512; ++i) values.push_back(value += static_cast<double>(random() % 100));
  const size_t plain = RowBytes(values);
  CHECK(plain < 512 * 7 / 8 + 32);
  values[200] = StaleNan();
  values[201] = StaleNan();
  CHECK(RowBytes(values) < plain + 12);
}

TEST_CASE("columns: a counter's reset costs its own bytes") {
  std::mt19937_64 random(TestSeed());
  std::vector<double> values;
  double value = 5e6;
  for (int i = 0; i < 512; ++i) {
    if (i == 300) value = 0;
    values.push_back(value += static_cast<double>(random() % 100));
  }
  CHECK(RowBytes(values) < 512 * 7 / 8 + 48);
}

TEST_CASE("columns: the example of docs/format.md, byte by byte") {
  const std::string row = EncodeColumns(Floats({1, 1, 1, 1}, 1'700'000'000'000));
  std::string hex;
  for (const char byte : row) hex += fmt::format("{:02x}", static_cast<uint8_t>(byte));
  CHECK(hex == "01645785b5140080a0abfef962c8df02010804b0ea0101010200");
}

// ----------------------------------------------------------------------------------------- damage

// Three kinds of blocks: 512 with jitter, 512, 176.
SeriesSamples ThreeBlocks() {
  std::mt19937_64 random(TestSeed());
  SeriesSamples samples;
  double value = 0;
  for (int i = 0; i < 1200; ++i) {
    samples.times.push_back(kBegin + i * 15000 + static_cast<int64_t>(random() % 3));
    samples.values.push_back(value += static_cast<double>(random() % 300));
  }
  return samples;
}

SeriesSamples WithoutBlock(const SeriesSamples& samples, size_t block) {
  SeriesSamples rest;
  for (size_t i = 0; i < samples.times.size(); ++i) {
    if (i / kColumnBlockSamplesMax == block) continue;
    rest.times.push_back(samples.times[i]);
    rest.values.push_back(samples.values[i]);
  }
  return rest;
}

TEST_CASE("columns: each flipped bit is noticed and costs at most its block") {
  const SeriesSamples samples = ThreeBlocks();
  const std::string row = EncodeColumns(samples);
  std::vector<std::vector<std::string>> rests;
  for (size_t block = 0; block < 3; ++block) {
    rests.push_back(SampleTexts(WithoutBlock(samples, block)));
  }
  size_t heads = 0;
  for (size_t i = 0; i < row.size(); ++i) {
    std::string flipped = row;
    flipped[i] = static_cast<char>(flipped[i] ^ (1 << (i % 8)));
    SeriesSamples out;
    REQUIRE(absl::IsDataLoss(DecodeColumns(flipped, {}, out)));
    out.Clear();
    std::vector<ColumnDamage> damage;
    if (!DecodeColumns(flipped, {.damage = &damage}, out).ok()) {
      REQUIRE(out.times.empty());
      ++heads;
      continue;
    }
    REQUIRE(damage.size() == 1);
    size_t block = 0;
    while (block < 2 && samples.times[block * kColumnBlockSamplesMax] != damage[0].min) ++block;
    REQUIRE(damage[0].max ==
            samples.times[std::min<size_t>((block + 1) * kColumnBlockSamplesMax, 1200) - 1]);
    REQUIRE(damage[0].samples == (block == 2 ? 176 : 512));
    if (i % 10 == 0) REQUIRE(SampleTexts(out) == rests[block]);
    std::vector<ColumnDamage> found;
    REQUIRE(VerifyColumns(flipped, found).ok());
    REQUIRE(found.size() == 1);
    REQUIRE(found[0].min == damage[0].min);
  }
  CHECK(heads < 60);
}

TEST_CASE("columns: a cut row is damage") {
  const std::string row = EncodeColumns(ThreeBlocks());
  for (size_t size = 0; size < row.size(); ++size) {
    SeriesSamples out;
    REQUIRE(absl::IsDataLoss(DecodeColumns(std::string_view(row).substr(0, size), {}, out)));
  }
  SeriesSamples out;
  CHECK(absl::IsDataLoss(DecodeColumns(row + "x", {}, out)));
}

TEST_CASE("columns: a block needs none of the others") {
  const SeriesSamples samples = ThreeBlocks();
  const std::string row = EncodeColumns(samples);
  for (size_t block = 0; block < 3; ++block) {
    const TimestampMs min = samples.times[block * kColumnBlockSamplesMax];
    const TimestampMs max =
        samples.times[std::min<size_t>((block + 1) * kColumnBlockSamplesMax, 1200) - 1];
    // Nothing is left of the others: their bytes are overwritten, one by one, until all are bad.
    std::string wiped = row;
    for (size_t i = 0; i < row.size(); ++i) {
      const char before = wiped[i];
      wiped[i] = static_cast<char>(~before);
      SeriesSamples out;
      if (!DecodeColumns(wiped, {.min = min, .max = max}, out).ok()) wiped[i] = before;
    }
    std::vector<ColumnDamage> damage;
    REQUIRE(VerifyColumns(wiped, damage).ok());
    CHECK(damage.size() == 2);
    CHECK(Decoded(wiped, {.min = min, .max = max}) == SampleTexts(Filter(samples, min, max)));
  }
}

TEST_CASE("columns: what their form tells of values is known") {
  SeriesSamples samples;
  std::mt19937_64 random(1);
  const auto known_of = [&](auto value_at) {
    samples.Clear();
    for (size_t i = 0; i < 1200; ++i) {
      samples.times.push_back(static_cast<int64_t>(i) * 1000);
      samples.values.push_back(value_at(i));
    }
    SeriesSamples out;
    REQUIRE(DecodeColumns(EncodeColumns(samples), {}, out).ok());
    SampleTexts(out);  // Checks it.
    return out.known;
  };
  double sum = 0;
  const auto count_up = [&](size_t) { return sum += static_cast<double>(random() % 50); };
  CHECK(known_of(count_up).rising == 1200);
  CHECK(known_of([&](size_t i) { return i % 100 == 7 ? sum += 1 : sum; }).rising == 1200);
  CHECK(known_of([&](size_t) { return (sum += static_cast<double>(random() % 9)) / 100; }).rising ==
        1200);
  CHECK(known_of([&](size_t i) { return i % 100 == 7 ? sum += 1e6 : count_up(i); }).rising == 1200);
  // Too large a leap to be sure that nothing wraps.
  CHECK(known_of([&](size_t i) { return i == 900 ? sum += 0x1p51 : count_up(i); }).rising == 512);
  sum = 0;
  const auto constant = known_of([](size_t) { return 3.5; });
  CHECK(constant.same == 1200);
  CHECK(constant.rising == 1200);
  CHECK(known_of([](size_t) { return StaleNan(); }).numbers == 0);
  // A reset in the second block, and at the beginning of the third one.
  CHECK(known_of([&](size_t i) { return i == 700 ? sum = 0 : count_up(i); }).rising == 512);
  CHECK(known_of([&](size_t i) { return i == 1024 ? sum = 0 : count_up(i); }).rising == 1024);
  const auto stale = known_of([&](size_t i) { return i == 600 ? StaleNan() : count_up(i); });
  CHECK(stale.numbers == 512);
  const auto gauge = known_of([&](size_t) { return static_cast<double>(random() % 1000); });
  CHECK(gauge.numbers == 1200);
  CHECK(gauge.rising == 0);
}

TEST_CASE("columns: what is there already is not appended again") {
  const SeriesSamples samples = ThreeBlocks();
  const std::string row = EncodeColumns(samples);
  SeriesSamples out;
  REQUIRE(DecodeColumns(row, {.max = samples.times[700]}, out).ok());
  REQUIRE(DecodeColumns(row, {}, out).ok());
  CHECK(SampleTexts(out) == SampleTexts(samples));
}

TEST_CASE("columns: damaged shared times cost their block in each row that refers to them") {
  SeriesSamples samples = ThreeBlocks();
  std::string row = EncodeTimes(samples.times);
  row.back() = static_cast<char>(~row.back());
  const auto shared = std::make_shared<SharedTimes>();
  std::vector<ColumnDamage> damage;
  REQUIRE(DecodeTimes(row, *shared, &damage).ok());
  REQUIRE(damage.size() == 1);
  CHECK(damage[0].min == samples.times[1024]);
  REQUIRE(shared->gaps.size() == 1);

  // Blocks of the row begin at other places than those of its times.
  SeriesSamples later = Filter(samples, samples.times[300], kMaxTimestamp);
  const TimesRef ref{1, samples.times[0], 300};
  const std::string referring = EncodeColumns(later, &ref);
  SeriesSamples out;
  damage.clear();
  CHECK(absl::IsDataLoss(DecodeColumns(referring, {.times = shared}, out)));
  out.Clear();
  REQUIRE(DecodeColumns(referring, {.times = shared, .damage = &damage}, out).ok());
  CHECK(damage.size() == 1);
  CHECK(SampleTexts(out) == SampleTexts(Filter(later, kMinTimestamp, samples.times[811])));
}

TEST_CASE("columns: shared times must be there and be the right ones") {
  const SeriesSamples samples = ThreeBlocks();
  const TimesRef ref{1, samples.times[0], 0};
  const std::string row = EncodeColumns(samples, &ref);
  SeriesSamples out;
  CHECK(absl::IsDataLoss(DecodeColumns(row, {}, out)));
  const auto other = std::make_shared<SharedTimes>();
  other->times.assign(samples.times.begin(), samples.times.end() - 1);
  CHECK(absl::IsDataLoss(DecodeColumns(row, {.times = other}, out)));
  other->times.push_back(kMaxTimestamp);
  CHECK(absl::IsDataLoss(DecodeColumns(row, {.times = other}, out)));
  CHECK(absl::IsDataLoss(DecodeColumns(EncodeTimes(samples.times), {}, out)));
  CHECK(absl::IsDataLoss(DecodeTimes(EncodeColumns(samples), *other)));
  const std::vector<TimestampMs> broken = {samples.times[1], samples.times[3]};
  CHECK_FALSE(FindTimes(samples.times, broken).has_value());
}

}  // namespace
}  // namespace varve
