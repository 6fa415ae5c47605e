// SPDX-License-Identifier: Apache-2.0
//
// Samples are gathered into families first, since a family is what the conventions are about.
#include "app/check_metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "model/metric_metadata.h"
#include "model/status_macros.h"
#include "scrape/text_parser.h"

namespace varve {
namespace {

using LabelNames = std::set<std::string>;

// A family and its metrics: label sets without the label that tells its parts apart.
struct LintFamily {
  bool has_help = false;
  MetricType type = MetricType::kUnknown;
  std::map<LabelPairs, LabelNames> metrics;
  bool duplicates = false;
  std::set<std::pair<std::string, LabelPairs>> samples;
};

using LintFamilies = std::map<std::string, LintFamily>;

struct UnitName {
  std::string_view unit;
  std::string_view base;
};
constexpr std::array<UnitName, 24> kUnits = {
    {{"amperes", "amperes"},    {"bytes", "bytes"},     {"celsius", "celsius"},
     {"grams", "grams"},        {"joules", "joules"},   {"kelvin", "kelvin"},
     {"meters", "meters"},      {"metres", "metres"},   {"seconds", "seconds"},
     {"volts", "volts"},        {"minutes", "seconds"}, {"hours", "seconds"},
     {"days", "seconds"},       {"weeks", "seconds"},   {"kelvins", "kelvin"},
     {"fahrenheit", "celsius"}, {"rankine", "celsius"}, {"inches", "meters"},
     {"yards", "meters"},       {"miles", "meters"},    {"bits", "bytes"},
     {"calories", "joules"},    {"pounds", "grams"},    {"ounces", "grams"}}};
constexpr std::array<std::string_view, 18> kUnitPrefixes = {
    "pico", "nano", "micro", "milli", "centi", "deci", "deca", "hecto", "kilo",
    "kibi", "mega", "mibi",  "giga",  "gibi",  "tera", "tebi", "peta",  "pebi"};
constexpr std::array<std::string_view, 14> kAbbreviations = {
    "s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "tb", "pb", "m", "h", "d"};
constexpr std::array<std::string_view, 5> kTypeNames = {"counter", "gauge", "summary", "histogram",
                                                        "gauge_histogram"};

std::optional<UnitName> FindUnit(std::string_view word) {
  for (const UnitName& unit : kUnits) {
    if (unit.unit == word) return unit;
  }
  return std::nullopt;
}

bool IsCamelCase(std::string_view name) {
  for (size_t i = 1; i < name.size(); ++i) {
    const bool small = name[i - 1] >= 'a' && name[i - 1] <= 'z';
    if (small && name[i] >= 'A' && name[i] <= 'Z') return true;
  }
  return false;
}

std::string LowerName(std::string_view name) {
  std::string lower(name);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  return lower;
}

// Problems of one family.
class FamilyLint {
 public:
  FamilyLint(const std::string& name, const LintFamily& family,
             std::vector<std::pair<std::string, std::string>>& problems)
      : name_(name), family_(family), problems_(problems) {}

  void Run() {
    if (!family_.has_help) Report("no help text");
    if (family_.duplicates) Report("metric not unique");
    Units();
    Counters();
    ReservedNames();
    TypeInName();
    if (name_.find(':') != std::string::npos) Report("metric names should not contain ':'");
    CamelCase();
    Abbreviations();
  }

 private:
  void Report(std::string text) { problems_.emplace_back(name_, std::move(text)); }

  // A unit, as it is or behind a prefix, that is not the base one.
  void Units() {
    for (std::string_view rest = name_; !rest.empty();) {
      const std::string_view word = rest.substr(0, rest.find('_'));
      rest.remove_prefix(std::min(word.size() + 1, rest.size()));
      std::optional<UnitName> found = FindUnit(word);
      bool prefixed = false;
      for (const std::string_view prefix : kUnitPrefixes) {
        if (found || !word.starts_with(prefix)) continue;
        found = FindUnit(word.substr(prefix.size()));
        prefixed = found.has_value();
      }
      if (!found) continue;
      if (prefixed || found->base != found->unit) {
        Report(fmt::format("use base unit \"{}\" instead of \"{}\"", found->base, word));
      }
      return;
    }
  }

  void Counters() {
    const bool total = name_.ends_with("_total");
    if (family_.type == MetricType::kCounter && !total) {
      Report(R"(counter metrics should have "_total" suffix)");
    }
    if (family_.type != MetricType::kCounter && family_.type != MetricType::kUnknown && total) {
      Report(R"(non-counter metrics should not have "_total" suffix)");
    }
  }

  void ReservedNames() {
    if (family_.type == MetricType::kUnknown) return;
    const bool histogram = family_.type == MetricType::kHistogram;
    const bool summary = family_.type == MetricType::kSummary;
    if (!histogram && name_.ends_with("_bucket")) {
      Report(R"(non-histogram metrics should not have "_bucket" suffix)");
    }
    for (const std::string_view suffix : {"_count", "_sum"}) {
      if (!histogram && !summary && name_.ends_with(suffix)) {
        Report(fmt::format("non-histogram and non-summary metrics should not have \"{}\" suffix",
                           suffix));
      }
    }
    for (const auto& [labels, names] : family_.metrics) {
      if (!histogram && names.contains("le")) {
        Report(R"(non-histogram metrics should not have "le" label)");
      }
      if (!summary && names.contains("quantile")) {
        Report(R"(non-summary metrics should not have "quantile" label)");
      }
    }
  }

  void TypeInName() {
    const std::string lower = LowerName(name_);
    for (const std::string_view type : kTypeNames) {
      if (lower.find(fmt::format("_{}_", type)) != std::string::npos ||
          lower.ends_with(fmt::format("_{}", type))) {
        Report(fmt::format("metric name should not include type '{}'", type));
      }
    }
  }

  void CamelCase() {
    if (IsCamelCase(name_)) {
      Report("metric names should be written in 'snake_case' not 'camelCase'");
    }
    for (const auto& [labels, names] : family_.metrics) {
      for (const std::string& name : names) {
        if (IsCamelCase(name)) {
          Report("label names should be written in 'snake_case' not 'camelCase'");
        }
      }
    }
  }

  void Abbreviations() {
    const std::string lower = LowerName(name_);
    for (const std::string_view unit : kAbbreviations) {
      if (lower.find(fmt::format("_{}_", unit)) != std::string::npos ||
          lower.ends_with(fmt::format("_{}", unit))) {
        Report("metric names should not contain abbreviated units");
      }
    }
  }

  const std::string& name_;
  const LintFamily& family_;
  std::vector<std::pair<std::string, std::string>>& problems_;
};

// The declared family that a sample called `name` belongs to; its own if there is none.
std::string FamilyOf(const LintFamilies& families, const std::string& name) {
  const auto is = [&families](const std::string& family, std::initializer_list<MetricType> types) {
    const auto found = families.find(family);
    return found != families.end() &&
           std::find(types.begin(), types.end(), found->second.type) != types.end();
  };
  const auto without = [&name](std::string_view suffix) {
    return name.ends_with(suffix) ? name.substr(0, name.size() - suffix.size()) : std::string();
  };
  for (const std::string_view suffix : {"_count", "_sum"}) {
    const std::string family = without(suffix);
    if (is(family, {MetricType::kHistogram, MetricType::kSummary})) return family;
  }
  const std::string family = without("_bucket");
  return is(family, {MetricType::kHistogram}) ? family : name;
}

absl::Status Gather(std::string_view text, LintFamilies& families) {
  TextParser parser(text, TextFormat::kPrometheus);
  for (;;) {
    ASSIGN_OR_RETURN(const LineKind kind, parser.Next());
    if (kind == LineKind::kEnd) return absl::OkStatus();
    if (kind == LineKind::kHelp) families[parser.metric()].has_help = true;
    if (kind == LineKind::kType) families[parser.metric()].type = parser.type();
    if (kind != LineKind::kSeries) continue;
    LabelPairs pairs;
    RETURN_IF_ERROR(parser.ReadLabels(pairs));
    std::string name;
    for (const auto& [label, value] : pairs) {
      if (label == "__name__") name = value;
    }
    std::erase_if(pairs, [](const auto& pair) { return pair.first == "__name__"; });
    std::sort(pairs.begin(), pairs.end());
    LintFamily& family = families[FamilyOf(families, name)];
    if (!family.samples.emplace(name, pairs).second) family.duplicates = true;
    const MetricType type = family.type;
    std::erase_if(pairs, [type](const auto& pair) {
      return (type == MetricType::kHistogram && pair.first == "le") ||
             (type == MetricType::kSummary && pair.first == "quantile");
    });
    LabelNames names;
    for (const auto& [label, value] : pairs) names.insert(label);
    family.metrics.insert_or_assign(std::move(pairs), std::move(names));
  }
}

}  // namespace

CheckResult CheckMetrics(std::string_view text) {
  CheckResult result;
  LintFamilies families;
  if (const absl::Status status = Gather(text, families); !status.ok()) {
    result.code = kCheckFailed;
    result.err = fmt::format("error while linting: {}\n", MessageOf(status));
    return result;
  }
  std::vector<std::pair<std::string, std::string>> problems;
  for (const auto& [name, family] : families) {
    if (!family.metrics.empty()) FamilyLint(name, family, problems).Run();
  }
  std::sort(problems.begin(), problems.end());
  for (const auto& [metric, problem] : problems) {
    result.err += fmt::format("{} {}\n", metric, problem);
  }
  if (!problems.empty()) result.code = kCheckLint;
  return result;
}

}  // namespace varve
