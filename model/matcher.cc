// SPDX-License-Identifier: Apache-2.0
//
// Matchers on RE2.

#include "model/matcher.h"

#include <fmt/format.h>
#include <re2/re2.h>

#include <algorithm>
#include <optional>

#include "model/check.h"
#include "model/regex_shape.h"
#include "model/status_macros.h"

namespace varve {
namespace {

// Go's wording for what RE2 reports, since users search for it.
std::string_view GoErrorText(re2::RE2::ErrorCode code) {
  switch (code) {
    case re2::RE2::ErrorBadEscape:
      return "invalid escape sequence";
    case re2::RE2::ErrorBadCharClass:
      return "invalid character class";
    case re2::RE2::ErrorBadCharRange:
      return "invalid character class range";
    case re2::RE2::ErrorMissingBracket:
      return "missing closing ]";
    case re2::RE2::ErrorMissingParen:
      return "missing closing )";
    case re2::RE2::ErrorUnexpectedParen:
      return "unexpected )";
    case re2::RE2::ErrorTrailingBackslash:
      return "trailing backslash at end of expression";
    case re2::RE2::ErrorRepeatArgument:
      return "missing argument to repetition operator";
    case re2::RE2::ErrorRepeatSize:
      return "invalid repeat count";
    case re2::RE2::ErrorRepeatOp:
      return "invalid nested repetition operator";
    case re2::RE2::ErrorBadPerlOp:
      return "invalid or unsupported Perl syntax";
    case re2::RE2::ErrorBadUTF8:
      return "invalid UTF-8";
    case re2::RE2::ErrorBadNamedCapture:
      return "invalid named capture";
    case re2::RE2::ErrorPatternTooLarge:
      return "expression too large";
    default:
      return "internal error";
  }
}

// Go quotes the whole expression where a closing ')' is missing or extra; the anchors that are
// wrapped around the pattern then show, as they do in Prometheus.
std::string ErrorArgument(const re2::RE2& regex, std::string_view wrapped) {
  switch (regex.error_code()) {
    case re2::RE2::ErrorMissingParen:
    case re2::RE2::ErrorUnexpectedParen:
      return std::string(wrapped);
    default:
      return regex.error_arg();
  }
}

}  // namespace

std::string_view MatchTypeText(MatchType type) {
  switch (type) {
    case MatchType::kEqual:
      return "=";
    case MatchType::kNotEqual:
      return "!=";
    case MatchType::kRegex:
      return "=~";
    case MatchType::kNotRegex:
      return "!~";
  }
  INVARIANT(false);
}

absl::StatusOr<std::shared_ptr<const re2::RE2>> CompileAnchored(std::string_view pattern) {
  if (pattern.size() > kRegexBytesMax) {
    return absl::InvalidArgumentError(
        fmt::format("regular expression of {} bytes exceeds the limit of {} bytes", pattern.size(),
                    kRegexBytesMax));
  }
  re2::RE2::Options options;
  options.set_log_errors(false);
  options.set_dot_nl(true);
  const std::string wrapped = fmt::format("^(?s:{})$", pattern);
  std::shared_ptr<const re2::RE2> regex;
  for (const int64_t memory_bytes : {kRegexMemoryBytesUsual, kRegexMemoryBytesMax}) {
    options.set_max_mem(memory_bytes);
    regex = std::make_shared<const re2::RE2>(wrapped, options);
    if (regex->error_code() != re2::RE2::ErrorPatternTooLarge) break;
  }
  if (!regex->ok()) {
    return absl::InvalidArgumentError(fmt::format("error parsing regexp: {}: `{}`",
                                                  GoErrorText(regex->error_code()),
                                                  ErrorArgument(*regex, wrapped)));
  }
  return regex;
}

struct Matcher::Regex {
  std::optional<RegexShape> shape;
  std::shared_ptr<const re2::RE2> compiled;  // If there is no shape.
  // What matches lies between these.
  bool has_range = false;
  std::string first;
  std::string last;

  void SetRange(std::string_view pattern) {
    // Above every text with that beginning: no UTF-8 has this byte.
    constexpr char kAboveAll = '\xff';
    if (shape.has_value() && shape->before == RegexShape::Rest::kNothing) {
      first = shape->texts.front();
      for (const std::string& text : shape->texts) {
        last = std::max(last, shape->is_set() ? text : text + kAboveAll);
      }
      has_range = true;
    } else if (!shape.has_value()) {
      first = LiteralBeginning(pattern);
      last = first + kAboveAll;
      has_range = !first.empty();
    }
  }

  bool Accepts(std::string_view value) const {
    if (shape.has_value()) return shape->Accepts(value);
    if (has_range && (value < first || value > last)) return false;
    return re2::RE2::FullMatch(re2::StringPiece(value.data(), value.size()), *compiled);
  }
};

absl::StatusOr<Matcher> Matcher::Create(MatchType type, std::string_view name,
                                        std::string_view value) {
  Matcher matcher;
  matcher.type_ = type;
  matcher.name_ = name;
  matcher.value_ = value;
  if (type == MatchType::kRegex || type == MatchType::kNotRegex) {
    auto regex = std::make_shared<Regex>();
    regex->shape = ShapeOfRegex(value);
    if (!regex->shape.has_value()) {
      ASSIGN_OR_RETURN(regex->compiled, CompileAnchored(value));
    }
    regex->SetRange(value);
    matcher.matches_anything_ =
        type == MatchType::kRegex && regex->shape.has_value() && regex->shape->accepts_all();
    matcher.regex_ = std::move(regex);
  }
  matcher.matches_empty_ = matcher.Matches("");
  return matcher;
}

Matcher Matcher::Equal(std::string_view name, std::string_view value) {
  return Create(MatchType::kEqual, name, value).value();
}

uint64_t Matcher::RegexBytes() const {
  // Instructions, and the tree and tables that go with them; and the object itself.
  constexpr uint64_t kInstructionBytes = 24;
  constexpr uint64_t kObjectBytes = 2048;
  if (regex_ == nullptr) return 0;
  if (regex_->shape.has_value()) {
    uint64_t bytes = 0;
    for (const std::string& text : regex_->shape->texts) bytes += sizeof(text) + text.capacity();
    return bytes;
  }
  return kObjectBytes + static_cast<uint64_t>(regex_->compiled->ProgramSize()) * kInstructionBytes;
}

bool Matcher::Matches(std::string_view value) const {
  switch (type_) {
    case MatchType::kEqual:
      return value == value_;
    case MatchType::kNotEqual:
      return value != value_;
    case MatchType::kRegex:
      return regex_->Accepts(value);
    case MatchType::kNotRegex:
      return !regex_->Accepts(value);
  }
  INVARIANT(false);
}

absl::Span<const std::string> Matcher::texts() const {
  if (!is_regex()) return absl::MakeConstSpan(&value_, 1);
  if (!regex_->shape.has_value() || !regex_->shape->is_set()) return {};
  return regex_->shape->texts;
}

Matcher::Range Matcher::range() const {
  if (!is_regex()) return {value_, value_};
  if (!regex_->has_range) return {.bounded = false};
  return {regex_->first, regex_->last};
}

std::string Matcher::ToString() const {
  std::string out = IsLegacyLabelName(name_) ? name_ : Quoted(name_);
  out += MatchTypeText(type_);
  AppendQuoted(value_, out);
  return out;
}

bool MatchesAll(const std::vector<Matcher>& matchers, const Labels& labels) {
  for (const Matcher& matcher : matchers) {
    if (!matcher.Matches(labels.Get(matcher.name()))) return false;
  }
  return true;
}

}  // namespace varve
