// SPDX-License-Identifier: Apache-2.0
//
// The grammar, table by table: text to dumped tree, and text to error.
#include "promql/parser.h"

#include <doctest/doctest.h>
#include <simdjson.h>

#include <string>
#include <vector>

#include "model/status_macros.h"
#include "promql/printer.h"
#include "tests/promql/parser_tree_dump.h"

namespace varve::promql {
namespace {

// The dumped tree, or the error.
std::string Result(std::string_view query, const ParserOptions& options = kEverything) {
  const auto tree = Parse(query, options);
  return tree.ok() ? DumpTree(**tree) : MessageOf(tree.status());
}

struct Case {
  std::string query;
  std::string result;
};

void CheckAll(const std::vector<Case>& cases, const ParserOptions& options = kEverything) {
  for (const Case& one : cases) {
    CAPTURE(one.query);
    CHECK(Result(one.query, options) == one.result);
  }
}

TEST_CASE("parser: numbers") {
  CheckAll({
      {"1", "1"},
      {".5", "0.5"},
      {"5.", "5"},
      {"1e3", "1000"},
      {"0x8F", "143"},
      {"0x1e", "30"},
      {"0x_53_AB", "21419"},
      {"1_000", "1000"},
      {"010", "8"},
      {"08", "8"},
      {"0", "0"},
      {"00", "0"},
      {"Inf", "+Inf"},
      {"-inF", "-Inf"},
      {"NAN", "NaN"},
      {"9223372036854775807", "9223372036854776000"},
      {"9223372036854775808", "9223372036854776000"},
      {"1e-400", "0"},
      {"+1", "1"},
      {"--1", "1"},
      {"5m", "300s"},
      {"1h30m", "5400s"},
      {"1ms", "0.001s"},
      {"1.001", "1.001"},
      {"1s1ms", "1.001s"},
      {"-1y2w3d", "-33004800s"},
      {"1e400",
       "1:1: parse error: error parsing number: strconv.ParseFloat: parsing \"1e400\": "
       "value out of range"},
      {".5.3",
       "1:1: parse error: error parsing number: strconv.ParseFloat: parsing \".5.3\": "
       "invalid syntax"},
      {"1__0", "1:1: parse error: bad number or duration syntax: \"1__\""},
      {"1_", "1:1: parse error: bad number or duration syntax: \"1_\""},
      {"300y", "1:1: parse error: duration out of range"},
  });
}

TEST_CASE("parser: strings") {
  CheckAll({
      {R"("a")", R"("a")"},
      {R"('a"b')", R"("a\"b")"},
      {R"("a\tb\n\\\"")", R"("a\tb\n\\\"")"},
      {R"("\x41\101\u00e9\U0001F600")", "\"AA\u00e9\U0001F600\""},
      {R"("\xff")", R"("\xff")"},
      {"`a\\n\nb`", R"("a\\n\nb")"},
      {"\"\"", "\"\""},
      {"\"\xff\"", "1:1: parse error: invalid UTF-8 rune"},
      {R"("\z")", "1:1: parse error: unknown escape sequence U+007A 'z'"},
      {R"("\x4g")", "1:1: parse error: illegal character U+0067 'g' in escape sequence"},
  });
}

TEST_CASE("parser: selectors") {
  CheckAll({
      {"foo", R"([foo __name__="foo"])"},
      {"a:b", R"([a:b __name__="a:b"])"},
      {"foo{}", R"([foo __name__="foo"])"},
      {R"(foo{a="1",b!="2",c=~"3",d!~"4",})", R"([foo __name__="foo" a="1" b!="2" c=~"3" d!~"4"])"},
      {R"({a="1"})", R"([ a="1"])"},
      {R"({"utf8 name","lbl.x"="v"})", R"([ "lbl.x"="v" __name__="utf8 name"])"},
      {R"({"a",__name__="b"})", R"([ __name__="a" __name__="b"])"},
      {"foo{by='x',offset=`y`,Sum=\"z\"}", R"([foo Sum="z" __name__="foo" by="x" offset="y"])"},
      {"foo # comment\n{a=\"1\" # another\n,}", R"([foo __name__="foo" a="1"])"},
      {R"(foo{"bar"})", "1:1: parse error: metric name must not be set twice: \"foo\" or \"bar\""},
      {R"({a=~".*"})",
       "1:1: parse error: vector selector must contain at least one non-empty matcher"},
  });
}

TEST_CASE("parser: words as metric names") {
  for (const std::string word :
       {"sum", "by", "and", "or", "unless", "offset", "without", "start", "end", "step", "range",
        "anchored", "smoothed", "fill", "fill_left", "fill_right", "min_of", "max_of", "topk"}) {
    CAPTURE(word);
    CHECK(Result(word) == "[" + word + " __name__=\"" + word + "\"]");
    CHECK(Result(word + "{a='1'} + " + word + " offset 1m").front() == '(');
  }
  for (const std::string word : {"bool", "on", "ignoring", "group_left", "group_right", "atan2"}) {
    CAPTURE(word);
    CHECK(Result(word).find("unexpected") != std::string::npos);
  }
}

TEST_CASE("parser: time modifiers") {
  CheckAll({
      {"foo[5m]", R"((range [foo __name__="foo"] 300000))"},
      {"foo[90]", R"((range [foo __name__="foo"] 90000))"},
      {"foo[1.5]", R"((range [foo __name__="foo"] 1500))"},
      {"foo offset 5m", R"([foo __name__="foo" offset:300000])"},
      {"foo offset -5m", R"([foo __name__="foo" offset:-300000])"},
      {"foo offset 5.5", R"([foo __name__="foo" offset:5500])"},
      {"foo offset 0 offset 1m", R"([foo __name__="foo" offset:60000])"},
      {"foo @ 1.5", R"([foo __name__="foo" @1500])"},
      {"foo @ -5m", R"([foo __name__="foo" @-300000])"},
      {"foo @ start()", R"([foo __name__="foo" @start])"},
      {"foo OFFSET 1m @ end()", R"([foo __name__="foo" @end offset:60000])"},
      {"foo[5m] @ 10 offset 1m", R"((range [foo __name__="foo" @10000 offset:60000] 300000))"},
      {"foo[5m:]", R"((subquery [foo __name__="foo"] 300000:0))"},
      {"foo[5m:1m]", R"((subquery [foo __name__="foo"] 300000:60000))"},
      {"foo[ 5m : 1m ] @ end() offset -1s",
       R"((subquery [foo __name__="foo"] 300000:60000 @end offset:-1000))"},
      {"foo[5m:1m][1h:]",
       "1:1: parse error: subquery is only allowed on instant vector, got matrix instead"},
      {"foo[0.0001]", "1:5: parse error: duration must be greater than 0"},
      {"foo[5m:0]", "1:8: parse error: duration must be greater than 0"},
      {"foo[1e12]", "1:5: parse error: duration out of range"},
      {"foo offset (step()) offset 1m", "1:1: parse error: offset may not be set multiple times"},
  });
}

TEST_CASE("parser: duration expressions") {
  const auto range = [](const std::string& duration) {
    return "(range [foo __name__=\"foo\"] " + duration + ")";
  };
  CheckAll({
      {"foo[5m+1]", range("(+ 300s 1)")},
      {"foo[5m+1*2]", range("(+ 300s (* 1 2))")},
      {"foo[(5m+1)*2]", range("(* (+ 300s 1 wrapped) 2)")},
      {"foo[2^3^2]", range("(^ 2 (^ 3 2))")},
      {"foo[10-2-3]", range("(- (- 10 2) 3)")},
      {"foo[-step()]", range("(- (step))")},
      {"foo[+step()]", range("(step)")},
      {"foo[(5m)]", range("300000")},
      {"foo[-(-5m)]", range("300000")},
      {"foo[step()]", range("(step)")},
      {"foo[STEP()+range()]", range("(+ (step) (range))")},
      {"foo[5m+range()]", range("(+ 300s (range))")},
      {"foo[min_of(step(), 5m)]", range("(min_of (step) 300s)")},
      {"foo[max_of(step()+1, 5m) % 7]", range("(% (max_of (+ (step) 1) 300s) 7)")},
      {"foo[5m:step()]", "(subquery [foo __name__=\"foo\"] 300000:(step))"},
      {"foo[step():1m]", "(subquery [foo __name__=\"foo\"] (step):60000)"},
      {"foo offset step()", "[foo __name__=\"foo\" offset:(step)]"},
      {"foo offset -(1m+step())", "[foo __name__=\"foo\" offset:(- (+ 60s (step) wrapped))]"},
      {"foo offset 1m+2", "(+ [foo __name__=\"foo\" offset:60000] 2)"},
      {"foo offset -2^2", "(^ [foo __name__=\"foo\" offset:-2000] 2)"},
      {"foo[1/0]", "1:6: parse error: division by zero"},
      {"foo[5m % (0)]", "1:8: parse error: modulo by zero"},
      {"foo[5m+]",
       "1:8: parse error: unexpected \"]\" in subquery or range selector, expected number, "
       "duration, step(), or range()"},
      {"foo[5m+foo]", "1:8: parse error: unexpected character: 'f', expected ':'"},
      {"foo[5m:1m 2]",
       "1:11: parse error: unexpected number \"2\" in subquery selector, expected "
       "\"]\""},
      {"foo[5m:(]",
       "1:9: parse error: unexpected \"]\" in subquery selector, expected number, "
       "duration, step(), range(), or \"]\""},
      {"foo[min_of(1)]",
       "1:13: parse error: unexpected \")\" in subquery or range selector, "
       "expected number, duration, step(), or range()"},
  });
}

TEST_CASE("parser: precedence") {
  CheckAll({
      {"1 + 2 * 3", "(+ 1 (* 2 3))"},
      {"1 * 2 + 3", "(+ (* 1 2) 3)"},
      {"1 - 2 - 3", "(- (- 1 2) 3)"},
      {"2 ^ 3 ^ 4", "(^ 2 (^ 3 4))"},
      {"-2 ^ 2", "(neg (^ 2 2))"},
      {"2 ^ -1 * 3", "(* (^ 2 -1) 3)"},
      {"2 ^ -1 ^ 3", "(^ 2 (neg (^ 1 3)))"},
      {"-a * b", R"((* one-to-one (neg [a __name__="a"]) [b __name__="b"]))"},
      {"- -a", R"((neg (neg [a __name__="a"])))"},
      {"-a offset 1m", R"((neg [a __name__="a" offset:60000]))"},
      {"-(1)", "(neg (paren 1))"},
      {"1 == bool 2 + 3", "(== bool 1 (+ 2 3))"},
      {"1 % 2 atan2 3 / 4", "(/ (atan2 (% 1 2) 3) 4)"},
      {"a or b and c unless d",
       R"((or many-to-many [a __name__="a"] (unless many-to-many (and many-to-many )"
       R"([b __name__="b"] [c __name__="c"]) [d __name__="d"])))"},
      {"a </ 1 >/ 2 + 3", R"((>/ (</ [a __name__="a"] 1) (+ 2 3)))"},
      {"a > b == c", R"((== one-to-one (> one-to-one [a __name__="a"] [b __name__="b"]) )"
                     R"([c __name__="c"]))"},
  });
}

TEST_CASE("parser: vector matching") {
  const std::string sides = R"( [a __name__="a"] [b __name__="b"]))";
  CheckAll({
      {"a + b", "(+ one-to-one" + sides},
      {"a + on() b", "(+ one-to-one on()" + sides},
      {"a + on(x,y,) b", "(+ one-to-one on(x|y)" + sides},
      {"a + ignoring(x) b", "(+ one-to-one ignoring(x)" + sides},
      {"a + on(x) group_left b", "(+ many-to-one on(x)" + sides},
      {"a + on(x) group_right(y,'z z') b", "(+ one-to-many on(x) include(y|z z)" + sides},
      {"a > bool on(x) b", "(> bool one-to-one on(x)" + sides},
      {"a and ignoring(x) b", "(and many-to-many ignoring(x)" + sides},
      {"a + on(offset, by, bool, sum, start, atan2, x:y) b",
       "(+ one-to-one on(offset|by|bool|sum|start|atan2|x:y)" + sides},
      {"a + fill(1) b", "(+ one-to-one fill_left:1 fill_right:1" + sides},
      {"a + fill_left(-1) fill_right(5m) b", "(+ one-to-one fill_left:-1 fill_right:300" + sides},
      {"a + on(x) group_left() fill_right (+2) fill_left(Inf) b",
       "(+ many-to-one on(x) fill_left:inf fill_right:2" + sides},
      {"a + fill b", "1:10: parse error: unexpected identifier \"b\""},
      {"a + fill(b) b", "1:10: parse error: unexpected identifier \"b\""},
      {"a and fill(1) b",
       "1:1: parse error: filling in missing series not allowed for set operators"},
      {"a + fill(1) 2",
       "1:1: parse error: filling in missing series only allowed between instant vectors"},
      {"a + on(\"\") b", "1:8: parse error: invalid label name for grouping: \"\""},
      {"a+on(x)1", "1:1: parse error: vector matching only allowed between instant vectors"},
  });
}

TEST_CASE("parser: aggregations and calls") {
  const std::string foo = R"([foo __name__="foo"])";
  CheckAll({
      {"sum(foo)", "(sum " + foo + ")"},
      {"SUM(foo)", "(sum " + foo + ")"},
      {"sum by (a, b) (foo)", "(sum by(a|b) " + foo + ")"},
      {"sum(foo) by (a)", "(sum by(a) " + foo + ")"},
      {"sum without () (foo)", "(sum without() " + foo + ")"},
      {"sum by (\"a b\", sum,) (foo)", "(sum by(a b|sum) " + foo + ")"},
      {"topk(1 + 1, foo)", "(topk (+ 1 1) " + foo + ")"},
      {"count_values(\"v\", foo)", "(count_values \"v\" " + foo + ")"},
      {"limit_ratio(-0.5, foo)", "(limit_ratio -0.5 " + foo + ")"},
      {"sum(sum by (a) (foo)) + sum",
       "(+ one-to-one (sum (sum by(a) " + foo + R"()) [sum __name__="sum"]))"},
      {"rate(foo[5m])", "(call rate (range " + foo + " 300000))"},
      {"time()", "(call time)"},
      {"month()", "(call month)"},
      {"round(foo, 2)", "(call round " + foo + " 2)"},
      {"label_join(foo, \"a\", \",\")", "(call label_join " + foo + " \"a\" \",\")"},
      {"info(foo, {a=~\".*\"})", "(call info " + foo + R"( [ a=~".*" bypass]))"},
      {"START() + step()", "1:1: parse error: unknown function with name \"START\""},
      {"start() + min_of(1, step())", "(+ (call start) (call min_of 1 (call step)))"},
      {"info(foo, bar)",
       "1:11: parse error: expected label selectors only, got vector selector instead"},
      {"info(foo, sum(bar))", "1:11: parse error: expected label selectors only"},
      {"info(foo, 1)",
       "1:1: parse error: expected type instant vector in call to function "
       "\"info\", got scalar"},
      {"histogram_quantiles(foo, \"q\")",
       "1:1: parse error: expected at least 3 argument(s) in call to \"histogram_quantiles\", got "
       "2"},
      {"abs(foo bar)", "1:9: parse error: unexpected identifier \"bar\""},
  });
}

TEST_CASE("parser: anchored and smoothed") {
  const std::string foo = R"([foo __name__="foo")";
  CheckAll({
      {"foo smoothed", foo + " smoothed]"},
      {"foo[5m] anchored", "(range " + foo + " anchored] 300000)"},
      {"foo[5m] SMOOTHED offset 1m", "(range " + foo + " smoothed offset:60000] 300000)"},
      {"foo anchored smoothed",
       "1:1: parse error: anchored and smoothed modifiers cannot be used together"},
      {"foo[5m:] anchored", "1:1: parse error: anchored modifier is not supported for subqueries"},
      {"1 smoothed", "1:1: parse error: smoothed modifier not implemented"},
  });
}

TEST_CASE("parser: feature flags") {
  CheckAll(
      {
          {"mad_over_time(foo[5m])", "1:1: parse error: function \"mad_over_time\" is not enabled"},
          {"first_over_time(foo[5m])",
           R"((call first_over_time (range [foo __name__="foo"] 300000)))"},
          {"1 + limitk(1, foo)",
           "1:5: parse error: limitk() is experimental and must be enabled with "
           "--enable-feature=promql-experimental-functions"},
          {"start()", "1:1: parse error: function \"start\" is not enabled"},
          {"foo + fill(0) bar",
           "1:1: parse error: binop fill modifiers are experimental and not enabled"},
          {"foo smoothed", "1:1: parse error: smoothed modifier is experimental and not enabled"},
          {"foo[step()]", R"((range [foo __name__="foo"] (step)))"},
      },
      {});
}

TEST_CASE("parser: positions") {
  const std::string query = "sum(a) +\n  rate(b[5m] offset 1m)";
  const auto tree = Parse(query, {});
  REQUIRE(tree.ok());
  const auto& binary = As<Binary>(**tree);
  const auto text = [&](const Expr& expr) {
    return query.substr(expr.position.start, expr.position.end - expr.position.start);
  };
  CHECK(text(binary) == query);
  CHECK(text(*binary.lhs) == "sum(a)");
  CHECK(text(*binary.rhs) == "rate(b[5m] offset 1m)");
  CHECK(text(*As<Call>(*binary.rhs).args[0]) == "b[5m] offset 1m");
  CHECK(LineColumn(query, binary.rhs->position.start) == "2:3");
  CHECK(LineColumn(query, 0) == "1:1");
  CHECK(LineColumn("a\nb", 1) == "1:2");
  CHECK(LineColumn("a\nb", 2) == "2:1");
  CHECK(binary.type == ValueType::kVector);
  CHECK(binary.depth == 3);
}

// Every query of the list fails with Prometheus' words; tests/e2e compares the list with a real
// one.
TEST_CASE("parser: broken queries") {
  simdjson::dom::parser json;
  simdjson::dom::array list;
  const std::string path = VARVE_SOURCE_DIR "/tests/promql/broken_queries.json";
  REQUIRE(json.load(path).get_array().get(list) == simdjson::SUCCESS);
  int queries = 0;
  for (const simdjson::dom::element one : list) {
    const std::string query(one["query"].get_string().value());
    CAPTURE(query);
    CHECK(Result(query) == one["error"].get_string().value());
    ++queries;
  }
  CHECK(queries >= 60);
}

std::string Repeat(std::string_view text, int times) {
  std::string repeated;
  for (int i = 0; i < times; ++i) repeated += text;
  return repeated;
}

TEST_CASE("parser: nesting is limited") {
  const std::string deepest = Repeat("(", kNestingMax) + "1" + Repeat(")", kNestingMax);
  CHECK(Parse(deepest, {}).ok());
  CHECK(Result("(" + deepest + ")") ==
        "1:201: parse error: expression is nested too deeply: more than 200 levels");
  CHECK(Parse(Repeat("abs(", kNestingMax) + "a" + Repeat(")", kNestingMax), {}).ok());
  CHECK(!Parse(Repeat("(", 500000), {}).ok());
  CHECK(!Parse("a[" + Repeat("(", 500000) + "1", {}).ok());
  CHECK(!Parse("a offset " + Repeat("(", 500000) + "1", {}).ok());
}

TEST_CASE("parser: 2,000 terms parse and print") {
  const std::string query = "a" + Repeat(" or a", 1999);
  const auto tree = Parse(query, {});
  REQUIRE(tree.ok());
  CHECK(ToString(**tree) == query);
  CHECK(ToPrettyString(**tree).size() > query.size());
}

TEST_CASE("parser: the tree's depth is limited") {
  CHECK(Parse("a" + Repeat("+a", kTreeDepthMax - 1), {}).ok());
  const std::string too_deep = "expression is too deep: more than 2500 levels";
  CHECK(Result("a" + Repeat("+a", kTreeDepthMax)) == "1:1: parse error: " + too_deep);
  CHECK(Result("a" + Repeat("^a", kTreeDepthMax)).find(too_deep) != std::string::npos);
  CHECK(Result(Repeat("-", kTreeDepthMax) + "a").find(too_deep) != std::string::npos);
  CHECK(Result("a" + Repeat("[1m:]", kTreeDepthMax)).find(too_deep) != std::string::npos);
  CHECK(Result("a[1" + Repeat("+step()", kTreeDepthMax) + "]").find(too_deep) != std::string::npos);
}

TEST_CASE("parser: the text's length is limited") {
  std::string query(kQueryBytesMax, ' ');
  query[0] = '1';
  CHECK(Parse(query, {}).ok());
  CHECK(Result(query + " ") == "1:1: parse error: query is longer than 1048576 bytes");
}

TEST_CASE("parser: metric selectors") {
  const auto result = [](std::string_view selector) {
    const auto matchers = ParseMetricSelector(selector);
    if (!matchers.ok()) return MessageOf(matchers.status());
    std::string text;
    for (const Matcher& matcher : *matchers) text += matcher.ToString() + ";";
    return text;
  };
  CHECK(result("foo{a=\"1\",b=~\"2\"}") == "a=\"1\";b=~\"2\";__name__=\"foo\";");
  CHECK(result("{}") == "");
  CHECK(result("foo{a=~\".*\"}") == "a=~\".*\";__name__=\"foo\";");
  CHECK(result("") == "1:1: parse error: unexpected end of input");
  CHECK(result("foo[5m]") == "1:4: parse error: unexpected \"[\"");
  CHECK(result("foo offset 1m") == "1:5: parse error: unexpected <offset>");
  CHECK(result("1") == "1:1: parse error: unexpected number \"1\"");
  CHECK(result("sum(foo)") == "1:4: parse error: unexpected \"(\"");
  CHECK(result("foo{") == "1:5: parse error: unexpected end of input inside braces");
}

TEST_CASE("parser: function table") {
  CHECK(FindFunction("nothing") == nullptr);
  CHECK(FindFunction("Rate") == nullptr);
  for (size_t i = 0; i < kFunctionCount; ++i) {
    const FunctionSignature& function = SignatureOf(static_cast<FunctionId>(i));
    CAPTURE(function.name);
    CHECK(FindFunction(function.name) == &function);
    CHECK((function.variadic == 0 || !function.args.empty()));
  }
}

}  // namespace
}  // namespace varve::promql
