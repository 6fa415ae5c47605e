// SPDX-License-Identifier: Apache-2.0
//
// Goal: what goes into a chunk comes out with the same bits, whatever it is; bytes that are no
// chunk are refused without harm.
// Method: every pair of hostile values, random series from a printed seed, cut and flipped bytes.
#include <doctest/doctest.h>

#include <bit>
#include <optional>
#include <string>
#include <vector>

#include "tests/tsdb/test_values.h"
#include "tsdb/histogram_chunk.h"
#include "tsdb/xor_chunk.h"

namespace varve {
namespace {

struct Point {
  TimestampMs time;
  double value;
  TimestampMs start;
};

std::vector<std::string> Texts(const std::vector<Point>& points, TimestampMs min, TimestampMs max) {
  std::vector<std::string> texts;
  for (const Point& point : points) {
    if (point.time >= min && point.time <= max) {
      texts.push_back(SampleText(point.time, point.value, point.start));
    }
  }
  return texts;
}

void CheckXorRoundTrip(const std::vector<Point>& points, bool has_starts) {
  OpenXorChunk chunk;
  chunk.has_starts = has_starts;
  for (const Point& point : points) chunk.Append(point.time, point.value, point.start);
  SeriesSamples samples;
  const std::string payload(chunk.payload());
  REQUIRE(DecodeXorChunk(payload, chunk.count, chunk.first_time, has_starts, kMinTimestamp,
                         kMaxTimestamp, samples)
              .ok());
  CHECK(SampleTexts(samples) == Texts(points, kMinTimestamp, kMaxTimestamp));

  // A part of it, appended behind samples that are there already.
  const TimestampMs min = points[points.size() / 3].time;
  const TimestampMs max = points[points.size() * 2 / 3].time;
  samples.Clear();
  samples.times = {points[0].time - 1};
  samples.values = {1};
  REQUIRE(
      DecodeXorChunk(payload, chunk.count, chunk.first_time, has_starts, min, max, samples).ok());
  std::vector<Point> expected = {{points[0].time - 1, 1, 0}};
  for (const Point& point : points) {
    if (point.time >= min && point.time <= max) expected.push_back(point);
  }
  CHECK(SampleTexts(samples) == Texts(expected, kMinTimestamp, kMaxTimestamp));
}

TEST_CASE("xor chunk: each hostile value after each other one") {
  for (const double first : HostileValues()) {
    for (const double second : HostileValues()) {
      CheckXorRoundTrip({{1000, first, 0}, {2000, second, 0}, {3000, first, 0}, {3001, second, 0}},
                        false);
    }
  }
}

TEST_CASE("xor chunk: random series, with and without start times") {
  const uint64_t seed = TestSeed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 300; ++round) {
    const bool has_starts = round % 2 == 1;
    std::vector<Point> points;
    TimestampMs time = static_cast<TimestampMs>(random()) >> (random() % 40 + 3);
    TimestampMs start = 0;
    const size_t count = 1 + random() % kChunkSamplesMax;
    for (size_t i = 0; i < count; ++i) {
      if (has_starts && random() % 5 == 0) start = static_cast<TimestampMs>(random());
      points.push_back({time, RandomValue(random), has_starts ? start : 0});
      time += random() % 10 == 0 ? 1 + static_cast<TimestampMs>(random() >> (20 + random() % 43))
                                 : 15000 + static_cast<TimestampMs>(random() % 5);
    }
    CheckXorRoundTrip(points, has_starts);
  }
}

// Runs of one value at even steps are decoded at once, and so is a sample that is late.
TEST_CASE("xor chunk: runs of repeated samples, cut anywhere") {
  const uint64_t seed = TestSeed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 300; ++round) {
    std::vector<Point> points;
    // Near the ends of time too, where a run is not known to stay within it.
    TimestampMs time = round % 3 == 0 ? kMaxTimestamp - 200'000'000 : 1'700'000'000'000;
    double value = 1;
    for (size_t i = 0; i < kChunkSamplesMax; ++i) {
      const bool late = time < kMaxTimestamp - 100 && random() % 20 == 0;
      points.push_back({late ? time + static_cast<int>(random() % 100) : time, value, 0});
      if (random() % 20 == 0) value = RandomValue(random);
      time += random() % 30 == 0 ? 15'001 : 15'000;
    }
    CheckXorRoundTrip(points, false);
    OpenXorChunk chunk;
    for (const Point& point : points) chunk.Append(point.time, point.value, 0);
    TimestampMs min = points[random() % points.size()].time + static_cast<int>(random() % 3) - 1;
    TimestampMs max = points[random() % points.size()].time + static_cast<int>(random() % 3) - 1;
    if (min > max) std::swap(min, max);
    SeriesSamples samples;
    REQUIRE(DecodeXorChunk(chunk.payload(), chunk.count, points[0].time, false, min, max, samples)
                .ok());
    CHECK(SampleTexts(samples) == Texts(points, min, max));
    const std::optional<FloatSample> newest =
        NewestOfXorChunk(chunk.payload(), chunk.count, points[0].time, min, max);
    REQUIRE(newest.has_value() == !samples.times.empty());
    if (!newest.has_value()) continue;
    CHECK(newest->time == samples.times.back());
    CHECK(std::bit_cast<uint64_t>(newest->value) == std::bit_cast<uint64_t>(samples.values.back()));
  }
}

