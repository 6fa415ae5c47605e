// SPDX-License-Identifier: Apache-2.0
//
// Goal: a range query is nothing but one instant query per step.
// Method: random data (gaps, staleness, resets, NaN, histograms) and random queries from a seed;
// the range query's result, step by step, must be what instant queries give (to ten digits: the
// order of addition within a group may differ). Sliding windows, merged series, broadcast `@` parts
// and per-step matching all take part. Where one instant query fails, the range query must fail,
// and only there.
#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "model/clock.h"
#include "model/status_macros.h"
#include "promql/engine.h"
#include "tests/memory_storage.h"
#include "tests/promql/query_generator.h"

namespace varve::promql {
namespace {

TEST_CASE("engine: a range query is one instant query per step") {
  const uint64_t seed = TestSeed();
  MESSAGE("TEST_SEED=" << seed);
  QueryGenerator generator(seed);
  size_t compared = 0;
  for (int round = 0; round < TestRounds(12); ++round) {
    MemoryStorage storage;
    generator.Fill(storage);
    for (int i = 0; i < 120; ++i) {
      const std::string query = generator.Vector(3);
      CAPTURE(query);
      EngineOptions options;
      options.features.experimental_functions = true;

      Engine engine(options, RealClock());
      const auto range =
          engine.Range(storage, query, kTestGrid.start, kTestGrid.end(), kTestGrid.step);
      std::vector<StepTexts> by_step;
      if (range.ok()) {
        by_step = TextsByStep(std::get<Matrix>(range->value), 10);
      } else {
        CAPTURE(MessageOf(range.status()));
        REQUIRE(QueryErrorTypeOf(range.status()) == QueryErrorType::kExecution);
      }
      bool any_failed = false;
      for (size_t step = 0; step < kTestGrid.count; ++step) {
        CAPTURE(step);
        const auto instant = engine.Instant(storage, query, kTestGrid.TimeAt(step));
        if (!instant.ok()) {
          any_failed = true;
          continue;
        }
        StepTexts got;
        for (const VectorSample& sample : std::get<promql::Vector>(instant->value)) {
          got[sample.labels.ToString()] = SampleText(sample.value, sample.histogram.get(), 10);
        }
        if (range.ok()) {
          CHECK(got == by_step[step]);
          compared += got.size();
        }
      }
      CHECK(any_failed == !range.ok());
    }
  }
  CHECK(compared > 10'000);
}

}  // namespace
}  // namespace varve::promql
