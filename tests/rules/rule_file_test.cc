// SPDX-License-Identifier: Apache-2.0
//
// Goal: every rule file Prometheus takes is taken, and what is wrong is named by file, line and
// field.
#include "rules/rule_file.h"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <string>

namespace varve {
namespace {

std::string ErrorOf(std::string_view text) {
  const auto groups = ParseRuleFile(text, "r.yml", {});
  if (groups.ok()) return "";
  return std::string(groups.status().message().data(), groups.status().message().size());
}

TEST_CASE("rule file: everything a group may say") {
  const auto groups = ParseRuleFile(R"(
groups:
  - name: first
    interval: 30s
    query_offset: 1m
    limit: 10
    labels: {team: core, severity: low}
    rules:
      - record: job:up:sum
        expr: sum by (job) (up)
        labels: {severity: high}
      - alert: Down
        expr: up == 0
        for: 5m
        keep_firing_for: 2m
        labels: {page: "yes"}
        annotations:
          summary: "{{ $labels.instance }} is down"
  - name: second
    rules: []
)",
                                    "r.yml", {});
  REQUIRE(groups.ok());
  REQUIRE(groups->size() == 2);
  const RuleGroupSpec& first = (*groups)[0];
  CHECK(first.name == "first");
  CHECK(first.file == "r.yml");
  CHECK(first.interval == 30 * kSecond);
  CHECK(first.query_offset == kMinute);
  CHECK(first.limit == 10);
  REQUIRE(first.rules.size() == 2);
  CHECK(first.rules[0].record == "job:up:sum");
  CHECK(first.rules[0].labels ==
        std::map<std::string, std::string>{{"severity", "high"}, {"team", "core"}});
  CHECK(first.rules[1].alert == "Down");
  CHECK(first.rules[1].for_ms == 5 * kMinute);
  CHECK(first.rules[1].keep_firing_for_ms == 2 * kMinute);
  CHECK(first.rules[1].labels.at("page") == "yes");
  CHECK(first.rules[1].annotations.at("summary") == "{{ $labels.instance }} is down");
  CHECK_FALSE((*groups)[1].query_offset.has_value());
}

TEST_CASE("rule file: empty ones have no groups") {
  CHECK(ParseRuleFile("", "r.yml", {})->empty());
  CHECK(ParseRuleFile("groups:", "r.yml", {})->empty());
  CHECK(ParseRuleFile("groups: []", "r.yml", {})->empty());
}

TEST_CASE("rule file: what is wrong is named with its place") {
  struct Case {
    const char* text;
    const char* error;
  };
  const Case cases[] = {
      {"groups: [", "r.yml: 1:1: end of sequence flow not found"},
      {"group: []", "r.yml: 1:1: field group not found in rule file"},
      {"groups: 5", "r.yml: 1:9: field groups must be a list"},
      {"groups:\n- rules: []", "r.yml: 2:3: Groupname must not be empty"},
      {"groups:\n- name: a\n  intervall: 1m",
       "r.yml: 3:3: field intervall not found in rule group"},
      {"groups:\n- name: a\n  interval: soon",
       "r.yml: 3:13: field interval: not a valid duration string: \"soon\""},
      {"groups:\n- name: a\n- name: a",
       "r.yml: 3:3: groupname: \"a\" is repeated in the same file"},
      {"groups:\n- name: a\n  limit: many",
       "r.yml: 3:10: field limit: \"many\" is no whole number"},
      {"groups:\n- name: a\n  rules:\n  - record: x\n    expr: up\n    exp: up",
       "r.yml: 6:5: field exp not found in rule"},
      {"groups:\n- name: a\n  rules:\n  - record: x",
       "r.yml: 4:5: group \"a\", rule 1, \"x\": field 'expr' must be set in rule"},
      {"groups:\n- name: a\n  rules:\n  - expr: up",
       "r.yml: 4:5: group \"a\", rule 1, \"\": one of 'record' or 'alert' must be set"},
      {"groups:\n- name: a\n  rules:\n  - {record: x, alert: y, expr: up}",
       "r.yml: 4:5: group \"a\", rule 1, \"x\": only one of 'record' and 'alert' must be set"},
      {"groups:\n- name: a\n  rules:\n  - record: x\n    expr: up\n  - record: y\n    expr: sum(",
       "r.yml: 7:11: group \"a\", rule 2, \"y\": could not parse expression: 1:5: parse error: "
       "unclosed left parenthesis"},
      {"groups:\n- name: a\n  rules:\n  - record: x\n    expr: up\n    for: 5m",
       "r.yml: 6:10: group \"a\", rule 1, \"x\": invalid field 'for' in recording rule"},
      {"groups:\n- name: a\n  rules:\n  - record: x\n    expr: up\n    annotations: {a: b}",
       "r.yml: 6:18: group \"a\", rule 1, \"x\": invalid field 'annotations' in recording rule"},
      {"groups:\n- name: a\n  rules:\n  - record: \"x{}\"\n    expr: up",
       "r.yml: 4:13: group \"a\", rule 1, \"x{}\": braces present in the recording rule name; "
       "should "
       "it be in expr?: x{}"},
      {"groups:\n- name: a\n  rules:\n  - record: x\n    expr: up\n    labels: {__name__: y}",
       "r.yml: 4:5: group \"a\", rule 1, \"x\": invalid label name: __name__"},
      {"groups:\n- name: a\n  name: b", "r.yml: 3:3: key \"name\" already set in rule group"},
  };
  for (const Case& item : cases) {
    CAPTURE(item.text);
    CHECK(ErrorOf(item.text) == std::string(item.error));
  }
}

TEST_CASE("rule file: too large, and missing") {
  CHECK_FALSE(LoadRuleFile("/nonexistent/rules.yml", {}).ok());
  const std::string path = fmt::format("rule_file_test.{}.yml", getpid());
  {
    std::ofstream file(path, std::ios::binary);
    file << std::string(kRuleFileBytesMax, '#') << "\n";
  }
  const auto large = LoadRuleFile(path, {});
  std::remove(path.c_str());
  CHECK_FALSE(large.ok());
}

}  // namespace
}  // namespace varve
