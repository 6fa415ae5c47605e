// SPDX-License-Identifier: Apache-2.0
//
// The command line on CLI11. One table row a flag; CLI11's exceptions end in this file.

#include "app/flags.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <functional>

#include "app/byte_size.h"
#include "model/status_macros.h"

namespace varve {
namespace {

enum class Kind { kText, kList, kBool, kDuration, kNumber, kBytes };

struct FlagRow {
  const char* name;
  Kind kind;
  const char* default_text;
  // Takes the flag's text; null if the flag has no effect here.
  std::function<std::string(Flags&, const std::string&)> set;
  const char* help;
};

using Setter = std::function<std::string(Flags&, const std::string&)>;

// Setters return an error's text, empty when fine.
Setter Text(std::string Flags::*field) {
  return [field](Flags& flags, const std::string& text) {
    flags.*field = text;
    return std::string();
  };
}

Setter Bool(bool Flags::*field) {
  return [field](Flags& flags, const std::string& text) {
    flags.*field = text == "true";
    return std::string();
  };
}

Setter Duration(DurationMs Flags::*field, DurationMs minimum = 0) {
  return [field, minimum](Flags& flags, const std::string& text) {
    const auto duration = ParseDuration(text);
    if (!duration.ok()) return MessageOf(duration.status());
    if (*duration < minimum) return fmt::format("must be at least {}", FormatDuration(minimum));
    flags.*field = *duration;
    return std::string();
  };
}

template <typename Number>
Setter Bytes(Number Flags::*field) {
  return [field](Flags& flags, const std::string& text) {
    const auto bytes = ParseByteSize(text);
    if (!bytes.ok()) return MessageOf(bytes.status());
    flags.*field = *bytes;
    return std::string();
  };
}

Setter Number(uint64_t Flags::*field, uint64_t minimum = 0) {
  return [field, minimum](Flags& flags, const std::string& text) {
    uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) {
      return fmt::format("expected a whole number, got \"{}\"", text);
    }
    if (value < minimum) return fmt::format("must be at least {}", minimum);
    flags.*field = value;
    return std::string();
  };
}

Setter Choice(std::string Flags::*field, std::vector<std::string> choices) {
  return [field, choices](Flags& flags, const std::string& text) {
    if (std::find(choices.begin(), choices.end(), text) == choices.end()) {
      return fmt::format("enum value must be one of {}, got '{}'", fmt::join(choices, ","), text);
    }
    flags.*field = text;
    return std::string();
  };
}

std::string NoError(Flags&, const std::string&) { return {}; }

std::string SplitFeatures(Flags& flags, const std::string& text) {
  for (const std::string& name : CLI::detail::split(text, ',')) {
    if (!name.empty()) flags.features.push_back(name);
  }
  return {};
}

std::string AddAddress(Flags& flags, const std::string& text) {
  flags.web_listen_addresses.push_back(text);
  return {};
}

// Every flag of Prometheus, in the order of its help.
const std::vector<FlagRow>& Rows() {
  static const std::vector<FlagRow> kRows = {
      {"config.file", Kind::kText, "prometheus.yml", Text(&Flags::config_file),
       "Configuration file. Without this flag and without that file, a built-in configuration "
       "scrapes this server, a node exporter on :9100 and, in a cluster, the annotated pods."},
      {"config.auto-reload", Kind::kBool, "false", Bool(&Flags::config_auto_reload),
       "Reload the configuration when its files change."},
      {"config.auto-reload-interval", Kind::kDuration, "30s",
       Duration(&Flags::config_auto_reload_interval, kSecond),
       "How often to look for changed configuration files."},
      {"web.listen-address", Kind::kList, "0.0.0.0:9090", AddAddress,
       "Address to listen on for the API, the console and telemetry. Repeatable."},
      {"web.config.file", Kind::kText, "", nullptr, "TLS and authentication of the web server."},
      {"web.read-timeout", Kind::kDuration, "5m", Duration(&Flags::web_read_timeout, 1),
       "How long a request may take to arrive, and an idle connection may stay."},
      {"web.max-connections", Kind::kNumber, "512", Number(&Flags::web_max_connections, 1),
       "Connections served at the same time."},
      {"web.max-notifications-subscribers", Kind::kNumber, "16", nullptr,
       "Subscribers of live notifications."},
      {"web.external-url", Kind::kText, "", Text(&Flags::web_external_url),
       "URL under which this server is reachable from outside, for links back to it."},
      {"web.route-prefix", Kind::kText, "", Text(&Flags::web_route_prefix),
       "Prefix of all routes. Default: the path of --web.external-url."},
      {"web.user-assets", Kind::kText, "", nullptr, "Directory of static files under /user."},
      {"web.enable-lifecycle", Kind::kBool, "false", Bool(&Flags::web_enable_lifecycle),
       "Allow reload and shutdown over HTTP."},
      {"web.enable-admin-api", Kind::kBool, "false", Bool(&Flags::web_enable_admin_api),
       "Allow administrative actions over HTTP."},
      {"web.enable-remote-write-receiver", Kind::kBool, "false",
       Bool(&Flags::web_enable_remote_write_receiver), "Accept remote writes at /api/v1/write."},
      {"web.remote-write-receiver.accepted-protobuf-messages", Kind::kList,
       "prometheus.WriteRequest,io.prometheus.write.v2.Request", nullptr,
       "Remote-write messages to accept."},
      {"web.enable-otlp-receiver", Kind::kBool, "false", Bool(&Flags::web_enable_otlp_receiver),
       "Accept OTLP metrics at /api/v1/otlp/v1/metrics."},
      {"web.console.templates", Kind::kText, "consoles", nullptr, "Console templates."},
      {"web.console.libraries", Kind::kText, "console_libraries", nullptr, "Console libraries."},
      {"web.page-title", Kind::kText, "Prometheus Time Series Collection and Processing Server",
       Text(&Flags::web_page_title), "Title of the console."},
      {"web.cors.origin", Kind::kText, ".*", Text(&Flags::web_cors_origin),
       "Regular expression of the origins that may ask, fully anchored."},
      {"web.search.max-limit", Kind::kNumber, "10000", nullptr, "Most results of a search."},
      {"storage.tsdb.path", Kind::kText, "data/", Text(&Flags::storage_path),
       "Directory of the data."},
      {"storage.tsdb.retention.time", Kind::kDuration, "",
       Duration(&Flags::storage_retention_time, 1), "How long to keep samples. Default: 15d."},
      {"storage.tsdb.retention.size", Kind::kBytes, "", Bytes(&Flags::storage_retention_bytes),
       "Bytes of data to keep at most, the log included; the oldest go first."},
      {"storage.memory-limit", Kind::kBytes, "", Bytes(&Flags::storage_memory_limit),
       "Memory to get by with; past it caches shrink, then queries are refused, then new series. 0 "
       "= no limit. Default: three quarters of the control group's limit or of the machine's "
       "memory."},
      {"storage.tsdb.no-lockfile", Kind::kBool, "false", nullptr, "Do not lock the directory."},
      {"storage.tsdb.head-chunks-write-queue-size", Kind::kNumber, "0", nullptr, ""},
      {"storage.tsdb.delay-compact-file.path", Kind::kText, "", nullptr, ""},
      {"storage.tsdb.min-block-duration", Kind::kDuration, "2h", nullptr, ""},
      {"storage.tsdb.max-block-duration", Kind::kDuration, "", nullptr, ""},
      {"storage.tsdb.max-block-chunk-segment-size", Kind::kBytes, "512MB", nullptr, ""},
      {"storage.tsdb.wal-segment-size", Kind::kBytes, "128MB", nullptr, ""},
      {"storage.tsdb.allow-overlapping-compaction", Kind::kBool, "true", nullptr, ""},
      {"storage.tsdb.wal-compression", Kind::kBool, "true", nullptr, ""},
      {"storage.tsdb.wal-compression-type", Kind::kText, "snappy", nullptr, ""},
      {"storage.tsdb.samples-per-chunk", Kind::kNumber, "120", nullptr, ""},
      {"storage.tsdb.delayed-compaction.max-percent", Kind::kNumber, "10", nullptr, ""},
      {"storage.tsdb.block-reload-interval", Kind::kDuration, "1m", nullptr, ""},
      {"storage.agent.path", Kind::kText, "data-agent/", nullptr, ""},
      {"storage.agent.wal-compression", Kind::kBool, "true", nullptr, ""},
      {"storage.agent.retention.min-time", Kind::kDuration, "5m", nullptr, ""},
      {"storage.agent.retention.max-time", Kind::kDuration, "4h", nullptr, ""},
      {"storage.agent.no-lockfile", Kind::kBool, "false", nullptr, ""},
      {"storage.remote.flush-deadline", Kind::kDuration, "1m", nullptr, ""},
      {"storage.remote.read-sample-limit", Kind::kNumber, "50000000", nullptr, ""},
      {"storage.remote.read-concurrent-limit", Kind::kNumber, "10", nullptr, ""},
      {"storage.remote.read-max-bytes-in-frame", Kind::kNumber, "1048576", nullptr, ""},
      {"scrape.adjust-timestamps", Kind::kBool, "true", Bool(&Flags::scrape_adjust_timestamps),
       "Snap the times of scrapes to their schedule."},
      {"scrape.timestamp-tolerance", Kind::kDuration, "2ms",
       Duration(&Flags::scrape_timestamp_tolerance), "How far times are snapped at most."},
      {"scrape.discovery-reload-interval", Kind::kDuration, "5s",
       Duration(&Flags::scrape_discovery_reload_interval, 1),
       "How often discovered targets reach the scraper."},
      {"rules.alert.for-outage-tolerance", Kind::kDuration, "1h", nullptr, ""},
      {"rules.alert.for-grace-period", Kind::kDuration, "10m", nullptr, ""},
      {"rules.alert.resend-delay", Kind::kDuration, "1m", nullptr, ""},
      {"rules.max-concurrent-evals", Kind::kNumber, "4",
       Number(&Flags::rules_max_concurrent_evals, 1), "Rule groups evaluated at the same time."},
      {"alertmanager.notification-queue-capacity", Kind::kNumber, "10000", nullptr, ""},
      {"alertmanager.notification-batch-size", Kind::kNumber, "256", nullptr, ""},
      {"alertmanager.drain-notification-queue-on-shutdown", Kind::kBool, "true", nullptr, ""},
      {"query.lookback-delta", Kind::kDuration, "5m", Duration(&Flags::query_lookback_delta, 1),
       "How old the newest sample of a series may be for an instant selector."},
      {"query.timeout", Kind::kDuration, "2m", Duration(&Flags::query_timeout, 1),
       "How long a query may take."},
      {"query.max-concurrency", Kind::kNumber, "20", Number(&Flags::query_max_concurrency, 1),
       "Queries that run at the same time."},
      {"query.max-samples", Kind::kNumber, "50000000", Number(&Flags::query_max_samples, 1),
       "Samples one query may hold in memory."},
      {"query.max-memory", Kind::kBytes, "", Bytes(&Flags::query_max_memory),
       "Memory one query may hold. 0 = no limit. Default: a quarter of --storage.memory-limit."},
      {"query.log-slower-than", Kind::kDuration, "0s", Duration(&Flags::query_log_slower_than),
       "Name queries that take at least this long in the log. 0 = none."},
      {"auto-gomaxprocs", Kind::kBool, "true", nullptr, ""},
      {"auto-gomemlimit", Kind::kBool, "true", nullptr, ""},
      {"auto-gomemlimit.ratio", Kind::kText, "0.9", nullptr, ""},
      {"auto-gomemlimit.refresh-interval", Kind::kDuration, "0s", nullptr, ""},
      {"enable-feature", Kind::kList, "", SplitFeatures,
       "Features to enable, separated by commas. Repeatable."},
      {"agent", Kind::kBool, "false", NoError, "Run in agent mode (not available)."},
      {"log.level", Kind::kText, "info",
       Choice(&Flags::log_level, {"debug", "info", "warn", "error"}),
       "Least severity to log: debug, info, warn or error."},
      {"log.format", Kind::kText, "logfmt", Choice(&Flags::log_format, {"logfmt", "json"}),
       "Format of log lines: logfmt or json."},
  };
  return kRows;
}

std::string HelpOf(const FlagRow& row) {
  if (row.set == nullptr && *row.help == '\0') return "Accepted for compatibility.";
  if (row.set == nullptr) return std::string(row.help) + " Accepted for compatibility.";
  return row.help;
}

FlagsResult Exit(int code, std::string text) {
  return {.exit = true, .exit_code = code, .text = std::move(text), .flags = {}};
}

FlagsResult Error(std::string_view text) {
  return Exit(2, fmt::format("Error parsing command line arguments: {}\n", text));
}

// What the command line gave each flag, by row.
struct Given {
  std::vector<std::string> texts;
  bool on = true;
};

void AddRow(CLI::App& app, const FlagRow& row, Given& given) {
  const std::string name = fmt::format("--{}", row.name);
  const std::string help = HelpOf(row);
  if (row.kind == Kind::kBool) {
    app.add_flag_function(
           fmt::format("{0},!--no-{1}", name, row.name),
           [&given](int64_t count) {
             given.on = count > 0;
             given.texts = {given.on ? "true" : "false"};
           },
           help)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    return;
  }
  CLI::Option* option =
      app.add_option(name, given.texts, help)->expected(1)->allow_extra_args(false);
  option->multi_option_policy(row.kind == Kind::kList ? CLI::MultiOptionPolicy::TakeAll
                                                      : CLI::MultiOptionPolicy::TakeLast);
  if (*row.default_text != '\0') option->default_str(row.default_text);
}

// Applies what was given, or the default; returns an error's text.
std::string SetRow(const FlagRow& row, const Given& given, Flags& flags) {
  std::vector<std::string> texts = given.texts;
  if (texts.empty() && *row.default_text != '\0') texts = {row.default_text};
  if (row.kind == Kind::kDuration && row.set == nullptr) {
    for (const std::string& text : texts) {
      if (const auto duration = ParseDuration(text); !duration.ok()) {
        return fmt::format("invalid value for --{}: {}", row.name, MessageOf(duration.status()));
      }
    }
  }
  flags.values[row.name] = fmt::format("{}", fmt::join(texts, ","));
  if (row.set == nullptr) {
    if (!given.texts.empty()) flags.without_effect.emplace_back(row.name);
    return {};
  }
  for (const std::string& text : texts) {
    if (const std::string error = row.set(flags, text); !error.empty()) {
      return fmt::format("invalid value for --{}: {}", row.name, error);
    }
  }
  return {};
}

}  // namespace

