// SPDX-License-Identifier: Apache-2.0
//
// The stacks behind the grammar. Texts and positions of errors are Prometheus'.
#include "promql/tree_builder.h"

#include <absl/strings/charconv.h>
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "model/check.h"
#include "model/labels.h"
#include "model/sample.h"
#include "model/status_macros.h"

namespace varve::promql {
namespace {

// Higher binds tighter. A sign binds like multiplication: -2^2 is -(2^2).
constexpr int kSignPrecedence = 5;
constexpr int kPowPrecedence = 6;

int PrecedenceOf(TokenType type) {
  switch (type) {
    case TokenType::kOr:
      return 1;
    case TokenType::kAnd:
    case TokenType::kUnless:
      return 2;
    case TokenType::kAdd:
    case TokenType::kSub:
      return 4;
    case TokenType::kMul:
    case TokenType::kDiv:
    case TokenType::kMod:
    case TokenType::kAtan2:
      return kSignPrecedence;
    case TokenType::kPow:
      return kPowPrecedence;
    default:
      return 3;  // Comparisons and trims.
  }
}

// The enum names operators in the order of their tokens.
BinaryOp BinaryOpOf(TokenType type) {
  return static_cast<BinaryOp>(static_cast<int>(type) - static_cast<int>(TokenType::kAdd));
}
static_assert(static_cast<int>(TokenType::kUnless) - static_cast<int>(TokenType::kAdd) ==
              static_cast<int>(BinaryOp::kUnless));

MatchType MatchTypeOf(TokenType type) {
  switch (type) {
    case TokenType::kNotEqual:
      return MatchType::kNotEqual;
    case TokenType::kRegexMatch:
      return MatchType::kRegex;
    case TokenType::kRegexNotMatch:
      return MatchType::kNotRegex;
    default:
      return MatchType::kEqual;
  }
}

ValueType TypeOfNode(const Expr& expr) {
  switch (expr.kind) {
    case ExprKind::kNumberLiteral:
      return ValueType::kScalar;
    case ExprKind::kStringLiteral:
      return ValueType::kString;
    case ExprKind::kVectorSelector:
    case ExprKind::kAggregate:
      return ValueType::kVector;
    case ExprKind::kMatrixSelector:
    case ExprKind::kSubquery:
      return ValueType::kMatrix;
    case ExprKind::kBinary: {
      const auto& binary = As<Binary>(expr);
      const bool scalars =
          binary.lhs->type == ValueType::kScalar && binary.rhs->type == ValueType::kScalar;
      return scalars ? ValueType::kScalar : ValueType::kVector;
    }
    case ExprKind::kCall:
      return As<Call>(expr).function->result;
    case ExprKind::kUnary:
      return As<Unary>(expr).expr->type;
    case ExprKind::kParen:
      return As<Paren>(expr).expr->type;
    case ExprKind::kDuration:
      break;
  }
  return ValueType::kNone;
}

int DepthOfNode(const Expr& expr) {
  int below = 0;
  for (const Expr* child : Children(expr)) below = std::max<int>(below, child->depth);
  if (const auto* duration = TryAs<DurationExpr>(expr)) {
    if (duration->lhs) below = std::max<int>(below, duration->lhs->depth);
    if (duration->rhs) below = std::max<int>(below, duration->rhs->depth);
  }
  return below + 1;
}

// Go's reading of an integer with a base prefix: hexadecimal, octal after a leading 0, decimal.
// Nothing if it is none, or does not fit 63 bits.
std::optional<double> ParseInteger(std::string_view text) {
  uint64_t base = 10;
  if (text.size() > 1 && text[0] == '0') {
    base = text[1] == 'x' || text[1] == 'X' ? 16 : 8;
    text.remove_prefix(base == 16 ? 2 : 1);
  }
  if (text.empty()) return std::nullopt;
  uint64_t value = 0;
  for (const char c : text) {
    const uint64_t digit = c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
    if (c < '0' || digit >= base) return std::nullopt;
    if (value > (static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) - digit) / base) {
      return std::nullopt;
    }
    value = value * base + digit;
  }
  return static_cast<double>(value);
}

bool EqualsIgnoringCase(std::string_view text, std::string_view lower) {
  return std::equal(text.begin(), text.end(), lower.begin(), lower.end(),
                    [](char a, char b) { return (a | 0x20) == b; });
}

}  // namespace

ExprPtr TreeBuilder::TakeTree() {
  INVARIANT(!error_ && operands_.size() == 1 && pending_.empty());
  return Pop();
}

void TreeBuilder::Fail(int position, std::string message) {
  if (!error_) error_ = ParseError{position, std::move(message)};
}

