// SPDX-License-Identifier: Apache-2.0
//
// Random series and random queries over them, the same for the same seed: gaps, staleness markers,
// counter resets, NaN, infinities and histograms; nested functions, aggregations, matching and
// subqueries.
#pragma once

#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "model/time.h"
#include "promql/engine.h"
#include "promql/row.h"
#include "tests/memory_storage.h"

namespace varve::promql {

// TEST_SEED=<n> replays a failure.
uint64_t TestSeed();
// TEST_ROUNDS=<n> makes the tests go on for longer.
int TestRounds(int standard);

// The steps all generated queries are evaluated at.
inline const Grid kTestGrid = {.start = 0, .step = 45 * kSecond, .count = 14};

class QueryGenerator {
 public:
  explicit QueryGenerator(uint64_t seed) : random_(seed) {}

  // Adds up to 24 series: a_total (counters), b (gauges), h (histograms) and mix (both).
  void Fill(MemoryStorage& storage);
  // An instant vector expression of up to `depth` levels.
  std::string Vector(int depth);
  // A function over a range selector or a subquery, up to `depth` levels deep.
  std::string RangeCall(int depth);
  // An expression in which parts or selectors occur several times, or selectors are joined.
  std::string Repeating(int depth);

 private:
  size_t Below(size_t bound) {
    return std::uniform_int_distribution<size_t>(0, bound - 1)(random_);
  }
  bool Chance(int percent) { return Below(100) < static_cast<size_t>(percent); }
  template <typename T, size_t N>
  const T& Pick(const T (&items)[N]) {
    return items[Below(N)];
  }
  void FillSeries(MemoryStorage& storage, const std::string& name, const char* job,
                  const char* inst);
  double Gauge();
  std::string Selector();
  std::string Narrowed();
  std::string Modifiers();
  std::string Grouping();
  std::string Scalar(int depth);

  std::mt19937_64 random_;
};

// One sample as text, floats and buckets to `digits` digits.
std::string SampleText(double value, const Histogram* histogram, int digits);
// What each step of kTestGrid shows: samples as text by labels as text.
using StepTexts = std::map<std::string, std::string>;
std::vector<StepTexts> TextsByStep(const Matrix& matrix, int digits);

// A range query's series and annotations, to the last digit.
std::string AnswerText(const QueryResult& result);

}  // namespace varve::promql
