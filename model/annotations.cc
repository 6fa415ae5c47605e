// SPDX-License-Identifier: Apache-2.0
//
// Annotations: kept in order of appearance, shown in part.

#include "model/annotations.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

namespace varve {
namespace {

std::vector<std::string> Shown(const std::vector<std::string>& texts, std::string_view kind) {
  const size_t shown = std::min(texts.size(), kAnnotationsMax);
  std::vector<std::string> result(texts.begin(), texts.begin() + shown);
  if (shown < texts.size()) {
    result.push_back(fmt::format("{} more {} annotations omitted", texts.size() - shown, kind));
  }
  return result;
}

}  // namespace

void Annotations::Add(std::string text, std::vector<std::string>& texts) {
  if (std::find(texts.begin(), texts.end(), text) == texts.end()) texts.push_back(std::move(text));
}

void Annotations::Merge(const Annotations& other) {
  for (const std::string& text : other.warnings_) AddWarning(text);
  for (const std::string& text : other.infos_) AddInfo(text);
}

std::vector<std::string> Annotations::ShownWarnings() const { return Shown(warnings_, "warning"); }
std::vector<std::string> Annotations::ShownInfos() const { return Shown(infos_, "info"); }

}  // namespace varve
