// SPDX-License-Identifier: Apache-2.0
//
// Regular expressions that can be answered without an automaton: alternations of literals, with
// anything in front or behind.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace varve {

// A longer expression, one with more texts, or with groups nested deeper, has no shape.
inline constexpr size_t kRegexShapeBytesMax = 64 << 10;
inline constexpr size_t kRegexTextsMax = 256;
inline constexpr int kRegexGroupsNestedMax = 20;

// Anchored at both ends, it accepts what `before` accepts, then one of `texts`, then what `behind`
// accepts. A value type.
struct RegexShape {
  enum class Rest : uint8_t { kNothing, kAnything, kSomething };  // "", ".*", ".+"

  Rest before = Rest::kNothing;
  Rest behind = Rest::kNothing;
  std::vector<std::string> texts;  // Sorted, without duplicates, not empty.

  bool is_set() const { return before == Rest::kNothing && behind == Rest::kNothing; }
  // `.*`
  bool accepts_all() const;
  bool Accepts(std::string_view value) const;
};

// The shape of `pattern`, whose dots match newlines: `a|b`, `a(b|c)[0-2]`, `a\.b.*`, `.*(a|b).+`,
// `.*`. Nullopt if it has none that is known, so also if RE2 would not accept the pattern.
std::optional<RegexShape> ShapeOfRegex(std::string_view pattern);

// The text that everything `pattern` matches begins with, as far as it is plain to see: `node_` of
// `node_[a-z]+`. RE2 could tell more, with an automaton of many times the expression's size.
std::string LiteralBeginning(std::string_view pattern);

}  // namespace varve
