// SPDX-License-Identifier: Apache-2.0
//
// Goal: whatever the engine does to be fast, its answers are those of the language's definition.
// Method: random data and queries from a seed; the engine's range query, with and without rewritten
// plans, against an evaluator that walks the tree anew for every step. Equal to the last digit,
// unless groups are added up in another order (IsExact). TEST_SEED replays a run, TEST_ROUNDS
// prolongs it.
#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <variant>
#include <vector>

#include "model/clock.h"
#include "model/status_macros.h"
#include "promql/engine.h"
#include "promql/parser.h"
#include "tests/memory_storage.h"
#include "tests/promql/query_generator.h"
#include "tests/promql/reference_evaluator.h"

namespace varve::promql {
namespace {

constexpr int kQueriesPerRound = 200;

// Whether the series of `expr` come in an order that one step shows as the whole range does: that
// of their labels. Groups come in the order of their first member, which a gap can hide at a step;
// so do the series of subqueries; and where names go, series of several names become one.
bool HasOrder(const Expr& expr) {
  if (expr.kind == ExprKind::kAggregate || expr.kind == ExprKind::kSubquery) return false;
  if (const auto* selector = TryAs<VectorSelector>(expr)) return !selector->name.empty();
  if (const auto* matrix = TryAs<MatrixSelector>(expr)) return !matrix->selector->name.empty();
  if (const auto* binary = TryAs<Binary>(expr)) {
    if (binary->op == BinaryOp::kOr || binary->matching.has_value()) return false;
  }
  if (const auto* call = TryAs<Call>(expr)) {
    const FunctionId id = call->function->id;
    if (id == FunctionId::kHistogramQuantile || id == FunctionId::kLabelReplace) return false;
  }
  const auto children = Children(expr);
  return std::all_of(children.begin(), children.end(),
                     [](const Expr* child) { return HasOrder(*child); });
}

// Whether every aggregation adds up its groups in the same order, step by step and over the range.
bool IsExact(const Expr& expr) {
  const auto* aggregate = TryAs<Aggregate>(expr);
  if (aggregate != nullptr && !HasOrder(*aggregate->expr)) return false;
  const auto children = Children(expr);
  return std::all_of(children.begin(), children.end(),
                     [](const Expr* child) { return IsExact(*child); });
}

std::string Lines(const StepTexts& texts) {
  std::string lines;
  for (const auto& [labels, sample] : texts) lines += labels + " " + sample + "\n";
  return lines;
}

// Where a part occurs several times, which of its places an annotation names depends on the order
// of reading.
std::string WithoutPlaces(const std::string& text) {
  std::string without;
  for (const auto line : absl::StrSplit(text, '\n')) {
    const bool annotation = absl::StartsWith(line, "PromQL ");
    absl::StrAppend(&without, line.substr(0, annotation ? line.rfind(" (") : line.npos), "\n");
  }
  return without;
}

// To the last digit, annotations included.
void CheckSameAnswer(const absl::StatusOr<QueryResult>& rewritten,
                     const absl::StatusOr<QueryResult>& plain) {
  REQUIRE(rewritten.ok() == plain.ok());
  if (!plain.ok()) {
    CHECK(MessageOf(rewritten.status()) == MessageOf(plain.status()));
    return;
  }
  CHECK(WithoutPlaces(AnswerText(*rewritten)) == WithoutPlaces(AnswerText(*plain)));
}

// Returns how many samples were compared.
size_t CompareWithReference(Engine& engine, Engine& plain, const MemoryStorage& storage,
                            const std::string& query) {
  CAPTURE(query);
  const auto expr = Parse(query, {.experimental_functions = true});
  REQUIRE(expr.ok());
  const int digits = IsExact(**expr) ? 17 : 10;
  const auto range = engine.Range(storage, query, kTestGrid.start, kTestGrid.end(), kTestGrid.step);
  CheckSameAnswer(range,
                  plain.Range(storage, query, kTestGrid.start, kTestGrid.end(), kTestGrid.step));
  std::vector<StepTexts> texts;
  if (range.ok()) texts = TextsByStep(std::get<Matrix>(range->value), digits);
  const ReferenceEvaluator reference(storage, engine.options().lookback_delta);
  bool any_failed = false;
  size_t compared = 0;
  for (size_t step = 0; step < kTestGrid.count; ++step) {
    CAPTURE(step);
    const auto expected = reference.At(**expr, kTestGrid.TimeAt(step));
    if (!expected.ok()) {
      REQUIRE(absl::IsFailedPrecondition(expected.status()));
      any_failed = true;
      continue;
    }
    if (!range.ok()) continue;
    StepTexts wanted;
    for (const ReferenceSample& sample : *expected) {
      wanted[sample.labels.ToString()] = SampleText(sample.value, sample.histogram.get(), digits);
    }
    CHECK(Lines(texts[step]) == Lines(wanted));
    compared += wanted.size();
  }
  CHECK(any_failed == !range.ok());
  return compared;
}

TEST_CASE("engine: answers are those of the plain evaluation") {
  const uint64_t seed = TestSeed() + 1;
  MESSAGE("TEST_SEED=" << seed - 1);
  QueryGenerator generator(seed);
  EngineOptions options;
  options.features.experimental_functions = true;
  Engine engine(options, RealClock());
  options.rewrites = false;
  Engine plain(options, RealClock());
  size_t compared = 0;
  for (int round = 0; round < TestRounds(8); ++round) {
    MemoryStorage storage;
    generator.Fill(storage);
    for (int i = 0; i < kQueriesPerRound; ++i) {
      const std::string query = i % 3 == 0   ? generator.RangeCall(2)
                                : i % 3 == 1 ? generator.Vector(3)
                                             : generator.Repeating(2);
      compared += CompareWithReference(engine, plain, storage, query);
    }
  }
  CHECK(compared > 5'000);
}

}  // namespace
}  // namespace varve::promql
