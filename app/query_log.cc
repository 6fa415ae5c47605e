// SPDX-License-Identifier: Apache-2.0
//
// Lines of the query log.
#include "app/query_log.h"

#include <fmt/format.h>
#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <spdlog/spdlog.h>

#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include "http/json_writer.h"
#include "http/query_stats.h"
#include "model/log_line.h"
#include "model/status_macros.h"

namespace varve {
namespace {

// Three digits of fraction always, as Prometheus writes times here.
std::string LogTime(TimestampMs time) {
  const std::string text = FormatRfc3339(time);  // The fraction only as far as there is one.
  const size_t end = text.find_first_of(".Z");
  std::string fraction = text.substr(end, text.size() - end - 1);
  if (fraction.empty()) fraction = ".";
  fraction.resize(4, '0');
  return text.substr(0, end) + fraction + "Z";
}

void WriteOrigin(JsonWriter& json, const promql::QueryOrigin& origin) {
  if (!origin.method.empty()) {
    json.Key("httpRequest");
    json.BeginObject();
    json.Key("clientIP");
    json.LabelString(origin.client_ip);
    json.Member("method", origin.method);
    json.Key("path");
    json.LabelString(origin.path);
    json.EndObject();
  }
  if (!origin.rule_group.empty()) {
    json.Key("ruleGroup");
    json.BeginObject();
    json.Key("file");
    json.LabelString(origin.rule_file);
    json.Key("name");
    json.LabelString(origin.rule_group);
    json.EndObject();
  }
}

std::string Line(const promql::FinishedQuery& query, TimestampMs now) {
  JsonWriter json;
  json.BeginObject();
  json.Member("time", LogTime(now));
  json.Member("level", "INFO");
  json.Member("msg", "promql query logged");
  json.Key("params");
  json.BeginObject();
  json.Member("end", LogTime(query.end));
  json.Key("query");
  json.LabelString(query.query);
  json.Member("start", LogTime(query.start));
  json.Member("step", query.step / kSecond);
  json.EndObject();
  if (!query.status.ok()) {
    json.Key("error");
    json.LabelString(MessageOf(query.status));
  }
  json.Key("stats");
  WriteQueryStats(json, query.stats);
  WriteOrigin(json, query.origin);
  json.Member("ts", LogTime(now));
  json.EndObject();
  return json.Take() + "\n";
}

}  // namespace

QueryLog::QueryLog(DurationMs slower_than, Clock& clock, prometheus::Registry* registry)
    : slower_than_(slower_than), clock_(clock) {
  if (registry == nullptr) return;
  enabled_ = &prometheus::BuildGauge()
                  .Name("prometheus_engine_query_log_enabled")
                  .Help("State of the query log.")
                  .Register(*registry)
                  .Add({});
  failures_ = &prometheus::BuildCounter()
                   .Name("prometheus_engine_query_log_failures_total")
                   .Help("The number of query log failures.")
                   .Register(*registry)
                   .Add({});
}

absl::Status QueryLog::SetFile(const std::string& path) {
  std::unique_ptr<std::FILE, CloseFile> file;
  if (!path.empty()) {
    file.reset(std::fopen(path.c_str(), "ae"));
    if (file == nullptr) {
      return absl::UnavailableError(
          fmt::format("opening the query log \"{}\": {}", path, std::strerror(errno)));
    }
  }
  if (enabled_ != nullptr) enabled_->Set(file != nullptr ? 1 : 0);
  MutexLock lock(mutex_);
  file_.swap(file);
  return absl::OkStatus();
}

void QueryLog::QueryFinished(const promql::FinishedQuery& query) {
  if (slower_than_ > 0 && query.stats.exec_total_time * 1000 >= static_cast<double>(slower_than_)) {
    spdlog::warn(
        LogLine("Slow query", {{"query", std::string(query.query)},
                               {"seconds", fmt::format("{:.3f}", query.stats.exec_total_time)},
                               {"start", LogTime(query.start)},
                               {"end", LogTime(query.end)},
                               {"step_ms", std::to_string(query.step)},
                               {"samples", std::to_string(query.stats.total_queryable_samples)},
                               {"peak_memory_bytes", std::to_string(query.stats.peak_memory_bytes)},
                               {"client", query.origin.client_ip},
                               {"rule_group", query.origin.rule_group},
                               {"err", MessageOf(query.status)}}));
  }
  {
    MutexLock lock(mutex_);
    if (file_ == nullptr) return;
  }
  const std::string line = Line(query, clock_.Now());
  MutexLock lock(mutex_);
  if (file_ == nullptr) return;
  // One write a line: what reads along never sees half of one for long.
  const bool written = std::fwrite(line.data(), 1, line.size(), file_.get()) == line.size() &&
                       std::fflush(file_.get()) == 0;
  if (!written && failures_ != nullptr) failures_->Increment();
}

}  // namespace varve
