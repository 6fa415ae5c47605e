// SPDX-License-Identifier: Apache-2.0
//
// The one-line form is written in one go; where each node's text begins and ends is remembered, so
// that the split form knows the length of every node without printing it again.
#include "promql/printer.h"

#include <absl/container/flat_hash_map.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "model/labels.h"

namespace varve::promql {
namespace {

constexpr size_t kLineBytesMax = 100;

std::string LabelList(const std::vector<std::string>& labels) {
  std::string text;
  for (const std::string& label : labels) {
    if (!text.empty()) text += ", ";
    text += IsLegacyLabelName(label) ? label : Quoted(label);
  }
  return text;
}

// `sum by (a, b) ` or `sum`.
std::string AggregateHead(const Aggregate& aggregate) {
  const std::string_view op = AggregateOpText(aggregate.op);
  if (aggregate.without) return fmt::format("{} without ({}) ", op, LabelList(aggregate.grouping));
  if (aggregate.grouping.empty()) return std::string(op);
  return fmt::format("{} by ({}) ", op, LabelList(aggregate.grouping));
}

std::string FillModifiers(const VectorMatching& matching) {
  const auto& left = matching.fill_left;
  const auto& right = matching.fill_right;
  const bool same = left && right && (*left == *right || (std::isnan(*left) && std::isnan(*right)));
  if (same) return fmt::format(" fill ({})", FormatFloat(*left));
  std::string text;
  if (left) text += fmt::format(" fill_left ({})", FormatFloat(*left));
  if (right) text += fmt::format(" fill_right ({})", FormatFloat(*right));
  return text;
}

// The operator with its modifiers: `* on (a) group_left (b)`.
std::string BinaryOperator(const Binary& binary) {
  std::string text(BinaryOpText(binary.op));
  if (binary.return_bool) text += " bool";
  if (!binary.matching) return text;
  const VectorMatching& matching = *binary.matching;
  const bool left = matching.card == Cardinality::kManyToOne;
  const bool grouped = left || matching.card == Cardinality::kOneToMany;
  if (!matching.labels.empty() || matching.on || grouped) {
    text += fmt::format(" {} ({})", matching.on ? "on" : "ignoring", LabelList(matching.labels));
  }
  if (grouped) {
    text += fmt::format(" group_{} ({})", left ? "left" : "right", LabelList(matching.include));
  }
  return text + FillModifiers(matching);
}

class Printer {
 public:
  std::string TakeText() { return std::move(text_); }

  // Appends the one-line form.
  void Print(const Expr& expr) {
    const size_t begin = text_.size();
    PrintNode(expr);
    spans_[&expr] = {begin, text_.size()};
  }

  // Appends the split form of a node that Print() has seen.
  void Pretty(const Expr& expr, int level, std::string& out) const;

 private:
  struct Span {
    size_t begin;
    size_t end;
  };

  void PrintNode(const Expr& expr);
  void PrintNumber(double value, bool is_duration);
  void PrintAggregate(const Aggregate& aggregate);
  void PrintBinary(const Binary& binary);
  void PrintCall(const Call& call);
  void PrintSelectorHead(const VectorSelector& selector);
  void PrintAt(const TimeModifiers& time);
  void PrintOffset(const TimeModifiers& time);
  void PrintExtended(const VectorSelector& selector);
  void PrintRange(const MatrixSelector& matrix);
  void PrintSubqueryTail(const Subquery& subquery);
  void PrintDuration(const DurationExpr& duration);
  void PrintBaseOfPower(const Expr& expr);

  static void Indent(int level, std::string& out) {
    out.append(2 * static_cast<size_t>(level), ' ');
  }
  bool Fits(const Expr& expr) const { return LineOf(expr).size() <= kLineBytesMax; }
  int FirstLevel(const Expr& expr, int level) const;
  void PrettyBody(const Expr& expr, int level, std::string& out) const;
  void PrettyList(const std::vector<const Expr*>& nodes, int level, std::string& out) const;
  std::string_view LineOf(const Expr& expr) const {
    const Span span = spans_.at(&expr);
    return std::string_view(text_).substr(span.begin, span.end - span.begin);
  }

