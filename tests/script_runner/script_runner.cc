// SPDX-License-Identifier: Apache-2.0
//
// Reads a script command by command. A command that makes no sense ends the script: the evals from
// there on count as failed.
#include "tests/script_runner/script_runner.h"

#include <fmt/format.h>
#include <re2/re2.h>

#include <algorithm>
#include <map>
#include <optional>
#include <utility>
#include <variant>

#include "model/clock.h"
#include "model/status_macros.h"
#include "promql/ast.h"
#include "promql/engine.h"
#include "promql/parser.h"
#include "promql/printer.h"
#include "tests/memory_storage.h"
#include "tests/script_runner/expectation.h"
#include "tests/script_runner/nhcb.h"
#include "tests/script_runner/notation.h"

namespace varve::script {
namespace {

constexpr uint64_t kSamplesMax = 10'000;

promql::EngineOptions EngineOptionsForScripts() {
  promql::EngineOptions options;
  options.max_samples = kSamplesMax;
  options.features.experimental_functions = true;
  options.features.extended_range_selectors = true;
  options.features.binop_fill_modifiers = true;
  options.features.delayed_name_removal = true;
  options.features.use_start_timestamps = true;
  return options;
}

std::string_view Trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower;
}

bool StartsWith(std::string_view text, std::string_view prefix) {
  return text.substr(0, prefix.size()) == prefix;
}

struct Eval {
  int line = 0;
  bool instant = true;
  std::string query;
  TimestampMs time = 0;  // Of an instant query.
  RangeTimes range;
  Expectation expected;
};

// Functions whose result depends on the evaluation time even if every selector is pinned.
bool DependsOnEvalTime(promql::FunctionId id) {
  using promql::FunctionId;
  switch (id) {
    case FunctionId::kDaysInMonth:
    case FunctionId::kDayOfMonth:
    case FunctionId::kDayOfWeek:
    case FunctionId::kDayOfYear:
    case FunctionId::kHour:
    case FunctionId::kMinute:
    case FunctionId::kMonth:
    case FunctionId::kYear:
    case FunctionId::kPredictLinear:
    case FunctionId::kTime:
    case FunctionId::kTimestamp:
    case FunctionId::kStart:
    case FunctionId::kEnd:
    case FunctionId::kRange:
    case FunctionId::kStep:
      return true;
    default:
      return false;
  }
}

bool UsesQueryTimes(promql::FunctionId id) {
  using promql::FunctionId;
  return id == FunctionId::kStart || id == FunctionId::kEnd || id == FunctionId::kRange ||
         id == FunctionId::kStep;
}

bool UsesQueryTimes(const promql::DurationExpr* expr) {
  if (expr == nullptr) return false;
  if (expr->op == promql::DurationOp::kStep || expr->op == promql::DurationOp::kRange) return true;
  for (const promql::Expr* side : {expr->lhs.get(), expr->rhs.get()}) {
    if (side != nullptr && UsesQueryTimes(promql::TryAs<promql::DurationExpr>(*side))) return true;
  }
  return false;
}

bool UsesQueryTimes(const promql::TimeModifiers& time) {
  return time.at == promql::AtModifier::kStart || time.at == promql::AtModifier::kEnd ||
         UsesQueryTimes(time.offset_expr.get());
}

// What re-runs of an eval have to know about its query.
struct QueryTraits {
  bool at_unsafe = false;         // Pinning the selectors does not make it independent of time.
  bool uses_query_times = false;  // start(), end(), range(), step() in any place.
};

// Sets `@ time` on every selector that has none, except inside pinned subqueries.
void Pin(promql::Expr& expr, TimestampMs time, QueryTraits& traits) {
  using namespace promql;  // NOLINT: every name here is the tree's.
  const auto pin = [&](TimeModifiers& modifiers) {
    traits.uses_query_times |= UsesQueryTimes(modifiers);
    if (modifiers.at != AtModifier::kNone) return;
    modifiers.at = AtModifier::kTimestamp;
    modifiers.at_ms = time;
  };
  if (auto* selector = TryAs<VectorSelector>(expr)) pin(selector->time);
  if (auto* matrix = TryAs<MatrixSelector>(expr)) {
    traits.uses_query_times |= UsesQueryTimes(matrix->range_expr.get());
    pin(matrix->selector->time);
  }
  bool inside_pinned = false;
  if (auto* subquery = TryAs<Subquery>(expr)) {
    traits.uses_query_times |=
        UsesQueryTimes(subquery->range_expr.get()) || UsesQueryTimes(subquery->step_expr.get());
    pin(subquery->time);
    inside_pinned = true;
  }
  if (const auto* call = TryAs<Call>(expr)) {
    traits.at_unsafe |= DependsOnEvalTime(call->function->id);
    traits.uses_query_times |= UsesQueryTimes(call->function->id);
  }
  for (const Expr* child : Children(expr)) {
    if (!inside_pinned) {
      Pin(const_cast<Expr&>(*child), time, traits);
      continue;
    }
    // Only look for unsafe functions; times stay as they are.
    std::vector<const Expr*> pending{child};
    while (!pending.empty()) {
      const Expr* next = pending.back();
      pending.pop_back();
      if (const auto* call = TryAs<Call>(*next)) {
        traits.uses_query_times |= UsesQueryTimes(call->function->id);
      }
      for (const Expr* grandchild : Children(*next)) pending.push_back(grandchild);
    }
  }
}

class Runner {
 public:
  explicit Runner(std::string_view text) : engine_(EngineOptionsForScripts(), RealClock()) {
    while (!text.empty()) {
      const size_t end = text.find('\n');
      std::string_view line = Trim(text.substr(0, end));
      if (StartsWith(line, "#")) line = kComment;
      lines_.push_back(line);
      text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    }
  }

