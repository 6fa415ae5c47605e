// SPDX-License-Identifier: Apache-2.0
//
// Discovery by what others keep lists of: DNS, Consul, Docker.
#include <fmt/format.h>

#include <array>
#include <limits>
#include <utility>

#include "app/config_reader.h"
#include "model/labels.h"

namespace varve {
namespace {

constexpr std::array<DnsRecordType, 5> kRecordTypes = {DnsRecordType::kSrv, DnsRecordType::kA,
                                                       DnsRecordType::kAaaa, DnsRecordType::kMx,
                                                       DnsRecordType::kNs};
constexpr std::array<DockerSwarmRole, 3> kSwarmRoles = {
    DockerSwarmRole::kTasks, DockerSwarmRole::kServices, DockerSwarmRole::kNodes};

void ReadPort(FieldReader& fields, uint16_t& port) {
  uint64_t number = port;
  fields.Uint("port", number);
  if (number > std::numeric_limits<uint16_t>::max()) {
    fields.Find("port")->Fail(fmt::format("{} is not a port", number));
    return;
  }
  port = static_cast<uint16_t>(number);
}

// How often to ask; not at all is not an answer.
void ReadInterval(FieldReader& fields, DurationMs& interval) {
  fields.Duration("refresh_interval", interval);
  if (interval == 0) fields.Find("refresh_interval")->Fail("must be greater than 0");
}

std::vector<DockerFilter> ReadDockerFilters(FieldReader& fields) {
  std::vector<DockerFilter> filters;
  fields.Each("filters", [&filters](const YamlValue& value) {
    FieldReader parts(value, "moby.Filter");
    DockerFilter& filter = filters.emplace_back();
    parts.String("name", filter.name);
    parts.Strings("values", filter.values);
    parts.Finish();
  });
  return filters;
}

void ReadDockerHost(FieldReader& fields, std::string& host) {
  fields.String("host", host);
  if (host.empty()) return fields.value().Fail("host missing");
  const size_t end = host.find("://");
  const std::string_view scheme = std::string_view(host).substr(0, end);
  if (end == std::string::npos ||
      (scheme != "unix" && scheme != "tcp" && scheme != "http" && scheme != "https")) {
    fields.Find("host")->Fail(fmt::format("unable to parse docker host {}", Quoted(host)));
  }
}

void CheckConsulCredentials(const YamlValue& value, ConsulSdConfig& config,
                            const BasicAuthConfig& basic) {
  HttpClientConfig& http = config.http_client;
  if (!basic.username.empty() || !basic.password.empty()) {
    if (http.basic_auth.has_value()) {
      value.Fail(
          "at most one of consul SD configuration username and password and basic auth can be "
          "configured");
    }
    http.basic_auth = basic;
  }
  if (!config.token.empty() && (http.authorization.has_value() || http.oauth2.has_value())) {
    value.Fail("at most one of consul SD token, authorization, or oauth2 can be configured");
  }
  value.Fail(http.Validate());
}

}  // namespace

DnsSdConfig ReadDnsSd(const YamlValue& value) {
  FieldReader fields(value, "dns.SDConfig");
  DnsSdConfig config;
  fields.Strings("names", config.names);
  ReadInterval(fields, config.refresh_interval);
  ReadPort(fields, config.port);
  std::string type = "SRV";
  fields.String("type", type);
  fields.Finish();
  for (char& c : type) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 32);
  }
  bool known = false;
  for (const DnsRecordType candidate : kRecordTypes) {
    if (DnsRecordTypeText(candidate) != type) continue;
    config.type = candidate;
    known = true;
  }
  if (config.names.empty()) {
    value.Fail("DNS-SD config must contain at least one SRV record name");
  }
  if (!known) fields.Find("type")->Fail(fmt::format("invalid DNS-SD records type {}", type));
  if (config.type != DnsRecordType::kSrv && config.port == 0) {
    value.Fail("a port is required in DNS-SD configs for all record types except SRV");
  }
  return config;
}

ConsulSdConfig ReadConsulSd(const YamlValue& value) {
  FieldReader fields(value, "consul.SDConfig");
  ConsulSdConfig config;
  fields.String("server", config.server);
  fields.String("path_prefix", config.path_prefix);
  fields.SecretText("token", config.token);
  fields.String("datacenter", config.datacenter);
  fields.String("namespace", config.namespace_);
  fields.String("partition", config.partition);
  fields.String("tag_separator", config.tag_separator);
  fields.String("scheme", config.scheme);
  BasicAuthConfig basic;
  fields.String("username", basic.username);
  fields.SecretText("password", basic.password);
  fields.Bool("allow_stale", config.allow_stale);
  ReadInterval(fields, config.refresh_interval);
  fields.Strings("services", config.services);
  fields.Strings("tags", config.tags);
  if (const auto field = fields.Find("node_meta")) field->StringMap(config.node_meta);
  fields.String("filter", config.filter);
  fields.String("health_filter", config.health_filter);
  config.http_client = ReadHttpClient(fields);
  fields.Finish();
  if (config.server.find_first_not_of(" \t\r\n") == std::string::npos) {
    value.Fail("consul SD configuration requires a server address");
  }
  CheckConsulCredentials(value, config, basic);
  return config;
}

DockerSdConfig ReadDockerSd(const YamlValue& value) {
  FieldReader fields(value, "moby.DockerSDConfig");
  DockerSdConfig config;
  ReadDockerHost(fields, config.host);
  ReadPort(fields, config.port);
  config.filters = ReadDockerFilters(fields);
  fields.String("host_networking_host", config.host_networking_host);
  fields.Bool("match_first_network", config.match_first_network);
  ReadInterval(fields, config.refresh_interval);
  config.http_client = ReadHttpClient(fields);
  fields.Finish();
  return config;
}

DockerSwarmSdConfig ReadDockerSwarmSd(const YamlValue& value) {
  FieldReader fields(value, "moby.DockerSwarmSDConfig");
  DockerSwarmSdConfig config;
  ReadDockerHost(fields, config.host);
  std::string role;
  fields.String("role", role);
  bool known = false;
  for (const DockerSwarmRole candidate : kSwarmRoles) {
    if (DockerSwarmRoleText(candidate) != role) continue;
    config.role = candidate;
    known = true;
  }
  if (role.empty()) {
    value.Fail("role missing (one of: tasks, services, nodes)");
  } else if (!known) {
    fields.Find("role")->Fail(
        fmt::format("invalid role {}, expected tasks, services, or nodes", role));
  }
  ReadPort(fields, config.port);
  config.filters = ReadDockerFilters(fields);
  ReadInterval(fields, config.refresh_interval);
  config.http_client = ReadHttpClient(fields);
  fields.Finish();
  return config;
}

VultrSdConfig ReadVultrSd(const YamlValue& value) {
  FieldReader fields(value, "vultr.SDConfig");
  VultrSdConfig config;
  ReadPort(fields, config.port);
  ReadInterval(fields, config.refresh_interval);
  config.http_client = ReadHttpClient(fields);
  fields.Finish();
  return config;
}

}  // namespace varve
