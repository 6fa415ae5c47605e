// SPDX-License-Identifier: Apache-2.0
//
// Goal: discovered labels become the target, URL and slot Prometheus would give them.
#include "scrape/target.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "model/status_macros.h"
#include "scrape/discovery/target_groups.h"

namespace varve {
namespace {

ScrapeConfig Config() {
  ScrapeConfig config;
  config.job_name = "j";
  config.scrape_interval = 15 * kSecond;
  config.scrape_timeout = 10 * kSecond;
  return config;
}

// The target's URL, "dropped", or the error.
std::string Url(const Labels& discovered, const ScrapeConfig& config = Config()) {
  const auto target = MakeTarget(config, DiscoveredLabels(config, {}, discovered));
  if (!target.ok()) return MessageOf(target.status());
  return target->has_value() ? (*target)->url : "dropped";
}

TEST_CASE("target: labels become a URL") {
  CHECK(Url(Labels::Of({{"__address__", "h:1"}})) == "http://h:1/metrics");
  CHECK(Url(Labels::Of({{"__address__", "h"}, {"__scheme__", "https"}})) == "https://h/metrics");
  CHECK(Url(Labels::Of({{"__address__", "h"}, {"__metrics_path__", "a b/c?d%"}})) ==
        "http://h/a%20b/c%3Fd%25");
  CHECK(Url(Labels::Of({{"__address__", "h"}, {"__param_b", "1&2"}, {"__param_a", "x y"}})) ==
        "http://h/metrics?a=x+y&b=1%262");
  ScrapeConfig config = Config();
  config.params = {{"m", {"1", "2"}}};
  CHECK(Url(Labels::Of({{"__address__", "h"}}), config) == "http://h/metrics?m=1&m=2");
  CHECK(Url(Labels::Of({{"__address__", "h"}, {"__param_m", "9"}}), config) ==
        "http://h/metrics?m=9&m=2");
}

TEST_CASE("target: what is no target") {
  CHECK(Url({}) == "no address");
  CHECK(Url(Labels::Of({{"__address__", "h/p"}})) == "\"h/p\" is not a valid hostname");
  CHECK(Url(Labels::Of({{"__address__", "h"}, {"__scrape_interval__", "1x"}})) ==
        "error parsing scrape interval: not a valid duration string: \"1x\"");
  CHECK(Url(Labels::Of({{"__address__", "h"}, {"__scrape_interval__", "0s"}})) ==
        "scrape interval cannot be 0");
  CHECK(Url(Labels::Of({{"__address__", "h"}, {"__scrape_timeout__", "20s"}})) ==
        "scrape timeout cannot be greater than scrape interval (\"20s\" > \"15s\")");
}

TEST_CASE("target: labels that stay and labels that are hidden") {
  const ScrapeConfig config = Config();
  const Labels discovered =
      DiscoveredLabels(config, Labels::Of({{"__meta_x", "m"}, {"group", "g"}, {"both", "group"}}),
                       Labels::Of({{"__address__", "h:1"}, {"both", "target"}, {"__tmp", "t"}}));
  CHECK(discovered.Get("both") == "target");
  CHECK(discovered.Get("job") == "j");
  CHECK(discovered.Get("__scrape_interval__") == "15s");
  const auto target = MakeTarget(config, discovered);
  REQUIRE(target.ok());
  CHECK((*target)->public_labels ==
        Labels::Of({{"both", "target"}, {"group", "g"}, {"instance", "h:1"}, {"job", "j"}}));
  CHECK((*target)->labels.Get("__tmp") == "t");
  CHECK_FALSE((*target)->labels.Has("__meta_x"));
}

TEST_CASE("target: slots are an interval apart and spread") {
  constexpr int64_t kNow = 1'700'000'000'123'456'789;
  constexpr int64_t kInterval = 15'000'000'000;
  constexpr DurationMs kGrid = 500;
  std::vector<int> tenths(10);
  for (uint64_t hash = 0; hash < 1000; ++hash) {
    const uint64_t mixed = hash * 0x9E3779B97F4A7C15u;
    const int64_t slot = NextSlotNanos(kNow, 15 * kSecond, kGrid, mixed, 7);
    CHECK(slot > kNow);
    CHECK(slot <= kNow + kInterval);
    CHECK(NextSlotNanos(slot, 15 * kSecond, kGrid, mixed, 7) == slot + kInterval);
    ++tenths[(slot % kInterval) * 10 / kInterval];
    CHECK(slot % kInterval % (kGrid * 1'000'000) == 0);
  }
  for (const int count : tenths) CHECK(count > 50);
  CHECK(OffsetSeed("a", {}) != OffsetSeed("b", {}));
}

TEST_CASE("target: slots are as far apart as the number of targets allows") {
  CHECK(SlotGrid(kMinute, 1) == 1000);
  CHECK(SlotGrid(10 * kSecond, 1000) == 1000);
  CHECK(SlotGrid(5 * kSecond, 10) == 500);
  CHECK(SlotGrid(10, 1) == 1);
  CHECK(SlotGrid(1, 1'000'000) == 1);
  for (const DurationMs interval : {kSecond, 10 * kSecond, 15 * kSecond, kMinute}) {
    for (const size_t targets : {1, 100, 1500, 10'000, 1'000'000}) {
      CAPTURE(interval);
      CAPTURE(targets);
      const DurationMs grid = SlotGrid(interval, targets);
      CHECK(grid >= 1);
      CHECK((grid == 1 || targets * grid / interval <= 101));
      const bool coarsest = grid == std::min(interval / 10, kSecond);
      CHECK((coarsest || targets * (2 * grid + 2) / interval >= 99));
    }
  }
}

TEST_CASE("target groups: JSON and YAML") {
  const auto groups =
      ParseTargetGroups(R"([{"targets": ["a:1", "b:2"], "labels": {"x": "1"}}, {"targets": []}])",
                        "/f.json", "__meta_filepath");
  REQUIRE(groups.ok());
  REQUIRE(groups->size() == 2);
  CHECK((*groups)[0].source == "/f.json:0");
  CHECK((*groups)[0].labels == Labels::Of({{"__meta_filepath", "/f.json"}, {"x", "1"}}));
  CHECK((*groups)[0].targets[1] == Labels::Of({{"__address__", "b:2"}}));
  CHECK(
      ParseTargetGroups("- targets: [a]\n  labels: {n: 007}\n", "f", "m")->at(0).labels.Get("n") ==
      "007");
  CHECK(ParseTargetGroups("", "f", "m")->empty());
  const std::vector<std::pair<std::string, std::string>> bad = {
      {"{}", "f:1: expected a list of target groups"},
      {"- target: [a]\n", "f:1: field target not found in type struct"},
      {"- targets: a\n", "f:1: targets: expected a list"},
      {"- labels: [a]\n", "f:1: labels: expected a map"},
      {"- targets:\n  - {a: b}\n", "f:2: targets: expected a string"},
  };
  for (const auto& one : bad) {
    CHECK(std::string(ParseTargetGroups(one.first, "f", "m").status().message()) == one.second);
  }
  CHECK_FALSE(ParseTargetGroups("[{", "f", "m").ok());
}

}  // namespace
}  // namespace varve
