// SPDX-License-Identifier: Apache-2.0
//
// A hand-written scanner: the notation is neither PromQL nor a regular language.
#include "tests/script_runner/notation.h"

#include <fmt/format.h>

#include <cctype>
#include <cmath>
#include <utility>

#include "model/histogram_math.h"
#include "model/sample.h"
#include "model/status_macros.h"

namespace varve::script {

absl::Status Invalid(std::string_view what, std::string_view text) {
  return absl::InvalidArgumentError(fmt::format("{}: {}", what, text));
}

namespace {

class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  bool AtEnd() const { return at_ == text_.size(); }
  char Peek() const { return AtEnd() ? '\0' : text_[at_]; }
  std::string_view rest() const { return text_.substr(at_); }
  void Skip(size_t bytes) { at_ += bytes; }
  void SkipSpace() {
    while (!AtEnd() && (Peek() == ' ' || Peek() == '\t')) ++at_;
  }
  bool Take(std::string_view token) {
    if (rest().substr(0, token.size()) != token) return false;
    at_ += token.size();
    return true;
  }

  template <typename Accept>
  std::string_view TakeWhile(Accept accept) {
    const size_t begin = at_;
    while (!AtEnd() && accept(Peek())) ++at_;
    return text_.substr(begin, at_ - begin);
  }

  // A float without its sign: digits, exponent, inf or nan. Empty if there is none.
  std::string_view TakeNumber() {
    const size_t begin = at_;
    for (std::string_view word : {"inf", "nan"}) {
      if (rest().size() < 3) break;
      std::string lower;
      for (char c : rest().substr(0, 3)) {
        lower += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      }
      if (lower == word) {
        at_ += 3;
        return text_.substr(begin, 3);
      }
    }
    const auto digit = [](char c) { return (c >= '0' && c <= '9') || c == '.'; };
    TakeWhile(digit);
    if (at_ == begin) return {};
    if (Peek() == 'e' || Peek() == 'E') {
      const size_t before = at_++;
      if (Peek() == '+' || Peek() == '-') ++at_;
      if (TakeWhile(digit).empty()) at_ = before;
    }
    return text_.substr(begin, at_ - begin);
  }

