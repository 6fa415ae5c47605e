// SPDX-License-Identifier: Apache-2.0
//
// yaml-cpp throws; its exceptions end in this file. Messages are Prometheus', positions are those
// of the value that is wrong.
#include "rules/rule_file.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <initializer_list>
#include <sstream>

#include "model/labels.h"
#include "model/status_macros.h"
#include "model/string_map.h"

namespace varve {
namespace {

// Reads one file; every failure names it and the line.
class Reader {
 public:
  Reader(std::string_view file, const promql::ParserOptions& options)
      : file_(file), options_(options) {}

  absl::StatusOr<std::vector<RuleGroupSpec>> Read(const YAML::Node& root);

 private:
  using TextMap = std::map<std::string, std::string>;

  absl::Status Fail(const YAML::Node& at, std::string_view message) const {
    return absl::InvalidArgumentError(
        fmt::format("{}: {}:{}: {}", file_, at.Mark().line + 1, at.Mark().column + 1, message));
  }
  absl::Status CheckKeys(const YAML::Node& map, std::string_view what,
                         std::initializer_list<std::string_view> allowed) const;
  absl::StatusOr<std::string> Text(const YAML::Node& map, const char* key) const;
  absl::StatusOr<DurationMs> Duration(const YAML::Node& map, const char* key) const;
  absl::StatusOr<TextMap> Texts(const YAML::Node& map, const char* key) const;
  absl::StatusOr<uint64_t> Count(const YAML::Node& map, const char* key) const;

  absl::StatusOr<RuleGroupSpec> ReadGroup(const YAML::Node& node);
  absl::StatusOr<RuleSpec> ReadRule(const YAML::Node& node, const RuleGroupSpec& group,
                                    const TextMap& group_labels);
  absl::Status CheckRule(const YAML::Node& node, const RuleSpec& rule) const;
  absl::Status CheckLabels(const YAML::Node& at, const TextMap& labels) const;

