// SPDX-License-Identifier: Apache-2.0
//
// /format_query and /parse_query. Members of the tree are written in alphabetical order, as Go
// writes maps.
#include <fmt/format.h>

#include <string>

#include "http/api_context.h"
#include "model/status_macros.h"
#include "promql/ast.h"
#include "promql/parser.h"
#include "promql/printer.h"

namespace varve {
namespace {

using promql::As;
using promql::Expr;
using promql::ExprKind;

void WriteExpr(JsonWriter& json, const Expr* expr);

void WriteTexts(JsonWriter& json, const std::vector<std::string>& texts) {
  json.BeginArray();
  for (const std::string& text : texts) json.String(text);
  json.EndArray();
}

void WriteMatchers(JsonWriter& json, const std::vector<Matcher>& matchers) {
  json.Key("matchers");
  json.BeginArray();
  for (const Matcher& matcher : matchers) {
    json.BeginObject();
    json.Member("name", matcher.name());
    json.Member("type", MatchTypeText(matcher.type()));
    json.Member("value", matcher.value());
    json.EndObject();
  }
  json.EndArray();
}

std::string_view DurationOpText(promql::DurationOp op) {
  switch (op) {
    case promql::DurationOp::kAdd:
      return "+";
    case promql::DurationOp::kSub:
      return "-";
    case promql::DurationOp::kMul:
      return "*";
    case promql::DurationOp::kDiv:
      return "/";
    case promql::DurationOp::kMod:
      return "%";
    case promql::DurationOp::kPow:
      return "^";
    case promql::DurationOp::kStep:
      return "step";
    case promql::DurationOp::kRange:
      return "range";
    case promql::DurationOp::kMinOf:
      return "min_of";
    case promql::DurationOp::kMaxOf:
      return "max_of";
  }
  return "";
}

void WriteStartOrEnd(JsonWriter& json, promql::AtModifier at) {
  json.Key("startOrEnd");
  switch (at) {
    case promql::AtModifier::kStart:
      return json.String("start");
    case promql::AtModifier::kEnd:
      return json.String("end");
    default:
      return json.Null();
  }
}

void WriteOffset(JsonWriter& json, const promql::TimeModifiers& time) {
  json.Member("offset", time.offset_ms);
  json.Key("offsetExpr");
  WriteExpr(json, time.offset_expr.get());
}

void WriteTimestamp(JsonWriter& json, const promql::TimeModifiers& time) {
  json.Key("timestamp");
  time.at == promql::AtModifier::kTimestamp ? json.Int(time.at_ms) : json.Null();
}

void WriteAggregate(JsonWriter& json, const promql::Aggregate& node) {
  json.Key("expr");
  WriteExpr(json, node.expr.get());
  json.Key("grouping");
  WriteTexts(json, node.grouping);
  json.Member("op", AggregateOpText(node.op));
  json.Key("param");
  WriteExpr(json, node.param.get());
  json.Member("type", "aggregation");
  json.Member("without", node.without);
}

void WriteFill(JsonWriter& json, std::string_view key, const std::optional<double>& value) {
  json.Key(key);
  value.has_value() ? json.Double(*value) : json.Null();
}

void WriteMatching(JsonWriter& json, const promql::VectorMatching& matching) {
  json.BeginObject();
  json.Member("card", CardinalityText(matching.card));
  json.Key("fillValues");
  json.BeginObject();
  WriteFill(json, "lhs", matching.fill_left);
  WriteFill(json, "rhs", matching.fill_right);
  json.EndObject();
  json.Key("include");
  WriteTexts(json, matching.include);
  json.Key("labels");
  WriteTexts(json, matching.labels);
  json.Member("on", matching.on);
  json.EndObject();
}

void WriteBinary(JsonWriter& json, const promql::Binary& node) {
  json.Member("bool", node.return_bool);
  json.Key("lhs");
  WriteExpr(json, node.lhs.get());
  json.Key("matching");
  node.matching.has_value() ? WriteMatching(json, *node.matching) : json.Null();
  json.Member("op", BinaryOpText(node.op));
  json.Key("rhs");
  WriteExpr(json, node.rhs.get());
  json.Member("type", "binaryExpr");
}

void WriteCall(JsonWriter& json, const promql::Call& node) {
  json.Key("args");
  json.BeginArray();
  for (const promql::ExprPtr& argument : node.args) WriteExpr(json, argument.get());
  json.EndArray();
  json.Key("func");
  json.BeginObject();
  json.Key("argTypes");
  json.BeginArray();
  for (const promql::ValueType type : node.function->args) json.String(ValueTypeText(type));
  json.EndArray();
  json.Member("name", node.function->name);
  json.Member("returnType", ValueTypeText(node.function->result));
  json.Member("variadic", static_cast<int64_t>(node.function->variadic));
  json.EndObject();
  json.Member("type", "call");
}

void WriteMatrixSelector(JsonWriter& json, const promql::MatrixSelector& node) {
  const promql::VectorSelector& selector = *node.selector;
  json.Member("anchored", selector.anchored);
  WriteMatchers(json, selector.matchers);
  json.Member("name", selector.name);
  WriteOffset(json, selector.time);
  json.Member("range", node.range_ms);
  json.Key("rangeExpr");
  WriteExpr(json, node.range_expr.get());
  json.Member("smoothed", selector.smoothed);
  WriteStartOrEnd(json, selector.time.at);
  WriteTimestamp(json, selector.time);
  json.Member("type", "matrixSelector");
}

void WriteVectorSelector(JsonWriter& json, const promql::VectorSelector& node) {
  json.Member("anchored", node.anchored);
  WriteMatchers(json, node.matchers);
  json.Member("name", node.name);
  WriteOffset(json, node.time);
  json.Member("smoothed", node.smoothed);
  WriteStartOrEnd(json, node.time.at);
  WriteTimestamp(json, node.time);
  json.Member("type", "vectorSelector");
}

void WriteSubquery(JsonWriter& json, const promql::Subquery& node) {
  json.Key("expr");
  WriteExpr(json, node.expr.get());
  WriteOffset(json, node.time);
  json.Member("range", node.range_ms);
  json.Key("rangeExpr");
  WriteExpr(json, node.range_expr.get());
  WriteStartOrEnd(json, node.time.at);
  json.Member("step", node.step_ms);
  json.Key("stepExpr");
  WriteExpr(json, node.step_expr.get());
  WriteTimestamp(json, node.time);
  json.Member("type", "subquery");
}

void WriteDuration(JsonWriter& json, const promql::DurationExpr& node) {
  json.Key("lhs");
  WriteExpr(json, node.lhs.get());
  json.Member("op", DurationOpText(node.op));
  json.Key("rhs");
  WriteExpr(json, node.rhs.get());
  json.Member("type", "durationExpr");
  json.Member("wrapped", node.wrapped);
}

void WriteUnary(JsonWriter& json, const promql::Unary& node) {
  json.Key("expr");
  WriteExpr(json, node.expr.get());
  json.Member("op", node.negative ? "-" : "+");
  json.Member("type", "unaryExpr");
}

void WriteNode(JsonWriter& json, const Expr& expr) {
  switch (expr.kind) {
    case ExprKind::kNumberLiteral:
      json.Member("type", "numberLiteral");
      json.Member("val", FormatFloat(As<promql::NumberLiteral>(expr).value));
      return;
    case ExprKind::kStringLiteral:
      json.Member("type", "stringLiteral");
      json.Member("val", As<promql::StringLiteral>(expr).value);
      return;
    case ExprKind::kVectorSelector:
      return WriteVectorSelector(json, As<promql::VectorSelector>(expr));
    case ExprKind::kMatrixSelector:
      return WriteMatrixSelector(json, As<promql::MatrixSelector>(expr));
    case ExprKind::kSubquery:
      return WriteSubquery(json, As<promql::Subquery>(expr));
    case ExprKind::kAggregate:
      return WriteAggregate(json, As<promql::Aggregate>(expr));
    case ExprKind::kBinary:
      return WriteBinary(json, As<promql::Binary>(expr));
    case ExprKind::kCall:
      return WriteCall(json, As<promql::Call>(expr));
    case ExprKind::kUnary:
      return WriteUnary(json, As<promql::Unary>(expr));
    case ExprKind::kParen:
      json.Key("expr");
      WriteExpr(json, As<promql::Paren>(expr).expr.get());
      json.Member("type", "parenExpr");
      return;
    case ExprKind::kDuration:
      return WriteDuration(json, As<promql::DurationExpr>(expr));
  }
}

void WriteExpr(JsonWriter& json, const Expr* expr) {
  if (expr == nullptr) return json.Null();
  json.BeginObject();
  WriteNode(json, *expr);
  json.EndObject();
}

void FormatQuery(const ApiContext& context, const HttpRequest& request, HttpResponse& response) {
  const auto expr = promql::Parse(request.params.Get("query"), context.options.parser);
  if (!expr.ok()) return AnswerInvalidParameter("query", MessageOf(expr.status()), response);
  AnswerData(response, [&](JsonWriter& json) { json.String(promql::ToPrettyString(**expr)); });
}

void ParseQuery(const ApiContext& context, const HttpRequest& request, HttpResponse& response) {
  const auto expr = promql::Parse(request.params.Get("query"), context.options.parser);
  if (!expr.ok()) return AnswerInvalidParameter("query", MessageOf(expr.status()), response);
  AnswerData(response, [&](JsonWriter& json) { WriteExpr(json, expr->get()); });
}

}  // namespace

void AddParseRoutes(ApiContext& context, Router& router) {
  const auto add = [&](std::string_view path, auto handler) {
    router.AddAll({"GET", "POST"}, path,
                  [&context, handler](const HttpRequest& request, HttpResponse& response) {
                    handler(context, request, response);
                  },
                  {.gated = true});
  };
  add("/api/v1/format_query", FormatQuery);
  add("/api/v1/parse_query", ParseQuery);
}

}  // namespace varve
