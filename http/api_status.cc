// SPDX-License-Identifier: Apache-2.0
//
// /status/*, /notifications and /version.
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <thread>

#include "http/api_context.h"

namespace varve {
namespace {

constexpr size_t kTsdbLimit = 10;
constexpr size_t kTsdbLimitMax = 10'000;

void Config(const ApiContext& context, const HttpRequest&, HttpResponse& response) {
  AnswerData(response, [&](JsonWriter& json) {
    json.BeginObject();
    json.Member("yaml",
                context.backends.config_yaml ? context.backends.config_yaml() : std::string());
    json.EndObject();
  });
}

void Flags(const ApiContext& context, const HttpRequest&, HttpResponse& response) {
  AnswerData(response, [&](JsonWriter& json) {
    json.BeginObject();
    for (const auto& [name, value] : context.options.flags) {
      json.TextKey(name);
      json.String(value);
    }
    json.EndObject();
  });
}

void WriteBuildInfo(JsonWriter& json, const BuildInfo& build) {
  json.BeginObject();
  json.Member("version", build.version);
  json.Member("revision", build.revision);
  json.Member("branch", build.branch);
  json.Member("buildUser", build.build_user);
  json.Member("buildDate", build.build_date);
  json.Member("goVersion", build.go_version);
  json.EndObject();
}

void BuildInfoStatus(const ApiContext& context, const HttpRequest&, HttpResponse& response) {
  AnswerData(response, [&](JsonWriter& json) { WriteBuildInfo(json, context.options.build); });
}

// Outside the API there is no envelope, and the type is what Go guesses.
void Version(const ApiContext& context, const HttpRequest&, HttpResponse& response) {
  JsonWriter json;
  WriteBuildInfo(json, context.options.build);
  response.content_type = "text/plain; charset=utf-8";
  response.body = json.Take();
}

std::string Hostname() {
  char name[256] = {};
  return gethostname(name, sizeof(name) - 1) == 0 ? name : "";
}

std::string WorkingDirectory() {
  std::error_code error;
  const std::filesystem::path path = std::filesystem::current_path(error);
  return error ? "" : path.string();
}

uint64_t ThreadCount() {
  uint64_t count = 0;
  std::error_code error;
  for (auto it = std::filesystem::directory_iterator("/proc/self/task", error);
       !error && it != std::filesystem::directory_iterator(); it.increment(error)) {
    ++count;
  }
  return count;
}

void Runtime(const ApiContext& context, const HttpRequest&, HttpResponse& response) {
  RuntimeInfo info;
  if (context.backends.runtime_info) info = context.backends.runtime_info();
  uint64_t corruptions = 0;
  if (context.backends.admin != nullptr) {
    corruptions = context.backends.admin->Counters().corruptions;
  }
  AnswerData(response, [&](JsonWriter& json) {
    json.BeginObject();
    json.Key("startTime");
    json.Time(info.start_time);
    json.Member("CWD", WorkingDirectory());
    json.Member("hostname", Hostname());
    json.Key("serverTime");
    json.Time(context.options.clock->Now());
    json.Member("reloadConfigSuccess", info.reload_config_success);
    json.Key("lastConfigTime");
    json.Time(info.last_config_time);
    json.Member("corruptionCount", corruptions);
    // Go's names for what we have: threads and cores; there is no collector to tune.
    json.Member("goroutineCount", ThreadCount());
    json.Member("GOMAXPROCS", static_cast<uint64_t>(std::thread::hardware_concurrency()));
    json.Member("GOMEMLIMIT", uint64_t{0});
    json.Member("GOGC", "");
    json.Member("GODEBUG", "");
    json.Member("storageRetention", info.storage_retention);
    json.EndObject();
  });
}

void WriteCounts(JsonWriter& json, std::string_view key, const std::vector<NamedCount>& counts) {
  json.Key(key);
  json.BeginArray();
  for (const NamedCount& count : counts) {
    json.BeginObject();
    json.Member("name", count.name);
    json.Member("value", count.value);
    json.EndObject();
  }
  json.EndArray();
}

void Tsdb(const ApiContext& context, const HttpRequest& request, HttpResponse& response) {
  size_t limit = kTsdbLimit;
  const std::string_view text = request.params.Get("limit");
  if (!text.empty()) {
    const auto wanted = ParseInteger(text);
    if (!wanted.ok() || *wanted < 1) {
      return AnswerBadData("limit must be a positive number", response);
    }
    if (static_cast<uint64_t>(*wanted) > kTsdbLimitMax) {
      return AnswerBadData("limit must not exceed 10000", response);
    }
    limit = static_cast<size_t>(*wanted);
  }
  CardinalityStats stats;
  if (context.backends.admin != nullptr) stats = context.backends.admin->Cardinality(limit);
  AnswerData(response, [&](JsonWriter& json) {
    json.BeginObject();
    json.Key("headStats");
    json.BeginObject();
    json.Member("numSeries", stats.head.series);
    json.Member("numLabelPairs", stats.head.label_pairs);
    json.Member("chunkCount", stats.head.chunks);
    json.Member("minTime", stats.head.min_time);
    json.Member("maxTime", stats.head.max_time);
    json.EndObject();
    WriteCounts(json, "seriesCountByMetricName", stats.series_by_metric);
    WriteCounts(json, "labelValueCountByLabelName", stats.values_by_label);
    WriteCounts(json, "memoryInBytesByLabelName", stats.bytes_by_label);
    WriteCounts(json, "seriesCountByLabelValuePair", stats.series_by_pair);
    json.EndObject();
  });
}

// Replay is over before the first request can be asked for anything else: nothing is left of it.
void WalReplay(const ApiContext&, const HttpRequest&, HttpResponse& response) {
  AnswerData(response, [](JsonWriter& json) {
    json.BeginObject();
    json.Member("min", int64_t{0});
    json.Member("max", int64_t{0});
    json.Member("current", int64_t{0});
    json.EndObject();
  });
}

void Notifications(const ApiContext& context, const HttpRequest&, HttpResponse& response) {
  RuntimeInfo info;
  if (context.backends.runtime_info) info = context.backends.runtime_info();
  AnswerData(response, [&](JsonWriter& json) {
    json.BeginArray();
    if (!info.reload_config_success) {
      json.BeginObject();
      json.Member("text", "Configuration reload has failed.");
      json.Key("date");
      json.Time(info.last_config_time);
      json.Member("active", true);
      json.EndObject();
    }
    json.EndArray();
  });
}

}  // namespace

void AddStatusRoutes(ApiContext& context, Router& router) {
  const auto add = [&](std::string_view path, bool gated, auto handler) {
    router.Add("GET", path,
               [&context, handler](const HttpRequest& request, HttpResponse& response) {
                 handler(context, request, response);
               },
               {.gated = gated});
  };
  add("/api/v1/status/config", true, Config);
  add("/api/v1/status/flags", true, Flags);
  add("/api/v1/status/buildinfo", true, BuildInfoStatus);
  add("/api/v1/status/runtimeinfo", true, Runtime);
  add("/api/v1/status/tsdb", true, Tsdb);
  add("/api/v1/status/walreplay", false, WalReplay);
  add("/api/v1/notifications", true, Notifications);
  add("/version", true, Version);
}

}  // namespace varve
