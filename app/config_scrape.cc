// SPDX-License-Identifier: Apache-2.0
//
// `global` and `scrape_configs`: what a scrape_config leaves out it has from `global`.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>
#include <set>
#include <utility>

#include "app/config_reader.h"
#include "model/labels.h"
#include "model/matcher.h"
#include "model/status_macros.h"

namespace varve {
namespace {

constexpr std::array<ScrapeProtocol, 5> kProtocols = {
    ScrapeProtocol::kPrometheusProto, ScrapeProtocol::kOpenMetricsText1_0_0,
    ScrapeProtocol::kOpenMetricsText0_0_1, ScrapeProtocol::kPrometheusText1_0_0,
    ScrapeProtocol::kPrometheusText0_0_4};

const std::vector<ScrapeProtocol> kDefaultProtocols(kProtocols.begin() + 1, kProtocols.end());

void ReadProtocol(const YamlValue& value, std::vector<ScrapeProtocol>& out) {
  std::string text;
  value.String(text);
  std::string supported;
  for (const ScrapeProtocol protocol : kProtocols) {
    if (ScrapeProtocolText(protocol) == text) {
      if (std::find(out.begin(), out.end(), protocol) != out.end()) {
        return value.Fail(fmt::format("duplicated protocol in scrape_protocols, got {}", text));
      }
      out.push_back(protocol);
      return;
    }
    supported += fmt::format("{}{}", supported.empty() ? "" : " ", ScrapeProtocolText(protocol));
  }
  value.Fail(fmt::format("unknown scrape protocol {}, supported: [{}]", text, supported));
}

void ReadProtocols(FieldReader& fields, ScrapeConfig& config) {
  const auto field = fields.Find("scrape_protocols");
  if (!field || field->IsNull()) return;
  config.protocols.clear();
  field->Each([&](const YamlValue& value) { ReadProtocol(value, config.protocols); });
  if (config.protocols.empty()) field->Fail("scrape_protocols cannot be empty");
}

// Scheme and escaping belong together: escaping nothing needs names that may hold anything.
void ReadNames(FieldReader& fields, ScrapeConfig& config) {
  const auto scheme = fields.Find("metric_name_validation_scheme");
  std::string text;
  if (scheme) scheme->String(text);
  if (text == "legacy" || text == "utf8") {
    const bool legacy = text == "legacy";
    if (legacy != config.legacy_names)
      config.escaping_scheme = legacy ? "underscores" : "allow-utf-8";
    config.legacy_names = legacy;
  } else if (!text.empty()) {
    scheme->Fail(
        fmt::format("unknown metric name validation method specified, must be either '', "
                    "'legacy' or 'utf8', got {}",
                    text));
  }
  const auto escaping = fields.Find("metric_name_escaping_scheme");
  text.clear();
  if (escaping) escaping->String(text);
  if (text.empty()) return;
  if (text != "allow-utf-8" && text != "underscores" && text != "dots" && text != "values") {
    escaping->Fail(
        fmt::format("unknown metric name escaping method specified, must be one of "
                    "'allow-utf-8', 'underscores', 'dots', or 'values', got {}",
                    Quoted(text)));
  }
  if (text == "allow-utf-8" && config.legacy_names) {
    escaping->Fail("utf8 metric names requested but validation scheme is not set to UTF8");
  }
  config.escaping_scheme = text;
}

// `$NAME` and `${NAME}` from the environment, `$$` a dollar, as Go's os.Expand reads them.
std::string ExpandEnvironment(std::string_view text) {
  const auto is_name = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  };
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '$' || i + 1 >= text.size()) {
      out += text[i];
      continue;
    }
    if (text[i + 1] == '$') {
      out += '$';
      ++i;
      continue;
    }
    const bool braced = text[i + 1] == '{';
    const size_t start = i + (braced ? 2 : 1);
    size_t end = start;
    if (braced) {
      end = std::min(text.find('}', start), text.size());
    } else {
      while (end < text.size() && is_name(text[end])) ++end;
    }
    if (end == start || (braced && end == text.size())) {
      out += text[i];
      continue;
    }
    const std::string name(text.substr(start, end - start));
    if (name == "$") {
      out += '$';
    } else if (const char* value = std::getenv(name.c_str())) {
      out += value;
    }
    i = braced ? end : end - 1;
  }
  return out;
}

Labels ReadExternalLabels(FieldReader& fields, bool legacy_names) {
  const auto field = fields.Find("external_labels");
  if (!field) return {};
  std::vector<std::pair<std::string, std::string>> labels;
  field->StringMap(labels);
  for (auto& [name, text] : labels) {
    const bool valid = legacy_names ? IsLegacyLabelName(name) : !name.empty() && IsValidUtf8(name);
    if (!valid) field->Fail(fmt::format("{} is not a valid label name", Quoted(name)));
    text = ExpandEnvironment(text);
    if (!IsValidUtf8(text)) field->Fail(fmt::format("{} is not a valid label value", Quoted(text)));
  }
  return Labels::FromPairs(std::move(labels));
}

