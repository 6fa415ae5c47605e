// SPDX-License-Identifier: Apache-2.0
//
// A hand-written scanner, because error texts depend on how far each rule got.
#include "promql/lexer.h"

#include <absl/container/flat_hash_map.h>
#include <fmt/format.h>

#include <utility>

#include "model/labels.h"
#include "model/string_map.h"
#include "promql/ast.h"

namespace varve::promql {
namespace {

constexpr char32_t kEndOfText = 0xFFFFFFFF;  // Of decoding, past the last byte.
constexpr char32_t kBadRune = 0xFFFD;        // For bytes that are not UTF-8.
constexpr char32_t kRuneMax = 0x10FFFF;

bool IsSpace(char32_t c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool IsDigit(char32_t c) { return c >= '0' && c <= '9'; }
bool IsAlpha(char32_t c) { return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool IsAlphaNumeric(char32_t c) { return IsAlpha(c) || IsDigit(c); }

struct Rune {
  char32_t code = kEndOfText;
  int bytes = 0;
};

// Strict UTF-8; a wrong byte is one kBadRune.
Rune Decode(std::string_view text) {
  if (text.empty()) return {};
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return {first, 1};
  const int length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || text.size() < static_cast<size_t>(length)) {
    return {kBadRune, 1};
  }
  char32_t code = first & (0xFF >> (length + 1));
  for (int i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return {kBadRune, 1};
    code = code << 6 | (byte(i) & 0x3F);
  }
  constexpr char32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = code >= 0xD800 && code < 0xE000;
  if (code < kSmallest[length] || surrogate || code > kRuneMax) return {kBadRune, 1};
  return {code, length};
}

void AppendUtf8(char32_t code, std::string& out) {
  if (code < 0x80) {
    out += static_cast<char>(code);
    return;
  }
  const int length = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  constexpr unsigned char kLead[] = {0, 0, 0xC0, 0xE0, 0xF0};
  out += static_cast<char>(kLead[length] | code >> (6 * (length - 1)));
  for (int i = length - 2; i >= 0; --i) out += static_cast<char>(0x80 | (code >> (6 * i) & 0x3F));
}

// A rune in single quotes, as Go's %q writes it.
std::string QuotedRune(char32_t code) {
  if (code == '\'') return "'\\''";
  if (code == '"') return "'\"'";
  std::string text;
  AppendUtf8(code > kRuneMax ? kBadRune : code, text);
  const std::string quoted = Quoted(text);
  return "'" + quoted.substr(1, quoted.size() - 2) + "'";
}

// As Go's %#U: `U+0064 'd'`.
std::string CodePoint(char32_t code) {
  const char32_t shown = code > kRuneMax ? kBadRune : code;
  std::string text = fmt::format("U+{:04X}", static_cast<uint32_t>(shown));
  const std::string quoted = QuotedRune(shown);
  const bool printable = quoted[1] != '\\' || shown == '\\' || shown == '\'';
  return !printable      ? text
         : shown == '\'' ? text + " '''"
         : shown == '\\' ? text + " '\\'"
                         : text + " " + quoted;
}

int DigitValue(char32_t c) {
  if (IsDigit(c)) return static_cast<int>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<int>(c - 'a' + 10);
  if (c >= 'A' && c <= 'F') return static_cast<int>(c - 'A' + 10);
  return 16;
}

const StringMap<TokenType>& Words() {
  static const auto& words = *[] {
    auto* all = new StringMap<TokenType>{
        {"and", TokenType::kAnd},
        {"or", TokenType::kOr},
        {"unless", TokenType::kUnless},
        {"atan2", TokenType::kAtan2},
        {"offset", TokenType::kOffset},
        {"anchored", TokenType::kAnchored},
        {"smoothed", TokenType::kSmoothed},
        {"by", TokenType::kBy},
        {"without", TokenType::kWithout},
        {"on", TokenType::kOn},
        {"ignoring", TokenType::kIgnoring},
        {"group_left", TokenType::kGroupLeft},
        {"group_right", TokenType::kGroupRight},
        {"fill", TokenType::kFill},
        {"fill_left", TokenType::kFillLeft},
        {"fill_right", TokenType::kFillRight},
        {"bool", TokenType::kBool},
        {"start", TokenType::kStart},
        {"end", TokenType::kEnd},
        {"step", TokenType::kStep},
        {"range", TokenType::kRange},
        {"min_of", TokenType::kMinOf},
        {"max_of", TokenType::kMaxOf},
        {"inf", TokenType::kNumber},
        {"nan", TokenType::kNumber},
    };
    for (size_t i = 0; i < kAggregateOpCount; ++i) {
      all->emplace(AggregateOpText(static_cast<AggregateOp>(i)), TokenType::kAggregator);
    }
    return all;
  }();
  return words;
}

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return lower;
}

class Lexer {
 public:
  explicit Lexer(std::string_view query) : query_(query) {}

