// SPDX-License-Identifier: Apache-2.0
//
// Matchers: the four kinds, anchoring, error texts.

#include "model/matcher.h"

#include <doctest/doctest.h>

namespace varve {
namespace {

bool Matches(MatchType type, std::string_view pattern, std::string_view value) {
  return Matcher::Create(type, "x", pattern).value().Matches(value);
}

TEST_CASE("matcher: equal and not equal") {
  CHECK(Matches(MatchType::kEqual, "a", "a"));
  CHECK_FALSE(Matches(MatchType::kEqual, "a", "ab"));
  CHECK(Matches(MatchType::kNotEqual, "a", ""));
}

TEST_CASE("matcher: expressions are anchored and the dot matches newlines") {
  CHECK(Matches(MatchType::kRegex, "a.*", "ab\nc"));
  CHECK_FALSE(Matches(MatchType::kRegex, "a", "ab"));
  CHECK_FALSE(Matches(MatchType::kRegex, "a|b", "ab"));
  CHECK(Matches(MatchType::kNotRegex, "a|b", "ab"));
  CHECK(Matches(MatchType::kRegex, "", ""));
}

TEST_CASE("matcher: knows whether it matches the empty value") {
  CHECK(Matcher::Create(MatchType::kRegex, "x", ".*").value().MatchesEmpty());
  CHECK_FALSE(Matcher::Create(MatchType::kRegex, "x", ".+").value().MatchesEmpty());
  CHECK(Matcher::Create(MatchType::kNotEqual, "x", "a").value().MatchesEmpty());
}

TEST_CASE("matcher: text") {
  CHECK(Matcher::Create(MatchType::kNotRegex, "x", "a\"").value().ToString() == R"(x!~"a\"")");
  CHECK(Matcher::Equal("x.y", "a").ToString() == R"("x.y"="a")");
}

TEST_CASE("matcher: a bad expression is named") {
  const auto matcher = Matcher::Create(MatchType::kRegex, "x", "a(b");
  CHECK(matcher.status().code() == absl::StatusCode::kInvalidArgument);
  CHECK(matcher.status().message() == "error parsing regexp: missing closing ): `^(?s:a(b)$`");
  CHECK(Matcher::Create(MatchType::kRegex, "x", "*").status().message() ==
        "error parsing regexp: missing argument to repetition operator: `*`");
}

TEST_CASE("matcher: the length of expressions is limited") {
  CHECK(Matcher::Create(MatchType::kRegex, "x", std::string(kRegexBytesMax + 1, 'a'))
            .status()
            .code() == absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace varve