void ReadParams(FieldReader& fields, ScrapeConfig& config) {
  const auto field = fields.Find("params");
  if (!field || field->IsNull()) return;
  FieldReader params(*field, "url.Values");
  std::map<std::string, std::vector<std::string>> sorted;
  if (field->node().IsMap()) {
    for (const auto& pair : field->node()) {
      if (!pair.first.IsScalar()) continue;
      params.Strings(pair.first.Scalar(), sorted[pair.first.Scalar()]);
    }
  }
  params.Finish();
  config.params.assign(sorted.begin(), sorted.end());
}

RelabelConfig ReadRelabelConfig(FieldReader& fields, bool legacy_names) {
  RelabelConfig config;
  config.legacy_names = legacy_names;
  fields.Strings("source_labels", config.source_labels);
  fields.String("separator", config.separator);
  fields.String("regex", config.regex);
  fields.Uint("modulus", config.modulus);
  fields.String("target_label", config.target_label);
  fields.String("replacement", config.replacement);
  if (const auto field = fields.Find("action")) {
    std::string text;
    field->String(text);
    const absl::StatusOr<RelabelAction> action = ParseRelabelAction(text);
    if (action.ok()) config.action = *action;
    field->Fail(action.status());
  }
  fields.Finish();
  if (const auto field = fields.Find("source_labels")) {
    for (const std::string& name : config.source_labels) {
      const bool valid = legacy_names ? IsLegacyLabelName(name) : !name.empty();
      if (!valid || !IsValidUtf8(name)) {
        field->Fail(fmt::format("{} is not a valid label name", Quoted(name)));
      }
    }
  }
  return config;
}

void CheckTimes(FieldReader& fields, ScrapeConfig& config, const ScrapeConfig& defaults) {
  config.scrape_interval = 0;
  config.scrape_timeout = 0;
  fields.Duration("scrape_interval", config.scrape_interval);
  fields.Duration("scrape_timeout", config.scrape_timeout);
  if (config.scrape_interval == 0) config.scrape_interval = defaults.scrape_interval;
  if (config.scrape_timeout > config.scrape_interval) {
    const auto field = fields.Find("scrape_timeout");
    field->Fail(fmt::format(
        "scrape timeout greater than scrape interval for scrape config with job name {}",
        Quoted(config.job_name)));
  }
  if (config.scrape_timeout == 0) {
    config.scrape_timeout = std::min(defaults.scrape_timeout, config.scrape_interval);
  }
}

void ReadFallback(FieldReader& fields, ScrapeConfig& config) {
  const auto field = fields.Find("fallback_scrape_protocol");
  if (!field || field->IsNull()) return;
  std::string text;
  field->String(text);
  if (text.empty()) return;
  ReadProtocol(*field, config.fallback_protocol);
}

}  // namespace

std::vector<RelabelRule> ReadRelabelRules(const YamlValue& value, bool legacy_names,
                                          std::string_view empty_text) {
  std::vector<RelabelRule> rules;
  value.Each([&](const YamlValue& element) {
    if (element.IsNull()) return element.Fail(empty_text);
    FieldReader fields(element, "relabel.Config");
    absl::StatusOr<RelabelRule> rule = RelabelRule::Create(ReadRelabelConfig(fields, legacy_names));
    if (!rule.ok()) {
      const auto regex = fields.Find("regex");
      const bool of_regex = regex && MessageOf(rule.status()).starts_with("error parsing regexp");
      return (of_regex ? *regex : element).Fail(rule.status());
    }
    rules.push_back(*std::move(rule));
  });
  return rules;
}

void ReadScrapeDefaults(FieldReader& fields, ScrapeConfig& config) {
  ReadProtocols(fields, config);
  ReadNames(fields, config);
  fields.Bool("scrape_native_histograms", config.histograms.native);
  fields.Bool("convert_classic_histograms_to_nhcb", config.histograms.convert_classic);
  fields.Bool("always_scrape_classic_histograms", config.histograms.always_classic);
  fields.Bool("extra_scrape_metrics", config.extra_scrape_metrics);
  fields.Path("scrape_failure_log_file", config.scrape_failure_log_file);
  // A limit of 0 in a scrape_config does not lift the global one.
  ScrapeLimits limits;
  fields.Bytes("body_size_limit", limits.body_size_bytes);
  fields.Uint("sample_limit", limits.samples);
  fields.Uint("target_limit", limits.targets);
  fields.Uint("label_limit", limits.labels);
  fields.Uint("label_name_length_limit", limits.label_name_bytes);
  fields.Uint("label_value_length_limit", limits.label_value_bytes);
  fields.Uint("keep_dropped_targets", limits.keep_dropped_targets);
  const auto set = [](uint64_t& to, uint64_t from) { to = from > 0 ? from : to; };
  set(config.limits.body_size_bytes, limits.body_size_bytes);
  set(config.limits.samples, limits.samples);
  set(config.limits.targets, limits.targets);
  set(config.limits.labels, limits.labels);
  set(config.limits.label_name_bytes, limits.label_name_bytes);
  set(config.limits.label_value_bytes, limits.label_value_bytes);
  set(config.limits.keep_dropped_targets, limits.keep_dropped_targets);
}