  TokenList Run() {
    while (!done_) {
      SkipSpacesAndComments();
      if (in_braces_) {
        LexInsideBraces();
      } else if (in_range_start_) {
        LexRangeStart();
      } else {
        LexStatement();
      }
    }
    return std::move(result_);
  }

 private:
  Rune PeekRune() const { return Decode(query_.substr(position_)); }
  char32_t Peek() const { return PeekRune().code; }
  char32_t Next() {
    const Rune rune = PeekRune();
    position_ += rune.bytes;
    return rune.code;
  }
  // Consumes the next character if it is one of `valid` (ASCII).
  bool Accept(std::string_view valid) {
    if (!Is(valid)) return false;
    ++position_;
    return true;
  }
  bool Is(std::string_view valid) const {
    const char32_t c = Peek();
    return c < 0x80 && valid.find(static_cast<char>(c)) != std::string_view::npos;
  }
  std::string_view Text() const { return query_.substr(start_, position_ - start_); }

  void SkipSpacesAndComments() {
    while (true) {
      while (IsSpace(Peek())) ++position_;
      if (Peek() != '#') break;
      while (Peek() != '\n' && Peek() != '\r' && Peek() != kEndOfText) Next();
    }
    start_ = position_;
  }

  void Emit(TokenType type) {
    result_.tokens.push_back({type, static_cast<int>(start_), Text()});
    start_ = position_;
    done_ = type == TokenType::kEof;
  }

  // Ends lexing. The error stands where the current token starts.
  void Fail(std::string message) {
    result_.error = std::move(message);
    result_.tokens.push_back({TokenType::kError, static_cast<int>(start_), {}});
    done_ = true;
  }

  void LexStatement();
  void LexBracketWord(char32_t first);
  void LexRangeStart();
  void LexInsideBraces();
  void LexOperator(char32_t first);
  void LexWord();
  bool FollowedByLeftParen() const;
  bool LexDurationWord();
  void LexNumberOrDuration();
  bool ScanNumber();
  bool ScanRestOfDuration();
  void LexString(char32_t quote);
  bool ScanEscape(char32_t quote);
  void LexRawString();
  void LeftParen() {
    Emit(TokenType::kLeftParen);
    ++open_parens_;
  }
  void RightParen();

