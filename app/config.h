// SPDX-License-Identifier: Apache-2.0
//
// The configuration file: Prometheus' YAML, read strictly. Unknown fields, wrong types, values out
// of range and duplicate keys are refused with `FILE:LINE: field path: text`.
#pragma once

#include <absl/status/statusor.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/labels.h"
#include "model/relabel.h"
#include "model/time.h"
#include "net/credentials.h"
#include "scrape/config.h"

namespace varve {

struct GlobalConfig {
  // What scrape_configs inherit where they say nothing: intervals, protocols, limits, names and
  // histograms. Its other fields are unused.
  ScrapeConfig scrape_defaults;
  DurationMs evaluation_interval = kMinute;
  DurationMs rule_query_offset = 0;
  std::string query_log_file;
  std::string scrape_failure_log_file;
  Labels external_labels;  // Environment variables expanded.
};

struct AlertmanagerConfig {
  std::string scheme = "http";
  std::string path_prefix = "/";
  DurationMs timeout = 10 * kSecond;
  HttpClientConfig http_client;
  std::vector<RelabelRule> relabel_rules;
  std::vector<RelabelRule> alert_relabel_rules;
  DiscoveryConfigs discovery;
};

struct AlertingConfig {
  std::vector<RelabelRule> alert_relabel_rules;
  std::vector<AlertmanagerConfig> alertmanagers;
};

struct RemoteWriteConfig {
  std::string url;
  std::string name;
};

struct RemoteReadConfig {
  std::string url;
  std::string name;
};

struct StorageConfig {
  std::optional<DurationMs> retention_time;
  std::optional<uint64_t> retention_bytes;
  std::optional<double> retention_percentage;
  DurationMs out_of_order_time_window = 0;
  uint64_t exemplars_max = 100'000;
};

struct Config {
  GlobalConfig global;
  std::vector<ScrapeConfig> scrape_configs;  // Those of scrape_config_files included.
  std::vector<std::string> rule_files;  // Globs; absolute or relative to the working directory.
  AlertingConfig alerting;
  std::vector<RemoteWriteConfig> remote_write;
  std::vector<RemoteReadConfig> remote_read;
  StorageConfig storage;
  std::string yaml;  // As GET /api/v1/status/config shows it, secrets as `<secret>`.
};

struct ConfigOptions {
  bool agent_mode = false;
  // Start times are read: without scrape_protocols, targets are asked for protobuf first.
  bool start_times = false;
  bool type_and_unit_labels = false;
  bool extra_scrape_metrics = false;  // What jobs that do not say have.
};

// Reads and checks a file and the scrape_config_files it names; relative paths in them are against
// the file's directory. NotFound if the file is missing, InvalidArgument if it is refused.
absl::StatusOr<Config> LoadConfig(const std::string& path, const ConfigOptions& options = {});

// The same for a text; `name` stands for the file in errors, relative paths stay as they are.
absl::StatusOr<Config> ParseConfig(std::string_view text, const std::string& name = "config",
                                   const ConfigOptions& options = {});

// A number that is another one once the file, or one of the files that its rule_files and
// scrape_config_files name, has other contents, has come or has gone. Differs between processes.
uint64_t ConfigFingerprint(const std::string& path);

// One scrape_config as YAML, secrets as `<secret>`, for GET /api/v1/scrape_pools/config.
std::string ScrapeConfigYaml(const Config& config, std::string_view job_name);

}  // namespace varve
