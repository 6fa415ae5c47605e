// SPDX-License-Identifier: Apache-2.0
//
// Loading does most of it; the rest is whether what the configuration names is there and sound.
#include "app/check_config.h"

#include <absl/status/statusor.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "app/config.h"
#include "model/labels.h"
#include "model/status_macros.h"
#include "rules/rule_file.h"
#include "scrape/discovery/file.h"
#include "scrape/discovery/static.h"
#include "scrape/discovery/target_groups.h"
#include "scrape/target.h"

namespace varve {
namespace {

absl::Status CheckReadable(const std::string& path, std::string_view what) {
  if (path.empty() || access(path.c_str(), R_OK) == 0) return absl::OkStatus();
  return absl::NotFoundError(fmt::format(
      "error checking {} file {}: stat {}: no such file or directory", what, Quoted(path), path));
}

absl::Status CheckHttpClient(const HttpClientConfig& http) {
  if (http.authorization) {
    RETURN_IF_ERROR(CheckReadable(http.authorization->credentials_file,
                                  "authorization credentials or bearer token"));
  }
  RETURN_IF_ERROR(CheckReadable(http.tls.cert_file, "client cert"));
  return CheckReadable(http.tls.key_file, "client key");
}

absl::Status CheckGroups(const std::vector<TargetGroup>& groups, const ScrapeConfig& scrape) {
  for (const TargetGroup& group : groups) {
    for (size_t i = 0; i < group.targets.size(); ++i) {
      const absl::Status status =
          MakeTarget(scrape, DiscoveredLabels(scrape, group.labels, group.targets[i])).status();
      if (status.ok()) continue;
      return absl::InvalidArgumentError(
          fmt::format("instance {} in group {}: {}", i, group.source, MessageOf(status)));
    }
  }
  return absl::OkStatus();
}

class ConfigChecker {
 public:
  explicit ConfigChecker(const ConfigCheckOptions& options) : options_(options) {}

  CheckResult Check(const std::vector<std::string>& files) {
    for (const std::string& file : files) CheckFile(file);
    if (failed_ && has_errors_) result_.code = kCheckFailed;
    if (failed_ && !has_errors_ && options_.lint_fatal) result_.code = kCheckLint;
    return std::move(result_);
  }

 private:
  void Out(std::string_view line) { result_.out += fmt::format("{}\n", line); }
  void Err(std::string_view line) { result_.err += fmt::format("{}\n", line); }

  void CheckFile(const std::string& file) {
    Out(fmt::format("Checking {}", file));
    const absl::StatusOr<Config> config = LoadConfig(file, {.agent_mode = options_.agent_mode});
    std::vector<std::string> rule_files;
    absl::Status status = config.status();
    if (config.ok() && !options_.syntax_only) status = CheckWhatIsNamed(*config, rule_files);
    if (status.ok()) {
      if (!rule_files.empty())
        Out(fmt::format("  SUCCESS: {} rule files found", rule_files.size()));
      Out(fmt::format(" SUCCESS: {} is valid prometheus config file syntax", file));
    } else {
      Err(fmt::format("  FAILED: {}", MessageOf(status)));
      failed_ = has_errors_ = true;
    }
    Out("");
    if (!status.ok() || options_.syntax_only) return;
    LintIntervals(*config);
    for (const std::string& rule_file : rule_files) CheckRules(rule_file);
  }

  absl::Status CheckWhatIsNamed(const Config& config, std::vector<std::string>& rule_files) {
    for (const std::string& pattern : config.rule_files) {
      const std::vector<std::string> found = ExpandFilePatterns({pattern});
      // Who names a file means that it is there; a pattern may match nothing.
      if (found.empty() && pattern.find('*') == std::string::npos) {
        return absl::NotFoundError(
            fmt::format("{} does not point to an existing file", Quoted(pattern)));
      }
      rule_files.insert(rule_files.end(), found.begin(), found.end());
    }
    for (const ScrapeConfig& scrape : config.scrape_configs) {
      RETURN_IF_ERROR(CheckHttpClient(scrape.http_client));
      RETURN_IF_ERROR(CheckDiscovery(scrape.discovery, scrape));
    }
    for (const AlertmanagerConfig& alertmanager : config.alerting.alertmanagers) {
      RETURN_IF_ERROR(CheckHttpClient(alertmanager.http_client));
      ScrapeConfig as_scrape;
      as_scrape.job_name = "alertmanager";
      as_scrape.relabel_rules = alertmanager.relabel_rules;
      RETURN_IF_ERROR(CheckDiscovery(alertmanager.discovery, as_scrape));
    }
    return absl::OkStatus();
  }

