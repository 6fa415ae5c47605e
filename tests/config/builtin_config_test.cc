// SPDX-License-Identifier: Apache-2.0
//
// Goal: the configuration nobody wrote loads, and holds the jobs its surroundings call for.
#include "app/builtin_config.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "model/status_macros.h"

namespace varve {
namespace {

std::vector<std::string> Jobs(const BuiltinSurroundings& surroundings,
                              std::string_view listen = "0.0.0.0:9090") {
  const auto config = ParseConfig(BuiltinConfigYaml(listen, surroundings));
  REQUIRE_MESSAGE(config.ok(), MessageOf(config.status()));
  std::vector<std::string> jobs;
  for (const ScrapeConfig& scrape : config->scrape_configs) {
    jobs.push_back(scrape.job_name);
    for (const StaticConfig& group : scrape.discovery.static_configs)
      jobs.back() += " " + group.targets[0];
  }
  return jobs;
}

TEST_CASE("builtin config: jobs follow the surroundings") {
  using List = std::vector<std::string>;
  CHECK(Jobs({}) == List{"varve localhost:9090"});
  CHECK(Jobs({}, "127.0.0.1:1234") == List{"varve 127.0.0.1:1234"});
  CHECK(Jobs({}, "[::]:80") == List{"varve localhost:80"});
  CHECK(Jobs({.node_exporter = true}) == List{"varve localhost:9090", "node localhost:9100"});
  CHECK(Jobs({.in_cluster = true}) ==
        List{"varve localhost:9090", "kubernetes-pods", "kubernetes-pods-slow"});
}

}  // namespace
}  // namespace varve