  Report Run() {
    while (next_ < lines_.size()) {
      const std::string_view line = lines_[next_];
      if (line.empty() || line == kComment) {
        ++next_;
        continue;
      }
      const int number = static_cast<int>(next_) + 1;
      absl::Status status = RunCommand(line);
      if (!status.ok()) {
        report_.failures.push_back({number, "the script cannot go on: " + MessageOf(status)});
        FailRest(static_cast<size_t>(number) - 1);
        break;
      }
    }
    return std::move(report_);
  }

 private:
  static constexpr std::string_view kComment = "#";

  void FailRest(size_t from) {
    for (size_t i = from; i < lines_.size(); ++i) {
      if (StartsWith(Lower(lines_[i]), "eval")) ++report_.failed;
    }
  }

  absl::Status RunCommand(std::string_view line) {
    const std::string lower = Lower(line);
    if (lower == "clear") {
      storage_.Clear();
      ++next_;
      return absl::OkStatus();
    }
    if (StartsWith(lower, "load")) return RunLoad(line);
    if (StartsWith(lower, "eval")) return RunEval(line);
    return Invalid("unknown command", line);
  }

  // The lines of a block; comments are left out.
  std::vector<std::string_view> TakeBlock() {
    std::vector<std::string_view> block;
    for (++next_; next_ < lines_.size() && !lines_[next_].empty(); ++next_) {
      if (lines_[next_] != kComment) block.push_back(lines_[next_]);
    }
    return block;
  }

  absl::Status RunLoad(std::string_view line) {
    static const RE2 kPattern("(?i)^load(?:_(with_nhcb))?\\s+(.+?)$");
    std::string with_nhcb;
    std::string step_text;
    if (!RE2::FullMatch(re2::StringPiece(line.data(), line.size()), kPattern, &with_nhcb,
                        &step_text)) {
      return Invalid("invalid load", line);
    }
    ASSIGN_OR_RETURN(const DurationMs step, ParseDuration(step_text));
    // A series given twice in one block counts as it was given last.
    std::map<Labels, SeriesLine> by_labels;
    std::map<Labels, std::vector<std::optional<DurationMs>>> starts;
    for (std::string_view definition : TakeBlock()) {
      ASSIGN_OR_RETURN(SeriesLine series, ParseSeriesLine(definition));
      if (series.start_times) {
        starts[series.labels] = std::move(series.offsets);
      } else {
        const Labels labels = series.labels;
        by_labels[labels] = std::move(series);
      }
    }
    std::vector<SeriesLine> all;
    for (auto& [labels, series] : by_labels) {
      const auto found = starts.find(labels);
      Store(series, step, found == starts.end() ? nullptr : &found->second);
      all.push_back(std::move(series));
    }
    if (!with_nhcb.empty()) AddNativeForms(all, step, storage_);
    return absl::OkStatus();
  }

