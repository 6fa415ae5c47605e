// SPDX-License-Identifier: Apache-2.0
//
// PromQL's grammar, in Boost.Spirit X3 over tokens. It can be read off one token at a time: every
// alternative starts with other tokens than its neighbours (two rules look one token further), so
// what follows a first match is expected (`>`) and actions never have to be undone. Actions call
// the TreeBuilder; a refused text is worded by FindSyntaxError().
#include "promql/parser.h"

#include <fmt/format.h>

#include <boost/spirit/home/x3.hpp>
#include <optional>
#include <type_traits>
#include <utility>

#include "promql/lexer.h"
#include "promql/parse_error.h"
#include "promql/token_classes.h"
#include "promql/tree_builder.h"
#include "promql/typecheck.h"

namespace varve::promql {
namespace {

namespace x3 = boost::spirit::x3;

using TokenIterator = std::vector<Token>::const_iterator;
struct BuilderTag;

// One token of a class, the attribute is where it stands; `followed_by`, if set, is the class of
// the next one, which stays unread.
struct TokenParser : x3::parser<TokenParser> {
  using attribute_type = const Token*;
  static constexpr bool has_attribute = true;  // NOLINT(readability-identifier-naming): Spirit's

  bool (*matches)(TokenType);
  bool (*followed_by)(TokenType);

  constexpr explicit TokenParser(bool (*matches_type)(TokenType),
                                 bool (*followed_by_type)(TokenType) = nullptr)
      : matches(matches_type), followed_by(followed_by_type) {}

