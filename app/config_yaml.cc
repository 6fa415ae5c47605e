// SPDX-License-Identifier: Apache-2.0
//
// The configuration as text, field by field in Prometheus' order and with its defaults where it
// prints them. Secrets never reach the text: their fields print as `<secret>`.
#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <utility>

#include "app/byte_size.h"
#include "app/config_reader.h"
#include "net/credentials.h"

namespace varve {
namespace {

using YAML::Emitter;

constexpr std::string_view kSecret = "<secret>";
// Fields of the sections that are printed as written.
constexpr std::array<std::string_view, 10> kSecretFields = {
    "password",   "credentials", "bearer_token", "client_secret", "key",
    "secret_key", "token",       "secrets",      "headers",       "proxy_connect_header"};

// Whether a text without quotes would be taken for a number, a boolean or null.
bool NeedsQuotes(std::string_view text) {
  constexpr std::array<std::string_view, 10> kWords = {"true", "false", "yes",  "no", "on",
                                                       "off",  "y",     "null", "n",  "~"};
  std::string lowered(text);
  for (char& c : lowered) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  return ParseFloat(text).has_value() ||
         std::find(kWords.begin(), kWords.end(), lowered) != kWords.end();
}

void Put(Emitter& out, std::string_view text) {
  if (NeedsQuotes(text)) out << YAML::DoubleQuoted;
  out << std::string(text);
}

void Always(Emitter& out, std::string_view key, std::string_view text) {
  out << YAML::Key;
  Put(out, key);
  out << YAML::Value;
  Put(out, text);
}

void Text(Emitter& out, std::string_view key, std::string_view text) {
  if (!text.empty()) Always(out, key, text);
}

void Flag(Emitter& out, std::string_view key, bool value) {
  out << YAML::Key << std::string(key) << YAML::Value << value;
}

void FlagIfSet(Emitter& out, std::string_view key, bool value) {
  if (value) Flag(out, key, value);
}

void Number(Emitter& out, std::string_view key, uint64_t value) {
  if (value > 0) out << YAML::Key << std::string(key) << YAML::Value << value;
}

void TextList(Emitter& out, std::string_view key, const std::vector<std::string>& texts) {
  if (texts.empty()) return;
  out << YAML::Key << std::string(key) << YAML::Value << YAML::BeginSeq;
  for (const std::string& text : texts) Put(out, text);
  out << YAML::EndSeq;
}

void LabelMap(Emitter& out, std::string_view key, const Labels& labels) {
  if (labels.empty()) return;
  out << YAML::Key << std::string(key) << YAML::Value << YAML::BeginMap;
  for (const LabelView& label : labels) Always(out, label.name, label.value);
  out << YAML::EndMap;
}

void TextMap(Emitter& out, std::string_view key,
             const std::vector<std::pair<std::string, std::string>>& pairs) {
  if (pairs.empty()) return;
  out << YAML::Key << std::string(key) << YAML::Value << YAML::BeginMap;
  for (const auto& [name, text] : pairs) Always(out, name, text);
  out << YAML::EndMap;
}

void Protocols(Emitter& out, const std::vector<ScrapeProtocol>& protocols) {
  std::vector<std::string> names;
  for (const ScrapeProtocol protocol : protocols) names.emplace_back(ScrapeProtocolText(protocol));
  TextList(out, "scrape_protocols", names);
}

void Limits(Emitter& out, const ScrapeLimits& limits) {
  if (limits.body_size_bytes > 0)
    Text(out, "body_size_limit", FormatByteSize(limits.body_size_bytes));
  Number(out, "sample_limit", limits.samples);
  Number(out, "target_limit", limits.targets);
  Number(out, "label_limit", limits.labels);
  Number(out, "label_name_length_limit", limits.label_name_bytes);
  Number(out, "label_value_length_limit", limits.label_value_bytes);
  Number(out, "keep_dropped_targets", limits.keep_dropped_targets);
}

std::string_view TlsVersionText(TlsVersion version) {
  switch (version) {
    case TlsVersion::kDefault:
      return "";
    case TlsVersion::kTls10:
      return "TLS10";
    case TlsVersion::kTls11:
      return "TLS11";
    case TlsVersion::kTls12:
      return "TLS12";
    case TlsVersion::kTls13:
      return "TLS13";
  }
  return "";
}

void Tls(Emitter& out, const TlsConfig& tls) {
  if (tls == TlsConfig()) return;
  out << YAML::Key << "tls_config" << YAML::Value << YAML::BeginMap;
  Text(out, "ca", tls.ca);
  Text(out, "cert", tls.cert);
  Text(out, "key", tls.key.ToString());
  Text(out, "ca_file", tls.ca_file);
  Text(out, "cert_file", tls.cert_file);
  Text(out, "key_file", tls.key_file);
  Text(out, "server_name", tls.server_name);
  Flag(out, "insecure_skip_verify", tls.insecure_skip_verify);
  Text(out, "min_version", TlsVersionText(tls.min_version));
  Text(out, "max_version", TlsVersionText(tls.max_version));
  out << YAML::EndMap;
}

void Credentials(Emitter& out, const HttpClientConfig& http) {
  if (http.basic_auth.has_value()) {
    out << YAML::Key << "basic_auth" << YAML::Value << YAML::BeginMap;
    Text(out, "username", http.basic_auth->username);
    Text(out, "username_file", http.basic_auth->username_file);
    Text(out, "password", http.basic_auth->password.ToString());
    Text(out, "password_file", http.basic_auth->password_file);
    out << YAML::EndMap;
  }
  if (http.authorization.has_value()) {
    out << YAML::Key << "authorization" << YAML::Value << YAML::BeginMap;
    Text(out, "type", http.authorization->type);
    Text(out, "credentials", http.authorization->credentials.ToString());
    Text(out, "credentials_file", http.authorization->credentials_file);
    out << YAML::EndMap;
  }
}

void Proxy(Emitter& out, const ProxyConfig& proxy) {
  Text(out, "proxy_url", RedactUrl(proxy.proxy_url));
  Text(out, "no_proxy", proxy.no_proxy);
  FlagIfSet(out, "proxy_from_environment", proxy.proxy_from_environment);
  if (proxy.proxy_connect_headers.empty()) return;
  out << YAML::Key << "proxy_connect_header" << YAML::Value << YAML::BeginMap;
  for (const HttpHeaderConfig& header : proxy.proxy_connect_headers) {
    TextList(out, header.name,
             std::vector<std::string>(header.secrets.size(), std::string(kSecret)));
  }
  out << YAML::EndMap;
}

void OAuth2(Emitter& out, const OAuth2Config& config) {
  out << YAML::Key << "oauth2" << YAML::Value << YAML::BeginMap;
  Text(out, "client_id", config.client_id);
  Text(out, "client_secret", config.client_secret.ToString());
  Text(out, "client_secret_file", config.client_secret_file);
  TextList(out, "scopes", config.scopes);
  Text(out, "token_url", RedactUrl(config.token_url));
  TextMap(out, "endpoint_params", config.endpoint_params);
  Tls(out, config.tls);
  Proxy(out, config.proxy);
  out << YAML::EndMap;
}

void HttpHeaders(Emitter& out, const std::vector<HttpHeaderConfig>& headers) {
  if (headers.empty()) return;
  out << YAML::Key << "http_headers" << YAML::Value << YAML::BeginMap;
  for (const HttpHeaderConfig& header : headers) {
    out << YAML::Key << header.name << YAML::Value << YAML::BeginMap;
    TextList(out, "values", header.values);
    TextList(out, "secrets", std::vector<std::string>(header.secrets.size(), std::string(kSecret)));
    TextList(out, "files", header.files);
    out << YAML::EndMap;
  }
  out << YAML::EndMap;
}

void HttpClientFields(Emitter& out, const HttpClientConfig& http) {
  Credentials(out, http);
  if (http.oauth2.has_value()) OAuth2(out, *http.oauth2);
  Tls(out, http.tls);
  Flag(out, "follow_redirects", http.follow_redirects);
  Flag(out, "enable_http2", http.enable_http2);
  Proxy(out, http.proxy);
  HttpHeaders(out, http.http_headers);
}

void Relabel(Emitter& out, std::string_view key, const std::vector<RelabelRule>& rules) {
  if (rules.empty()) return;
  out << YAML::Key << std::string(key) << YAML::Value << YAML::BeginSeq;
  for (const RelabelRule& rule : rules) {
    const RelabelConfig& config = rule.config();
    out << YAML::BeginMap;
    if (!config.source_labels.empty()) {
      out << YAML::Key << "source_labels" << YAML::Value << YAML::Flow << config.source_labels;
    }
    Text(out, "separator", config.separator);
    Text(out, "regex", config.regex);
    Number(out, "modulus", config.modulus);
    Text(out, "target_label", config.target_label);
    Text(out, "replacement", config.replacement);
    Text(out, "action", RelabelActionText(config.action));
    out << YAML::EndMap;
  }
  out << YAML::EndSeq;
}

void Kubernetes(Emitter& out, const KubernetesSdConfig& config) {
  out << YAML::BeginMap;
  Always(out, "api_server", RedactUrl(config.api_server));
  Always(out, "role", KubernetesRoleText(config.role));
  Always(out, "kubeconfig_file", config.kubeconfig_file);
  HttpClientFields(out, config.http_client);
  if (config.own_namespace || !config.namespaces.empty()) {
    out << YAML::Key << "namespaces" << YAML::Value << YAML::BeginMap;
    Flag(out, "own_namespace", config.own_namespace);
    TextList(out, "names", config.namespaces);
    out << YAML::EndMap;
  }
  if (!config.selectors.empty()) {
    out << YAML::Key << "selectors" << YAML::Value << YAML::BeginSeq;
    for (const KubernetesSelector& selector : config.selectors) {
      out << YAML::BeginMap;
      Always(out, "role", KubernetesRoleText(selector.role));
      Text(out, "label", selector.label);
      Text(out, "field", selector.field);
      out << YAML::EndMap;
    }
    out << YAML::EndSeq;
  }
  if (config.attach_node || config.attach_namespace || config.attach_deployment ||
      config.attach_job || config.attach_cronjob) {
    out << YAML::Key << "attach_metadata" << YAML::Value << YAML::BeginMap;
    Flag(out, "node", config.attach_node);
    Flag(out, "namespace", config.attach_namespace);
    FlagIfSet(out, "deployment", config.attach_deployment);
    FlagIfSet(out, "job", config.attach_job);
    FlagIfSet(out, "cronjob", config.attach_cronjob);
    out << YAML::EndMap;
  }
  out << YAML::EndMap;
}

void Static(Emitter& out, const StaticConfig& config) {
  out << YAML::BeginMap;
  TextList(out, "targets", config.targets);
  LabelMap(out, "labels", config.labels);
  out << YAML::EndMap;
}

void File(Emitter& out, const FileSdConfig& config) {
  out << YAML::BeginMap;
  TextList(out, "files", config.files);
  Always(out, "refresh_interval", FormatDuration(config.refresh_interval));
  out << YAML::EndMap;
}

void Http(Emitter& out, const HttpSdConfig& config) {
  out << YAML::BeginMap;
  HttpClientFields(out, config.http_client);
  Always(out, "refresh_interval", FormatDuration(config.refresh_interval));
  Always(out, "url", RedactUrl(config.url));
  out << YAML::EndMap;
}

void Dns(Emitter& out, const DnsSdConfig& config) {
  out << YAML::BeginMap;
  TextList(out, "names", config.names);
  Always(out, "refresh_interval", FormatDuration(config.refresh_interval));
  Always(out, "type", DnsRecordTypeText(config.type));
  out << YAML::Key << "port" << YAML::Value << config.port;
  out << YAML::EndMap;
}

void Consul(Emitter& out, const ConsulSdConfig& config) {
  out << YAML::BeginMap;
  Always(out, "server", RedactUrl(config.server));
  Text(out, "path_prefix", config.path_prefix);
  Text(out, "token", config.token.ToString());
  Text(out, "datacenter", config.datacenter);
  Text(out, "namespace", config.namespace_);
  Text(out, "partition", config.partition);
  Text(out, "tag_separator", config.tag_separator);
  Text(out, "scheme", config.scheme);
  Flag(out, "allow_stale", config.allow_stale);
  Always(out, "refresh_interval", FormatDuration(config.refresh_interval));
  TextList(out, "services", config.services);
  TextList(out, "tags", config.tags);
  TextMap(out, "node_meta", config.node_meta);
  Text(out, "filter", config.filter);
  Text(out, "health_filter", config.health_filter);
  HttpClientFields(out, config.http_client);
  out << YAML::EndMap;
}

void DockerFilters(Emitter& out, const std::vector<DockerFilter>& filters) {
  if (filters.empty()) return;
  out << YAML::Key << "filters" << YAML::Value << YAML::BeginSeq;
  for (const DockerFilter& filter : filters) {
    out << YAML::BeginMap;
    Always(out, "name", filter.name);
    TextList(out, "values", filter.values);
    out << YAML::EndMap;
  }
  out << YAML::EndSeq;
}

void Docker(Emitter& out, const DockerSdConfig& config) {
  out << YAML::BeginMap;
  HttpClientFields(out, config.http_client);
  Always(out, "host", RedactUrl(config.host));
  out << YAML::Key << "port" << YAML::Value << config.port;
  DockerFilters(out, config.filters);
  Text(out, "host_networking_host", config.host_networking_host);
  Flag(out, "match_first_network", config.match_first_network);
  Always(out, "refresh_interval", FormatDuration(config.refresh_interval));
  out << YAML::EndMap;
}

void DockerSwarm(Emitter& out, const DockerSwarmSdConfig& config) {
  out << YAML::BeginMap;
  HttpClientFields(out, config.http_client);
  Always(out, "host", RedactUrl(config.host));
  Always(out, "role", DockerSwarmRoleText(config.role));
  out << YAML::Key << "port" << YAML::Value << config.port;
  DockerFilters(out, config.filters);
  Always(out, "refresh_interval", FormatDuration(config.refresh_interval));
  out << YAML::EndMap;
}

void Vultr(Emitter& out, const VultrSdConfig& config) {
  out << YAML::BeginMap;
  HttpClientFields(out, config.http_client);
  Always(out, "refresh_interval", FormatDuration(config.refresh_interval));
  out << YAML::Key << "port" << YAML::Value << config.port;
  out << YAML::EndMap;
}

// A list under `key`, each element written by `write`; nothing for an empty one.
template <typename Element>
void Section(Emitter& out, const char* key, const std::vector<Element>& elements,
             void (*write)(Emitter&, const Element&)) {
  if (elements.empty()) return;
  out << YAML::Key << key << YAML::Value << YAML::BeginSeq;
  for (const Element& element : elements) write(out, element);
  out << YAML::EndSeq;
}

void Discovery(Emitter& out, const DiscoveryConfigs& config) {
  Section(out, "consul_sd_configs", config.consul_sd_configs, Consul);
  Section(out, "dns_sd_configs", config.dns_sd_configs, Dns);
  Section(out, "docker_sd_configs", config.docker_sd_configs, Docker);
  Section(out, "dockerswarm_sd_configs", config.dockerswarm_sd_configs, DockerSwarm);
  Section(out, "kubernetes_sd_configs", config.kubernetes_sd_configs, Kubernetes);
  Section(out, "vultr_sd_configs", config.vultr_sd_configs, Vultr);
  Section(out, "file_sd_configs", config.file_sd_configs, File);
  Section(out, "http_sd_configs", config.http_sd_configs, Http);
  Section(out, "static_configs", config.static_configs, Static);
}

void Names(Emitter& out, const ScrapeConfig& config) {
  FlagIfSet(out, "extra_scrape_metrics", config.extra_scrape_metrics);
  FlagIfSet(out, "convert_classic_histograms_to_nhcb", config.histograms.convert_classic);
  FlagIfSet(out, "always_scrape_classic_histograms", config.histograms.always_classic);
  FlagIfSet(out, "scrape_native_histograms", config.histograms.native);
  Text(out, "metric_name_validation_scheme", config.legacy_names ? "legacy" : "utf8");
  Text(out, "metric_name_escaping_scheme", config.escaping_scheme);
}

void Scrape(Emitter& out, const ScrapeConfig& config) {
  out << YAML::BeginMap;
  Always(out, "job_name", config.job_name);
  FlagIfSet(out, "honor_labels", config.honor_labels);
  Flag(out, "honor_timestamps", config.honor_timestamps);
  Flag(out, "track_timestamps_staleness", config.track_timestamps_staleness);
  if (!config.params.empty()) {
    out << YAML::Key << "params" << YAML::Value << YAML::BeginMap;
    for (const auto& [name, values] : config.params) TextList(out, name, values);
    out << YAML::EndMap;
  }
  Always(out, "scrape_interval", FormatDuration(config.scrape_interval));
  Always(out, "scrape_timeout", FormatDuration(config.scrape_timeout));
  Protocols(out, config.protocols);
  if (!config.fallback_protocol.empty()) {
    Text(out, "fallback_scrape_protocol", ScrapeProtocolText(config.fallback_protocol[0]));
  }
  Text(out, "scrape_failure_log_file", config.scrape_failure_log_file);
  Always(out, "metrics_path", config.metrics_path);
  Always(out, "scheme", config.scheme);
  Flag(out, "enable_compression", config.enable_compression);
  Limits(out, config.limits);
  Number(out, "native_histogram_bucket_limit", config.native_histogram_bucket_limit);
  if (config.native_histogram_min_bucket_factor != 0) {
    Always(out, "native_histogram_min_bucket_factor",
           FormatFloat(config.native_histogram_min_bucket_factor));
  }
  Names(out, config);
  HttpClientFields(out, config.http_client);
  Relabel(out, "relabel_configs", config.relabel_rules);
  Relabel(out, "metric_relabel_configs", config.metric_relabel_rules);
  Discovery(out, config.discovery);
  out << YAML::EndMap;
}

void Global(Emitter& out, const GlobalConfig& config) {
  const ScrapeConfig& defaults = config.scrape_defaults;
  out << YAML::Key << "global" << YAML::Value << YAML::BeginMap;
  Always(out, "scrape_interval", FormatDuration(defaults.scrape_interval));
  Always(out, "scrape_timeout", FormatDuration(defaults.scrape_timeout));
  Protocols(out, defaults.protocols);
  Always(out, "evaluation_interval", FormatDuration(config.evaluation_interval));
  if (config.rule_query_offset > 0) {
    Always(out, "rule_query_offset", FormatDuration(config.rule_query_offset));
  }
  Text(out, "query_log_file", config.query_log_file);
  Text(out, "scrape_failure_log_file", config.scrape_failure_log_file);
  LabelMap(out, "external_labels", config.external_labels);
  Limits(out, defaults.limits);
  Names(out, defaults);
  out << YAML::EndMap;
}

bool IsSecretField(std::string_view name) {
  for (const std::string_view secret : kSecretFields) {
    if (name == secret) return true;
  }
  return false;
}

// A section as it was written. Values of secret fields, and URLs' passwords, are replaced.
void AsWritten(Emitter& out, const YAML::Node& node, bool secret) {
  if (node.IsMap()) {
    out << YAML::BeginMap;
    for (const auto& pair : node) {
      const std::string key = pair.first.IsScalar() ? pair.first.Scalar() : "";
      out << YAML::Key << key << YAML::Value;
      AsWritten(out, pair.second, secret || IsSecretField(key));
    }
    out << YAML::EndMap;
  } else if (node.IsSequence()) {
    out << YAML::BeginSeq;
    for (const YAML::Node& element : node) AsWritten(out, element, secret);
    out << YAML::EndSeq;
  } else if (node.IsScalar()) {
    const bool url = node.Scalar().find("://") != std::string::npos;
    const std::string text = secret ? std::string(kSecret)
                             : url  ? RedactUrl(node.Scalar())
                                    : node.Scalar();
    if (node.Tag() == "!") {
      out << YAML::DoubleQuoted << text;
    } else {
      out << text;
    }
  } else {
    out << YAML::Null;
  }
}

}  // namespace

std::string ScrapeConfigYaml(const ScrapeConfig& config) {
  Emitter out;
  Scrape(out, config);
  return fmt::format("{}\n", out.c_str());
}

std::string ConfigYaml(const Config& config, const YAML::Node& root) {
  Emitter out;
  out << YAML::BeginMap;
  Global(out, config.global);
  const auto section = [&](const char* name) {
    const YAML::Node node = root.IsMap() ? root[name] : YAML::Node();
    if (!node.IsDefined() || node.IsNull()) return;
    out << YAML::Key << name << YAML::Value;
    AsWritten(out, node, false);
  };
  for (const char* name : {"runtime", "alerting", "rule_files", "scrape_config_files"}) {
    section(name);
  }
  if (!config.scrape_configs.empty()) {
    out << YAML::Key << "scrape_configs" << YAML::Value << YAML::BeginSeq;
    for (const ScrapeConfig& scrape : config.scrape_configs) Scrape(out, scrape);
    out << YAML::EndSeq;
  }
  for (const char* name : {"storage", "tracing", "remote_write", "remote_read", "otlp"}) {
    section(name);
  }
  out << YAML::EndMap;
  return fmt::format("{}\n", out.c_str());
}

}  // namespace varve