ExprPtr TreeBuilder::Pop() {
  INVARIANT(!operands_.empty());
  ExprPtr node = std::move(operands_.back());
  operands_.pop_back();
  return node;
}

void TreeBuilder::Finish(ExprPtr node) {
  const int depth = DepthOfNode(*node);
  if (depth > kTreeDepthMax) {
    return Fail(node->position.start,
                fmt::format("expression is too deep: more than {} levels", kTreeDepthMax));
  }
  node->depth = static_cast<uint16_t>(depth);
  node->type = TypeOfNode(*node);
  operands_.push_back(std::move(node));
}

// ------------------------------------------------------------------------ expressions, operators

void TreeBuilder::Begin() {
  if (++nesting_ > kNestingMax + 1) {
    const int position = opened_.empty() ? 0 : opened_.back().position;
    return Fail(position,
                fmt::format("expression is nested too deeply: more than {} levels", kNestingMax));
  }
  pending_.emplace_back();
}

void TreeBuilder::End() {
  ReduceDownTo(0, false);
  pending_.pop_back();
  --nesting_;
}

void TreeBuilder::Sign(const Token& token) {
  pending_.push_back({Pending::Kind::kSign, token.type, token.position});
}

void TreeBuilder::DurationSign(const Token& token) {
  pending_.push_back({Pending::Kind::kDurationSign, token.type, token.position});
}

void TreeBuilder::Operator(const Token& token) {
  ReduceDownTo(PrecedenceOf(token.type), token.type == TokenType::kPow);
  pending_.push_back({Pending::Kind::kBinary, token.type, token.position});
}

void TreeBuilder::DurationOperator(const Token& token) {
  ReduceDownTo(PrecedenceOf(token.type), token.type == TokenType::kPow);
  pending_.push_back({Pending::Kind::kDurationBinary, token.type, token.position});
}

// Builds what binds at least as tight as an operator of `precedence` that comes next.
void TreeBuilder::ReduceDownTo(int precedence, bool right_associative) {
  while (!error_ && pending_.back().kind != Pending::Kind::kStart) {
    const Pending& top = pending_.back();
    const bool sign = top.kind == Pending::Kind::kSign || top.kind == Pending::Kind::kDurationSign;
    const int top_precedence = sign ? kSignPrecedence : PrecedenceOf(top.type);
    if (top_precedence < precedence || (top_precedence == precedence && right_associative)) break;
    Reduce();
  }
}

void TreeBuilder::Reduce() {
  Pending top = std::move(pending_.back());
  pending_.pop_back();
  switch (top.kind) {
    case Pending::Kind::kSign:
      return ReduceSign(top);
    case Pending::Kind::kDurationSign:
      return ReduceDurationSign(top);
    case Pending::Kind::kDurationBinary:
      return ReduceDuration(top);
    case Pending::Kind::kBinary:
      break;
    case Pending::Kind::kStart:
      INVARIANT(false);
  }
  auto binary = std::make_unique<Binary>();
  binary->op = BinaryOpOf(top.type);
  binary->rhs = Pop();
  binary->lhs = Pop();
  binary->position = {binary->lhs->position.start, binary->rhs->position.end};
  binary->return_bool = top.return_bool;
  const bool fills = top.matching.fill_left || top.matching.fill_right;
  binary->matching = std::move(top.matching);
  if (fills && !options_.fill_modifiers) {
    return Fail(binary->position.start, "binop fill modifiers are experimental and not enabled");
  }
  Finish(std::move(binary));
}

void TreeBuilder::ReduceSign(const Pending& sign) {
  const bool negative = sign.type == TokenType::kSub;
  // -1 is a literal, not an operation.
  if (auto* number = TryAs<NumberLiteral>(*operands_.back())) {
    if (negative) number->value = -number->value;
    number->position.start = sign.position;
    return;
  }
  auto unary = std::make_unique<Unary>();
  unary->negative = negative;
  unary->expr = Pop();
  unary->position = {sign.position, unary->expr->position.end};
  Finish(std::move(unary));
}

void TreeBuilder::Bool() { pending_.back().return_bool = true; }

void TreeBuilder::OnLabels() {
  pending_.back().matching.on = true;
  pending_.back().matching.labels = std::move(labels_);
}

void TreeBuilder::IgnoringLabels() { pending_.back().matching.labels = std::move(labels_); }

void TreeBuilder::GroupLeft() { pending_.back().matching.card = Cardinality::kManyToOne; }

void TreeBuilder::GroupRight() { pending_.back().matching.card = Cardinality::kOneToMany; }

void TreeBuilder::IncludedLabels() { pending_.back().matching.include = std::move(labels_); }

