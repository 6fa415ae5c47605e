// SPDX-License-Identifier: Apache-2.0
//
// Reading with yaml-cpp, whose exceptions end here.
#include "scrape/discovery/target_groups.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <utility>

#include "model/status_macros.h"
#include "scrape/discovery/static.h"

namespace varve {
namespace {

std::string SourceOf(const std::string& origin, size_t index) {
  return fmt::format("{}:{}", origin, index);
}

absl::Status TextError(const std::string& origin, const YAML::Mark& mark, std::string_view text) {
  return absl::InvalidArgumentError(fmt::format("{}:{}: {}", origin, mark.line + 1, text));
}

absl::StatusOr<std::vector<std::string>> ReadTargets(const YAML::Node& node,
                                                     const std::string& origin) {
  std::vector<std::string> targets;
  if (!node.IsDefined() || node.IsNull()) return targets;
  if (!node.IsSequence()) return TextError(origin, node.Mark(), "targets: expected a list");
  for (const YAML::Node& target : node) {
    if (!target.IsScalar()) return TextError(origin, target.Mark(), "targets: expected a string");
    if (target.Scalar().size() > kLabelTextBytesMax) {
      return TextError(origin, target.Mark(),
                       fmt::format("targets: longer than {} bytes", kLabelTextBytesMax));
    }
    targets.push_back(target.Scalar());
  }
  return targets;
}

absl::StatusOr<Labels> ReadLabels(const YAML::Node& node, const std::string& origin,
                                  std::string_view origin_label) {
  std::vector<std::pair<std::string, std::string>> pairs;
  if (node.IsDefined() && !node.IsNull()) {
    if (!node.IsMap()) return TextError(origin, node.Mark(), "labels: expected a map");
    for (const auto& label : node) {
      if (!label.first.IsScalar() || !label.second.IsScalar()) {
        return TextError(origin, label.second.Mark(), "labels: expected a string");
      }
      const std::string& name = label.first.Scalar();
      if (name.size() > kLabelTextBytesMax || label.second.Scalar().size() > kLabelTextBytesMax) {
        return TextError(origin, label.first.Mark(),
                         fmt::format("labels: longer than {} bytes", kLabelTextBytesMax));
      }
      if (name.empty() || !IsValidUtf8(name) || !IsValidUtf8(label.second.Scalar())) {
        return TextError(origin, label.first.Mark(),
                         fmt::format("{} is not a valid label name", Quoted(name)));
      }
      pairs.emplace_back(name, label.second.Scalar());
    }
  }
  pairs.emplace_back(origin_label, origin);
  return Labels::FromPairs(std::move(pairs));
}

absl::StatusOr<TargetGroup> ReadGroup(const YAML::Node& node, const std::string& origin,
                                      std::string_view origin_label, size_t index) {
  if (!node.IsMap()) return TextError(origin, node.Mark(), "expected a target group");
  StaticConfig config;
  for (const auto& field : node) {
    const std::string name = field.first.IsScalar() ? field.first.Scalar() : "";
    if (name != "targets" && name != "labels") {
      return TextError(origin, field.first.Mark(),
                       fmt::format("field {} not found in type struct", name));
    }
  }
  ASSIGN_OR_RETURN(config.targets, ReadTargets(node["targets"], origin));
  ASSIGN_OR_RETURN(config.labels, ReadLabels(node["labels"], origin, origin_label));
  return StaticGroup(config, SourceOf(origin, index));
}

}  // namespace

absl::StatusOr<std::vector<TargetGroup>> ParseTargetGroups(std::string_view text,
                                                           const std::string& origin,
                                                           std::string_view origin_label) {
  std::vector<TargetGroup> groups;
  try {
    const YAML::Node root = YAML::Load(std::string(text));
    if (root.IsNull()) return groups;
    if (!root.IsSequence())
      return TextError(origin, root.Mark(), "expected a list of target groups");
    for (const YAML::Node& node : root) {
      ASSIGN_OR_RETURN(TargetGroup group, ReadGroup(node, origin, origin_label, groups.size()));
      groups.push_back(std::move(group));
    }
  } catch (const YAML::Exception& error) {
    return TextError(origin, error.mark, error.msg);
  }
  return groups;
}

void DropTargetGroups(const std::string& origin, size_t from, size_t to,
                      std::vector<TargetGroup>& changed) {
  for (size_t i = from; i < to; ++i) changed.push_back({SourceOf(origin, i), {}, {}});
}

}  // namespace varve
