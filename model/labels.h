// SPDX-License-Identifier: Apache-2.0
//
// Label sets. A Labels value is one string: the sorted pairs, each name and value behind its length
// (one byte below 255, else 0xFF and three bytes, little endian). Equal sets have equal bytes, so
// comparing, hashing and storing need no decoding. The hash is XXH64 of those bytes: PromQL's
// limit_ratio depends on it.
#pragma once

#include <absl/status/statusor.h>

#include <compare>
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/copy_text.h"

namespace varve {

inline constexpr std::string_view kMetricName = "__name__";
inline constexpr std::string_view kBucketLabel = "le";
inline constexpr std::string_view kTypeLabel = "__type__";
inline constexpr std::string_view kUnitLabel = "__unit__";

// The longest label name or value the encoding holds.
inline constexpr size_t kLabelTextBytesMax = (1u << 24) - 1;
// Stands where the length of a text would: it is in the three bytes that follow.
inline constexpr uint8_t kLongLabelText = 0xFF;

struct LabelView {
  std::string_view name;
  std::string_view value;
  friend bool operator==(const LabelView&, const LabelView&) = default;
};

// An immutable set of labels, sorted by name, each name once, no empty values.
// Copies the bytes when copied. Views into it live as long as it does and stay unmodified.
class Labels {
 public:
  class Iterator {
   public:
    using iterator_category = std::forward_iterator_tag;
    using value_type = LabelView;
    using difference_type = std::ptrdiff_t;
    using pointer = const LabelView*;
    using reference = const LabelView&;

    Iterator() = default;
    explicit Iterator(std::string_view rest) : rest_(rest) { Read(); }
    const LabelView& operator*() const { return current_; }
    const LabelView* operator->() const { return &current_; }
    Iterator& operator++() {
      rest_.remove_prefix(current_bytes_);
      Read();
      return *this;
    }
    Iterator operator++(int) {
      Iterator before = *this;
      ++*this;
      return before;
    }
    friend bool operator==(const Iterator& a, const Iterator& b) {
      return a.rest_.data() == b.rest_.data() && a.rest_.size() == b.rest_.size();
    }

   private:
    // Most texts are short.
    void Read() {
      if (rest_.empty()) return;
      const char* const at = rest_.data();
      const size_t name = static_cast<uint8_t>(at[0]);
      if (name == kLongLabelText) return ReadLong();
      const size_t value = static_cast<uint8_t>(at[1 + name]);
      if (value == kLongLabelText) return ReadLong();
      current_ = {{at + 1, name}, {at + 2 + name, value}};
      current_bytes_ = 2 + name + value;
    }
    void ReadLong();

    std::string_view rest_;
    LabelView current_;
    size_t current_bytes_ = 0;
  };

  Labels() = default;

  // Sorts the pairs and drops those with empty values; of equal names the last one stays.
  // REQUIRES: every text is at most kLabelTextBytesMax bytes.
  static Labels FromPairs(std::vector<std::pair<std::string, std::string>> pairs);
  static Labels Of(std::initializer_list<std::pair<std::string_view, std::string_view>> pairs);

  // Takes bytes written by bytes(). DataLoss if they are not a sorted label set.
  static absl::StatusOr<Labels> FromBytes(std::string_view bytes);

  // The same for bytes that are known to be a label set: not checked again.
  static Labels OfBytes(std::string bytes) {
    Labels labels;
    labels.bytes_ = std::move(bytes);
    return labels;
  }

  // The canonical encoding described at the top of the file.
  const std::string& bytes() const { return bytes_; }

  Iterator begin() const { return Iterator(bytes_); }
  Iterator end() const { return Iterator(std::string_view(bytes_).substr(bytes_.size())); }
  bool empty() const { return bytes_.empty(); }
  size_t size() const;

  // The value of `name`, or "" if there is none.
  std::string_view Get(std::string_view name) const;
  bool Has(std::string_view name) const;

  // XXH64 of bytes(): the same on every machine and in every release.
  uint64_t Hash() const;

  // Prometheus' form: `name{a="b", c="d"}`; names that are no legacy identifiers are quoted.
  std::string ToString() const;
  // The same without pulling the metric name out: `{__name__="up", job="x"}`.
  std::string ToBracedString() const;

  friend bool operator==(const Labels&, const Labels&) = default;
  // Orders by the pairs: name, then value, label by label; a prefix sorts first.
  friend std::strong_ordering operator<=>(const Labels& a, const Labels& b);

  template <typename H>
  friend H AbslHashValue(H h, const Labels& labels) {
    return H::combine(std::move(h), labels.Hash());
  }

 private:
  std::string bytes_;
};

// Writes label sets text by text, one set after the other in the same memory.
class LabelsWriter {
 public:
  // A name, or the value behind its name. REQUIRES: text.size() <= kLabelTextBytesMax; names rise,
  // and no text is empty.
  void Add(std::string_view text) {
    const size_t needed = size_ + kHeaderBytesMax + text.size();
    if (needed > room_.size()) room_.resize(2 * needed);
    char* to = room_.data() + size_;
    if (text.size() < kLongLabelText) {
      *to++ = static_cast<char>(text.size());
    } else {
      to = PutLongHeader(text.size(), to);
    }
    size_ = static_cast<size_t>(CopyText(text, to) - room_.data());
  }
  // What was added since the last one.
  Labels Take() { return Labels::OfBytes({room_.data(), std::exchange(size_, 0)}); }

 private:
  static constexpr size_t kHeaderBytesMax = 4;
  static char* PutLongHeader(size_t size, char* to);

  std::string room_ = std::string(512, '\0');
  size_t size_ = 0;
};

// Changes a label set: cheap when little changes. Reusable through Reset().
class LabelsBuilder {
 public:
  LabelsBuilder() = default;
  explicit LabelsBuilder(const Labels& base) { Reset(base); }

  void Reset(const Labels& base);
  // An empty value deletes.
  void Set(std::string_view name, std::string_view value);
  void Delete(std::string_view name);
  // Deletes all labels but those in `names`.
  void Keep(const std::vector<std::string>& names);
  // The current value of `name`, or "".
  std::string_view Get(std::string_view name) const;

  // The pairs as they are now, sorted by name, without empty values.
  const std::vector<std::pair<std::string, std::string>>& pairs() const { return pairs_; }

  Labels Build() const;

 private:
  std::vector<std::pair<std::string, std::string>> pairs_;  // Sorted by name.
};

// [a-zA-Z_][a-zA-Z0-9_]*
bool IsLegacyLabelName(std::string_view name);
// [a-zA-Z_:][a-zA-Z0-9_:]*
bool IsLegacyMetricName(std::string_view name);
bool IsValidUtf8(std::string_view text);
// Bytes of the UTF-8 character at the front of `text` and its code point; 0 bytes if malformed.
// REQUIRES: !text.empty().
size_t DecodeUtf8(std::string_view text, uint32_t& code_point);

// Appends `text` in double quotes as Go's strconv.Quote writes it.
void AppendQuoted(std::string_view text, std::string& out);
std::string Quoted(std::string_view text);

}  // namespace varve