void TreeBuilder::FillBoth() { SetFill(true, true); }
void TreeBuilder::FillLeft() { SetFill(true, false); }
void TreeBuilder::FillRight() { SetFill(false, true); }

void TreeBuilder::SetFill(bool left, bool right) {
  VectorMatching& matching = pending_.back().matching;
  if (left) matching.fill_left = scalar_;
  if (right) matching.fill_right = scalar_;
}

// --------------------------------------------------------------------------------------- operands

double TreeBuilder::ParseNumber(const Token& token) {
  std::string text;  // Without underscores, which the lexer lets stand between digits only.
  for (const char c : token.text) {
    if (c != '_') text += c;
  }
  if (EqualsIgnoringCase(text, "inf")) return std::numeric_limits<double>::infinity();
  if (EqualsIgnoringCase(text, "nan")) return NormalNan();
  if (const auto integer = ParseInteger(text)) return *integer;
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, code] = absl::from_chars(text.data(), end, value);
  const char* problem = nullptr;
  if (stop != end) {
    problem = "invalid syntax";
  } else if (code == std::errc::result_out_of_range && value > 1) {
    problem = "value out of range";
  }
  if (problem) {
    Fail(token.position, fmt::format("error parsing number: strconv.ParseFloat: parsing {}: {}",
                                     Quoted(token.text), problem));
  }
  return value;
}

double TreeBuilder::ParseNumberOrDuration(const Token& token) {
  if (token.type == TokenType::kNumber) return ParseNumber(token);
  const auto duration = ParseDuration(token.text);
  if (!duration.ok()) {
    Fail(token.position, MessageOf(duration.status()));
    return 0;
  }
  // Whole seconds and fraction apart, as Go adds them: the last bit may depend on it.
  return static_cast<double>(*duration / kSecond) +
         static_cast<double>(*duration % kSecond * 1000000) / 1e9;
}

void TreeBuilder::Number(const Token& token) {
  auto number = std::make_unique<NumberLiteral>();
  number->value = ParseNumberOrDuration(token);
  number->is_duration = token.type == TokenType::kDuration;
  number->position = {token.position, token.end()};
  closing_end_ = token.end();
  Finish(std::move(number));
}

void TreeBuilder::String(const Token& token) {
  auto text = std::make_unique<StringLiteral>();
  text->value = Unquote(token.text);
  text->position = {token.position, token.end()};
  Finish(std::move(text));
}

void TreeBuilder::OpenParen(const Token& token) { opened_.push_back(token); }

void TreeBuilder::CloseParen(const Token& token) {
  auto paren = std::make_unique<Paren>();
  paren->expr = Pop();
  paren->position = {opened_.back().position, token.end()};
  opened_.pop_back();
  closing_end_ = token.end();
  Finish(std::move(paren));
}

void TreeBuilder::Minus() { minus_ = true; }

void TreeBuilder::Scalar(const Token& token) {
  scalar_ = ParseNumberOrDuration(token);
  if (std::exchange(minus_, false)) scalar_ = -scalar_;
  closing_end_ = token.end();
}

void TreeBuilder::BeginLabels() { labels_.clear(); }

void TreeBuilder::Label(const Token& token) { labels_.emplace_back(token.text); }

void TreeBuilder::QuotedLabel(const Token& token) {
  std::string label = Unquote(token.text);
  if (label.empty() || !IsValidUtf8(label)) {
    return Fail(token.position, fmt::format("invalid label name for grouping: {}", Quoted(label)));
  }
  labels_.push_back(std::move(label));
}

void TreeBuilder::Closing(const Token& token) { closing_end_ = token.end(); }

void TreeBuilder::Name(const Token& token) {
  selector_ = std::make_unique<VectorSelector>();
  selector_->name = token.text;
  selector_->position = {token.position, token.end()};
}

void TreeBuilder::OpenBrace(const Token& token) {
  if (selector_) return;
  selector_ = std::make_unique<VectorSelector>();
  selector_->position.start = token.position;
}

void TreeBuilder::CloseBrace(const Token& token) {
  selector_->position.end = token.end();
  closing_end_ = token.end();
}

void TreeBuilder::MatcherLabel(const Token& token) {
  matcher_label_ = token;
  matcher_name_ = token.text;
  matcher_quoted_ = false;
}

void TreeBuilder::MatcherQuotedLabel(const Token& token) {
  matcher_label_ = token;
  matcher_name_ = Unquote(token.text);
  matcher_quoted_ = true;
  matcher_operator_ = TokenType::kEof;
}

void TreeBuilder::MatcherOperator(const Token& token) { matcher_operator_ = token.type; }

void TreeBuilder::MatcherValue(const Token& token) { matcher_value_ = token; }