bool Flags::HasFeature(const std::string& name) const {
  return std::find(features.begin(), features.end(), name) != features.end();
}

FlagsResult ParseFlags(int argc, const char* const* argv) {
  CLI::App app("Varve, a monitoring server: Prometheus' API, configuration and query language.",
               "varve");
  app.set_version_flag("--version", fmt::format("varve, version {} (compatible with Prometheus {})",
                                                kVersion, kPrometheusVersion));
  const std::vector<FlagRow>& rows = Rows();
  std::vector<Given> given(rows.size());
  for (size_t i = 0; i < rows.size(); ++i) AddRow(app, rows[i], given[i]);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    return Exit(0, app.help());
  } catch (const CLI::CallForVersion& version) {
    return Exit(0, fmt::format("{}\n", version.what()));
  } catch (const CLI::ParseError& error) {
    return Error(error.what());
  }
  FlagsResult result;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (const std::string error = SetRow(rows[i], given[i], result.flags); !error.empty()) {
      return Error(error);
    }
    if (std::string_view(rows[i].name) == "config.file") {
      result.flags.config_file_given = !given[i].texts.empty();
    }
  }
  if (result.flags.HasFeature("auto-reload-config")) result.flags.config_auto_reload = true;
  if (result.flags.values["agent"] == "true") return Error("agent mode is not available");
  return result;
}

}  // namespace varve
