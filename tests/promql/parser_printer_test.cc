// SPDX-License-Identifier: Apache-2.0
//
// Trees back to text in both forms, and what duration expressions amount to.
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "model/status_macros.h"
#include "promql/duration.h"
#include "promql/parser.h"
#include "promql/printer.h"
#include "tests/promql/parser_tree_dump.h"

namespace varve::promql {
namespace {

ExprPtr MustParse(const std::string& query) {
  auto tree = Parse(query, kEverything);
  CAPTURE(query);
  REQUIRE(tree.ok());
  return *std::move(tree);
}

TEST_CASE("printer: one line") {
  struct Case {
    std::string query;
    std::string printed;
  };
  const std::vector<Case> cases = {
      {"1e6", "1000000"},
      {"1e-7", "0.0000001"},
      {"+Inf", "+Inf"},
      {"-NaN", "NaN"},
      {"90s", "1m30s"},
      {"-90s", "-1m30s"},
      {"'a\\'b'", "\"a'b\""},
      {"foo{}", "foo"},
      {"foo{b='2',a=~\"1\"}", "foo{a=~\"1\",b=\"2\"}"},
      {"{__name__=\"foo\"}", "{__name__=\"foo\"}"},
      {"{\"foo bar\",\"l.x\"=\"v\"}", "{\"l.x\"=\"v\",__name__=\"foo bar\"}"},
      {"foo @ 1.5 offset 5m", "foo @ 1.500 offset 5m"},
      {"foo offset -5m @ end()", "foo @ end() offset -5m"},
      {"foo smoothed @ 1 offset 1m", "foo @ 1.000 smoothed offset 1m"},
      {"foo[5m] @ 1 anchored offset 1m", "foo[5m] anchored @ 1.000 offset 1m"},
      {"foo[1h:] offset 1m @ start()", "foo[1h:] @ start() offset 1m"},
      {"foo[1h:90]", "foo[1h:1m30s]"},
      {"foo[step()*2+(1m)]", "foo[step() * 2 + 1m]"},
      {"foo[+range()]", "foo[range()]"},
      {"foo[(-5m)^2]", "foo[(-5m) ^ 2]"},
      {"foo offset -(1m+step())", "foo offset -(1m + step())"},
      {"foo[max_of(1,step())]", "foo[max_of(1, step())]"},
      {"sum(foo) by (a, b)", "sum by (a, b) (foo)"},
      {"sum by () (foo)", "sum(foo)"},
      {"sum without () (foo)", "sum without () (foo)"},
      {"TOPK without (a) (2, foo)", "topk without (a) (2, foo)"},
      {"sum by (\"a b\", c) (foo)", "sum by (\"a b\", c) (foo)"},
      {"a+b", "a + b"},
      {"a==bool on(x,y)b", "a == bool on (x, y) b"},
      {"a+ignoring()b", "a + b"},
      {"a+on()b", "a + on () b"},
      {"a*ignoring()group_left b", "a * ignoring () group_left () b"},
      {"a*on(x)group_right(y)b", "a * on (x) group_right (y) b"},
      {"a*fill(1)b", "a * fill (1) b"},
      {"a*fill_left(NaN)fill_right(2)b", "a * fill_left (NaN) fill_right (2) b"},
      {"a </ 5", "a </ 5"},
      {"a and b", "a and b"},
      {"- a", "-a"},
      {"-(a)", "-(a)"},
      {"-2^2", "-2 ^ 2"},
      {"-Inf^2", "-Inf ^ 2"},
      {"rate( foo [5m] )", "rate(foo[5m])"},
      {"info(a, {})", "info(a, {})"},
      {"time()", "time()"},
  };
  for (const Case& one : cases) {
    CAPTURE(one.query);
    const ExprPtr tree = MustParse(one.query);
    CHECK(ToString(*tree) == one.printed);
    const ExprPtr again = MustParse(one.printed);
    CHECK(ToString(*again) == one.printed);
    CHECK(DumpTree(*again) == DumpTree(*MustParse(one.printed)));
  }
}

TEST_CASE("printer: what is printed means the same") {
  for (const std::string query :
       {"-1 ^ 2", "(-1) ^ 2", "2 ^ -1 ^ 2", "- - a", "a - -1", "a[(-5m)^2]", "a[-(5m^2)]",
        "a[2^-1]", "a offset -(2)", "-Inf ^ 2", "+a ^ 2", "1 - (2 - 3)", "a or (b and c)",
        "sum by (without_) (a)", "{a=\"\\xff\"} or b", "a @ -0.001", "a[1h:1ms]", "1 / -0s"}) {
    const ExprPtr tree = MustParse(query);
    const ExprPtr again = MustParse(ToString(*tree));
    CHECK(DumpTree(*again) == DumpTree(*tree));
    CHECK(DumpTree(*MustParse(ToPrettyString(*tree))) == DumpTree(*tree));
  }
}

// The queries the fuzzer of the printer starts from: every construct is in one of them.
TEST_CASE("printer: the fuzzer's corpus round-trips and has every construct") {
  std::string all;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(VARVE_SOURCE_DIR) +
                                                               "/tests/fuzz/corpus/promql_print")) {
    std::ifstream file(entry.path());
    const std::string query(std::istreambuf_iterator<char>(file), {});
    const ExprPtr tree = MustParse(query);
    const std::string printed = ToString(*tree);
    CHECK(DumpTree(*MustParse(printed)) == DumpTree(*tree));
    CHECK(DumpTree(*MustParse(ToPrettyString(*tree))) == DumpTree(*tree));
    all += printed + "\n";
  }
  const auto has = [&](const std::string& text) {
    CAPTURE(text);
    CHECK(all.find(text) != std::string::npos);
  };
  for (int op = 0; op <= static_cast<int>(BinaryOp::kUnless); ++op) {
    has(" " + std::string(BinaryOpText(static_cast<BinaryOp>(op))) + " ");
  }
  for (size_t op = 0; op < kAggregateOpCount; ++op) {
    has(std::string(AggregateOpText(static_cast<AggregateOp>(op))));
  }
  for (const char* text :
       {"=~",           "!~",        "!=\"",         "by (",          "without (", "on (",
        "ignoring (",   "bool ",     "group_left (", "group_right (", "fill (",    "fill_left (",
        "fill_right (", "@ start()", "@ end()",      "@ -",           "offset -",  "offset (",
        "[step()",      "[range()",  "[min_of(",     "[max_of(",      ":]",        "[5m:",
        "anchored",     "smoothed",  " ^ -",         "+Inf",          "NaN",       "{}",
        "step()",       "range()",   "% 7"}) {
    has(text);
  }
}

