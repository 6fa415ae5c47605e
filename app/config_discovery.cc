// SPDX-License-Identifier: Apache-2.0
//
// Where targets come from: static_configs and the discovery sections.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "app/config_reader.h"
#include "model/labels.h"
#include "scrape/target.h"

namespace varve {
namespace {

// Kinds Prometheus has and Varve does not.
constexpr std::array<std::string_view, 25> kUnsupportedKinds = {
    "aws",     "azure",     "digitalocean", "ec2",      "eureka",   "gce",      "hetzner",
    "ionos",   "kuma",      "lightsail",    "linode",   "marathon", "nerve",    "nomad",
    "oci",     "openstack", "outscale",     "ovhcloud", "puppetdb", "scaleway", "serverset",
    "stackit", "triton",    "uyuni",        "zookeeper"};
constexpr std::array<KubernetesRole, 6> kRoles = {
    KubernetesRole::kPod,           KubernetesRole::kService, KubernetesRole::kEndpoints,
    KubernetesRole::kEndpointSlice, KubernetesRole::kNode,    KubernetesRole::kIngress};

KubernetesRole ReadRole(FieldReader& fields) {
  const auto field = fields.Find("role");
  std::string text;
  if (field) field->String(text);
  for (const KubernetesRole role : kRoles) {
    if (KubernetesRoleText(role) == text) return role;
  }
  if (text.empty()) {
    fields.value().Fail(
        "role missing (one of: pod, service, endpoints, endpointslice, node, ingress)");
  } else {
    field->Fail(fmt::format("unknown Kubernetes SD role {}", Quoted(text)));
  }
  return KubernetesRole::kPod;
}

// Each term of a field selector compares: `a=b`, `a==b` or `a!=b`.
bool IsFieldSelector(std::string_view text) {
  while (!text.empty()) {
    const size_t comma = text.find(',');
    const std::string_view term = text.substr(0, comma);
    if (!term.empty() && term.find('=') == std::string_view::npos) return false;
    text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
  }
  return true;
}

// Parentheses balanced and not nested, no term empty: the server checks the rest.
bool IsLabelSelector(std::string_view text) {
  bool inside = false;
  bool term = text.empty();
  for (const char c : text) {
    if (c == '(' || c == ')') {
      if (inside == (c == '(')) return false;
      inside = c == '(';
    }
    if (c == ',' && !inside) {
      if (!term) return false;
      term = false;
    } else if (c != ' ') {
      term = true;
    }
  }
  return !inside && term;
}

KubernetesSelector ReadSelector(const YamlValue& value) {
  FieldReader fields(value, "kubernetes.SelectorConfig");
  KubernetesSelector selector;
  selector.role = ReadRole(fields);
  fields.String("label", selector.label);
  fields.String("field", selector.field);
  fields.Finish();
  if (!IsFieldSelector(selector.field)) {
    value.Fail(fmt::format("invalid selector: '{}'; can't understand it", selector.field));
  }
  if (!IsLabelSelector(selector.label)) {
    value.Fail(fmt::format("unable to parse requirement: {}", Quoted(selector.label)));
  }
  return selector;
}

// The roles whose objects a discovery of `role` asks for, and so may select.
std::vector<KubernetesRole> SelectableRoles(const KubernetesSdConfig& config) {
  switch (config.role) {
    case KubernetesRole::kPod:
      return config.attach_node ? std::vector{KubernetesRole::kPod, KubernetesRole::kNode}
                                : std::vector{KubernetesRole::kPod};
    case KubernetesRole::kEndpoints:
    case KubernetesRole::kEndpointSlice:
      return {KubernetesRole::kPod, KubernetesRole::kService, config.role};
    default:
      return {config.role};
  }
}

void CheckSelectors(const YamlValue& value, const KubernetesSdConfig& config) {
  const std::vector<KubernetesRole> allowed = SelectableRoles(config);
  std::vector<KubernetesRole> seen;
  for (const KubernetesSelector& selector : config.selectors) {
    if (std::find(seen.begin(), seen.end(), selector.role) != seen.end()) {
      return value.Fail(
          fmt::format("duplicated selector role: {}", KubernetesRoleText(selector.role)));
    }
    seen.push_back(selector.role);
    if (std::find(allowed.begin(), allowed.end(), selector.role) != allowed.end()) continue;
    std::string names;
    for (const KubernetesRole role : allowed) {
      names += fmt::format("{}{}", names.empty() ? "" : ", ", KubernetesRoleText(role));
    }
    return value.Fail(
        fmt::format("{} role supports only {} selectors", KubernetesRoleText(config.role), names));
  }
}

void CheckServer(const YamlValue& value, const KubernetesSdConfig& config) {
  const bool custom_http = !(config.http_client == HttpClientConfig());
  if (!config.api_server.empty() && !config.kubeconfig_file.empty()) {
    value.Fail("cannot use 'kubeconfig_file' and 'api_server' simultaneously");
  }
  if (!config.kubeconfig_file.empty() && custom_http) {
    value.Fail("cannot use a custom HTTP client configuration together with 'kubeconfig_file'");
  }
  if (config.api_server.empty() && config.kubeconfig_file.empty() && custom_http) {
    value.Fail(
        "to use custom HTTP client configuration please provide the 'api_server' URL explicitly");
  }
  if (!config.api_server.empty() && config.own_namespace) {
    value.Fail("cannot use 'api_server' and 'namespaces.own_namespace' simultaneously");
  }
  if (!config.kubeconfig_file.empty() && config.own_namespace) {
    value.Fail("cannot use 'kubeconfig_file' and 'namespaces.own_namespace' simultaneously");
  }
}

void CheckHttpUrl(const YamlValue& value, std::string_view url) {
  const size_t scheme_end = url.find("://");
  const std::string_view scheme = url.substr(0, scheme_end);
  if (url.empty()) return value.Fail("URL is missing");
  if (scheme_end == std::string_view::npos || (scheme != "http" && scheme != "https")) {
    return value.Fail("URL scheme must be 'http' or 'https'");
  }
  if (url.size() == scheme_end + 3) return value.Fail("host is missing in URL");
}

bool IsTargetFilePattern(std::string_view path) {
  const size_t star = path.find('*');
  if (star != std::string_view::npos) {
    if (path.find('/', star) != std::string_view::npos) return false;
  }
  const size_t dot = path.rfind('.');
  if (dot == std::string_view::npos) return false;
  const std::string_view extension = path.substr(dot + 1);
  return extension == "json" || extension == "yml" || extension == "yaml" || extension == "JSON" ||
         extension == "YML" || extension == "YAML";
}

void CheckAddresses(const YamlValue& value, const StaticConfig& config) {
  for (const std::string& target : config.targets) value.Fail(CheckTargetAddress(target));
}

}  // namespace

StaticConfig ReadStaticConfig(const YamlValue& value) {
  StaticConfig config;
  if (value.IsNull()) {
    value.Fail("empty or null section in static_configs");
    return config;
  }
  FieldReader fields(value, "struct");
  fields.Strings("targets", config.targets);
  std::vector<std::pair<std::string, std::string>> labels;
  if (const auto field = fields.Find("labels")) {
    field->StringMap(labels);
    for (const auto& [name, text] : labels) {
      if (name.empty() || !IsValidUtf8(name)) {
        field->Fail(fmt::format("{} is not a valid label name", Quoted(name)));
      }
      if (!IsValidUtf8(text)) field->Fail(fmt::format("invalid label value {}", Quoted(text)));
    }
  }
  fields.Finish();
  config.labels = Labels::FromPairs(std::move(labels));
  return config;
}

KubernetesSdConfig ReadKubernetesSd(const YamlValue& value) {
  FieldReader fields(value, "kubernetes.SDConfig");
  KubernetesSdConfig config;
  config.role = ReadRole(fields);
  fields.String("api_server", config.api_server);
  fields.Path("kubeconfig_file", config.kubeconfig_file);
  if (const auto field = fields.Find("namespaces")) {
    FieldReader namespaces(*field, "kubernetes.NamespaceDiscovery");
    namespaces.Bool("own_namespace", config.own_namespace);
    namespaces.Strings("names", config.namespaces);
    namespaces.Finish();
  }
  fields.Each("selectors", [&](const YamlValue& selector) {
    config.selectors.push_back(ReadSelector(selector));
  });
  if (const auto field = fields.Find("attach_metadata")) {
    FieldReader attach(*field, "kubernetes.AttachMetadataConfig");
    attach.Bool("node", config.attach_node);
    attach.Bool("namespace", config.attach_namespace);
    attach.Bool("deployment", config.attach_deployment);
    attach.Bool("job", config.attach_job);
    attach.Bool("cronjob", config.attach_cronjob);
    attach.Finish();
  }
  config.http_client = ReadHttpClient(fields);
  fields.Finish();
  CheckServer(value, config);
  CheckSelectors(value, config);
  return config;
}

FileSdConfig ReadFileSd(const YamlValue& value) {
  FieldReader fields(value, "file.SDConfig");
  FileSdConfig config;
  fields.Duration("refresh_interval", config.refresh_interval);
  fields.Each("files", [&](const YamlValue& element) {
    std::string path;
    element.String(path);
    if (!IsTargetFilePattern(path)) {
      element.Fail(fmt::format("path name {} is not valid for file discovery", Quoted(path)));
    }
    config.files.push_back(value.document().Resolve(path));
  });
  fields.Finish();
  if (config.files.empty()) {
    value.Fail("file service discovery config must contain at least one path name");
  }
  return config;
}

HttpSdConfig ReadHttpSd(const YamlValue& value) {
  FieldReader fields(value, "http.SDConfig");
  HttpSdConfig config;
  fields.String("url", config.url);
  fields.Duration("refresh_interval", config.refresh_interval);
  config.http_client = ReadHttpClient(fields);
  fields.Finish();
  CheckHttpUrl(value, config.url);
  return config;
}

DiscoveryConfigs ReadDiscovery(FieldReader& fields, bool check_addresses) {
  DiscoveryConfigs configs;
  fields.Each("static_configs", [&](const YamlValue& value) {
    configs.static_configs.push_back(ReadStaticConfig(value));
    if (check_addresses) CheckAddresses(value, configs.static_configs.back());
  });
  const auto section = [&fields](std::string_view name, auto& list, auto read) {
    fields.Each(name, [&](const YamlValue& value) { list.push_back(read(value)); });
  };
  section("file_sd_configs", configs.file_sd_configs, ReadFileSd);
  section("http_sd_configs", configs.http_sd_configs, ReadHttpSd);
  section("kubernetes_sd_configs", configs.kubernetes_sd_configs, ReadKubernetesSd);
  section("dns_sd_configs", configs.dns_sd_configs, ReadDnsSd);
  section("consul_sd_configs", configs.consul_sd_configs, ReadConsulSd);
  section("docker_sd_configs", configs.docker_sd_configs, ReadDockerSd);
  section("dockerswarm_sd_configs", configs.dockerswarm_sd_configs, ReadDockerSwarmSd);
  section("vultr_sd_configs", configs.vultr_sd_configs, ReadVultrSd);
  for (const std::string_view kind : kUnsupportedKinds) {
    const std::string name = fmt::format("{}_sd_configs", kind);
    const auto field = fields.Find(name);
    if (!field || field->IsNull()) continue;
    if (field->node().IsSequence() && field->node().size() == 0) continue;
    field->Fail(fmt::format("{} is not supported yet", name));
  }
  return configs;
}

}  // namespace varve
