// SPDX-License-Identifier: Apache-2.0
//
// The command line: Prometheus' flag names, defaults and texts, so that a start script needs no
// change. Flags that only tune a part of Prometheus that Varve does not have are accepted, and
// named in a warning at start.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "model/time.h"

namespace varve {

inline constexpr char kVersion[] = "0.1.0";
// The Prometheus release whose API and language this binary answers with; clients test for it.
inline constexpr char kPrometheusVersion[] = "3.14.0";

// Durations are parsed and checked; the others are as given.
struct Flags {
  std::string config_file = "prometheus.yml";
  bool config_file_given = false;
  bool config_auto_reload = false;
  DurationMs config_auto_reload_interval = 30 * kSecond;

  std::vector<std::string> web_listen_addresses;  // Never empty.
  std::string web_external_url;
  std::string web_route_prefix;
  DurationMs web_read_timeout = 5 * kMinute;
  uint64_t web_max_connections = 512;
  bool web_enable_lifecycle = false;
  bool web_enable_admin_api = false;
  bool web_enable_remote_write_receiver = false;
  bool web_enable_otlp_receiver = false;
  std::string web_page_title;
  std::string web_cors_origin;

  std::string storage_path;
  DurationMs storage_retention_time = 0;         // 0 = not given.
  uint64_t storage_retention_bytes = 0;          // 0 = not given.
  std::optional<uint64_t> storage_memory_limit;  // 0 = none.

  DurationMs query_lookback_delta = 5 * kMinute;
  DurationMs query_timeout = 2 * kMinute;
  uint64_t query_max_concurrency = 20;
  uint64_t query_max_samples = 50'000'000;
  std::optional<uint64_t> query_max_memory;  // 0 = none.
  DurationMs query_log_slower_than = 0;      // 0 = never.
  uint64_t rules_max_concurrent_evals = 4;
  bool scrape_adjust_timestamps = true;
  DurationMs scrape_timestamp_tolerance = 2;
  DurationMs scrape_discovery_reload_interval = 5 * kSecond;

  std::vector<std::string> features;  // Of --enable-feature, split at commas.
  std::string log_level = "info";
  std::string log_format = "logfmt";

  // Every flag and the value it has, for /api/v1/status/flags.
  std::map<std::string, std::string> values;
  // Flags that were given and do nothing here.
  std::vector<std::string> without_effect;

  bool HasFeature(const std::string& name) const;
};

struct FlagsResult {
  bool exit = false;  // Print `text` and leave with `exit_code`: help, version or an error.
  int exit_code = 0;
  std::string text;
  Flags flags;
};

// Never throws. A bad flag gives exit code 2 and names the flag.
FlagsResult ParseFlags(int argc, const char* const* argv);

}  // namespace varve
