// SPDX-License-Identifier: Apache-2.0
//
// Relabelling: rules that rewrite or drop label sets, as Prometheus' relabel_configs do.
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/labels.h"
#include "model/regex_expand.h"

namespace re2 {
class RE2;
}

namespace varve {

enum class RelabelAction {
  kReplace,
  kKeep,
  kDrop,
  kKeepEqual,
  kDropEqual,
  kHashMod,
  kLabelMap,
  kLabelDrop,
  kLabelKeep,
  kLowercase,
  kUppercase,
};
std::string_view RelabelActionText(RelabelAction action);
// Case-insensitive. InvalidArgument `unknown relabel action "x"`.
absl::StatusOr<RelabelAction> ParseRelabelAction(std::string_view text);

// What a relabel_config says, with Prometheus' defaults.
struct RelabelConfig {
  std::vector<std::string> source_labels;
  std::string separator = ";";
  std::string regex = "(.*)";
  uint64_t modulus = 0;
  std::string target_label;
  std::string replacement = "$1";
  RelabelAction action = RelabelAction::kReplace;
  bool legacy_names = false;  // Under `metric_name_validation_scheme: legacy`.

  friend bool operator==(const RelabelConfig&, const RelabelConfig&) = default;
};

// A checked rule. A value; copies share the compiled expression. Thread-safe.
class RelabelRule {
 public:
  // InvalidArgument with Prometheus' text, e.g.
  // `relabel configuration for replace action requires 'target_label' value`.
  static absl::StatusOr<RelabelRule> Create(RelabelConfig config);

  const RelabelConfig& config() const { return config_; }
  friend bool operator==(const RelabelRule& a, const RelabelRule& b) {
    return a.config_ == b.config_;
  }

  // Applies the rule; false means the label set is dropped.
  bool Apply(LabelsBuilder& labels) const;

 private:
  RelabelRule() = default;
  void Replace(std::string_view source, LabelsBuilder& labels) const;
  void MapLabels(LabelsBuilder& labels) const;
  void KeepLabels(bool matching, LabelsBuilder& labels) const;

  RelabelConfig config_;
  std::shared_ptr<const re2::RE2> regex_;
  // The templates, cut for regex_.
  std::optional<RegexTemplate> target_;
  std::optional<RegexTemplate> replacement_;
};

// Applies the rules in order; false as soon as one drops the set.
bool Relabel(const std::vector<RelabelRule>& rules, LabelsBuilder& labels);

}  // namespace varve
