// SPDX-License-Identifier: Apache-2.0
//
// Goal: a configuration means what Prometheus takes it to mean, and one that is wrong is refused
// with file, line, field and reason. Method: tables of YAML; defaults and inheritance by field.
#include "app/config.h"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "model/status_macros.h"

namespace varve {
namespace {

Config Parsed(const std::string& yaml) {
  absl::StatusOr<Config> config = ParseConfig(yaml, "p.yml");
  REQUIRE_MESSAGE(config.ok(), MessageOf(config.status()));
  return *std::move(config);
}

std::string Refusal(const std::string& yaml) {
  const absl::StatusOr<Config> config = ParseConfig(yaml, "p.yml");
  return config.ok() ? "loaded" : MessageOf(config.status());
}

TEST_CASE("config: an empty file has Prometheus' defaults") {
  for (const char* yaml : {"", "global:", "{}", "# nothing\n"}) {
    const Config config = Parsed(yaml);
    CHECK(config.global.scrape_defaults.scrape_interval == kMinute);
    CHECK(config.global.scrape_defaults.scrape_timeout == 10 * kSecond);
    CHECK(config.global.evaluation_interval == kMinute);
    CHECK(config.scrape_configs.empty());
    CHECK(config.storage.exemplars_max == 100000);
  }
}

TEST_CASE("config: scrape_configs inherit from global") {
  const Config config = Parsed(R"(
global:
  scrape_interval: 5s
  sample_limit: 100
  body_size_limit: 1MB
scrape_configs:
- job_name: a
- job_name: b
  scrape_interval: 20s
  sample_limit: 7
  scrape_protocols: [PrometheusText0.0.4]
  params: {z: [1, 2], module: [x]}
  static_configs:
  - targets: ['h:1', "h:2"]
    labels: {team: t}
)");
  REQUIRE(config.scrape_configs.size() == 2);
  const ScrapeConfig& a = config.scrape_configs[0];
  CHECK(a.scrape_interval == 5 * kSecond);
  CHECK(a.scrape_timeout == 5 * kSecond);  // The default of 10s would be longer than the interval.
  CHECK(a.limits.samples == 100);
  CHECK(a.limits.body_size_bytes == 1 << 20);
  CHECK(a.protocols.size() == 4);
  CHECK(a.honor_timestamps);
  const ScrapeConfig& b = config.scrape_configs[1];
  CHECK(b.scrape_interval == 20 * kSecond);
  CHECK(b.scrape_timeout == 5 * kSecond);
  CHECK(b.limits.samples == 7);
  CHECK(b.protocols == std::vector{ScrapeProtocol::kPrometheusText0_0_4});
  CHECK(b.params[0].first == "module");
  CHECK(b.params[1].second == std::vector<std::string>{"1", "2"});
  CHECK(b.discovery.static_configs[0].targets == std::vector<std::string>{"h:1", "h:2"});
  CHECK(b.discovery.static_configs[0].labels == Labels::Of({{"team", "t"}}));
}

TEST_CASE("config: with start times targets are asked for protobuf first") {
  const std::string yaml =
      "scrape_configs: [{job_name: a}, {job_name: b, scrape_protocols: [PrometheusText0.0.4]}, "
      "{job_name: c, scrape_native_histograms: true}]\n";
  const auto config = ParseConfig(yaml, "p.yml", {.start_times = true});
  REQUIRE(config.ok());
  for (const size_t job : {0, 2}) {
    const ScrapeConfig& scrape = config->scrape_configs[job];
    CHECK(scrape.start_times);
    CHECK(scrape.protocols.size() == 5);
    CHECK(scrape.protocols[0] == ScrapeProtocol::kPrometheusProto);
  }
  CHECK(config->scrape_configs[1].protocols == std::vector{ScrapeProtocol::kPrometheusText0_0_4});
  const auto global = ParseConfig("global: {scrape_protocols: [PrometheusText0.0.4]}\n" + yaml,
                                  "p.yml", {.start_times = true});
  REQUIRE(global.ok());
  CHECK(global->scrape_configs[0].protocols == std::vector{ScrapeProtocol::kPrometheusText0_0_4});
  CHECK_FALSE(Parsed(yaml).scrape_configs[0].start_times);
}

TEST_CASE("config: types and units as labels are for all jobs or none") {
  const auto config =
      ParseConfig("scrape_configs: [{job_name: a}]\n", "p.yml", {.type_and_unit_labels = true});
  REQUIRE(config.ok());
  CHECK(config->scrape_configs[0].type_and_unit_labels);
  CHECK_FALSE(Parsed("scrape_configs: [{job_name: a}]\n").scrape_configs[0].type_and_unit_labels);
}

TEST_CASE("config: a feature turns extra metrics on where a job does not say") {
  const auto config =
      ParseConfig("scrape_configs: [{job_name: a}, {job_name: b, extra_scrape_metrics: false}]\n",
                  "p.yml", {.extra_scrape_metrics = true});
  REQUIRE(config.ok());
  CHECK(config->scrape_configs[0].extra_scrape_metrics);
  CHECK_FALSE(config->scrape_configs[1].extra_scrape_metrics);
}

TEST_CASE("config: external labels expand the environment") {
  setenv("VARVE_TEST_VALUE", "home", 1);
  const Config config = Parsed(R"(
global:
  external_labels:
    a: ${VARVE_TEST_VALUE}
    b: x$VARVE_TEST_VALUE-y
    c: $$VARVE_TEST_VALUE
    d: $${VARVE_TEST_VALUE}
    e: ${VARVE_TEST_ABSENT}z
    f: a$
)");
  CHECK(config.global.external_labels == Labels::Of({{"a", "home"},
                                                     {"b", "xhome-y"},
                                                     {"c", "$VARVE_TEST_VALUE"},
                                                     {"d", "${VARVE_TEST_VALUE}"},
                                                     {"e", "z"},
                                                     {"f", "a$"}}));
}

TEST_CASE("config: anchors, aliases and merge keys") {
  const Config config = Parsed(R"(
scrape_configs:
- &base
  job_name: a
  scrape_interval: 30s
  static_configs: &targets [{targets: [h]}]
- <<: *base
  job_name: b
  static_configs: *targets
)");
  REQUIRE(config.scrape_configs.size() == 2);
  CHECK(config.scrape_configs[1].job_name == "b");
  CHECK(config.scrape_configs[1].scrape_interval == 30 * kSecond);
  CHECK(config.scrape_configs[1].discovery.static_configs ==
        config.scrape_configs[0].discovery.static_configs);
}

TEST_CASE("config: kubernetes discovery") {
  const Config config = Parsed(R"(
scrape_configs:
- job_name: k
  kubernetes_sd_configs:
  - role: pod
    namespaces: {own_namespace: true, names: [a, b]}
    selectors: [{role: pod, label: "app in (x,y),!z", field: "status.phase=Running"}]
    attach_metadata: {node: true}
)");
  const KubernetesSdConfig& kubernetes =
      config.scrape_configs[0].discovery.kubernetes_sd_configs[0];
  CHECK(kubernetes.role == KubernetesRole::kPod);
  CHECK(kubernetes.own_namespace);
  CHECK(kubernetes.namespaces == std::vector<std::string>{"a", "b"});
  CHECK(kubernetes.selectors[0].label == "app in (x,y),!z");
  CHECK(kubernetes.attach_node);
}

struct BadConfig {
  const char* yaml;
  const char* message;
};

TEST_CASE("config: what is wrong is named with line and field") {
  const std::vector<BadConfig> cases = {
      {"foo: 1\n", "p.yml:1: foo: field foo not found in type config.Config"},
      {"global:\n  scrape_intervall: 1s\n",
       "p.yml:2: global.scrape_intervall: field scrape_intervall not found in type "
       "config.GlobalConfig"},
      {"global:\n  scrape_interval: 1x\n",
       "p.yml:2: global.scrape_interval: not a valid duration string: \"1x\""},
      {"global:\n  scrape_interval: [1s]\n",
       "p.yml:2: global.scrape_interval: cannot unmarshal !!seq into string"},
      {"global:\n  scrape_interval: 1s\n  scrape_interval: 2s\n",
       "p.yml:3: global.scrape_interval: key \"scrape_interval\" already set in map"},
      {"global:\n  scrape_interval: 5s\n  scrape_timeout: 6s\n",
       "p.yml:3: global.scrape_timeout: global scrape timeout greater than scrape interval"},
      {"global:\n  sample_limit: -1\n",
       "p.yml:2: global.sample_limit: cannot unmarshal !!str `-1` into uint"},
      {"global: [1]\n", "p.yml:1: global: cannot unmarshal !!seq into config.GlobalConfig"},
      {"global: {external_labels: {a: x, a: y}}\n",
       "p.yml:1: global.external_labels: key \"a\" already set in map"},
      {"scrape_configs:\n- scheme: http\n", "p.yml:2: scrape_configs[0]: job_name is empty"},
      {"scrape_configs:\n- job_name: a\n- job_name: a\n",
       "p.yml:3: scrape_configs[1]: found multiple scrape configs with job name \"a\""},
      {"scrape_configs:\n- job_name: a\n  honor_labels: 7\n",
       "p.yml:3: scrape_configs[0].honor_labels: cannot unmarshal !!str `7` into bool"},
      {"scrape_configs:\n- job_name: a\n  static_configs:\n  - targets: ['http://x/y']\n",
       "p.yml:4: scrape_configs[0].static_configs[0]: \"http://x/y\" is not a valid "
       "hostname"},
      {"scrape_configs:\n- job_name: a\n  relabel_configs:\n  - action: keeep\n",
       "p.yml:4: scrape_configs[0].relabel_configs[0].action: unknown relabel action \"keeep\""},
      {"scrape_configs:\n- job_name: a\n  relabel_configs:\n  - action: drop\n    regex: (\n",
       "p.yml:5: scrape_configs[0].relabel_configs[0].regex: error parsing regexp: missing "
       "closing ): `^(?s:()$`"},
      {"scrape_configs:\n- job_name: a\n  kubernetes_sd_configs:\n  - role: pods\n",
       "p.yml:4: scrape_configs[0].kubernetes_sd_configs[0].role: unknown Kubernetes SD "
       "role "
       "\"pods\""},
      {"scrape_configs:\n- job_name: a\n  ec2_sd_configs:\n  - region: x\n",
       "p.yml:3: scrape_configs[0].ec2_sd_configs: ec2_sd_configs is not supported yet"},
      {"scrape_configs:\n- job_name: a\n  bearer_token: x\n  bearer_token_file: y\n",
       "p.yml:2: scrape_configs[0]: at most one of bearer_token & bearer_token_file must be "
       "configured"},
      {"scrape_configs:\n- job_name: a\n  body_size_limit: 100\n",
       "p.yml:3: scrape_configs[0].body_size_limit: units: unknown unit  in 100"},
      {"storage: {tsdb: {retention: {percentage: 101}}}\n",
       "p.yml:1: storage.tsdb.retention.percentage: 'storage.tsdb.retention.percentage' must be in "
       "the range [0, 100]"},
  };
  for (const BadConfig& bad : cases) {
    CAPTURE(bad.yaml);
    CHECK(Refusal(bad.yaml) == bad.message);
  }
}

TEST_CASE("config: broken and hostile YAML is refused") {
  CHECK(Refusal("a: [\n").starts_with("p.yml:"));
  CHECK(Refusal("global: {\n").starts_with("p.yml:"));
  CHECK(Refusal("- a\n") == "p.yml:1: cannot unmarshal !!seq into config.Config");
  CHECK(Refusal(std::string(100000, '[')).starts_with("p.yml:"));
  CHECK(Refusal(std::string(100000, '{')).starts_with("p.yml:"));
  std::string dashes;
  for (int i = 0; i < 50000; ++i) dashes += "- ";
  CHECK(Refusal(dashes).starts_with("p.yml:"));
  // Aliases of aliases: 10^10 texts if they were all read.
  std::string bomb = "scrape_configs:\n- job_name: j0\n  static_configs: &s\n  - &g {targets: [";
  for (int i = 0; i < 2000; ++i) bomb += "x,";
  bomb += "x]}\n";
  for (int i = 0; i < 2000; ++i) bomb += "  - *g\n";
  for (int i = 1; i < 2000; ++i) {
    bomb += fmt::format("- job_name: j{}\n  static_configs: *s\n", i);
  }
  CHECK(Refusal(bomb).find("more than 10000000 values") != std::string::npos);
}

// Every field that may hold a secret, each with a secret of its own.
constexpr std::string_view kSecretClients[] = {
    "basic_auth: {username: u, password: hunter2}",
    "authorization: {credentials: hunter2}",
    "bearer_token: hunter2",
    "oauth2: {client_id: c, client_secret: hunter2, token_url: 'http://h/t'}",
    "oauth2: {client_id: c, token_url: 'http://u:hunter2@h/t'}",
    "oauth2: {client_id: c, token_url: 'http://h/t', tls_config: {cert: c, key: hunter2}}",
    "oauth2: {client_id: c, token_url: 'http://h/t', proxy_url: 'http://u:hunter2@p'}",
    "oauth2: {client_id: c, token_url: 'http://h/t', proxy_url: p, proxy_connect_header: {X: "
    "[hunter2]}}",
    "tls_config: {cert: c, key: hunter2}",
    "proxy_url: 'http://u:hunter2@p'",
    "{proxy_url: 'http://p', proxy_connect_header: {X-A: [hunter2]}}",
    "http_headers: {X-Key: {secrets: [hunter2], values: [open]}}",
};

// `fields` inside a flow map.
std::string Inline(std::string_view fields) {
  if (fields.starts_with('{')) fields = fields.substr(1, fields.size() - 2);
  return std::string(fields);
}

void CheckNothingShown(const std::string& yaml) {
  CAPTURE(yaml);
  const Config config = Parsed(yaml);
  CHECK(config.yaml.find("hunter2") == std::string::npos);
  const bool shown = config.yaml.find("<secret>") != std::string::npos ||
                     config.yaml.find(":***@") != std::string::npos;
  CHECK(shown);
  for (const ScrapeConfig& scrape : config.scrape_configs) {
    CHECK(ScrapeConfigYaml(config, scrape.job_name).find("hunter2") == std::string::npos);
  }
}

TEST_CASE("config: secrets are not shown, of whatever field in whatever section") {
  const std::vector<std::string> sections = {
      "scrape_configs: [{{job_name: a, {}}}]\n",
      "scrape_configs: [{{job_name: a, http_sd_configs: [{{url: 'http://h', {}}}]}}]\n",
      "scrape_configs: [{{job_name: a, consul_sd_configs: [{{{}}}]}}]\n",
      "scrape_configs: [{{job_name: a, docker_sd_configs: [{{host: 'http://h', {}}}]}}]\n",
      "scrape_configs: [{{job_name: a, dockerswarm_sd_configs: [{{host: 'http://h', role: nodes, "
      "{}}}]}}]\n",
      "scrape_configs: [{{job_name: a, kubernetes_sd_configs: [{{role: pod, api_server: "
      "'http://h', "
      "{}}}]}}]\n",
      "alerting: {{alertmanagers: [{{{}}}]}}\n",
      "alerting: {{alertmanagers: [{{http_sd_configs: [{{url: 'http://h', {}}}]}}]}}\n",
      "remote_write: [{{url: 'http://h', {}}}]\n",
      "remote_read: [{{url: 'http://h', {}}}]\n",
  };
  for (const std::string& section : sections) {
    for (const std::string_view fields : kSecretClients) {
      CheckNothingShown(fmt::format(fmt::runtime(section), Inline(fields)));
    }
  }
  for (const char* yaml : {
           "remote_write: [{url: 'http://u:hunter2@h/write'}]\n",
           "remote_read: [{url: 'http://u:hunter2@h/read'}]\n",
           "remote_write: [{url: 'http://h', headers: {X-Key: hunter2}}]\n",
           "tracing: {endpoint: e, headers: {X-Key: hunter2}}\n",
           "tracing: {endpoint: e, tls_config: {cert: c, key: hunter2}}\n",
           "scrape_configs: [{job_name: a, consul_sd_configs: [{token: hunter2}]}]\n",
           "scrape_configs: [{job_name: a, consul_sd_configs: [{username: u, password: hunter2}]}]",
           "scrape_configs: [{job_name: a, http_sd_configs: [{url: 'http://u:hunter2@h/'}]}]\n",
           "scrape_configs: [{job_name: a, docker_sd_configs: [{host: 'http://u:hunter2@h'}]}]\n",
           "scrape_configs: [{job_name: a, kubernetes_sd_configs: [{role: pod, api_server: "
           "'http://u:hunter2@h'}]}]\n",
       }) {
    CheckNothingShown(yaml);
  }
}

TEST_CASE("config: every section is strict") {
  for (const char* yaml : {
           "global: {x: 1}",
           "runtime: {x: 1}",
           "scrape_configs: [{job_name: a, x: 1}]",
           "scrape_configs: [{job_name: a, basic_auth: {x: 1}}]",
           "scrape_configs: [{job_name: a, authorization: {x: 1}}]",
           "scrape_configs: [{job_name: a, oauth2: {client_id: a, token_url: b, x: 1}}]",
           "scrape_configs: [{job_name: a, oauth2: {client_id: a, token_url: b, tls_config: {x: "
           "1}}}]",
           "scrape_configs: [{job_name: a, tls_config: {x: 1}}]",
           "scrape_configs: [{job_name: a, http_headers: {A: {x: 1}}}]",
           "scrape_configs: [{job_name: a, relabel_configs: [{x: 1}]}]",
           "scrape_configs: [{job_name: a, metric_relabel_configs: [{x: 1}]}]",
           "scrape_configs: [{job_name: a, static_configs: [{x: 1}]}]",
           "scrape_configs: [{job_name: a, file_sd_configs: [{files: [a.yml], x: 1}]}]",
           "scrape_configs: [{job_name: a, http_sd_configs: [{url: 'http://h', x: 1}]}]",
           "scrape_configs: [{job_name: a, dns_sd_configs: [{names: [a], x: 1}]}]",
           "scrape_configs: [{job_name: a, consul_sd_configs: [{x: 1}]}]",
           "scrape_configs: [{job_name: a, docker_sd_configs: [{host: 'unix:///a', x: 1}]}]",
           "scrape_configs: [{job_name: a, docker_sd_configs: [{host: 'unix:///a', filters: [{x: "
           "1}]}]}]",
           "scrape_configs: [{job_name: a, dockerswarm_sd_configs: [{host: 'unix:///a', role: "
           "nodes, x: 1}]}]",
           "scrape_configs: [{job_name: a, kubernetes_sd_configs: [{role: pod, x: 1}]}]",
           "scrape_configs: [{job_name: a, kubernetes_sd_configs: [{role: pod, attach_metadata: "
           "{x: "
           "1}}]}]",
           "scrape_configs: [{job_name: a, kubernetes_sd_configs: [{role: pod, selectors: [{role: "
           "pod, x: 1}]}]}]",
           "alerting: {x: 1}",
           "alerting: {alertmanagers: [{x: 1}]}",
           "remote_write: [{url: a, x: 1}]",
           "remote_write: [{url: a, queue_config: {x: 1}}]",
           "remote_write: [{url: a, metadata_config: {x: 1}}]",
           "remote_read: [{url: a, x: 1}]",
           "storage: {x: 1}",
           "storage: {tsdb: {x: 1}}",
           "storage: {tsdb: {retention: {x: 1}}}",
           "storage: {tsdb: {chunk_encoding: {x: 1}}}",
           "storage: {exemplars: {x: 1}}",
           "otlp: {x: 1}",
           "tracing: {endpoint: e, x: 1}",
       }) {
    CAPTURE(yaml);
    CHECK(Refusal(yaml).find("field x not found in type") != std::string::npos);
    // The same field twice is no way around it.
    std::string twice(yaml);
    twice.replace(twice.find("x: 1"), 4, "x: 1, x: 1");
    CHECK(Refusal(twice).find("already set in map") != std::string::npos);
  }
}

TEST_CASE("config: dns, consul, docker and vultr discovery") {
  const Config config = Parsed(R"(
scrape_configs:
- job_name: a
  dns_sd_configs:
  - {names: [a.test, b.test], type: aaaa, port: 9100, refresh_interval: 5s}
  - {names: [_x._tcp.test]}
  consul_sd_configs:
  - {server: "c:8500", token: t, services: [web], tags: [a, b], node_meta: {rack: "7"}, allow_stale: false}
  - {username: u, password: p}
  docker_sd_configs:
  - {host: "unix:///var/run/docker.sock", filters: [{name: name, values: [x, y]}], match_first_network: false}
  dockerswarm_sd_configs:
  - {host: "tcp://h:2375", role: tasks, port: 81}
  vultr_sd_configs:
  - {bearer_token: t, port: 9100, refresh_interval: 5m}
  - {}
)");
  const DiscoveryConfigs& discovery = config.scrape_configs[0].discovery;
  REQUIRE(discovery.dns_sd_configs.size() == 2);
  CHECK(discovery.dns_sd_configs[0].type == DnsRecordType::kAaaa);
  CHECK(discovery.dns_sd_configs[0].port == 9100);
  CHECK(discovery.dns_sd_configs[0].refresh_interval == 5 * kSecond);
  CHECK(discovery.dns_sd_configs[1].type == DnsRecordType::kSrv);
  CHECK(discovery.dns_sd_configs[1].refresh_interval == 30 * kSecond);
  const ConsulSdConfig& consul = discovery.consul_sd_configs[0];
  CHECK(consul.server == "c:8500");
  CHECK(consul.token == Secret("t"));
  CHECK(consul.tags == std::vector<std::string>{"a", "b"});
  CHECK(consul.node_meta[0] == std::pair<std::string, std::string>("rack", "7"));
  CHECK_FALSE(consul.allow_stale);
  CHECK(discovery.consul_sd_configs[1].server == "localhost:8500");
  CHECK(discovery.consul_sd_configs[1].http_client.basic_auth->username == "u");
  CHECK(discovery.docker_sd_configs[0].filters[0].values == std::vector<std::string>{"x", "y"});
  CHECK_FALSE(discovery.docker_sd_configs[0].match_first_network);
  CHECK(discovery.docker_sd_configs[0].port == 80);
  CHECK(discovery.dockerswarm_sd_configs[0].role == DockerSwarmRole::kTasks);
  CHECK(discovery.dockerswarm_sd_configs[0].refresh_interval == kMinute);

  REQUIRE(discovery.vultr_sd_configs.size() == 2);
  CHECK(discovery.vultr_sd_configs[0].port == 9100);
  CHECK(discovery.vultr_sd_configs[0].refresh_interval == 5 * kMinute);
  CHECK(discovery.vultr_sd_configs[0].http_client.authorization->credentials == Secret("t"));
  CHECK(discovery.vultr_sd_configs[1] == VultrSdConfig());

  const std::pair<const char*, const char*> refused[] = {
      {"vultr_sd_configs: [{port: 65536}]", "65536 is not a port"},
      {"vultr_sd_configs: [{refresh_interval: 0s}]", "must be greater than 0"},
      {"vultr_sd_configs: [{server: x}]", "field server not found in type vultr.SDConfig"},
      {"dns_sd_configs: [{type: A, port: 1}]", "must contain at least one SRV record name"},
      {"dns_sd_configs: [{names: [a], type: TXT}]", "invalid DNS-SD records type TXT"},
      {"dns_sd_configs: [{names: [a], type: A}]", "a port is required in DNS-SD configs"},
      {"dns_sd_configs: [{names: [a], type: A, port: 65536}]", "65536 is not a port"},
      {"dns_sd_configs: [{names: [a], refresh_interval: 0s}]", "must be greater than 0"},
      {"consul_sd_configs: [{server: ''}]", "requires a server address"},
      {"consul_sd_configs: [{token: t, bearer_token: b}]", "at most one of consul SD token"},
      {"consul_sd_configs: [{username: u, basic_auth: {username: v}}]",
       "username and password and basic auth"},
      {"docker_sd_configs: [{port: 1}]", "host missing"},
      {"docker_sd_configs: [{host: nowhere}]", "unable to parse docker host \"nowhere\""},
      {"dockerswarm_sd_configs: [{host: 'unix:///a'}]", "role missing (one of: tasks"},
      {"dockerswarm_sd_configs: [{host: 'unix:///a', role: x}]", "invalid role x, expected tasks"},
      {"oauth2: {token_url: x}", "oauth2 client_id must be configured"},
      {"oauth2: {client_id: x}", "oauth2 token_url must be configured"},
      {"oauth2: {client_id: x, token_url: y, grant_type: z}", "grant_type z is not supported yet"},
      {"{oauth2: {client_id: x, token_url: y}, basic_auth: {username: z}}",
       "at most one of basic_auth, oauth2 & authorization"},
  };
  for (const auto& one : refused) {
    CAPTURE(one.first);
    const std::string refusal =
        Refusal(fmt::format("scrape_configs: [{{job_name: a, {}}}]", Inline(one.first)));
    CHECK_MESSAGE(refusal.find(one.second) != std::string::npos, refusal);
  }
}

TEST_CASE("config: what is shown loads again and says the same") {
  const Config config = Parsed(R"(
global: {scrape_interval: 15s, external_labels: {a: "1"}, label_limit: 30}
scrape_configs:
- job_name: "x: y"
  honor_labels: true
  params: {module: ["a b"]}
  relabel_configs:
  - {source_labels: [__address__, job], regex: '(.*):\d+;x', target_label: host, replacement: $1}
  metric_relabel_configs: [{action: labeldrop, regex: "tmp_.*"}]
  file_sd_configs: [{files: [/etc/targets/*.yml]}]
  http_sd_configs: [{url: "https://h/x", refresh_interval: 30s, bearer_token_file: /t}]
  static_configs: [{targets: ["h:1"], labels: {n: "007", b: "true"}}]
  kubernetes_sd_configs: [{role: node}]
  dns_sd_configs: [{names: [a.test], type: MX, port: 25}]
  consul_sd_configs: [{server: "c:1", services: [x], node_meta: {a: "1"}, filter: "a == b"}]
  docker_sd_configs: [{host: "unix:///x", filters: [{name: n, values: [v]}]}]
  dockerswarm_sd_configs: [{host: "http://x", role: services}]
  vultr_sd_configs: [{port: 9100, basic_auth: {username: u}}]
  oauth2: {client_id: c, client_secret_file: /s, token_url: "http://t", scopes: [a, b], endpoint_params: {x: "1"}}
)");
  CHECK(config.yaml.find("b: \"true\"") != std::string::npos);
  CHECK(config.yaml.find("\"n\": \"007\"") != std::string::npos);
  const Config again = Parsed(config.yaml);
  CHECK(again.scrape_configs == config.scrape_configs);
  CHECK(again.global.external_labels == config.global.external_labels);
  CHECK(again.yaml == config.yaml);
}

TEST_CASE("config: files and what they refer to") {
  const std::filesystem::path directory =
      std::filesystem::temp_directory_path() / fmt::format("varve-config-{}", getpid());
  std::filesystem::create_directories(directory / "jobs");
  const auto write = [&](const char* name, const char* text) {
    std::ofstream(directory / name) << text;
    return (directory / name).string();
  };
  const std::string path =
      write("p.yml",
            "rule_files: [rules/*.yml, /abs.yml]\n"
            "scrape_config_files: [jobs/*.yml]\n"
            "scrape_configs: [{job_name: a, tls_config: {ca_file: ca.pem}}]\n");
  write("jobs/b.yml", "scrape_configs: [{job_name: b, basic_auth: {password_file: ../pw}}]\n");
  auto config = LoadConfig(path);
  REQUIRE_MESSAGE(config.ok(), MessageOf(config.status()));
  CHECK(config->rule_files ==
        std::vector<std::string>{(directory / "rules/*.yml").string(), "/abs.yml"});
  CHECK(config->scrape_configs[0].http_client.tls.ca_file == (directory / "ca.pem").string());
  REQUIRE(config->scrape_configs.size() == 2);
  CHECK(config->scrape_configs[1].http_client.basic_auth->password_file ==
        (directory / "jobs/../pw").string());

  const std::string bad = write("jobs/c.yml", "scrape_configs:\n- job_name: a\n");
  CHECK(std::string(LoadConfig(path).status().message()) ==
        bad + ":2: scrape_configs[0]: found multiple scrape configs with job name \"a\"");
  std::filesystem::remove_all(directory);
  CHECK(absl::IsNotFound(LoadConfig(path).status()));
}

TEST_CASE("config: the fingerprint follows every file that is named") {
  const std::filesystem::path directory =
      std::filesystem::temp_directory_path() / fmt::format("varve-fingerprint-{}", getpid());
  std::filesystem::create_directories(directory);
  const auto write = [&](const char* name, const char* text) {
    std::ofstream(directory / name) << text;
    return (directory / name).string();
  };
  const std::string path = write("p.yml", "rule_files: [r*.yml]\nscrape_config_files: [s.yml]\n");
  uint64_t last = ConfigFingerprint(path);
  CHECK(ConfigFingerprint(path) == last);
  const auto changed = [&] {
    const uint64_t now = ConfigFingerprint(path);
    return std::exchange(last, now) != now;
  };
  write("other.yml", "a");
  CHECK_FALSE(changed());
  write("r1.yml", "groups: []");
  CHECK(changed());
  write("r1.yml", "groups: [] ");
  CHECK(changed());
  write("s.yml", "scrape_configs: []");
  CHECK(changed());
  std::filesystem::rename(directory / "r1.yml", directory / "r2.yml");
  CHECK(changed());
  write("p.yml", "a: [");
  CHECK(changed());
  CHECK_FALSE(changed());
  std::filesystem::remove_all(directory);
  CHECK(changed());
}

}  // namespace
}  // namespace varve
