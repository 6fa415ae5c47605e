// SPDX-License-Identifier: Apache-2.0
//
// A hand-written scanner: one pass over each line, no recursion. The end of the body counts as the
// end of a line, so no line has to end in a newline (OpenMetrics: but for `# EOF`, every one).
#include "scrape/text_parser.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstring>

#include "model/check.h"
#include "model/labels.h"
#include "model/sample.h"
#include "model/status_macros.h"

namespace varve {
namespace {

constexpr uint8_t kNameStart = 1;    // [a-zA-Z_]
constexpr uint8_t kNameByte = 2;     // [a-zA-Z0-9_]
constexpr uint8_t kMetricStart = 4;  // [a-zA-Z_:]
constexpr uint8_t kMetricByte = 8;   // [a-zA-Z0-9_:]

constexpr std::array<uint8_t, 256> ByteClasses() {
  std::array<uint8_t, 256> classes = {};
  for (int c = 0; c < 256; ++c) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    const bool digit = c >= '0' && c <= '9';
    classes[c] = (letter ? kNameStart : 0) | (letter || digit ? kNameByte : 0) |
                 (letter || c == ':' ? kMetricStart : 0) |
                 (letter || digit || c == ':' ? kMetricByte : 0);
  }
  return classes;
}
constexpr std::array<uint8_t, 256> kByteClasses = ByteClasses();

bool Is(uint8_t byte_class, char c) {
  return (kByteClasses[static_cast<unsigned char>(c)] & byte_class) != 0;
}

uint64_t HashText(std::string_view text) { return XXH3_64bits(text.data(), text.size()); }

// Escapes of label values (and, in OpenMetrics, of help): \\ \" \n. Others stay as they are.
std::string Unescape(std::string_view text, bool quotes) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size()) {
      const char next = text[i + 1];
      if (next == 'n' || next == '\\' || (next == '"' && quotes)) {
        out += next == 'n' ? '\n' : next;
        ++i;
        continue;
      }
    }
    out += text[i];
  }
  return out;
}

struct TypeName {
  std::string_view text;
  MetricType type;
  bool open_metrics_only;
};
constexpr std::array<TypeName, 9> kTypeNames = {{
    {"counter", MetricType::kCounter, false},
    {"gauge", MetricType::kGauge, false},
    {"histogram", MetricType::kHistogram, false},
    {"summary", MetricType::kSummary, false},
    {"untyped", MetricType::kUnknown, false},
    {"gaugehistogram", MetricType::kGaugeHistogram, true},
    {"info", MetricType::kInfo, true},
    {"stateset", MetricType::kStateset, true},
    {"unknown", MetricType::kUnknown, true},
}};

constexpr std::string_view kCreatedSuffix = "_created";
constexpr double kStartSecondsMax = 9.2e15;  // More milliseconds than a timestamp holds.

// Whether metrics of this type count from a moment on.
bool HasStart(MetricType type) {
  return type == MetricType::kCounter || type == MetricType::kHistogram ||
         type == MetricType::kSummary;
}

// Whether a series of this name is one of the metric.
bool BelongsTo(std::string_view name, std::string_view metric) {
  if (!name.starts_with(metric)) return false;
  name.remove_prefix(metric.size());
  constexpr std::string_view kSuffixes[] = {"",      "_total",   "_bucket", "_sum",   "_count",
                                            "_info", "_created", "_gsum",   "_gcount"};
  return std::find(std::begin(kSuffixes), std::end(kSuffixes), name) != std::end(kSuffixes);
}

bool IsBound(MetricType type, std::string_view label) {
  return (label == kBucketLabel && type == MetricType::kHistogram) ||
         (label == "quantile" && type == MetricType::kSummary);
}

}  // namespace

TextParser::TextParser(std::string_view body, TextFormat format, TextParserOptions options)
    : begin_(body.data()),
      end_(body.data() + body.size()),
      format_(format),
      start_times_(options.start_times && format == TextFormat::kOpenMetrics),
      metadata_labels_(options.metadata_labels),
      position_(begin_) {}

uint64_t TextParser::KeyHash() const { return HashText(text_) ^ metadata_hash_; }

const char* TextParser::LineEnd(const char* p) const {
  if (p >= end_) return end_;
  const void* found = std::memchr(p, '\n', end_ - p);
  return found == nullptr ? end_ : static_cast<const char*>(found);
}

