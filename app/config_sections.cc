// SPDX-License-Identifier: Apache-2.0
//
// The sections beside scraping: alerting, remote write and read, storage, OTLP, tracing.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "app/config_reader.h"
#include "model/labels.h"
#include "scrape/target.h"

namespace varve {
namespace {

constexpr std::array<std::string_view, 9> kReservedHeaders = {
    "authorization",
    "host",
    "content-encoding",
    "content-length",
    "content-type",
    "user-agent",
    "x-prometheus-remote-write-version",
    "x-prometheus-remote-read-version",
    "x-prometheus-scrape-timeout-seconds"};

bool IsReservedHeader(std::string_view name) {
  std::string lowered(name);
  for (char& c : lowered) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  return std::find(kReservedHeaders.begin(), kReservedHeaders.end(), lowered) !=
         kReservedHeaders.end();
}

void CheckHeaders(FieldReader& fields) {
  const auto field = fields.Find("headers");
  if (!field) return;
  std::vector<std::pair<std::string, std::string>> headers;
  field->StringMap(headers);
  for (const auto& [name, value] : headers) {
    if (name == "authorization" || name == "Authorization") {
      return field->Fail(
          "authorization header must be changed via the basic_auth, authorization, "
          "oauth2, sigv4, azuread or google_iam parameter");
    }
    if (IsReservedHeader(name)) {
      return field->Fail(fmt::format("{} is a reserved header. It must not be changed", name));
    }
  }
}

void CheckQueue(const YamlValue& value) {
  FieldReader fields(value, "config.QueueConfig");
  int64_t capacity = 10000;
  int64_t max_shards = 50;
  int64_t min_shards = 1;
  int64_t max_samples = 2000;
  DurationMs deadline = 5 * kSecond;
  DurationMs min_backoff = 30;
  DurationMs max_backoff = 5 * kSecond;
  DurationMs age = 0;
  bool retry = false;
  fields.Int("capacity", capacity);
  fields.Int("max_shards", max_shards);
  fields.Int("min_shards", min_shards);
  fields.Int("max_samples_per_send", max_samples);
  fields.Duration("batch_send_deadline", deadline);
  fields.Duration("min_backoff", min_backoff);
  fields.Duration("max_backoff", max_backoff);
  fields.Duration("sample_age_limit", age);
  fields.Bool("retry_on_http_429", retry);
  fields.Finish();
  if (capacity <= 0) value.Fail("capacity must be greater than 0");
  if (max_samples <= 0) value.Fail("max_samples_per_send must be greater than 0");
  if (min_shards <= 0) value.Fail("min_shards must be greater than 0");
  if (max_shards < min_shards) value.Fail("max_shards must be greater than or equal to min_shards");
  if (max_backoff < min_backoff) {
    value.Fail("max_backoff must be greater than or equal to min_backoff");
  }
}

void CheckMetadataConfig(const YamlValue& value) {
  FieldReader fields(value, "config.MetadataConfig");
  bool send = true;
  DurationMs interval = kMinute;
  uint64_t samples = 0;
  fields.Bool("send", send);
  fields.Duration("send_interval", interval);
  fields.Uint("max_samples_per_send", samples);
  fields.Finish();
}

RemoteWriteConfig ReadOneRemoteWrite(const YamlValue& value, bool legacy_names) {
  RemoteWriteConfig config;
  if (value.IsNull()) {
    value.Fail("empty or null remote write config section");
    return config;
  }
  FieldReader fields(value, "config.RemoteWriteConfig");
  fields.String("url", config.url);
  fields.String("name", config.name);
  if (config.url.empty()) fields.Find("url").value_or(value).Fail("url for remote_write is empty");
  std::string message = "prometheus.WriteRequest";
  fields.String("protobuf_message", message);
  if (message != "prometheus.WriteRequest" && message != "io.prometheus.write.v2.Request") {
    fields.Find("protobuf_message")
        ->Fail(fmt::format("invalid protobuf_message value: unknown type for remote write protobuf "
                           "message {}, supported: prometheus.WriteRequest, "
                           "io.prometheus.write.v2.Request",
                           message));
  }
  DurationMs timeout = 30 * kSecond;
  fields.Duration("remote_timeout", timeout);
  CheckHeaders(fields);
  if (const auto field = fields.Find("write_relabel_configs")) {
    (void)ReadRelabelRules(*field, legacy_names,
                           "empty or null relabeling rule in remote write config");
  }
  bool flag = false;
  for (const std::string_view name :
       {"send_exemplars", "send_native_histograms", "round_robin_dns"}) {
    fields.Bool(name, flag);
  }
  HttpClientConfig defaults;
  defaults.enable_http2 = false;
  (void)ReadHttpClient(fields, defaults);
  for (const std::string_view name : {"sigv4", "azuread", "google_iam"}) {
    const auto field = fields.Find(name);
    if (field && !field->IsNull()) field->Fail(fmt::format("{} is not supported yet", name));
  }
  if (const auto field = fields.Find("queue_config")) CheckQueue(*field);
  if (const auto field = fields.Find("metadata_config")) CheckMetadataConfig(*field);
  fields.Finish();
  return config;
}

RemoteReadConfig ReadOneRemoteRead(const YamlValue& value) {
  RemoteReadConfig config;
  if (value.IsNull()) {
    value.Fail("empty or null remote read config section");
    return config;
  }
  FieldReader fields(value, "config.RemoteReadConfig");
  fields.String("url", config.url);
  fields.String("name", config.name);
  if (config.url.empty()) fields.Find("url").value_or(value).Fail("url for remote_read is empty");
  if (const auto field = fields.Find("required_matchers")) {
    std::vector<std::pair<std::string, std::string>> matchers;
    field->StringMap(matchers);
  }
  DurationMs timeout = kMinute;
  fields.Duration("remote_timeout", timeout);
  CheckHeaders(fields);
  bool flag = false;
  fields.Bool("read_recent", flag);
  fields.Bool("filter_external_labels", flag);
  uint64_t limit = 0;
  fields.Uint("chunked_read_limit", limit);
  (void)ReadHttpClient(fields);
  fields.Finish();
  return config;
}

// Names are optional, but those given are unique.
template <typename Config>
void CheckUniqueName(const YamlValue& value, const std::vector<Config>& others,
                     const std::string& name, std::string_view what) {
  if (name.empty()) return;
  for (const Config& other : others) {
    if (other.name != name) continue;
    value.Fail(fmt::format("found multiple {} configs with job name {}", what, Quoted(name)));
  }
}

AlertmanagerConfig ReadAlertmanager(const YamlValue& value, bool legacy_names) {
  FieldReader fields(value, "config.AlertmanagerConfig");
  AlertmanagerConfig config;
  fields.String("scheme", config.scheme);
  fields.String("path_prefix", config.path_prefix);
  fields.Duration("timeout", config.timeout);
  std::string api_version = "v2";
  fields.String("api_version", api_version);
  if (api_version != "v2") {
    fields.Find("api_version")
        ->Fail(fmt::format("expected Alertmanager api version to be one of [v2] but got {}",
                           api_version));
  }
  const auto sigv4 = fields.Find("sigv4");
  if (sigv4 && !sigv4->IsNull()) sigv4->Fail("sigv4 is not supported yet");
  config.http_client = ReadHttpClient(fields);
  if (const auto field = fields.Find("relabel_configs")) {
    config.relabel_rules =
        ReadRelabelRules(*field, legacy_names, "empty or null Alertmanager target relabeling rule");
  }
  if (const auto field = fields.Find("alert_relabel_configs")) {
    config.alert_relabel_rules =
        ReadRelabelRules(*field, legacy_names, "empty or null Alertmanager alert relabeling rule");
  }
  config.discovery = ReadDiscovery(fields, config.relabel_rules.empty());
  fields.Finish();
  return config;
}

void ReadRetention(const YamlValue& value, StorageConfig& config) {
  FieldReader fields(value, "config.TSDBRetentionConfig");
  if (const auto field = fields.Find("time")) field->Duration(config.retention_time.emplace(0));
  if (const auto field = fields.Find("size")) {
    if (field->node().IsScalar() && field->node().Scalar().starts_with('-')) {
      field->Fail("'storage.tsdb.retention.size' must be greater than or equal to 0");
    }
    field->Bytes(config.retention_bytes.emplace(0));
  }
  if (const auto field = fields.Find("percentage")) {
    double& percentage = config.retention_percentage.emplace(0);
    field->Double(percentage);
    if (!(percentage >= 0 && percentage <= 100)) {
      field->Fail("'storage.tsdb.retention.percentage' must be in the range [0, 100]");
    }
  }
  fields.Finish();
}

void ReadTsdb(const YamlValue& value, StorageConfig& config) {
  FieldReader fields(value, "config.TSDBConfig");
  fields.Duration("out_of_order_time_window", config.out_of_order_time_window);
  double threshold = 0;
  fields.Double("stale_series_compaction_threshold", threshold);
  if (const auto field = fields.Find("chunk_encoding")) {
    FieldReader encoding(*field, "config.TSDBChunkEncodingConfig");
    std::string floats = "xor";
    encoding.String("floats", floats);
    if (floats != "xor" && floats != "xor2") {
      encoding.Find("floats")->Fail(
          fmt::format("unsupported float chunk encoding {}, supported: xor, xor2", Quoted(floats)));
    }
    encoding.Finish();
  }
  if (const auto field = fields.Find("retention")) ReadRetention(*field, config);
  fields.Finish();
}

void CheckPromoted(const YamlValue& value, std::string_view what) {
  std::set<std::string> seen;
  value.Each([&](const YamlValue& element) {
    std::string text;
    element.String(text);
    const size_t start = text.find_first_not_of(" \t\r\n");
    if (start == std::string::npos) {
      return element.Fail(fmt::format("empty {} OTel resource attribute", what));
    }
    text = text.substr(start, text.find_last_not_of(" \t\r\n") - start + 1);
    if (!seen.insert(text).second) {
      element.Fail(fmt::format("duplicated {} OTel resource attribute {}", what, Quoted(text)));
    }
  });
}

}  // namespace

AlertingConfig ReadAlerting(const YamlValue& value, bool legacy_names) {
  FieldReader fields(value, "config.AlertingConfig");
  AlertingConfig config;
  if (const auto field = fields.Find("alert_relabel_configs")) {
    config.alert_relabel_rules =
        ReadRelabelRules(*field, legacy_names, "empty or null alert relabeling rule");
  }
  fields.Each("alertmanagers", [&](const YamlValue& element) {
    config.alertmanagers.push_back(ReadAlertmanager(element, legacy_names));
  });
  fields.Finish();
  return config;
}

std::vector<RemoteWriteConfig> ReadRemoteWrite(const YamlValue& value, bool legacy_names) {
  std::vector<RemoteWriteConfig> configs;
  value.Each([&](const YamlValue& element) {
    RemoteWriteConfig config = ReadOneRemoteWrite(element, legacy_names);
    CheckUniqueName(element, configs, config.name, "remote write");
    configs.push_back(std::move(config));
  });
  return configs;
}

std::vector<RemoteReadConfig> ReadRemoteRead(const YamlValue& value) {
  std::vector<RemoteReadConfig> configs;
  value.Each([&](const YamlValue& element) {
    RemoteReadConfig config = ReadOneRemoteRead(element);
    CheckUniqueName(element, configs, config.name, "remote read");
    configs.push_back(std::move(config));
  });
  return configs;
}

StorageConfig ReadStorage(const YamlValue& value) {
  FieldReader fields(value, "config.StorageConfig");
  StorageConfig config;
  if (const auto field = fields.Find("tsdb")) ReadTsdb(*field, config);
  if (const auto field = fields.Find("exemplars")) {
    FieldReader exemplars(*field, "config.ExemplarsConfig");
    exemplars.Uint("max_exemplars", config.exemplars_max);
    exemplars.Finish();
  }
  fields.Finish();
  return config;
}

void CheckOtlp(const YamlValue& value, bool legacy_names) {
  FieldReader fields(value, "config.OTLPConfig");
  bool promote_all = false;
  bool flag = false;
  fields.Bool("promote_all_resource_attributes", promote_all);
  const auto promoted = fields.Find("promote_resource_attributes");
  const auto ignored = fields.Find("ignore_resource_attributes");
  if (promote_all && promoted && !promoted->IsNull()) {
    promoted->Fail(
        "'promote_all_resource_attributes' and 'promote_resource_attributes' cannot be "
        "configured simultaneously");
  }
  if (!promote_all && ignored && !ignored->IsNull()) {
    ignored->Fail(
        "'ignore_resource_attributes' can only be configured when "
        "'promote_all_resource_attributes' is true");
  }
  if (promoted) CheckPromoted(*promoted, "promoted");
  if (ignored) CheckPromoted(*ignored, "ignored");
  std::string strategy = "UnderscoreEscapingWithSuffixes";
  fields.String("translation_strategy", strategy);
  const bool utf8 = strategy == "NoUTF8EscapingWithSuffixes" || strategy == "NoTranslation";
  if (!utf8 && strategy != "UnderscoreEscapingWithSuffixes" &&
      strategy != "UnderscoreEscapingWithoutSuffixes") {
    fields.Find("translation_strategy")
        ->Fail(fmt::format("unsupported OTLP translation strategy {}", Quoted(strategy)));
  }
  if (utf8 && legacy_names) {
    fields.Find("translation_strategy")
        ->Fail(fmt::format("OTLP translation strategy {} is not allowed when UTF8 is disabled",
                           Quoted(strategy)));
  }
  for (const std::string_view name :
       {"keep_identifying_resource_attributes", "convert_histograms_to_nhcb",
        "promote_scope_metadata", "label_name_underscore_sanitization",
        "label_name_preserve_multiple_underscores"}) {
    fields.Bool(name, flag);
  }
  fields.Finish();
}

void CheckTracing(const YamlValue& value) {
  FieldReader fields(value, "config.TracingConfig");
  std::string client_type = "grpc";
  std::string endpoint;
  std::string compression;
  double fraction = 0;
  bool insecure = false;
  DurationMs timeout = 10 * kSecond;
  fields.String("client_type", client_type);
  fields.String("endpoint", endpoint);
  fields.Double("sampling_fraction", fraction);
  fields.Bool("insecure", insecure);
  fields.Duration("timeout", timeout);
  fields.String("compression", compression);
  if (const auto field = fields.Find("tls_config")) (void)ReadTls(*field);
  if (client_type != "grpc" && client_type != "http") {
    fields.Find("client_type")->Fail(fmt::format("unknown tracing client type {}", client_type));
  }
  if (endpoint.empty()) value.Fail("tracing endpoint must be set");
  if (!compression.empty() && compression != "gzip") {
    fields.Find("compression")
        ->Fail(
            fmt::format("invalid compression type {} provided, valid options: gzip", compression));
  }
  if (const auto field = fields.Find("headers")) {
    std::vector<std::pair<std::string, std::string>> headers;
    field->StringMap(headers);
    for (const auto& [name, text] : headers) {
      if (name == "authorization" || name == "Authorization") {
        field->Fail("custom authorization header configuration is not yet supported");
      } else if (IsReservedHeader(name)) {
        field->Fail(fmt::format("{} is a reserved header. It must not be changed", name));
      }
    }
  }
  fields.Finish();
}

void CheckRuntime(const YamlValue& value) {
  FieldReader fields(value, "config.RuntimeConfig");
  int64_t gogc = 0;
  fields.Int("gogc", gogc);
  fields.Finish();
}

std::vector<std::string> ReadPathPatterns(const YamlValue& value, std::string_view what) {
  std::vector<std::string> patterns;
  value.Each([&](const YamlValue& element) {
    std::string pattern;
    element.String(pattern);
    const size_t star = pattern.find('*');
    const bool valid =
        !pattern.empty() && star != 0 &&
        (star == std::string::npos || (pattern.find('/', star) == std::string::npos &&
                                       pattern.find('*', star + 1) == std::string::npos));
    if (!valid) element.Fail(fmt::format("invalid {} {}", what, Quoted(pattern)));
    patterns.push_back(value.document().Resolve(pattern));
  });
  return patterns;
}

}  // namespace varve
