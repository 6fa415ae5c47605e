// SPDX-License-Identifier: Apache-2.0
//
// Goal: what is answered without an automaton is what RE2 would have answered.
// Method: expressions put together at random, asked about values put together at random. Those that
// RE2 refuses are refused, in its words.
#include "model/regex_shape.h"

#include <doctest/doctest.h>
#include <re2/re2.h>

#include <algorithm>
#include <array>
#include <random>

#include "model/matcher.h"

namespace varve {
namespace {

using Texts = std::vector<std::string>;
using Rest = RegexShape::Rest;

std::optional<Texts> SetOf(std::string_view pattern) {
  const std::optional<RegexShape> shape = ShapeOfRegex(pattern);
  if (!shape.has_value() || !shape->is_set()) return std::nullopt;
  return shape->texts;
}

TEST_CASE("regex shape: sets of texts") {
  CHECK(SetOf("a") == Texts{"a"});
  CHECK(SetOf("") == Texts{""});
  CHECK(SetOf("b|a|b") == Texts{"a", "b"});
  CHECK(SetOf("a|") == Texts{"", "a"});
  CHECK(SetOf("a\\.b|c\\|d") == Texts{"a.b", "c|d"});
  CHECK(SetOf("10\\-20") == Texts{"10-20"});
  CHECK(SetOf("(a|b)") == Texts{"a", "b"});
  CHECK(SetOf("x(?:a|(b|c)d)y") == Texts{"xay", "xbdy", "xcdy"});
  CHECK(SetOf("n[0-2_]") == Texts{"n0", "n1", "n2", "n_"});
}

TEST_CASE("regex shape: a literal with anything around it") {
  const auto check = [](std::string_view pattern, Rest before, const Texts& texts, Rest behind) {
    CAPTURE(pattern);
    const std::optional<RegexShape> shape = ShapeOfRegex(pattern);
    REQUIRE(shape.has_value());
    CHECK((shape->before == before));
    CHECK(shape->texts == texts);
    CHECK((shape->behind == behind));
  };
  check("a\\.b.*", Rest::kNothing, {"a.b"}, Rest::kAnything);
  check(".+(a|b)", Rest::kSomething, {"a", "b"}, Rest::kNothing);
  check(".*a\\\\.+", Rest::kAnything, {"a\\"}, Rest::kSomething);
  CHECK(ShapeOfRegex(".*")->accepts_all());
  CHECK(ShapeOfRegex(".*.*")->accepts_all());
  CHECK_FALSE(ShapeOfRegex(".+")->accepts_all());
  CHECK_FALSE(ShapeOfRegex("")->accepts_all());
  CHECK_FALSE(ShapeOfRegex("a.*")->accepts_all());
}

TEST_CASE("matcher: knows whether it matches anything") {
  const auto anything = [](MatchType type, std::string_view value) {
    return Matcher::Create(type, "x", value).value().MatchesAnything();
  };
  CHECK(anything(MatchType::kRegex, ".*"));
  CHECK_FALSE(anything(MatchType::kRegex, ".+"));
  CHECK_FALSE(anything(MatchType::kRegex, ".*.+"));
  CHECK_FALSE(anything(MatchType::kNotRegex, ".*"));
  CHECK_FALSE(anything(MatchType::kEqual, ".*"));
}

TEST_CASE("regex shape: what is not surely understood has none") {
  for (const char* pattern :
       {"a.b",         "a+",    "(?i)a", "(?i:a)", "\\d",     "a\\",  "(?P<n>a)", "[^a]",
        "[[:alpha:]]", "[a.]",  "a|.*",  ".*|a",   ".*a|b.*", "a{2}", "(a|b)*",   "^a$",
        "\\Qa.*",      "a\\.*", ".+.+",  ".*?a",   "a.*?",    "a)(b", "[b-]",     "\\x41"}) {
    CAPTURE(pattern);
    CHECK_FALSE(ShapeOfRegex(pattern).has_value());
  }
  CHECK_FALSE(ShapeOfRegex(std::string_view("a\0b", 3)).has_value());
}

TEST_CASE("literal beginnings") {
  CHECK(LiteralBeginning("node_[a-z]+") == "node_");
  CHECK(LiteralBeginning("node") == "node");
  CHECK(LiteralBeginning("ab*") == "a");
  CHECK(LiteralBeginning("ab+") == "ab");
  CHECK(LiteralBeginning("ab{0,1}c") == "a");
  CHECK(LiteralBeginning("a\xc3\xa4?b") == "a");
  CHECK(LiteralBeginning("b?").empty());
  CHECK(LiteralBeginning("ab.|cd.").empty());
  CHECK(LiteralBeginning("(?i)ab").empty());
  CHECK(LiteralBeginning("^ab").empty());
  CHECK(LiteralBeginning("a\\.b") == "a");
}

TEST_CASE("regex shape: limits") {
  // 16 * 16 texts and one more.
  CHECK(SetOf("[0-9a-f][0-9a-f]")->size() == kRegexTextsMax);
  CHECK_FALSE(SetOf("[0-9a-f][0-9a-f]|x").has_value());
  CHECK_FALSE(SetOf("[0-9a-f][0-9a-g]").has_value());
  const auto nested = [](int depth) {
    return std::string(depth, '(') + "a" + std::string(depth, ')');
  };
  CHECK(SetOf(nested(kRegexGroupsNestedMax)).has_value());
  CHECK_FALSE(SetOf(nested(kRegexGroupsNestedMax + 1)).has_value());
  CHECK(SetOf(std::string(kRegexShapeBytesMax, 'a')).has_value());
  CHECK_FALSE(SetOf(std::string(kRegexShapeBytesMax + 1, 'a')).has_value());
}

// Kelvin's sign and the long s are upper and lower case of ASCII letters.
constexpr std::array<const char*, 36> kFragments = {
    "\xff",  "[b-a]", "[a-]", "\\z", "+?",   "[",  "a",  "b",        "k", "S",   "ab",      "|",
    "|",     "(",     ")",    "(?:", "(?i)", ".*", ".*", ".+",       ".", "?",   "*",       "[ab]",
    "[a-c]", "[^a]",  "\\.",  "\\d", "\\\\", "^",  "$",  "\xc3\xa4", "1", "{2}", "(?i:ks)", "\n"};
constexpr std::array<const char*, 14> kPieces = {
    "a",        "b", "c",  "k",  "S",       "s", "A", ".", "\xe2\x84\xaa",
    "\xc5\xbf", "1", "\n", "\\", "\xc3\xa4"};

template <size_t kSize>
std::string RandomText(const std::array<const char*, kSize>& parts, size_t most,
                       std::mt19937_64& random) {
  std::string text;
  for (size_t i = random() % (most + 1); i-- > 0;) text += parts[random() % parts.size()];
  return text;
}

TEST_CASE("matcher: expressions match as RE2 does, in texts and range too") {
  std::mt19937_64 random(20240229);
  int shapes = 0;
  int ranges = 0;
  for (int round = 0; round < 20000; ++round) {
    const std::string pattern = RandomText(kFragments, 6, random);
    CAPTURE(pattern);
    const auto compiled = CompileAnchored(pattern);
    const auto created = Matcher::Create(MatchType::kRegex, "x", pattern);
    REQUIRE(created.status() == compiled.status());
    if (!created.ok()) continue;
    const Matcher& matcher = *created;
    const Matcher negated = Matcher::Create(MatchType::kNotRegex, "x", pattern).value();
    const Matcher::Range range = matcher.range();
    shapes += ShapeOfRegex(pattern).has_value() ? 1 : 0;
    ranges += range.bounded ? 1 : 0;
    for (const std::string& text : matcher.texts()) {
      CHECK(re2::RE2::FullMatch(text, **compiled));
    }
    for (int i = 0; i < 20; ++i) {
      const std::string value = RandomText(kPieces, 4, random);
      CAPTURE(value);
      const bool expected = re2::RE2::FullMatch(value, **compiled);
      REQUIRE(matcher.Matches(value) == expected);
      REQUIRE(negated.Matches(value) == !expected);
      if (!expected) continue;
      if (!matcher.texts().empty()) {
        REQUIRE(std::binary_search(matcher.texts().begin(), matcher.texts().end(), value));
      }
      if (range.bounded) REQUIRE((range.first <= value && value <= range.last));
    }
  }
  CHECK(shapes > 1000);
  CHECK(ranges > 1000);
}

}  // namespace
}  // namespace varve