TEST_CASE("xor chunk: an open chunk goes on from its restored state") {
  std::mt19937_64 random(TestSeed());
  for (size_t cut = 1; cut < 20; ++cut) {
    std::vector<Point> points;
    OpenXorChunk whole;
    OpenXorChunk part;
    OpenXorChunk rest;
    for (size_t i = 0; i < 20; ++i) {
      const Point point{static_cast<TimestampMs>(i * 15000 + random() % 7), RandomValue(random), 0};
      whole.Append(point.time, point.value, 0);
      if (i < cut) part.Append(point.time, point.value, 0);
      if (i + 1 == cut) {
        rest.Restore(part.payload(), part.bits);
        rest.count = part.count;
        rest.first_time = part.first_time;
        rest.last_time = part.last_time;
        rest.last_value = part.last_value;
        rest.last_step = part.last_step;
        rest.window = part.window;
      }
      if (i >= cut) rest.Append(point.time, point.value, 0);
    }
    CHECK(rest.payload() == whole.payload());
  }
}

TEST_CASE("xor chunk: constants take two bits a sample") {
  OpenXorChunk chunk;
  for (int i = 0; i < 120; ++i) chunk.Append(i * 15000, 42, 0);
  CHECK(chunk.payload().size() <= 8 + 5 + 118 * 2 / 8 + 1);
}

TEST_CASE("xor chunk: cut bytes are damage, not samples") {
  OpenXorChunk chunk;
  std::mt19937_64 random(TestSeed());
  for (int i = 0; i < 50; ++i) chunk.Append(i * 1000, RandomValue(random), 0);
  const std::string payload(chunk.payload());
  for (size_t size = 0; size + 1 < payload.size(); ++size) {
    SeriesSamples samples;
    CHECK_FALSE(DecodeXorChunk(std::string_view(payload).substr(0, size), 50, 0, false,
                               kMinTimestamp, kMaxTimestamp, samples)
                    .ok());
  }
  SeriesSamples samples;
  CHECK_FALSE(DecodeXorChunk(payload, 0, 0, false, kMinTimestamp, kMaxTimestamp, samples).ok());
  CHECK_FALSE(DecodeXorChunk(payload, 121, 0, false, kMinTimestamp, kMaxTimestamp, samples).ok());
}

TEST_CASE("xor chunk: a longest chunk is read, one byte more is damage") {
  std::vector<Point> points;
  OpenXorChunk chunk;
  chunk.has_starts = true;
  std::mt19937_64 random(TestSeed());
  for (uint32_t i = 0; i < kChunkSamplesMax; ++i) {
    // Steps, values and start times that take the longest codes there are.
    const Point point{static_cast<TimestampMs>(random() >> 2),
                      std::bit_cast<double>(i % 2 == 0 ? 0x8000000000000001 : uint64_t{0}),
                      static_cast<TimestampMs>(random() >> 2) | 1};
    chunk.Append(point.time, point.value, point.start);
    points.push_back(point);
  }
  std::string payload(chunk.payload());
  SeriesSamples samples;
  const auto decode = [&] {
    samples.Clear();
    return DecodeXorChunk(payload, chunk.count, chunk.first_time, true, kMinTimestamp,
                          kMaxTimestamp, samples);
  };
  REQUIRE(decode().ok());
  std::vector<Point> rising;
  for (const Point& point : points) {
    if (rising.empty() || point.time > rising.back().time) rising.push_back(point);
  }
  CHECK(SampleTexts(samples) == Texts(rising, kMinTimestamp, kMaxTimestamp));
  payload.resize(BitBytes(kXorChunkBitsMax));
  CHECK(decode().ok());  // Bytes behind the last sample are of no concern.
  payload.push_back(0);
  CHECK(absl::IsDataLoss(decode()));
  CHECK(samples.times.empty());
}

