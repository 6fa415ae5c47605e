// SPDX-License-Identifier: Apache-2.0
//
// Goal: the runner accepts what is right and refuses what is wrong in any one respect.
// Method: one script that passes, and changes to it each of which must fail.
#include "tests/script_runner/script_runner.h"

#include <doctest/doctest.h>

#include <string>
#include <string_view>

#include "tests/script_runner/notation.h"

namespace varve::script {
namespace {

constexpr std::string_view kData = R"(
load 1m
  m{a="1"} 1 2
  m{a="2"} 3 _
  h {{schema:0 count:3 sum:4 buckets:[1 2]}}

)";

Report Run(std::string_view eval) { return RunScript(std::string(kData) + std::string(eval)); }

void CheckPasses(std::string_view eval) {
  CAPTURE(eval);
  const Report report = Run(eval);
  if (!report.failures.empty()) CAPTURE(report.failures[0].message);
  CHECK(report.passed == 1);
  CHECK(report.failed == 0);
}

void CheckFails(std::string_view eval) {
  CAPTURE(eval);
  const Report report = Run(eval);
  CHECK(report.passed == 0);
  CHECK(report.failed == 1);
  CHECK(report.failures.size() == 1);
}

TEST_CASE("script runner: an instant eval fails on each single difference") {
  CheckPasses("eval instant at 0 m\n  m{a=\"1\"} 1\n  m{a=\"2\"} 3\n");
  CheckFails("eval instant at 0 m\n  m{a=\"1\"} 1.00001\n  m{a=\"2\"} 3\n");     // value
  CheckFails("eval instant at 0 m\n  m{a=\"1\"} 1\n");                           // one too many
  CheckFails("eval instant at 0 m{a=\"1\"}\n  m{a=\"1\"} 1\n  m{a=\"2\"} 3\n");  // missing series
  CheckFails("eval instant at 0 m{a=\"1\"}\n  m{a=\"9\"} 1\n");                  // label
  CheckFails("eval instant at 0 m{a=\"1\"}\n  {a=\"1\"} 1\n");                   // name
  CheckFails("eval instant at 0 m\n");                                           // no result wanted
  CheckFails("eval instant at 0 m{a=\"1\"}\n  m{a=\"1\"} {{count:1}}\n");        // type
}

TEST_CASE("script runner: order matters only where it is asked for") {
  CheckPasses("eval instant at 0 sort(m)\n  m{a=\"2\"} 3\n  m{a=\"1\"} 1\n");
  CheckPasses("eval instant at 0 sort(m)\n  expect ordered\n  m{a=\"1\"} 1\n  m{a=\"2\"} 3\n");
  CheckFails("eval instant at 0 sort(m)\n  expect ordered\n  m{a=\"2\"} 3\n  m{a=\"1\"} 1\n");
  CheckFails("eval_ordered instant at 0 sort(m)\n  m{a=\"2\"} 3\n  m{a=\"1\"} 1\n");
}

TEST_CASE("script runner: range evals") {
  CheckPasses("eval range from 0 to 1m step 1m m\n  m{a=\"1\"} 1 2\n  m{a=\"2\"} 3 3\n");
  CheckFails("eval range from 0 to 1m step 1m m\n  m{a=\"1\"} 1 2\n  m{a=\"2\"} 3 _\n");
  CheckFails("eval range from 0 to 1m step 1m m\n  m{a=\"1\"} 1 _\n  m{a=\"2\"} 3 3\n");
  CheckFails("eval range from 0 to 1m step 1m m{a=\"1\"}\n  m{a=\"1\"} 1\n");
  CheckPasses(
      "eval instant at 1m m[2m]\n  expect range vector from 0 to 1m step 1m\n"
      "  m{a=\"1\"} 1 2\n  m{a=\"2\"} 3\n");
  CheckFails(
      "eval instant at 1m m[2m]\n  expect range vector from 0 to 1m step 1m\n"
      "  m{a=\"1\"} 1 2\n  m{a=\"2\"} 4\n");
}

TEST_CASE("script runner: scalars and strings") {
  CheckPasses("eval instant at 0 1 + 1\n  2\n");
  CheckFails("eval instant at 0 1 + 1\n  3\n");
  CheckFails("eval instant at 0 vector(2)\n  2\n");
  CheckPasses("eval instant at 0 \"x\"\n  expect string \"x\"\n");
  CheckFails("eval instant at 0 \"x\"\n  expect string \"y\"\n");
}

TEST_CASE("script runner: failures") {
  CheckPasses("eval instant at 0 m +\n  expect fail\n");
  CheckFails("eval instant at 0 m +\n");
  CheckFails("eval instant at 0 1\n  expect fail\n");
  CheckPasses("eval instant at 0 topk(NaN, m)\n  expect fail msg: Parameter value is NaN\n");
  CheckFails("eval instant at 0 topk(NaN, m)\n  expect fail msg: Parameter value is\n");
  CheckPasses("eval instant at 0 topk(NaN, m)\n  expect fail regex: value is N.N$\n");
  CheckFails("eval instant at 0 topk(NaN, m)\n  expect fail regex: value is 1\n");
  CheckPasses("eval_fail instant at 0 topk(NaN, m)\n");
}

TEST_CASE("script runner: annotations must be there, and be those") {
  constexpr std::string_view kQuery = "eval instant at 0 quantile(2, vector(1))\n  {} +Inf\n";
  const auto with = [&](std::string_view expectation) {
    return std::string(kQuery) + "  " + std::string(expectation) + "\n";
  };
  CheckPasses(kQuery);
  CheckPasses(with("expect warn"));
  CheckPasses(
      with("expect warn msg: PromQL warning: quantile value should be between 0 and 1, "
           "got 2 (1:10)"));
  CheckFails(
      with("expect warn msg: PromQL warning: quantile value should be between 0 and 1, "
           "got 2 (1:11)"));
  CheckFails(with("expect no_warn"));
  CheckFails(with("expect info"));
  CheckPasses(with("expect no_info"));
  CheckFails(with("expect warn regex: nothing like it"));
  CheckFails(with("expect warn\n  expect warn msg: another"));
  CheckFails("eval instant at 0 vector(1)\n  expect warn\n  {} 1\n");
}

TEST_CASE("script runner: infos, and the modes of old") {
  const std::string query = " instant at 0 max({__name__=~\"m|h\"})\n  {} 3\n";
  const std::string text = "PromQL info: ignored histogram in max aggregation (1:5)";
  CheckPasses("eval" + query + "  expect info msg: " + text + "\n  expect no_warn\n");
  CheckPasses("eval" + query + "  expect info regex: ignored .* aggregation\n");
  CheckFails("eval" + query + "  expect info msg: " + text + ".\n");
  CheckFails("eval" + query + "  expect no_info\n");
  CheckFails("eval" + query + "  expect warn\n");
  CheckFails("eval" + query + "  expect info msg: " + text + "\n  expect info regex: other\n");
  CheckPasses("eval_info" + query);
  CheckFails("eval_warn" + query);
  CheckFails("eval_fail" + query);
  CheckFails("eval_info instant at 0 max(m)\n  {} 3\n");
  // In a range query too.
  const std::string range = "eval range from 0 to 1m step 1m max({__name__=~\"m|h\"})\n  {} 3 3\n";
  CheckPasses(range + "  expect info msg: " + text + "\n");
  CheckFails(range + "  expect info msg: " + text + ".\n");
  CheckFails(range + "  expect no_info\n");
}

// Every instant eval runs again, pinned by `@` at other times and as a step of a range query.
TEST_CASE("script runner: what only holds at the eval's own time fails") {
  const std::string data =
      "load 1m\n  b_bucket{le=\"1\"} 10 10\n  b_bucket{le=\"2\"} 8 8\n  b_bucket{le=\"+Inf\"} 12 "
      "12\n\n";
  const std::string query = "eval instant at 1m histogram_quantile(0.5, b_bucket)\n  {} 0.6\n";
  const auto run = [&](const std::string& expectation) {
    return RunScript(data + query + "  " + expectation + "\n");
  };
  CHECK(run("expect info regex: from 19[^ ]* to 19[^ ]* .1:25.$").passed == 1);
  const Report pinned = run(
      "expect info msg: PromQL info: input to histogram_quantile needed to be fixed for "
      "monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/"
      "#histogram_quantile) for metric name \"b_bucket\", from buckets 2 to 2, with a max diff of "
      "2, over 1 samples from 1970-01-01T00:01:00Z to 1970-01-01T00:01:00Z (1:25)");
  CHECK(pinned.failed == 1);
  REQUIRE(pinned.failures.size() == 1);
  CHECK(pinned.failures[0].message.find("b_bucket @ 60.000") != std::string::npos);
}

TEST_CASE("script runner: special values") {
  const auto is = [](std::string_view value, std::string_view expected) {
    return "eval instant at 0 vector(" + std::string(value) + ")\n  {} " + std::string(expected) +
           "\n";
  };
  CheckPasses(is("NaN", "NaN"));
  CheckFails(is("NaN", "1"));
  CheckFails(is("1", "NaN"));
  CheckPasses(is("Inf", "Inf"));
  CheckFails(is("Inf", "-Inf"));
  CheckFails(is("1e300", "Inf"));
  CheckPasses(is("0", "0"));
  CheckFails(is("1e-300", "0"));
  CheckFails(is("NaN", "stale"));
  CheckPasses(is("1.0000001", "1"));
  CheckFails(is("1.00001", "1"));
}

TEST_CASE("script runner: histograms") {
  CheckPasses("eval instant at 0 h\n  h {{schema:0 count:3 sum:4 buckets:[1 2]}}\n");
  CheckPasses("eval instant at 0 h\n  h {{schema:0 count:3 sum:4 buckets:[1 2 0]}}\n");
  CheckFails("eval instant at 0 h\n  h {{schema:0 count:3 sum:4 buckets:[2 1]}}\n");
  CheckFails("eval instant at 0 h\n  h {{schema:0 count:3 sum:4 offset:1 buckets:[1 2]}}\n");
  CheckFails("eval instant at 0 h\n  h {{schema:1 count:3 sum:4 buckets:[1 2]}}\n");
  CheckFails("eval instant at 0 h\n  h {{schema:0 count:4 sum:4 buckets:[1 2]}}\n");
  CheckFails(
      "eval instant at 0 h\n  h {{schema:0 count:3 sum:4 buckets:[1 2] "
      "counter_reset_hint:gauge}}\n");
  CheckFails("eval instant at 0 h\n  h 3\n");
}

TEST_CASE("script runner: a script that cannot go on fails all its remaining evals") {
  const Report report = RunScript(
      "eval instant at 0 1\n  1\n\nload nonsense\n  m 1\n\n"
      "eval instant at 0 1\n  1\n\neval instant at 0 2\n  2\n");
  CHECK(report.passed == 1);
  CHECK(report.failed == 2);
  REQUIRE(report.failures.size() == 1);
  CHECK(report.failures[0].line == 4);
}

TEST_CASE("script runner: an eval that is no eval fails with the rest") {
  const Report report = RunScript("eval sometime 1\n\neval instant at 0 2\n  2\n");
  CHECK(report.passed == 0);
  CHECK(report.failed == 2);
}

TEST_CASE("script runner: expectations that contradict one another end the script") {
  for (const char* lines :
       {"  expect warn\n  expect no_warn\n", "  expect no_info\n  expect info\n",
        "  expect fail\n  expect fail\n", "  expect warn regex: (\n", "  expect something\n"}) {
    CAPTURE(lines);
    const Report report = RunScript(std::string("eval instant at 0 1\n") + lines);
    CHECK(report.passed == 0);
    CHECK(report.failed == 1);
  }
}

TEST_CASE("notation: sequences") {
  const auto count = [](std::string_view text) {
    const auto values = ParseSequence(text);
    return values.ok() ? static_cast<int>(values->size()) : -1;
  };
  CHECK(count("1 2 3") == 3);
  CHECK(count("1x3") == 4);
  CHECK(count("1+2x3") == 4);
  CHECK(count("_x3 1") == 4);
  CHECK(count("1e+5-1e-2x2 stale _") == 5);
  CHECK(count("{{}}x2 {{count:1}}+{{count:2}}x1") == 5);
  CHECK(count("Inf -Inf NaN") == 3);
  CHECK(count("abc") == -1);
  CHECK(count("1x") == -1);
  CHECK(count("{{nonsense:1}}") == -1);
  CHECK(count("{{count:1") == -1);
  CHECK(count("1y2") == -1);

  const auto rising = ParseSequence("-1-2x2");
  REQUIRE(rising.ok());
  CHECK(*(*rising)[2].value == -5);
}

}  // namespace
}  // namespace varve::script
