// SPDX-License-Identifier: Apache-2.0
//
// /targets, /targets/metadata, /metadata, /scrape_pools, /discoveries and /alertmanagers.
#include <fmt/format.h>

#include <map>

#include "http/api_context.h"
#include "model/status_macros.h"
#include "scrape/manager.h"

namespace varve {
namespace {

void WriteActive(JsonWriter& json, const ActiveTarget& target) {
  json.BeginObject();
  json.Key("discoveredLabels");
  json.LabelSet(target.discovered_labels);
  json.Key("labels");
  json.LabelSet(target.labels);
  json.Member("scrapePool", target.scrape_pool);
  json.Member("scrapeUrl", target.scrape_url);
  json.Member("globalUrl", target.global_url);
  json.Member("lastError", target.last_error);
  json.Key("lastScrape");
  json.Time(target.last_scrape);
  json.Member("lastScrapeDuration", target.last_scrape_duration_seconds);
  json.Member("health", TargetHealthText(target.health));
  json.Member("scrapeInterval", FormatDuration(target.interval));
  json.Member("scrapeTimeout", FormatDuration(target.timeout));
  json.EndObject();
}

void Targets(const ApiContext& context, const HttpRequest& request, HttpResponse& response) {
  std::string state(request.params.Get("state"));
  for (char& c : state) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  const bool any = state.empty() || state == "any";
  const bool show_active = any || state == "active";
  const bool show_dropped = any || state == "dropped";
  TargetsSnapshot snapshot;
  if (context.backends.scrape != nullptr) {
    snapshot = context.backends.scrape->Targets(request.params.Get("scrapePool"));
  }
  AnswerData(response, [&](JsonWriter& json) {
    json.BeginObject();
    json.Key("activeTargets");
    json.BeginArray();
    if (show_active) {
      for (const ActiveTarget& target : snapshot.active) WriteActive(json, target);
    }
    json.EndArray();
    json.Key("droppedTargets");
    json.BeginArray();
    if (show_dropped) {
      for (const DroppedTarget& target : snapshot.dropped) {
        json.BeginObject();
        json.Key("discoveredLabels");
        json.LabelSet(target.discovered_labels);
        json.Member("scrapePool", target.scrape_pool);
        json.EndObject();
      }
    }
    json.EndArray();
    json.Key("droppedTargetCounts");
    if (show_dropped) {
      json.BeginObject();
      for (const auto& [pool, count] : snapshot.dropped_counts) {
        json.TextKey(pool);
        json.Uint(count);
      }
      json.EndObject();
    } else {
      json.Null();
    }
    json.EndObject();
  });
}

// A limit of the metadata endpoints: -1 if absent, nothing if it is no number.
std::optional<int64_t> MetadataLimit(const HttpRequest& request, std::string_view name) {
  const std::string_view text = request.params.Get(name);
  if (text.empty()) return -1;
  const auto limit = ParseInteger(text);
  if (!limit.ok()) return std::nullopt;
  return *limit;
}

void WriteMetadata(JsonWriter& json, const MetricMetadata& metadata) {
  json.Member("type", MetricTypeText(metadata.type));
  json.Member("help", metadata.help);
  json.Member("unit", metadata.unit);
}

void Metadata(const ApiContext& context, const HttpRequest& request, HttpResponse& response) {
  const auto limit = MetadataLimit(request, "limit");
  if (!limit.has_value()) return AnswerBadData("limit must be a number", response);
  const auto per_metric = MetadataLimit(request, "limit_per_metric");
  if (!per_metric.has_value()) {
    return AnswerBadData("limit_per_metric must be a number", response);
  }
  std::map<std::string, std::vector<MetricMetadata>> found;
  if (context.backends.scrape != nullptr) {
    found = context.backends.scrape->Metadata(request.params.Get("metric"), *limit, *per_metric);
  }
  AnswerData(response, [&](JsonWriter& json) {
    json.BeginObject();
    for (const auto& [metric, entries] : found) {
      json.TextKey(metric);
      json.BeginArray();
      for (const MetricMetadata& entry : entries) {
        json.BeginObject();
        WriteMetadata(json, entry);
        json.EndObject();
      }
      json.EndArray();
    }
    json.EndObject();
  });
}

void TargetsMetadata(const ApiContext& context, const HttpRequest& request,
                     HttpResponse& response) {
  const auto limit = MetadataLimit(request, "limit");
  if (!limit.has_value()) return AnswerBadData("limit must be a number", response);
  std::vector<Matcher> matchers;
  const std::string_view selector = request.params.Get("match_target");
  if (!selector.empty()) {
    auto parsed = promql::ParseMetricSelector(selector);
    if (!parsed.ok()) {
      return AnswerInvalidParameter("match_target", MessageOf(parsed.status()), response);
    }
    matchers = std::move(*parsed);
  }
  const std::string_view metric = request.params.Get("metric");
  std::vector<TargetMetadata> found;
  if (context.backends.scrape != nullptr) {
    found = context.backends.scrape->MetadataByTarget(matchers, metric, *limit);
  }
  AnswerData(response, [&](JsonWriter& json) {
    json.BeginArray();
    for (const TargetMetadata& item : found) {
      json.BeginObject();
      json.Key("target");
      json.LabelSet(item.target);
      // A metric that was asked for is not repeated.
      if (metric.empty()) json.Member("metric", item.metric);
      WriteMetadata(json, item.metadata);
      json.EndObject();
    }
    json.EndArray();
  });
}

void ScrapePools(const ApiContext& context, const HttpRequest&, HttpResponse& response) {
  std::vector<std::string> pools;
  if (context.backends.scrape != nullptr) pools = context.backends.scrape->Pools();
  AnswerData(response, [&](JsonWriter& json) {
    json.BeginObject();
    json.Key("scrapePools");
    json.BeginArray();
    for (const std::string& pool : pools) json.String(pool);
    json.EndArray();
    json.EndObject();
  });
}

// Not Prometheus' own: how service discovery is doing. Stale ones keep the targets found before.
void DiscoveryStates(const ApiContext& context, const HttpRequest&, HttpResponse& response) {
  std::vector<DiscoveryStatus> discoveries;
  if (context.backends.scrape != nullptr) {
    discoveries = context.backends.scrape->DiscoveryStatuses();
  }
  AnswerData(response, [&](JsonWriter& json) {
    json.BeginObject();
    json.Key("discoveries");
    json.BeginArray();
    for (const DiscoveryStatus& discovery : discoveries) {
      json.BeginObject();
      json.Member("scrapePool", discovery.config);
      json.Member("mechanism", discovery.mechanism);
      json.Member("source", discovery.source);
      json.Member("stale", discovery.stale);
      json.Member("lastError", discovery.last_error);
      json.Key("lastSuccess");
      json.Time(discovery.last_success);
      json.Key("failingSince");
      json.Time(discovery.failing_since);
      json.EndObject();
    }
    json.EndArray();
    json.EndObject();
  });
}

void Alertmanagers(const ApiContext&, const HttpRequest&, HttpResponse& response) {
  AnswerData(response, [](JsonWriter& json) {
    json.BeginObject();
    for (const char* key : {"activeAlertmanagers", "droppedAlertmanagers"}) {
      json.Key(key);
      json.BeginArray();
      json.EndArray();
    }
    json.EndObject();
  });
}

}  // namespace

void AddTargetRoutes(ApiContext& context, Router& router) {
  const auto add = [&](std::string_view path, auto handler) {
    router.Add("GET", path,
               [&context, handler](const HttpRequest& request, HttpResponse& response) {
                 handler(context, request, response);
               },
               {.gated = true});
  };
  add("/api/v1/targets", Targets);
  add("/api/v1/targets/metadata", TargetsMetadata);
  add("/api/v1/metadata", Metadata);
  add("/api/v1/scrape_pools", ScrapePools);
  add("/api/v1/discoveries", DiscoveryStates);
  add("/api/v1/alertmanagers", Alertmanagers);
}

}  // namespace varve
