// SPDX-License-Identifier: Apache-2.0
//
// /rules and /alerts.
#include <fmt/format.h>
#include <openssl/sha.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>

#include "http/api_context.h"
#include "model/status_macros.h"
#include "rules/manager.h"

namespace varve {
namespace {

// Go's 'e' format: `1e+00`.
std::string ExponentText(double value) {
  if (value != value) return "NaN";
  if (value > std::numeric_limits<double>::max()) return "+Inf";
  if (value < std::numeric_limits<double>::lowest()) return "-Inf";
  char text[40];
  const auto result =
      std::to_chars(text, text + sizeof(text), value, std::chars_format::scientific);
  return std::string(text, result.ptr);
}

void WriteAlert(JsonWriter& json, const AlertStatus& alert) {
  json.BeginObject();
  json.Key("labels");
  json.LabelSet(alert.labels);
  json.Key("annotations");
  json.LabelSet(alert.annotations);
  json.Member("state", AlertStateText(alert.state));
  json.Key("activeAt");
  json.Time(alert.active_at);
  if (alert.keep_firing_since.has_value()) {
    json.Key("keepFiringSince");
    json.Time(*alert.keep_firing_since);
  }
  json.Member("value", ExponentText(alert.value));
  json.EndObject();
}

void WriteHealth(JsonWriter& json, const RuleStatus& rule) {
  json.Member("health", RuleHealthText(rule.health));
  if (!rule.last_error.empty()) json.Member("lastError", rule.last_error);
  json.Member("evaluationTime", rule.evaluation_seconds);
  json.Key("lastEvaluation");
  json.Time(rule.last_evaluation);
}

void WriteAlertingRule(JsonWriter& json, const RuleStatus& rule, bool with_alerts) {
  json.BeginObject();
  json.Member("state", AlertStateText(rule.state));
  json.Member("name", rule.name);
  json.Member("query", rule.query);
  json.Member("duration", static_cast<double>(rule.for_ms) / 1000);
  json.Member("keepFiringFor", static_cast<double>(rule.keep_firing_for_ms) / 1000);
  json.Key("labels");
  json.LabelSet(rule.labels);
  json.Key("annotations");
  json.LabelSet(rule.annotations);
  json.Key("alerts");
  json.BeginArray();
  if (with_alerts) {
    for (const AlertStatus& alert : rule.alerts) WriteAlert(json, alert);
  }
  json.EndArray();
  WriteHealth(json, rule);
  json.Member("type", "alerting");
  json.EndObject();
}

void WriteRecordingRule(JsonWriter& json, const RuleStatus& rule) {
  json.BeginObject();
  json.Member("name", rule.name);
  json.Member("query", rule.query);
  if (!rule.labels.empty()) {
    json.Key("labels");
    json.LabelSet(rule.labels);
  }
  WriteHealth(json, rule);
  json.Member("type", "recording");
  json.EndObject();
}

struct RulesFilter {
  bool alerts = true;
  bool recordings = true;
  bool with_alerts = true;
  std::vector<std::string> names;
  std::vector<std::string> groups;
  std::vector<std::string> files;
  std::vector<std::vector<Matcher>> sets;
  size_t group_limit = 0;
  std::string next_token;
};

bool AllowedBy(const std::vector<std::string>& allowed, const std::string& value) {
  return allowed.empty() || std::find(allowed.begin(), allowed.end(), value) != allowed.end();
}

bool Shows(const RulesFilter& filter, const RuleStatus& rule) {
  if (!(rule.is_alert ? filter.alerts : filter.recordings)) return false;
  if (!AllowedBy(filter.names, rule.name)) return false;
  return filter.sets.empty() ||
         std::any_of(filter.sets.begin(), filter.sets.end(),
                     [&](const auto& matchers) { return MatchesAll(matchers, rule.labels); });
}

// Names a group between pages: hex sha256 of `file;group`.
std::string GroupToken(const RuleGroupStatus& group) {
  const std::string text = group.file + ";" + group.name;
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest);
  std::string hex;
  for (const unsigned char byte : digest) hex += fmt::format("{:02x}", byte);
  return hex;
}

// Answers and returns nothing if a parameter is bad.
std::optional<RulesFilter> ReadFilter(const HttpRequest& request, HttpResponse& response) {
  RulesFilter filter;
  filter.names = request.params.All("rule_name[]");
  filter.groups = request.params.All("rule_group[]");
  filter.files = request.params.All("file[]");
  auto sets = MatchParameters(request);
  if (!sets.ok()) {
    AnswerInvalidParameter("match[]", MessageOf(sets.status()), response);
    return std::nullopt;
  }
  filter.sets = std::move(*sets);

  std::string type(request.params.Get("type"));
  for (char& c : type) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  if (!type.empty() && type != "alert" && type != "record") {
    AnswerInvalidParameter("type", fmt::format("not supported value {}", Quoted(type)), response);
    return std::nullopt;
  }
  filter.alerts = type != "record";
  filter.recordings = type != "alert";

  const std::string_view exclude = request.params.Get("exclude_alerts");
  const bool yes = exclude == "true" || exclude == "1" || exclude == "t" || exclude == "T" ||
                   exclude == "TRUE" || exclude == "True";
  const bool no = exclude.empty() || exclude == "false" || exclude == "0" || exclude == "f" ||
                  exclude == "F" || exclude == "FALSE" || exclude == "False";
  if (!yes && !no) {
    AnswerInvalidParameter(
        "exclude_alerts",
        fmt::format("error converting exclude_alerts: strconv.ParseBool: parsing {}: invalid "
                    "syntax",
                    Quoted(exclude)),
        response);
    return std::nullopt;
  }
  filter.with_alerts = !yes;

  const std::string_view group_limit = request.params.Get("group_limit");
  filter.next_token = request.params.Get("group_next_token");
  if (group_limit.empty()) {
    if (!filter.next_token.empty()) {
      AnswerInvalidParameter("group_next_token",
                             "group_limit needs to be set in order to paginate over the groups",
                             response);
      return std::nullopt;
    }
    return filter;
  }
  const auto limit = ParseInteger(group_limit);
  if (!limit.ok() || *limit <= 0) {
    AnswerInvalidParameter(
        "group_limit",
        limit.ok() ? "group_limit needs to be greater than 0" : MessageOf(limit.status()),
        response);
    return std::nullopt;
  }
  filter.group_limit = static_cast<size_t>(*limit);
  return filter;
}

void WriteGroup(JsonWriter& json, const RulesFilter& filter, const RuleGroupStatus& group) {
  json.BeginObject();
  json.Member("name", group.name);
  json.Member("file", group.file);
  json.Key("rules");
  json.BeginArray();
  for (const RuleStatus& rule : group.rules) {
    if (!Shows(filter, rule)) continue;
    rule.is_alert ? WriteAlertingRule(json, rule, filter.with_alerts)
                  : WriteRecordingRule(json, rule);
  }
  json.EndArray();
  json.Member("interval", static_cast<double>(group.interval) / 1000);
  json.Member("limit", group.limit);
  json.Member("evaluationTime", group.evaluation_seconds);
  json.Key("lastEvaluation");
  json.Time(group.last_evaluation);
  json.EndObject();
}

void Rules(const ApiContext& context, const HttpRequest& request, HttpResponse& response) {
  const auto filter = ReadFilter(request, response);
  if (!filter.has_value()) return;
  std::vector<RuleGroupStatus> groups;
  if (context.backends.rules != nullptr) groups = context.backends.rules->Groups();
  std::erase_if(groups, [&](const RuleGroupStatus& group) {
    if (!AllowedBy(filter->groups, group.name) || !AllowedBy(filter->files, group.file)) {
      return true;
    }
    const bool filtered =
        !filter->alerts || !filter->recordings || !filter->names.empty() || !filter->sets.empty();
    return filtered && std::none_of(group.rules.begin(), group.rules.end(),
                                    [&](const RuleStatus& rule) { return Shows(*filter, rule); });
  });

  size_t first = 0;
  if (!filter->next_token.empty()) {
    while (first < groups.size() && GroupToken(groups[first]) != filter->next_token) ++first;
    if (first == groups.size()) {
      return AnswerInvalidParameter(
          "group_next_token",
          fmt::format("invalid group_next_token '{}'. were rule groups changed?",
                      filter->next_token),
          response);
    }
  }
  const size_t last = filter->group_limit == 0
                          ? groups.size()
                          : std::min(groups.size(), first + filter->group_limit);
  AnswerData(response, [&](JsonWriter& json) {
    json.BeginObject();
    json.Key("groups");
    json.BeginArray();
    for (size_t i = first; i < last; ++i) WriteGroup(json, *filter, groups[i]);
    json.EndArray();
    if (last < groups.size()) json.Member("groupNextToken", GroupToken(groups[last]));
    json.EndObject();
  });
}

void Alerts(const ApiContext& context, const HttpRequest&, HttpResponse& response) {
  std::vector<RuleGroupStatus> groups;
  if (context.backends.rules != nullptr) groups = context.backends.rules->Groups();
  AnswerData(response, [&](JsonWriter& json) {
    json.BeginObject();
    json.Key("alerts");
    json.BeginArray();
    for (const RuleGroupStatus& group : groups) {
      for (const RuleStatus& rule : group.rules) {
        for (const AlertStatus& alert : rule.alerts) WriteAlert(json, alert);
      }
    }
    json.EndArray();
    json.EndObject();
  });
}

}  // namespace

void AddRuleRoutes(ApiContext& context, Router& router) {
  const auto add = [&](std::string_view path, auto handler) {
    router.Add("GET", path,
               [&context, handler](const HttpRequest& request, HttpResponse& response) {
                 handler(context, request, response);
               },
               {.gated = true});
  };
  add("/api/v1/rules", Rules);
  add("/api/v1/alerts", Alerts);
}

}  // namespace varve
