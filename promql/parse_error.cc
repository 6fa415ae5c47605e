// SPDX-License-Identifier: Apache-2.0
//
// The second reading of a refused query. It accepts what the grammar in parser.cc accepts, so it
// stops at the same token.
#include "promql/parse_error.h"

#include <fmt/format.h>

#include <vector>

#include "promql/ast.h"
#include "promql/token_classes.h"

namespace varve::promql {
namespace {

constexpr std::string_view kDurationWords = "number, duration, step(), or range()";

class ErrorFinder {
 public:
  explicit ErrorFinder(const TokenList& tokens) : tokens_(tokens) {}

  ParseError Find(GrammarStart start) {
    if (start == GrammarStart::kExpression) {
      if (Is(TokenType::kEof)) return {0, "no expression found in input"};
      ReadExpression();
    } else {
      ReadSelector();
    }
    Expect(TokenType::kEof);
    return std::move(error_);
  }

 private:
  // What is being read. The innermost one words the error.
  struct Context {
    std::string_view name;
    std::string_view expected;
  };

  // Puts a context on the stack for as long as it lives.
  class Reading {
   public:
    Reading(ErrorFinder& finder, std::string_view name, std::string_view expected = "")
        : finder_(finder) {
      finder_.contexts_.push_back({name, expected});
    }
    ~Reading() { finder_.contexts_.pop_back(); }
    void Expecting(std::string_view expected) { finder_.contexts_.back().expected = expected; }
    void Now(std::string_view name, std::string_view expected) {
      finder_.contexts_.back() = {name, expected};
    }

   private:
    ErrorFinder& finder_;
  };

  const Token& Current() const { return tokens_.tokens[next_]; }
  TokenType Type() const { return Current().type; }
  bool Is(TokenType type) const { return Type() == type; }
  bool FollowedBy(TokenType type) const {
    return next_ + 1 < tokens_.tokens.size() && tokens_.tokens[next_ + 1].type == type;
  }

  // Once something failed nothing is read any more: Accept() and Expect() only say no.
  bool Accept(TokenType type) { return !failed_ && Is(type) && Advance(); }
  bool Advance() {
    if (next_ + 1 < tokens_.tokens.size()) ++next_;
    return true;
  }
  bool Expect(TokenType type) { return Accept(type) || Fail(); }

  // Always false. The first failure counts.
  bool Fail() {
    if (failed_) return false;
    failed_ = true;
    error_.position = Current().position;
    if (Is(TokenType::kError)) {
      error_.message = tokens_.error;
      return false;
    }
    error_.message = "unexpected " + Describe(Current());
    if (contexts_.empty()) return false;
    const Context& context = contexts_.back();
    if (!context.name.empty()) error_.message += fmt::format(" in {}", context.name);
    if (!context.expected.empty()) error_.message += fmt::format(", expected {}", context.expected);
    return false;
  }

  bool ReadExpression();
  bool ReadOperand();
  bool ReadPrimary();
  bool ReadSelector();
  bool ReadMatchers();
  bool ReadMatcher(Reading& reading);
  bool ReadModifiers();
  bool ReadBinaryModifiers();
  bool ReadGroupLabels();
  bool ReadFill();
  bool ReadLabels();
  bool ReadAggregate();
  bool ReadArguments();
  bool ReadBrackets();
  bool ReadOffset();
  bool ReadAt();
  bool ReadDuration();
  bool ReadDurationOperand();