TEST_CASE("xor chunk: times that do not rise, or that are there already, are passed over") {
  std::mt19937_64 random(TestSeed());
  for (int round = 0; round < 200; ++round) {
    CAPTURE(round);
    const bool has_starts = round % 2 == 0;
    std::vector<Point> points;
    OpenXorChunk chunk;
    chunk.has_starts = has_starts;
    for (int i = 0; i < 60; ++i) {
      const auto start = static_cast<TimestampMs>(has_starts ? random() % 3 : 0);
      points.push_back({static_cast<TimestampMs>(random() % 50), RandomValue(random), start});
      chunk.Append(points.back().time, points.back().value, start);
    }
    SeriesSamples samples;
    samples.times = {7};
    samples.values = {1};
    const TimestampMs max = 40;
    REQUIRE(
        DecodeXorChunk(chunk.payload(), chunk.count, points[0].time, has_starts, 5, max, samples)
            .ok());
    std::vector<Point> expected = {{7, 1, 0}};
    for (const Point& point : points) {
      if (point.time > max) break;
      if (point.time > expected.back().time) expected.push_back(point);
    }
    CHECK(SampleTexts(samples) == Texts(expected, kMinTimestamp, kMaxTimestamp));
    if (has_starts || expected.size() == 1) continue;
    const std::optional<FloatSample> newest =
        NewestOfXorChunk(chunk.payload(), chunk.count, points[0].time, 8, max);
    REQUIRE(newest.has_value());
    CHECK(newest->time == expected.back().time);
    CHECK(std::bit_cast<uint64_t>(newest->value) == std::bit_cast<uint64_t>(expected.back().value));
  }
}

// ------------------------------------------------------------------------------------- histograms

struct HistogramPoint {
  TimestampMs time;
  Histogram histogram;
  TimestampMs start;
};

std::vector<std::string> CutIntoChunks(const std::vector<HistogramPoint>& points,
                                       size_t* chunk_count = nullptr) {
  SeriesSamples samples;
  std::unique_ptr<OpenHistogramChunk> chunk;
  size_t chunks = 0;
  const auto close = [&] {
    ++chunks;
    REQUIRE(DecodeHistogramChunk(chunk->payload(), chunk->count(), chunk->first_time(),
                                 kMinTimestamp, kMaxTimestamp, samples)
                .ok());
  };
  for (const HistogramPoint& point : points) {
    if (chunk != nullptr && !chunk->Fits(point.histogram)) {
      close();
      chunk.reset();
    }
    if (chunk == nullptr) chunk = std::make_unique<OpenHistogramChunk>(point.histogram);
    chunk->Append(point.time, point.histogram, point.start);
    // Restored in the middle, it goes on all the same.
    auto restored =
        OpenHistogramChunk::Restore(chunk->payload(), chunk->count(), chunk->first_time());
    REQUIRE(restored.ok());
    CHECK((*restored)->last() == point.histogram);
    CHECK((*restored)->last().integer_counts == point.histogram.integer_counts);
    CHECK((*restored)->payload() == chunk->payload());
    if (point.time % 3 == 0) chunk = *std::move(restored);
  }
  close();
  if (chunk_count != nullptr) *chunk_count = chunks;
  return SampleTexts(samples);
}

std::vector<std::string> HistogramTexts(const std::vector<HistogramPoint>& points) {
  std::vector<std::string> texts;
  for (const HistogramPoint& point : points) {
    texts.push_back(SampleText(point.time, point.histogram, point.start));
  }
  return texts;
}

