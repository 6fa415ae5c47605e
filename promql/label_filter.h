// SPDX-License-Identifier: Apache-2.0
//
// Label sets with some labels left out, without taking them apart: the canonical bytes of the rest
// are copied as they are.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/labels.h"

namespace varve::promql {

// Overwrites `bytes` with the canonical bytes of the labels for whose names `keep` is true.
template <typename Keep>
void FilterLabelBytes(const Labels& labels, Keep keep, std::string& bytes) {
  const char* next = labels.bytes().data();
  bytes.clear();
  for (const LabelView& label : labels) {
    const char* end = label.value.data() + label.value.size();
    if (keep(label.name)) bytes.append(next, static_cast<size_t>(end - next));
    next = end;
  }
}

// The labels for whose names `keep` is true.
template <typename Keep>
Labels FilterLabels(const Labels& labels, Keep keep) {
  std::string bytes;
  bytes.reserve(labels.bytes().size());
  FilterLabelBytes(labels, keep, bytes);
  return Labels::OfBytes(std::move(bytes));
}

inline bool IsOneOf(std::string_view name, const std::vector<std::string>& names) {
  for (const std::string& candidate : names) {
    if (candidate == name) return true;
  }
  return false;
}

}  // namespace varve::promql