absl::Status TextParser::CheckLength(const char* line) const {
  if (static_cast<size_t>(end_ - line) <= kExpositionLineBytesMax) return absl::OkStatus();
  if (std::memchr(line, '\n', kExpositionLineBytesMax + 1) != nullptr) return absl::OkStatus();
  return ErrorAt(line, fmt::format("line is longer than {} bytes", kExpositionLineBytesMax));
}

absl::Status TextParser::ErrorAt(const char* at, std::string_view message) const {
  const auto line = 1 + std::count(begin_, std::min(at, end_), '\n');
  return absl::InvalidArgumentError(fmt::format("{} (line {})", message, line));
}

absl::Status TextParser::Unexpected(const char* at, std::string_view expected) const {
  const char* const start = line_ == nullptr ? at : line_;
  const char* stop = at;
  while (stop < end_ && stop - at < static_cast<ptrdiff_t>(kExpositionErrorBytesMax) &&
         *stop != ' ' && *stop != '\t' && *stop != '\n') {
    ++stop;
  }
  if (stop == at && stop < end_) ++stop;
  const std::string_view got(at, stop - at);
  std::string_view parsed(start, stop - start);
  if (parsed.size() > kExpositionErrorBytesMax) {
    parsed = parsed.substr(0, kExpositionErrorBytesMax);
  }
  const std::string_view token = at >= end_ ? "EOF" : *at == '\n' ? "LINEBREAK" : "INVALID";
  return ErrorAt(start, fmt::format("{}, got {} ({}) while parsing: {}", expected, Quoted(got),
                                    Quoted(token), Quoted(parsed)));
}

// Moves to the first byte of the next line that is not blank.
void TextParser::SkipBlank() {
  if (format_ == TextFormat::kOpenMetrics) return;
  while (position_ < end_ && (*position_ == ' ' || *position_ == '\t' || *position_ == '\n')) {
    ++position_;
  }
}

absl::StatusOr<LineKind> TextParser::Next() {
  for (;;) {
    SkipBlank();
    spans_valid_ = false;
    has_exemplars_ = false;
    line_ = position_;
    if (position_ >= end_) {
      if (format_ == TextFormat::kOpenMetrics && !saw_eof_) {
        return ErrorAt(position_, "data does not end with # EOF");
      }
      return LineKind::kEnd;
    }
    if (saw_eof_) return ErrorAt(position_, "unexpected data after # EOF");
    RETURN_IF_ERROR(CheckLength(position_));
    if (*position_ != '#') {
      if (!start_times_) return ReadSeries();
      RETURN_IF_ERROR(ReadSeries().status());
      if (IsCreated()) continue;
      start_time_ = FindStartTime();
      return LineKind::kSeries;
    }
    LineKind kind = LineKind::kEnd;
    ASSIGN_OR_RETURN(const bool is_metadata, ReadComment(kind));
    starts_read_ = false;
    if (is_metadata) return kind;
  }
}

bool TextParser::AcceptSeries(size_t bytes, uint64_t hash) {
  const char* p = position_;
  if (format_ == TextFormat::kPrometheus) {
    while (p < end_ && *p == '\n') ++p;
  }
  if (static_cast<size_t>(end_ - p) <= bytes || saw_eof_) return false;
  const std::string_view text(p, bytes);
  if (HashText(text) != hash) return false;
  has_exemplars_ = false;
  line_ = p;
  // Nearly all lines: a blank, the value and the end.
  p += bytes;
  const char* const after = *p == ' ' ? ReadSampleValue(p + 1, end_, value_) : nullptr;
  if (after != nullptr && after < end_ && *after == '\n') [[likely]] {
    has_time_ = false;
    position_ = after + 1;
  } else if (!ReadTail(p, nullptr)) {
    return false;
  }
  text_ = text;
  spans_valid_ = false;
  return true;
}

bool TextParser::AcceptLine(size_t bytes, uint64_t hash) {
  const char* p = position_;
  if (format_ == TextFormat::kPrometheus) {
    while (p < end_ && *p == '\n') ++p;
  }
  if (static_cast<size_t>(end_ - p) <= bytes || p[bytes] != '\n' || saw_eof_) return false;
  const std::string_view text(p, bytes);
  if (HashText(text) != hash) return false;
  text_ = text;
  position_ = p + bytes + 1;
  return true;
}

