// SPDX-License-Identifier: Apache-2.0
//
// The label encoding, and label sets as text.

#include "model/labels.h"

#include <absl/strings/ascii.h>
#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <cstring>

#include "model/check.h"

namespace varve {
namespace {

// Cuts one text off the front of `rest`. REQUIRES: `rest` starts with a whole text.
std::string_view CutText(std::string_view& rest) {
  const auto byte = [&](size_t i) {
    return static_cast<size_t>(static_cast<unsigned char>(rest[i]));
  };
  size_t header = 1;
  size_t size = byte(0);
  if (size == kLongLabelText) [[unlikely]] {
    header = 4;
    size = byte(1) | byte(2) << 8 | byte(3) << 16;
  }
  const std::string_view text = rest.substr(header, size);
  rest.remove_prefix(header + size);
  return text;
}

// As CutText, for bytes from outside; false if they do not hold a whole text in shortest form.
bool TryCutText(std::string_view& rest, std::string_view& text) {
  if (rest.empty()) return false;
  const auto first = static_cast<unsigned char>(rest[0]);
  if (first != kLongLabelText) {
    if (rest.size() < 1u + first) return false;
  } else {
    if (rest.size() < 4) return false;
    const size_t size = static_cast<unsigned char>(rest[1]) |
                        static_cast<size_t>(static_cast<unsigned char>(rest[2])) << 8 |
                        static_cast<size_t>(static_cast<unsigned char>(rest[3])) << 16;
    if (size < kLongLabelText || rest.size() < 4 + size) return false;
  }
  text = CutText(rest);
  return true;
}

// How many bytes the two begin with alike.
size_t CommonBytes(std::string_view a, std::string_view b) {
  const size_t size = std::min(a.size(), b.size());
  size_t at = 0;
  for (; at + sizeof(uint64_t) <= size; at += sizeof(uint64_t)) {
    if (std::memcmp(a.data() + at, b.data() + at, sizeof(uint64_t)) != 0) break;
  }
  while (at < size && a[at] == b[at]) ++at;
  return at;
}

using Pair = std::pair<std::string, std::string>;

bool NameLess(const Pair& pair, std::string_view name) { return pair.first < name; }

template <typename AllowFirst, typename AllowRest>
bool AllOf(std::string_view text, AllowFirst allow_first, AllowRest allow_rest) {
  if (text.empty() || !allow_first(text[0])) return false;
  return std::all_of(text.begin() + 1, text.end(), allow_rest);
}

bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

void AppendQuotedCharacter(uint32_t code_point, std::string_view bytes, std::string& out) {
  switch (code_point) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\a':
      out += "\\a";
      return;
    case '\b':
      out += "\\b";
      return;
    case '\f':
      out += "\\f";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    case '\v':
      out += "\\v";
      return;
    default:
      break;
  }
  if (code_point < 0x20 || code_point == 0x7F) {
    out += fmt::format("\\x{:02x}", code_point);
  } else if ((code_point >= 0x80 && code_point < 0xA0) || code_point == 0xAD ||
             code_point == 0xFEFF || code_point == 0x2028 || code_point == 0x2029) {
    out += fmt::format("\\u{:04x}", code_point);
  } else {
    out += bytes;
  }
}

void AppendPair(const LabelView& label, std::string& out) {
  if (IsLegacyLabelName(label.name)) {
    out += label.name;
  } else {
    AppendQuoted(label.name, out);
  }
  out.push_back('=');
  AppendQuoted(label.value, out);
}

}  // namespace

void Labels::Iterator::ReadLong() {
  std::string_view after = rest_;
  current_.name = CutText(after);
  current_.value = CutText(after);
  current_bytes_ = rest_.size() - after.size();
}

char* LabelsWriter::PutLongHeader(size_t size, char* to) {
  INVARIANT(size <= kLabelTextBytesMax);
  *to++ = static_cast<char>(kLongLabelText);
  for (int shift = 0; shift < 24; shift += 8) *to++ = static_cast<char>(size >> shift);
  return to;
}

Labels Labels::FromPairs(std::vector<Pair> pairs) {
  std::stable_sort(pairs.begin(), pairs.end(),
                   [](const Pair& a, const Pair& b) { return a.first < b.first; });
  LabelsWriter writer;
  for (size_t i = 0; i < pairs.size(); ++i) {
    const bool overridden = i + 1 < pairs.size() && pairs[i + 1].first == pairs[i].first;
    if (overridden || pairs[i].second.empty()) continue;
    writer.Add(pairs[i].first);
    writer.Add(pairs[i].second);
  }
  return writer.Take();
}

Labels Labels::Of(std::initializer_list<std::pair<std::string_view, std::string_view>> pairs) {
  std::vector<Pair> owned;
  owned.reserve(pairs.size());
  for (const auto& [name, value] : pairs) owned.emplace_back(name, value);
  return FromPairs(std::move(owned));
}

absl::StatusOr<Labels> Labels::FromBytes(std::string_view bytes) {
  std::string_view rest = bytes;
  std::string_view previous;
  bool first = true;
  while (!rest.empty()) {
    std::string_view name, value;
    if (!TryCutText(rest, name) || !TryCutText(rest, value)) {
      return absl::DataLossError("label set: bytes end within a label");
    }
    if (name.empty() || value.empty()) return absl::DataLossError("label set: empty name or value");
    if (!first && name <= previous) return absl::DataLossError("label set: names are not sorted");
    previous = name;
    first = false;
  }
  Labels labels;
  labels.bytes_ = bytes;
  return labels;
}

