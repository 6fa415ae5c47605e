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
  CHECK(Jobs({.in_cluster = true}) == List{"varve localhost:9090", "kubernetes-pods",
                                           "kubernetes-pods-slow", "kubelet", "kubelet-cadvisor",
                                           "apiserver"});
}

TEST_CASE("builtin config: the cluster's own parts") {
  const auto config = ParseConfig(
      BuiltinConfigYaml("0.0.0.0:9090", {.in_cluster = true, .account_dir = "/account"}));
  REQUIRE_MESSAGE(config.ok(), MessageOf(config.status()));
  const ScrapeConfig& cadvisor = config->scrape_configs[4];
  CHECK(cadvisor.metrics_path == "/metrics/cadvisor");
  CHECK(cadvisor.scheme == "https");
  CHECK(cadvisor.track_timestamps_staleness);
  CHECK(cadvisor.http_client.authorization->credentials_file == "/account/token");
  CHECK(cadvisor.relabel_rules == config->scrape_configs[3].relabel_rules);
  const ScrapeConfig& api_server = config->scrape_configs[5];
  CHECK(api_server.http_client.tls.ca_file == "/account/ca.crt");
  CHECK(api_server.http_client.tls.server_name == "kubernetes");
  CHECK_FALSE(api_server.http_client.tls.insecure_skip_verify);
}

}  // namespace
}  // namespace varve
