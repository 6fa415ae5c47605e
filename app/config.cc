// SPDX-License-Identifier: Apache-2.0
//
// The configuration file as a whole, and the files of scrape_configs it names.
#include "app/config.h"

#include <absl/hash/hash.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <utility>

#include "app/config_reader.h"
#include "app/yaml_reader.h"
#include "model/status_macros.h"
#include "scrape/discovery/file.h"

namespace varve {
namespace {

absl::StatusOr<std::string> ReadConfigFile(const std::string& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    const std::string text = fmt::format("open {}: {}", path, std::strerror(errno));
    return errno == ENOENT ? absl::NotFoundError(text) : absl::PermissionDeniedError(text);
  }
  std::string text;
  char buffer[1 << 16];
  while (file.read(buffer, sizeof(buffer)) || file.gcount() > 0) {
    text.append(buffer, file.gcount());
    if (text.size() > kYamlBytesMax) {
      return absl::InvalidArgumentError(
          fmt::format("{}: larger than {} bytes", path, kYamlBytesMax));
    }
  }
  if (file.bad()) return absl::UnavailableError(fmt::format("read {}: {}", path, "is not a file"));
  return text;
}

std::string DirectoryOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, std::max<size_t>(slash, 1));
}

YamlValue RootOf(YamlDocument& document) {
  return YamlValue(document, document.root(), "", document.root().IsNull() ? 0 : 1);
}

// One file that scrape_config_files names: `scrape_configs` and nothing else.
absl::Status AppendScrapeConfigFile(const std::string& path, Config& config) {
  ASSIGN_OR_RETURN(const std::string text, ReadConfigFile(path));
  YamlDocument document(text, path, DirectoryOf(path));
  RETURN_IF_ERROR(document.error());
  FieldReader fields(RootOf(document), "config.ScrapeConfigs");
  fields.Each("scrape_configs", [&](const YamlValue& value) {
    ScrapeConfig scrape = ReadScrapeConfig(value, config.global.scrape_defaults);
    for (const ScrapeConfig& other : config.scrape_configs) {
      if (other.job_name != scrape.job_name) continue;
      value.Fail(
          fmt::format("found multiple scrape configs with job name {}", Quoted(scrape.job_name)));
    }
    config.scrape_configs.push_back(std::move(scrape));
  });
  fields.Finish();
  return document.error();
}

void ReadScrapeConfigs(FieldReader& fields, Config& config) {
  std::vector<YamlValue> values;
  fields.Each("scrape_configs", [&](const YamlValue& value) {
    config.scrape_configs.push_back(ReadScrapeConfig(value, config.global.scrape_defaults));
    values.push_back(value);
  });
  CheckJobNames(config.scrape_configs, values);
}

void CheckAgentMode(FieldReader& fields, const Config& config) {
  for (const std::string_view name : {"alerting", "rule_files", "remote_read"}) {
    const auto field = fields.Find(name);
    if (field && !field->IsNull()) {
      field->Fail(fmt::format("field {} is not allowed in agent mode", name));
    }
  }
  if (config.remote_write.empty()) {
    fields.value().Fail("at least one remote_write target must be specified in agent mode");
  }
}

absl::StatusOr<Config> ReadConfig(YamlDocument& document, const ConfigOptions& options) {
  RETURN_IF_ERROR(document.error());
  Config config;
  FieldReader fields(RootOf(document), "config.Config");
  // First of all, since the others inherit from it.
  const YAML::Node nothing;
  config.global = ReadGlobal(
      fields.Find("global").value_or(YamlValue(document, nothing, "global", 0)), options);
  const bool legacy_names = config.global.scrape_defaults.legacy_names;
  if (const auto field = fields.Find("runtime")) CheckRuntime(*field);
  if (const auto field = fields.Find("rule_files")) {
    config.rule_files = ReadPathPatterns(*field, "rule file path");
  }
  std::vector<std::string> scrape_files;
  if (const auto field = fields.Find("scrape_config_files")) {
    scrape_files = ReadPathPatterns(*field, "scrape config file path");
  }
  ReadScrapeConfigs(fields, config);
  if (const auto field = fields.Find("alerting")) {
    config.alerting = ReadAlerting(*field, legacy_names);
  }
  if (const auto field = fields.Find("remote_write")) {
    config.remote_write = ReadRemoteWrite(*field, legacy_names);
  }
  if (const auto field = fields.Find("remote_read")) config.remote_read = ReadRemoteRead(*field);
  if (const auto field = fields.Find("storage")) config.storage = ReadStorage(*field);
  if (const auto field = fields.Find("otlp")) CheckOtlp(*field, legacy_names);
  if (const auto field = fields.Find("tracing"); field && !field->IsNull()) CheckTracing(*field);
  if (options.agent_mode) CheckAgentMode(fields, config);
  fields.Finish();
  RETURN_IF_ERROR(document.error());
  for (const std::string& path : ExpandFilePatterns(scrape_files)) {
    RETURN_IF_ERROR(AppendScrapeConfigFile(path, config));
  }
  config.yaml = ConfigYaml(config, document.root());
  return config;
}

}  // namespace

absl::StatusOr<Config> LoadConfig(const std::string& path, const ConfigOptions& options) {
  ASSIGN_OR_RETURN(const std::string text, ReadConfigFile(path));
  YamlDocument document(text, path, DirectoryOf(path));
  return ReadConfig(document, options);
}

absl::StatusOr<Config> ParseConfig(std::string_view text, const std::string& name,
                                   const ConfigOptions& options) {
  YamlDocument document(text, name, "");
  return ReadConfig(document, options);
}

uint64_t ConfigFingerprint(const std::string& path) {
  const absl::StatusOr<std::string> text = ReadConfigFile(path);
  if (!text.ok()) return 0;
  size_t fingerprint = absl::HashOf(*text);
  YamlDocument document(*text, path, DirectoryOf(path));
  if (!document.error().ok() || !document.root().IsMap()) return fingerprint;
  for (const char* section : {"rule_files", "scrape_config_files"}) {
    const YAML::Node patterns = document.root()[section];
    if (!patterns.IsDefined() || !patterns.IsSequence()) continue;
    std::vector<std::string> resolved;
    for (const YAML::Node& pattern : patterns) {
      if (pattern.IsScalar()) resolved.push_back(document.Resolve(pattern.Scalar()));
    }
    for (const std::string& file : ExpandFilePatterns(resolved)) {
      const absl::StatusOr<std::string> contents = ReadConfigFile(file);
      fingerprint = absl::HashOf(fingerprint, file, contents.ok() ? *contents : "");
    }
  }
  return fingerprint;
}

std::string ScrapeConfigYaml(const Config& config, std::string_view job_name) {
  for (const ScrapeConfig& scrape : config.scrape_configs) {
    if (scrape.job_name == job_name) return ScrapeConfigYaml(scrape);
  }
  return "";
}

}  // namespace varve
