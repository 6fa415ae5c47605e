// SPDX-License-Identifier: Apache-2.0
//
// Relabelling: rules that rewrite or drop label sets, as Prometheus' relabel_configs do.
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "model/labels.h"

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
};

// A checked rule. A value; copies share the compiled expression. Thread-safe.
class RelabelRule {
 public:
  // InvalidArgument with Prometheus' text, e.g.
  // `relabel configuration for replace action requires 'target_label' value`.
  static absl::StatusOr<RelabelRule> Create(RelabelConfig config);

  const RelabelConfig& config() const { return config_; }

  // Applies the rule; false means the label set is dropped.
  bool Apply(LabelsBuilder& labels) const;

 private:
  RelabelRule() = default;

  RelabelConfig config_;
  std::shared_ptr<const re2::RE2> regex_;
};

// Applies the rules in order; false as soon as one drops the set.
bool Relabel(const std::vector<RelabelRule>& rules, LabelsBuilder& labels);

}  // namespace varve