absl::StatusOr<LineKind> TextParser::ReadSeries() {
  const char* p = position_;
  spans_.clear();
  if (Is(kMetricStart, *p)) {
    do ++p;
    while (p < end_ && Is(kMetricByte, *p));
    spans_.push_back({.name = {}, .value = std::string_view(position_, p - position_)});
  } else if (*p != '{') {
    return Unexpected(p, "expected a valid start token");
  }
  const char* const brace = SkipSpace(p);
  if (At(brace) == '{') {
    ASSIGN_OR_RETURN(p, ScanLabels(brace + 1));
  }
  text_ = std::string_view(position_, p - position_);
  absl::Status error;
  if (!ReadTail(p, &error)) return error;
  spans_valid_ = true;
  return LineKind::kSeries;
}

std::string_view TextParser::SeriesName() const {
  for (const LabelSpan& span : spans_) {
    if (span.name.empty()) return span.value;
  }
  return {};
}

bool TextParser::IsCreated() const {
  return HasStart(type_) && SeriesName().ends_with(kCreatedSuffix);
}

// The labels in any order, without those that tell the series of one metric apart.
uint64_t TextParser::IdentityHash() const {
  uint64_t hash = 0;
  for (const LabelSpan& span : spans_) {
    if (span.name.empty() || IsBound(type_, span.name)) continue;
    hash += XXH3_64bits_withSeed(span.value.data(), span.value.size(), HashText(span.name));
  }
  return hash;
}

// They may stand before or behind the series they belong to. What is malformed is left to Next().
void TextParser::ReadStartTimes() {
  starts_read_ = true;
  starts_.clear();
  const std::string created = metric_ + std::string(kCreatedSuffix);
  const char* next = nullptr;
  for (const char* line = line_; line < end_ && *line != '#'; line = next) {
    const char* const stop = LineEnd(line);
    next = std::min(stop + 1, end_);
    const std::string_view text(line, stop - line);
    if (text.size() > kExpositionLineBytesMax || text.find(kCreatedSuffix) == text.npos) continue;
    TextParser one(std::string_view(line, next - line), format_);
    one.line_ = line;
    one.type_ = type_;
    if (!one.ReadSeries().ok() || one.SeriesName() != created) continue;
    if (!(std::fabs(one.value_) < kStartSecondsMax)) continue;
    starts_.try_emplace(one.IdentityHash(), static_cast<TimestampMs>(one.value_ * kSecond));
  }
}

TimestampMs TextParser::FindStartTime() {
  if (!HasStart(type_) || !BelongsTo(SeriesName(), metric_)) return 0;
  if (!starts_read_) ReadStartTimes();
  if (starts_.empty()) return 0;
  const auto start = starts_.find(IdentityHash());
  return start == starts_.end() ? 0 : start->second;
}

// Reads up to the byte behind the closing brace.
absl::StatusOr<const char*> TextParser::ScanLabels(const char* p) {
  p = SkipSpace(p);
  while (At(p) != '}') {
    ASSIGN_OR_RETURN(p, ScanLabel(p));
    p = SkipSpace(p);
    if (At(p) == ',') {
      p = SkipSpace(p + 1);
    } else if (At(p) != '}') {
      return Unexpected(p, "expected comma or brace close");
    }
  }
  return p + 1;
}

absl::StatusOr<const char*> TextParser::ScanLabel(const char* p) {
  LabelSpan span;
  const char* const start = p;
  if (p < end_ && *p == '"') {
    span.name_quoted = true;
    bool escaped = false;
    ASSIGN_OR_RETURN(p, ScanQuoted(p, span.name, escaped, "expected label name"));
  } else if (p < end_ && Is(kNameStart, *p)) {
    while (p < end_ && Is(kNameByte, *p)) ++p;
    span.name = std::string_view(start, p - start);
  } else {
    return Unexpected(p, "expected label name");
  }
  p = SkipSpace(p);
  if (span.name_quoted && (At(p) == ',' || At(p) == '}')) {
    // A quoted text without a value is the metric's name.
    const bool named = std::any_of(spans_.begin(), spans_.end(),
                                   [](const LabelSpan& other) { return other.name.empty(); });
    if (named) {
      return ErrorAt(
          start,
          fmt::format(
              "metric name already set while parsing: {}",
              Quoted(std::string_view(line_, p - line_).substr(0, kExpositionErrorBytesMax))));
    }
    spans_.push_back({.name = {}, .value = span.name, .value_escaped = true});
    return p;
  }
  if (At(p) != '=') return Unexpected(p, "expected equal");
  p = SkipSpace(p + 1);
  ASSIGN_OR_RETURN(p, ScanQuoted(p, span.value, span.value_escaped, "expected label value"));
  if (span.name.empty()) return ErrorAt(start, "empty label name");
  spans_.push_back(span);
  return p;
}

