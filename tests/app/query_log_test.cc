// SPDX-License-Identifier: Apache-2.0
//
// The query log's lines, and when its file is opened.
#include "app/query_log.h"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <prometheus/text_serializer.h>
#include <simdjson.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "promql/engine.h"
#include "tests/memory_storage.h"

namespace varve {
namespace {

namespace fs = std::filesystem;

struct LogFixture {
  LogFixture() {
    std::string pattern = (fs::temp_directory_path() / "varve-XXXXXX").native();
    REQUIRE(mkdtemp(pattern.data()) != nullptr);
    directory = pattern;
    storage.AddFloat(Labels::Of({{kMetricName, "up"}}), 0, 1);
  }
  ~LogFixture() { fs::remove_all(directory); }
  LogFixture(const LogFixture&) = delete;
  LogFixture& operator=(const LogFixture&) = delete;

  std::vector<std::string> Lines(const std::string& name) const {
    std::ifstream in(directory / name);
    std::vector<std::string> lines;
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    return lines;
  }
  std::string File(const std::string& name) const { return (directory / name).native(); }

  fs::path directory;
  ManualClock clock{1'700'000'000'120};
  prometheus::Registry registry;
  QueryLog log{0, clock, &registry};
  MemoryStorage storage;
};

TEST_CASE_FIXTURE(LogFixture, "query log: a range query of an HTTP request, key by key") {
  promql::Engine engine({.observer = &log}, clock);
  REQUIRE(log.SetFile(File("q")).ok());
  promql::QueryOptions options;
  options.origin = {.client_ip = "::1", .method = "GET", .path = "/api/v1/query_range"};
  REQUIRE(engine.Range(storage, "up{a!=\"<b>\"}", 0, 60'500, 15 * kSecond, options).ok());
  const std::vector<std::string> lines = Lines("q");
  REQUIRE(lines.size() == 1);
  CHECK(
      lines[0] ==
      R"({"time":"2023-11-14T22:13:20.120Z","level":"INFO","msg":"promql query logged",)"
      R"("params":{"end":"1970-01-01T00:01:00.500Z","query":"up{a!=\"<b>\"}",)"
      R"("start":"1970-01-01T00:00:00.000Z","step":15},)"
      R"("stats":{"timings":{"evalTotalTime":0,"resultSortTime":0,"queryPreparationTime":0,)"
      R"("innerEvalTime":0,"execQueueTime":0,"execTotalTime":0},)"
      R"("samples":{"totalQueryableSamples":5,"samplesRead":1,"peakSamples":5,"peakMemoryBytes":262144}},)"
      R"("httpRequest":{"clientIP":"::1","method":"GET","path":"/api/v1/query_range"},)"
      R"("ts":"2023-11-14T22:13:20.120Z"})");
}

TEST_CASE_FIXTURE(LogFixture, "query log: failures, rules, and what does not parse") {
  promql::Engine engine({.max_samples = 1, .observer = &log}, clock);
  REQUIRE(log.SetFile(File("q")).ok());
  promql::QueryOptions options;
  options.origin = {.rule_file = "r.yml", .rule_group = "g \"1\""};
  CHECK(!engine.Instant(storage, "up[5m] offset -4m + ", 0, options).ok());
  CHECK(Lines("q").empty());
  CHECK(!engine.Instant(storage, "max_over_time(vector(1)[5m:1m])", 0, options).ok());
  const std::vector<std::string> lines = Lines("q");
  REQUIRE(lines.size() == 1);
  simdjson::dom::parser parser;
  simdjson::dom::element line;
  REQUIRE(parser.parse(lines[0]).get(line) == simdjson::SUCCESS);
  CHECK(std::string_view(line["error"]) ==
        "query processing would load too many samples into memory in query execution");
  CHECK(std::string_view(line["ruleGroup"]["file"]) == "r.yml");
  CHECK(std::string_view(line["ruleGroup"]["name"]) == "g \"1\"");
  CHECK(line["httpRequest"].error() == simdjson::NO_SUCH_FIELD);
  CHECK(int64_t(line["params"]["step"]) == 0);
}

TEST_CASE_FIXTURE(LogFixture, "query log: the file is opened anew, changed and closed") {
  promql::Engine engine({.observer = &log}, clock);
  const auto ask = [&] { REQUIRE(engine.Instant(storage, "up", 0).ok()); };
  const auto metrics = [&] { return prometheus::TextSerializer().Serialize(registry.Collect()); };
  ask();  // No file yet.
  CHECK(metrics().find("prometheus_engine_query_log_enabled 0") != std::string::npos);
  REQUIRE(log.SetFile(File("a")).ok());
  ask();
  fs::rename(File("a"), File("a.1"));
  ask();
  CHECK(Lines("a.1").size() == 2);
  REQUIRE(log.SetFile(File("a")).ok());
  ask();
  CHECK(Lines("a.1").size() == 2);
  CHECK(Lines("a").size() == 1);
  CHECK(metrics().find("prometheus_engine_query_log_enabled 1") != std::string::npos);
  // A file that cannot be opened leaves the one before.
  CHECK(log.SetFile(File("missing/b")).code() == absl::StatusCode::kUnavailable);
  ask();
  CHECK(Lines("a").size() == 2);
  REQUIRE(log.SetFile("").ok());
  ask();
  CHECK(Lines("a").size() == 2);
}

}  // namespace
}  // namespace varve
