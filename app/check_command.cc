// SPDX-License-Identifier: Apache-2.0
//
// Arguments in, a check's result out.
#include "app/check_command.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <string_view>

#include "app/check_config.h"
#include "app/check_discovery.h"
#include "app/check_metrics.h"
#include "app/features.h"
#include "app/web_config.h"
#include "model/status_macros.h"

namespace varve {
namespace {

constexpr size_t kMetricsBytesMax = 256 << 20;

constexpr char kCheckUsage[] =
    "usage: varve check COMMAND\n"
    "\n"
    "  config [FLAGS] FILE...             configuration files, and what they name\n"
    "  web-config FILE...                 files for --web.config.file\n"
    "  service-discovery [FLAGS] FILE JOB what a job's discovery finds, and relabelling makes of "
    "it\n"
    "  metrics                            lint of the exposition text on standard input\n"
    "\n"
    "flags of config:\n"
    "  --syntax-only                      without looking at the files that are named\n"
    "  --lint=duplicate-rules             all, duplicate-rules, too-long-scrape-interval or none\n"
    "  --lint-fatal                       what lint finds is exit code 3\n"
    "  --query.lookback-delta=5m          for too-long-scrape-interval\n"
    "  --enable-feature=                  as the server's, for rules\n"
    "flags of service-discovery:\n"
    "  --timeout=30s                      how long to wait for results\n"
    "flags of both:\n"
    "  --agent                            the file is for agent mode\n"
    "\n"
    "exit codes: 0, 1 what was checked is wrong, 3 lint found something\n";

CheckResult UsageError(std::string_view text) {
  return {.code = kCheckFailed, .err = fmt::format("varve check: error: {}, try --help\n", text)};
}

// What stands on the command line: `--name`, `--name=value` and others.
struct Arguments {
  std::map<std::string, std::string> flags;
  std::vector<std::string> others;
  std::string error;