absl::StatusOr<const char*> TextParser::ScanQuoted(const char* p, std::string_view& text,
                                                   bool& escaped, std::string_view expected) const {
  if (At(p) != '"' || p >= end_) return Unexpected(p, expected);
  const char* const start = ++p;
  const char* const limit = end_ - line_ > static_cast<ptrdiff_t>(kExpositionLineBytesMax)
                                ? line_ + kExpositionLineBytesMax
                                : end_;
  while (p < limit && *p != '"') {
    if (*p == '\\') {
      escaped = true;
      ++p;
      if (p >= limit || *p == '\n') return Unexpected(start - 1, expected);
    }
    ++p;
  }
  if (p >= limit) return Unexpected(start - 1, expected);
  text = std::string_view(start, p - start);
  return p + 1;
}

bool TextParser::ReadTail(const char* p, absl::Status* error) {
  const bool strict = format_ == TextFormat::kOpenMetrics;
  if (strict) {
    if (At(p) != ' ') {
      if (error != nullptr) *error = Unexpected(p, "expected value after metric");
      return false;
    }
    ++p;
  } else {
    const char* const after = SkipSpace(p);
    // A name must be told apart from the value behind it; a brace ends by itself.
    if (after == p && p > begin_ && p[-1] != '}') {
      if (error != nullptr) *error = Unexpected(p, "expected value after metric");
      return false;
    }
    p = after;
  }
  const char* const after = ReadSampleValue(p, end_, value_);
  if (after == nullptr || after == p) {
    if (error != nullptr) *error = Unexpected(p, "expected value after metric");
    return false;
  }
  p = SkipSpace(after);
  has_time_ = false;
  const bool exemplar_next = strict && end_ - p >= 3 && p[0] == ' ' && p[1] == '#';
  if (At(p) != '\n' && !exemplar_next) {
    p = ReadTime(p, error);
    if (p == nullptr) return false;
  }
  if (strict && At(p) == ' ') {
    p = ReadExemplarTail(p, error);
    if (p == nullptr) return false;
  }
  if (At(p) != '\n' || (strict && p >= end_)) {
    if (error != nullptr) *error = Unexpected(p, "expected next entry after timestamp");
    return false;
  }
  position_ = std::min(p + 1, end_);
  return true;
}

const char* TextParser::ReadTime(const char* p, absl::Status* error) {
  if (format_ == TextFormat::kPrometheus) {
    const char* stop = p;
    while (stop < end_ && *stop >= '0' && *stop <= '9') ++stop;
    if (stop == p) {
      if (error != nullptr) *error = Unexpected(p, "expected timestamp or new record");
      return nullptr;
    }
    if (std::from_chars(p, stop, time_).ec != std::errc()) {
      if (error != nullptr) {
        *error = ErrorAt(p, fmt::format("timestamp {} is out of range",
                                        std::string_view(p, std::min<size_t>(stop - p, 32))));
      }
      return nullptr;
    }
    has_time_ = true;
    return SkipSpace(stop);
  }
  double seconds = 0;
  const char* const stop = At(p) == ' ' ? ReadSampleValue(p + 1, end_, seconds) : nullptr;
  if (stop == nullptr || stop == p + 1) {
    if (error != nullptr) *error = Unexpected(p, "expected timestamp or # symbol");
    return nullptr;
  }
  if (!(std::fabs(seconds) < 9.2e15)) {
    if (error != nullptr) *error = ErrorAt(p, fmt::format("invalid timestamp {}", seconds));
    return nullptr;
  }
  time_ = static_cast<TimestampMs>(seconds * 1000);
  has_time_ = true;
  return stop;
}

// ` # {labels} value [time]`: found the end of here, read by ReadExemplar().
const char* TextParser::ReadExemplarTail(const char* p, absl::Status* error) {
  if (end_ - p < 4 || std::memcmp(p, " # {", 4) != 0) {
    if (error != nullptr) *error = Unexpected(p, "expected exemplar");
    return nullptr;
  }
  has_exemplars_ = true;
  exemplar_begin_ = p + 3;
  exemplar_end_ = LineEnd(p);
  return exemplar_end_;
}

