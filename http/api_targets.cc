// SPDX-License-Identifier: Apache-2.0
//
// /targets, /targets/scrape, /targets/metadata, /metadata, /scrape_pools with /config, /discoveries
// and /alertmanagers.
#include <absl/strings/str_split.h>
#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <optional>
#include <tuple>
#include <utility>

#include "http/api_context.h"
#include "model/status_macros.h"
#include "scrape/manager.h"
#include "scrape/scrape_now.h"

namespace varve {
namespace {

constexpr int64_t kPreviewSamplesDefault = 1000;
constexpr int64_t kPreviewSamplesMax = 100'000;

void WriteLimit(JsonWriter& json, const char* name, uint64_t limit) {
  json.Key(name);
  if (limit == 0) {
    json.Null();
  } else {
    json.Uint(limit);
  }
}

void WriteHistory(JsonWriter& json, const ScrapeHistory& history) {
  json.BeginObject();
  json.Member("scrapes", history.scrapes);
  json.Member("failedScrapes", history.failed);
  json.Key("failures");
  json.BeginArray();
  for (const ScrapeFailures& failures : history.failures) {
    json.BeginObject();
    json.Key("first");
    json.Time(failures.first);
    json.Key("last");
    json.Time(failures.last);
    json.Member("count", failures.count);
    json.Member("error", failures.error);
    json.EndObject();
  }
  json.EndArray();
  json.Key("droppedSamples");
  json.BeginObject();
  json.Member("relabelling", history.dropped_by_relabelling);
  json.Member("outOfOrder", history.dropped_out_of_order);
  json.Member("duplicateTimestamp", history.dropped_duplicate);
  json.Member("outOfBounds", history.dropped_out_of_bounds);
  json.Member("failedScrapes", history.dropped_with_failed_scrapes);
  json.EndObject();
  json.Key("lastScrape");
  json.BeginObject();
  json.Member("bodyBytes", history.body_bytes);
  json.Member("samples", history.samples);
  json.Member("samplesAfterRelabelling", history.samples_after_relabelling);
  json.Member("seriesAdded", history.series_added);
  json.EndObject();
  json.Key("limits");
  json.BeginObject();
  WriteLimit(json, "bodySize", history.limits.body_size_bytes);
  WriteLimit(json, "samples", history.limits.samples);
  WriteLimit(json, "labels", history.limits.labels);
  WriteLimit(json, "labelNameLength", history.limits.label_name_bytes);
  WriteLimit(json, "labelValueLength", history.limits.label_value_bytes);
  json.EndObject();
  json.EndObject();
}

std::string LowerCase(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return lower;
}

// Whether every one of `words`, in lower case, is in the pool, the URL, a label (as `name="value"`)
// or the last error.
bool Mentions(const ActiveTarget& target, const std::vector<std::string>& words) {
  if (words.empty()) return true;
  std::string text =
      fmt::format("{}\n{}\n{}", target.scrape_pool, target.scrape_url, target.last_error);
  for (const LabelView& label : target.labels) {
    fmt::format_to(std::back_inserter(text), "\n{}=\"{}\"", label.name, label.value);
  }
  text = LowerCase(text);
  return std::all_of(words.begin(), words.end(),
                     [&](const std::string& word) { return text.find(word) != std::string::npos; });
}

// A page of the active targets: failing ones first, only those asked for.
struct TargetPage {
  std::vector<std::string> words;  // In lower case.
  std::string health;
  int64_t offset = 0;
  int64_t limit = -1;  // All.
  bool details = false;
  bool asked = false;  // Whether the request has any of these; otherwise nothing is changed.
};

std::optional<TargetPage> ReadTargetPage(const HttpRequest& request, HttpResponse& response) {
  TargetPage page;
  page.words = absl::StrSplit(LowerCase(request.params.Get("search")), absl::ByAnyChar(" \t\n"),
                              absl::SkipEmpty());
  page.health = LowerCase(request.params.Get("health"));
  page.details = request.params.Get("details") == "true";
  const std::string_view offset = request.params.Get("offset");
  const std::string_view limit = request.params.Get("limit");
  for (const auto& [text, value, name] :
       {std::tuple(offset, &page.offset, "offset"), std::tuple(limit, &page.limit, "limit")}) {
    if (text.empty()) continue;
    const absl::StatusOr<int64_t> number = ParseInteger(text);
    if (!number.ok() || *number < 0) {
      AnswerInvalidParameter(name, "must be a non-negative integer", response);
      return std::nullopt;
    }
    *value = *number;
  }
  if (!page.health.empty() && page.health != "up" && page.health != "down" &&
      page.health != "unknown") {
    AnswerInvalidParameter("health", "must be up, down or unknown", response);
    return std::nullopt;
  }
  page.asked = !page.words.empty() || !page.health.empty() || !offset.empty() || !limit.empty();
  return page;
}

// How many targets there are of each health.
struct HealthCounts {
  uint64_t up = 0;
  uint64_t down = 0;
  uint64_t unknown = 0;