  template <typename Context, typename RuleContext, typename Attribute>
  bool parse(TokenIterator& first, const TokenIterator& last, const Context&, RuleContext&,
             Attribute& attribute) const {
    if (first == last || !matches(first->type)) return false;
    if (followed_by && (first + 1 == last || !followed_by((first + 1)->type))) return false;
    x3::traits::move_to(&*first, attribute);
    ++first;
    return true;
  }
};

template <TokenType kType>
bool Is(TokenType type) {
  return type == kType;
}
template <TokenType kType>
constexpr TokenParser kToken{&Is<kType>};

bool IsAggregationStart(TokenType type) {
  return type == TokenType::kLeftParen || type == TokenType::kBy || type == TokenType::kWithout;
}
// Where lexing failed, that error comes before any other.
bool IsKnown(TokenType type) { return type != TokenType::kError; }
bool IsStepOrRange(TokenType type) { return type == TokenType::kStep || type == TokenType::kRange; }
bool IsMinOrMax(TokenType type) { return type == TokenType::kMinOf || type == TokenType::kMaxOf; }

// The action that calls a method of the builder, with the token if it wants one.
template <auto kMethod>
struct Do {
  template <typename Context>
  void operator()(const Context& context) const {
    TreeBuilder& builder = x3::get<BuilderTag>(context);
    if (!builder.error()) {
      if constexpr (std::is_invocable_v<decltype(kMethod), TreeBuilder&>) {
        (builder.*kMethod)();
      } else {
        (builder.*kMethod)(*x3::_attr(context));
      }
    }
    x3::_pass(context) = !builder.error();
  }
};
template <auto kMethod>
constexpr Do<kMethod> kDo{};

using B = TreeBuilder;
using T = TokenType;

const auto kLeftParen = kToken<T::kLeftParen>;
const auto kRightParen = kToken<T::kRightParen>;
const auto kComma = kToken<T::kComma>;
const auto kString = kToken<T::kString>;
const TokenParser kSign{&IsSign};
const TokenParser kNumber{&IsNumberOrDuration};

const x3::rule<struct ExpressionId> kExpression = "expression";
const x3::rule<struct OperandId> kOperand = "operand";
const x3::rule<struct PrimaryId> kPrimary = "primary";
const x3::rule<struct ModifierId> kModifier = "modifier";
const x3::rule<struct BinaryModifiersId> kBinaryModifiers = "binary modifiers";
const x3::rule<struct SelectorId> kSelector = "selector";
const x3::rule<struct LabelsId> kLabels = "labels";
const x3::rule<struct ArgumentsId> kArguments = "arguments";
const x3::rule<struct DurationId> kDuration = "duration";
const x3::rule<struct DurationOperandId> kDurationOperand = "duration operand";

// Precedence is the builder's.
const auto kExpression_def = x3::eps[kDo<&B::Begin>] >> kOperand >>
                             *(TokenParser{&IsBinaryOperator}[kDo<&B::Operator>] >
                               kBinaryModifiers > kOperand) >>
                             x3::eps[kDo<&B::End>];

const auto kOperand_def = ((+kSign[kDo<&B::Sign>] > kPrimary) | kPrimary) >> *kModifier;

const auto kParenthesised =
    kLeftParen[kDo<&B::OpenParen>] > kExpression > kRightParen[kDo<&B::CloseParen>];

const auto kGrouping = (kToken<T::kBy> > kLabels > x3::eps[kDo<&B::ByLabels>]) |
                       (kToken<T::kWithout> > kLabels > x3::eps[kDo<&B::WithoutLabels>]);

const auto kAggregation = TokenParser{&IsAggregator, &IsAggregationStart}[kDo<&B::BeginAggregate>] >
                          ((kGrouping > kArguments) |
                           (kArguments >
                            (kGrouping | &TokenParser{&IsKnown}))) > x3::eps[kDo<&B::EndAggregate>];

const auto kCall = TokenParser{&IsCallWord, &Is<T::kLeftParen>}[kDo<&B::BeginCall>] > kArguments >
                   x3::eps[kDo<&B::EndCall>];

const auto kPrimary_def = kNumber[kDo<&B::Number>] | kString[kDo<&B::String>] | kParenthesised |
                          kAggregation | kCall | kSelector;

const auto kArguments_def = kLeftParen >
                            (kRightParen[kDo<&B::Closing>] |
                             (kExpression >
                              *(kComma[kDo<&B::Comma>] >
                                (kExpression | TokenParser{&IsKnown}[kDo<&B::TrailingComma>])) >
                              kRightParen[kDo<&B::Closing>]));

const auto kLabel = TokenParser{&IsGroupingLabel}[kDo<&B::Label>] | kString[kDo<&B::QuotedLabel>];

const auto kLabels_def = kLeftParen[kDo<&B::BeginLabels>] >
                         -(kLabel >> *(kComma >> kLabel) >>
                           -kComma) > kRightParen[kDo<&B::Closing>];

const auto kMatcherTail =
    TokenParser{&IsMatchOperator}[kDo<&B::MatcherOperator>] > kString[kDo<&B::MatcherValue>];

const auto kMatcher =
    (kToken<T::kIdentifier>[kDo<&B::MatcherLabel>] > kMatcherTail > x3::eps[kDo<&B::EndMatcher>]) |
    (kString[kDo<&B::MatcherQuotedLabel>] > -kMatcherTail > x3::eps[kDo<&B::EndMatcher>]);

const auto kMatchers = kToken<T::kLeftBrace>[kDo<&B::OpenBrace>] >
                       -(kMatcher >> *(kComma >> kMatcher) >>
                         -kComma) > kToken<T::kRightBrace>[kDo<&B::CloseBrace>];

const auto kSelector_def = ((TokenParser{&IsMetricName}[kDo<&B::Name>] > -kMatchers) | kMatchers) >
                           x3::eps[kDo<&B::EndSelector>];

const auto kFillValue = kLeftParen > -(kToken<T::kSub>[kDo<&B::Minus>] |
                                       kToken<T::kAdd>) > kNumber[kDo<&B::Scalar>] > kRightParen;
const auto kFillLeft = kToken<T::kFillLeft> > kFillValue > x3::eps[kDo<&B::FillLeft>];
const auto kFillRight = kToken<T::kFillRight> > kFillValue > x3::eps[kDo<&B::FillRight>];
const auto kFill = (kToken<T::kFill> > kFillValue > x3::eps[kDo<&B::FillBoth>]) |
                   (kFillLeft > -kFillRight) | (kFillRight > -kFillLeft);

const auto kGroup = (kToken<T::kGroupLeft>[kDo<&B::GroupLeft>] |
                     kToken<T::kGroupRight>[kDo<&B::GroupRight>]) >
                    -(kLabels > x3::eps[kDo<&B::IncludedLabels>]);

const auto kMatching =
    ((kToken<T::kOn> > kLabels > x3::eps[kDo<&B::OnLabels>]) |
     (kToken<T::kIgnoring> > kLabels > x3::eps[kDo<&B::IgnoringLabels>])) > -kGroup;

const auto kBinaryModifiers_def = -kToken<T::kBool>[kDo<&B::Bool>] >> -kMatching >> -kFill;

const auto kRange = kToken<T::kLeftBracket>[kDo<&B::OpenBracket>] > kDuration >
                    (kToken<T::kRightBracket>[kDo<&B::EndMatrix>] |
                     (kToken<T::kColon> >
                      (kToken<T::kRightBracket>[kDo<&B::EndSubquery>] |
                       (kDuration > kToken<T::kRightBracket>[kDo<&B::EndSubqueryWithStep>]))));

// Only one operand: `foo offset 1m + 2` is a sum.
const auto kOffset = kToken<T::kOffset>[kDo<&B::Begin>] > -kSign[kDo<&B::DurationSign>] >
                     kDurationOperand > x3::eps[kDo<&B::End>] > x3::eps[kDo<&B::EndOffset>];

const auto kNoArguments = kLeftParen > kRightParen[kDo<&B::Closing>];

const auto kAt = kToken<T::kAt> > ((kToken<T::kStart> > kNoArguments > x3::eps[kDo<&B::AtStart>]) |
                                   (kToken<T::kEnd> > kNoArguments > x3::eps[kDo<&B::AtEnd>]) |
                                   ((-(kToken<T::kSub>[kDo<&B::Minus>] | kToken<T::kAdd>) >>
                                     kNumber[kDo<&B::Scalar>]) > x3::eps[kDo<&B::AtTimestamp>]));

const auto kModifier_def = kRange | kOffset | kAt | kToken<T::kAnchored>[kDo<&B::Anchored>] |
                           kToken<T::kSmoothed>[kDo<&B::Smoothed>];

const auto kDuration_def = x3::eps[kDo<&B::Begin>] >> *kSign[kDo<&B::DurationSign>] >>
                           kDurationOperand >>
                           *(TokenParser{&IsDurationOperator}[kDo<&B::DurationOperator>] >
                             *kSign[kDo<&B::DurationSign>] > kDurationOperand) >>
                           x3::eps[kDo<&B::End>];

const auto kDurationOperand_def =
    kNumber[kDo<&B::DurationLiteral>] |
    (kLeftParen > kDuration > kRightParen > x3::eps[kDo<&B::CloseDurationParen>]) |
    (TokenParser{&IsStepOrRange}[kDo<&B::DurationWord>] > kNoArguments) |
    (TokenParser{&IsMinOrMax}[kDo<&B::BeginDurationCall>] > kLeftParen > kDuration > kComma >
     kDuration > kRightParen[kDo<&B::EndDurationCall>]);

BOOST_SPIRIT_DEFINE(kExpression, kOperand, kPrimary, kModifier, kBinaryModifiers, kSelector,
                    kLabels, kArguments, kDuration, kDurationOperand)

// Runs the grammar. The error says what is wrong with the text; nothing means the builder is full.
std::optional<ParseError> Recognise(const TokenList& tokens, GrammarStart start,
                                    TreeBuilder& builder) {
  TokenIterator first = tokens.tokens.begin();
  const TokenIterator last = tokens.tokens.end();
  const auto with_builder = x3::with<BuilderTag>(builder);
  bool accepted = false;
  try {
    accepted = start == GrammarStart::kExpression
                   ? x3::parse(first, last, with_builder[kExpression >> kToken<T::kEof>])
                   : x3::parse(first, last, with_builder[kSelector >> kToken<T::kEof>]);
  } catch (const x3::expectation_failure<TokenIterator>&) {
    // Worded below, like every other refusal.
  }
  if (builder.error()) return builder.error();
  if (!accepted) return FindSyntaxError(tokens, start);
  return std::nullopt;
}

absl::StatusOr<ExprPtr> Build(std::string_view query, GrammarStart start,
                              const ParserOptions& options) {
  if (query.size() > kQueryBytesMax) {
    return ToStatus({0, fmt::format("query is longer than {} bytes", kQueryBytesMax)}, query);
  }
  const TokenList tokens = Lex(query);
  TreeBuilder builder(query, options);
  if (const auto error = Recognise(tokens, start, builder)) return ToStatus(*error, query);
  return builder.TakeTree();
}

}  // namespace

absl::StatusOr<ExprPtr> Parse(std::string_view query, const ParserOptions& options) {
  auto tree = Build(query, GrammarStart::kExpression, options);
  if (!tree.ok()) return tree;
  if (const auto error = TypeCheck(**tree, query)) return ToStatus(*error, query);
  return tree;
}

absl::StatusOr<std::vector<Matcher>> ParseMetricSelector(std::string_view selector) {
  auto tree = Build(selector, GrammarStart::kMetricSelector, {});
  if (!tree.ok()) return tree.status();
  return std::move(TryAs<VectorSelector>(**tree)->matchers);
}

}  // namespace varve::promql