  const std::string_view file_;
  const promql::ParserOptions& options_;
  size_t rules_ = 0;
};

absl::Status Reader::CheckKeys(const YAML::Node& map, std::string_view what,
                               std::initializer_list<std::string_view> allowed) const {
  if (!map.IsMap()) return Fail(map, fmt::format("{} must be a mapping", what));
  StringSet seen;
  for (const auto& pair : map) {
    const std::string& key = pair.first.Scalar();
    bool known = false;
    for (std::string_view name : allowed) known = known || name == key;
    if (!known) return Fail(pair.first, fmt::format("field {} not found in {}", key, what));
    if (!seen.insert(key).second) {
      return Fail(pair.first, fmt::format("key {} already set in {}", Quoted(key), what));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> Reader::Text(const YAML::Node& map, const char* key) const {
  const YAML::Node value = map[key];
  if (!value || value.IsNull()) return "";
  if (!value.IsScalar()) return Fail(value, fmt::format("field {} must be text", key));
  return value.Scalar();
}

absl::StatusOr<DurationMs> Reader::Duration(const YAML::Node& map, const char* key) const {
  const YAML::Node value = map[key];
  ASSIGN_OR_RETURN(const std::string text, Text(map, key));
  if (text.empty()) return 0;
  const absl::StatusOr<DurationMs> duration = ParseDuration(text);
  if (!duration.ok()) {
    return Fail(value, fmt::format("field {}: {}", key, MessageOf(duration.status())));
  }
  return *duration;
}

absl::StatusOr<Reader::TextMap> Reader::Texts(const YAML::Node& map, const char* key) const {
  const YAML::Node value = map[key];
  TextMap texts;
  if (!value || value.IsNull()) return texts;
  if (!value.IsMap()) return Fail(value, fmt::format("field {} must be a mapping", key));
  for (const auto& pair : value) {
    if (!pair.first.IsScalar() || !(pair.second.IsScalar() || pair.second.IsNull())) {
      return Fail(pair.first, fmt::format("field {} must map text to text", key));
    }
    const std::string text = pair.second.IsNull() ? "" : pair.second.Scalar();
    if (!texts.emplace(pair.first.Scalar(), text).second) {
      return Fail(pair.first, fmt::format("key {} already set", Quoted(pair.first.Scalar())));
    }
  }
  return texts;
}

absl::StatusOr<uint64_t> Reader::Count(const YAML::Node& map, const char* key) const {
  ASSIGN_OR_RETURN(const std::string text, Text(map, key));
  if (text.empty()) return 0;
  int64_t value = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  if (result.ec != std::errc() || result.ptr != text.data() + text.size()) {
    return Fail(map[key], fmt::format("field {}: {} is no whole number", key, Quoted(text)));
  }
  return value < 0 ? 0 : static_cast<uint64_t>(value);
}

absl::Status Reader::CheckLabels(const YAML::Node& at, const TextMap& labels) const {
  for (const auto& [name, value] : labels) {
    if (name.empty() || !IsValidUtf8(name) || name == kMetricName) {
      return Fail(at, fmt::format("invalid label name: {}", name));
    }
    if (!IsValidUtf8(value)) return Fail(at, fmt::format("invalid label value: {}", value));
  }
  return absl::OkStatus();
}

absl::Status Reader::CheckRule(const YAML::Node& node, const RuleSpec& rule) const {
  if (!rule.record.empty() && !rule.alert.empty()) {
    return Fail(node, "only one of 'record' and 'alert' must be set");
  }
  if (rule.record.empty() && rule.alert.empty()) {
    return Fail(node, "one of 'record' or 'alert' must be set");
  }
  if (rule.expr.empty()) return Fail(node, "field 'expr' must be set in rule");
  const auto expr = promql::Parse(rule.expr, options_);
  if (!expr.ok()) {
    return Fail(node["expr"],
                fmt::format("could not parse expression: {}", MessageOf(expr.status())));
  }
  if (!rule.record.empty()) {
    for (const char* field : {"annotations", "for", "keep_firing_for"}) {
      const YAML::Node value = node[field];
      const bool set = value && !value.IsNull() && !(value.IsMap() && value.size() == 0);
      if (set) return Fail(value, fmt::format("invalid field '{}' in recording rule", field));
    }
    if (rule.record.find_first_of("{}") != std::string::npos) {
      return Fail(
          node["record"],
          fmt::format("braces present in the recording rule name; should it be in expr?: {}",
                      rule.record));
    }
    if (!IsValidUtf8(rule.record)) {
      return Fail(node["record"], fmt::format("invalid recording rule name: {}", rule.record));
    }
  }
  return CheckLabels(node, rule.labels);
}

absl::StatusOr<RuleSpec> Reader::ReadRule(const YAML::Node& node, const RuleGroupSpec& group,
                                          const TextMap& group_labels) {
  RETURN_IF_ERROR(
      CheckKeys(node, "rule",
                {"record", "alert", "expr", "for", "keep_firing_for", "labels", "annotations"}));
  RuleSpec rule;
  ASSIGN_OR_RETURN(rule.record, Text(node, "record"));
  ASSIGN_OR_RETURN(rule.alert, Text(node, "alert"));
  const std::string name = rule.record.empty() ? rule.alert : rule.record;
  const auto in_rule = [&](const absl::Status& status) {
    // The position stays in front: `FILE: 3:5: group "g", rule 1, "name": ...`.
    const std::string text = MessageOf(status);
    const size_t position = text.find(": ", file_.size() + 2);
    if (!text.starts_with(file_) || position == std::string::npos) return status;
    return absl::InvalidArgumentError(
        fmt::format("{}: group {}, rule {}, {}: {}", text.substr(0, position), Quoted(group.name),
                    group.rules.size() + 1, Quoted(name), text.substr(position + 2)));
  };
  const auto read = [&]() -> absl::Status {
    ASSIGN_OR_RETURN(rule.expr, Text(node, "expr"));
    ASSIGN_OR_RETURN(rule.for_ms, Duration(node, "for"));
    ASSIGN_OR_RETURN(rule.keep_firing_for_ms, Duration(node, "keep_firing_for"));
    ASSIGN_OR_RETURN(rule.labels, Texts(node, "labels"));
    ASSIGN_OR_RETURN(rule.annotations, Texts(node, "annotations"));
    return CheckRule(node, rule);
  };
  const absl::Status status = read();
  if (!status.ok()) return in_rule(status);
  rule.labels.insert(group_labels.begin(), group_labels.end());
  return rule;
}

absl::StatusOr<RuleGroupSpec> Reader::ReadGroup(const YAML::Node& node) {
  RETURN_IF_ERROR(CheckKeys(node, "rule group",
                            {"name", "interval", "query_offset", "limit", "labels", "rules"}));
  RuleGroupSpec group;
  group.file = file_;
  ASSIGN_OR_RETURN(group.name, Text(node, "name"));
  if (group.name.empty()) return Fail(node, "Groupname must not be empty");
  ASSIGN_OR_RETURN(group.interval, Duration(node, "interval"));
  if (node["query_offset"] && !node["query_offset"].IsNull()) {
    ASSIGN_OR_RETURN(group.query_offset, Duration(node, "query_offset"));
  }
  ASSIGN_OR_RETURN(group.limit, Count(node, "limit"));
  ASSIGN_OR_RETURN(const TextMap labels, Texts(node, "labels"));
  RETURN_IF_ERROR(CheckLabels(node, labels));
  const YAML::Node rules = node["rules"];
  if (!rules || rules.IsNull()) return group;
  if (!rules.IsSequence()) return Fail(rules, "field rules must be a list");
  for (const YAML::Node& rule : rules) {
    if (++rules_ > kRulesMax) return Fail(rule, fmt::format("more than {} rules", kRulesMax));
    ASSIGN_OR_RETURN(RuleSpec spec, ReadRule(rule, group, labels));
    group.rules.push_back(std::move(spec));
  }
  return group;
}

absl::StatusOr<std::vector<RuleGroupSpec>> Reader::Read(const YAML::Node& root) {
  std::vector<RuleGroupSpec> groups;
  if (!root || root.IsNull()) return groups;
  RETURN_IF_ERROR(CheckKeys(root, "rule file", {"groups"}));
  const YAML::Node list = root["groups"];
  if (!list || list.IsNull()) return groups;
  if (!list.IsSequence()) return Fail(list, "field groups must be a list");
  StringSet names;
  for (const YAML::Node& node : list) {
    ASSIGN_OR_RETURN(RuleGroupSpec group, ReadGroup(node));
    if (!names.insert(group.name).second) {
      return Fail(node,
                  fmt::format("groupname: {} is repeated in the same file", Quoted(group.name)));
    }
    groups.push_back(std::move(group));
  }
  return groups;
}

}  // namespace

absl::StatusOr<std::vector<RuleGroupSpec>> ParseRuleFile(std::string_view text,
                                                         std::string_view file,
                                                         const promql::ParserOptions& options) {
  try {
    return Reader(file, options).Read(YAML::Load(std::string(text)));
  } catch (const YAML::Exception& error) {
    return absl::InvalidArgumentError(
        fmt::format("{}: {}:{}: {}", file, error.mark.line + 1, error.mark.column + 1, error.msg));
  }
}

absl::StatusOr<std::vector<RuleGroupSpec>> LoadRuleFile(const std::string& path,
                                                        const promql::ParserOptions& options) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream) {
    return absl::NotFoundError(fmt::format("{}: cannot open: {}", path, std::strerror(errno)));
  }
  std::string text;
  char piece[64 << 10];
  while (stream.read(piece, sizeof(piece)), stream.gcount() > 0) {
    text.append(piece, static_cast<size_t>(stream.gcount()));
    if (text.size() > kRuleFileBytesMax) {
      return absl::InvalidArgumentError(
          fmt::format("{}: 1:1: larger than {} bytes", path, kRuleFileBytesMax));
    }
  }
  if (stream.bad()) return absl::UnavailableError(fmt::format("{}: cannot read", path));
  return ParseRuleFile(text, path, options);
}

}  // namespace varve
