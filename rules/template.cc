// SPDX-License-Identifier: Apache-2.0
//
// A scanner over the text and a small evaluator of pipelines; values are numbers or texts.
#include "rules/template.h"

#include <absl/status/statusor.h>
#include <fmt/format.h>
#include <fmt/printf.h>
#include <re2/re2.h>

#include <cmath>
#include <optional>
#include <variant>
#include <vector>

#include "model/matcher.h"
#include "model/status_macros.h"
#include "model/time.h"

namespace varve {
namespace {

using Value = std::variant<double, std::string>;

absl::Status Error(std::string message) { return absl::InvalidArgumentError(std::move(message)); }

// Go's %v of a float64, as templates print $value: %g with the shortest digits.
std::string NumberText(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  const double size = std::fabs(value);
  if (size != 0 && (size < 1e-4 || size >= 1e21)) return fmt::format("{:e}", value);
  return FormatFloat(value);
}

std::string TextOf(const Value& value) {
  if (const auto* number = std::get_if<double>(&value)) return NumberText(*number);
  return std::get<std::string>(value);
}

absl::StatusOr<double> NumberOf(const Value& value) {
  if (const auto* number = std::get_if<double>(&value)) return *number;
  const std::string& text = std::get<std::string>(value);
  const std::optional<double> number = ParseFloat(text);
  if (!number.has_value()) return Error(fmt::format("{} is no number", Quoted(text)));
  return *number;
}

// Four significant digits, as Go's %.4g.
std::string FourDigits(double value) { return fmt::sprintf("%.4g", value); }

std::string Humanize(double value) {
  if (value == 0 || !std::isfinite(value)) return FourDigits(value);
  double scaled = value;
  std::string_view prefix;
  if (std::fabs(scaled) >= 1) {
    for (std::string_view next : {"k", "M", "G", "T", "P", "E", "Z", "Y"}) {
      if (std::fabs(scaled) < 1000) break;
      prefix = next;
      scaled /= 1000;
    }
  } else {
    for (std::string_view next : {"m", "u", "n", "p", "f", "a", "z", "y"}) {
      if (std::fabs(scaled) >= 1) break;
      prefix = next;
      scaled *= 1000;
    }
  }
  return FourDigits(scaled) + std::string(prefix);
}

std::string Humanize1024(double value) {
  if (std::fabs(value) <= 1 || !std::isfinite(value)) return FourDigits(value);
  std::string_view prefix;
  for (std::string_view next : {"ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"}) {
    if (std::fabs(value) < 1024) break;
    prefix = next;
    value /= 1024;
  }
  return FourDigits(value) + std::string(prefix);
}

std::string HumanizeDuration(double value) {
  if (!std::isfinite(value)) return FourDigits(value);
  if (value == 0) return FourDigits(value) + "s";
  if (std::fabs(value) >= 1) {
    const std::string sign = value < 0 ? "-" : "";
    const auto whole = static_cast<int64_t>(std::fabs(value));
    const int64_t seconds = whole % 60;
    const int64_t minutes = whole / 60 % 60;
    const int64_t hours = whole / 3600 % 24;
    const int64_t days = whole / 86400;
    if (days != 0) return fmt::format("{}{}d {}h {}m {}s", sign, days, hours, minutes, seconds);
    if (hours != 0) return fmt::format("{}{}h {}m {}s", sign, hours, minutes, seconds);
    if (minutes != 0) return fmt::format("{}{}m {}s", sign, minutes, seconds);
    return FourDigits(value) + "s";
  }
  std::string_view prefix;
  for (std::string_view next : {"m", "u", "n", "p", "f", "a", "z", "y"}) {
    if (std::fabs(value) >= 1) break;
    prefix = next;
    value *= 1000;
  }
  return FourDigits(value) + std::string(prefix) + "s";
}

std::string Title(std::string text) {
  bool start = true;
  for (char& c : text) {
    if (start && c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    start = c == ' ' || c == '\t' || c == '\n';
  }
  return text;
}

std::string MapAscii(std::string text, char from, char to, int shift) {
  for (char& c : text) {
    if (c >= from && c <= to) c = static_cast<char>(c + shift);
  }
  return text;
}

std::string StripPort(const std::string& host) {
  const size_t colon = host.rfind(':');
  if (colon == std::string::npos || host.find(':') != colon) {
    if (host.empty() || host.front() != '[') return host;
    const size_t close = host.find(']');
    return close == std::string::npos ? host : host.substr(1, close - 1);
  }
  return host.substr(0, colon);
}

// One verb of printf with its argument.
absl::StatusOr<std::string> FormatVerb(const std::string& spec, const Value& value) {
  switch (spec.back()) {
    case 'v':
    case 's':
      return fmt::sprintf(spec.substr(0, spec.size() - 1) + "s", TextOf(value));
    case 'q':
      return Quoted(TextOf(value));
    case 'd': {
      ASSIGN_OR_RETURN(const double number, NumberOf(value));
      if (!(std::fabs(number) < 9e18)) return Error("number out of range for %d");
      return fmt::sprintf(spec, static_cast<int64_t>(number));
    }
    case 'f':
    case 'e':
    case 'g':
    case 'F':
    case 'E':
    case 'G': {
      ASSIGN_OR_RETURN(const double number, NumberOf(value));
      return fmt::sprintf(spec, number);
    }
    default:
      return Error(fmt::format("unknown verb {}", Quoted(spec)));
  }
}

absl::StatusOr<Value> Printf(const std::vector<Value>& arguments) {
  if (arguments.empty()) return Error("printf needs a format");
  const std::string format = TextOf(arguments[0]);
  std::string out;
  size_t next = 1;
  for (size_t at = 0; at < format.size(); ++at) {
    if (format[at] != '%') {
      out.push_back(format[at]);
      continue;
    }
    const size_t end = format.find_first_not_of("0123456789.+-# ", at + 1);
    // Widths and precisions stay small: three digits each at most.
    if (end == std::string::npos || end - at > 8) return Error("malformed printf format");
    if (format[end] == '%') {
      out.push_back('%');
    } else {
      if (next >= arguments.size()) return Error("printf has too few arguments");
      ASSIGN_OR_RETURN(const std::string piece,
                       FormatVerb(format.substr(at, end - at + 1), arguments[next++]));
      out += piece;
    }
    at = end;
    if (out.size() > kTemplateBytesMax) return Error("text too long");
  }
  return out;
}

absl::StatusOr<Value> CallOnNumber(std::string_view name, const Value& argument) {
  ASSIGN_OR_RETURN(const double number, NumberOf(argument));
  if (name == "humanize") return Humanize(number);
  if (name == "humanize1024") return Humanize1024(number);
  if (name == "humanizeDuration") return HumanizeDuration(number);
  if (name == "humanizePercentage") return FourDigits(number * 100) + "%";
  if (std::isnan(number) || std::isinf(number)) return FourDigits(number);
  if (std::fabs(number) > 1e14) return Error(fmt::format("{} is no time", NumberText(number)));
  // Go prints times as `2006-01-02 15:04:05.999 +0000 UTC`.
  std::string text = FormatRfc3339(static_cast<TimestampMs>(std::llround(number * 1000)));
  text[text.find('T')] = ' ';
  text.pop_back();
  return text + " +0000 UTC";
}

absl::StatusOr<Value> Call(std::string_view name, const std::vector<Value>& arguments) {
  if (name == "printf") return Printf(arguments);
  if (name == "print") {
    std::string text;
    for (const Value& argument : arguments) text += TextOf(argument);
    return text;
  }
  if (name == "reReplaceAll") {
    if (arguments.size() != 3) return Error("reReplaceAll needs three arguments");
    const re2::RE2 pattern(TextOf(arguments[0]), re2::RE2::Quiet);
    if (!pattern.ok()) return Error(pattern.error());
    std::string replacement = TextOf(arguments[1]);
    // Go writes $1 where RE2 writes \1.
    for (size_t i = 0; i + 1 < replacement.size(); ++i) {
      if (replacement[i] == '$' && std::isdigit(static_cast<unsigned char>(replacement[i + 1]))) {
        replacement[i] = '\\';
      }
    }
    std::string text = TextOf(arguments[2]);
    re2::RE2::GlobalReplace(&text, pattern, replacement);
    return text;
  }
  if (arguments.size() != 1) return Error(fmt::format("wrong number of arguments for {}", name));
  for (std::string_view on_number : {"humanize", "humanize1024", "humanizeDuration",
                                     "humanizePercentage", "humanizeTimestamp"}) {
    if (name == on_number) return CallOnNumber(name, arguments[0]);
  }
  std::string text = TextOf(arguments[0]);
  if (name == "title") return Title(std::move(text));
  if (name == "toUpper") return MapAscii(std::move(text), 'a', 'z', 'A' - 'a');
  if (name == "toLower") return MapAscii(std::move(text), 'A', 'Z', 'a' - 'A');
  if (name == "stripPort") return StripPort(text);
  if (name == "stripDomain") {
    const std::string host = StripPort(text);
    return host.substr(0, host.find('.')) + text.substr(std::min(host.size(), text.size()));
  }
  return Error(fmt::format("function {} not defined", Quoted(name)));
}

// Evaluates the text between `{{` and `}}`.
class Action {
 public:
  Action(std::string_view text, const AlertTemplateData& data) : rest_(text), data_(data) {}

  absl::StatusOr<std::string> Run() {
    SkipBlanks();
    if (rest_.starts_with("/*")) return "";
    std::optional<Value> piped;
    while (true) {
      ASSIGN_OR_RETURN(piped, Command(std::move(piped)));
      SkipBlanks();
      if (rest_.empty()) return TextOf(*piped);
      if (rest_.front() != '|') return Error(fmt::format("unexpected {}", Quoted(rest_)));
      rest_.remove_prefix(1);
    }
  }

 private:
  void SkipBlanks() {
    while (!rest_.empty() && (rest_.front() == ' ' || rest_.front() == '\t' ||
                              rest_.front() == '\n' || rest_.front() == '\r')) {
      rest_.remove_prefix(1);
    }
  }

  std::string_view Word() {
    size_t end = 0;
    while (end < rest_.size() &&
           std::string_view(" \t\r\n|()\"`").find(rest_[end]) == std::string_view::npos) {
      ++end;
    }
    const std::string_view word = rest_.substr(0, end);
    rest_.remove_prefix(end);
    return word;
  }

  absl::StatusOr<Value> Command(std::optional<Value> piped) {
    SkipBlanks();
    const std::string_view before = rest_;
    const std::string_view word = Word();
    const bool is_function =
        !word.empty() && ((word[0] >= 'a' && word[0] <= 'z') || (word[0] >= 'A' && word[0] <= 'Z'));
    if (!is_function) {
      if (piped.has_value()) return Error("a value cannot take an argument");
      rest_ = before;
      return Operand();
    }
    std::vector<Value> arguments;
    while (true) {
      SkipBlanks();
      if (rest_.empty() || rest_.front() == '|' || rest_.front() == ')') break;
      ASSIGN_OR_RETURN(Value argument, Operand());
      arguments.push_back(std::move(argument));
    }
    if (piped.has_value()) arguments.push_back(std::move(*piped));
    return Call(word, arguments);
  }

  absl::StatusOr<Value> Operand() {
    SkipBlanks();
    if (rest_.empty()) return Error("missing value for command");
    if (rest_.front() == '(') return Error("parentheses are not supported");
    if (rest_.front() == '"' || rest_.front() == '`') return QuotedText();
    const std::string_view word = Word();
    if (word == "$value" || word == ".Value") return data_.value;
    if (word == "$externalURL" || word == ".ExternalURL") return std::string(data_.external_url);
    for (const auto& [prefix, labels] :
         {std::pair{std::string_view("$labels."), &data_.labels},
          std::pair{std::string_view(".Labels."), &data_.labels},
          std::pair{std::string_view("$externalLabels."), &data_.external_labels},
          std::pair{std::string_view(".ExternalLabels."), &data_.external_labels}}) {
      if (word.starts_with(prefix)) return std::string(labels->Get(word.substr(prefix.size())));
    }
    const std::optional<double> number = ParseFloat(word);
    if (number.has_value()) return *number;
    return Error(fmt::format("unknown value {}", Quoted(word)));
  }

  absl::StatusOr<Value> QuotedText() {
    const char quote = rest_.front();
    std::string text;
    for (size_t i = 1; i < rest_.size(); ++i) {
      if (rest_[i] == quote) {
        rest_.remove_prefix(i + 1);
        return text;
      }
      if (quote == '"' && rest_[i] == '\\' && i + 1 < rest_.size()) {
        const char escaped = rest_[++i];
        text.push_back(escaped == 'n' ? '\n' : escaped == 't' ? '\t' : escaped);
      } else {
        text.push_back(rest_[i]);
      }
    }
    return Error("unterminated quoted string");
  }

  std::string_view rest_;
  const AlertTemplateData& data_;
};

void TrimRight(std::string& text) {
  while (!text.empty() && std::string_view(" \t\r\n").find(text.back()) != std::string_view::npos) {
    text.pop_back();
  }
}

absl::StatusOr<std::string> Expand(std::string_view text, const AlertTemplateData& data) {
  std::string out;
  while (true) {
    const size_t open = text.find("{{");
    out.append(text.substr(0, open));
    if (open == std::string_view::npos) return out;
    text.remove_prefix(open + 2);
    const size_t close = text.find("}}");
    if (close == std::string_view::npos) return Error("unclosed action");
    std::string_view action = text.substr(0, close);
    text.remove_prefix(close + 2);
    if (action.starts_with("- ")) {
      TrimRight(out);
      action.remove_prefix(1);
    }
    if (action.ends_with(" -")) {
      action.remove_suffix(1);
      const size_t next = text.find_first_not_of(" \t\r\n");
      text.remove_prefix(std::min(next, text.size()));
    }
    ASSIGN_OR_RETURN(const std::string piece, Action(action, data).Run());
    out += piece;
    if (out.size() > kTemplateBytesMax) return Error("text too long");
  }
}

}  // namespace

std::string ExpandTemplate(std::string_view text, const AlertTemplateData& data) {
  if (text.find("{{") == std::string_view::npos) return std::string(text);
  const absl::StatusOr<std::string> expanded = Expand(text, data);
  if (expanded.ok()) return *expanded;
  return fmt::format("<error expanding template: {}>", MessageOf(expanded.status()));
}

}  // namespace varve
