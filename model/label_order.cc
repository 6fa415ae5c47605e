// SPDX-License-Identifier: Apache-2.0
//
// Names and values, each with a zero behind it, compare as bytes like the label sets they are of,
// as long as no text has a zero itself. Such keys are sorted from the front, eight bytes as one
// number; those alike go on with the next eight.
#include "model/label_order.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>

#include "model/copy_text.h"

namespace varve {
namespace {

constexpr size_t kChunk = sizeof(uint64_t);
// So few are compared as they are.
constexpr size_t kFew = 8;

class Keys {
 public:
  explicit Keys(absl::Span<const Labels> labels) {
    size_t bytes = 0;
    for (const Labels& set : labels) bytes += set.bytes().size() + kChunk;
    bytes_.resize(bytes);
    begins_.reserve(labels.size() + 1);
  }

  // False if there is a text with a zero.
  bool Add(const Labels& labels) {
    begins_.push_back(size_);
    // Mostly nothing in the set is zero, neither texts nor what is between them.
    if (HasZero(labels.bytes())) {
      for (const LabelView& label : labels) {
        if (HasZero(label.name) || HasZero(label.value)) return false;
      }
    }
    // Where nothing is written there are zeros.
    char* to = bytes_.data() + size_;
    for (const LabelView& label : labels) {
      to = CopyText(label.name, to) + 1;
      to = CopyText(label.value, to) + 1;
    }
    size_ = (static_cast<size_t>(to - bytes_.data()) + kChunk - 1) / kChunk * kChunk;
    return true;
  }
  void Finish() { begins_.push_back(size_); }

  // The eight bytes of a key from `depth` on; 0, which is in front of all others, past its end.
  uint64_t ChunkAt(uint32_t index, size_t depth) const {
    const size_t at = begins_[index] + depth;
    if (at >= begins_[index + 1]) return 0;
    uint64_t chunk;
    std::memcpy(&chunk, bytes_.data() + at, kChunk);
    if constexpr (std::endian::native == std::endian::little) chunk = __builtin_bswap64(chunk);
    return chunk;
  }
  // REQUIRES: both are the same up to `depth`.
  bool Less(uint32_t a, uint32_t b, size_t depth) const {
    const int by_bytes = From(a, depth).compare(From(b, depth));
    return by_bytes != 0 ? by_bytes < 0 : a < b;
  }

 private:
  static bool HasZero(std::string_view text) {
    return std::memchr(text.data(), 0, text.size()) != nullptr;
  }
  std::string_view From(uint32_t index, size_t depth) const {
    const size_t at = std::min(begins_[index] + depth, begins_[index + 1]);
    return std::string_view(bytes_).substr(at, begins_[index + 1] - at);
  }

  std::string bytes_;  // With room behind the keys.
  size_t size_ = 0;
  std::vector<size_t> begins_;  // Of each key, and the end of the last one.
};

struct Item {
  uint64_t chunk = 0;
  uint32_t index = 0;
};

// Items [begin, end) whose keys are the same up to `depth`.
struct Range {
  size_t begin = 0;
  size_t end = 0;
  size_t depth = 0;
};

// Sorts a range by its next chunk, and adds those parts of it that are not in order yet.
void SortRange(const Keys& keys, Range range, std::vector<Item>& items, std::vector<Range>& left) {
  const auto begin = items.begin() + static_cast<ptrdiff_t>(range.begin);
  const auto end = items.begin() + static_cast<ptrdiff_t>(range.end);
  if (range.end - range.begin <= kFew) {
    std::sort(begin, end, [&](const Item& a, const Item& b) {
      return keys.Less(a.index, b.index, range.depth);
    });
    return;
  }
  bool alike = true;
  for (auto it = begin; it != end; ++it) {
    it->chunk = keys.ChunkAt(it->index, range.depth);
    alike &= it->chunk == begin->chunk;
  }
  if (alike && begin->chunk == 0) {  // All are at their end.
    std::sort(begin, end, [](const Item& a, const Item& b) { return a.index < b.index; });
    return;
  }
  if (alike) return left.push_back({range.begin, range.end, range.depth + kChunk});
  std::sort(begin, end, [](const Item& a, const Item& b) { return a.chunk < b.chunk; });
  for (size_t from = range.begin; from < range.end;) {
    size_t to = from + 1;
    while (to < range.end && items[to].chunk == items[from].chunk) ++to;
    if (to - from > 1) left.push_back({from, to, range.depth + kChunk});
    from = to;
  }
}

std::vector<uint32_t> OrderByComparing(absl::Span<const Labels> labels) {
  std::vector<uint32_t> order(labels.size());
  for (uint32_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(),
                   [&](uint32_t a, uint32_t b) { return labels[a] < labels[b]; });
  return order;
}

}  // namespace

std::vector<uint32_t> OrderOfLabels(absl::Span<const Labels> labels) {
  if (labels.size() <= kFew) return OrderByComparing(labels);
  Keys keys(labels);
  std::vector<Item> items(labels.size());
  for (uint32_t i = 0; i < labels.size(); ++i) {
    if (!keys.Add(labels[i])) return OrderByComparing(labels);
    items[i].index = i;
  }
  keys.Finish();
  std::vector<Range> left{{0, items.size(), 0}};
  while (!left.empty()) {
    const Range range = left.back();
    left.pop_back();
    SortRange(keys, range, items, left);
  }
  std::vector<uint32_t> order(items.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = items[i].index;
  return order;
}

}  // namespace varve
