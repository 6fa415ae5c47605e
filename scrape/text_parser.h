// SPDX-License-Identifier: Apache-2.0
//
// Exposition text, read line by line without copying any: Prometheus' format (0.0.4, and 1.0.0 with
// its quoted names) and OpenMetrics 1.0.
//
// A scrape whose lines are known from the last one reads them through AcceptSeries() and
// AcceptLine(), which compare a hash instead of looking at names and labels; Next() takes whatever
// is left. Errors are InvalidArgument, worded as Prometheus words them, with the line's number.
#pragma once

#include <absl/container/flat_hash_map.h>
#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/exemplar.h"
#include "model/metric_metadata.h"
#include "model/time.h"
#include "scrape/exposition.h"

namespace varve {

// The longest line accepted.
inline constexpr size_t kExpositionLineBytesMax = (1u << 24) - 1;
// How much of a line an error quotes.
inline constexpr size_t kExpositionErrorBytesMax = 128;

enum class TextFormat { kPrometheus, kOpenMetrics };

struct TextParserOptions {
  // Whether the `_created` samples of OpenMetrics' counters, histograms and summaries are no
  // entries but start times: those of the series of their metric with their labels. Lines are then
  // to be read with Next() alone.
  bool start_times = false;
  // Whether series have the labels __type__ and __unit__, as said of their metric. This holds for
  // lines read with Next() that ReadLabels() is called for at once.
  bool metadata_labels = false;
};

// Views handed out point into the body.
class TextParser final : public ExpositionReader {
 public:
  TextParser(std::string_view body, TextFormat format, TextParserOptions options = {});

  // Reads the next line that says something; blank lines and other comments are skipped.
  absl::StatusOr<LineKind> Next() override;

  // If the next line starts with series text of `bytes` bytes whose hash is `hash`, and a valid
  // value follows, reads it as Next() would and returns true; otherwise does nothing.
  bool AcceptSeries(size_t bytes, uint64_t hash);
  // If the next line is one of HELP, TYPE or UNIT of `bytes` bytes whose hash is `hash`, skips it.
  // The caller tells the type it declared to SetType().
  bool AcceptLine(size_t bytes, uint64_t hash);

  // The current line, without its end: for series only the metric and its labels, as written.
  std::string_view text() const { return text_; }
  uint64_t KeyHash() const override;
  uint32_t KeyBytes() const override { return static_cast<uint32_t>(text_.size()); }

  absl::StatusOr<Exemplar> ReadExemplar() const;  // REQUIRES: has_exemplars().
  absl::Status ReadExemplars(std::vector<Exemplar>& exemplars) const override;
  absl::Status ReadLabels(LabelPairs& pairs) override;

  // Of bounds and quantiles the type decides whether they are normalised.
  void SetType(MetricType type) { type_ = type; }

 private:
  struct LabelSpan {
    std::string_view name;  // Empty: the metric name, which is in `value`.
    std::string_view value;
    bool name_quoted = false;
    bool value_escaped = false;
  };

  char At(const char* p) const { return p < end_ ? *p : '\n'; }
  // Only Prometheus' format has optional blanks.
  const char* SkipSpace(const char* p) const {
    if (format_ == TextFormat::kPrometheus) {
      while (p < end_ && (*p == ' ' || *p == '\t')) ++p;
    }
    return p;
  }
  const char* LineEnd(const char* p) const;
  void SkipBlank();
  absl::Status CheckLength(const char* line) const;

  absl::StatusOr<LineKind> ReadSeries();
  // Of start times. Whether the current series is one, and what it and its metric's series share.
  bool IsCreated() const;
  std::string_view SeriesName() const;
  uint64_t IdentityHash() const;
  // Reads those in the lines up to the next metric.
  void ReadStartTimes();
  TimestampMs FindStartTime();
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
  void NoteMetadata(LineKind kind, bool same_metric);

  absl::Status ErrorAt(const char* at, std::string_view message) const;
  absl::Status Unexpected(const char* at, std::string_view expected) const;

  const char* const begin_;
  const char* const end_;
  const TextFormat format_;
  const bool start_times_;
  const bool metadata_labels_;
  const char* position_;        // Start of what is not read yet.
  const char* line_ = nullptr;  // Start of the current line.
  bool saw_eof_ = false;        // OpenMetrics' `# EOF`.

  std::string_view text_;
  std::vector<LabelSpan> spans_;
  bool spans_valid_ = false;              // Whether spans_ are those of text_.
  const char* exemplar_begin_ = nullptr;  // At its `{`.
  const char* exemplar_end_ = nullptr;
  // Of the current metric by IdentityHash(), from the first of its series on.
  absl::flat_hash_map<uint64_t, TimestampMs> starts_;
  bool starts_read_ = false;
  // What was said of metric_, and all of it hashed. With metadata_labels_ only.
  MetricType metric_type_ = MetricType::kUnknown;
  std::string_view unit_text_;
  std::string_view metric_unit_;
  uint64_t metadata_hash_ = 0;
};

// Reads a sample's value as Go's ParseFloat does, without hexadecimal and underscores. Returns the
// first byte behind it; null if there is none or it does not end at a blank, line end or `{`.
const char* ReadSampleValue(const char* p, const char* end, double& value);

}  // namespace varve
