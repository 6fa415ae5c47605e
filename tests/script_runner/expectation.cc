// SPDX-License-Identifier: Apache-2.0
//
// Comparison of results.
#include "tests/script_runner/expectation.h"

#include <fmt/format.h>
#include <re2/re2.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <utility>
#include <variant>

#include "model/histogram_math.h"
#include "model/sample.h"
#include "model/status_macros.h"

namespace varve::script {
namespace {

constexpr double kEpsilon = 1e-6;

absl::Status Wrong(std::string_view message) {
  return absl::FailedPreconditionError(std::string(message));
}

// "PromQL warning: text (1:7)" without " (1:7)".
std::string WithoutPosition(const std::string& text) {
  std::string cut = text;
  RE2::Replace(&cut, " \\([0-9]+:[0-9]+\\)$", "");
  return cut;
}

bool SameBuckets(const Buckets& a, const Buckets& b) {
  if (a.spans != b.spans || a.counts.size() != b.counts.size()) return false;
  for (size_t i = 0; i < a.counts.size(); ++i) {
    if (!AlmostEqual(a.counts[i], b.counts[i])) return false;
  }
  return true;
}

bool SameHistograms(const Histogram& expected, bool compare_hint, const Histogram& actual) {
  const Histogram a = CompactHistogram(expected);
  const Histogram b = CompactHistogram(actual);
  return a.schema == b.schema && AlmostEqual(a.count, b.count) && AlmostEqual(a.sum, b.sum) &&
         a.zero_threshold == b.zero_threshold && AlmostEqual(a.zero_count, b.zero_count) &&
         a.custom_bounds == b.custom_bounds && SameBuckets(a.positive, b.positive) &&
         SameBuckets(a.negative, b.negative) && (!compare_hint || a.reset_hint == b.reset_hint);
}

std::string Describe(double value, const Histogram* histogram) {
  if (histogram == nullptr) return FormatFloat(value);
  return fmt::format("{} schema:{} hint:{}", histogram->ToString(), histogram->schema,
                     static_cast<int>(histogram->reset_hint));
}

// One expected value against one actual sample.
absl::Status CompareSample(const Labels& labels, const SequenceValue& expected, double value,
                           const Histogram* histogram) {
  const bool same = expected.histogram.has_value()
                        ? histogram != nullptr &&
                              SameHistograms(*expected.histogram, expected.hint_given, *histogram)
                        : histogram == nullptr && AlmostEqual(*expected.value, value);
  if (same) return absl::OkStatus();
  return Wrong(
      fmt::format("{}: expected {}, got {}", labels.ToString(),
                  Describe(expected.value.value_or(0),
                           expected.histogram.has_value() ? &*expected.histogram : nullptr),
                  Describe(value, histogram)));
}

absl::Status CompareVector(const Expectation& expected, const promql::Vector& vector) {
  std::vector<bool> seen(expected.series.size(), false);
  for (size_t i = 0; i < vector.size(); ++i) {
    const promql::VectorSample& sample = vector[i];
    size_t at = 0;
    while (at < expected.series.size() && expected.series[at].labels != sample.labels) ++at;
    if (at == expected.series.size()) {
      return Wrong(fmt::format("unexpected series {} = {}", sample.labels.ToString(),
                               Describe(sample.value, sample.histogram.get())));
    }
    if (seen[at]) return Wrong("series given twice: " + sample.labels.ToString());
    if (expected.ordered && at != i) {
      return Wrong(fmt::format("series {} is at position {}, expected at {}",
                               sample.labels.ToString(), i + 1, at + 1));
    }
    seen[at] = true;
    RETURN_IF_ERROR(CompareSample(sample.labels, expected.series[at].values[0], sample.value,
                                  sample.histogram.get()));
  }
  for (size_t at = 0; at < seen.size(); ++at) {
    if (!seen[at]) return Wrong("missing series " + expected.series[at].labels.ToString());
  }
  return absl::OkStatus();
}

// The samples of `series` against values at start, start + step, ...
absl::Status CompareSeries(const SeriesLine& expected, const RangeTimes& times,
                           const promql::MatrixSeries& series) {
  size_t floats = 0;
  size_t histograms = 0;
  for (size_t i = 0; i < expected.values.size(); ++i) {
    const SequenceValue& value = expected.values[i];
    if (!value.value.has_value() && !value.histogram.has_value()) continue;
    const TimestampMs time = times.start + static_cast<DurationMs>(i) * times.step;
    const bool has_float = floats < series.floats.size() && series.floats[floats].time == time;
    const bool has_histogram =
        histograms < series.histograms.size() && series.histograms[histograms].time == time;
    if (!has_float && !has_histogram) {
      return Wrong(fmt::format("{}: nothing at {} ms", series.labels.ToString(), time));
    }
    const Histogram* histogram =
        has_histogram ? series.histograms[histograms++].histogram.get() : nullptr;
    const double actual = has_float ? series.floats[floats++].value : 0;
    absl::Status compared = CompareSample(series.labels, value, actual, histogram);
    if (!compared.ok()) {
      return Wrong(fmt::format("{} at {} ms", MessageOf(compared), time));
    }
  }
  if (floats != series.floats.size()) {
    return Wrong(fmt::format("{}: unexpected {} at {} ms", series.labels.ToString(),
                             series.floats[floats].value, series.floats[floats].time));
  }
  if (histograms != series.histograms.size()) {
    return Wrong(fmt::format("{}: unexpected histogram at {} ms", series.labels.ToString(),
                             series.histograms[histograms].time));
  }
  return absl::OkStatus();
}

absl::Status CompareMatrix(const Expectation& expected, const RangeTimes& times,
                           const promql::Matrix& matrix) {
  for (size_t i = 1; i < matrix.size(); ++i) {
    if (!(matrix[i - 1].labels < matrix[i].labels)) return Wrong("the result is not sorted");
  }
  std::vector<bool> seen(expected.series.size(), false);
  for (const promql::MatrixSeries& series : matrix) {
    size_t at = 0;
    while (at < expected.series.size() && expected.series[at].labels != series.labels) ++at;
    if (at == expected.series.size()) {
      return Wrong("unexpected series " + series.labels.ToString());
    }
    seen[at] = true;
    RETURN_IF_ERROR(CompareSeries(expected.series[at], times, series));
  }
  for (size_t at = 0; at < seen.size(); ++at) {
    if (!seen[at]) return Wrong("missing series " + expected.series[at].labels.ToString());
  }
  return absl::OkStatus();
}

absl::Status CompareTexts(std::string_view kind, const std::vector<ExpectedText>& expected,
                          bool none, const std::vector<std::string>& actual, bool exact_positions) {
  if (none && !actual.empty()) return Wrong(fmt::format("unexpected {}: {}", kind, actual[0]));
  if (expected.empty()) return absl::OkStatus();
  if (actual.empty()) return Wrong(fmt::format("expected a {}, got none", kind));
  if (!exact_positions) {
    for (const ExpectedText& text : expected) {
      if (text.regex.has_value()) return absl::OkStatus();
    }
  }
  std::vector<bool> used(expected.size(), false);
  for (const std::string& text : actual) {
    bool matched = false;
    for (size_t i = 0; i < expected.size(); ++i) {
      ExpectedText wanted = expected[i];
      if (!exact_positions && wanted.exact.has_value()) {
        wanted.exact = WithoutPosition(*wanted.exact);
      }
      if (!wanted.Matches(exact_positions ? text : WithoutPosition(text))) continue;
      matched = true;
      used[i] = true;
    }
    if (!matched) return Wrong(fmt::format("unexpected {}: {}", kind, text));
  }
  for (size_t i = 0; i < expected.size(); ++i) {
    if (!used[i]) return Wrong(fmt::format("missing {}: {}", kind, expected[i].Describe()));
  }
  return absl::OkStatus();
}

}  // namespace

bool ExpectedText::Matches(std::string_view text) const {
  if (exact.has_value()) return *exact == text;
  if (regex.has_value())
    return RE2::PartialMatch(re2::StringPiece(text.data(), text.size()), *regex);
  return true;
}

std::string ExpectedText::Describe() const {
  return exact.has_value() ? *exact : regex.has_value() ? "/" + *regex + "/" : "any";
}

bool AlmostEqual(double a, double b) {
  if (IsStaleNan(a) || IsStaleNan(b)) return IsStaleNan(a) && IsStaleNan(b);
  if (std::isnan(a) && std::isnan(b)) return true;
  if (a == b) return true;
  const double sum = std::fabs(a) + std::fabs(b);
  const double difference = std::fabs(a - b);
  if (a == 0 || b == 0 || sum < std::numeric_limits<double>::min()) {
    return difference < kEpsilon * std::numeric_limits<double>::min();
  }
  return difference / std::min(sum, std::numeric_limits<double>::max()) < kEpsilon;
}

absl::Status CompareInstant(const Expectation& expected, const promql::QueryResult& result) {
  if (const auto* matrix = std::get_if<promql::Matrix>(&result.value)) {
    if (!expected.range_vector.has_value()) return Wrong("unexpected range vector");
    return CompareMatrix(expected, *expected.range_vector, *matrix);
  }
  if (expected.range_vector.has_value()) return Wrong("expected a range vector");
  if (const auto* text = std::get_if<promql::StringResult>(&result.value)) {
    if (!expected.text.has_value()) return Wrong("unexpected string " + text->value);
    if (*expected.text == text->value) return absl::OkStatus();
    return Wrong(
        fmt::format("expected string {}, got {}", Quoted(*expected.text), Quoted(text->value)));
  }
  if (expected.text.has_value()) return Wrong("expected a string");
  if (const auto* scalar = std::get_if<promql::ScalarResult>(&result.value)) {
    if (!expected.scalar.has_value()) {
      return Wrong("unexpected scalar " + FormatFloat(scalar->value));
    }
    if (AlmostEqual(*expected.scalar, scalar->value)) return absl::OkStatus();
    return Wrong(fmt::format("expected scalar {}, got {}", FormatFloat(*expected.scalar),
                             FormatFloat(scalar->value)));
  }
  if (expected.scalar.has_value()) return Wrong("expected a scalar");
  return CompareVector(expected, std::get<promql::Vector>(result.value));
}

absl::Status CompareRange(const Expectation& expected, const RangeTimes& times,
                          const promql::QueryResult& result) {
  const auto* matrix = std::get_if<promql::Matrix>(&result.value);
  if (matrix == nullptr) return Wrong("a range query gave no matrix");
  return CompareMatrix(expected, times, *matrix);
}

absl::Status CompareAnnotations(const Expectation& expected, const Annotations& annotations,
                                bool exact_positions) {
  RETURN_IF_ERROR(CompareTexts("warning", expected.warnings, expected.no_warnings,
                               annotations.warnings(), exact_positions));
  return CompareTexts("info", expected.infos, expected.no_infos, annotations.infos(),
                      exact_positions);
}

}  // namespace varve::script
