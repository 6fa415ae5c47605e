// SPDX-License-Identifier: Apache-2.0
//
// Queries made to hurt: each ends in a typed error, before it has cost much.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <string>
#include <string_view>
#include <variant>

#include "model/clock.h"
#include "model/memory_budget.h"
#include "model/status_macros.h"
#include "promql/engine.h"
#include "promql/parser.h"
#include "promql/query_memory.h"
#include "tests/memory_storage.h"

namespace varve::promql {
namespace {

MemoryStorage& HostileStorage() {
  static MemoryStorage* storage = [] {
    auto* filled = new MemoryStorage;
    for (int series = 0; series < 10; ++series) {
      const Labels labels = Labels::Of({{kMetricName, "m"}, {"s", std::to_string(series)}});
      for (int i = 0; i < 60; ++i) filled->AddFloat(labels, i * kMinute, i * (series + 1));
    }
    return filled;
  }();
  return *storage;
}

constexpr std::string_view kTooManySamples =
    "query processing would load too many samples into memory in query execution";

struct Outcome {
  QueryErrorType type = QueryErrorType::kInternal;
  std::string text;
};

// Runs `query` over an hour with steps of a second, at most a million samples and a minute.
Outcome Fails(const std::string& query) {
  CAPTURE(query.substr(0, 200));
  EngineOptions options;
  options.features.experimental_functions = true;
  options.max_samples = 1'000'000;
  options.timeout = kMinute;
  Engine engine(options, RealClock());
  const auto result = engine.Range(HostileStorage(), query, 0, kHour, kSecond);
  REQUIRE(!result.ok());
  return {QueryErrorTypeOf(result.status()), MessageOf(result.status())};
}

std::string Nested(std::string_view before, std::string_view inner, std::string_view after,
                   int times) {
  std::string query;
  for (int i = 0; i < times; ++i) query += before;
  query += inner;
  for (int i = 0; i < times; ++i) query += after;
  return query;
}

TEST_CASE("hostile: nesting ends at the limit, for every kind of nesting") {
  for (const auto& nest : {std::pair{"(", ")"},
                           {"abs(", ")"},
                           {"sum(", ")"},
                           {"-(", ")"},
                           {"max_over_time(", "[1m:])"}}) {
    const auto [before, after] = nest;
    CAPTURE(nest.first);
    CHECK(Fails(Nested(before, "m", after, kNestingMax + 1)).type == QueryErrorType::kBadData);
    CHECK(Fails(Nested(before, "m", after, 50'000)).type == QueryErrorType::kBadData);
  }
}

TEST_CASE("hostile: labels that double with every call") {
  const Outcome doubled =
      Fails(Nested("label_replace(", "m{s=\"1\"}", R"x(, "s", "$1$1", "s", "(.*)"))x", 40));
  CHECK(doubled.type == QueryErrorType::kExecution);
  CHECK(doubled.text == "label_replace() may make a label value of more than 1048576 bytes");
  const Outcome joined =
      Fails(Nested("label_join(", "m{s=\"1\"}", R"x(, "s", "", "s", "s"))x", 40));
  CHECK(joined.type == QueryErrorType::kExecution);
  CHECK(joined.text == "label_join() may make a label value of more than 1048576 bytes");
}

TEST_CASE("hostile: long labels count as samples") {
  // Half a megabyte for each of 10 series: as much as 312,500 samples.
  const std::string once =
      fmt::format(R"x(label_replace(m, "a", "{}", "s", "(.*)"))x", std::string(500'000, 'x'));
  EngineOptions options;
  options.max_samples = 300'000;
  Engine engine(options, RealClock());
  const auto refused = engine.Instant(HostileStorage(), once, kMinute);
  REQUIRE(!refused.ok());
  CHECK(MessageOf(refused.status()) == kTooManySamples);
  options.max_samples = 400'000;
  Engine roomy(options, RealClock());
  CHECK(roomy.Instant(HostileStorage(), once, kMinute).ok());
}

TEST_CASE("hostile: a label set for every value at every step") {
  const Outcome outcome = Fails("count_values(\"v\", m * time())");
  CHECK(outcome.type == QueryErrorType::kExecution);
  CHECK(outcome.text == kTooManySamples);
}

TEST_CASE("hostile: subqueries with more steps than samples are allowed") {
  for (const char* query : {"max_over_time(m[1y:1ms])", "absent_over_time(m[10y:1s])",
                            "max_over_time(max_over_time(m[30m:1ms])[30m:1ms])",
                            "topk(1, m[1y:1ms] )", "last_over_time(vector(1)[1y:1ms])"}) {
    CAPTURE(query);
    const Outcome outcome = Fails(query);
    const bool parses = std::string_view(query).find("topk") == std::string_view::npos;
    CHECK(outcome.type == (parses ? QueryErrorType::kExecution : QueryErrorType::kBadData));
  }
}

// A thousand series of one sample, half of them of one group.
MemoryStorage& ManySeries() {
  static MemoryStorage* storage = [] {
    auto* filled = new MemoryStorage;
    for (int series = 0; series < 1000; ++series) {
      for (const char* name : {"many", "one"}) {
        filled->AddFloat(Labels::Of({{kMetricName, name},
                                     {"s", std::to_string(series)},
                                     {"g", series % 2 == 0 ? "even" : "odd"},
                                     {"long", std::string(200, 'x')}}),
                         0, series);
      }
    }
    return filled;
  }();
  return *storage;
}

struct Bounded {
  uint64_t query_bytes_max = 0;
  uint64_t budget_bytes = 0;
  DurationMs range = kHour;
  DurationMs step = kSecond;
};

// Runs `query` with plenty of samples allowed, but little memory.
Outcome FailsInMemory(const MemoryStorage& storage, const std::string& query,
                      const Bounded& bounds) {
  CAPTURE(query.substr(0, 200));
  MemoryBudget budget(bounds.budget_bytes);
  EngineOptions options;
  options.features.experimental_functions = true;
  options.max_samples = uint64_t{1} << 40;
  options.timeout = kMinute;
  options.max_memory_bytes = bounds.query_bytes_max;
  options.memory = &budget;
  Outcome outcome;
  {
    Engine engine(options, RealClock());
    const auto result = engine.Range(storage, query, 0, bounds.range, bounds.step);
    REQUIRE(!result.ok());
    outcome = {QueryErrorTypeOf(result.status()), MessageOf(result.status())};
  }
  CHECK(budget.Of(MemoryPart::kQueries) == 0);
  return outcome;
}

TEST_CASE("hostile: what samples do not count ends at the query's memory") {
  const uint64_t most = 8 << 20;
  const std::string text = "query processing would take more than 8388608 bytes of memory";
  for (const char* query : {
           "count_values(\"v\", m * time())",
           "m * on () group_left () vector(1) + 0 + sum by (s) (m) * on (s) group_left () m",
           "max_over_time(vector(1)[1h:1ms])",
           "max_over_time((vector(1) + vector(2))[20m:1ms])",
           "absent_over_time(m[1d:1ms])",
       }) {
    const Outcome outcome =
        FailsInMemory(HostileStorage(), query, {.query_bytes_max = most, .step = 100});
    CHECK(outcome.type == QueryErrorType::kExecution);
    CHECK(outcome.text == text);
  }
}

TEST_CASE("hostile: joins that multiply labels, and masks for every group") {
  const uint64_t most = 2 << 20;
  const Bounded bounds{.query_bytes_max = most, .range = kMinute, .step = kSecond};
  for (const char* query : {
           "many * on (g) group_left (s) one",
           "many * on (g) group_right (s) one",
           "many * on (s) group_left (g, long) one",
           "many and one",
           "many or one",
           "limitk by (s) (1, many)",
           "sum by (s, long) (many)",
           "label_join(many, \"twice\", \"\", \"long\", \"long\")",
       }) {
    const Outcome outcome = FailsInMemory(ManySeries(), query, bounds);
    CHECK(outcome.type == QueryErrorType::kExecution);
    CHECK(outcome.text == "query processing would take more than 2097152 bytes of memory");
  }
}

TEST_CASE("hostile: the budget of all queries refuses as unavailable, and forgets nothing") {
  for (const char* query :
       {"many * on (s) group_left (g, long) one", "many", "max_over_time(vector(1)[1h:1ms])"}) {
    const Outcome outcome =
        FailsInMemory(ManySeries(), query, {.budget_bytes = 512 << 10, .step = kMinute});
    CHECK(outcome.type == QueryErrorType::kUnavailable);
    CHECK(outcome.text ==
          "the memory limit of 524288 bytes is reached: queries are refused for now");
  }
}

TEST_CASE(
    "hostile: a query's memory at its limit and one step past it, and what its result keeps") {
  MemoryBudget budget(0);
  EngineOptions options;
  options.memory = &budget;
  const std::string query = "sum by (s) (rate(m[5m]))";
  uint64_t peak = 0;
  {
    Engine engine(options, RealClock());
    const auto result = engine.Range(HostileStorage(), query, 0, kHour, kSecond);
    REQUIRE(result.ok());
    peak = result->stats.peak_memory_bytes;
    // 10 series of an hour of seconds, 16 bytes each, and little else.
    CHECK(peak >= 10 * 3300 * 16);
    CHECK(result->memory.bytes() >= 10 * 3300 * 16);
    CHECK(result->memory.bytes() <= 11 * 3600 * 16);
    CHECK(budget.Of(MemoryPart::kQueries) == result->memory.bytes());
  }
  CHECK(budget.Of(MemoryPart::kQueries) == 0);
  options.max_memory_bytes = peak;
  CHECK(Engine(options, RealClock()).Range(HostileStorage(), query, 0, kHour, kSecond).ok());
  options.max_memory_bytes = peak - QueryMemory::kStepBytes;
  CHECK(!Engine(options, RealClock()).Range(HostileStorage(), query, 0, kHour, kSecond).ok());
  CHECK(budget.Of(MemoryPart::kQueries) == 0);
}

TEST_CASE("hostile: many large regular expressions") {
  std::string matchers;
  for (int i = 0; i < 20'000; ++i) matchers += "s=~\"x{1000}\",";
  const Outcome all = Fails("m{" + matchers + "}");
  CHECK(all.type == QueryErrorType::kBadData);
  CHECK(all.text.ends_with("the regular expressions of the query take more than 67108864 bytes"));
  const Outcome few =
      FailsInMemory(HostileStorage(), "m{" + matchers + "}", {.query_bytes_max = 8 << 20});
  CHECK(few.type == QueryErrorType::kExecution);
  const Outcome none =
      FailsInMemory(HostileStorage(), "m{" + matchers + "}", {.budget_bytes = 8 << 20});
  CHECK(none.type == QueryErrorType::kUnavailable);
}

TEST_CASE("hostile: expressions the regular expression engine refuses") {
  for (const char* regex : {"(((a{1000}){1000}){1000})", "(a{1001})", "((((((((((x*)*)*"}) {
    CAPTURE(regex);
    CHECK(Fails(fmt::format("m{{s=~\"{}\"}}", regex)).type == QueryErrorType::kBadData);
  }
}

TEST_CASE("hostile: a long query, at the limit and one byte past it") {
  EngineOptions options;
  Engine engine(options, RealClock());
  std::string query = "m";
  query.resize(kQueryBytesMax, ' ');
  CHECK(engine.Instant(HostileStorage(), query, kMinute).ok());
  query.push_back(' ');
  const auto refused = engine.Instant(HostileStorage(), query, kMinute);
  REQUIRE(!refused.ok());
  CHECK(QueryErrorTypeOf(refused.status()) == QueryErrorType::kBadData);
}

TEST_CASE("hostile: rows that wait to be merged count") {
  MemoryStorage storage;
  constexpr int kSeries = 10;
  for (int series = 0; series < kSeries; ++series) {
    for (const int begin : {0, 40}) {
      const Labels labels =
          Labels::Of({{kMetricName, begin == 0 ? "a" : "b"}, {"s", std::to_string(series)}});
      for (int i = begin; i < begin + 20; ++i) storage.AddFloat(labels, i * kMinute, i);
    }
  }
  const auto run = [&](uint64_t max_samples) {
    EngineOptions options;
    options.max_samples = max_samples;
    Engine engine(options, RealClock());
    return engine.Range(storage, "{__name__=~'a|b'} * 1", 0, kHour, kSecond);
  };
  // A row takes at least half its steps.
  const auto refused = run(kSeries * 3600 / 2 - 1);
  REQUIRE(!refused.ok());
  CHECK(MessageOf(refused.status()) == kTooManySamples);
  const auto merged = run(kSeries * 3600 * 10);
  REQUIRE_MESSAGE(merged.ok(), merged.status().ToString());
}

// Leaves that read together make rows of one another, on other threads: one that goes first must
// not be needed any more. Sanitizers see it if it is.
TEST_CASE("hostile: a query that ends in the middle of shared reading") {
  MemoryStorage storage;
  for (int series = 0; series < 100; ++series) {
    const Labels labels = Labels::Of({{kMetricName, "m"}, {"s", std::to_string(series)}});
    for (int i = 0; i < 60; ++i) storage.AddFloat(labels, i * kMinute, i);
  }
  size_t failed = 0;
  for (uint64_t max_samples = 1000; max_samples < 400'000; max_samples += max_samples / 4) {
    EngineOptions options;
    options.max_samples = max_samples;
    options.worker_threads = 3;
    Engine engine(options, RealClock());
    const auto result = engine.Range(
        storage, "m * (max_over_time(m[5m]) - on (s) sum by (s) (min_over_time(m[5m])))", 0, kHour,
        kSecond);
    if (!result.ok()) ++failed;
  }
  CHECK(failed > 5);
}

}  // namespace
}  // namespace varve::promql
