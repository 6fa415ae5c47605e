// SPDX-License-Identifier: Apache-2.0
//
// Queries made to hurt: each ends in a typed error, before it has cost much.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <string>
#include <string_view>
#include <variant>

#include "model/clock.h"
#include "model/status_macros.h"
#include "promql/engine.h"
#include "promql/parser.h"
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

}  // namespace
}  // namespace varve::promql