  std::string text_;
  absl::flat_hash_map<const Expr*, Span> spans_;
};

void Printer::PrintNode(const Expr& expr) {
  switch (expr.kind) {
    case ExprKind::kNumberLiteral:
      return PrintNumber(As<NumberLiteral>(expr).value, As<NumberLiteral>(expr).is_duration);
    case ExprKind::kStringLiteral:
      return AppendQuoted(As<StringLiteral>(expr).value, text_);
    case ExprKind::kVectorSelector:
      PrintSelectorHead(As<VectorSelector>(expr));
      PrintAt(As<VectorSelector>(expr).time);
      PrintExtended(As<VectorSelector>(expr));
      return PrintOffset(As<VectorSelector>(expr).time);
    case ExprKind::kMatrixSelector:
      return PrintRange(As<MatrixSelector>(expr));
    case ExprKind::kSubquery:
      Print(*As<Subquery>(expr).expr);
      return PrintSubqueryTail(As<Subquery>(expr));
    case ExprKind::kAggregate:
      return PrintAggregate(As<Aggregate>(expr));
    case ExprKind::kBinary:
      return PrintBinary(As<Binary>(expr));
    case ExprKind::kCall:
      return PrintCall(As<Call>(expr));
    case ExprKind::kUnary:
      text_ += As<Unary>(expr).negative ? '-' : '+';
      return Print(*As<Unary>(expr).expr);
    case ExprKind::kParen:
      text_ += '(';
      Print(*As<Paren>(expr).expr);
      text_ += ')';
      return;
    case ExprKind::kDuration:
      return PrintDuration(As<DurationExpr>(expr));
  }
}

void Printer::PrintNumber(double value, bool is_duration) {
  if (is_duration) {
    if (std::signbit(value)) text_ += '-';  // Of zero, too.
    text_ += FormatDuration(std::llround(std::fabs(value) * kSecond));
  } else {
    AppendFloat(value, text_);
  }
}

void Printer::PrintAggregate(const Aggregate& aggregate) {
  text_ += AggregateHead(aggregate);
  text_ += '(';
  if (aggregate.param) {
    Print(*aggregate.param);
    text_ += ", ";
  }
  Print(*aggregate.expr);
  text_ += ')';
}

void Printer::PrintBinary(const Binary& binary) {
  if (binary.op == BinaryOp::kPow) {
    PrintBaseOfPower(*binary.lhs);
  } else {
    Print(*binary.lhs);
  }
  text_ += fmt::format(" {} ", BinaryOperator(binary));
  Print(*binary.rhs);
}

// A sign in front of a power belongs to the power, so a literal's own needs to go: `+Inf ^ 2` would
// come back as +(Inf ^ 2).
void Printer::PrintBaseOfPower(const Expr& expr) {
  const size_t begin = text_.size();
  Print(expr);
  if (expr.kind != ExprKind::kNumberLiteral) return;
  if (text_[begin] == '+') text_.erase(begin, 1);
  if (text_[begin] == '-') {
    text_.insert(begin, 1, '(');
    text_ += ')';
  }
  spans_[&expr] = {begin, text_.size()};
}

void Printer::PrintCall(const Call& call) {
  text_ += fmt::format("{}(", call.function->name);
  for (const ExprPtr& arg : call.args) {
    if (arg != call.args.front()) text_ += ", ";
    Print(*arg);
  }
  text_ += ')';
}

void Printer::PrintSelectorHead(const VectorSelector& selector) {
  std::vector<std::string> matchers;
  for (const Matcher& matcher : selector.matchers) {
    const bool is_name = matcher.name() == kMetricName && matcher.type() == MatchType::kEqual &&
                         !matcher.value().empty() && matcher.value() == selector.name;
    if (!is_name) matchers.push_back(matcher.ToString());
  }
  text_ += selector.name;
  if (matchers.empty() && !selector.name.empty()) return;
  std::sort(matchers.begin(), matchers.end());
  text_ += fmt::format("{{{}}}", fmt::join(matchers, ","));
}

void Printer::PrintAt(const TimeModifiers& time) {
  switch (time.at) {
    case AtModifier::kNone:
      return;
    case AtModifier::kTimestamp:
      text_ += fmt::format(" @ {:.3f}", static_cast<double>(time.at_ms) / kSecond);
      return;
    case AtModifier::kStart:
      text_ += " @ start()";
      return;
    case AtModifier::kEnd:
      text_ += " @ end()";
      return;
  }
}

void Printer::PrintOffset(const TimeModifiers& time) {
  if (time.offset_expr) {
    text_ += " offset ";
    PrintDuration(*time.offset_expr);
  } else if (time.offset_ms != 0) {
    text_ += fmt::format(" offset {}", FormatDuration(time.offset_ms));
  }
}

void Printer::PrintExtended(const VectorSelector& selector) {
  if (selector.anchored) text_ += " anchored";
  if (selector.smoothed) text_ += " smoothed";
}

void Printer::PrintRange(const MatrixSelector& matrix) {
  const VectorSelector& selector = *matrix.selector;
  PrintSelectorHead(selector);
  text_ += '[';
  if (matrix.range_expr) {
    PrintDuration(*matrix.range_expr);
  } else {
    text_ += FormatDuration(matrix.range_ms);
  }
  text_ += ']';
  PrintExtended(selector);
  PrintAt(selector.time);
  PrintOffset(selector.time);
}

void Printer::PrintSubqueryTail(const Subquery& subquery) {
  text_ += '[';
  if (subquery.range_expr) {
    PrintDuration(*subquery.range_expr);
  } else {
    text_ += FormatDuration(subquery.range_ms);
  }
  text_ += ':';
  if (subquery.step_expr) {
    PrintDuration(*subquery.step_expr);
  } else if (subquery.step_ms != 0) {
    text_ += FormatDuration(subquery.step_ms);
  }
  text_ += ']';
  PrintAt(subquery.time);
  PrintOffset(subquery.time);
}

void Printer::PrintDuration(const DurationExpr& duration) {
  if (duration.wrapped) text_ += '(';
  switch (duration.op) {
    case DurationOp::kStep:
      text_ += "step()";
      break;
    case DurationOp::kRange:
      text_ += "range()";
      break;
    case DurationOp::kMinOf:
    case DurationOp::kMaxOf:
      text_ += duration.op == DurationOp::kMinOf ? "min_of(" : "max_of(";
      PrintNode(*duration.lhs);
      text_ += ", ";
      PrintNode(*duration.rhs);
      text_ += ')';
      break;
    default: {
      constexpr std::string_view kOperators = "+-*/%^";
      const char op = kOperators[static_cast<size_t>(duration.op)];
      if (!duration.lhs) {
        text_ += op;
      } else {
        if (duration.op == DurationOp::kPow) {
          PrintBaseOfPower(*duration.lhs);
        } else {
          PrintNode(*duration.lhs);
        }
        text_ += fmt::format(" {} ", op);
      }
      PrintNode(*duration.rhs);
    }
  }
  if (duration.wrapped) text_ += ')';
}

// How far the first line of the split form is indented: a split operation starts with its left-hand
// side, one level deeper. As in Prometheus, a subquery that fits into a line is not indented.
int Printer::FirstLevel(const Expr& expr, int level) const {
  if (Fits(expr)) return expr.kind == ExprKind::kSubquery ? 0 : level;
  if (const auto* binary = TryAs<Binary>(expr)) return FirstLevel(*binary->lhs, level + 1);
  if (const auto* subquery = TryAs<Subquery>(expr)) return FirstLevel(*subquery->expr, level);
  return level;
}

void Printer::Pretty(const Expr& expr, int level, std::string& out) const {
  Indent(FirstLevel(expr, level), out);
  PrettyBody(expr, level, out);
}

// The split form without the indentation of its first line.
void Printer::PrettyBody(const Expr& expr, int level, std::string& out) const {
  const std::string_view line = LineOf(expr);
  if (Fits(expr)) {
    out += line;
    return;
  }
  switch (expr.kind) {
    case ExprKind::kAggregate: {
      const auto& aggregate = As<Aggregate>(expr);
      out += AggregateHead(aggregate);
      return PrettyList({aggregate.param.get(), aggregate.expr.get()}, level, out);
    }
    case ExprKind::kBinary: {
      const auto& binary = As<Binary>(expr);
      PrettyBody(*binary.lhs, level + 1, out);
      out += '\n';
      Indent(level, out);
      out += BinaryOperator(binary);
      out += '\n';
      return Pretty(*binary.rhs, level + 1, out);
    }
    case ExprKind::kCall:
      out += As<Call>(expr).function->name;
      return PrettyList(Children(expr), level, out);
    case ExprKind::kParen:
      return PrettyList({As<Paren>(expr).expr.get()}, level, out);
    case ExprKind::kSubquery: {
      const Expr& inner = *As<Subquery>(expr).expr;
      PrettyBody(inner, level, out);
      out += line.substr(LineOf(inner).size());
      return;
    }
    case ExprKind::kUnary:
      out += As<Unary>(expr).negative ? '-' : '+';
      return PrettyBody(*As<Unary>(expr).expr, level, out);
    default:
      out += line;
  }
}

// The nodes (nulls left out) one below the other in parentheses.
void Printer::PrettyList(const std::vector<const Expr*>& nodes, int level, std::string& out) const {
  std::string_view separator = "(\n";
  for (const Expr* node : nodes) {
    if (!node) continue;
    out += separator;
    separator = ",\n";
    Pretty(*node, level + 1, out);
  }
  out += '\n';
  Indent(level, out);
  out += ')';
}

}  // namespace

std::string ToString(const Expr& expr) {
  Printer printer;
  printer.Print(expr);
  return printer.TakeText();
}

std::string ToPrettyString(const Expr& expr) {
  Printer printer;
  printer.Print(expr);
  std::string text;
  printer.Pretty(expr, 0, text);
  return text;
}

}  // namespace varve::promql