  const std::string_view query_;
  size_t start_ = 0;     // Of the current token.
  size_t position_ = 0;  // Of the next byte.
  int open_parens_ = 0;
  bool in_braces_ = false;
  bool in_brackets_ = false;
  bool in_range_start_ = false;  // In brackets, no number seen yet.
  bool seen_colon_ = false;      // In brackets.
  bool done_ = false;
  TokenList result_;
};

void Lexer::RightParen() {
  // The closing parenthesis too many counts as read: the error stands behind it.
  if (open_parens_ == 0) {
    start_ = position_;
    return Fail("unexpected right parenthesis ')'");
  }
  Emit(TokenType::kRightParen);
  --open_parens_;
}

void Lexer::LexStatement() {
  const char32_t c = Next();
  switch (c) {
    case kEndOfText:
      if (open_parens_ != 0) return Fail("unclosed left parenthesis");
      if (in_brackets_) return Fail("unclosed left bracket");
      return Emit(TokenType::kEof);
    case ',':
      return Emit(TokenType::kComma);
    case '"':
    case '\'':
      return LexString(c);
    case '`':
      return LexRawString();
    case '(':
      return LeftParen();
    case ')':
      return RightParen();
    case '{':
      in_braces_ = true;
      return Emit(TokenType::kLeftBrace);
    case '[':
      if (in_brackets_) return Fail("unexpected left bracket '['");
      in_brackets_ = in_range_start_ = true;
      seen_colon_ = false;
      return Emit(TokenType::kLeftBracket);
    case ']':
      if (!in_brackets_) return Fail("unexpected right bracket ']'");
      in_brackets_ = false;
      return Emit(TokenType::kRightBracket);
    default:
      break;
  }
  if (IsDigit(c) || (c == '.' && IsDigit(Peek()))) {
    position_ = start_;
    return LexNumberOrDuration();
  }
  if (IsAlpha(c) || c == ':') return in_brackets_ ? LexBracketWord(c) : LexWord();
  LexOperator(c);
}

// `first` has been read.
void Lexer::LexOperator(char32_t first) {
  switch (first) {
    case '+':
      return Emit(TokenType::kAdd);
    case '-':
      return Emit(TokenType::kSub);
    case '*':
      return Emit(TokenType::kMul);
    case '/':
      return Emit(TokenType::kDiv);
    case '%':
      return Emit(TokenType::kMod);
    case '^':
      return Emit(TokenType::kPow);
    case '@':
      return Emit(TokenType::kAt);
    case '=':
      if (Accept("=")) return Emit(TokenType::kEqual);
      if (Is("~")) return Fail("unexpected character after '=': '~'");
      return Emit(TokenType::kAssign);
    case '!':
      if (Accept("=")) return Emit(TokenType::kNotEqual);
      return Fail("unexpected character after '!': " + QuotedRune(Peek()));
    case '<':
      if (Accept("=")) return Emit(TokenType::kLessEqual);
      return Emit(Accept("/") ? TokenType::kTrimUpper : TokenType::kLess);
    case '>':
      if (Accept("=")) return Emit(TokenType::kGreaterEqual);
      return Emit(Accept("/") ? TokenType::kTrimLower : TokenType::kGreater);
    default:
      Fail("unexpected character: " + QuotedRune(first));
  }
}

// A word or a colon inside brackets, behind the first number.
void Lexer::LexBracketWord(char32_t first) {
  if (first == ':') {
    if (seen_colon_) return Fail("unexpected colon ':'");
    seen_colon_ = true;
    return Emit(TokenType::kColon);
  }
  if (LexDurationWord()) return;
  Fail(fmt::format("unexpected character: {}, expected ':'", QuotedRune(first)));
}

// Inside brackets, before the first number.
void Lexer::LexRangeStart() {
  const char32_t c = Next();
  switch (c) {
    case kEndOfText:
      return Fail("unexpected end of input in duration expression");
    case ']':
      in_brackets_ = in_range_start_ = false;
      return Emit(TokenType::kRightBracket);
    case ':':
      // step() and the like are a range without a number.
      if (result_.tokens.back().type == TokenType::kRightParen) {
        in_range_start_ = false;
        return LexBracketWord(c);
      }
      start_ = position_;
      return Fail("unexpected colon before duration in duration expression");
    case '(':
      return LeftParen();
    case ')':
      return RightParen();
    case ',':
      return Emit(TokenType::kComma);
    case '+':
    case '-':
    case '*':
    case '/':
    case '%':
    case '^':
      return LexOperator(c);
    default:
      break;
  }
  if (IsDigit(c) || (c == '.' && IsDigit(Peek()))) {
    position_ = start_;
    in_range_start_ = false;
    return LexNumberOrDuration();
  }
  if (IsAlpha(c) && LexDurationWord()) return;
  Fail("unexpected character in duration expression: " + QuotedRune(c));
}

// step, range, min_of and max_of; their first letter has been read.
bool Lexer::LexDurationWord() {
  while (IsAlpha(Peek())) ++position_;
  const auto found = Words().find(Lower(Text()));
  if (found == Words().end()) return false;
  switch (found->second) {
    case TokenType::kStep:
    case TokenType::kRange:
    case TokenType::kMinOf:
    case TokenType::kMaxOf:
      Emit(found->second);
      return true;
    default:
      return false;
  }
}

void Lexer::LexInsideBraces() {
  const char32_t c = Next();
  switch (c) {
    case kEndOfText:
      return Fail("unexpected end of input inside braces");
    case ',':
      return Emit(TokenType::kComma);
    case '"':
    case '\'':
      return LexString(c);
    case '`':
      return LexRawString();
    case '=':
      return Emit(Accept("~") ? TokenType::kRegexMatch : TokenType::kAssign);
    case '!':
      if (Accept("~")) return Emit(TokenType::kRegexNotMatch);
      if (Accept("=")) return Emit(TokenType::kNotEqual);
      return Fail("unexpected character after '!' inside braces: " + QuotedRune(Peek()));
    case '{':
      return Fail("unexpected left brace '{'");
    case '}':
      in_braces_ = false;
      return Emit(TokenType::kRightBrace);
    default:
      break;
  }
  if (!IsAlpha(c)) return Fail("unexpected character inside braces: " + QuotedRune(c));
  while (IsAlphaNumeric(Peek())) ++position_;
  Emit(TokenType::kIdentifier);
}

// An identifier or keyword; its first letter has been read.
void Lexer::LexWord() {
  while (IsAlphaNumeric(Peek()) || Peek() == ':') ++position_;
  const std::string_view word = Text();
  const auto found = Words().find(Lower(word));
  if (found != Words().end()) {
    const bool fill = found->second >= TokenType::kFill && found->second <= TokenType::kFillRight;
    return Emit(fill && !FollowedByLeftParen() ? TokenType::kIdentifier : found->second);
  }
  const bool colon = word.find(':') != std::string_view::npos;
  Emit(colon ? TokenType::kMetricIdentifier : TokenType::kIdentifier);
}

bool Lexer::FollowedByLeftParen() const {
  size_t next = position_;
  while (next < query_.size() && IsSpace(static_cast<unsigned char>(query_[next]))) ++next;
  return next < query_.size() && query_[next] == '(';
}

void Lexer::LexNumberOrDuration() {
  if (ScanNumber()) return Emit(TokenType::kNumber);
  if (ScanRestOfDuration()) return Emit(TokenType::kDuration);
  Fail("bad number or duration syntax: " + Quoted(Text()));
}

// Accepts what looks like a number. On failure the position is where it stopped being one, which
// is also where the unit of a duration may stand.
bool Lexer::ScanNumber() {
  std::string_view digits = "0123456789";
  const bool hex = Accept("0") && Accept("xX");
  if (hex) {
    Accept("_");
    digits = "0123456789abcdefABCDEF";
  }
  Accept(".");
  Accept(digits);
  bool seen_dot = false;
  bool seen_exponent = false;
  while (true) {
    if (Is(digits)) {
      while (Accept(digits)) {
      }
    } else if (Is(".")) {
      ++position_;
      if (seen_dot || Accept("_.") || hex) return false;
      seen_dot = true;
    } else if (Is("eE")) {
      ++position_;
      if (seen_exponent) return false;
      seen_exponent = true;
      Accept("+-");
      if (Accept("._eE") || Peek() == kEndOfText) return false;
    } else if (Is("_")) {
      ++position_;
      if (Accept("._eE") || Peek() == kEndOfText) return false;
    } else {
      break;
    }
  }
  return position_ != start_ && !IsAlphaNumeric(Peek());
}

bool Lexer::ScanRestOfDuration() {
  constexpr std::string_view kDigits = "0123456789";
  if (!Accept("smhdwy")) return false;
  Accept("s");  // ms. What else may stand before an `s` is caught when the text is parsed.
  while (Is(kDigits)) {
    while (Accept(kDigits)) {
    }
    if (!Accept("smhdw")) return false;
    Accept("s");
  }
  if (!IsAlphaNumeric(Peek())) return true;
  ++position_;  // Error texts show the character that should not be there.
  return false;
}

// `quote` has been read.
void Lexer::LexString(char32_t quote) {
  while (true) {
    const char32_t c = Next();
    if (c == quote) return Emit(TokenType::kString);
    if (c == kEndOfText || c == '\n') return Fail("unterminated quoted string");
    if (c == kBadRune) return Fail("invalid UTF-8 rune");
    if (c == '\\' && !ScanEscape(quote)) return;
  }
}

// The backslash has been read. False if Fail() was called.
bool Lexer::ScanEscape(char32_t quote) {
  const char32_t kind = Next();
  if (kind == quote) return true;
  int digits = 0;
  uint32_t base = 16;
  uint32_t value_max = kRuneMax;
  switch (kind) {
    case 'a':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
    case 'v':
    case '\\':
      return true;
    case 'x':
      digits = 2;
      value_max = 255;
      break;
    case 'u':
      digits = 4;
      break;
    case 'U':
      digits = 8;
      break;
    case kEndOfText:
      Fail("escape sequence not terminated");
      return false;
    default:
      if (kind < '0' || kind > '7') {
        Fail("unknown escape sequence " + CodePoint(kind));
        return false;
      }
      --position_;
      digits = 3;
      base = 8;
      value_max = 255;
  }
  uint32_t value = 0;
  for (; digits > 0; --digits) {
    const char32_t c = Next();
    const auto digit = static_cast<uint32_t>(DigitValue(c));
    if (digit >= base) {
      Fail(c == kEndOfText ? "escape sequence not terminated"
                           : fmt::format("illegal character {} in escape sequence", CodePoint(c)));
      return false;
    }
    value = value * base + digit;
  }
  if (value <= value_max && (value < 0xD800 || value >= 0xE000)) return true;
  Fail("escape sequence is an invalid Unicode code point");
  return false;
}

void Lexer::LexRawString() {
  while (true) {
    const char32_t c = Next();
    if (c == '`') return Emit(TokenType::kString);
    if (c == kEndOfText) return Fail("unterminated raw string");
    if (c == kBadRune) return Fail("invalid UTF-8 rune");
  }
}

// The name of a token's class, where its text alone would not say enough.
std::string_view ClassOf(TokenType type) {
  switch (type) {
    case TokenType::kIdentifier:
      return "identifier ";
    case TokenType::kMetricIdentifier:
      return "metric identifier ";
    case TokenType::kNumber:
      return "number ";
    case TokenType::kDuration:
      return "duration ";
    case TokenType::kString:
      return "string ";
    default:
      return "";
  }
}

}  // namespace

TokenList Lex(std::string_view query) { return Lexer(query).Run(); }

std::string Describe(const Token& token) {
  constexpr int kRunesShown = 10;
  if (token.type == TokenType::kEof) return "end of input";
  if (IsKeyword(token.type)) return fmt::format("<{}>", token.text);
  if (IsOperator(token.type)) return fmt::format("<op:{}>", token.text);
  if (IsAggregator(token.type)) return fmt::format("<aggr:{}>", token.text);
  std::string text(ClassOf(token.type));
  const bool identifier =
      token.type == TokenType::kIdentifier || token.type == TokenType::kMetricIdentifier;
  if (identifier || token.text.size() <= kRunesShown) return text + Quoted(token.text);
  size_t shown = 0;
  for (int i = 0; i < kRunesShown; ++i) shown += Decode(token.text.substr(shown)).bytes;
  return text + Quoted(token.text.substr(0, shown)) + "...";
}

std::string Unquote(std::string_view quoted) {
  const bool raw = quoted.front() == '`';
  quoted = quoted.substr(1, quoted.size() - 2);
  if (raw) return std::string(quoted);
  std::string text;
  for (size_t i = 0; i < quoted.size(); ++i) {
    if (quoted[i] != '\\') {
      text += quoted[i];
      continue;
    }
    const char kind = quoted[++i];
    constexpr std::string_view kLetters = "abfnrtv";
    constexpr std::string_view kControls = "\a\b\f\n\r\t\v";
    if (const size_t letter = kLetters.find(kind); letter != std::string_view::npos) {
      text += kControls[letter];
      continue;
    }
    const bool octal = kind >= '0' && kind <= '7';
    const int digits = octal ? 3 : kind == 'x' ? 2 : kind == 'u' ? 4 : kind == 'U' ? 8 : 0;
    if (digits == 0) {
      text += kind;  // A backslash or a quote.
      continue;
    }
    if (octal) --i;
    char32_t value = 0;
    for (int d = 0; d < digits; ++d) {
      value = value * (octal ? 8 : 16) + static_cast<char32_t>(DigitValue(quoted[++i]));
    }
    if (octal || kind == 'x') {
      text += static_cast<char>(value);  // A byte, whatever the bytes around it.
    } else {
      AppendUtf8(value, text);
    }
  }
  return text;
}

}  // namespace varve::promql
