// SPDX-License-Identifier: Apache-2.0
//
// The relabel actions. What a rule needs is checked and prepared once in Create(); Apply() cannot
// fail.
#include "model/relabel.h"

#include <fmt/format.h>
#include <locale.h>
#include <openssl/evp.h>
#include <re2/re2.h>
#include <wctype.h>

#include <array>
#include <utility>

#include "model/matcher.h"
#include "model/status_macros.h"

namespace varve {
namespace {

constexpr std::array<std::pair<RelabelAction, std::string_view>, 11> kActionTexts = {{
    {RelabelAction::kReplace, "replace"},
    {RelabelAction::kKeep, "keep"},
    {RelabelAction::kDrop, "drop"},
    {RelabelAction::kKeepEqual, "keepequal"},
    {RelabelAction::kDropEqual, "dropequal"},
    {RelabelAction::kHashMod, "hashmod"},
    {RelabelAction::kLabelMap, "labelmap"},
    {RelabelAction::kLabelDrop, "labeldrop"},
    {RelabelAction::kLabelKeep, "labelkeep"},
    {RelabelAction::kLowercase, "lowercase"},
    {RelabelAction::kUppercase, "uppercase"},
}};

bool IsValidName(const RelabelConfig& config, std::string_view name) {
  if (config.legacy_names) return IsLegacyLabelName(name);
  return !name.empty() && IsValidUtf8(name);
}

// A name with references in it: each may stand for any part of a name.
bool IsValidNameTemplate(const RelabelConfig& config, std::string_view text) {
  if (!config.legacy_names) return !text.empty() && IsValidUtf8(text);
  static const re2::RE2 kLegacy(R"((?:(?:[a-zA-Z_]|\$(?:\{\w+\}|\w+))+\w*)+)");
  return re2::RE2::FullMatch(re2::StringPiece(text.data(), text.size()), kLegacy);
}

absl::Status CheckTarget(const RelabelConfig& config) {
  const std::string_view action = RelabelActionText(config.action);
  switch (config.action) {
    case RelabelAction::kReplace:
    case RelabelAction::kHashMod:
    case RelabelAction::kLowercase:
    case RelabelAction::kUppercase:
    case RelabelAction::kKeepEqual:
    case RelabelAction::kDropEqual:
      break;
    default:
      return absl::OkStatus();
  }
  if (config.target_label.empty()) {
    return absl::InvalidArgumentError(
        fmt::format("relabel configuration for {} action requires 'target_label' value", action));
  }
  const bool valid =
      config.action == RelabelAction::kReplace && HasRegexReferences(config.target_label)
          ? IsValidNameTemplate(config, config.target_label)
          : IsValidName(config, config.target_label);
  if (!valid) {
    return absl::InvalidArgumentError(fmt::format("{} is invalid 'target_label' for {} action",
                                                  Quoted(config.target_label), action));
  }
  return absl::OkStatus();
}

absl::Status CheckReplacement(const RelabelConfig& config) {
  const std::string_view action = RelabelActionText(config.action);
  const bool takes_none =
      config.action == RelabelAction::kLowercase || config.action == RelabelAction::kUppercase ||
      config.action == RelabelAction::kKeepEqual || config.action == RelabelAction::kDropEqual;
  if (takes_none && config.replacement != RelabelConfig().replacement) {
    return absl::InvalidArgumentError(
        fmt::format("'replacement' can not be set for {} action", action));
  }
  if (config.action == RelabelAction::kLabelMap &&
      !IsValidNameTemplate(config, config.replacement)) {
    return absl::InvalidArgumentError(fmt::format("{} is invalid 'replacement' for {} action",
                                                  Quoted(config.replacement), action));
  }
  return absl::OkStatus();
}

absl::Status CheckUnusedFields(const RelabelConfig& config) {
  const std::string_view action = RelabelActionText(config.action);
  const RelabelConfig defaults;
  const bool others_default = config.modulus == defaults.modulus &&
                              config.separator == defaults.separator &&
                              config.replacement == defaults.replacement;
  if (config.action == RelabelAction::kKeepEqual || config.action == RelabelAction::kDropEqual) {
    if (!others_default || config.regex != defaults.regex) {
      return absl::InvalidArgumentError(fmt::format(
          "{} action requires only 'source_labels' and `target_label`, and no other fields",
          action));
    }
  }
  if (config.action == RelabelAction::kLabelDrop || config.action == RelabelAction::kLabelKeep) {
    if (!others_default || !config.source_labels.empty() || !config.target_label.empty()) {
      return absl::InvalidArgumentError(
          fmt::format("{} action requires only 'regex', and no other fields", action));
    }
  }
  return absl::OkStatus();
}

uint64_t LastHalfOfMd5(std::string_view text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest = {};
  unsigned int bytes = 0;
  EVP_Digest(text.data(), text.size(), digest.data(), &bytes, EVP_md5(), nullptr);
  uint64_t value = 0;
  for (size_t i = 8; i < 16; ++i) value = value << 8 | digest[i];
  return value;
}

void AppendUtf8(uint32_t rune, std::string& out) {
  if (rune < 0x80) {
    out += static_cast<char>(rune);
  } else if (rune < 0x800) {
    out += static_cast<char>(0xC0 | rune >> 6);
    out += static_cast<char>(0x80 | (rune & 0x3F));
  } else if (rune < 0x10000) {
    out += static_cast<char>(0xE0 | rune >> 12);
    out += static_cast<char>(0x80 | (rune >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (rune & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | rune >> 18);
    out += static_cast<char>(0x80 | (rune >> 12 & 0x3F));
    out += static_cast<char>(0x80 | (rune >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (rune & 0x3F));
  }
}

// Cases of all scripts, by the C library's table: the process' locale has no say in it.
std::string MapCase(std::string_view text, bool upper) {
  static const locale_t kLocale = newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
  std::string out;
  out.reserve(text.size());
  const bool decode = kLocale != nullptr && IsValidUtf8(text);
  for (size_t i = 0; i < text.size();) {
    const auto first = static_cast<unsigned char>(text[i]);
    if (first < 0x80 || !decode) {
      const bool other_case = upper ? first >= 'a' && first <= 'z' : first >= 'A' && first <= 'Z';
      out += static_cast<char>(other_case ? first ^ 0x20 : first);
      ++i;
      continue;
    }
    const size_t bytes = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    uint32_t rune = first & (0x7F >> bytes);
    for (size_t k = 1; k < bytes; ++k) rune = rune << 6 | (text[i + k] & 0x3F);
    AppendUtf8(upper ? towupper_l(rune, kLocale) : towlower_l(rune, kLocale), out);
    i += bytes;
  }
  return out;
}

std::string JoinSources(const RelabelConfig& config, const LabelsBuilder& labels) {
  std::string joined;
  for (size_t i = 0; i < config.source_labels.size(); ++i) {
    if (i > 0) joined += config.separator;
    joined += labels.Get(config.source_labels[i]);
  }
  return joined;
}

bool Matches(const re2::RE2& regex, std::string_view text) {
  return re2::RE2::FullMatch(re2::StringPiece(text.data(), text.size()), regex);
}

}  // namespace

std::string_view RelabelActionText(RelabelAction action) {
  for (const auto& [known, text] : kActionTexts) {
    if (known == action) return text;
  }
  return "";
}

absl::StatusOr<RelabelAction> ParseRelabelAction(std::string_view text) {
  const std::string lowered = MapCase(text, false);
  for (const auto& [action, known] : kActionTexts) {
    if (lowered == known) return action;
  }
  return absl::InvalidArgumentError(fmt::format("unknown relabel action {}", Quoted(lowered)));
}

absl::StatusOr<RelabelRule> RelabelRule::Create(RelabelConfig config) {
  RelabelRule rule;
  ASSIGN_OR_RETURN(rule.regex_, CompileAnchored(config.regex));
  if (config.action == RelabelAction::kHashMod && config.modulus == 0) {
    return absl::InvalidArgumentError(
        "relabel configuration for hashmod requires non-zero modulus");
  }
  RETURN_IF_ERROR(CheckTarget(config));
  RETURN_IF_ERROR(CheckReplacement(config));
  RETURN_IF_ERROR(CheckUnusedFields(config));
  rule.target_.emplace(config.target_label, *rule.regex_);
  rule.replacement_.emplace(config.replacement, *rule.regex_);
  rule.config_ = std::move(config);
  return rule;
}

void RelabelRule::Replace(std::string_view source, LabelsBuilder& labels) const {
  std::vector<std::string_view> groups;
  if (!MatchGroups(*regex_, source, groups)) return;
  std::string target;
  target_->Expand(groups, target);
  if (!IsValidName(config_, target)) return;
  std::string value;
  replacement_->Expand(groups, value);
  labels.Set(target, value);
}

void RelabelRule::MapLabels(LabelsBuilder& labels) const {
  const std::vector<std::pair<std::string, std::string>> before = labels.pairs();
  std::vector<std::string_view> groups;
  for (const auto& [name, value] : before) {
    if (!MatchGroups(*regex_, name, groups)) continue;
    std::string target;
    replacement_->Expand(groups, target);
    labels.Set(target, value);
  }
}

void RelabelRule::KeepLabels(bool matching, LabelsBuilder& labels) const {
  std::vector<std::string> gone;
  for (const auto& [name, value] : labels.pairs()) {
    if (Matches(*regex_, name) != matching) gone.push_back(name);
  }
  for (const std::string& name : gone) labels.Delete(name);
}

bool RelabelRule::Apply(LabelsBuilder& labels) const {
  const std::string source = JoinSources(config_, labels);
  switch (config_.action) {
    case RelabelAction::kReplace:
      Replace(source, labels);
      return true;
    case RelabelAction::kKeep:
      return Matches(*regex_, source);
    case RelabelAction::kDrop:
      return !Matches(*regex_, source);
    case RelabelAction::kKeepEqual:
      return labels.Get(config_.target_label) == source;
    case RelabelAction::kDropEqual:
      return labels.Get(config_.target_label) != source;
    case RelabelAction::kHashMod:
      labels.Set(config_.target_label, std::to_string(LastHalfOfMd5(source) % config_.modulus));
      return true;
    case RelabelAction::kLabelMap:
      MapLabels(labels);
      return true;
    case RelabelAction::kLabelDrop:
      KeepLabels(false, labels);
      return true;
    case RelabelAction::kLabelKeep:
      KeepLabels(true, labels);
      return true;
    case RelabelAction::kLowercase:
      labels.Set(config_.target_label, MapCase(source, false));
      return true;
    case RelabelAction::kUppercase:
      labels.Set(config_.target_label, MapCase(source, true));
      return true;
  }
  return true;
}

bool Relabel(const std::vector<RelabelRule>& rules, LabelsBuilder& labels) {
  for (const RelabelRule& rule : rules) {
    if (!rule.Apply(labels)) return false;
  }
  return true;
}

}  // namespace varve
