// SPDX-License-Identifier: Apache-2.0
//
// Exposition text, read line by line without copying any: Prometheus' format (0.0.4, and 1.0.0 with
// its quoted names) and OpenMetrics 1.0.
//
// A scrape whose lines are known from the last one reads them through AcceptSeries() and
// AcceptLine(), which compare a hash instead of looking at names and labels; Next() takes whatever
// is left. Errors are InvalidArgument, worded as Prometheus words them, with the line's number.
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/storage.h"
#include "model/time.h"

namespace varve {

// The longest line accepted.
inline constexpr size_t kExpositionLineBytesMax = (1u << 24) - 1;
// How much of a line an error quotes.
inline constexpr size_t kExpositionErrorBytesMax = 128;

enum class TextFormat { kPrometheus, kOpenMetrics };

enum class LineKind { kEnd, kSeries, kHelp, kType, kUnit };

// Reads one body. Views handed out point into the body. Not thread-safe.
class TextParser {
 public:
  using LabelPairs = std::vector<std::pair<std::string, std::string>>;

  TextParser(std::string_view body, TextFormat format);

  // Reads the next line that says something; blank lines and other comments are skipped.
  absl::StatusOr<LineKind> Next();

  // If the next line starts with series text of `bytes` bytes whose hash is `hash`, and a valid
  // value follows, reads it as Next() would and returns true; otherwise does nothing.
  bool AcceptSeries(size_t bytes, uint64_t hash);
  // If the next line is one of HELP, TYPE or UNIT of `bytes` bytes whose hash is `hash`, skips it.
  // The caller tells the type it declared to SetType().
  bool AcceptLine(size_t bytes, uint64_t hash);

  // The current line, without its end: for series only the metric and its labels, as written.
  std::string_view text() const { return text_; }
  uint64_t TextHash() const;

  // Of a series.
  double value() const { return value_; }
  bool has_time() const { return has_time_; }
  TimestampMs time() const { return time_; }
  bool has_exemplar() const { return exemplar_begin_ != nullptr; }
  // The exemplar's labels, value and time.
  absl::StatusOr<Exemplar> ReadExemplar() const;
  // Overwrites `pairs` with the metric name (as __name__) and the labels in order of writing,
  // unescaped, bounds and quantiles in their normal form. Names may repeat; values may be empty.
  // InvalidArgument for text that is not UTF-8.
  absl::Status ReadLabels(LabelPairs& pairs);

  // Of HELP, TYPE and UNIT: the metric, and the unescaped text.
  const std::string& metric() const { return metric_; }
  const std::string& help() const { return help_; }
  const std::string& unit() const { return help_; }
  // The last type declared; of bounds and quantiles it decides whether they are normalised.
  MetricType type() const { return type_; }
  void SetType(MetricType type) { type_ = type; }

 private:
  struct LabelSpan {
    std::string_view name;  // Empty: the metric name, which is in `value`.
    std::string_view value;
    bool name_quoted = false;
    bool value_escaped = false;
  };

  char At(const char* p) const { return p < end_ ? *p : '\n'; }
  const char* SkipSpace(const char* p) const;
  const char* LineEnd(const char* p) const;
  void SkipBlank();
  absl::Status CheckLength(const char* line) const;

  absl::StatusOr<LineKind> ReadSeries();
  absl::StatusOr<const char*> ScanLabels(const char* p);
  absl::StatusOr<const char*> ScanLabel(const char* p);
  absl::StatusOr<const char*> ScanQuoted(const char* p, std::string_view& text, bool& escaped,
                                         std::string_view expected) const;
  // Reads value, time and exemplar and moves behind the line. Null `error` when not wanted.
  bool ReadTail(const char* p, absl::Status* error);
  const char* ReadTime(const char* p, absl::Status* error);
  const char* ReadExemplarTail(const char* p, absl::Status* error);

  // Returns true if the line at position_ was one of HELP, TYPE, UNIT; else it was skipped.
  absl::StatusOr<bool> ReadComment(LineKind& kind);
  absl::StatusOr<bool> ReadOpenMetricsComment(LineKind& kind);
  absl::StatusOr<bool> ReadMetadata(const char* p, LineKind& kind);
  absl::StatusOr<const char*> ReadMetricName(const char* p);
  absl::Status ReadHelp(std::string_view text);
  absl::Status ReadType(std::string_view text);
  absl::Status ReadUnit(std::string_view text);

  absl::Status ErrorAt(const char* at, std::string_view message) const;
  absl::Status Unexpected(const char* at, std::string_view expected) const;

  const char* const begin_;
  const char* const end_;
  const TextFormat format_;
  const char* position_;        // Start of what is not read yet.
  const char* line_ = nullptr;  // Start of the current line.
  bool saw_eof_ = false;        // OpenMetrics' `# EOF`.

  std::string_view text_;
  std::vector<LabelSpan> spans_;
  bool spans_valid_ = false;  // Whether spans_ are those of text_.
  double value_ = 0;
  bool has_time_ = false;
  TimestampMs time_ = 0;
  const char* exemplar_begin_ = nullptr;  // At its `{`.
  const char* exemplar_end_ = nullptr;

  std::string metric_;
  std::string help_;
  MetricType type_ = MetricType::kUnknown;
};

// Reads a sample's value as Go's ParseFloat does, without hexadecimal and underscores. Returns the
// first byte behind it; null if there is none or it does not end at a blank, line end or `{`.
const char* ReadSampleValue(const char* p, const char* end, double& value);

// A float as OpenMetrics writes bounds and quantiles: `1.0`, `0.5`, `1e+06`, `+Inf`.
std::string OpenMetricsFloat(double value);

}  // namespace varve
