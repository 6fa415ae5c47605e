// SPDX-License-Identifier: Apache-2.0
//
// The command line: Prometheus' names, defaults, negation, errors.

#include "app/flags.h"

#include <doctest/doctest.h>

#include <vector>

namespace varve {
namespace {

FlagsResult Parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "varve");
  return ParseFlags(static_cast<int>(arguments.size()), arguments.data());
}

TEST_CASE("flags: defaults are Prometheus'") {
  const FlagsResult result = Parse({});
  REQUIRE_FALSE(result.exit);
  const Flags& flags = result.flags;
  CHECK(flags.config_file == "prometheus.yml");
  CHECK_FALSE(flags.config_file_given);
  CHECK(flags.web_listen_addresses == std::vector<std::string>{"0.0.0.0:9090"});
  CHECK(flags.storage_path == "data/");
  CHECK(flags.storage_retention_time == 0);
  CHECK(flags.query_lookback_delta == 5 * kMinute);
  CHECK(flags.query_max_samples == 50'000'000);
  CHECK_FALSE(flags.web_enable_lifecycle);
  CHECK(flags.values.at("query.timeout") == "2m");
  CHECK(flags.values.at("web.enable-lifecycle") == "false");
  CHECK(flags.without_effect.empty());
}

TEST_CASE("flags: both spellings of values, repetition, negation") {
  const FlagsResult result =
      Parse({"--config.file=a.yml", "--storage.tsdb.path", "/d", "--web.listen-address=:1",
             "--web.listen-address=:2", "--web.enable-lifecycle", "--no-scrape.adjust-timestamps",
             "--storage.tsdb.retention.time=30d", "--storage.tsdb.retention.size=512MB",
             "--enable-feature=a,b", "--enable-feature=c"});
  REQUIRE_MESSAGE(!result.exit, result.text);
  const Flags& flags = result.flags;
  CHECK(flags.config_file == "a.yml");
  CHECK(flags.config_file_given);
  CHECK(flags.storage_path == "/d");
  CHECK(flags.web_listen_addresses == std::vector<std::string>{":1", ":2"});
  CHECK(flags.web_enable_lifecycle);
  CHECK_FALSE(flags.scrape_adjust_timestamps);
  CHECK(flags.storage_retention_time == 30 * kDay);
  CHECK(flags.storage_retention_bytes == 512 << 20);
  CHECK(flags.HasFeature("b"));
  CHECK(flags.HasFeature("c"));
  CHECK_FALSE(flags.HasFeature("d"));
  CHECK(flags.values.at("web.enable-lifecycle") == "true");
}

TEST_CASE("flags: reloading of itself was a feature once") {
  CHECK_FALSE(Parse({"--enable-feature=a"}).flags.config_auto_reload);
  CHECK(Parse({"--enable-feature=a,auto-reload-config"}).flags.config_auto_reload);
}

TEST_CASE("flags: what has no effect is named, not refused") {
  const FlagsResult result =
      Parse({"--storage.tsdb.wal-compression", "--auto-gomemlimit.ratio=0.8"});
  REQUIRE_FALSE(result.exit);
  CHECK(result.flags.without_effect ==
        std::vector<std::string>{"storage.tsdb.wal-compression", "auto-gomemlimit.ratio"});
}

TEST_CASE("flags: errors name the flag and exit with 2") {
  struct Case {
    const char* argument;
    const char* named;
  };
  const Case cases[] = {
      {"--no.such", "--no.such"},
      {"--query.timeout=fast", "query.timeout"},
      {"--query.max-samples=-1", "query.max-samples"},
      {"--web.max-connections=0", "web.max-connections"},
      {"--log.level=loud", "log.level"},
      {"--storage.tsdb.retention.size=512", "storage.tsdb.retention.size"},
      {"--storage.tsdb.min-block-duration=x", "min-block-duration"},
      {"--config.auto-reload-interval=0s", "auto-reload-interval"},
      {"stray", "stray"},
      {"--agent", "agent"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.argument);
    const FlagsResult result = Parse({c.argument});
    CHECK(result.exit);
    CHECK(result.exit_code == 2);
    CHECK_MESSAGE(result.text.find(c.named) != std::string::npos, result.text);
  }
}

TEST_CASE("flags: help and version leave with 0") {
  const FlagsResult help = Parse({"--help"});
  CHECK(help.exit);
  CHECK(help.exit_code == 0);
  CHECK(help.text.find("--storage.tsdb.path") != std::string::npos);
  const FlagsResult version = Parse({"--version"});
  CHECK(version.exit_code == 0);
  CHECK(version.text.find(kVersion) != std::string::npos);
}

}  // namespace
}  // namespace varve
