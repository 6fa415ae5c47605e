// SPDX-License-Identifier: Apache-2.0
//
// Label matchers: `name="v"`, `!=`, `=~`, `!~`. Regular expressions are RE2, anchored at both ends,
// and the dot matches a newline.
#pragma once

#include <absl/status/statusor.h>
#include <absl/types/span.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "model/labels.h"

namespace re2 {
class RE2;
}

namespace varve {

enum class MatchType { kEqual, kNotEqual, kRegex, kNotRegex };

// "=", "!=", "=~", "!~".
std::string_view MatchTypeText(MatchType type);

// The longest regular expression accepted, and the memory its automata may take: the lesser unless
// the expression itself needs more. Matching goes on without an automaton once that is spent.
inline constexpr size_t kRegexBytesMax = 1 << 20;
inline constexpr int64_t kRegexMemoryBytesUsual = 4 << 20;
inline constexpr int64_t kRegexMemoryBytesMax = 64 << 20;

// Compiles `^(?s:pattern)$`. InvalidArgument with Prometheus' wording,
// `error parsing regexp: missing closing ): ...`. The result is immutable and thread-safe.
absl::StatusOr<std::shared_ptr<const re2::RE2>> CompileAnchored(std::string_view pattern);

// A value type; copies share the compiled expression. Thread-safe.
class Matcher {
 public:
  // InvalidArgument if `value` should be a regular expression and is none.
  static absl::StatusOr<Matcher> Create(MatchType type, std::string_view name,
                                        std::string_view value);
  static Matcher Equal(std::string_view name, std::string_view value);

  MatchType type() const { return type_; }
  const std::string& name() const { return name_; }
  const std::string& value() const { return value_; }

  // Whether a label with this value (absent labels count as "") matches.
  bool Matches(std::string_view value) const;
  bool MatchesEmpty() const { return matches_empty_; }
  // Whether it is known to match whatever the value: `=~".*"`.
  bool MatchesAnything() const { return matches_anything_; }

  bool is_regex() const { return type_ == MatchType::kRegex || type_ == MatchType::kNotRegex; }
  bool is_negative() const {
    return type_ == MatchType::kNotEqual || type_ == MatchType::kNotRegex;
  }
  // What matches the text or expression, negation aside, is exactly these texts, sorted; empty if
  // they are not known.
  absl::Span<const std::string> texts() const;
  // What matches the text or expression, negation aside, lies in [first, last].
  struct Range {
    std::string_view first = {};
    std::string_view last = {};
    bool bounded = true;  // Otherwise `last` says nothing.
  };
  Range range() const;

  // What the expression takes, compiled or as texts, about; 0 if there is none.
  uint64_t RegexBytes() const;

  // `name="value"`, the name quoted unless it is a legacy label name.
  std::string ToString() const;

  friend bool operator==(const Matcher& a, const Matcher& b) {
    return a.type_ == b.type_ && a.name_ == b.name_ && a.value_ == b.value_;
  }

 private:
  Matcher() = default;

  MatchType type_ = MatchType::kEqual;
  bool matches_empty_ = false;
  bool matches_anything_ = false;
  std::string name_;
  std::string value_;
  struct Regex;
  std::shared_ptr<const Regex> regex_;  // Null unless type_ is a regular expression.
};

// Whether every matcher accepts `labels`.
bool MatchesAll(const std::vector<Matcher>& matchers, const Labels& labels);

}  // namespace varve
