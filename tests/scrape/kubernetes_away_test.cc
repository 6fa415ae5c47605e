// SPDX-License-Identifier: Apache-2.0
//
// Goal: an API server that is away costs no sample: its pods are scraped on, and once it is back
// the series of those that are gone end, and of no others. Method: a scripted API server and one
// target that all pods share, in real time.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "net/client.h"
#include "scrape/manager.h"
#include "tests/kube/scripted_informer.h"
#include "tests/net/test_server.h"
#include "tests/scrape/fake_storage.h"

namespace varve::testing {
namespace {

std::string PodEvent(std::string_view name, std::string_view version, int port) {
  return EventJson(
             "ADDED",
             fmt::format(
                 R"({{"metadata":{{"name":"{}","namespace":"n","resourceVersion":"{}"}},)"
                 R"("spec":{{"containers":[{{"name":"c","ports":[{{"containerPort":{}}}]}}]}},)"
                 R"("status":{{"podIP":"127.0.0.1","phase":"Running"}}}})",
                 name, version, port)) +
         "\n";
}

struct AwayFixture {
  AwayFixture()
      : target([](TestConnection& connection, const TestRequest&) {
          connection.Respond(200, "m 1\n", "Content-Type: text/plain; version=0.0.4\r\n");
        }),
        api(std::make_unique<ScriptedServer>()),
        http(HttpClient::Open({}).value()),
        manager(ScrapeManager::Create({.clock = RealClock(),
                                       .http_client = *http,
                                       .storage = storage,
                                       .registry = registry,
                                       .workers = 2,
                                       .discovery_reload_interval = 50})
                    .value()) {}
  ~AwayFixture() { manager.reset(); }

  ScrapeConfig Job() const {
    ScrapeConfig config;
    config.job_name = "pods";
    config.scrape_interval = 200;
    config.scrape_timeout = 200;
    config.protocols = {ScrapeProtocol::kPrometheusText0_0_4};
    config.discovery.kubernetes_sd_configs.push_back(
        {.api_server = api->Url(), .role = KubernetesRole::kPod});
    config.relabel_rules.push_back(*RelabelRule::Create(
        {.source_labels = {"__meta_kubernetes_pod_name"}, .target_label = "pod"}));
    return config;
  }
  std::string Pod(std::string_view name, std::string_view version) const {
    return PodEvent(name, version, target.port());
  }
  std::string Series(std::string_view metric, std::string_view pod) const {
    return fmt::format(R"({}{{instance="127.0.0.1:{}", job="pods", pod="{}"}})", metric,
                       target.port(), pod);
  }
  bool IsScrapedOn(std::string_view pod, int scrapes) const {
    TimestampMs last = 0;
    for (int i = 0; i < scrapes; ++i) {
      const bool scraped = Eventually([&] {
        const auto sample = storage.Last(Series("m", pod));
        if (!sample.has_value() || sample->value != 1 || sample->time <= last) return false;
        last = sample->time;
        return true;
      });
      if (!scraped) return false;
    }
    return true;
  }
  // How many staleness markers each series has had since the last call.
  std::map<std::string, int> TakeMarkers() {
    std::map<std::string, int> markers;
    for (const std::string& text : storage.TakeTexts("")) {
      const size_t end = text.find("} stale@");
      if (end != std::string::npos) ++markers[text.substr(0, end + 1)];
    }
    return markers;
  }
  bool IsStale() const {
    const std::vector<DiscoveryStatus> statuses = manager->DiscoveryStatuses();
    return statuses.size() == 1 && statuses[0].stale;
  }

  TestServer target;
  std::unique_ptr<ScriptedServer> api;
  FakeStorage storage;
  prometheus::Registry registry;
  std::unique_ptr<HttpClient> http;
  std::unique_ptr<ScrapeManager> manager;
};

TEST_CASE("kubernetes discovery: of pods that went while the API server was away the series end") {
  AwayFixture f;
  f.api->OnStream(Stream(f.Pod("gone", "5") + f.Pod("stays", "6") + ListEndJson("10")));
  REQUIRE(f.manager->ApplyConfig({f.Job()}, {}).ok());
  // A watch that ends within a second is asked for again only after a pause.
  REQUIRE(f.IsScrapedOn("gone", 6));
  REQUIRE(f.IsScrapedOn("stays", 1));
  CHECK_FALSE(f.IsStale());

  const int port = f.api->port();
  f.api.reset();
  REQUIRE(Eventually([&] { return f.IsStale(); }));
  CHECK(f.IsScrapedOn("gone", 3));
  CHECK(f.IsScrapedOn("stays", 3));
  CHECK(f.IsStale());
  CHECK(f.manager->Targets().active.size() == 2);
  for (const auto& marker : f.TakeMarkers()) CHECK(marker.first.starts_with("m{"));

  f.api = std::make_unique<ScriptedServer>(port);
  f.api->OnWatch(Answer(StatusJson(410, "Expired", "too old resource version"), 410));
  f.api->OnStream(Stream(f.Pod("stays", "6") + f.Pod("new", "15") + ListEndJson("20")));
  REQUIRE(f.IsScrapedOn("new", 1));
  CHECK_FALSE(f.IsStale());
  const std::vector<std::string> metrics = {"scrape_duration_seconds",
                                            "scrape_samples_post_metric_relabeling",
                                            "scrape_samples_scraped", "scrape_series_added", "up"};
  std::map<std::string, int> expected;
  for (const std::string& metric : metrics) expected[f.Series(metric, "gone")] = 1;
  std::map<std::string, int> markers;
  const auto take = [&] {
    for (const auto& [series, count] : f.TakeMarkers()) {
      if (!series.starts_with("m{")) markers[series] += count;
    }
  };
  CHECK(Eventually([&] {
    take();
    return markers.size() >= expected.size();
  }));
  CHECK(IsStaleNan(f.storage.Last(f.Series("m", "gone"))->value));
  // Long enough for those of other targets to come.
  CHECK(f.IsScrapedOn("stays", 4));
  CHECK(f.IsScrapedOn("new", 1));
  take();
  CHECK(markers == expected);
}

}  // namespace
}  // namespace varve::testing
