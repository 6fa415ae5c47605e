// SPDX-License-Identifier: Apache-2.0
//
// The smallest of many texts, without a copy of the others: what a limited answer of names or
// values takes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/queryable.h"

namespace varve {

// Keeps the `limit` smallest texts offered (all if 0). Texts are views: what they view outlives it.
class SmallestTexts {
 public:
  explicit SmallestTexts(uint64_t limit) : limit_(limit) {}

  // REQUIRES: no text is offered twice. accept() says whether it counts; it is asked only if that
  // makes a difference.
  template <typename Accept>
  void Offer(std::string_view text, Accept accept) {
    if (limit_ == 0 || texts_.size() < limit_) {
      if (!accept()) return;
      texts_.push_back(text);
      if (texts_.size() == limit_) std::make_heap(texts_.begin(), texts_.end());
    } else if (text < texts_.front()) {
      if (!accept()) return;
      std::pop_heap(texts_.begin(), texts_.end());
      texts_.back() = text;
      std::push_heap(texts_.begin(), texts_.end());
      truncated_ = true;
    } else if (!truncated_) {
      truncated_ = accept();
    }
  }

  // Sorted. The last call.
  LabelTexts Take() {
    std::sort(texts_.begin(), texts_.end());
    LabelTexts result;
    result.texts.assign(texts_.begin(), texts_.end());
    result.truncated = truncated_;
    return result;
  }

 private:
  const uint64_t limit_;
  std::vector<std::string_view> texts_;  // A heap, largest first, once there are `limit_`.
  bool truncated_ = false;
};

}  // namespace varve