  void Store(const SeriesLine& series, DurationMs step,
             const std::vector<std::optional<DurationMs>>* starts) {
    for (size_t i = 0; i < series.values.size(); ++i) {
      const SequenceValue& value = series.values[i];
      const TimestampMs time = static_cast<DurationMs>(i) * step;
      TimestampMs start = 0;
      if (starts != nullptr && i < starts->size() && (*starts)[i].has_value()) {
        start = time + *(*starts)[i];
      }
      if (value.histogram.has_value()) {
        storage_.AddHistogram(series.labels, time, *value.histogram, start);
      } else if (value.value.has_value()) {
        storage_.AddFloat(series.labels, time, *value.value, start);
      }
    }
  }

  absl::Status RunEval(std::string_view line) {
    const size_t line_index = next_;
    Eval eval;
    eval.line = static_cast<int>(line_index) + 1;
    RETURN_IF_ERROR(ParseEvalLine(line, eval));
    for (std::string_view expectation : TakeBlock()) {
      RETURN_IF_ERROR(ParseExpectation(expectation, eval));
    }
    if (eval.instant && !eval.expected.range_vector.has_value()) {
      for (const SeriesLine& series : eval.expected.series) {
        if (series.values.size() != 1) {
          next_ = line_index;
          return Invalid("one value expected for", series.labels.ToString());
        }
      }
    }
    const absl::Status status = eval.instant ? CheckInstant(eval) : CheckRange(eval);
    if (status.ok()) {
      ++report_.passed;
    } else {
      ++report_.failed;
      report_.failures.push_back({eval.line, fmt::format("{}: {}", eval.query, MessageOf(status))});
    }
    return absl::OkStatus();
  }

  static absl::Status ParseEvalLine(std::string_view line, Eval& eval) {
    static const RE2 kInstant(
        "(?i)^eval(?:_(fail|warn|ordered|info))?\\s+instant\\s+(?:at\\s+(.+?))?\\s+(.+)$");
    static const RE2 kRange(
        "(?i)^eval(?:_(fail|warn|info))?\\s+range\\s+from\\s+(.+)\\s+to\\s+(.+)\\s+step\\s+(.+?)"
        "\\s+(.+)$");
    const re2::StringPiece text(line.data(), line.size());
    std::string mode;
    std::string from;
    std::string to;
    std::string step;
    if (RE2::FullMatch(text, kRange, &mode, &from, &to, &step, &eval.query)) {
      eval.instant = false;
      ASSIGN_OR_RETURN(eval.range.start, ParseScriptDuration(from));
      ASSIGN_OR_RETURN(eval.range.end, ParseScriptDuration(to));
      ASSIGN_OR_RETURN(eval.range.step, ParseScriptDuration(step));
      if (eval.range.end < eval.range.start || eval.range.step <= 0) {
        return Invalid("invalid range", line);
      }
    } else if (RE2::FullMatch(text, kInstant, &mode, &from, &eval.query)) {
      if (!from.empty()) {
        ASSIGN_OR_RETURN(eval.time, ParseScriptDuration(from));
      }
    } else {
      return Invalid("invalid eval", line);
    }
    mode = Lower(mode);
    if (mode == "fail") eval.expected.fail = true;
    if (mode == "ordered") eval.expected.ordered = true;
    if (mode == "warn") eval.expected.warnings.emplace_back();
    if (mode == "info") eval.expected.infos.emplace_back();
    return absl::OkStatus();
  }