  void Add(TargetHealth health) {
    ++(health == TargetHealth::kUp ? up : health == TargetHealth::kDown ? down : unknown);
  }
};

struct PageCounts {
  uint64_t total = 0;                         // On all pages.
  HealthCounts searched;                      // Of what the search finds, whatever health is asked.
  std::map<std::string, HealthCounts> pools;  // Of all targets.
};

// Leaves the page in `targets`.
PageCounts CutPage(const TargetPage& page, std::vector<ActiveTarget>& targets) {
  PageCounts counts;
  std::erase_if(targets, [&](const ActiveTarget& target) {
    counts.pools[target.scrape_pool].Add(target.health);
    if (!Mentions(target, page.words)) return true;
    counts.searched.Add(target.health);
    return !page.health.empty() && TargetHealthText(target.health) != page.health;
  });
  const auto rank = [](const ActiveTarget& target) {
    return target.health == TargetHealth::kDown      ? 0
           : target.health == TargetHealth::kUnknown ? 1
                                                     : 2;
  };
  std::stable_sort(targets.begin(), targets.end(),
                   [&](const ActiveTarget& a, const ActiveTarget& b) { return rank(a) < rank(b); });
  counts.total = targets.size();
  const size_t first = std::min(targets.size(), static_cast<size_t>(page.offset));
  targets.erase(targets.begin(), targets.begin() + static_cast<ptrdiff_t>(first));
  if (page.limit >= 0 && targets.size() > static_cast<size_t>(page.limit)) {
    targets.resize(static_cast<size_t>(page.limit));
  }
  return counts;
}

void WriteHealthCounts(JsonWriter& json, const HealthCounts& counts) {
  json.BeginObject();
  json.Member("up", counts.up);
  json.Member("down", counts.down);
  json.Member("unknown", counts.unknown);
  json.EndObject();
}

void WritePageCounts(JsonWriter& json, const PageCounts& counts) {
  json.Member("activeTargetsTotal", counts.total);
  json.Key("healthCounts");
  WriteHealthCounts(json, counts.searched);
  json.Key("poolCounts");
  json.BeginObject();
  for (const auto& [pool, health] : counts.pools) {
    json.TextKey(pool);
    WriteHealthCounts(json, health);
  }
  json.EndObject();
}

void WriteActive(JsonWriter& json, const ActiveTarget& target, bool details) {
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
  if (details) {
    json.Key("history");
    WriteHistory(json, target.history);
  }
  json.EndObject();
}

void Targets(const ApiContext& context, const HttpRequest& request, HttpResponse& response) {
  std::string state(request.params.Get("state"));
  for (char& c : state) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  const bool any = state.empty() || state == "any";
  const bool show_active = any || state == "active";
  const bool show_dropped = any || state == "dropped";
  const std::optional<TargetPage> page = ReadTargetPage(request, response);
  if (!page.has_value()) return;
  TargetsSnapshot snapshot;
  if (context.backends.scrape != nullptr) {
    snapshot = context.backends.scrape->Targets(request.params.Get("scrapePool"));
  }
  PageCounts counts;
  if (page->asked) counts = CutPage(*page, snapshot.active);
  AnswerData(response, [&](JsonWriter& json) {
    json.BeginObject();
    json.Key("activeTargets");
    json.BeginArray();
    if (show_active) {
      for (const ActiveTarget& target : snapshot.active) WriteActive(json, target, page->details);
    }
    json.EndArray();
    if (page->asked) WritePageCounts(json, counts);
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
    if (show_dropped || page->asked) {
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

void WritePreview(JsonWriter& json, const ScrapePreview& preview) {
  json.BeginObject();
  json.Member("error", preview.error);
  json.Member("duration", preview.seconds);
  json.Member("bodyBytes", preview.body_bytes);
  json.Member("contentType", preview.content_type);
  json.Member("samplesScraped", preview.counts.scraped);
  json.Member("samplesAfterRelabelling", preview.counts.post_relabel);
  json.Member("duplicateSamples", preview.counts.duplicate_timestamp);
  json.Member("truncated", preview.truncated);
  json.Key("samples");
  json.BeginArray();
  for (const PreviewSample& sample : preview.samples) {
    json.InstantSample(sample.labels, sample.time, sample.value,
                       sample.histogram.has_value() ? &*sample.histogram : nullptr);
  }
  json.EndArray();
  json.EndObject();
}

void ScrapeNow(const ApiContext& context, const HttpRequest& request, HttpResponse& response) {
  int64_t limit = kPreviewSamplesDefault;
  if (const std::string_view text = request.params.Get("limit"); !text.empty()) {
    const absl::StatusOr<int64_t> number = ParseInteger(text);
    if (!number.ok() || *number < 0 || *number > kPreviewSamplesMax) {
      return AnswerInvalidParameter(
          "limit", fmt::format("must be an integer from 0 to {}", kPreviewSamplesMax), response);
    }
    limit = *number;
  }
  absl::StatusOr<ScrapePreview> preview = absl::NotFoundError("nothing is scraped");
  if (context.backends.scrape != nullptr) {
    preview = context.backends.scrape->ScrapeNow(request.params.Get("scrapePool"),
                                                 request.params.Get("scrapeUrl"),
                                                 static_cast<size_t>(limit));
  }
  if (!preview.ok()) return AnswerBadData(MessageOf(preview.status()), response);
  AnswerData(response, [&](JsonWriter& json) { WritePreview(json, *preview); });
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

// Adds metrics that no target gives: sent by remote write, or from before the start.
void AddStoredMetadata(const MetadataQueryable& storage, std::string_view metric, int64_t limit,
                       int64_t limit_per_metric,
                       std::map<std::string, std::vector<MetricMetadata>>& found) {
  if (limit >= 0 && static_cast<int64_t>(found.size()) >= limit) return;
  for (const MetricFamilyPtr& family : storage.Metadata(metric)) {
    const auto [entry, added] = found.try_emplace(family->name);
    if (!added) continue;
    if (limit_per_metric != 0) entry->second.push_back(family->metadata);
    if (limit >= 0 && static_cast<int64_t>(found.size()) >= limit) return;
  }
}

void Metadata(const ApiContext& context, const HttpRequest& request, HttpResponse& response) {
  const auto limit = MetadataLimit(request, "limit");
  if (!limit.has_value()) return AnswerBadData("limit must be a number", response);
  const auto per_metric = MetadataLimit(request, "limit_per_metric");
  if (!per_metric.has_value()) {
    return AnswerBadData("limit_per_metric must be a number", response);
  }
  const std::string_view metric = request.params.Get("metric");
  std::map<std::string, std::vector<MetricMetadata>> found;
  if (context.backends.scrape != nullptr) {
    found = context.backends.scrape->Metadata(metric, *limit, *per_metric);
  }
  if (context.backends.metadata != nullptr) {
    AddStoredMetadata(*context.backends.metadata, metric, *limit, *per_metric, found);
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

void ScrapePoolConfig(const ApiContext& context, const HttpRequest& request,
                      HttpResponse& response) {
  const std::string_view pool = request.params.Get("scrapePool");
  if (pool.empty()) return AnswerBadData("no scrapePool parameter provided", response);
  std::string yaml;
  if (context.backends.scrape_pool_yaml) yaml = context.backends.scrape_pool_yaml(pool);
  if (yaml.empty()) {
    return AnswerBadData("error retrieving scrape config: scrape pool not found", response);
  }
  AnswerData(response, [&](JsonWriter& json) {
    json.BeginObject();
    json.Member("yaml", yaml);
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
  router.Add("POST", "/api/v1/targets/scrape",
             [&context](const HttpRequest& request, HttpResponse& response) {
               ScrapeNow(context, request, response);
             },
             {.gated = true});
  add("/api/v1/targets/metadata", TargetsMetadata);
  add("/api/v1/metadata", Metadata);
  add("/api/v1/scrape_pools", ScrapePools);
  add("/api/v1/scrape_pools/config", ScrapePoolConfig);
  add("/api/v1/discoveries", DiscoveryStates);
  add("/api/v1/alertmanagers", Alertmanagers);
}

}  // namespace varve
