// SPDX-License-Identifier: Apache-2.0
//
// What a scrape_config says: where its targets come from, how they are asked and what is done with
// the samples. Plain values, defaults and inheritance from `global` already applied; two equal
// configurations need no change at a reload.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "model/labels.h"
#include "model/relabel.h"
#include "model/time.h"
#include "net/credentials.h"
#include "net/dns.h"
#include "net/secret.h"

namespace varve {

// What a target may answer with. Negotiated in the configured order.
enum class ScrapeProtocol {
  kPrometheusProto,
  kOpenMetricsText1_0_0,
  kOpenMetricsText0_0_1,
  kPrometheusText1_0_0,
  kPrometheusText0_0_4,
};

// 0 = no limit.
struct ScrapeLimits {
  uint64_t body_size_bytes = 0;  // As the target sends it, decompressed.
  uint64_t samples = 0;          // Of one scrape, after relabelling.
  uint64_t targets = 0;          // Of one pool.
  uint64_t labels = 0;
  uint64_t label_name_bytes = 0;
  uint64_t label_value_bytes = 0;
  uint64_t keep_dropped_targets = 0;

  friend bool operator==(const ScrapeLimits&, const ScrapeLimits&) = default;
};

// Targets that share labels, as static_configs and files write them.
struct StaticConfig {
  std::vector<std::string> targets;
  Labels labels;

  friend bool operator==(const StaticConfig&, const StaticConfig&) = default;
};

struct FileSdConfig {
  std::vector<std::string> files;  // Absolute, or relative to the working directory.
  DurationMs refresh_interval = 5 * kMinute;

  friend bool operator==(const FileSdConfig&, const FileSdConfig&) = default;
};

struct HttpSdConfig {
  std::string url;
  DurationMs refresh_interval = kMinute;
  HttpClientConfig http_client;

  friend bool operator==(const HttpSdConfig&, const HttpSdConfig&) = default;
};

enum class KubernetesRole { kNode, kPod, kService, kEndpoints, kEndpointSlice, kIngress };
// "node", "pod", "service", "endpoints", "endpointslice", "ingress".
std::string_view KubernetesRoleText(KubernetesRole role);

struct KubernetesSelector {
  KubernetesRole role = KubernetesRole::kPod;
  std::string label;
  std::string field;

  friend bool operator==(const KubernetesSelector&, const KubernetesSelector&) = default;
};

struct KubernetesSdConfig {
  std::string api_server;  // Empty: the cluster the process runs in.
  KubernetesRole role = KubernetesRole::kPod;
  std::string kubeconfig_file;
  HttpClientConfig http_client;
  bool own_namespace = false;
  std::vector<std::string> namespaces;  // Empty: all.
  std::vector<KubernetesSelector> selectors;
  bool attach_node = false;
  bool attach_namespace = false;
  bool attach_deployment = false;
  bool attach_job = false;
  bool attach_cronjob = false;

  friend bool operator==(const KubernetesSdConfig&, const KubernetesSdConfig&) = default;
};

struct DnsSdConfig {
  std::vector<std::string> names;
  DnsRecordType type = DnsRecordType::kSrv;
  uint16_t port = 0;  // Unused with SRV, whose records have their own.
  DurationMs refresh_interval = 30 * kSecond;

  friend bool operator==(const DnsSdConfig&, const DnsSdConfig&) = default;
};

struct ConsulSdConfig {
  std::string server = "localhost:8500";
  std::string path_prefix;
  Secret token;
  std::string scheme = "http";
  std::string datacenter;  // Empty: that of the agent.
  std::string namespace_;
  std::string partition;
  std::vector<std::string> services;  // Empty: all.
  std::vector<std::string> tags;      // A service has to have them all.
  std::vector<std::pair<std::string, std::string>> node_meta;
  std::string filter;         // Of the catalog.
  std::string health_filter;  // Of a service's instances.
  std::string tag_separator = ",";
  bool allow_stale = true;
  DurationMs refresh_interval = 30 * kSecond;
  HttpClientConfig http_client;

  friend bool operator==(const ConsulSdConfig&, const ConsulSdConfig&) = default;
};

struct DockerFilter {
  std::string name;
  std::vector<std::string> values;

