// SPDX-License-Identifier: Apache-2.0
//
// Goal: the text parser reads what the formats' grammars say. Method: a parser that copies, looks
// at a character at a time and knows no fast path, and lines put together at random from tokens
// that are right and tokens that are not; both must give the same entries and refuse the same
// lines.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cstdlib>
#include <optional>
#include <regex>
#include <string>
#include <vector>

#include "model/labels.h"
#include "model/time.h"
#include "scrape/text_parser.h"

namespace varve {
namespace {

using Entries = std::vector<std::string>;

class PlainParser {
 public:
  PlainParser(std::string body, bool strict) : body_(std::move(body)), strict_(strict) {}

  Entries Parse() {
    while (Line()) {
    }
    return entries_;
  }

 private:
  char Now() const { return at_ < body_.size() ? body_[at_] : '\0'; }
  bool Take(char c) {
    if (at_ >= body_.size() || body_[at_] != c) return false;
    ++at_;
    return true;
  }
  void Blanks() {
    while (!strict_ && (Now() == ' ' || Now() == '\t')) ++at_;
  }
  bool Fail() {
    entries_.push_back("error");
    return false;
  }
  std::string Match(const char* pattern) {
    std::smatch match;
    const std::string rest = body_.substr(at_);
    if (!std::regex_search(rest, match, std::regex(pattern),
                           std::regex_constants::match_continuous)) {
      return "";
    }
    at_ += match.str().size();
    return match.str();
  }

  bool Line() {
    while (!strict_ && (Now() == ' ' || Now() == '\t' || Now() == '\n')) ++at_;
    if (at_ >= body_.size()) return strict_ && !ended_ ? Fail() : false;
    if (ended_) return Fail();
    return Now() == '#' ? Comment() : Sample();
  }

  bool Comment() {
    const size_t stop = std::min(body_.find('\n', at_), body_.size());
    const std::string line = body_.substr(at_, stop - at_);
    at_ = std::min(stop + 1, body_.size());
    if (strict_ && line == "# EOF") return ended_ = true;
    std::smatch match;
    const std::regex said(strict_ ? R"(# (HELP|TYPE|UNIT) (.*))"
                                  : R"(#[ \t]+(HELP|TYPE)[ \t](.*))");
    if (!std::regex_match(line, match, said)) return strict_ ? Fail() : true;
    if (strict_ && stop >= body_.size()) return Fail();
    const std::string word = match[1].str();
    std::string rest = match[2].str();
    if (!strict_) rest.erase(0, rest.find_first_not_of(" \t"));
    if (!std::regex_search(rest, match, std::regex("[a-zA-Z_:][a-zA-Z0-9_:]*"),
                           std::regex_constants::match_continuous)) {
      return Fail();
    }
    const std::string name = match.str();
    const std::string text = rest.size() > name.size() ? rest.substr(name.size() + 1) : "";
    if (word == "TYPE") {
      const std::regex types(strict_ ? "counter|gauge|histogram|summary|gaugehistogram|info|"
                                       "stateset|unknown"
                                     : "counter|gauge|histogram|summary|untyped");
      if (!std::regex_match(text, types)) return Fail();
      normal_label_ = text == "histogram" ? "le" : text == "summary" ? "quantile" : "";
    }
    if (word == "UNIT" && !text.empty() &&
        (name.size() <= text.size() + 1 || !name.ends_with("_" + text))) {
      return Fail();
    }
    entries_.push_back(word + " " + name);
    return true;
  }

  std::optional<std::string> QuotedText() {
    if (!Take('"')) return std::nullopt;
    std::string text;
    while (at_ < body_.size() && Now() != '"') {
      if (Take('\\')) {
        if (at_ >= body_.size() || Now() == '\n') return std::nullopt;
        const char c = body_[at_++];
        if (c == 'n') {
          text += '\n';
        } else if (c == '\\' || c == '"') {
          text += c;
        } else {
          text += {'\\', c};
        }
        continue;
      }
      text += body_[at_++];
    }
    if (!Take('"')) return std::nullopt;
    return text;
  }

