// SPDX-License-Identifier: Apache-2.0
//
// What scripts cannot reach: limits, cancellation, error types, options, statistics, and the
// engine without delayed name removal.
#include "promql/engine.h"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <prometheus/registry.h>

#include <atomic>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "model/clock.h"
#include "model/status_macros.h"
#include "tests/memory_storage.h"

namespace varve::promql {
namespace {

MemoryStorage& FilledStorage() {
  static MemoryStorage* storage = [] {
    auto* filled = new MemoryStorage;
    for (int series = 0; series < 10; ++series) {
      const Labels labels = Labels::Of({{kMetricName, "m_total"}, {"s", std::to_string(series)}});
      for (int i = 0; i < 60; ++i) filled->AddFloat(labels, i * kMinute, i * (series + 1));
    }
    filled->AddFloat(Labels::Of({{kMetricName, "other_total"}, {"s", "0"}}), 0, 1);
    return filled;
  }();
  return *storage;
}

EngineOptions Options() {
  EngineOptions options;
  options.features.experimental_functions = true;
  return options;
}

std::string ErrorOf(const absl::StatusOr<QueryResult>& result, QueryErrorType type) {
  REQUIRE(!result.ok());
  CHECK(QueryErrorTypeOf(result.status()) == type);
  return MessageOf(result.status());
}

TEST_CASE("engine: the kinds of results") {
  Engine engine(Options(), RealClock());
  const auto kind = [&](std::string_view query) {
    const auto result = engine.Instant(FilledStorage(), query, kMinute);
    REQUIRE(result.ok());
    return result->value.index();
  };
  CHECK(kind("1 + 1") == 0);
  CHECK(kind("\"text\"") == 1);
  CHECK(kind("m_total") == 2);
  CHECK(kind("m_total[5m]") == 3);
  CHECK(kind("m_total[5m:1m]") == 3);

  const auto range = engine.Range(FilledStorage(), "m_total{s=~\"[12]\"}", 0, 2 * kMinute, kMinute);
  REQUIRE(range.ok());
  const Matrix& matrix = std::get<Matrix>(range->value);
  REQUIRE(matrix.size() == 2);
  CHECK(matrix[0].labels < matrix[1].labels);
  REQUIRE(matrix[1].floats.size() == 3);
  CHECK(matrix[1].floats[2].time == 2 * kMinute);
  CHECK(matrix[1].floats[2].value == 6);
}

TEST_CASE("engine: a range query of another type is bad data") {
  Engine engine(Options(), RealClock());
  CHECK(ErrorOf(engine.Range(FilledStorage(), "m_total[5m]", 0, kMinute, kMinute),
                QueryErrorType::kBadData) ==
        "invalid expression type \"range vector\" for range query, must be Scalar or instant "
        "Vector");
  CHECK(ErrorOf(engine.Instant(FilledStorage(), "m_total +", 0), QueryErrorType::kBadData) ==
        "1:10: parse error: unexpected end of input");
}

TEST_CASE("engine: sample limit, at the limit and one past it") {
  EngineOptions options = Options();
  options.max_samples = 30;
  Engine engine(options, RealClock());
  constexpr std::string_view kQuery = "m_total";
  CHECK(engine.Range(FilledStorage(), kQuery, 0, 2 * kMinute, kMinute).ok());
  CHECK(ErrorOf(engine.Range(FilledStorage(), kQuery, 0, 3 * kMinute, kMinute),
                QueryErrorType::kExecution) ==
        "query processing would load too many samples into memory in query execution");
  // An aggregation holds groups, not series.
  CHECK(engine.Range(FilledStorage(), "sum(m_total)", 0, 3 * kMinute, kMinute).ok());
  // Steps count before anything is evaluated.
  ErrorOf(engine.Instant(FilledStorage(), "sum_over_time(m_total[10y:1ms])", 0),
          QueryErrorType::kExecution);
  ErrorOf(engine.Range(FilledStorage(), "1", 0, kDay, 1), QueryErrorType::kExecution);
}

TEST_CASE("engine: time limit and cancellation") {
  ManualClock clock(0);
  EngineOptions options = Options();
  options.timeout = kSecond;
  Engine engine(options, clock);
  int asked = 0;
  QueryOptions query;
  query.canceled = [&] {
    clock.Advance(300);
    return ++asked > 1000;
  };
  CHECK(ErrorOf(engine.Instant(FilledStorage(), "m_total", kMinute, query),
                QueryErrorType::kTimeout) == "query timed out in expression evaluation");
  CHECK(asked < 10);

  query.canceled = [&] { return true; };
  CHECK(ErrorOf(engine.Instant(FilledStorage(), "m_total", kMinute, query),
                QueryErrorType::kCanceled) == "query was canceled in expression evaluation");

  // A query may ask for less time than the engine gives, not for more.
  query.canceled = [&] {
    clock.Advance(300);
    return false;
  };
  query.timeout = kHour;
  ErrorOf(engine.Instant(FilledStorage(), "m_total", kMinute, query), QueryErrorType::kTimeout);
}

TEST_CASE("engine: at most so many queries at a time") {
  EngineOptions options = Options();
  options.max_concurrency = 2;
  Engine engine(options, RealClock());
  std::atomic<int> inside{0};
  std::atomic<int> most{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      QueryOptions query;
      bool entered = false;
      query.canceled = [&]() mutable {
        // Asked between series: by then the query has its place.
        if (!entered) {
          entered = true;
          const int now = ++inside;
          int seen = most;
          while (now > seen && !most.compare_exchange_weak(seen, now)) {
          }
        }
        return false;
      };
      CHECK(engine.Instant(FilledStorage(), "sum(m_total)", kMinute).ok());
      CHECK(engine.Range(FilledStorage(), "m_total", 0, kHour, kMinute).ok());
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(most <= 2);
}

TEST_CASE("engine: limit cuts the result and says so") {
  Engine engine(Options(), RealClock());
  QueryOptions query;
  query.limit = 3;
  const auto cut = engine.Instant(FilledStorage(), "m_total", kMinute, query);
  REQUIRE(cut.ok());
  CHECK(std::get<Vector>(cut->value).size() == 3);
  REQUIRE(cut->annotations.warnings().size() == 1);
  CHECK(cut->annotations.warnings()[0] == "results truncated due to limit");
  query.limit = 10;
  const auto whole = engine.Instant(FilledStorage(), "m_total", kMinute, query);
  REQUIRE(whole.ok());
  CHECK(std::get<Vector>(whole->value).size() == 10);
  CHECK(whole->annotations.empty());
}

TEST_CASE("engine: names go at once without delayed name removal") {
  Engine engine(Options(), RealClock());
  const auto result = engine.Instant(FilledStorage(), "sum by (__name__) (-m_total)", kMinute);
  REQUIRE(result.ok());
  CHECK(std::get<Vector>(result->value)[0].labels.empty());
  CHECK(
      ErrorOf(
          engine.Instant(FilledStorage(), "-{__name__=~\"m_total|other_total\", s=\"0\"}", kMinute),
          QueryErrorType::kExecution) == "vector cannot contain metrics with the same labelset");

  EngineOptions delayed = Options();
  delayed.features.delayed_name_removal = true;
  Engine later(delayed, RealClock());
  const auto kept =
      later.Instant(FilledStorage(),
                    "label_replace(-m_total{s=\"1\"}, \"__name__\", \"n\", \"\", \"\")", kMinute);
  REQUIRE(kept.ok());
  CHECK(std::get<Vector>(kept->value)[0].labels.Get(kMetricName) == "n");
}

TEST_CASE("engine: lookback can be set for one query") {
  Engine engine(Options(), RealClock());
  const auto count = [&](DurationMs lookback) {
    QueryOptions query;
    query.lookback_delta = lookback;
    const auto result =
        engine.Instant(FilledStorage(), "count(m_total)", 61 * kMinute + kSecond, query);
    REQUIRE(result.ok());
    return std::get<Vector>(result->value).size();
  };
  CHECK(count(0) == 1);
  CHECK(count(kMinute) == 0);
  CHECK(count(3 * kMinute) == 1);
}

TEST_CASE("engine: statistics and self-metrics") {
  prometheus::Registry registry;
  Engine engine(Options(), RealClock(), &registry);
  const auto result =
      engine.Range(FilledStorage(), "rate(m_total[5m])", 10 * kMinute, 20 * kMinute, kMinute);
  REQUIRE(result.ok());
  // 10 series, 11 windows of 5 samples, reading 15 samples each.
  CHECK(result->stats.total_queryable_samples == 550);
  CHECK(result->stats.samples_read == 150);
  CHECK(result->stats.peak_samples >= 110);
  CHECK(result->stats.total_queryable_samples_per_step.empty());
  QueryOptions per_step;
  per_step.per_step_stats = true;
  const auto counted =
      engine.Range(FilledStorage(), "rate(m_total[5m])", 0, 2 * kMinute, kMinute, per_step);
  REQUIRE(counted.ok());
  const StepCounts expected{{0, 10}, {kMinute, 20}, {2 * kMinute, 30}};
  CHECK(counted->stats.total_queryable_samples_per_step == expected);
  const StepCounts read{{0, 10}, {kMinute, 10}, {2 * kMinute, 10}};
  CHECK(counted->stats.samples_read_per_step == read);
  bool found = false;  // The counter has both queries: 550 + 60 samples.
  for (const prometheus::MetricFamily& family : registry.Collect()) {
    if (family.name != "prometheus_engine_query_samples_total") continue;
    found = true;
    CHECK(family.metric[0].counter.value == 610);
  }
  CHECK(found);
}

// As Prometheus counts: the points of a subquery, not what made them; what `@` fixes at every step.
TEST_CASE("engine: statistics of subqueries, fixed parts and range vectors") {
  Engine engine(Options(), RealClock());
  QueryOptions per_step;
  per_step.per_step_stats = true;
  const auto stats = [&](std::string_view query, TimestampMs end) {
    const auto result =
        end == 0 ? engine.Instant(FilledStorage(), query, 10 * kMinute, per_step)
                 : engine.Range(FilledStorage(), query, 10 * kMinute, end, kMinute, per_step);
    REQUIRE(result.ok());
    uint64_t sum = 0;
    for (const auto& [time, count] : result->stats.total_queryable_samples_per_step) sum += count;
    CHECK(sum == result->stats.total_queryable_samples);
    uint64_t read = 0;
    for (const auto& [time, count] : result->stats.samples_read_per_step) read += count;
    CHECK(read == result->stats.samples_read);
    return result->stats;
  };
  // 10 series, 5 points; not the 2 samples below each.
  CHECK(stats("max_over_time(rate(m_total[2m])[5m:1m])", 0).total_queryable_samples == 50);
  CHECK(stats("absent_over_time(rate(m_total[2m])[5m:1m])", 0).total_queryable_samples == 50);
  CHECK(stats("absent_over_time(m_total[2m])", 11 * kMinute).total_queryable_samples == 40);
  const QueryStats fixed = stats("m_total @ 300", 12 * kMinute);
  const StepCounts everywhere{{10 * kMinute, 10}, {11 * kMinute, 10}, {12 * kMinute, 10}};
  CHECK(fixed.total_queryable_samples_per_step == everywhere);
  CHECK(fixed.samples_read_per_step[0].second == fixed.samples_read);
  CHECK(stats("rate(m_total[2m] @ 300)", 12 * kMinute).total_queryable_samples == 60);
  CHECK(stats("m_total[3m]", 0).total_queryable_samples == 30);
}

TEST_CASE("engine: no time at all") {
  Engine engine(Options(), RealClock());
  QueryOptions options;
  options.timeout = -1;
  CHECK(ErrorOf(engine.Instant(FilledStorage(), "m_total", kMinute, options),
                QueryErrorType::kTimeout) == "query timed out in query queue");
}

TEST_CASE("engine: long chains") {
  Engine engine(Options(), RealClock());
  const auto chain = [](std::string_view term, std::string_view op, int terms) {
    std::string query(term);
    for (int i = 1; i < terms; ++i) query += fmt::format(" {} {}", op, term);
    return query;
  };
  const auto result =
      engine.Range(FilledStorage(), chain("m_total{s=\"1\"}", "or", 2400), 0, 2 * kMinute, kMinute);
  REQUIRE(result.ok());
  REQUIRE(std::get<Matrix>(result->value).size() == 1);
  CHECK(std::get<Matrix>(result->value)[0].floats.size() == 3);

  const auto sum = engine.Instant(FilledStorage(), chain("time()", "+", 1001), kSecond);
  REQUIRE(sum.ok());
  CHECK(std::get<ScalarResult>(sum->value).value == 1001);
  // Constants need no operators.
  const auto folded = engine.Instant(FilledStorage(), chain("1", "+", 1002), 0);
  REQUIRE(folded.ok());
  CHECK(std::get<ScalarResult>(folded->value).value == 1002);
  CHECK(ErrorOf(engine.Instant(FilledStorage(), chain("time()", "+", 1002), 0),
                QueryErrorType::kExecution) == "more than 1000 binary operators in one chain");
  CHECK(engine
            .Instant(FilledStorage(), std::string(150, '(') + "m_total" + std::string(150, ')'),
                     kMinute)
            .ok());
}

TEST_CASE("engine: times at the ends of their type do not overflow") {
  Engine engine(Options(), RealClock());
  CHECK_FALSE(engine.Range(FilledStorage(), "m_total", kMinTimestamp, kMaxTimestamp, 1).ok());
  for (TimestampMs time : {kMinTimestamp, kMaxTimestamp}) {
    CHECK(engine.Instant(FilledStorage(), "rate(m_total[1h] offset -1h)", time).ok());
    CHECK(engine.Instant(FilledStorage(), "m_total @ 9e15 offset 100y", time).ok());
    CHECK(engine.Range(FilledStorage(), "m_total", time, time, kMinute).ok());
    CHECK(engine.Range(FilledStorage(), "rate(m_total[1h] offset -1h)", time, time, kMinute).ok());
  }
}

TEST_CASE("engine: storage failures are execution errors") {
  class Broken : public Queryable {
   public:
    absl::StatusOr<std::unique_ptr<Querier>> OpenQuerier(TimestampMs, TimestampMs) const override {
      return absl::DataLossError("disk on fire");
    }
  };
  Engine engine(Options(), RealClock());
  CHECK(ErrorOf(engine.Instant(Broken(), "m_total", 0), QueryErrorType::kExecution) ==
        "expanding series: disk on fire");
}

}  // namespace
}  // namespace varve::promql
