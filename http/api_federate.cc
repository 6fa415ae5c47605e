// SPDX-License-Identifier: Apache-2.0
//
// /federate: the newest sample of the series that match, as text for another server to scrape.
// Histograms have no text form and are left out.
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "http/api_context.h"
#include "model/status_macros.h"

namespace varve {
namespace {

struct NewestSample {
  Labels labels;
  TimestampMs time = 0;
  double value = 0;
};

absl::Status Collect(const ApiContext& context, const std::vector<std::vector<Matcher>>& sets,
                     TimestampMs now, std::vector<NewestSample>& found) {
  const TimestampMs start = now - context.backends.engine->options().lookback_delta + 1;
  ASSIGN_OR_RETURN(const std::unique_ptr<Querier> querier,
                   context.backends.storage->OpenQuerier(start, now));
  SelectHints hints;
  hints.start_ms = start;
  hints.end_ms = now;
  SeriesSamples samples;
  for (const std::vector<Matcher>& matchers : sets) {
    ASSIGN_OR_RETURN(const std::unique_ptr<SeriesSet> series, querier->Select(matchers, hints));
    for (size_t i = 0; i < series->size(); ++i) {
      RETURN_IF_ERROR(series->Read(i, start, now, samples));
      if (samples.times.empty() || IsStaleNan(samples.values.back())) continue;
      if (!samples.histograms.empty() && samples.histograms.back().time > samples.times.back()) {
        continue;
      }
      found.push_back({series->labels(i), samples.times.back(), samples.values.back()});
    }
  }
  return absl::OkStatus();
}

void AppendLabelValue(std::string_view value, std::string& out) {
  out.push_back('"');
  for (const char c : value) {
    if (c == '\\' || c == '"') out.push_back('\\');
    if (c == '\n') {
      out.append("\\n");
    } else {
      out.push_back(c);
    }
  }
  out.push_back('"');
}

void AppendName(std::string_view name, bool legacy, std::string& out) {
  legacy ? static_cast<void>(out.append(name)) : AppendLabelValue(name, out);
}

void AppendSample(const NewestSample& sample, const Labels& external, std::string& out) {
  LabelsBuilder labels(sample.labels);
  // Served labels win over external ones; `instance` must be there, so that the scraping server
  // does not put its own in its place.
  for (const LabelView& label : external) {
    if (labels.Get(label.name).empty()) labels.Set(label.name, label.value);
  }
  const std::string name(labels.Get(kMetricName));
  const bool legacy_name = IsLegacyMetricName(name);
  bool first = true;
  const auto separate = [&] {
    out.push_back(first ? '{' : ',');
    first = false;
  };
  if (legacy_name) {
    out.append(name);
  } else {
    separate();
    AppendLabelValue(name, out);
  }
  bool has_instance = false;
  for (const auto& [label, value] : labels.pairs()) {
    if (label == kMetricName) continue;
    has_instance = has_instance || label == "instance";
    separate();
    AppendName(label, IsLegacyLabelName(label), out);
    out.push_back('=');
    AppendLabelValue(value, out);
  }
  if (!has_instance) {
    separate();
    out.append("instance=\"\"");
  }
  out.append("} ");
  AppendFloat(sample.value, out);
  out.append(fmt::format(" {}\n", sample.time));
}

void Federate(const ApiContext& context, const HttpRequest& request, HttpResponse& response) {
  std::vector<std::vector<Matcher>> sets;
  for (const std::string& text : request.params.All("match[]")) {
    auto matchers = promql::ParseMetricSelector(text);
    if (!matchers.ok()) return response.SetText(400, MessageOf(matchers.status()) + "\n");
    sets.push_back(std::move(*matchers));
  }
  std::vector<NewestSample> found;
  const absl::Status status = Collect(context, sets, context.options.clock->Now(), found);
  if (!status.ok()) return response.SetText(500, MessageOf(status) + "\n");
  std::sort(found.begin(), found.end(), [](const NewestSample& a, const NewestSample& b) {
    const auto a_name = a.labels.Get(kMetricName);
    const auto b_name = b.labels.Get(kMetricName);
    return a_name != b_name ? a_name < b_name : a.labels < b.labels;
  });
  found.erase(std::unique(found.begin(), found.end(),
                          [](const NewestSample& a, const NewestSample& b) {
                            return a.labels == b.labels;
                          }),
              found.end());
  Labels external;
  if (context.backends.external_labels) external = context.backends.external_labels();
  response.content_type = "text/plain; version=0.0.4; charset=utf-8";
  std::string_view family;
  for (const NewestSample& sample : found) {
    const std::string_view name = sample.labels.Get(kMetricName);
    if (name != family || &sample == &found.front()) {
      response.body.append("# TYPE ");
      AppendName(name, IsLegacyMetricName(name), response.body);
      response.body.append(" untyped\n");
      family = name;
    }
    AppendSample(sample, external, response.body);
  }
}

}  // namespace

void AddFederateRoute(ApiContext& context, Router& router) {
  router.Add("GET", "/federate",
             [&context](const HttpRequest& request, HttpResponse& response) {
               Federate(context, request, response);
             },
             {.gated = true});
}

}  // namespace varve