  bool Has(const std::string& name) const { return flags.contains(name); }
  std::string Get(const std::string& name, std::string fallback) const {
    const auto found = flags.find(name);
    return found == flags.end() ? fallback : found->second;
  }
};

// `switches` take no value, `options` take one, behind `=` or as the next argument.
Arguments ParseArguments(const std::vector<std::string>& arguments,
                         const std::vector<std::string_view>& switches,
                         const std::vector<std::string_view>& options) {
  const auto among = [](const std::vector<std::string_view>& names, std::string_view name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  Arguments parsed;
  for (size_t i = 1; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (!argument.starts_with("--")) {
      parsed.others.push_back(argument);
      continue;
    }
    const size_t equals = argument.find('=');
    const std::string name = argument.substr(2, equals == std::string::npos ? equals : equals - 2);
    if (among(switches, name) && equals == std::string::npos) {
      parsed.flags[name] = "true";
    } else if (among(options, name) && equals != std::string::npos) {
      parsed.flags[name] = argument.substr(equals + 1);
    } else if (among(options, name) && i + 1 < arguments.size()) {
      parsed.flags[name] = arguments[++i];
    } else if (parsed.error.empty()) {
      parsed.error = among(options, name) ? fmt::format("expected argument for flag '--{}'", name)
                                          : fmt::format("unknown long flag '--{}'", name);
    }
  }
  return parsed;
}

// An error for the first of `files` that is not there.
std::string MissingFile(const std::vector<std::string>& files) {
  for (const std::string& file : files) {
    if (access(file.c_str(), F_OK) != 0) return fmt::format("path '{}' does not exist", file);
  }
  return "";
}

CheckResult CheckConfig(const std::vector<std::string>& arguments) {
  Arguments parsed = ParseArguments(arguments, {"syntax-only", "lint-fatal", "agent"},
                                    {"lint", "query.lookback-delta", "enable-feature"});
  if (parsed.error.empty() && parsed.others.empty()) {
    parsed.error = "required argument 'config-files' not provided";
  }
  if (parsed.error.empty()) parsed.error = MissingFile(parsed.others);
  ConfigCheckOptions options;
  const std::string lint = parsed.Get("lint", "duplicate-rules");
  options.lint_duplicate_rules = lint == "all" || lint == "duplicate-rules";
  options.lint_long_intervals = lint == "all" || lint == "too-long-scrape-interval";
  if (parsed.error.empty() && !options.lint_duplicate_rules && !options.lint_long_intervals &&
      lint != "none") {
    parsed.error = fmt::format("unknown lint option '{}'", lint);
  }
  const auto lookback = ParseDuration(parsed.Get("query.lookback-delta", "5m"));
  if (parsed.error.empty() && !lookback.ok()) parsed.error = MessageOf(lookback.status());
  if (!parsed.error.empty()) return UsageError(parsed.error);
  options.lookback_delta = *lookback;
  options.agent_mode = parsed.Has("agent");
  options.syntax_only = parsed.Has("syntax-only");
  options.lint_fatal = parsed.Has("lint-fatal");
  Flags flags;
  std::string features = parsed.Get("enable-feature", "");
  for (size_t comma = 0; !features.empty(); features.erase(0, comma + 1)) {
    comma = std::min(features.find(','), features.size());
    flags.features.push_back(features.substr(0, comma));
    if (comma == features.size()) break;
  }
  options.parser = ParserOptionsOf(flags);
  return CheckConfigFiles(parsed.others, options);
}

CheckResult CheckWebConfig(const std::vector<std::string>& arguments) {
  Arguments parsed = ParseArguments(arguments, {}, {});
  if (parsed.error.empty() && parsed.others.empty()) {
    parsed.error = "required argument 'web-config-files' not provided";
  }
  if (parsed.error.empty()) parsed.error = MissingFile(parsed.others);
  if (!parsed.error.empty()) return UsageError(parsed.error);
  CheckResult result;
  for (const std::string& file : parsed.others) {
    const absl::StatusOr<WebConfig> config = LoadWebConfig(file);
    if (config.ok()) {
      result.err += fmt::format("{} SUCCESS\n", file);
    } else {
      result.err += fmt::format("{} FAILED: {}\n", file, MessageOf(config.status()));
      result.code = kCheckFailed;
    }
  }
  return result;
}

CheckResult CheckServiceDiscovery(const std::vector<std::string>& arguments) {
  Arguments parsed = ParseArguments(arguments, {"agent"}, {"timeout"});
  if (parsed.error.empty() && parsed.others.size() != 2) {
    parsed.error = parsed.others.empty()      ? "required argument 'config-file' not provided"
                   : parsed.others.size() < 2 ? "required argument 'job' not provided"
                                              : "unexpected argument";
  }
  if (parsed.error.empty()) parsed.error = MissingFile({parsed.others[0]});
  const auto timeout = ParseDuration(parsed.Get("timeout", "30s"));
  if (parsed.error.empty() && !timeout.ok()) parsed.error = MessageOf(timeout.status());
  if (!parsed.error.empty()) return UsageError(parsed.error);
  return CheckDiscovery(parsed.others[0], parsed.others[1], *timeout, parsed.Has("agent"));
}

CheckResult CheckMetricsOf(std::FILE* input) {
  std::string text;
  char buffer[1 << 16];
  while (const size_t bytes = std::fread(buffer, 1, sizeof buffer, input)) {
    text.append(buffer, bytes);
    if (text.size() > kMetricsBytesMax) {
      return UsageError(fmt::format("more than {} bytes of metrics", kMetricsBytesMax));
    }
  }
  return CheckMetrics(text);
}

}  // namespace

CheckResult RunCheckCommand(const std::vector<std::string>& arguments, std::FILE* input) {
  const std::string command = arguments.empty() ? "" : arguments[0];
  const bool help =
      std::find(arguments.begin(), arguments.end(), "--help") != arguments.end() || command == "-h";
  if (help) return {.out = kCheckUsage};
  if (command == "config") return CheckConfig(arguments);
  if (command == "web-config") return CheckWebConfig(arguments);
  if (command == "service-discovery") return CheckServiceDiscovery(arguments);
  if (command == "metrics" && arguments.size() == 1) return CheckMetricsOf(input);
  return {.code = kCheckFailed, .err = kCheckUsage};
}

}  // namespace varve
