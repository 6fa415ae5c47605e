// SPDX-License-Identifier: Apache-2.0
//
// /targets/relabel_steps: what each relabelling rule of a pool makes of a target's labels.
#include <fmt/format.h>
#include <simdjson.h>

#include <string>
#include <string_view>

#include "http/api_context.h"
#include "model/relabel.h"
#include "model/status_macros.h"
#include "scrape/manager.h"

namespace varve {
namespace {

// An object of texts. InvalidArgument otherwise.
absl::StatusOr<Labels> ReadLabelObject(std::string_view json) {
  simdjson::dom::parser parser;
  simdjson::dom::element document;
  if (const auto error = parser.parse(simdjson::padded_string(json)).get(document)) {
    return absl::InvalidArgumentError(simdjson::error_message(error));
  }
  simdjson::dom::object members;
  if (document.get(members) != simdjson::SUCCESS) {
    return absl::InvalidArgumentError("not an object");
  }
  LabelsBuilder labels;
  for (const simdjson::dom::key_value_pair member : members) {
    std::string_view value;
    if (member.value.get(value) != simdjson::SUCCESS) {
      return absl::InvalidArgumentError(
          fmt::format("the value of \"{}\" is no string", member.key));
    }
    labels.Set(member.key, value);
  }
  return labels.Build();
}

void WriteRule(JsonWriter& json, const RelabelConfig& rule) {
  json.BeginObject();
  if (!rule.source_labels.empty()) {
    json.Key("sourceLabels");
    json.BeginArray();
    for (const std::string& label : rule.source_labels) json.String(label);
    json.EndArray();
  }
  if (!rule.separator.empty()) json.Member("separator", rule.separator);
  json.Member("regex", rule.regex);
  if (rule.modulus > 0) json.Member("modulus", rule.modulus);
  if (!rule.target_label.empty()) json.Member("targetLabel", rule.target_label);
  if (!rule.replacement.empty()) json.Member("replacement", rule.replacement);
  json.Member("action", RelabelActionText(rule.action));
  json.EndObject();
}

void RelabelSteps(const ApiContext& context, const HttpRequest& request, HttpResponse& response) {
  const std::string_view pool = request.params.Get("scrapePool");
  if (pool.empty()) return AnswerBadData("no scrapePool parameter provided", response);
  const std::string_view text = request.params.Get("labels");
  if (text.empty()) return AnswerBadData("no labels parameter provided", response);
  const absl::StatusOr<Labels> labels = ReadLabelObject(text);
  if (!labels.ok()) {
    return AnswerBadData("error parsing labels: " + MessageOf(labels.status()), response);
  }
  absl::StatusOr<ScrapeConfig> config = absl::NotFoundError("nothing is scraped");
  if (context.backends.scrape != nullptr) config = context.backends.scrape->PoolConfig(pool);
  if (!config.ok()) {
    return AnswerBadData("error retrieving scrape config: " + MessageOf(config.status()), response);
  }
  AnswerData(response, [&](JsonWriter& json) {
    LabelsBuilder changed(*labels);
    bool keep = true;
    json.BeginObject();
    json.Key("steps");
    json.BeginArray();
    for (const RelabelRule& rule : config->relabel_rules) {
      keep = keep && rule.Apply(changed);
      json.BeginObject();
      json.Key("rule");
      WriteRule(json, rule.config());
      json.Key("output");
      json.LabelSet(keep ? changed.Build() : Labels());
      json.Member("keep", keep);
      json.EndObject();
    }
    json.EndArray();
    json.EndObject();
  });
}

}  // namespace

void AddRelabelRoutes(ApiContext& context, Router& router) {
  // POST, which is not Prometheus' own, for labels longer than an address can be.
  router.AddAll({"GET", "POST"}, "/api/v1/targets/relabel_steps",
                [&context](const HttpRequest& request, HttpResponse& response) {
                  RelabelSteps(context, request, response);
                },
                {.gated = true});
}

}  // namespace varve
