// SPDX-License-Identifier: Apache-2.0
//
// Shared parts of the storage tests.
#include "tests/tsdb/test_values.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <filesystem>
#include <limits>

namespace varve {

uint64_t TestSeed() {
  const char* text = std::getenv("TEST_SEED");
  return text == nullptr ? 20260101 : std::strtoull(text, nullptr, 10);
}

int TestRounds(int rounds) {
  const char* text = std::getenv("TEST_EFFORT");
  const int percent = text == nullptr ? 100 : std::atoi(text);
  return std::max(rounds * percent / 100, 1);
}

TempDir::TempDir() {
  std::string name = (std::filesystem::temp_directory_path() / "varve_tsdb_XXXXXX").native();
  REQUIRE(mkdtemp(name.data()) != nullptr);
  path_ = name;
}

TempDir::~TempDir() {
  std::error_code error;
  std::filesystem::remove_all(path_, error);
}

const std::vector<double>& HostileValues() {
  using Limits = std::numeric_limits<double>;
  static const std::vector<double> kValues = {
      0.0,
      -0.0,
      1.0,
      -1.0,
      0.1,
      Limits::infinity(),
      -Limits::infinity(),
      StaleNan(),
      NormalNan(),
      std::bit_cast<double>(uint64_t{0x7ff0000000000001}),
      std::bit_cast<double>(uint64_t{0xffffffffffffffff}),
      std::bit_cast<double>(uint64_t{0x7ff8dead00beef00}),
      Limits::denorm_min(),
      -Limits::denorm_min(),
      Limits::min(),
      Limits::max(),
      Limits::lowest(),
      9007199254740992.0,
      9007199254740993.0 * 2,
      123456.789,
  };
  return kValues;
}

uint64_t BitsOf(double value) { return std::bit_cast<uint64_t>(value); }

double RandomValue(std::mt19937_64& random) {
  switch (random() % 4) {
    case 0:
      return HostileValues()[random() % HostileValues().size()];
    case 1:
      return std::bit_cast<double>(random());
    default:
      return static_cast<double>(random() % 1000);
  }
}

namespace {

void RandomSide(std::mt19937_64& random, bool integers, Buckets& side) {
  const size_t spans = random() % 4;
  for (size_t i = 0; i < spans; ++i) {
    const auto offset = static_cast<int32_t>(random() % 10) + (i == 0 ? -5 : 0);
    const auto length = static_cast<uint32_t>(1 + random() % 5);
    side.spans.push_back({offset, length});
    for (uint32_t j = 0; j < length; ++j) {
      side.counts.push_back(integers ? static_cast<double>(random() % 100)
                                     : static_cast<double>(random() % 100) / 7);
    }
  }
}

double Total(const Histogram& histogram) {
  double total = histogram.zero_count;
  for (const Buckets* side : {&histogram.positive, &histogram.negative}) {
    for (const double count : side->counts) total += count;
  }
  return total;
}

}  // namespace

Histogram RandomHistogram(std::mt19937_64& random) {
  Histogram histogram;
  histogram.integer_counts = random() % 2 == 0;
  histogram.reset_hint = static_cast<ResetHint>(random() % 4);
  histogram.sum = RandomValue(random);
  if (IsStaleNan(histogram.sum)) histogram.sum = 1;
  if (random() % 4 == 0) {
    histogram.schema = kCustomBucketsSchema;
    histogram.custom_bounds = {-1.5, 0.25, 10, 1e9};
    histogram.positive.spans = {{0, 2}, {1, 2}};
    histogram.positive.counts = {1, 2, 3, 4};
  } else {
    histogram.schema = static_cast<int32_t>(random() % 13) - 4;
    histogram.zero_threshold = random() % 2 == 0 ? 0 : 1e-128;
    histogram.zero_count = static_cast<double>(random() % 10);
    RandomSide(random, histogram.integer_counts, histogram.positive);
    RandomSide(random, histogram.integer_counts, histogram.negative);
  }
  histogram.count = Total(histogram);
  return histogram;
}

Histogram Grown(const Histogram& before, std::mt19937_64& random) {
  Histogram histogram = before;
  for (Buckets* side : {&histogram.positive, &histogram.negative}) {
    for (double& count : side->counts) count += static_cast<double>(random() % 3);
  }
  histogram.count = Total(histogram);
  histogram.sum = before.sum + static_cast<double>(random() % 100) / 8;
  return histogram;
}

std::string SampleText(TimestampMs time, double value, TimestampMs start) {
  std::string text = fmt::format("{}={:x}", time, BitsOf(value));
  if (start != 0) text += fmt::format("@{}", start);
  return text;
}

std::string SampleText(TimestampMs time, const Histogram& histogram, TimestampMs start) {
  std::string text =
      fmt::format("{}={{schema {} hint {} {} zero {:x} {:x} count {:x} sum {:x}", time,
                  histogram.schema, static_cast<int>(histogram.reset_hint),
                  histogram.integer_counts ? "integer" : "float", BitsOf(histogram.zero_threshold),
                  BitsOf(histogram.zero_count), BitsOf(histogram.count), BitsOf(histogram.sum));
  for (const Buckets* side : {&histogram.positive, &histogram.negative}) {
    text += " |";
    for (const Span& span : side->spans) text += fmt::format(" {}:{}", span.offset, span.length);
    for (const double count : side->counts) text += fmt::format(" {:x}", BitsOf(count));
  }
  for (const double bound : histogram.custom_bounds) text += fmt::format(" ,{:x}", BitsOf(bound));
  text += "}";
  if (start != 0) text += fmt::format("@{}", start);
  return text;
}

namespace {

// What is said to be known of the values holds.
void CheckKnown(const SeriesSamples& samples) {
  const std::vector<double>& values = samples.values;
  const SeriesSamples::Known& known = samples.known;
  REQUIRE(std::max({known.numbers, known.rising, known.same}) <= values.size());
  for (size_t i = 0; i < known.numbers; ++i) REQUIRE(values[i] == values[i]);
  for (size_t i = 0; i < known.rising; ++i) {
    REQUIRE((i == 0 ? values[i] == values[i] : values[i] >= values[i - 1]));
  }
  for (size_t i = 0; i < known.same; ++i) {
    REQUIRE(std::bit_cast<uint64_t>(values[i]) == std::bit_cast<uint64_t>(values[0]));
  }
}

}  // namespace

std::vector<std::string> SampleTexts(const SeriesSamples& samples) {
  std::vector<std::string> texts;
  REQUIRE(samples.times.size() == samples.values.size());
  REQUIRE((samples.start_times.empty() || samples.start_times.size() == samples.times.size()));
  REQUIRE((samples.histogram_start_times.empty() ||
           samples.histogram_start_times.size() == samples.histograms.size()));
  CheckKnown(samples);
  for (size_t i = 0; i < samples.times.size(); ++i) {
    texts.push_back(SampleText(samples.times[i], samples.values[i],
                               samples.start_times.empty() ? 0 : samples.start_times[i]));
  }
  for (size_t i = 0; i < samples.histograms.size(); ++i) {
    texts.push_back(
        SampleText(samples.histograms[i].time, *samples.histograms[i].histogram,
                   samples.histogram_start_times.empty() ? 0 : samples.histogram_start_times[i]));
  }
  return texts;
}

Contents ReadAll(const Queryable& storage, TimestampMs min, TimestampMs max,
                 const std::vector<Matcher>& matchers) {
  Contents contents;
  const auto querier = storage.OpenQuerier(min, max);
  REQUIRE(querier.ok());
  const auto set = (*querier)->Select(matchers, {});
  REQUIRE(set.ok());
  SeriesSamples samples;
  for (size_t i = 0; i < (*set)->size(); ++i) {
    if (i > 0) REQUIRE((*set)->labels(i - 1) < (*set)->labels(i));
    const absl::Status status = (*set)->Read(i, min, max, samples);
    REQUIRE_MESSAGE(status.ok(), status.ToString());
    contents[(*set)->labels(i).ToString()] = SampleTexts(samples);
  }
  return contents;
}

void MustAppend(Appendable& storage, const Labels& labels, TimestampMs time, double value) {
  const std::unique_ptr<Appender> appender = storage.NewAppender();
  const auto ref = appender->Append(kNoSeries, labels, time, value);
  REQUIRE_MESSAGE(ref.ok(), ref.status().ToString());
  const absl::Status status = appender->Commit();
  REQUIRE_MESSAGE(status.ok(), status.ToString());
}

AppendError TryAppend(Appendable& storage, const Labels& labels, TimestampMs time, double value) {
  const std::unique_ptr<Appender> appender = storage.NewAppender();
  const auto ref = appender->Append(kNoSeries, labels, time, value);
  if (!ref.ok()) return AppendErrorOf(ref.status());
  REQUIRE(appender->Commit().ok());
  return AppendError::kNone;
}

std::unique_ptr<Db> MustOpen(const DbOptions& options, Clock& clock) {
  auto db = Db::Open(options, clock);
  REQUIRE_MESSAGE(db.ok(), db.status().ToString());
  return *std::move(db);
}

}  // namespace varve
