// SPDX-License-Identifier: Apache-2.0
//
// Replacement templates over a regular expression's groups, as Go's regexp.Expand reads them:
// `$1`, `$name`, `${name}` and `$$`. `$1x` is the group named "1x"; a group that does not exist
// expands to nothing, and a `$` that starts no reference stands for itself.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace re2 {
class RE2;
}

namespace varve {

// A template parsed for one expression. A value; does not keep the expression. Thread-safe.
class RegexTemplate {
 public:
  RegexTemplate(std::string_view text, const re2::RE2& regex);

  // False if the template is plain text.
  bool HasReferences() const { return references_ > 0; }

  // Appends the template with each group replaced by its text. `groups[0]` is the whole match; a
  // group past the end counts as empty.
  void Expand(const std::vector<std::string_view>& groups, std::string& out) const;

 private:
  struct Piece {
    std::string literal;
    int group = -1;  // Appended after the literal unless negative.
  };
  std::vector<Piece> pieces_;
  size_t references_ = 0;
};

// Whether `text` holds a `$` followed by what starts a reference or by another `$`.
bool HasRegexReferences(std::string_view text);

// Matches an expression of CompileAnchored() against all of `text`. The groups' texts point into
// `text`; false, and `groups` unspecified, if it does not match.
bool MatchGroups(const re2::RE2& regex, std::string_view text,
                 std::vector<std::string_view>& groups);

// `replacement` expanded over the groups of `regex` in `text`, or nothing without a match.
std::optional<std::string> MatchAndExpand(const re2::RE2& regex, std::string_view text,
                                          std::string_view replacement);

}  // namespace varve
