// SPDX-License-Identifier: Apache-2.0
//
// The parts of the configuration file, each read from the value it stands in. Errors go to the
// value's document; what is returned then is not to be used.
#pragma once

#include <string_view>
#include <vector>

#include "app/config.h"
#include "app/yaml_reader.h"
#include "model/relabel.h"
#include "net/credentials.h"
#include "scrape/config.h"

namespace varve {

// Reads the HTTP client fields among those of `fields` (bearer tokens included) and checks them.
HttpClientConfig ReadHttpClient(FieldReader& fields, const HttpClientConfig& defaults);
HttpClientConfig ReadHttpClient(FieldReader& fields);
TlsConfig ReadTls(const YamlValue& value);

// A list of relabel_configs. `empty_text` is the error of an element that is null.
std::vector<RelabelRule> ReadRelabelRules(const YamlValue& value, bool legacy_names,
                                          std::string_view empty_text);

StaticConfig ReadStaticConfig(const YamlValue& value);
KubernetesSdConfig ReadKubernetesSd(const YamlValue& value);
FileSdConfig ReadFileSd(const YamlValue& value);
HttpSdConfig ReadHttpSd(const YamlValue& value);
DnsSdConfig ReadDnsSd(const YamlValue& value);
ConsulSdConfig ReadConsulSd(const YamlValue& value);
DockerSdConfig ReadDockerSd(const YamlValue& value);
DockerSwarmSdConfig ReadDockerSwarmSd(const YamlValue& value);
VultrSdConfig ReadVultrSd(const YamlValue& value);

// Reads static_configs and every `*_sd_configs`; kinds that are not supported are refused by name.
// `check_addresses`: slashes in static targets are an error.
DiscoveryConfigs ReadDiscovery(FieldReader& fields, bool check_addresses);

// Fields that are the same in `global` and in a scrape_config, on top of what `config` holds.
void ReadScrapeDefaults(FieldReader& fields, ScrapeConfig& config);
GlobalConfig ReadGlobal(const YamlValue& value, const ConfigOptions& options);
ScrapeConfig ReadScrapeConfig(const YamlValue& value, const ScrapeConfig& defaults);
// Checks that no two have the same name; `values` are those they were read from.
void CheckJobNames(const std::vector<ScrapeConfig>& configs, const std::vector<YamlValue>& values);

AlertingConfig ReadAlerting(const YamlValue& value, bool legacy_names);
std::vector<RemoteWriteConfig> ReadRemoteWrite(const YamlValue& value, bool legacy_names);
std::vector<RemoteReadConfig> ReadRemoteRead(const YamlValue& value);
StorageConfig ReadStorage(const YamlValue& value);
void CheckOtlp(const YamlValue& value, bool legacy_names);
void CheckTracing(const YamlValue& value);
void CheckRuntime(const YamlValue& value);

// Globs with a `*` in the last part of the path at most; `what` names them in errors.
std::vector<std::string> ReadPathPatterns(const YamlValue& value, std::string_view what);

// The configuration as /api/v1/status/config shows it: global and scrape_configs with their
// defaults, the other sections as written, secrets as `<secret>`.
std::string ConfigYaml(const Config& config, const YAML::Node& root);
std::string ScrapeConfigYaml(const ScrapeConfig& config);

}  // namespace varve