void TreeBuilder::EndMatcher() {
  // A lone string is the metric's name.
  if (matcher_quoted_ && matcher_operator_ == TokenType::kEof) {
    selector_->matchers.push_back(Matcher::Equal(kMetricName, matcher_name_));
    return;
  }
  auto matcher =
      Matcher::Create(MatchTypeOf(matcher_operator_), matcher_name_, Unquote(matcher_value_.text));
  if (!matcher.ok()) {
    return Fail(matcher_label_.position, MessageOf(matcher.status()));
  }
  HoldRegex(*matcher);
  selector_->matchers.push_back(*std::move(matcher));
}

void TreeBuilder::HoldRegex(const Matcher& matcher) {
  const uint64_t bytes = matcher.RegexBytes();
  if (bytes == 0) return;
  regex_bytes_ += bytes;
  if (regex_bytes_ > kQueryRegexBytesMax) {
    return Fail(matcher_label_.position,
                fmt::format("the regular expressions of the query take more than {} bytes",
                            kQueryRegexBytesMax));
  }
  if (!options_.hold_regex) return;
  const absl::Status held = options_.hold_regex(bytes);
  if (!held.ok()) Fail(matcher_label_.position, MessageOf(held));
}

void TreeBuilder::EndSelector() {
  if (!selector_->name.empty()) {
    selector_->matchers.push_back(Matcher::Equal(kMetricName, selector_->name));
  }
  Finish(std::move(selector_));
}

// ------------------------------------------------------------------------ calls and aggregations

void TreeBuilder::BeginCall(const Token& token) {
  opened_.push_back(token);
  frames_.push_back({token, operands_.size(), {}, false});
}

std::vector<ExprPtr> TreeBuilder::TakeArguments(const Frame& frame) {
  const auto first = operands_.begin() + static_cast<std::ptrdiff_t>(frame.operands_before);
  std::vector<ExprPtr> arguments(std::make_move_iterator(first),
                                 std::make_move_iterator(operands_.end()));
  operands_.erase(first, operands_.end());
  opened_.pop_back();
  return arguments;
}

void TreeBuilder::EndCall() {
  const Frame frame = std::move(frames_.back());
  frames_.pop_back();
  auto call = std::make_unique<Call>();
  call->args = TakeArguments(frame);
  call->position = {frame.token.position, closing_end_};
  call->function = FindFunction(frame.token.text);
  if (!call->function) {
    return Fail(frame.token.position,
                fmt::format("unknown function with name {}", Quoted(frame.token.text)));
  }
  if (call->function->experimental && !options_.experimental_functions) {
    return Fail(frame.token.position,
                fmt::format("function {} is not enabled", Quoted(frame.token.text)));
  }
  Finish(std::move(call));
}

void TreeBuilder::Comma(const Token& token) { comma_ = token; }

void TreeBuilder::TrailingComma() {
  Fail(comma_.position, "trailing commas not allowed in function call args");
}

void TreeBuilder::BeginAggregate(const Token& token) { BeginCall(token); }

void TreeBuilder::ByLabels() { frames_.back().grouping = std::move(labels_); }

void TreeBuilder::WithoutLabels() {
  frames_.back().grouping = std::move(labels_);
  frames_.back().without = true;
}

void TreeBuilder::EndAggregate() {
  Frame frame = std::move(frames_.back());
  frames_.pop_back();
  std::vector<ExprPtr> arguments = TakeArguments(frame);
  auto aggregate = std::make_unique<Aggregate>();
  aggregate->op = *FindAggregateOp(frame.token.text);
  aggregate->grouping = std::move(frame.grouping);
  aggregate->without = frame.without;
  const int start = frame.token.position;
  aggregate->position = {start, closing_end_};
  if (arguments.empty()) return Fail(start, "no arguments for aggregate expression provided");
  const bool experimental =
      aggregate->op == AggregateOp::kLimitk || aggregate->op == AggregateOp::kLimitRatio;
  if (experimental && !options_.experimental_functions) {
    return Fail(start, fmt::format("{}() is experimental and must be enabled with "
                                   "--enable-feature=promql-experimental-functions",
                                   AggregateOpText(aggregate->op)));
  }
  const size_t expected = HasParameter(aggregate->op) ? 2 : 1;
  if (arguments.size() != expected) {
    return Fail(start, fmt::format("wrong number of arguments for aggregate expression provided, "
                                   "expected {}, got {}",
                                   expected, arguments.size()));
  }
  if (expected == 2) aggregate->param = std::move(arguments.front());
  aggregate->expr = std::move(arguments.back());
  Finish(std::move(aggregate));
}

}  // namespace varve::promql
