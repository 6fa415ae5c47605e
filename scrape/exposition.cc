// SPDX-License-Identifier: Apache-2.0
//
// Labels of a line, and what metadata adds to them.
#include "scrape/exposition.h"

#include <algorithm>

#include "model/labels.h"

namespace varve {
namespace {

void Set(std::string_view name, std::string_view value, LabelPairs& pairs) {
  const auto known = FindPair(pairs, name);
  if (known != pairs.end()) {
    known->second = std::string(value);
  } else {
    pairs.emplace_back(name, value);
  }
}

}  // namespace

LabelPairs::iterator FindPair(LabelPairs& pairs, std::string_view name) {
  return std::find_if(pairs.begin(), pairs.end(),
                      [name](const auto& pair) { return pair.first == name; });
}

void SetMetadataLabels(MetricType type, std::string_view unit, LabelPairs& pairs) {
  if (type != MetricType::kUnknown) Set(kTypeLabel, MetricTypeText(type), pairs);
  if (!unit.empty()) Set(kUnitLabel, unit, pairs);
}

}  // namespace varve
