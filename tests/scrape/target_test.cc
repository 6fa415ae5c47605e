// SPDX-License-Identifier: Apache-2.0
//
// Goal: discovered labels become the target, URL and slot Prometheus would give them.
#include "scrape/target.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "model/status_macros.h"
#include "scrape/discovery/kubernetes.h"
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
  std::vector<int> tenths(10);
  for (uint64_t hash = 0; hash < 1000; ++hash) {
    const uint64_t mixed = hash * 0x9E3779B97F4A7C15u;
    const int64_t slot = NextSlotNanos(kNow, 15 * kSecond, mixed, 7);
    CHECK(slot > kNow);
    CHECK(slot <= kNow + kInterval);
    CHECK(NextSlotNanos(slot, 15 * kSecond, mixed, 7) == slot + kInterval);
    ++tenths[(slot % kInterval) * 10 / kInterval];
  }
  for (const int count : tenths) CHECK(count > 50);
  CHECK(OffsetSeed("a", {}) != OffsetSeed("b", {}));
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

TEST_CASE("kubernetes discovery: a pod's labels") {
  Pod pod;
  pod.pod_ip = "10.0.0.1";
  pod.host_ip = "10.1.0.1";
  pod.phase = "Running";
  pod.node_name = "n1";
  pod.conditions = {{"Initialized", "True"}, {"Ready", "True"}};
  pod.containers = {{.name = "app", .image = "app:1", .ports = {{"http", 80, "TCP"}}},
                    {.name = "side", .image = "side:1"}};
  pod.init_containers = {{.name = "setup", .image = "setup:1"}};
  pod.container_statuses = {{"app", "docker://a"}};
  KubeObject object;
  object.metadata = {.name = "p", .namespace_ = "ns", .uid = "u"};
  object.metadata.labels = {{"app.kubernetes.io/name", "shop"}};
  object.metadata.annotations = {{"prometheus.io/scrape", "true"}};
  object.metadata.owner_references = {{"ReplicaSet", "rs", "x", true}};
  object.body = pod;
  const TargetGroup group = PodGroup(object, {});
  CHECK(group.source == "pod/ns/p");
  const auto meta = [&](std::string_view name) {
    return std::string(group.labels.Get("__meta_kubernetes_" + std::string(name)));
  };
  CHECK(meta("namespace") == "ns");
  CHECK(meta("pod_name") == "p");
  CHECK(meta("pod_ip") == "10.0.0.1");
  CHECK(meta("pod_host_ip") == "10.1.0.1");
  CHECK(meta("pod_ready") == "true");
  CHECK(meta("pod_phase") == "Running");
  CHECK(meta("pod_node_name") == "n1");
  CHECK(meta("pod_uid") == "u");
  CHECK(meta("pod_controller_kind") == "ReplicaSet");
  CHECK(meta("pod_controller_name") == "rs");
  CHECK(meta("pod_label_app_kubernetes_io_name") == "shop");
  CHECK(meta("pod_labelpresent_app_kubernetes_io_name") == "true");
  CHECK(meta("pod_annotation_prometheus_io_scrape") == "true");
  REQUIRE(group.targets.size() == 3);
  CHECK(group.targets[0] == Labels::Of({{"__address__", "10.0.0.1:80"},
                                        {"__meta_kubernetes_pod_container_name", "app"},
                                        {"__meta_kubernetes_pod_container_id", "docker://a"},
                                        {"__meta_kubernetes_pod_container_image", "app:1"},
                                        {"__meta_kubernetes_pod_container_init", "false"},
                                        {"__meta_kubernetes_pod_container_port_name", "http"},
                                        {"__meta_kubernetes_pod_container_port_number", "80"},
                                        {"__meta_kubernetes_pod_container_port_protocol", "TCP"}}));
  CHECK(group.targets[1].Get("__address__") == "10.0.0.1");
  CHECK(group.targets[2].Get("__meta_kubernetes_pod_container_init") == "true");
  pod.pod_ip = "fd00::1";
  object.body = pod;
  CHECK(PodGroup(object, {}).targets[0].Get("__address__") == "[fd00::1]:80");
  pod.pod_ip.clear();
  object.body = pod;
  CHECK(PodGroup(object, {}).targets.empty());
}

TEST_CASE("kubernetes discovery: a node's address") {
  Node node;
  node.kubelet_port = 10250;
  node.provider_id = "cloud://1";
  node.conditions = {{"Ready", "True"}};
  node.addresses = {{"Hostname", "host"}, {"ExternalIP", "1.2.3.4"}, {"InternalIP", "10.0.0.1"}};
  KubeObject object;
  object.metadata.name = "n1";
  object.body = node;
  const TargetGroup group = NodeGroup(object);
  CHECK(group.source == "node/n1");
  REQUIRE(group.targets.size() == 1);
  CHECK(group.targets[0].Get("__address__") == "10.0.0.1:10250");
  CHECK(group.targets[0].Get("instance") == "n1");
  CHECK(group.targets[0].Get("__meta_kubernetes_node_address_ExternalIP") == "1.2.3.4");
  CHECK(group.labels.Get("__meta_kubernetes_node_condition_ready") == "true");
  CHECK(group.labels.Get("__meta_kubernetes_node_provider_id") == "cloud://1");
  node.addresses.clear();
  object.body = node;
  CHECK(NodeGroup(object).targets.empty());
}

}  // namespace
}  // namespace varve
