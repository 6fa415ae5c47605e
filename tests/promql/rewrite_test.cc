// SPDX-License-Identifier: Apache-2.0
//
// Goal: rewritten plans do less, and only that. Method: how many samples are read and held with and
// without rewrites; that answers are equal is checked here where it is at risk, and by
// reference_test.cc over random queries.
#include "promql/rewrite.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <string>
#include <vector>

#include "model/clock.h"
#include "model/status_macros.h"
#include "promql/engine.h"
#include "promql/parser.h"
#include "tests/memory_storage.h"
#include "tests/promql/query_generator.h"

namespace varve::promql {
namespace {

constexpr TimestampMs kEnd = 100 * kMinute;

// m_total{s="0"} to m_total{s="9"} and n{s="0",p="0"} to n{s="9",p="1"}, a sample a minute.
const MemoryStorage& Minutes() {
  static const MemoryStorage* const kStorage = [] {
    auto* filled = new MemoryStorage;
    for (int s = 0; s < 10; ++s) {
      const std::string text = std::to_string(s);
      for (int i = 0; i <= kEnd / kMinute; ++i) {
        filled->AddFloat(Labels::Of({{kMetricName, "m_total"}, {"s", text}}), i * kMinute, i * s);
        for (const char* p : {"0", "1"}) {
          filled->AddFloat(Labels::Of({{kMetricName, "n"}, {"s", text}, {"p", p}}), i * kMinute, s);
        }
      }
    }
    return filled;
  }();
  return *kStorage;
}

Engine NewEngine(bool rewrites, uint64_t max_samples = 50'000'000) {
  EngineOptions options;
  options.features.experimental_functions = true;
  options.rewrites = rewrites;
  options.max_samples = max_samples;
  return Engine(options, RealClock());
}

QueryResult Run(bool rewrites, std::string_view query, TimestampMs start = 20 * kMinute,
                DurationMs step = kMinute) {
  Engine engine = NewEngine(rewrites);
  auto result = engine.Range(Minutes(), query, start, kEnd, step);
  REQUIRE(result.ok());
  return *std::move(result);
}

// Samples read without and with rewrites; the answers must be equal.
struct Read {
  uint64_t plain = 0;
  uint64_t rewritten = 0;
};
Read ReadBy(std::string_view query) {
  const QueryResult plain = Run(false, query);
  const QueryResult rewritten = Run(true, query);
  CHECK(AnswerText(rewritten) == AnswerText(plain));
  CHECK(!std::get<Matrix>(plain.value).empty());
  return {plain.stats.samples_read, rewritten.stats.samples_read};
}

TEST_CASE("rewrites: a selector is read once, whatever its uses do") {
  for (const std::string query : {
           "m_total / on (s) m_total",
           "m_total / on () group_left () sum(m_total)",
           "rate(m_total[5m]) - rate(m_total[5m])",
           "max_over_time(m_total[5m]) - min_over_time(m_total[5m])",
           "quantile_over_time(0.9, m_total[5m]) - quantile_over_time(0.1 + 0.1, m_total[5m])",
           "sum(rate(m_total[5m])) / count(rate(m_total[5m]))",
           "m_total offset 2m >= m_total{} offset 2m",
           "max_over_time(sum(m_total)[10m:1m]) - min_over_time(sum(m_total)[10m:1m])",
       }) {
    CAPTURE(query);
    const Read read = ReadBy(query);
    CHECK(read.rewritten > 0);
    CHECK(read.plain == 2 * read.rewritten);
  }
  // Of the five minutes before, only the newest sample.
  const Read fixed = ReadBy("sum(m_total @ 3000) + avg(m_total @ 3000)");
  CHECK(fixed.plain == 2 * 10 * 5);
  CHECK(fixed.rewritten == 10);
}

TEST_CASE("rewrites: windows that mostly overlap are read together, others are not") {
  // 85 and 90 minutes are less than three quarters of both together; 85 minutes twice, an hour
  // apart, are not.
  const Read ranges = ReadBy("rate(m_total[5m]) / rate(m_total[10m])");
  CHECK(ranges.plain == 10 * (85 + 90));
  CHECK(ranges.rewritten == 10 * 90);
  const Read shifted = ReadBy("rate(m_total[5m]) / rate(m_total[5m] offset 1h)");
  CHECK(shifted.rewritten == shifted.plain);
  const Read different = ReadBy("m_total + ignoring (p) group_right () n");
  CHECK(different.rewritten == different.plain);
}

TEST_CASE("rewrites: samples looked at count for every use") {
  for (const std::string query : {"m_total / on (s) m_total", "sum(m_total) / sum(m_total)",
                                  "sum(rate(m_total[5m])) / sum(rate(m_total[5m]))"}) {
    CAPTURE(query);
    CHECK(Run(true, query).stats.total_queryable_samples ==
          Run(false, query).stats.total_queryable_samples);
  }
}

// The least sample limit under which `query` has an answer.
uint64_t LimitNeeded(bool rewrites, std::string_view query) {
  uint64_t low = 0;
  uint64_t high = 1'000'000;
  while (high - low > 1) {
    const uint64_t middle = (low + high) / 2;
    Engine engine = NewEngine(rewrites, middle);
    (engine.Range(Minutes(), query, 20 * kMinute, kEnd, kMinute).ok() ? high : low) = middle;
  }
  return high;
}

TEST_CASE("rewrites: rows kept for another use take no room a query needs") {
  for (const char* query :
       {"m_total / on () group_left () sum(m_total)", "m_total / on (s) m_total",
        "max_over_time(n[5m]) - min_over_time(n[5m])"}) {
    CAPTURE(query);
    CHECK(LimitNeeded(true, query) <= LimitNeeded(false, query));
  }
}

TEST_CASE("rewrites: joined selectors narrow one another where that hides nothing") {
  struct Case {
    std::string query;
    uint64_t plain;  // Series read.
    uint64_t rewritten;
  };
  constexpr uint64_t kSamples = 85;  // Of each series: the lookback is five minutes.
  // A join reads no further than to the last series that has a partner.
  for (const Case& c : std::vector<Case>{
           {"n and on (s) m_total{s=\"1\"}", 21, 3},
           {"n{s=~\"1|2\"} and on (s) m_total", 14, 6},
           {"n{s=\"1\"} unless on (s) m_total{s!=\"1\"}", 11, 2},
           {"m_total unless on (s) n{s=\"1\"}", 12, 12},
           {"n{s=\"1\",p=\"1\"} and on (s) count by (s) (m_total)", 11, 2},
           {"n{s=\"1\",p=\"1\"} and on (s) sum by (s) (m_total)", 11, 11},
           {"n * on (s) group_left () sum by (s) (m_total{s=\"1\"})", 13, 3},
           {"n{s=\"1\"} * on (s) group_left () count by (s) (m_total)", 12, 3},
           // Several series of a match group are an error, wanted or not.
           {"n * on (s) group_left () m_total{s=\"1\"}", 13, 13},
           {"n{s=\"1\"} or on (s) m_total", 12, 12},
           {"m_total{s=\"1\"} and on (p) n{p=\"\"} or n{p=\"1\"}", 11, 11},
       }) {
    CAPTURE(c.query);
    const Read read = ReadBy(c.query);
    CHECK(read.plain == c.plain * kSamples);
    CHECK(read.rewritten == c.rewritten * kSamples);
  }
}

TEST_CASE("rewrites: a join's error stays where no partner is wanted") {
  for (bool rewrites : {false, true}) {
    Engine engine = NewEngine(rewrites);
    const auto result = engine.Instant(Minutes(), "m_total{s=\"1\"} * on (s) n{s!=\"1\"}", kEnd);
    REQUIRE(!result.ok());
    CHECK(MessageOf(result.status()).find("found duplicate series") == 0);
  }
}

std::optional<double> Constant(std::string_view query) {
  const auto expr = Parse(query, {});
  REQUIRE(expr.ok());
  return ConstantValue(**expr);
}

// A storage that notes whether values were asked for.
class NotingStorage : public Queryable {
 public:
  absl::StatusOr<std::unique_ptr<Querier>> OpenQuerier(TimestampMs min,
                                                       TimestampMs max) const override {
    ASSIGN_OR_RETURN(std::unique_ptr<Querier> querier, Minutes().OpenQuerier(min, max));
    return std::make_unique<NotingQuerier>(std::move(querier), *this);
  }
  int with_values() const { return with_values_; }
  int without_values() const { return without_values_; }