  friend bool operator==(const DockerFilter&, const DockerFilter&) = default;
};

struct DockerSdConfig {
  std::string host;  // "unix:///var/run/docker.sock", "tcp://host:2375", "https://host".
  uint16_t port = 80;
  std::string host_networking_host = "localhost";
  bool match_first_network = true;
  std::vector<DockerFilter> filters;
  DurationMs refresh_interval = kMinute;
  HttpClientConfig http_client;

  friend bool operator==(const DockerSdConfig&, const DockerSdConfig&) = default;
};

enum class DockerSwarmRole { kServices, kTasks, kNodes };
// "services", "tasks", "nodes".
std::string_view DockerSwarmRoleText(DockerSwarmRole role);

struct DockerSwarmSdConfig {
  std::string host;
  DockerSwarmRole role = DockerSwarmRole::kServices;
  uint16_t port = 80;
  std::vector<DockerFilter> filters;
  DurationMs refresh_interval = kMinute;
  HttpClientConfig http_client;

  friend bool operator==(const DockerSwarmSdConfig&, const DockerSwarmSdConfig&) = default;
};

struct VultrSdConfig {
  std::string server = "https://api.vultr.com";  // Not configurable.
  uint16_t port = 80;
  DurationMs refresh_interval = kMinute;
  HttpClientConfig http_client;

  friend bool operator==(const VultrSdConfig&, const VultrSdConfig&) = default;
};

// Where targets come from.
struct DiscoveryConfigs {
  std::vector<StaticConfig> static_configs;
  std::vector<FileSdConfig> file_sd_configs;
  std::vector<HttpSdConfig> http_sd_configs;
  std::vector<KubernetesSdConfig> kubernetes_sd_configs;
  std::vector<DnsSdConfig> dns_sd_configs;
  std::vector<ConsulSdConfig> consul_sd_configs;
  std::vector<DockerSdConfig> docker_sd_configs;
  std::vector<DockerSwarmSdConfig> dockerswarm_sd_configs;
  std::vector<VultrSdConfig> vultr_sd_configs;

  friend bool operator==(const DiscoveryConfigs&, const DiscoveryConfigs&) = default;
};

// What becomes of histograms.
struct HistogramIngestion {
  bool native = false;           // Native ones are stored as such.
  bool convert_classic = false;  // Classic ones become native ones with custom buckets.
  bool always_classic = false;   // Classic buckets are stored beside either.

  friend bool operator==(const HistogramIngestion&, const HistogramIngestion&) = default;
};

struct ScrapeConfig {
  std::string job_name;
  DurationMs scrape_interval = kMinute;
  DurationMs scrape_timeout = 10 * kSecond;
  std::vector<ScrapeProtocol> protocols;          // Never empty.
  std::vector<ScrapeProtocol> fallback_protocol;  // None or one.
  std::string metrics_path = "/metrics";
  std::string scheme = "http";
  std::vector<std::pair<std::string, std::vector<std::string>>> params;
  bool honor_labels = false;
  bool honor_timestamps = true;
  bool track_timestamps_staleness = false;
  bool enable_compression = true;
  bool extra_scrape_metrics = false;
  HistogramIngestion histograms;  // Of targets whose labels do not say otherwise.
  bool legacy_names = false;      // metric_name_validation_scheme: legacy
  std::string escaping_scheme = "allow-utf-8";
  ScrapeLimits limits;
  uint64_t native_histogram_bucket_limit = 0;
  double native_histogram_min_bucket_factor = 0;
  std::string scrape_failure_log_file;
  HttpClientConfig http_client;
  std::vector<RelabelRule> relabel_rules;
  std::vector<RelabelRule> metric_relabel_rules;
  DiscoveryConfigs discovery;
  // Not from the file, the same in all: whether start times are read.
  bool start_times = false;
  bool type_and_unit_labels = false;  // Whether series get __type__ and __unit__.

  friend bool operator==(const ScrapeConfig&, const ScrapeConfig&) = default;
};

// "PrometheusProto", "OpenMetricsText1.0.0", ...
std::string_view ScrapeProtocolText(ScrapeProtocol protocol);

}  // namespace varve
