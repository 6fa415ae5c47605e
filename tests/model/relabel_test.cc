// SPDX-License-Identifier: Apache-2.0
//
// Goal: every relabel action does what Prometheus' does, and a rule that means nothing is refused
// in Prometheus' words. Method: tables of rule, labels before, labels after.
#include "model/relabel.h"

#include <doctest/doctest.h>
#include <re2/re2.h>

#include <string>
#include <vector>

#include "model/matcher.h"
#include "model/regex_expand.h"
#include "model/status_macros.h"

namespace varve {
namespace {

struct RelabelCase {
  RelabelConfig rule;
  Labels before;
  std::string after;  // "dropped", or the labels.
};

std::string Applied(const RelabelConfig& config, const Labels& before) {
  const auto rule = RelabelRule::Create(config);
  if (!rule.ok()) return MessageOf(rule.status());
  LabelsBuilder builder(before);
  return rule->Apply(builder) ? builder.Build().ToString() : "dropped";
}

using Action = RelabelAction;

TEST_CASE("relabel: every action") {
  const Labels abc = Labels::Of({{"a", "foo"}, {"b", "bar"}, {"c", "baz"}});
  const std::vector<RelabelCase> cases = {
      // replace
      {{.source_labels = {"a"}, .regex = "f(.*)", .target_label = "d", .replacement = "ch${1}-$1"},
       abc,
       R"({a="foo", b="bar", c="baz", d="choo-oo"})"},
      {{.source_labels = {"a", "b"},
        .regex = "(.*);(.*)",
        .target_label = "a",
        .replacement = "$2$$$1"},
       abc,
       R"({a="bar$foo", b="bar", c="baz"})"},
      {{.source_labels = {"a", "b"},
        .separator = "",
        .regex = "foobar",
        .target_label = "d",
        .replacement = "x"},
       abc,
       R"({a="foo", b="bar", c="baz", d="x"})"},
      {{.source_labels = {"a"}, .regex = "oo", .target_label = "d"},  // Anchored: no match.
       abc,
       R"({a="foo", b="bar", c="baz"})"},
      {{.source_labels = {"a"}, .target_label = "b", .replacement = ""},
       abc,
       R"({a="foo", c="baz"})"},
      {{.source_labels = {"z"}, .target_label = "d", .replacement = "always"},
       abc,
       R"({a="foo", b="bar", c="baz", d="always"})"},
      {{.source_labels = {"a"},
        .regex = "(?P<x>f)(.*)",
        .target_label = "${x}_$2",
        .replacement = "$x"},
       abc,
       R"({a="foo", b="bar", c="baz", f_oo="f"})"},
      {{.source_labels = {"a"}, .regex = "(x)?foo", .target_label = "$1", .replacement = "v"},
       abc,  // The target's name is empty then.
       R"({a="foo", b="bar", c="baz"})"},
      {{.source_labels = {"a"}, .regex = "(f)(oo)", .target_label = "d", .replacement = "$1x$2"},
       abc,  // The group named "1x" does not exist.
       R"({a="foo", b="bar", c="baz", d="oo"})"},
      {{.source_labels = {"a"}, .target_label = "d"},
       Labels::Of({{"a", "line\nbreak"}}),  // The dot matches a newline.
       R"({a="line\nbreak", d="line\nbreak"})"},
      // keep, drop
      {{.source_labels = {"a"}, .regex = "f.*", .action = Action::kKeep},
       abc,
       R"({a="foo", b="bar", c="baz"})"},
      {{.source_labels = {"a"}, .regex = "o.*", .action = Action::kKeep}, abc, "dropped"},
      {{.source_labels = {"a"}, .regex = ".*o.*", .action = Action::kDrop}, abc, "dropped"},
      {{.source_labels = {"a"}, .regex = "no", .action = Action::kDrop},
       abc,
       R"({a="foo", b="bar", c="baz"})"},
      // keepequal, dropequal
      {{.source_labels = {"a"}, .target_label = "b", .action = Action::kKeepEqual}, abc, "dropped"},
      {{.source_labels = {"a"}, .target_label = "a", .action = Action::kKeepEqual},
       abc,
       R"({a="foo", b="bar", c="baz"})"},
      {{.source_labels = {"a"}, .target_label = "a", .action = Action::kDropEqual}, abc, "dropped"},
      {{.source_labels = {"a"}, .target_label = "b", .action = Action::kDropEqual},
       abc,
       R"({a="foo", b="bar", c="baz"})"},
      // hashmod: the last eight bytes of the MD5, big endian
      {{.source_labels = {"c"}, .modulus = 1000, .target_label = "d", .action = Action::kHashMod},
       Labels::Of({{"c", "baz"}}),
       R"({c="baz", d="976"})"},
      {{.source_labels = {"c"}, .modulus = 1000, .target_label = "d", .action = Action::kHashMod},
       Labels::Of({{"a", "foo"}, {"b", "bar"}, {"c", "baz"}}),
       R"({a="foo", b="bar", c="baz", d="976"})"},
      // labelmap, labeldrop, labelkeep
      {{.regex = "(b.*)", .replacement = "bar_${1}", .action = Action::kLabelMap},
       Labels::Of({{"a", "foo"}, {"b1", "bar"}, {"b2", "baz"}}),
       R"({a="foo", b1="bar", b2="baz", bar_b1="bar", bar_b2="baz"})"},
      {{.regex = "__meta_(my_bar|test.*)", .replacement = "$1", .action = Action::kLabelMap},
       Labels::Of({{"__meta_my_bar", "aaa"}, {"__meta_my_baz", "bbb"}, {"__meta_test", "c"}}),
       R"({__meta_my_bar="aaa", __meta_my_baz="bbb", __meta_test="c", my_bar="aaa", test="c"})"},
      {{.regex = "(b.*)", .action = Action::kLabelDrop},
       Labels::Of({{"a", "foo"}, {"b1", "bar"}, {"b2", "baz"}}),
       R"({a="foo"})"},
      {{.regex = "(b.*)", .action = Action::kLabelKeep},
       Labels::Of({{"a", "foo"}, {"b1", "bar"}, {"b2", "baz"}}),
       R"({b1="bar", b2="baz"})"},
      // lowercase, uppercase
      {{.source_labels = {"a"}, .target_label = "d", .action = Action::kLowercase},
       Labels::Of({{"a", "bAr\xC3\x84"}}),
       "{a=\"bAr\xC3\x84\", d=\"bar\xC3\xA4\"}"},
      {{.source_labels = {"a"}, .target_label = "d", .action = Action::kUppercase},
       Labels::Of({{"a", "bAr\xC3\xA4\xF0\x90\x90\xA8"}}),
       "{a=\"bAr\xC3\xA4\xF0\x90\x90\xA8\", d=\"BAR\xC3\x84\xF0\x90\x90\x80\"}"},
  };
  for (const RelabelCase& relabel : cases) {
    CAPTURE(std::string(RelabelActionText(relabel.rule.action)));
    CAPTURE(relabel.rule.replacement);
    CHECK(Applied(relabel.rule, relabel.before) == relabel.after);
  }
}

TEST_CASE("relabel: rules in order, until one drops") {
  std::vector<RelabelRule> rules;
  rules.push_back(*RelabelRule::Create({.target_label = "a", .replacement = "1"}));
  rules.push_back(
      *RelabelRule::Create({.source_labels = {"a"}, .regex = "1", .action = RelabelAction::kDrop}));
  rules.push_back(*RelabelRule::Create({.target_label = "b", .replacement = "2"}));
  LabelsBuilder builder;
  CHECK_FALSE(Relabel(rules, builder));
  CHECK(builder.Build().ToString() == R"({a="1"})");
  rules.erase(rules.begin() + 1);
  CHECK(Relabel(rules, builder));
  CHECK(builder.Build().ToString() == R"({a="1", b="2"})");
}

struct BadRule {
  RelabelConfig rule;
  std::string message;
};

TEST_CASE("relabel: refused rules") {
  const std::vector<BadRule> cases = {
      {{.action = Action::kReplace},
       "relabel configuration for replace action requires 'target_label' value"},
      {{.target_label = "d", .action = Action::kHashMod},
       "relabel configuration for hashmod requires non-zero modulus"},
      {{.modulus = 8, .action = Action::kHashMod},
       "relabel configuration for hashmod action requires 'target_label' value"},
      {{.source_labels = {"a"},
        .target_label = "b",
        .replacement = "x",
        .action = Action::kLowercase},
       "'replacement' can not be set for lowercase action"},
      {{.target_label = "\xFF", .action = Action::kReplace},
       "\"\\xff\" is invalid 'target_label' for replace action"},
      {{.target_label = "a-b", .legacy_names = true},
       "\"a-b\" is invalid 'target_label' for replace action"},
      {{.replacement = "\xFF$1", .action = Action::kLabelMap},
       "\"\\xff$1\" is invalid 'replacement' for labelmap action"},
      {{.source_labels = {"a"}, .regex = "foo", .target_label = "b", .action = Action::kDropEqual},
       "dropequal action requires only 'source_labels' and `target_label`, and no other fields"},
      {{.source_labels = {"a"}, .action = Action::kLabelDrop},
       "labeldrop action requires only 'regex', and no other fields"},
      {{.separator = ",", .action = Action::kLabelKeep},
       "labelkeep action requires only 'regex', and no other fields"},
      {{.regex = "(", .target_label = "a"}, "error parsing regexp: missing closing ): `^(?s:()$`"},
  };
  for (const BadRule& bad : cases) {
    CHECK(Applied(bad.rule, Labels()) == bad.message);
  }
  CHECK(ParseRelabelAction("KeepEqual").value() == Action::kKeepEqual);
  CHECK(std::string(ParseRelabelAction("keeep").status().message()) ==
        "unknown relabel action \"keeep\"");
}

TEST_CASE("regex templates expand as Go's do") {
  const auto regex = CompileAnchored("(?P<first>a)(b)?(c)");
  REQUIRE(regex.ok());
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"plain", "plain"},  {"$1", "a"},     {"${1}", "a"},        {"$first", "a"},
      {"$2", ""},          {"$3", "c"},     {"$4", ""},           {"$0", "ac"},
      {"$$", "$"},         {"$", "$"},      {"a$", "a$"},         {"${", "${"},
      {"${}", "${}"},      {"$-", "$-"},    {"${1", "${1"},       {"$01", ""},
      {"$1$3", "ac"},      {"$1_$3", "c"},  {"${1}_$3", "a_c"},   {"$$1", "$1"},
      {"${first}x", "ax"}, {"$firstx", ""}, {"$99999999999", ""},
  };
  for (const auto& one : cases) {
    CAPTURE(one.first);
    CHECK(MatchAndExpand(**regex, "ac", one.first).value_or("no match") == one.second);
  }
  CHECK_FALSE(MatchAndExpand(**regex, "xac", "$1").has_value());
  CHECK(HasRegexReferences("a$1"));
  CHECK(HasRegexReferences("$$"));
  CHECK_FALSE(HasRegexReferences("a$-"));
}

}  // namespace
}  // namespace varve