 private:
  class NotingQuerier : public Querier {
   public:
    NotingQuerier(std::unique_ptr<Querier> querier, const NotingStorage& storage)
        : querier_(std::move(querier)), storage_(storage) {}
    absl::StatusOr<std::unique_ptr<SeriesSet>> Select(const std::vector<Matcher>& matchers,
                                                      const SelectHints& hints) const override {
      ++(hints.presence_only ? storage_.without_values_ : storage_.with_values_);
      return querier_->Select(matchers, hints);
    }
    absl::StatusOr<LabelTexts> LabelNames(const std::vector<std::vector<Matcher>>& sets,
                                          uint64_t limit) const override {
      return querier_->LabelNames(sets, limit);
    }
    absl::StatusOr<LabelTexts> LabelValues(std::string_view name,
                                           const std::vector<std::vector<Matcher>>& sets,
                                           uint64_t limit) const override {
      return querier_->LabelValues(name, sets, limit);
    }

   private:
    const std::unique_ptr<Querier> querier_;
    const NotingStorage& storage_;
  };

  mutable int with_values_ = 0;
  mutable int without_values_ = 0;
};

// How many steps of the inside of a subquery, which the whole query is about, are evaluated.
uint64_t StepsInside(std::string_view query, bool rewrites, DurationMs step) {
  Engine engine = NewEngine(rewrites);
  QueryOptions options;
  options.explain = true;
  const auto result = engine.Range(Minutes(), query, 20 * kMinute, kEnd, step, options);
  REQUIRE(result.ok());
  const ExplainNode* node = result->explain.get();
  while (!node->children.empty()) node = node->children.back().get();
  return node->samples;
}

TEST_CASE("rewrites: a subquery has the steps that are looked at") {
  struct Case {
    std::string query;
    DurationMs step;
    uint64_t plain;
    uint64_t rewritten;
  };
  for (const Case& c : {
           // Of 16 or 17 windows a minute each, and of all of them.
           Case{"max_over_time(n{s=\"3\",p=\"0\"}[3m:1m])", 5 * kMinute, 83, 17 * 3},
           {"max_over_time(n{s=\"3\",p=\"0\"}[5m:1m])", 5 * kMinute, 85, 85},
           {"max_over_time(n{s=\"3\",p=\"0\"}[6m:1m])", 5 * kMinute, 86, 86},
           // Steps of the query that are no multiples of the subquery's.
           {"last_over_time(n{s=\"3\",p=\"0\"}[2m:1m])", 7 * kMinute + 30 * kSecond, 77, 11 * 2},
           {"last_over_time(n{s=\"3\",p=\"0\"}[90s:1m] offset 10s)", 4 * kMinute, 81, 21},
           // Windows without a step.
           {"last_over_time(n{s=\"3\",p=\"0\"}[1m:2m])", 3 * kMinute, 40, 14},
           {"last_over_time(n{s=\"3\",p=\"0\"}[3m:1m] @ end())", 5 * kMinute, 3, 3},
       }) {
    CAPTURE(c.query);
    CHECK(StepsInside(c.query, false, c.step) == c.plain);
    CHECK(StepsInside(c.query, true, c.step) == c.rewritten);
  }
}

TEST_CASE("rewrites: answers over the steps of a subquery that are looked at") {
  for (const char* function : {"max_over_time", "sum_over_time", "rate", "delta", "last_over_time",
                               "count_over_time", "deriv", "quantile_over_time", "changes"}) {
    for (const char* inside : {"m_total", "rate(m_total[4m])", "sum by (p) (n)", "time() + m_total",
                               "timestamp(n)", "max_over_time(m_total[2m:30s])", "topk(2, m_total)",
                               "m_total - on (s) group_left () "
                               "sum by (s) (n)",
                               "sum(m_total) - avg_over_time(sum(m_total)[1m:20s])"}) {
      for (const char* range : {"2m:20s", "150s:1m", "7m:45s", "1m:2m"}) {
        const std::string first = std::string_view(function) == "quantile_over_time" ? "0.3, " : "";
        const std::string query = fmt::format("{}({}({})[{}])", function, first, inside, range);
        CAPTURE(query);
        for (const DurationMs step : {kMinute, 5 * kMinute, 7 * kMinute + 13 * kSecond}) {
          CHECK(AnswerText(Run(true, query, 20 * kMinute, step)) ==
                AnswerText(Run(false, query, 20 * kMinute, step)));
        }
      }
    }
  }
}

// Two windows two minutes apart whose samples are a minute apart: as far as the subquery's steps.
TEST_CASE("rewrites: windows of uneven steps are not alike") {
  MemoryStorage storage;
  double value = 0;
  for (const double minutes : {1.9, 2.9, 4.9, 5.9}) {
    storage.AddFloat(Labels::Of({{kMetricName, "m_total"}}),
                     static_cast<TimestampMs>(minutes * kMinute), value += 3);
  }
  std::string texts[2];
  for (const bool rewrites : {false, true}) {
    Engine engine = NewEngine(rewrites);
    const auto result = engine.Range(storage, "last_over_time(rate(m_total[5m])[1m:1m])",
                                     5 * kMinute, 7 * kMinute, 2 * kMinute);
    REQUIRE(result.ok());
    texts[rewrites] = AnswerText(*result);
  }
  CHECK(!texts[0].empty());
  CHECK(texts[0] == texts[1]);
}

TEST_CASE("rewrites: values are not asked for where only presence counts") {
  const auto selections = [](std::string_view query, bool rewrites) {
    const NotingStorage storage;
    Engine engine = NewEngine(rewrites);
    const auto result = engine.Range(storage, query, 20 * kMinute, kEnd, kMinute);
    REQUIRE(result.ok());
    CHECK(AnswerText(*result) == AnswerText(Run(false, query)));
    return std::pair(storage.with_values(), storage.without_values());
  };
  for (const std::string query :
       {"count(n)", "count by (s) ((n))", "group(n)", "absent(n)", "absent(n{s=\"no\"})",
        "absent_over_time(n[5m])", "count_over_time(n[5m])", "sum(count_over_time(n[5m]))",
        "present_over_time(n[5m])", "timestamp(n)", "count(n) + count_over_time(n[5m])",
        "count(n @ 1200)", "absent(n @ 1200)"}) {
    CAPTURE(query);
    CHECK(selections(query, true).first == 0);
    CHECK(selections(query, true).second > 0);
    CHECK(selections(query, false).second == 0);
  }
  for (const std::string query :
       {"n", "sum(n)", "count_values(\"v\", n)", "count(n > 3)", "count(rate(n[5m]))",
        "changes(n[5m])", "last_over_time(n[5m])", "count_over_time((n > 3)[5m:1m])",
        "count(n) + sum(n)", "absent(n > 3)", "timestamp(n @ 1200)"}) {
    CAPTURE(query);
    CHECK(selections(query, true).first > 0);
    CHECK(selections(query, true).second == 0);
  }
}

// Every count is asked for by labels, and of labels alone where no other counts.
TEST_CASE("rewrites: labels are not asked for where only those of groups count") {
  for (const std::string query :
       {"count(n)", "count by (s) (n)", "group by (s) (n)", "count by (no, s) (n offset 1m)",
        "count by (__name__) ({s!=\"\"})", "count without (s) (n)", "sum by (s) (n)",
        "count by (s) (n) + on (s) group_right () n", "count by (s) (n) + sum by (s) (n)",
        "count by (s) (n @ 1200)"}) {
    CAPTURE(query);
    CHECK(AnswerText(Run(true, query)) == AnswerText(Run(false, query)));
  }
}

TEST_CASE("rewrites: constants") {
  CHECK(Constant("2 * (3 + -4) ^ 2") == 2);
  CHECK(Constant("-(2 ^ 2)") == -4);
  CHECK(Constant("1 > bool 2") == 0);
  CHECK(Constant("7 % 4") == 3);
  CHECK(Constant("pi() / pi()") == 1);
  CHECK(!Constant("time()").has_value());
  CHECK(!Constant("1 + scalar(m)").has_value());
  CHECK(!Constant("vector(1)").has_value());
}

// Steps go one after the other: what meets first in time is named, though other groups' series come
// first.
TEST_CASE("joins: of several duplicates, an error names those that meet first") {
  MemoryStorage storage;
  for (int i = 0; i <= 60; ++i) {
    for (const char* g : {"1", "2"}) {
      storage.AddFloat(Labels::Of({{kMetricName, "a"}, {"g", g}}), i * kMinute, 1);
      storage.AddFloat(Labels::Of({{kMetricName, "b"}, {"g", g}, {"i", "1"}}), i * kMinute, 1);
      if (i < (g[0] == '1' ? 50 : 30)) continue;
      storage.AddFloat(Labels::Of({{kMetricName, "b"}, {"g", g}, {"i", "2"}}), i * kMinute, 1);
      storage.AddFloat(Labels::Of({{kMetricName, "b"}, {"g", g}, {"i", "3"}}), i * kMinute, 1);
    }
  }
  for (const bool rewrites : {false, true}) {
    Engine engine = NewEngine(rewrites);
    const auto error_from = [&](TimestampMs start) {
      const auto result = engine.Range(storage, "a * on (g) b", start, 60 * kMinute, kMinute);
      return std::string(MessageOf(result.status()));
    };
    CHECK(error_from(0) ==
          "found duplicate series for the match group {g=\"2\"} on the right hand-side of the "
          "operation: [{__name__=\"b\", g=\"2\", i=\"1\"}, {__name__=\"b\", g=\"2\", i=\"2\"}];"
          "many-to-many matching not allowed: matching labels must be unique on one side");
    // At one step, the series that comes first decides.
    CHECK(error_from(55 * kMinute).find("match group {g=\"1\"}") != std::string::npos);
    CHECK(engine.Range(storage, "a * on (g) b", 0, 29 * kMinute, kMinute).ok());
  }
}

}  // namespace
}  // namespace varve::promql
