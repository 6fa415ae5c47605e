// SPDX-License-Identifier: Apache-2.0
//
// Expanding expressions to texts. Whatever is not surely understood has no shape.
#include "model/regex_shape.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "model/labels.h"

namespace varve {

namespace {

using Texts = std::vector<std::string>;
using Rest = RegexShape::Rest;

bool IsAlphanumeric(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

class Expander {
 public:
  explicit Expander(std::string_view pattern) : rest_(pattern) {}

  // Up to a '|' or ')' outside groups, or the end.
  std::optional<Texts> Sequence() {
    Texts texts(1);
    while (!rest_.empty() && rest_[0] != '|' && rest_[0] != ')') {
      std::optional<Texts> item = Item();
      // What repeats an item would have to be expanded too.
      if (!item.has_value() || (!rest_.empty() && IsOneOf(rest_[0], "*+?{"))) return std::nullopt;
      if (texts.size() * item->size() > kRegexTextsMax) return std::nullopt;
      if (item->size() == 1) {
        for (std::string& text : texts) text += item->front();
        continue;
      }
      Texts longer;
      for (const std::string& text : texts) {
        for (const std::string& end : *item) longer.push_back(text + end);
      }
      texts = std::move(longer);
    }
    return texts;
  }

  // Up to a ')' outside groups, or the end.
  std::optional<Texts> Alternation() {
    std::optional<Texts> texts = Sequence();
    while (texts.has_value() && !rest_.empty() && rest_[0] == '|') {
      rest_.remove_prefix(1);
      std::optional<Texts> more = Sequence();
      if (!more.has_value() || texts->size() + more->size() > kRegexTextsMax) return std::nullopt;
      texts->insert(texts->end(), std::make_move_iterator(more->begin()),
                    std::make_move_iterator(more->end()));
    }
    return texts;
  }

  bool done() const { return rest_.empty(); }

 private:
  static bool IsOneOf(char c, std::string_view set) {
    return set.find(c) != std::string_view::npos;
  }

  char Take() {
    const char c = rest_[0];
    rest_.remove_prefix(1);
    return c;
  }

  std::optional<Texts> Item() {
    const char c = Take();
    if (c == '(') return Group();
    if (c == '[') return Class();
    if (c == '\\') {
      // Only escaped punctuation stands for itself.
      if (rest_.empty() || !IsOneOf(rest_[0], "\\.+*?()|[]{}^$-/:")) return std::nullopt;
      return Texts{std::string(1, Take())};
    }
    if (c == '\0' || IsOneOf(c, ".+*?]{}^$")) return std::nullopt;
    return Texts{std::string(1, c)};
  }

  std::optional<Texts> Group() {
    if (rest_.starts_with("?:")) {
      rest_.remove_prefix(2);
    } else if (rest_.starts_with("?")) {
      return std::nullopt;  // A name or flags.
    }
    if (++groups_ > kRegexGroupsNestedMax) return std::nullopt;
    std::optional<Texts> texts = Alternation();
    --groups_;
    if (!texts.has_value() || rest_.empty()) return std::nullopt;
    rest_.remove_prefix(1);  // ')'
    return texts;
  }

  // `[ab0-2_]`
  std::optional<Texts> Class() {
    Texts texts;
    while (!rest_.empty() && rest_[0] != ']') {
      const char first = Take();
      char last = first;
      if (!IsAlphanumeric(first) && first != '_') return std::nullopt;
      if (rest_.size() > 1 && rest_[0] == '-') {
        Take();
        last = Take();
        if (!IsAlphanumeric(last) || last < first) return std::nullopt;
      }
      for (int c = first; c <= last; ++c) texts.emplace_back(1, static_cast<char>(c));
      if (texts.size() > kRegexTextsMax) return std::nullopt;
    }
    if (rest_.empty() || texts.empty()) return std::nullopt;
    Take();
    return texts;
  }

  std::string_view rest_;
  int groups_ = 0;
};

Rest TakeFront(std::string_view& pattern) {
  const Rest rest = pattern.starts_with(".*")   ? Rest::kAnything
                    : pattern.starts_with(".+") ? Rest::kSomething
                                                : Rest::kNothing;
  if (rest != Rest::kNothing) pattern.remove_prefix(2);
  return rest;
}

// An escaped dot leaves a lone backslash behind, which has no shape.
Rest TakeBack(std::string_view& pattern) {
  const Rest rest = pattern.ends_with(".*")   ? Rest::kAnything
                    : pattern.ends_with(".+") ? Rest::kSomething
                                              : Rest::kNothing;
  if (rest != Rest::kNothing) pattern.remove_suffix(2);
  return rest;
}

}  // namespace

bool RegexShape::accepts_all() const {
  return texts.front().empty() && (before == Rest::kAnything || behind == Rest::kAnything) &&
         before != Rest::kSomething && behind != Rest::kSomething;
}

bool RegexShape::Accepts(std::string_view value) const {
  if (is_set()) return std::binary_search(texts.begin(), texts.end(), value, std::less<>());
  const size_t front = before == Rest::kSomething ? 1 : 0;
  const size_t back = behind == Rest::kSomething ? 1 : 0;
  return std::any_of(texts.begin(), texts.end(), [&](const std::string& text) {
    if (value.size() < front + text.size() + back) return false;
    if (before == Rest::kNothing) return value.starts_with(text);
    if (behind == Rest::kNothing) return value.ends_with(text);
    return value.substr(0, value.size() - back).find(text, front) != std::string_view::npos;
  });
}

std::optional<RegexShape> ShapeOfRegex(std::string_view pattern) {
  if (pattern.size() > kRegexShapeBytesMax || !IsValidUtf8(pattern)) return std::nullopt;
  RegexShape shape;
  std::string_view middle = pattern;
  shape.before = TakeFront(middle);
  shape.behind = TakeBack(middle);
  Expander expander(middle);
  // With something around it, an alternation outside groups would bind looser.
  std::optional<Texts> texts = shape.is_set() ? expander.Alternation() : expander.Sequence();
  if (!texts.has_value() || !expander.done()) return std::nullopt;
  std::sort(texts->begin(), texts->end());
  texts->erase(std::unique(texts->begin(), texts->end()), texts->end());
  // Two `.+` with nothing between count characters, not bytes.
  if (shape.before == Rest::kSomething && shape.behind == Rest::kSomething &&
      texts->front().empty()) {
    return std::nullopt;
  }
  shape.texts = *std::move(texts);
  return shape;
}

std::string LiteralBeginning(std::string_view pattern) {
  // An alternative might begin otherwise, and what stands behind flags may repeat what is before.
  if (pattern.find('|') != std::string_view::npos) return "";
  if (pattern.find("(?") != std::string_view::npos) return "";
  constexpr std::string_view kOperators("\\.+*?()[]{}^$\0", 14);
  const size_t end = std::min(pattern.find_first_of(kOperators), pattern.size());
  std::string beginning(pattern.substr(0, end));
  // What is repeated may not be there at all; it may be a character of several bytes.
  if (end < pattern.size() &&
      std::string_view("*?{").find(pattern[end]) != std::string_view::npos) {
    while (!beginning.empty() && (beginning.back() & 0xC0) == 0x80) beginning.pop_back();
    if (!beginning.empty()) beginning.pop_back();
  }
  return beginning;
}

}  // namespace varve
