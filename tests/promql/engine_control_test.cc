// SPDX-License-Identifier: Apache-2.0
//
// Looking at queries while they run, ending them, and explaining what they did.
#include <doctest/doctest.h>

#include <string>
#include <variant>
#include <vector>

#include "model/clock.h"
#include "model/status_macros.h"
#include "promql/engine.h"
#include "tests/memory_storage.h"

namespace varve::promql {
namespace {

MemoryStorage& TenSeries() {
  static MemoryStorage* storage = [] {
    auto* filled = new MemoryStorage;
    for (int series = 0; series < 10; ++series) {
      const Labels labels = Labels::Of({{kMetricName, "m_total"}, {"s", std::to_string(series)}});
      for (int i = 0; i < 60; ++i) filled->AddFloat(labels, i * kMinute, i * (series + 1));
    }
    return filled;
  }();
  return *storage;
}

TEST_CASE("engine: a running query is listed and can be killed") {
  ManualClock clock(1000 * kSecond);
  Engine engine(EngineOptions(), clock);
  CHECK(engine.Active().empty());
  CHECK(!engine.Kill(1));

  std::vector<ActiveQuery> seen;
  QueryOptions options;
  options.canceled = [&] {
    clock.Advance(kSecond);
    if (seen.empty()) seen = engine.Active();
    CHECK(engine.Kill(seen[0].id));
    return false;
  };
  const auto result = engine.Instant(TenSeries(), "sum(m_total)", kMinute, options);
  REQUIRE(!result.ok());
  CHECK(QueryErrorTypeOf(result.status()) == QueryErrorType::kCanceled);
  CHECK(MessageOf(result.status()) == "query was killed");
  REQUIRE(seen.size() == 1);
  CHECK(seen[0].query == "sum(m_total)");
  CHECK(seen[0].since == 1000 * kSecond);
  CHECK(seen[0].elapsed == 1);
  CHECK(!seen[0].waiting);
  CHECK(engine.Active().empty());
  CHECK(!engine.Kill(seen[0].id));
}

TEST_CASE("engine: a waiting query is listed and can be killed") {
  EngineOptions engine_options;
  engine_options.max_concurrency = 1;
  Engine engine(engine_options, RealClock());
  absl::StatusOr<QueryResult> second;
  QueryOptions outer;
  bool nested = false;
  outer.canceled = [&] {
    if (nested) return false;
    nested = true;
    QueryOptions inner;
    inner.canceled = [&] {
      const std::vector<ActiveQuery> active = engine.Active();
      REQUIRE(active.size() == 2);
      CHECK(!active[0].waiting);
      CHECK(active[1].waiting);
      CHECK(engine.Kill(active[1].id));
      return false;
    };
    second = engine.Instant(TenSeries(), "m_total", kMinute, inner);
    return false;
  };
  CHECK(engine.Instant(TenSeries(), "m_total", kMinute, outer).ok());
  REQUIRE(!second.ok());
  CHECK(MessageOf(second.status()) == "query was killed");
}

TEST_CASE("engine: explain gives the operators and what passed through them") {
  Engine engine(EngineOptions(), RealClock());
  QueryOptions options;
  const std::string query = "sum by (s) (rate(m_total[5m])) > 0.05 and on () vector(1)";
  const auto plain = engine.Range(TenSeries(), query, 0, kHour, kMinute, options);
  REQUIRE(plain.ok());
  CHECK(plain->explain == nullptr);
  options.explain = true;
  const auto result = engine.Range(TenSeries(), query, 0, kHour, kMinute, options);
  REQUIRE(result.ok());
  REQUIRE(result->explain != nullptr);
  const ExplainNode& root = *result->explain;
  CHECK(root.expression == "sum by (s) (rate(m_total[5m])) > 0.05 and on () vector(1)");
  CHECK(root.series == 10);
  // Rates are 1/60, 2/60, ...: the first two never exceed 0.05, nor does the third.
  CHECK(root.series_empty == 10 - std::get<Matrix>(result->value).size());
  CHECK(root.series_empty >= 2);
  CHECK(root.samples_read == result->stats.samples_read);
  CHECK(root.samples_read == 600);
  // The samples of one series, its row, and the result so far.
  CHECK(root.memory_bytes >= 61 * 16);
  CHECK(root.memory_bytes <= result->stats.peak_memory_bytes);
  REQUIRE(!root.children.empty());
  const ExplainNode* leaf = root.children[0].get();
  while (!leaf->children.empty()) leaf = leaf->children[0].get();
  CHECK(leaf->expression == "rate(m_total[5m])");
  CHECK(leaf->series == 10);
  CHECK(leaf->series_empty == 0);
  CHECK(leaf->samples_read == 600);
  CHECK(leaf->seconds <= root.seconds);
}

TEST_CASE("engine: explain says which series of a join have no partner") {
  MemoryStorage storage;
  for (const char* host : {"a", "b", "c"}) {
    storage.AddFloat(Labels::Of({{kMetricName, "left"}, {"host", host}}), 0, 1);
  }
  for (const char* host : {"c", "d"}) {
    storage.AddFloat(Labels::Of({{kMetricName, "right"}, {"host", host}}), 0, 1);
  }
  Engine engine(EngineOptions(), RealClock());
  QueryOptions options;
  options.explain = true;
  const auto join = [&](const char* query) {
    const auto result = engine.Instant(storage, query, 0, options);
    REQUIRE(result.ok());
    REQUIRE(result->explain->join.has_value());
    return *result->explain->join;
  };
  for (const char* query : {"left * on (host) right", "left * on (host) group_left () right",
                            "left * on (host) group_right () right", "left and on (host) right",
                            "left unless on (host) right"}) {
    CAPTURE(query);
    const ExplainJoin found = join(query);
    CHECK(found.left.series == 2);
    CHECK(found.left.example.Get("host") == "a");
    CHECK(found.right.series == 1);
    CHECK(found.right.example.Get("host") == "d");
  }
  const ExplainJoin whole = join("left * on (host) left");
  CHECK(whole.left.series == 0);
  CHECK(whole.right.series == 0);
  const auto sum = engine.Instant(storage, "sum(left)", 0, options);
  REQUIRE(sum.ok());
  CHECK(!sum->explain->join.has_value());
}

}  // namespace
}  // namespace varve::promql
