// SPDX-License-Identifier: Apache-2.0
//
// Goal: exposition text means what Prometheus takes it to mean, known lines read the same as
// unknown ones, and what is malformed is refused with its line. Method: a body in, a dump of
// entries out.
#include "scrape/text_parser.h"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <xxhash.h>

#include <cmath>
#include <string>
#include <vector>

#include "model/sample.h"
#include "model/status_macros.h"

namespace varve {
namespace {

// One text per entry: `labels value@time #exemplar`, `HELP metric text`, or the error.
std::vector<std::string> Dump(std::string_view body, TextFormat format = TextFormat::kPrometheus,
                              TextParserOptions options = {}) {
  TextParser parser(body, format, options);
  std::vector<std::string> entries;
  for (;;) {
    const absl::StatusOr<LineKind> kind = parser.Next();
    if (!kind.ok()) {
      entries.emplace_back(kind.status().message());
      return entries;
    }
    LabelPairs pairs;
    switch (*kind) {
      case LineKind::kEnd:
        return entries;
      case LineKind::kHelp:
        entries.push_back(fmt::format("HELP {} {}", parser.metric(), parser.help()));
        break;
      case LineKind::kType:
        entries.push_back(
            fmt::format("TYPE {} {}", parser.metric(), MetricTypeText(parser.type())));
        break;
      case LineKind::kUnit:
        entries.push_back(fmt::format("UNIT {} {}", parser.metric(), parser.unit()));
        break;
      case LineKind::kSeries: {
        const absl::Status status = parser.ReadLabels(pairs);
        if (!status.ok()) {
          entries.emplace_back(status.message());
          return entries;
        }
        std::string entry =
            fmt::format("{} {}", Labels::FromPairs(pairs).ToString(), FormatFloat(parser.value()));
        if (parser.has_time()) entry += fmt::format("@{}", parser.time());
        if (parser.start_time() != 0) entry += fmt::format(" since {}", parser.start_time());
        if (parser.has_exemplars()) {
          const auto exemplar = parser.ReadExemplar();
          entry += exemplar.ok() ? fmt::format(" #{} {}@{}", exemplar->labels.ToString(),
                                               exemplar->value, exemplar->time)
                                 : " " + MessageOf(exemplar.status());
        }
        entries.push_back(std::move(entry));
      }
    }
  }
}

using Entries = std::vector<std::string>;

TEST_CASE("text parser: what Prometheus' format allows") {
  CHECK(Dump("") == Entries{});
  CHECK(Dump("\n\n  \n# a comment\n#\n#HELP x y\n# HELPER x\n") == Entries{});
  CHECK(Dump("a 1") == Entries{"a 1"});
  CHECK(Dump("a 1\nb 2\n") == Entries{"a 1", "b 2"});
  CHECK(Dump(" \ta\t 1 \t\n") == Entries{"a 1"});
  CHECK(Dump("a:b_c9 1 1234\n") == Entries{"a:b_c9 1@1234"});
  CHECK(Dump("a{} 1") == Entries{"a 1"});
  CHECK(Dump("a {x=\"1\"}1") == Entries{R"(a{x="1"} 1)"});
  CHECK(Dump("a{ x = \"1\" , y=\"2\", } 1") == Entries{R"(a{x="1", y="2"} 1)"});
  CHECK(Dump(R"(a{x="q\"b\\s\nn\tt"} 1)") == Entries{R"(a{x="q\"b\\s\nn\\tt"} 1)"});
  CHECK(Dump("a{x=\"}{,# \"} 1") == Entries{R"(a{x="}{,# "} 1)"});
  CHECK(Dump("a{x=\"\"} 1") == Entries{"a 1"});
  CHECK(Dump("a{x=\"\xC3\xA4\"} 1") == Entries{"a{x=\"\xC3\xA4\"} 1"});
  CHECK(Dump(R"({"a.b"} 1)") == Entries{R"({__name__="a.b"} 1)"});
  CHECK(Dump(R"({"a.b", x="1", "y z"="2"} 1)") ==
        Entries{R"({__name__="a.b", x="1", "y z"="2"} 1)"});
  CHECK(Dump(R"({x="1", "plain"} 1)") == Entries{R"(plain{x="1"} 1)"});
  CHECK(Dump("# HELP a b  c\\\\ \\n d \n") == Entries{"HELP a b  c\\ \n d "});
  CHECK(Dump("# HELP a\n#\tTYPE\ta counter\n") == Entries{"HELP a ", "TYPE a counter"});
  CHECK(Dump("# TYPE \"a.b\" gauge\n") == Entries{"TYPE a.b gauge"});
  CHECK(Dump("# TYPE a untyped\n") == Entries{"TYPE a unknown"});
}

TEST_CASE("text parser: values") {
  const auto value = [](std::string_view text) {
    const Entries entries = Dump(fmt::format("a {}", text));
    return entries.size() == 1 && entries[0].starts_with("a ") ? entries[0].substr(2) : "refused";
  };
  CHECK(value("0") == "0");
  CHECK(value("-0") == "-0");
  CHECK(value("+1.5") == "1.5");
  CHECK(value("1.") == "1");
  CHECK(value(".5") == "0.5");
  CHECK(value("1e3") == "1000");
  CHECK(value("1E-3") == "0.001");
  CHECK(value("1.7976931348623157e308") == FormatFloat(1.7976931348623157e308));
  CHECK(value("4.9e-324") == FormatFloat(4.9e-324));
  CHECK(value("1e-400") == "0");
  CHECK(value("123456789012345678901234567890") == "123456789012345680000000000000");
  CHECK(value("0.1234567890123456789") == "0.12345678901234568");
  CHECK(value("9007199254740993") == "9007199254740992");
  CHECK(value("Inf") == "+Inf");
  CHECK(value("-inf") == "-Inf");
  CHECK(value("NaN") == "NaN");
  for (const char* text : {"", "x", "1x", "1e", "1e+", "--1", "0x10", "1_0", "1p3", ".", "e5", "-",
                           "+nan", "1e400", "1,5", "infx"}) {
    CAPTURE(text);
    CHECK(value(text) == "refused");
  }
  double parsed = 0;
  const std::string_view nan = "NaN";
  REQUIRE(ReadSampleValue(nan.data(), nan.data() + nan.size(), parsed) != nullptr);
  CHECK(std::bit_cast<uint64_t>(parsed) == kNormalNanBits);
}

TEST_CASE("text parser: the exact paths read as the general one") {
  // Method: decimals of every length and scale, against the library's own conversion.
  const auto check = [](const std::string& text) {
    CAPTURE(text);
    double value = 0;
    REQUIRE(ReadSampleValue(text.data(), text.data() + text.size(), value) ==
            text.data() + text.size());
    REQUIRE(std::bit_cast<uint64_t>(value) ==
            std::bit_cast<uint64_t>(std::strtod(text.c_str(), nullptr)));
  };
  uint64_t state = 12345;
  const auto next = [&state] {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return state >> 11 ^ state << 29;
  };
  for (int i = 0; i < 100000; ++i) {
    const uint64_t digits = next() >> next() % 64;
    const std::string text = fmt::format("{}", digits);
    const size_t point = next() % text.size();
    check(fmt::format("{}e{}", text, static_cast<int>(next() % 70) - 35));
    check(text.substr(0, point) + "." + text.substr(point));
    check("-0." + std::string(next() % 10, '0') + text);
  }
  // Halfway between two doubles, and next to it.
  for (int i = 0; i < 10000; ++i) {
    const uint64_t halfway = ((next() | uint64_t{1} << 63) >> 10 | 1) << next() % 11;
    for (const uint64_t digits : {halfway - 1, halfway, halfway + 1}) {
      check(fmt::format("{}", digits));
      check(fmt::format("{}e-3", digits));
      check(fmt::format("{}e5", digits));
    }
  }
}

TEST_CASE("text parser: bounds and quantiles in their normal form") {
  CHECK(Dump("# TYPE a histogram\na_bucket{le=\"1\"} 1\na_bucket{le=\"+Inf\"} 2\n") ==
        Entries{"TYPE a histogram", R"(a_bucket{le="1.0"} 1)", R"(a_bucket{le="+Inf"} 2)"});
  CHECK(Dump("# TYPE a summary\na{quantile=\"0.50\"} 1\na{le=\"1\"} 1\n") ==
        Entries{"TYPE a summary", R"(a{quantile="0.5"} 1)", R"(a{le="1"} 1)"});
  CHECK(Dump("# TYPE a gauge\na{le=\"1\"} 1\n") == Entries{"TYPE a gauge", R"(a{le="1"} 1)"});
  const std::vector<std::pair<double, std::string>> floats = {{0, "0.0"},
                                                              {1, "1.0"},
                                                              {-1, "-1.0"},
                                                              {0.25, "0.25"},
                                                              {1e5, "100000.0"},
                                                              {1e6, "1e+06"},
                                                              {1234567, "1.234567e+06"},
                                                              {1e-4, "0.0001"},
                                                              {1e-5, "1e-05"},
                                                              {INFINITY, "+Inf"},
                                                              {NAN, "NaN"}};
  for (const auto& one : floats) CHECK(OpenMetricsFloat(one.first) == one.second);
}

TEST_CASE("text parser: OpenMetrics") {
  const auto om = [](std::string_view text) { return Dump(text, TextFormat::kOpenMetrics); };
  CHECK(om("# TYPE a counter\n# UNIT a_seconds seconds\n# HELP a b \\\"c\\\"\na_total 1 1.5\n# "
           "EOF\n") ==
        Entries{"TYPE a counter", "UNIT a_seconds seconds", "HELP a b \"c\"", "a_total 1@1500"});
  CHECK(om("a_bucket{le=\"1.0\"} 3 # {t=\"x\"} 0.5 2.25\n# EOF") ==
        Entries{R"(a_bucket{le="1.0"} 3 #{t="x"} 0.5@2250)"});
  CHECK(om("a 1 -1.5 # {} 7\n# EOF\n") == Entries{"a 1@-1500 #{} 7@0"});
  CHECK(om("# TYPE a stateset\n# TYPE b info\n# TYPE c gaugehistogram\n# TYPE d unknown\n# EOF") ==
        Entries{"TYPE a stateset", "TYPE b info", "TYPE c gaugehistogram", "TYPE d unknown"});
  const std::vector<std::pair<std::string, std::string>> refused = {
      {"a 1\n", "data does not end with # EOF (line 2)"},
      {"", "data does not end with # EOF (line 1)"},
      {"# EOF\na 1\n", "unexpected data after # EOF (line 2)"},
      {"# EOF\n\n", "unexpected data after # EOF (line 2)"},
      {"\n# EOF\n",
       "expected a valid start token, got \"\\n\" (\"LINEBREAK\") while parsing: \"\\n\" (line 1)"},
      {"# TYPE a untyped\n# EOF", "invalid metric type \"untyped\" (line 1)"},
      {"# UNIT a seconds\n# EOF", "unit \"seconds\" not a suffix of metric \"a\" (line 1)"},
  };
  for (const auto& one : refused) {
    CAPTURE(one.first);
    CHECK(om(one.first).back() == one.second);
  }
  for (const char* body :
       {"a  1\n# EOF", "a 1 \n# EOF", " a 1\n# EOF", "a 1 NaN\n# EOF", "a 1 1e300\n# EOF",
        "a{x=\"1\", y=\"2\"} 1\n# EOF", "#comment\n# EOF", "a 1 # x\n# EOF", "a 1"}) {
    CAPTURE(body);
    CHECK(om(body).back().find("(line 1)") != std::string::npos);
  }
}

TEST_CASE("text parser: malformed lines are named") {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"a 1\n$ 2\n",
       "expected a valid start token, got \"$\" (\"INVALID\") while parsing: \"$\" (line 2)"},
      {"7&-\n",
       "expected a valid start token, got \"7&-\" (\"INVALID\") while parsing: \"7&-\" (line 1)"},
      {"a\n",
       "expected value after metric, got \"\\n\" (\"LINEBREAK\") while parsing: \"a\\n\" (line 1)"},
      {"a", "expected value after metric, got \"\" (\"EOF\") while parsing: \"a\" (line 1)"},
      {"a b\n",
       "expected value after metric, got \"b\" (\"INVALID\") while parsing: \"a b\" (line 1)"},
      {"a 1 b\n",
       "expected timestamp or new record, got \"b\" (\"INVALID\") while parsing: \"a 1 b\" (line "
       "1)"},
      {"a 1 -5\n",
       "expected timestamp or new record, got \"-5\" (\"INVALID\") while parsing: \"a 1 -5\" (line "
       "1)"},
      {"a 1 5 6\n",
       "expected next entry after timestamp, got \"6\" (\"INVALID\") while parsing: \"a 1 5 6\" "
       "(line 1)"},
      {"a{x} 1\n", "expected equal, got \"}\" (\"INVALID\") while parsing: \"a{x}\" (line 1)"},
      {"a{x=1} 1\n",
       "expected label value, got \"1}\" (\"INVALID\") while parsing: \"a{x=1}\" (line 1)"},
      {"a{x=\"1\" y=\"2\"} 1\n",
       "expected comma or brace close, got \"y=\\\"2\\\"}\" (\"INVALID\") while parsing: "
       "\"a{x=\\\"1\\\" y=\\\"2\\\"}\" (line 1)"},
      {"a{=\"1\"} 1\n",
       "expected label name, got \"=\\\"1\\\"}\" (\"INVALID\") while parsing: \"a{=\\\"1\\\"}\" "
       "(line 1)"},
      {"a{x=\"\xFF\"} 1\n", "invalid UTF-8 label value: \"\\xff\" (line 1)"},
      {R"(a{"b"} 1)", R"(metric name already set while parsing: "a{\"b\"" (line 1))"},
      {"# TYPE a count\n", "invalid metric type \"count\" (line 1)"},
      {"# TYPE a\n", "invalid metric type \"\" (line 1)"},
      {"# HELP a \xFF\n", "help text \"\\xff\" is not a valid utf8 string (line 1)"},
      {"a 1 99999999999999999999\n", "timestamp 99999999999999999999 is out of range (line 1)"},
  };
  for (const auto& one : cases) {
    CAPTURE(one.first);
    CHECK(Dump(one.first).back() == one.second);
  }
}

// Entries but for metadata, with start times.
Entries Started(std::string_view body, TextFormat format = TextFormat::kOpenMetrics) {
  Entries entries = Dump(body, format, {.start_times = true});
  std::erase_if(entries, [](const std::string& entry) { return entry.starts_with("TYPE "); });
  return entries;
}

TEST_CASE("text parser: created samples are the start times of their metric's series") {
  const std::string counters =
      "# TYPE c counter\n"
      "c_total{a=\"1\",b=\"x\"} 5 9\nc_created{b=\"x\",a=\"1\"} 1.5\n"
      "c_created{a=\"2\"} 2 # {id=\"x\"} 1\nc_total{a=\"2\"} 6 # {id=\"x\"} 1\n"
      "c_total{a=\"3\"} 7\n";
  CHECK(Started(counters + "# EOF\n") == Entries{R"(c_total{a="1", b="x"} 5@9000 since 1500)",
                                                 R"(c_total{a="2"} 6 since 2000 #{id="x"} 1@0)",
                                                 R"(c_total{a="3"} 7)"});
  CHECK(Dump(counters + "# EOF\n", TextFormat::kOpenMetrics).size() == 6);
  CHECK(Started("# TYPE h histogram\n"
                "h_bucket{a=\"1\",le=\"1.0\"} 1\nh_bucket{a=\"1\",le=\"+Inf\"} 2\n"
                "h_count{a=\"1\"} 2\nh_sum{a=\"1\"} 3\nh_created{a=\"1\"} 1700000000.123\n"
                "# TYPE s summary\n"
                "s{quantile=\"0.5\"} 1\ns_count 2\ns_created 3\n# EOF\n") ==
        Entries{R"(h_bucket{a="1", le="1.0"} 1 since 1700000000123)",
                R"(h_bucket{a="1", le="+Inf"} 2 since 1700000000123)",
                R"(h_count{a="1"} 2 since 1700000000123)", R"(h_sum{a="1"} 3 since 1700000000123)",
                R"(s{quantile="0.5"} 1 since 3000)", "s_count 2 since 3000"});
  CHECK(Started("# TYPE \"a.b\" counter\n{\"a.b_total\",x=\"1\"} 1\n"
                "{\"a.b_created\",x=\"1\"} 5\n# EOF\n") ==
        Entries{R"({__name__="a.b_total", x="1"} 1 since 5000)"});
}

TEST_CASE("text parser: what is no start time") {
  // Of other types and in the other format it is a series like others.
  CHECK(Started("# TYPE g gauge\ng 1\ng_created 5\n# EOF\n") == Entries{"g 1", "g_created 5"});
  CHECK(Started("c_total 1\nc_created 5\n# EOF\n") == Entries{"c_total 1", "c_created 5"});
  CHECK(Started("# TYPE c counter\nc_total 1\nc_created 5\n", TextFormat::kPrometheus) ==
        Entries{"c_total 1", "c_created 5"});
  // Behind the next metric, of another metric, without a time: none.
  CHECK(Started("# TYPE c counter\nc_total 1\n# TYPE d counter\nd_total 2\nc_created 5\n"
                "d_created 1e17\n# EOF\n") == Entries{"c_total 1", "d_total 2"});
  CHECK(Started("# TYPE c counter\nc_total 1\nc_created NaN\n# EOF\n") == Entries{"c_total 1"});
  CHECK(Started("# TYPE c counter\nc_total 1\nc_total{a=\"c_created 5\"} 2\n# EOF\n") ==
        Entries{"c_total 1", R"(c_total{a="c_created 5"} 2)"});
  // The last metric's do not stay.
  CHECK(Started("# TYPE c counter\nc_total 1\nc_created 5\n# TYPE c_d counter\nc_d_total 1\n"
                "# TYPE g gauge\ng 1\n# EOF\n") ==
        Entries{"c_total 1 since 5000", "c_d_total 1", "g 1"});
  CHECK(Started("# TYPE c counter\nc_d_total 1\nc_created 5\n# EOF\n") == Entries{"c_d_total 1"});
  // Malformed ones are refused where they stand.
  CHECK(Started("# TYPE c counter\nc_total 1\nc_created x\n# EOF\n").back().find("(line 3)") !=
        std::string::npos);
  CHECK(Started("# TYPE c counter\nc_total 1\nc_created 5").back().find("(line 3)") !=
        std::string::npos);
}

TEST_CASE("text parser: type and unit as labels of their metric's series") {
  const auto labelled = [](std::string_view body, TextFormat format = TextFormat::kOpenMetrics) {
    Entries entries = Dump(body, format, {.metadata_labels = true});
    std::erase_if(entries, [](const std::string& entry) {
      return entry.starts_with("TYPE ") || entry.starts_with("UNIT ") || entry.starts_with("HELP ");
    });
    return entries;
  };
  CHECK(labelled("# TYPE c_bytes counter\n# UNIT c_bytes bytes\nc_bytes_total{a=\"1\"} 1\n"
                 "c_bytes_created{a=\"1\"} 1\n# HELP d x\nd 2\n# TYPE e unknown\ne 3\n"
                 "# TYPE s_seconds gauge\n# UNIT s_seconds seconds\ns_seconds 4\n"
                 "# TYPE t gauge\nt 5\nt_x 6\ntt 7\n# EOF\n") ==
        Entries{R"(c_bytes_total{__type__="counter", __unit__="bytes", a="1"} 1)",
                R"(c_bytes_created{__type__="counter", __unit__="bytes", a="1"} 1)", "d 2", "e 3",
                R"(s_seconds{__type__="gauge", __unit__="seconds"} 4)", R"(t{__type__="gauge"} 5)",
                "t_x 6", "tt 7"});
  // What is exposed under these names stays only where metadata says nothing.
  CHECK(labelled("# TYPE a gauge\na{__type__=\"x\",__unit__=\"y\"} 1\n", TextFormat::kPrometheus) ==
        Entries{R"(a{__type__="gauge", __unit__="y"} 1)"});
  CHECK(labelled("a 1\n# TYPE h histogram\nh_bucket{le=\"1\"} 2\n", TextFormat::kPrometheus) ==
        Entries{"a 1", R"(h_bucket{__type__="histogram", le="1.0"} 2)"});
  CHECK(labelled("# TYPE \"a.b\" gauge\n{\"a.b\"} 1\n# EOF\n") ==
        Entries{R"({__name__="a.b", __type__="gauge"} 1)"});
}

TEST_CASE("text parser: hostile bodies are refused or read, never more") {
  const auto refused = [](std::string_view body) {
    return Dump(body).back().find("(line ") != std::string::npos;
  };
  CHECK(refused("a{x=\"" + std::string(1000, 'x')));
  CHECK(refused("a{x=\"\\"));
  CHECK(refused("a{x=\"\\\n\"} 1"));
  CHECK(refused("a{"));
  CHECK(refused("a{{{{{{{{{{"));
  CHECK(refused(std::string(1 << 20, '{')));
  CHECK(refused(std::string(1 << 20, '"')));
  CHECK(refused(std::string("a\0b 1", 5)));
  CHECK(refused(std::string("a 1\0", 4)));
  CHECK(refused("a 1\r\n"));
  CHECK(
      refused("\xEF\xBB\xBF"
              "a 1\n"));
  CHECK(refused("a" + std::string(kExpositionLineBytesMax, 'b') + " 1\n"));
  CHECK(refused("# HELP a " + std::string(kExpositionLineBytesMax, 'b') + "\n"));
  CHECK_FALSE(refused("# HELP a " + std::string(kExpositionLineBytesMax - 9, 'b') + "\n"));
  std::string many = "a{";
  for (int i = 0; i < 100000; ++i) many += fmt::format("l{}=\"v\",", i);
  CHECK(Dump(many + "} 1\n").size() == 1);
  std::string errors = Dump(std::string(1 << 20, '$')).back();
  CHECK(errors.size() < 1000);
}

TEST_CASE("text parser: a known line reads as it would unknown") {
  const std::string body = "# TYPE a counter\na{x=\"1\"} 5 77\nb 2\nb{y=\"1\"} 3\n";
  TextParser parser(body, TextFormat::kPrometheus);
  const auto hash = [](std::string_view text) { return XXH3_64bits(text.data(), text.size()); };
  CHECK_FALSE(parser.AcceptLine(15, hash("# TYPE a counte")));  // Not a whole line.
  CHECK_FALSE(parser.AcceptLine(16, hash("# TYPE a gaugeXY")));
  CHECK(parser.AcceptLine(16, hash("# TYPE a counter")));
  CHECK_FALSE(parser.AcceptSeries(4, hash("a{x=")));  // No value follows.
  CHECK_FALSE(parser.AcceptSeries(1000, hash(body)));
  CHECK(parser.AcceptSeries(8, hash("a{x=\"1\"}")));
  CHECK(parser.value() == 5);
  CHECK(parser.time() == 77);
  LabelPairs pairs;
  REQUIRE(parser.ReadLabels(pairs).ok());
  CHECK(Labels::FromPairs(pairs).ToString() == R"(a{x="1"})");
  CHECK(parser.AcceptSeries(1, hash("b")));
  CHECK(parser.value() == 2);
  CHECK_FALSE(parser.AcceptSeries(1, hash("b")));  // Now `b` goes on with a brace.
  CHECK(parser.Next().value() == LineKind::kSeries);
  CHECK(parser.text() == "b{y=\"1\"}");
  CHECK(parser.Next().value() == LineKind::kEnd);
}

}  // namespace
}  // namespace varve