  static absl::Status ParseExpectation(std::string_view line, Eval& eval) {
    static const RE2 kExpect(
        "(?i)^expect\\s+(ordered|fail|warn|no_warn|info|no_info)(?:\\s+(regex|msg):(.+))?$");
    static const RE2 kRangeVector(
        "(?i)^expect\\s+range\\s+vector\\s+from\\s+(.+)\\s+to\\s+(.+)\\s+step\\s+(.+)$");
    static const RE2 kString("(?i)^expect\\s+string\\s+(.+)$");
    static const RE2 kFailMessage("^expected_fail_(message|regexp)\\s+(.+)$");
    Expectation& expected = eval.expected;
    const re2::StringPiece text(line.data(), line.size());
    std::string word;
    std::string kind;
    std::string rest;
    std::string more;
    if (RE2::FullMatch(text, kExpect, &word, &kind, &rest)) {
      return ParseExpect(Lower(word), Lower(kind), std::string(Trim(rest)), expected);
    }
    if (RE2::FullMatch(text, kRangeVector, &word, &rest, &more)) {
      RangeTimes times;
      ASSIGN_OR_RETURN(times.start, ParseScriptDuration(word));
      ASSIGN_OR_RETURN(times.end, ParseScriptDuration(rest));
      ASSIGN_OR_RETURN(times.step, ParseScriptDuration(more));
      expected.range_vector = times;
      return absl::OkStatus();
    }
    if (RE2::FullMatch(text, kString, &rest)) {
      // The text is a string literal like PromQL's.
      ASSIGN_OR_RETURN(const promql::ExprPtr literal, promql::Parse(rest, {}));
      const auto* string = promql::TryAs<promql::StringLiteral>(*literal);
      if (string == nullptr) return Invalid("string expected", line);
      expected.text = string->value;
      return absl::OkStatus();
    }
    if (RE2::FullMatch(text, kFailMessage, &kind, &rest)) {
      (kind == "message" ? expected.failure.exact : expected.failure.regex) = rest;
      return absl::OkStatus();
    }
    if (const std::optional<double> scalar = ParseFloat(line)) {
      expected.scalar = *scalar;
      return absl::OkStatus();
    }
    ASSIGN_OR_RETURN(SeriesLine series, ParseSeriesLine(line));
    expected.series.push_back(std::move(series));
    return absl::OkStatus();
  }

  static absl::Status ParseExpect(const std::string& word, const std::string& kind,
                                  const std::string& text, Expectation& expected) {
    ExpectedText wanted;
    if (kind == "msg") wanted.exact = text;
    if (kind == "regex") {
      if (!RE2(text).ok()) return Invalid("invalid regex", text);
      wanted.regex = text;
    }
    if (word == "ordered") {
      expected.ordered = true;
    } else if (word == "fail") {
      if (expected.fail) return Invalid("only one fail is allowed", text);
      expected.fail = true;
      expected.failure = std::move(wanted);
    } else if (word == "warn") {
      expected.warnings.push_back(std::move(wanted));
    } else if (word == "info") {
      expected.infos.push_back(std::move(wanted));
    } else if (word == "no_warn") {
      expected.no_warnings = true;
    } else {
      expected.no_infos = true;
    }
    if ((expected.no_warnings && !expected.warnings.empty()) ||
        (expected.no_infos && !expected.infos.empty())) {
      return Invalid("contradicting expectations", word);
    }
    return absl::OkStatus();
  }

  // Whether a failure is the expected one.
  static absl::Status CheckFailure(const Expectation& expected, const absl::Status& status) {
    const std::string message(status.message());
    if (!expected.fail) return absl::FailedPreconditionError("failed: " + message);
    if (expected.failure.Matches(message)) return absl::OkStatus();
    return absl::FailedPreconditionError(
        fmt::format("expected the failure {}, got {}", expected.failure.Describe(), message));
  }

  // One instant query; `injected`: its text was changed.
  absl::StatusOr<promql::QueryResult> QueryInstant(const Eval& eval, const std::string& query,
                                                   TimestampMs time, bool injected, bool& failed) {
    absl::StatusOr<promql::QueryResult> result = engine_.Instant(storage_, query, time);
    failed = !result.ok();
    if (failed) {
      RETURN_IF_ERROR(CheckFailure(eval.expected, result.status()));
      return promql::QueryResult();
    }
    if (eval.expected.fail) {
      return absl::FailedPreconditionError("expected a failure, but the query succeeded");
    }
    RETURN_IF_ERROR(CompareAnnotations(eval.expected, result->annotations, !injected));
    RETURN_IF_ERROR(CompareInstant(eval.expected, *result));
    return result;
  }

