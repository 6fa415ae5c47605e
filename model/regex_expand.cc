// SPDX-License-Identifier: Apache-2.0
//
// Templates are cut once into literals and group numbers; expanding is then concatenation.
#include "model/regex_expand.h"

#include <re2/re2.h>

namespace varve {
namespace {

// Go takes letters and digits of all scripts; bytes past ASCII are taken as parts of those.
bool IsNameByte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}

// What a `$` starts: the reference's name and how many bytes it takes, the `$` included.
struct Reference {
  std::string_view name;
  size_t bytes = 0;  // 0 = no reference.
};

// REQUIRES: text[0] == '$'.
Reference ReadReference(std::string_view text) {
  const bool braced = text.size() > 1 && text[1] == '{';
  const size_t start = braced ? 2 : 1;
  size_t end = start;
  while (end < text.size() && IsNameByte(text[end])) ++end;
  if (end == start) return {};
  const std::string_view name = text.substr(start, end - start);
  if (!braced) return {name, end};
  if (end >= text.size() || text[end] != '}') return {};
  return {name, end + 1};
}

// The group number of `name`; -1 if it is no number in Go's eyes.
int GroupNumber(std::string_view name) {
  if (name.size() > 1 && name[0] == '0') return -1;
  int number = 0;
  for (const char c : name) {
    if (c < '0' || c > '9' || number >= 100'000'000) return -1;
    number = number * 10 + (c - '0');
  }
  return number;
}

int GroupIndex(std::string_view name, const re2::RE2& regex) {
  const int number = GroupNumber(name);
  if (number >= 0) return number <= regex.NumberOfCapturingGroups() ? number : -1;
  const auto& named = regex.NamedCapturingGroups();
  const auto found = named.find(std::string(name));
  return found == named.end() ? -1 : found->second;
}

}  // namespace

RegexTemplate::RegexTemplate(std::string_view text, const re2::RE2& regex) {
  std::string literal;
  while (!text.empty()) {
    const size_t dollar = text.find('$');
    literal += text.substr(0, dollar);
    if (dollar == std::string_view::npos) break;
    text.remove_prefix(dollar);
    if (text.size() > 1 && text[1] == '$') {
      literal += '$';
      text.remove_prefix(2);
      continue;
    }
    const Reference reference = ReadReference(text);
    if (reference.bytes == 0) {
      literal += '$';
      text.remove_prefix(1);
      continue;
    }
    ++references_;
    pieces_.push_back({std::move(literal), GroupIndex(reference.name, regex)});
    literal.clear();
    text.remove_prefix(reference.bytes);
  }
  if (!literal.empty()) pieces_.push_back({std::move(literal), -1});
}

void RegexTemplate::Expand(const std::vector<std::string_view>& groups, std::string& out) const {
  for (const Piece& piece : pieces_) {
    out += piece.literal;
    if (piece.group >= 0 && static_cast<size_t>(piece.group) < groups.size()) {
      out += groups[piece.group];
    }
  }
}

bool HasRegexReferences(std::string_view text) {
  for (size_t at = text.find('$'); at != std::string_view::npos; at = text.find('$', at + 1)) {
    if (at + 1 < text.size() && text[at + 1] == '$') return true;
    if (ReadReference(text.substr(at)).bytes > 0) return true;
  }
  return false;
}

bool MatchGroups(const re2::RE2& regex, std::string_view text,
                 std::vector<std::string_view>& groups) {
  const int count = regex.NumberOfCapturingGroups() + 1;
  std::vector<re2::StringPiece> found(count);
  if (!regex.Match(re2::StringPiece(text.data(), text.size()), 0, text.size(),
                   re2::RE2::ANCHOR_BOTH, found.data(), count)) {
    return false;
  }
  groups.clear();
  for (const re2::StringPiece& group : found) groups.emplace_back(group.data(), group.size());
  return true;
}

std::optional<std::string> MatchAndExpand(const re2::RE2& regex, std::string_view text,
                                          std::string_view replacement) {
  std::vector<std::string_view> groups;
  if (!MatchGroups(regex, text, groups)) return std::nullopt;
  std::string out;
  RegexTemplate(replacement, regex).Expand(groups, out);
  return out;
}

}  // namespace varve