absl::StatusOr<Exemplar> TextParser::ReadExemplar() const {
  INVARIANT(has_exemplars_);
  // As a line of its own, an exemplar is a series without a name.
  const size_t bytes = exemplar_end_ - exemplar_begin_;
  TextParser line(std::string_view(exemplar_begin_, bytes + 1), TextFormat::kOpenMetrics);
  line.line_ = line.position_;
  absl::StatusOr<LineKind> kind = line.ReadSeries();
  LabelPairs pairs;
  absl::Status status = kind.status();
  if (status.ok()) status = line.ReadLabels(pairs);
  if (status.ok() && line.has_exemplars()) status = absl::InvalidArgumentError("exemplar twice");
  if (!status.ok()) {
    return ErrorAt(exemplar_begin_, fmt::format("invalid exemplar: {}", MessageOf(status)));
  }
  Exemplar exemplar;
  exemplar.labels = Labels::FromPairs(std::move(pairs));
  exemplar.value = line.value();
  exemplar.has_time = line.has_time();
  exemplar.time = line.time_;
  return exemplar;
}

absl::Status TextParser::ReadExemplars(std::vector<Exemplar>& exemplars) const {
  if (!has_exemplars_) return absl::OkStatus();
  ASSIGN_OR_RETURN(Exemplar exemplar, ReadExemplar());
  exemplars.push_back(std::move(exemplar));
  return absl::OkStatus();
}