  absl::Status CheckInstant(const Eval& eval) {
    bool failed = false;
    ASSIGN_OR_RETURN(const promql::QueryResult result,
                     QueryInstant(eval, eval.query, eval.time, false, failed));
    QueryTraits traits;
    std::vector<std::pair<std::string, TimestampMs>> runs;
    RETURN_IF_ERROR(PinnedRuns(eval, traits, runs));
    for (const auto& [query, time] : runs) {
      bool run_failed = false;
      absl::Status status = QueryInstant(eval, query, time, true, run_failed).status();
      if (!status.ok()) {
        return absl::FailedPreconditionError(
            fmt::format("as {} at {} ms: {}", query, time, MessageOf(status)));
      }
    }
    if (failed || eval.expected.ordered || traits.uses_query_times ||
        std::holds_alternative<promql::Matrix>(result.value) ||
        std::holds_alternative<promql::StringResult>(result.value)) {
      return absl::OkStatus();
    }
    const absl::Status status = CheckAsRange(eval, result);
    if (status.ok()) return status;
    return absl::FailedPreconditionError("as a range query: " + MessageOf(status));
  }

  // The query with its selectors pinned to the eval's time, at other times.
  static absl::Status PinnedRuns(const Eval& eval, QueryTraits& traits,
                                 std::vector<std::pair<std::string, TimestampMs>>& runs) {
    promql::ParserOptions options;
    options.experimental_functions = true;
    options.fill_modifiers = true;
    options.extended_range_selectors = true;
    absl::StatusOr<promql::ExprPtr> expr = promql::Parse(eval.query, options);
    if (!expr.ok()) return absl::OkStatus();  // Expected: the eval itself was checked already.
    Pin(**expr, eval.time, traits);
    if (traits.at_unsafe) return absl::OkStatus();
    const std::string query = promql::ToString(**expr);
    std::vector<TimestampMs> times{-10 * eval.time, 0, eval.time / 5, eval.time, 10 * eval.time};
    if (eval.time == 0) times = {-1000, 0, 1000};
    for (TimestampMs time : times) runs.emplace_back(query, time);
    return absl::OkStatus();
  }

  // The middle of three steps has to be what the instant query gave.
  absl::Status CheckAsRange(const Eval& eval, const promql::QueryResult& instant) {
    ASSIGN_OR_RETURN(
        const promql::QueryResult result,
        engine_.Range(storage_, eval.query, eval.time - kMinute, eval.time + kMinute, kMinute));
    promql::QueryResult middle;
    promql::Vector vector;
    for (const promql::MatrixSeries& series : std::get<promql::Matrix>(result.value)) {
      for (const FloatSample& sample : series.floats) {
        if (sample.time == eval.time) {
          vector.push_back({series.labels, sample.time, sample.value, nullptr});
        }
      }
      for (const HistogramSample& sample : series.histograms) {
        if (sample.time == eval.time) {
          vector.push_back({series.labels, sample.time, 0, sample.histogram});
        }
      }
    }
    if (std::holds_alternative<promql::ScalarResult>(instant.value)) {
      if (vector.size() != 1) return absl::FailedPreconditionError("no scalar");
      middle.value = promql::ScalarResult{eval.time, vector[0].value};
    } else {
      middle.value = std::move(vector);
    }
    return CompareInstant(eval.expected, middle);
  }

  absl::Status CheckRange(const Eval& eval) {
    absl::StatusOr<promql::QueryResult> result =
        engine_.Range(storage_, eval.query, eval.range.start, eval.range.end, eval.range.step);
    if (!result.ok()) return CheckFailure(eval.expected, result.status());
    if (eval.expected.fail) {
      return absl::FailedPreconditionError("expected a failure, but the query succeeded");
    }
    RETURN_IF_ERROR(CompareAnnotations(eval.expected, result->annotations, true));
    return CompareRange(eval.expected, eval.range, *result);
  }

  promql::Engine engine_;
  MemoryStorage storage_;
  std::vector<std::string_view> lines_;
  size_t next_ = 0;
  Report report_;
};

}  // namespace

Report RunScript(std::string_view text) { return Runner(text).Run(); }

}  // namespace varve::script
