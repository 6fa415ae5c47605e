// SPDX-License-Identifier: Apache-2.0
//
// What metadata adds to labels.
#include "scrape/exposition.h"

#include <algorithm>

#include "model/labels.h"

namespace varve {
namespace {

void Set(std::string_view name, std::string_view value, LabelPairs& pairs) {
  const auto known = std::find_if(pairs.begin(), pairs.end(),
                                  [name](const auto& pair) { return pair.first == name; });
  if (known != pairs.end()) {
    known->second = std::string(value);
  } else {
    pairs.emplace_back(name, value);
  }
}

}  // namespace

void SetMetadataLabels(MetricType type, std::string_view unit, LabelPairs& pairs) {
  if (type != MetricType::kUnknown) Set(kTypeLabel, MetricTypeText(type), pairs);
  if (!unit.empty()) Set(kUnitLabel, unit, pairs);
}

}  // namespace varve