 private:
  std::string_view text_;
  size_t at_ = 0;
};

bool IsKeyByte(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

bool IsNameByte(char c) { return IsKeyByte(c) || c == ':'; }

absl::StatusOr<std::string> ParseQuoted(Scanner& scanner) {
  const char quote = scanner.Peek();
  scanner.Skip(1);
  std::string text;
  while (!scanner.AtEnd() && scanner.Peek() != quote) {
    char c = scanner.Peek();
    scanner.Skip(1);
    if (c == '\\' && quote != '`') {
      c = scanner.Peek();
      scanner.Skip(1);
      if (c == 'n') c = '\n';
      if (c == 't') c = '\t';
      if (c == 'r') c = '\r';
    }
    text += c;
  }
  if (scanner.AtEnd()) return Invalid("unterminated string", text);
  scanner.Skip(1);
  return text;
}

bool AtQuote(const Scanner& scanner) {
  return scanner.Peek() == '"' || scanner.Peek() == '\'' || scanner.Peek() == '`';
}

absl::StatusOr<Labels> ParseLabels(Scanner& scanner) {
  std::vector<std::pair<std::string, std::string>> pairs;
  const std::string_view name = scanner.TakeWhile(IsNameByte);
  if (!name.empty()) pairs.emplace_back(kMetricName, name);
  if (!scanner.Take("{")) return Labels::FromPairs(std::move(pairs));
  for (;;) {
    scanner.SkipSpace();
    if (scanner.Take("}")) break;
    if (scanner.Take(",")) continue;
    std::string label;
    if (AtQuote(scanner)) {
      ASSIGN_OR_RETURN(label, ParseQuoted(scanner));
    } else {
      label = scanner.TakeWhile(IsNameByte);
    }
    scanner.SkipSpace();
    if (!scanner.Take("=")) {
      // A quoted name alone is the metric's.
      if (label.empty()) return Invalid("label expected", scanner.rest());
      pairs.emplace_back(kMetricName, label);
      continue;
    }
    scanner.SkipSpace();
    if (!AtQuote(scanner)) return Invalid("label value expected", scanner.rest());
    ASSIGN_OR_RETURN(std::string value, ParseQuoted(scanner));
    pairs.emplace_back(std::move(label), std::move(value));
  }
  return Labels::FromPairs(std::move(pairs));
}

absl::StatusOr<double> ParseSigned(Scanner& scanner) {
  double sign = 1;
  if (scanner.Take("-")) {
    sign = -1;
  } else {
    scanner.Take("+");
  }
  const std::string_view number = scanner.TakeNumber();
  const std::optional<double> value = ParseFloat(number);
  if (number.empty() || !value.has_value()) return Invalid("number expected", scanner.rest());
  // A NaN keeps its one form whatever sign stands before it.
  return std::isnan(*value) ? NormalNan() : sign * *value;
}

absl::StatusOr<std::vector<double>> ParseNumberList(Scanner& scanner) {
  if (!scanner.Take("[")) return Invalid("list expected", scanner.rest());
  std::vector<double> numbers;
  for (;;) {
    scanner.SkipSpace();
    if (scanner.Take("]")) return numbers;
    ASSIGN_OR_RETURN(const double number, ParseSigned(scanner));
    numbers.push_back(number);
  }
}

// Bucket counts and where they begin.
struct BucketList {
  std::vector<double> counts;
  int32_t offset = 0;

  Buckets ToBuckets() const {
    Buckets buckets;
    if (counts.empty()) return buckets;
    buckets.spans.push_back({offset, static_cast<uint32_t>(counts.size())});
    buckets.counts = counts;
    return buckets;
  }
};

absl::Status ParseHint(Scanner& scanner, SequenceValue& result) {
  const std::string_view word = scanner.TakeWhile(IsKeyByte);
  result.hint_given = true;
  for (const auto& [text, hint] : std::initializer_list<std::pair<std::string_view, ResetHint>>{
           {"unknown", ResetHint::kUnknown},
           {"reset", ResetHint::kReset},
           {"not_reset", ResetHint::kNotReset},
           {"gauge", ResetHint::kGauge}}) {
    if (word == text) {
      result.histogram->reset_hint = hint;
      return absl::OkStatus();
    }
  }
  return Invalid("unknown reset hint", word);
}

// After `{{`.
absl::StatusOr<SequenceValue> ParseHistogram(Scanner& scanner) {
  SequenceValue result;
  Histogram& histogram = result.histogram.emplace();
  BucketList positive;
  BucketList negative;
  for (;;) {
    scanner.SkipSpace();
    if (scanner.Take("}}")) break;
    const std::string_view name = scanner.TakeWhile(IsKeyByte);
    if (!scanner.Take(":")) return Invalid("key expected", scanner.rest());
    if (name == "buckets" || name == "n_buckets" || name == "custom_values") {
      ASSIGN_OR_RETURN(std::vector<double> numbers, ParseNumberList(scanner));
      (name == "buckets"     ? positive.counts
       : name == "n_buckets" ? negative.counts
                             : histogram.custom_bounds) = std::move(numbers);
    } else if (name == "counter_reset_hint") {
      RETURN_IF_ERROR(ParseHint(scanner, result));
    } else {
      ASSIGN_OR_RETURN(const double number, ParseSigned(scanner));
      if (name == "schema") {
        histogram.schema = static_cast<int32_t>(number);
      } else if (name == "sum") {
        histogram.sum = number;
      } else if (name == "count") {
        histogram.count = number;
      } else if (name == "z_bucket") {
        histogram.zero_count = number;
      } else if (name == "z_bucket_w") {
        histogram.zero_threshold = number;
      } else if (name == "offset") {
        positive.offset = static_cast<int32_t>(number);
      } else if (name == "n_offset") {
        negative.offset = static_cast<int32_t>(number);
      } else {
        return Invalid("unknown histogram key", name);
      }
    }
  }
  histogram.positive = positive.ToBuckets();
  histogram.negative = negative.ToBuckets();
  return result;
}

absl::StatusOr<size_t> ParseTimes(Scanner& scanner) {
  const std::string_view digits = scanner.TakeWhile([](char c) { return c >= '0' && c <= '9'; });
  const std::optional<double> times = ParseFloat(digits);
  if (!times.has_value() || *times > static_cast<double>(kSequenceValuesMax)) {
    return Invalid("repetitions expected", scanner.rest());
  }
  return static_cast<size_t>(*times);
}

absl::Status ParseHistogramItem(Scanner& scanner, std::vector<SequenceValue>& values) {
  ASSIGN_OR_RETURN(SequenceValue current, ParseHistogram(scanner));
  std::optional<Histogram> increment;
  bool subtract = false;
  if (scanner.Take("+{{") || (subtract = scanner.Take("-{{"))) {
    ASSIGN_OR_RETURN(SequenceValue step, ParseHistogram(scanner));
    increment = std::move(step.histogram);
  }
  size_t times = 0;
  if (scanner.Take("x")) {
    ASSIGN_OR_RETURN(times, ParseTimes(scanner));
  }
  values.push_back(current);
  for (size_t i = 0; i < times; ++i) {
    if (increment.has_value()) {
      if (!Combinable(*current.histogram, *increment)) {
        return Invalid("increment of another layout", scanner.rest());
      }
      HistogramMergeNotes notes;
      current.histogram = subtract ? SubtractHistograms(*current.histogram, *increment, notes)
                                   : AddHistograms(*current.histogram, *increment, notes);
    }
    values.push_back(current);
  }
  return absl::OkStatus();
}

absl::Status ParseFloatItem(Scanner& scanner, std::vector<SequenceValue>& values) {
  ASSIGN_OR_RETURN(double current, ParseSigned(scanner));
  double step = 0;
  if (scanner.Peek() == '+' || scanner.Peek() == '-') {
    ASSIGN_OR_RETURN(step, ParseSigned(scanner));
  }
  size_t times = 0;
  if (scanner.Take("x")) {
    ASSIGN_OR_RETURN(times, ParseTimes(scanner));
  }
  for (size_t i = 0; i <= times; ++i) {
    values.push_back({current, std::nullopt, false});
    current += step;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::optional<DurationMs>>> ParseOffsets(std::string_view text) {
  std::vector<std::optional<DurationMs>> offsets;
  Scanner scanner(text);
  const auto duration = [](Scanner& from) -> absl::StatusOr<DurationMs> {
    const bool negative = from.Take("-");
    if (!negative) from.Take("+");
    const std::string_view token = from.TakeWhile(
        [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 && c != 'x'; });
    ASSIGN_OR_RETURN(const DurationMs value, ParseScriptDuration(token));
    return negative ? -value : value;
  };
  for (scanner.SkipSpace(); !scanner.AtEnd(); scanner.SkipSpace()) {
    if (scanner.Take("_")) {
      size_t times = 1;
      if (scanner.Take("x")) {
        ASSIGN_OR_RETURN(times, ParseTimes(scanner));
      }
      offsets.insert(offsets.end(), times, std::nullopt);
      continue;
    }
    ASSIGN_OR_RETURN(DurationMs current, duration(scanner));
    DurationMs step = 0;
    if (scanner.Peek() == '+' || scanner.Peek() == '-') {
      ASSIGN_OR_RETURN(step, duration(scanner));
    }
    size_t times = 0;
    if (scanner.Take("x")) {
      ASSIGN_OR_RETURN(times, ParseTimes(scanner));
    }
    for (size_t i = 0; i <= times; ++i, current += step) offsets.emplace_back(current);
  }
  return offsets;
}

}  // namespace

absl::StatusOr<DurationMs> ParseScriptDuration(std::string_view text) {
  bool negative = false;
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) {
    negative = text[0] == '-';
    text.remove_prefix(1);
  }
  DurationMs value = 0;
  if (const std::optional<double> seconds = ParseFloat(text)) {
    value = static_cast<DurationMs>(std::llround(*seconds * 1000));
  } else {
    ASSIGN_OR_RETURN(value, ParseDuration(text));
  }
  return negative ? -value : value;
}

absl::StatusOr<std::vector<SequenceValue>> ParseSequence(std::string_view text) {
  std::vector<SequenceValue> values;
  Scanner scanner(text);
  for (scanner.SkipSpace(); !scanner.AtEnd(); scanner.SkipSpace()) {
    if (scanner.Take("_")) {
      size_t times = 1;
      if (scanner.Take("x")) {
        ASSIGN_OR_RETURN(times, ParseTimes(scanner));
      }
      values.insert(values.end(), times, SequenceValue());
    } else if (scanner.Take("stale")) {
      values.push_back({StaleNan(), std::nullopt, false});
    } else if (scanner.Take("{{")) {
      RETURN_IF_ERROR(ParseHistogramItem(scanner, values));
    } else {
      RETURN_IF_ERROR(ParseFloatItem(scanner, values));
    }
    if (!scanner.AtEnd() && scanner.Peek() != ' ' && scanner.Peek() != '\t') {
      return Invalid("unexpected text in values", scanner.rest());
    }
    if (values.size() > kSequenceValuesMax) return Invalid("too many values", text);
  }
  return values;
}

absl::StatusOr<SeriesLine> ParseSeriesLine(std::string_view line) {
  SeriesLine result;
  Scanner scanner(line);
  ASSIGN_OR_RETURN(result.labels, ParseLabels(scanner));
  if (scanner.Take("@st")) {
    result.start_times = true;
    ASSIGN_OR_RETURN(result.offsets, ParseOffsets(scanner.rest()));
    return result;
  }
  if (!scanner.AtEnd() && scanner.Peek() != ' ' && scanner.Peek() != '\t') {
    return Invalid("series expected", line);
  }
  ASSIGN_OR_RETURN(result.values, ParseSequence(scanner.rest()));
  return result;
}

}  // namespace varve::script
