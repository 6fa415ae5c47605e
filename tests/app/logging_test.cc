// SPDX-License-Identifier: Apache-2.0
//
// Goal: a log line is one line that any logfmt or JSON reader takes apart again, whatever it says.

#include "app/logging.h"

#include <doctest/doctest.h>
#include <simdjson.h>

#include <string>

#include "model/log_line.h"

namespace varve {
namespace {

TEST_CASE("log lines: fields are keys of their own, quoted where they must be") {
  struct Case {
    std::string line;
    std::string logfmt;
    std::string json;
  };
  const Case cases[] = {
      {"See you next time!", "msg=\"See you next time!\"", "\"msg\":\"See you next time!\""},
      {LogLine("Scrape failed", {{"target", "http://a:1/metrics"}, {"err", "got \"x\"\nat 1"}}),
       "msg=\"Scrape failed\" target=http://a:1/metrics err=\"got \\\"x\\\"\\nat 1\"",
       "\"msg\":\"Scrape failed\",\"target\":\"http://a:1/metrics\","
       "\"err\":\"got \\\"x\\\"\\u000aat 1\""},
      {LogLine("m", {{"empty", ""},
                     {"equals", "a=b"},
                     {"separator",
                      "a\x1f"
                      "b"}}),
       "msg=\"m\" empty=\"\" equals=\"a=b\" separator=\"a b\"",
       "\"msg\":\"m\",\"empty\":\"\",\"equals\":\"a=b\",\"separator\":\"a b\""},
      {LogLine("m", {{"bytes", "a\xffz"}}), "msg=\"m\" bytes=\"a\\xffz\"",
       "\"msg\":\"m\",\"bytes\":\"a\\ufffdz\""},
  };
  simdjson::dom::parser parser;
  for (const Case& c : cases) {
    CAPTURE(c.line);
    CHECK(FormatLogLine(c.line, "INFO", 1500, false) ==
          "time=1970-01-01T00:00:01.500Z level=INFO " + c.logfmt + "\n");
    const std::string json = FormatLogLine(c.line, "INFO", 1500, true);
    CHECK(json == "{\"time\":\"1970-01-01T00:00:01.500Z\",\"level\":\"INFO\"," + c.json + "}\n");
    CHECK(parser.parse(json).error() == simdjson::SUCCESS);
  }
}

}  // namespace
}  // namespace varve