TEST_CASE("printer: split over lines") {
  const std::string a(60, 'a');
  const std::string b(60, 'b');
  CHECK(ToPrettyString(*MustParse("a+b")) == "a + b");
  CHECK(ToPrettyString(*MustParse(a + "+" + b)) == "  " + a + "\n+\n  " + b);
  CHECK(ToPrettyString(*MustParse("sum by(x)(" + a + "/on(y)" + b + ")")) ==
        "sum by (x) (\n    " + a + "\n  / on (y)\n    " + b + "\n)");
  CHECK(ToPrettyString(*MustParse("topk(5," + a + "+" + b + ")")) ==
        "topk(\n  5,\n    " + a + "\n  +\n    " + b + "\n)");
  CHECK(ToPrettyString(*MustParse("-(" + a + "+" + b + ")")) ==
        "-(\n    " + a + "\n  +\n    " + b + "\n)");
  CHECK(ToPrettyString(*MustParse("round(" + a + "," + "1 + 2)")) == "round(" + a + ", 1 + 2)");
  CHECK(ToPrettyString(*MustParse("max_over_time((" + a + "+" + b + ")[1h:1m] offset 5m)")) ==
        "max_over_time(\n  (\n      " + a + "\n    +\n      " + b + "\n  )[1h:1m] offset 5m\n)");
  const std::string fits = std::string(90, 'a') + "[5m:1m]";
  CHECK(ToPrettyString(*MustParse("sum(max_over_time(" + fits + "))")) ==
        "sum(\n  max_over_time(\n" + fits + "\n  )\n)");
  const std::string selector = a + "{x=\"" + b + "\"}";
  CHECK(ToPrettyString(*MustParse(selector)) == selector);
}

std::string Evaluated(const std::string& duration, DurationSign sign = DurationSign::kPositive) {
  const ExprPtr tree = MustParse("a offset (" + duration + ")");
  const auto& time = As<VectorSelector>(*tree).time;
  REQUIRE(time.offset_expr);
  const auto value =
      EvaluateDuration(*time.offset_expr, {.step_ms = 15000, .range_ms = 3600000}, sign);
  if (value.ok()) return std::to_string(*value);
  // Behind the position.
  const std::string message = MessageOf(value.status());
  return message.substr(message.find(": ") + 2);
}

TEST_CASE("duration expressions: values") {
  CHECK(Evaluated("1m + 30") == "90000");
  CHECK(Evaluated("step() * 2 - 1s") == "29000");
  CHECK(Evaluated("range() / 7") == "514285");
  CHECK(Evaluated("10 % 4") == "2000");
  CHECK(Evaluated("2 ^ 3 ^ 2") == "512000");
  CHECK(Evaluated("min_of(step(), 1m)") == "15000");
  CHECK(Evaluated("max_of(step(), 1m)") == "60000");
  CHECK(Evaluated("-step()", DurationSign::kAny) == "-15000");
  CHECK(Evaluated("-step()") == "duration must be greater than 0");
  CHECK(Evaluated("step() - 15", DurationSign::kAny) == "0");
  CHECK(Evaluated("step() - 15") == "duration must be greater than 0");
  CHECK(Evaluated("1 / (step() - 15)") == "division by zero");
  CHECK(Evaluated("1 % (step() - 15)") == "modulo by zero");
  CHECK(Evaluated("(0 - 8) ^ 0.5") == "duration is NaN or infinite");
  CHECK(Evaluated("10 ^ 400") == "duration is NaN or infinite");
  CHECK(Evaluated("10 ^ 12") == "duration is out of range");
  CHECK(Evaluated("min_of(10 ^ 400 - 10 ^ 400, 5)") == "duration is NaN or infinite");
  CHECK(Evaluated("max_of(5, 10 ^ 400 - 10 ^ 400)") == "duration is NaN or infinite");
}

}  // namespace
}  // namespace varve::promql