  const TokenList& tokens_;
  size_t next_ = 0;
  std::vector<Context> contexts_;
  bool failed_ = false;
  ParseError error_;
};

bool ErrorFinder::ReadExpression() {
  if (!ReadOperand()) return false;
  while (IsBinaryOperator(Type())) {
    Advance();
    if (!ReadBinaryModifiers() || !ReadOperand()) return false;
  }
  return true;
}

bool ErrorFinder::ReadOperand() {
  while (IsSign(Type())) Advance();
  return ReadPrimary() && ReadModifiers();
}

bool ErrorFinder::ReadPrimary() {
  if (IsNumberOrDuration(Type()) || Is(TokenType::kString)) return Advance();
  if (Accept(TokenType::kLeftParen)) {
    return ReadExpression() && Expect(TokenType::kRightParen);
  }
  if (IsAggregator(Type()) && (FollowedBy(TokenType::kLeftParen) || FollowedBy(TokenType::kBy) ||
                               FollowedBy(TokenType::kWithout))) {
    return ReadAggregate();
  }
  if (IsCallWord(Type()) && FollowedBy(TokenType::kLeftParen)) {
    Advance();
    return ReadArguments();
  }
  return ReadSelector();
}

bool ErrorFinder::ReadSelector() {
  if (IsMetricName(Type())) {
    Advance();
    return !Is(TokenType::kLeftBrace) || ReadMatchers();
  }
  return Is(TokenType::kLeftBrace) ? ReadMatchers() : Fail();
}

bool ErrorFinder::ReadMatchers() {
  Advance();
  Reading reading(*this, "label matching", "identifier or \"}\"");
  while (!Accept(TokenType::kRightBrace)) {
    if (!ReadMatcher(reading)) return false;
    reading.Expecting("\",\" or \"}\"");
    if (Accept(TokenType::kRightBrace)) return true;
    if (!Expect(TokenType::kComma)) return false;
    reading.Expecting("identifier or \"}\"");
  }
  return true;
}

bool ErrorFinder::ReadMatcher(Reading& reading) {
  const bool quoted = Accept(TokenType::kString);
  if (!quoted) {
    if (!Expect(TokenType::kIdentifier)) return false;
    reading.Expecting("label matching operator");
  }
  if (!IsMatchOperator(Type())) return quoted || Fail();
  Advance();
  reading.Expecting("string");
  return Expect(TokenType::kString);
}

// What may follow an operand.
bool ErrorFinder::ReadModifiers() {
  while (true) {
    switch (Type()) {
      case TokenType::kLeftBracket:
        if (!ReadBrackets()) return false;
        break;
      case TokenType::kOffset:
        if (!ReadOffset()) return false;
        break;
      case TokenType::kAt:
        if (!ReadAt()) return false;
        break;
      case TokenType::kAnchored:
      case TokenType::kSmoothed:
        Advance();
        break;
      default:
        return true;
    }
  }
}

bool ErrorFinder::ReadBinaryModifiers() {
  Accept(TokenType::kBool);
  if (Accept(TokenType::kOn) || Accept(TokenType::kIgnoring)) {
    if (!ReadLabels()) return false;
    if ((Accept(TokenType::kGroupLeft) || Accept(TokenType::kGroupRight)) && !ReadGroupLabels()) {
      return false;
    }
  }
  if (Accept(TokenType::kFill)) return ReadFill();
  if (Accept(TokenType::kFillLeft)) {
    return ReadFill() && (!Accept(TokenType::kFillRight) || ReadFill());
  }
  if (Accept(TokenType::kFillRight)) {
    return ReadFill() && (!Accept(TokenType::kFillLeft) || ReadFill());
  }
  return true;
}

// The list may be left out, but where no operand follows either it is the list that is missed.
bool ErrorFinder::ReadGroupLabels() {
  const bool left_out = IsSign(Type()) || IsNumberOrDuration(Type()) || Is(TokenType::kString) ||
                        Is(TokenType::kLeftBrace) || IsMetricName(Type());
  return left_out || ReadLabels();
}

bool ErrorFinder::ReadFill() {
  if (!Expect(TokenType::kLeftParen)) return false;
  if (IsSign(Type())) Advance();
  if (!IsNumberOrDuration(Type())) return Fail();
  Advance();
  return Expect(TokenType::kRightParen);
}

bool ErrorFinder::ReadLabels() {
  Reading reading(*this, "grouping opts", "\"(\"");
  if (!Expect(TokenType::kLeftParen)) return false;
  reading.Expecting("label");
  while (!Accept(TokenType::kRightParen)) {
    if (!IsGroupingLabel(Type()) && !Is(TokenType::kString)) return Fail();
    Advance();
    reading.Expecting("\",\" or \")\"");
    if (Accept(TokenType::kRightParen)) return true;
    if (!Expect(TokenType::kComma)) return false;
    reading.Expecting("label");
  }
  return true;
}

bool ErrorFinder::ReadAggregate() {
  bool grouped = false;
  {
    Reading reading(*this, "aggregation");
    Advance();
    if (Accept(TokenType::kBy) || Accept(TokenType::kWithout)) {
      grouped = true;
      if (!ReadLabels()) return false;
    }
    if (!ReadArguments()) return false;
  }
  if (grouped || !(Accept(TokenType::kBy) || Accept(TokenType::kWithout))) return true;
  return ReadLabels();
}

bool ErrorFinder::ReadArguments() {
  if (!Expect(TokenType::kLeftParen)) return false;
  if (Accept(TokenType::kRightParen)) return true;
  while (true) {
    if (!ReadExpression()) return false;
    if (Accept(TokenType::kRightParen)) return true;
    if (!Expect(TokenType::kComma)) return false;
  }
}

bool ErrorFinder::ReadBrackets() {
  Advance();
  Reading reading(*this, "subquery or range selector", kDurationWords);
  if (!ReadDuration()) return false;
  reading.Now("subquery or range", "\":\" or \"]\"");
  if (Accept(TokenType::kRightBracket)) return true;
  if (!Expect(TokenType::kColon)) return false;
  reading.Now("subquery selector", "number, duration, step(), range(), or \"]\"");
  if (Accept(TokenType::kRightBracket)) return true;
  if (!ReadDuration()) return false;
  reading.Expecting("\"]\"");
  return Expect(TokenType::kRightBracket);
}

bool ErrorFinder::ReadOffset() {
  Advance();
  Reading reading(*this, "offset", kDurationWords);
  if (IsSign(Type())) Advance();
  return ReadDurationOperand();
}

bool ErrorFinder::ReadAt() {
  Advance();
  Reading reading(*this, "@", "timestamp");
  if (Accept(TokenType::kStart) || Accept(TokenType::kEnd)) {
    return Expect(TokenType::kLeftParen) && Expect(TokenType::kRightParen);
  }
  if (IsSign(Type())) Advance();
  return IsNumberOrDuration(Type()) ? Advance() : Fail();
}

bool ErrorFinder::ReadDuration() {
  do {
    while (IsSign(Type())) Advance();
    if (!ReadDurationOperand()) return false;
  } while (IsDurationOperator(Type()) && Advance());
  return true;
}

bool ErrorFinder::ReadDurationOperand() {
  if (IsNumberOrDuration(Type())) return Advance();
  if (Accept(TokenType::kLeftParen)) return ReadDuration() && Expect(TokenType::kRightParen);
  if (Accept(TokenType::kStep) || Accept(TokenType::kRange)) {
    return Expect(TokenType::kLeftParen) && Expect(TokenType::kRightParen);
  }
  if (Accept(TokenType::kMinOf) || Accept(TokenType::kMaxOf)) {
    return Expect(TokenType::kLeftParen) && ReadDuration() && Expect(TokenType::kComma) &&
           ReadDuration() && Expect(TokenType::kRightParen);
  }
  return Fail();
}

}  // namespace

absl::Status ToStatus(const ParseError& error, std::string_view query) {
  return absl::InvalidArgumentError(
      fmt::format("{}: parse error: {}", LineColumn(query, error.position), error.message));
}

ParseError FindSyntaxError(const TokenList& tokens, GrammarStart start) {
  return ErrorFinder(tokens).Find(start);
}

}  // namespace varve::promql