size_t Labels::size() const { return std::distance(begin(), end()); }

std::string_view Labels::Get(std::string_view name) const {
  for (const LabelView& label : *this) {
    if (label.name == name) return label.value;
    if (label.name > name) break;
  }
  return {};
}

bool Labels::Has(std::string_view name) const { return !Get(name).empty(); }

uint64_t Labels::Hash() const { return XXH64(bytes_.data(), bytes_.size(), 0); }

std::string Labels::ToString() const {
  const std::string_view name = Get(kMetricName);
  if (name.empty() || !IsLegacyMetricName(name)) return ToBracedString();
  std::string out(name);
  bool first = true;
  for (const LabelView& label : *this) {
    if (label.name == kMetricName) continue;
    out += first ? "{" : ", ";
    first = false;
    AppendPair(label, out);
  }
  if (!first) out.push_back('}');
  return out;
}

std::string Labels::ToBracedString() const {
  std::string out = "{";
  for (const LabelView& label : *this) {
    if (out.size() > 1) out += ", ";
    AppendPair(label, out);
  }
  out.push_back('}');
  return out;
}

// Only the first text in which they differ decides; those in front of it are the same bytes.
std::strong_ordering operator<=>(const Labels& a, const Labels& b) {
  const size_t common = CommonBytes(a.bytes_, b.bytes_);
  std::string_view rest = a.bytes_;
  size_t begin = 0;
  while (begin < common) {
    CutText(rest);
    const size_t end = a.bytes_.size() - rest.size();
    if (end > common) break;
    begin = end;
  }
  rest = std::string_view(a.bytes_).substr(begin);
  std::string_view other = std::string_view(b.bytes_).substr(begin);
  if (rest.empty() || other.empty()) return !rest.empty() <=> !other.empty();
  return CutText(rest) <=> CutText(other);
}

void LabelsBuilder::Reset(const Labels& base) {
  pairs_.clear();
  for (const LabelView& label : base) pairs_.emplace_back(label.name, label.value);
}

void LabelsBuilder::Set(std::string_view name, std::string_view value) {
  if (value.empty()) return Delete(name);
  const auto place = std::lower_bound(pairs_.begin(), pairs_.end(), name, NameLess);
  if (place != pairs_.end() && place->first == name) {
    place->second = value;
  } else {
    pairs_.emplace(place, name, value);
  }
}

void LabelsBuilder::Delete(std::string_view name) {
  const auto place = std::lower_bound(pairs_.begin(), pairs_.end(), name, NameLess);
  if (place != pairs_.end() && place->first == name) pairs_.erase(place);
}

void LabelsBuilder::Keep(const std::vector<std::string>& names) {
  std::erase_if(pairs_, [&](const Pair& pair) {
    return std::find(names.begin(), names.end(), pair.first) == names.end();
  });
}

std::string_view LabelsBuilder::Get(std::string_view name) const {
  const auto place = std::lower_bound(pairs_.begin(), pairs_.end(), name, NameLess);
  if (place == pairs_.end() || place->first != name) return {};
  return place->second;
}

Labels LabelsBuilder::Build() const {
  LabelsWriter writer;
  for (const auto& [name, value] : pairs_) {
    writer.Add(name);
    writer.Add(value);
  }
  return writer.Take();
}

bool IsLegacyLabelName(std::string_view name) {
  return AllOf(name, IsLetter, [](char c) { return IsLetter(c) || absl::ascii_isdigit(c); });
}

bool IsLegacyMetricName(std::string_view name) {
  return AllOf(
      name, [](char c) { return IsLetter(c) || c == ':'; },
      [](char c) { return IsLetter(c) || absl::ascii_isdigit(c) || c == ':'; });
}

size_t DecodeUtf8(std::string_view text, uint32_t& code_point) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) {
    code_point = first;
    return 1;
  }
  size_t length = 0;
  uint32_t smallest = 0;
  if (first >= 0xC2 && first <= 0xDF) {
    length = 2, smallest = 0x80, code_point = first & 0x1F;
  } else if (first >= 0xE0 && first <= 0xEF) {
    length = 3, smallest = 0x800, code_point = first & 0x0F;
  } else if (first >= 0xF0 && first <= 0xF4) {
    length = 4, smallest = 0x10000, code_point = first & 0x07;
  } else {
    return 0;
  }
  if (text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
    code_point = code_point << 6 | (byte(i) & 0x3F);
  }
  const bool surrogate = code_point >= 0xD800 && code_point <= 0xDFFF;
  if (code_point < smallest || code_point > 0x10FFFF || surrogate) return 0;
  return length;
}

bool IsValidUtf8(std::string_view text) {
  while (!text.empty()) {
    uint32_t code_point = 0;
    const size_t length = DecodeUtf8(text, code_point);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

void AppendQuoted(std::string_view text, std::string& out) {
  out.push_back('"');
  while (!text.empty()) {
    uint32_t code_point = 0;
    const size_t length = DecodeUtf8(text, code_point);
    if (length == 0) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[0]));
      text.remove_prefix(1);
      continue;
    }
    AppendQuotedCharacter(code_point, text.substr(0, length), out);
    text.remove_prefix(length);
  }
  out.push_back('"');
}

std::string Quoted(std::string_view text) {
  std::string out;
  AppendQuoted(text, out);
  return out;
}

}  // namespace varve