GlobalConfig ReadGlobal(const YamlValue& value, const ConfigOptions& options) {
  FieldReader fields(value, "config.GlobalConfig");
  GlobalConfig config;
  ScrapeConfig& defaults = config.scrape_defaults;
  defaults.protocols = kDefaultProtocols;
  defaults.start_times = options.start_times;
  defaults.type_and_unit_labels = options.type_and_unit_labels;
  defaults.extra_scrape_metrics = options.extra_scrape_metrics;
  defaults.scrape_interval = 0;
  defaults.scrape_timeout = 0;
  fields.Duration("scrape_interval", defaults.scrape_interval);
  fields.Duration("scrape_timeout", defaults.scrape_timeout);
  if (defaults.scrape_interval == 0) defaults.scrape_interval = kMinute;
  if (defaults.scrape_timeout > defaults.scrape_interval) {
    fields.Find("scrape_timeout")->Fail("global scrape timeout greater than scrape interval");
  }
  if (defaults.scrape_timeout == 0) {
    defaults.scrape_timeout = std::min(10 * kSecond, defaults.scrape_interval);
  }
  fields.Duration("evaluation_interval", config.evaluation_interval);
  if (config.evaluation_interval == 0) config.evaluation_interval = kMinute;
  fields.Duration("rule_query_offset", config.rule_query_offset);
  fields.Path("query_log_file", config.query_log_file);
  const bool own_protocols = fields.Has("scrape_protocols");
  ReadScrapeDefaults(fields, defaults);
  if (!own_protocols && (defaults.histograms.native || options.start_times)) {
    defaults.protocols.assign(kProtocols.begin(), kProtocols.end());
  }
  config.scrape_failure_log_file = defaults.scrape_failure_log_file;
  config.external_labels = ReadExternalLabels(fields, defaults.legacy_names);
  fields.Finish();
  return config;
}

ScrapeConfig ReadScrapeConfig(const YamlValue& value, const ScrapeConfig& defaults) {
  ScrapeConfig config = defaults;
  if (value.IsNull()) {
    value.Fail("empty or null scrape config section");
    return config;
  }
  FieldReader fields(value, "config.ScrapeConfig");
  fields.String("job_name", config.job_name);
  CheckTimes(fields, config, defaults);
  const bool own_protocols = fields.Has("scrape_protocols");
  ReadScrapeDefaults(fields, config);
  if (!own_protocols && config.histograms.native && !defaults.histograms.native &&
      config.protocols.front() != ScrapeProtocol::kPrometheusProto) {
    config.protocols.insert(config.protocols.begin(), ScrapeProtocol::kPrometheusProto);
  }
  ReadFallback(fields, config);
  fields.String("metrics_path", config.metrics_path);
  fields.String("scheme", config.scheme);
  ReadParams(fields, config);
  fields.Bool("honor_labels", config.honor_labels);
  fields.Bool("honor_timestamps", config.honor_timestamps);
  fields.Bool("track_timestamps_staleness", config.track_timestamps_staleness);
  fields.Bool("enable_compression", config.enable_compression);
  fields.Uint("native_histogram_bucket_limit", config.native_histogram_bucket_limit);
  fields.Double("native_histogram_min_bucket_factor", config.native_histogram_min_bucket_factor);
  config.http_client = ReadHttpClient(fields);
  if (const auto field = fields.Find("relabel_configs")) {
    config.relabel_rules = ReadRelabelRules(
        *field, config.legacy_names, "empty or null target relabeling rule in scrape config");
  }
  if (const auto field = fields.Find("metric_relabel_configs")) {
    config.metric_relabel_rules = ReadRelabelRules(
        *field, config.legacy_names, "empty or null metric relabeling rule in scrape config");
  }
  config.discovery = ReadDiscovery(fields, config.relabel_rules.empty());
  fields.Finish();
  if (config.job_name.empty()) {
    fields.Find("job_name").value_or(value).Fail("job_name is empty");
  }
  return config;
}

void CheckJobNames(const std::vector<ScrapeConfig>& configs, const std::vector<YamlValue>& values) {
  std::set<std::string_view> names;
  for (size_t i = 0; i < configs.size(); ++i) {
    if (names.insert(configs[i].job_name).second) continue;
    return values[i].Fail(
        fmt::format("found multiple scrape configs with job name {}", Quoted(configs[i].job_name)));
  }
}

}  // namespace varve
