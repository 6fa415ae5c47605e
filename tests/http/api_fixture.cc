// SPDX-License-Identifier: Apache-2.0
//
// What the fakes tell.
#include "tests/http/api_fixture.h"

#include <doctest/doctest.h>

#include <optional>
#include <utility>

namespace varve {

TargetsSnapshot FakeScrape::Targets(std::string_view) const {
  TargetsSnapshot snapshot;
  snapshot.active.push_back({.discovered_labels = Labels::Of({{"__address__", "a:1"}}),
                             .labels = Labels::Of({{"instance", "a:1"}, {"job", "node"}}),
                             .scrape_pool = "node",
                             .scrape_url = "http://a:1/metrics?x=<y>",
                             .global_url = "http://a:1/metrics",
                             .last_error = "connection refused",
                             .last_scrape = 1500,
                             .last_scrape_duration_seconds = 0.25,
                             .health = TargetHealth::kDown,
                             .interval = 15 * kSecond,
                             .timeout = 10 * kSecond,
                             .history = {.scrapes = 3,
                                         .failed = 2,
                                         .failures = {{1000, 1500, 2, "connection refused"}},
                                         .dropped_out_of_order = 4,
                                         .body_bytes = -1,
                                         .limits = {.samples = 7}}});
  snapshot.dropped.push_back(
      {.discovered_labels = Labels::Of({{"__address__", "b:1"}}), .scrape_pool = "node"});
  snapshot.dropped_counts["node"] = 3;
  snapshot.active.insert(snapshot.active.end(), others.begin(), others.end());
  return snapshot;
}

std::vector<DiscoveryStatus> FakeScrape::DiscoveryStatuses() const {
  return {{.config = "node",
           .mechanism = "dns",
           .source = "a.test",
           .stale = true,
           .last_error = "no answer",
           .last_success = 1500,
           .failing_since = 2500}};
}

absl::StatusOr<ScrapePreview> FakeScrape::ScrapeNow(std::string_view pool, std::string_view url,
                                                    size_t samples_max) {
  if (pool != "node") return absl::NotFoundError("scrape pool not found");
  ScrapePreview preview;
  preview.error = std::string(url);
  preview.truncated = samples_max == 1;
  preview.samples.push_back({Labels::Of({{"__name__", "up"}}), 1500, 1, std::nullopt});
  return preview;
}

absl::StatusOr<ScrapeConfig> FakeScrape::PoolConfig(std::string_view pool) const {
  if (pool != "node") return absl::NotFoundError("scrape pool not found");
  ScrapeConfig config;
  config.relabel_rules = {
      *RelabelRule::Create({.source_labels = {"__address__"}, .target_label = "instance"}),
      *RelabelRule::Create(
          {.source_labels = {"env", "job"}, .regex = "dev;.*", .action = RelabelAction::kDrop}),
      *RelabelRule::Create({.source_labels = {"instance"},
                            .modulus = 8,
                            .target_label = "shard",
                            .action = RelabelAction::kHashMod})};
  return config;
}

std::vector<TargetMetadata> FakeScrape::MetadataByTarget(const std::vector<Matcher>&,
                                                         std::string_view metric,
                                                         int64_t limit) const {
  if (limit == 0) return {};
  return {{.target = Labels::Of({{"job", "node"}}),
           .metric = metric.empty() ? "up" : std::string(metric),
           .metadata = {.type = MetricType::kGauge, .help = "Is it <up>?", .unit = ""}}};
}

std::map<std::string, std::vector<MetricMetadata>> FakeScrape::Metadata(std::string_view,
                                                                        int64_t limit,
                                                                        int64_t) const {
  if (limit == 0) return {};
  return {{"up", {{.type = MetricType::kGauge, .help = "Is it <up>?", .unit = ""}}}};
}

std::vector<RuleGroupStatus> FakeRules::Groups() const {
  RuleGroupStatus group{.name = "g",
                        .file = "r.yml",
                        .interval = 30 * kSecond,
                        .limit = 0,
                        .evaluation_seconds = 0.5,
                        .last_evaluation = 2000};
  RuleStatus recording{.name = "job:up", .query = "sum(up)"};
  recording.health = RuleHealth::kOk;
  recording.evaluation_seconds = 0.25;
  recording.last_evaluation = 2000;
  RuleStatus alert{.is_alert = true, .name = "Down", .query = "up < 1"};
  alert.health = RuleHealth::kError;
  alert.last_error = "it broke";
  alert.for_ms = 90 * kSecond;
  alert.state = AlertState::kFiring;
  alert.annotations = Labels::Of({{"summary", "down"}});
  alert.alerts.push_back({.labels = Labels::Of({{"alertname", "Down"}}),
                          .annotations = Labels::Of({{"summary", "down"}}),
                          .state = AlertState::kFiring,
                          .active_at = 1000,
                          .value = 0});
  group.rules = {recording, alert};
  RuleGroupStatus other{.name = "h", .file = "r.yml", .interval = kMinute};
  return {group, other};
}

ApiFixture::ApiFixture(bool lifecycle) {
  ApiOptions options;
  options.build = {.version = "3.14.0", .revision = "abc"};
  options.flags = {{"config.file", "prometheus.yml"}, {"web.page-title", "a <b>"}};
  options.enable_lifecycle = lifecycle;
  options.enable_remote_write_receiver = lifecycle;
  options.enable_admin_api = lifecycle;
  options.collectables = {&registry};
  options.reload = [this] { return reload_status; };
  options.quit = [this] { ++quits; };
  options.clock = &clock;
  api = std::make_unique<Api>(std::move(options));
  api->AddRoutes(router);
  auto opened = HttpServer::Open({.addresses = {"127.0.0.1:0"}, .registry = &registry}, router);
  REQUIRE_MESSAGE(opened.ok(), opened.status().ToString());
  server = std::move(*opened);
  api->Attach(
      {.storage = &storage,
       .metadata = &storage,
       .admin = &storage,
       .engine = &engine,
       .scrape = &scrape,
       .rules = &rules,
       .write = write.get(),
       .config_yaml = [] { return std::string("global: {}\n"); },
       .scrape_pool_yaml =
           [](std::string_view pool) {
             return pool == "node" ? std::string("job_name: node\n") : std::string();
           },
       .runtime_info = [] { return RuntimeInfo{.start_time = 1000, .storage_retention = "15d"}; },
       .external_labels =
           [] {
             return Labels::Of({{"cluster", "east"}});
           }});
  server->SetReady();
  storage.Add({{"__name__", "up"}, {"instance", "a"}, {"job", "node"}}, 10'000, 1);
  storage.Add({{"__name__", "up"}, {"instance", "b"}, {"job", "node"}}, 10'000, 0.5);
  storage.Add({{"__name__", "build"}, {"version", "<1>"}}, 10'000, 1);
}

}  // namespace varve