TEST_CASE("histogram chunk: random histograms, every field") {
  const uint64_t seed = TestSeed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 100; ++round) {
    std::vector<HistogramPoint> points;
    Histogram histogram = RandomHistogram(random);
    TimestampMs time = static_cast<TimestampMs>(random() % 1000000);
    for (int i = 0; i < 40; ++i) {
      switch (random() % 12) {
        case 0:
          histogram = RandomHistogram(random);
          break;
        case 1:
          histogram.reset_hint = static_cast<ResetHint>(random() % 4);
          break;
        case 2:
          histogram.sum = RandomValue(random);
          break;
        case 3:
          if (!histogram.positive.counts.empty()) histogram.positive.counts[0] = 0.5;
          break;
        default:
          histogram = Grown(histogram, random);
      }
      points.push_back({time, histogram, random() % 3 == 0 ? time - 7 : 0});
      time += 1 + static_cast<TimestampMs>(random() % 30000);
    }
    CHECK(CutIntoChunks(points) == HistogramTexts(points));
  }
}

TEST_CASE("histogram chunk: hostile counts, thresholds and bounds keep their bits") {
  std::vector<HistogramPoint> points;
  TimestampMs time = 0;
  for (const double value : HostileValues()) {
    for (const bool integer : {false, true}) {
      Histogram histogram;
      histogram.integer_counts = integer;
      histogram.sum = 1;
      histogram.count = value;
      histogram.zero_count = value;
      histogram.zero_threshold = value;
      histogram.positive = {{{-3, 2}}, {value, 1}};
      histogram.negative = {{{7, 1}}, {value}};
      histogram.custom_bounds = {value};
      points.push_back({++time, histogram, 0});
    }
  }
  CHECK(CutIntoChunks(points) == HistogramTexts(points));
}

TEST_CASE("histogram chunk: a staleness marker does not cut it") {
  std::mt19937_64 random(TestSeed());
  Histogram histogram = RandomHistogram(random);
  histogram.integer_counts = true;
  Histogram stale;
  stale.integer_counts = true;
  stale.sum = StaleNan();
  std::vector<HistogramPoint> points;
  for (int i = 0; i < 10; ++i) {
    histogram = Grown(histogram, random);
    points.push_back({i * 10, i % 4 == 3 ? stale : histogram, 0});
  }
  size_t chunks = 0;
  CHECK(CutIntoChunks(points, &chunks) == HistogramTexts(points));
  CHECK(chunks == 1);

  // A stale histogram with buckets keeps them.
  histogram.sum = StaleNan();
  CHECK(CutIntoChunks({{1, histogram, 0}}) == HistogramTexts({{1, histogram, 0}}));
}

TEST_CASE("histogram chunk: cut and flipped bytes are refused or decode to something") {
  std::mt19937_64 random(TestSeed());
  Histogram histogram = RandomHistogram(random);
  OpenHistogramChunk chunk(histogram);
  for (int i = 0; i < 10; ++i) {
    chunk.Append(i * 1000, histogram, 0);
    histogram = Grown(histogram, random);
  }
  const std::string payload = chunk.payload();
  for (size_t size = 0; size + 1 < payload.size(); ++size) {
    SeriesSamples samples;
    CHECK_FALSE(DecodeHistogramChunk(std::string_view(payload).substr(0, size), 10, 0,
                                     kMinTimestamp, kMaxTimestamp, samples)
                    .ok());
  }
  for (size_t bit = 0; bit < payload.size() * 8; ++bit) {
    std::string flipped = payload;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
    SeriesSamples samples;
    const absl::Status status =
        DecodeHistogramChunk(flipped, 10, 0, kMinTimestamp, kMaxTimestamp, samples);
    CHECK((status.ok() || absl::IsDataLoss(status)));
  }
}

TEST_CASE("single histograms keep every field") {
  std::mt19937_64 random(TestSeed());
  for (int i = 0; i < 200; ++i) {
    const Histogram histogram = RandomHistogram(random);
    std::string bytes;
    PutHistogram(histogram, bytes);
    ByteReader reader(bytes);
    const std::optional<Histogram> read = ReadHistogram(reader);
    REQUIRE(read.has_value());
    CHECK(reader.done());
    CHECK(SampleText(0, *read, 0) == SampleText(0, histogram, 0));
    ByteReader cut(std::string_view(bytes).substr(0, bytes.size() - 1));
    CHECK_FALSE(ReadHistogram(cut).has_value());
  }
}

}  // namespace
}  // namespace varve