  bool LabelSet(LabelPairs& pairs) {
    Blanks();
    while (!Take('}')) {
      std::optional<std::string> name;
      if (Now() == '"') {
        name = QuotedText();
      } else {
        name = Match("[a-zA-Z_][a-zA-Z0-9_]*");
        if (name->empty()) return false;
      }
      const bool quoted = body_[at_ - 1] == '"';
      if (!name.has_value()) return false;
      Blanks();
      if (quoted && (Now() == ',' || Now() == '}')) {
        for (const auto& [other, value] : pairs) {
          if (other == "__name__") return false;
        }
        pairs.emplace_back("__name__", *name);
      } else {
        if (!Take('=')) return false;
        Blanks();
        std::optional<std::string> value = QuotedText();
        if (!value.has_value() || name->empty()) return false;
        if (!normal_label_.empty() && *name == normal_label_ &&
            std::regex_match(*value, std::regex(R"([0-9]+(\.[0-9]+)?)"))) {
          value = OpenMetricsFloat(std::strtod(value->c_str(), nullptr));
        }
        pairs.emplace_back(*name, *value);
      }
      Blanks();
      if (Take(',')) {
        Blanks();
      } else if (Now() != '}') {
        return false;
      }
    }
    return true;
  }

  std::optional<double> Value() {
    const std::string text =
        Match(R"([+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?[iI][nN][fF]|NaN)");
    if (text.empty()) return std::nullopt;
    const bool ends = at_ >= body_.size() || std::string(" \t\n{").find(Now()) != std::string::npos;
    if (!ends) return std::nullopt;
    return std::strtod(text.c_str(), nullptr);
  }

  bool Sample() {
    LabelPairs pairs;
    const std::string name = Match("[a-zA-Z_:][a-zA-Z0-9_:]*");
    if (!name.empty()) pairs.emplace_back("__name__", name);
    const size_t before = at_;
    Blanks();
    if (Take('{')) {
      if (!LabelSet(pairs)) return Fail();
    } else {
      at_ = before;
      if (name.empty()) return Fail();
    }
    if (strict_ ? !Take(' ') : body_[at_ - 1] != '}' && Now() != ' ' && Now() != '\t')
      return Fail();
    Blanks();
    const std::optional<double> value = Value();
    if (!value.has_value()) return Fail();
    std::string entry = Labels::FromPairs(pairs).ToString() + " " + FormatFloat(*value);
    Blanks();
    if (!Time(entry) || !ExemplarPart(entry)) return Fail();
    for (const auto& [label, text] : pairs) {
      if (!IsValidUtf8(label) || !IsValidUtf8(text)) return Fail();
    }
    if (!Take('\n') && (strict_ || at_ < body_.size())) return Fail();
    entries_.push_back(entry);
    return true;
  }

  bool Time(std::string& entry) {
    if (Now() == '\n' || at_ >= body_.size()) return true;
    if (!strict_) {
      const std::string digits = Match("[0-9]+");
      if (digits.empty() || digits.size() > 18) return false;
      entry += "@" + std::to_string(std::stoll(digits));
      Blanks();
      return true;
    }
    if (body_.compare(at_, 2, " #") == 0) return true;
    if (!Take(' ')) return false;
    const std::optional<double> seconds = Value();
    if (!seconds.has_value() || !(std::abs(*seconds) < 9.2e15)) return false;
    entry += fmt::format("@{}", static_cast<int64_t>(*seconds * 1000));
    return true;
  }

  bool ExemplarPart(std::string& entry) {
    if (!strict_ || Now() != ' ') return true;
    if (body_.compare(at_, 4, " # {") != 0) return false;
    at_ = std::min(body_.find('\n', at_), body_.size());
    entry += " #";
    return true;
  }

  const std::string body_;
  const bool strict_;
  size_t at_ = 0;
  bool ended_ = false;
  std::string normal_label_;
  Entries entries_;
};

Entries Entered(const std::string& body, TextFormat format) {
  TextParser parser(body, format);
  Entries entries;
  for (;;) {
    const absl::StatusOr<LineKind> kind = parser.Next();
    LabelPairs pairs;
    if (!kind.ok() || (*kind == LineKind::kSeries && !parser.ReadLabels(pairs).ok())) {
      entries.emplace_back("error");
      return entries;
    }
    if (*kind == LineKind::kEnd) return entries;
    if (*kind != LineKind::kSeries) {
      entries.push_back(std::string(*kind == LineKind::kHelp   ? "HELP "
                                    : *kind == LineKind::kType ? "TYPE "
                                                               : "UNIT ") +
                        parser.metric());
      continue;
    }
    std::string entry = Labels::FromPairs(pairs).ToString() + " " + FormatFloat(parser.value());
    if (parser.has_time()) entry += fmt::format("@{}", parser.time());
    if (parser.has_exemplars()) entry += " #";
    entries.push_back(entry);
  }
}

class Generator {
 public:
  explicit Generator(uint64_t seed) : state_(seed) {}