absl::Status TextParser::ReadLabels(LabelPairs& pairs) {
  if (!spans_valid_) {
    // The line was accepted by its hash, so its text has been scanned before.
    spans_.clear();
    const char* p = text_.data();
    const char* const stop = p + text_.size();
    while (p < stop && Is(kMetricByte, *p)) ++p;
    if (p > text_.data()) {
      spans_.push_back({.name = {}, .value = std::string_view(text_.data(), p - text_.data())});
    }
    p = SkipSpace(p);
    if (p < stop) RETURN_IF_ERROR(ScanLabels(p + 1).status());
    spans_valid_ = true;
  }
  pairs.clear();
  for (const LabelSpan& span : spans_) {
    std::string name = span.name.empty()  ? std::string(kMetricName)
                       : span.name_quoted ? Unescape(span.name, true)
                                          : std::string(span.name);
    std::string value = span.value_escaped ? Unescape(span.value, true) : std::string(span.value);
    if (!IsValidUtf8(value)) {
      return ErrorAt(text_.data(), fmt::format("invalid UTF-8 label value: {}",
                                               Quoted(value.substr(0, kExpositionErrorBytesMax))));
    }
    if (span.name_quoted && !IsValidUtf8(name)) {
      return ErrorAt(text_.data(), fmt::format("invalid UTF-8 label name: {}",
                                               Quoted(name.substr(0, kExpositionErrorBytesMax))));
    }
    if (IsBound(type_, name)) {
      double bound = 0;
      const char* const value_end = value.data() + value.size();
      if (ReadSampleValue(value.data(), value_end, bound) == value_end) {
        value = OpenMetricsFloat(bound);
      }
    }
    pairs.emplace_back(std::move(name), std::move(value));
  }
  if (metadata_labels_ && BelongsTo(SeriesName(), metric_)) {
    SetMetadataLabels(metric_type_, metric_unit_, pairs);
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> TextParser::ReadComment(LineKind& kind) {
  if (format_ == TextFormat::kOpenMetrics) return ReadOpenMetricsComment(kind);
  const char* const stop = LineEnd(position_);
  const char* p = position_ + 1;
  const char* const word = SkipSpace(p);
  const std::string_view rest(word, stop - word);
  const bool spaced = word > p && rest.size() > 4 && (rest[4] == ' ' || rest[4] == '\t');
  if (!spaced || (rest.substr(0, 4) != "HELP" && rest.substr(0, 4) != "TYPE")) {
    position_ = std::min(stop + 1, end_);
    return false;
  }
  kind = rest[0] == 'H' ? LineKind::kHelp : LineKind::kType;
  return ReadMetadata(SkipSpace(word + 4), kind);
}

absl::StatusOr<bool> TextParser::ReadOpenMetricsComment(LineKind& kind) {
  const char* const stop = LineEnd(position_);
  const std::string_view line(position_, stop - position_);
  if (line == "# EOF") {
    saw_eof_ = true;
    position_ = std::min(stop + 1, end_);
    return false;
  }
  const std::string_view word = line.substr(0, 7);
  if (word == "# HELP ") {
    kind = LineKind::kHelp;
  } else if (word == "# TYPE ") {
    kind = LineKind::kType;
  } else if (word == "# UNIT ") {
    kind = LineKind::kUnit;
  } else {
    return Unexpected(position_, "expected a valid start token");
  }
  if (stop >= end_) return Unexpected(stop, "linebreak expected after metadata");
  return ReadMetadata(position_ + 7, kind);
}

absl::StatusOr<bool> TextParser::ReadMetadata(const char* p, LineKind& kind) {
  const char* const stop = LineEnd(p);
  const std::string metric_before = metadata_labels_ ? metric_ : std::string();
  ASSIGN_OR_RETURN(p, ReadMetricName(p));
  // One blank stands between the name and the text, further ones belong to the text.
  const std::string_view text = p < stop ? std::string_view(p + 1, stop - p - 1) : "";
  switch (kind) {
    case LineKind::kHelp:
      RETURN_IF_ERROR(ReadHelp(text));
      break;
    case LineKind::kType:
      RETURN_IF_ERROR(ReadType(text));
      break;
    default:
      RETURN_IF_ERROR(ReadUnit(text));
      break;
  }
  if (metadata_labels_) NoteMetadata(kind, metric_ == metric_before);
  text_ = std::string_view(line_, stop - line_);
  position_ = std::min(stop + 1, end_);
  return true;
}

absl::StatusOr<const char*> TextParser::ReadMetricName(const char* p) {
  const char* const start = p;
  if (At(p) == '"') {
    std::string_view quoted;
    bool escaped = false;
    ASSIGN_OR_RETURN(p, ScanQuoted(p, quoted, escaped, "expected metric name after HELP"));
    metric_ = Unescape(quoted, true);
    if (!IsValidUtf8(metric_)) return ErrorAt(start, "metric name is not a valid utf8 string");
    return p;
  }
  if (p >= end_ || !Is(kMetricStart, *p)) {
    return Unexpected(p, "expected metric name after HELP");
  }
  while (p < end_ && Is(kMetricByte, *p)) ++p;
  metric_.assign(start, p - start);
  return p;
}

absl::Status TextParser::ReadHelp(std::string_view text) {
  if (!IsValidUtf8(text)) {
    return ErrorAt(line_, fmt::format("help text {} is not a valid utf8 string",
                                      Quoted(text.substr(0, kExpositionErrorBytesMax))));
  }
  help_ = Unescape(text, format_ == TextFormat::kOpenMetrics);
  return absl::OkStatus();
}

absl::Status TextParser::ReadType(std::string_view text) {
  for (const TypeName& name : kTypeNames) {
    const bool known =
        format_ == TextFormat::kOpenMetrics ? name.text != "untyped" : !name.open_metrics_only;
    if (known && name.text == text) {
      type_ = name.type;
      return absl::OkStatus();
    }
  }
  return ErrorAt(line_, fmt::format("invalid metric type {}",
                                    Quoted(text.substr(0, kExpositionErrorBytesMax))));
}

void TextParser::NoteMetadata(LineKind kind, bool same_metric) {
  if (!same_metric) {
    metric_type_ = MetricType::kUnknown;
    metric_unit_ = {};
  }
  if (kind == LineKind::kType) metric_type_ = type_;
  if (kind == LineKind::kUnit) metric_unit_ = unit_text_;
  const uint64_t said = HashText(metric_unit_) + static_cast<uint64_t>(metric_type_);
  metadata_hash_ = XXH3_64bits_withSeed(metric_.data(), metric_.size(), said);
}

absl::Status TextParser::ReadUnit(std::string_view text) {
  const bool suffix = text.empty() || (metric_.size() > text.size() + 1 &&
                                       std::string_view(metric_).ends_with(text) &&
                                       metric_[metric_.size() - text.size() - 1] == '_');
  if (!suffix || !IsValidUtf8(text)) {
    return ErrorAt(line_,
                   fmt::format("unit {} not a suffix of metric {}",
                               Quoted(text.substr(0, kExpositionErrorBytesMax)), Quoted(metric_)));
  }
  help_ = std::string(text);
  unit_text_ = text;
  return absl::OkStatus();
}

}  // namespace varve