  absl::Status CheckDiscovery(const DiscoveryConfigs& discovery, const ScrapeConfig& scrape) {
    for (const KubernetesSdConfig& kubernetes : discovery.kubernetes_sd_configs) {
      RETURN_IF_ERROR(CheckHttpClient(kubernetes.http_client));
    }
    for (const FileSdConfig& file : discovery.file_sd_configs) {
      for (const std::string& pattern : file.files) {
        RETURN_IF_ERROR(CheckTargetFiles(pattern, scrape));
      }
    }
    std::vector<TargetGroup> groups;
    for (const StaticConfig& config : discovery.static_configs) {
      groups.push_back(StaticGroup(config, std::to_string(groups.size())));
    }
    return CheckGroups(groups, scrape);
  }

  absl::Status CheckTargetFiles(const std::string& pattern, const ScrapeConfig& scrape) {
    const std::vector<std::string> paths = ExpandFilePatterns({pattern});
    if (paths.empty()) {
      Out(fmt::format("  WARNING: file {} for file_sd in scrape job {} does not exist",
                      Quoted(pattern), Quoted(scrape.job_name)));
    }
    for (const std::string& path : paths) {
      absl::StatusOr<std::vector<TargetGroup>> groups = ReadTargetFile(path);
      const absl::Status status = groups.ok() ? CheckGroups(*groups, scrape) : groups.status();
      if (status.ok()) continue;
      return absl::InvalidArgumentError(
          fmt::format("checking SD file {}: {}", Quoted(pattern), MessageOf(status)));
    }
    return absl::OkStatus();
  }

  void LintIntervals(const Config& config) {
    if (!options_.lint_long_intervals) return;
    for (const ScrapeConfig& scrape : config.scrape_configs) {
      if (scrape.scrape_interval < options_.lookback_delta) continue;
      failed_ = true;
      Err(fmt::format(
          "  FAILED: too long scrape interval found, data point will be marked as stale "
          "- job: {}, interval: {}",
          scrape.job_name, FormatDuration(scrape.scrape_interval)));
    }
  }

  void CheckRules(const std::string& path) {
    Out(fmt::format("Checking {}", path));
    const absl::StatusOr<std::vector<RuleGroupSpec>> groups = LoadRuleFile(path, options_.parser);
    if (!groups.ok()) {
      Err("  FAILED:");
      Err(fmt::format("     {}", MessageOf(groups.status())));
      failed_ = has_errors_ = true;
      Out("");
      return;
    }
    size_t rules = 0;
    for (const RuleGroupSpec& group : *groups) rules += group.rules.size();
    if (options_.lint_duplicate_rules && LintDuplicates(*groups)) {
      failed_ = true;
    } else {
      Out(fmt::format("  SUCCESS: {} rules found", rules));
    }
    Out("");
  }

  // Rules that give the same series. Returns whether there are any.
  bool LintDuplicates(const std::vector<RuleGroupSpec>& groups) {
    using Key = std::pair<std::string, std::map<std::string, std::string>>;
    std::set<Key> seen;
    std::set<Key> twice;
    for (const RuleGroupSpec& group : groups) {
      for (const RuleSpec& rule : group.rules) {
        Key key(rule.record.empty() ? rule.alert : rule.record, rule.labels);
        if (!seen.insert(key).second) twice.insert(std::move(key));
      }
    }
    if (twice.empty()) return false;
    std::string text = fmt::format("{} duplicate rule(s) found.\n", twice.size());
    for (const auto& [metric, labels] : twice) {
      text += fmt::format("Metric: {}\nLabel(s):\n", metric);
      for (const auto& [name, value] : labels) text += fmt::format("\t{}: {}\n", name, value);
    }
    Err("  FAILED:");
    Err(fmt::format("     lint error {}Might cause inconsistency while recording expressions",
                    text));
    return true;
  }

  const ConfigCheckOptions& options_;
  CheckResult result_;
  bool failed_ = false;      // Something is wrong or not as it should be.
  bool has_errors_ = false;  // Something is wrong.
};

}  // namespace

CheckResult CheckConfigFiles(const std::vector<std::string>& files,
                             const ConfigCheckOptions& options) {
  return ConfigChecker(options).Check(files);
}

}  // namespace varve