  std::string Body(bool strict) {
    std::string body;
    for (uint64_t left = Random(8); left > 0; --left) {
      body += Random(4) == 0 ? Said() : Sample(strict);
      body += '\n';
    }
    if (strict && Random(8) > 0) body += "# EOF\n";
    if (Random(6) == 0) body.resize(body.size() - std::min<size_t>(body.size(), Random(12)));
    if (Random(4) == 0 && !body.empty()) {
      char& changed = body[Random(body.size())];
      changed = " \t\n\"\\{}=,#1ae."[Random(14)];
    }
    return body;
  }

 private:
  using Texts = std::vector<std::string>;

  uint64_t Random(uint64_t below) {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return (state_ >> 33) % below;
  }
  std::string Pick(const Texts& texts) { return texts[Random(texts.size())]; }
  std::string Blank(bool strict) { return strict || Random(3) > 0 ? "" : Pick({" ", "\t", "  "}); }
  // Braces, unlike operators, are evaluated in their order, whatever the compiler.
  static std::string Joined(const Texts& texts) {
    std::string joined;
    for (const std::string& text : texts) joined += text;
    return joined;
  }

  std::string Said() {
    return Joined({"# ", Pick({"HELP ", "TYPE ", "UNIT ", "EOF", "NOTE "}),
                   Pick({"a", "m_bytes", "a:b", "9", ""}),
                   Pick({" counter", " gauge", " histogram", " summary", " untyped", " info",
                         " bytes", " some text", ""})});
  }
  std::string Label(bool strict) {
    if (Random(12) == 0) return Pick({"\"a.b\"", "\"\""});
    return Joined({Pick({"l", "le", "quantile", "x_1", "\"q.r\"", "l"}), Blank(strict), "=",
                   Blank(strict),
                   Pick({"\"v\"", "\"1\"", "\"0.5\"", "\"a\\\"b\"", "\"\\\\\"", "\"\\n\"",
                         "\"\\x\"", "\"\"", "\"{},=#\"", "\"\xC3\xA4\"", "\"un"}),
                   Blank(strict)});
  }
  std::string Sample(bool strict) {
    std::string line = Joined({Blank(strict), Pick({"a", "m_bytes", "a:b", "_x9", "a", ""})});
    if (Random(3) > 0) {
      line += Joined({Blank(strict), "{", Blank(strict)});
      for (uint64_t i = 0, labels = Random(4); i < labels; ++i) {
        if (i > 0) line += Joined({",", Blank(strict)});
        line += Label(strict);
      }
      line += Pick({"}", "}", "}", ",}", ""});
    }
    line += Joined({Pick({" ", " ", " ", strict ? " " : "\t", ""}),
                    Pick({"1", "-2.5", "1e3", "+Inf", "NaN", ".5", "7.", "x", "1e", "0x1", ""})});
    if (Random(3) == 0) {
      line += ' ';
      line += Pick({"1234", "-5", "1.5", "1e9", "x", "99999999999999999999"});
    }
    if (Random(5) == 0) line += Pick({" # {id=\"1\"} 1", " # ", " #{", " # {"});
    return line + Blank(strict);
  }

  uint64_t state_;
};

TEST_CASE("plain exposition: both parsers read the same") {
  size_t entries = 0;
  size_t refused = 0;
  for (uint64_t seed = 0; seed < 3000; ++seed) {
    const bool strict = seed % 2 == 1;
    const std::string body = Generator(seed).Body(strict);
    CAPTURE(body);
    const Entries plain = PlainParser(body, strict).Parse();
    const Entries read = Entered(body, strict ? TextFormat::kOpenMetrics : TextFormat::kPrometheus);
    REQUIRE(read == plain);
    entries += read.size();
    refused += !read.empty() && read.back() == "error" ? 1 : 0;
  }
  // The tokens are neither all right nor all wrong.
  CHECK(refused > 300);
  CHECK(entries > 3000);
}

}  // namespace
}  // namespace varve
