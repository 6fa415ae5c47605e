// SPDX-License-Identifier: Apache-2.0
//
// Labels are built for a line only when it is new, or when storage has forgotten its series; the
// text to build them from is then still in the body.
#include "scrape/body_appender.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <utility>

#include "model/histogram_math.h"
#include "model/relabel.h"
#include "model/sample.h"
#include "model/status_macros.h"
#include "scrape/classic_histograms.h"
#include "scrape/proto_parser.h"

namespace varve {
namespace {

constexpr std::string_view kExportedPrefix = "exported_";
// Bytes of a metric, name or value that a limit's error quotes.
constexpr size_t kQuotedBytesMax = 50;
// Storage is told of a series as many lines before its own: that is about how long memory takes.
constexpr size_t kSoonLines = 16;

absl::Status CheckUnique(const LabelPairs& pairs) {
  std::vector<std::string_view> names;
  names.reserve(pairs.size());
  for (const auto& [name, value] : pairs) names.push_back(name);
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice == names.end()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("label name {} is not unique: invalid sample", Quoted(*twice)));
}

std::string_view Cut(std::string_view text) { return text.substr(0, kQuotedBytesMax); }

// Counts a sample that storage refused; the status again if that fails the scrape.
absl::Status CountRefused(const absl::Status& refused, AppendCounts& counts) {
  switch (AppendErrorOf(refused)) {
    case AppendError::kOutOfOrder:
    case AppendError::kTooOld:
      ++counts.out_of_order;
      return absl::OkStatus();
    case AppendError::kDuplicateTimestamp:
      ++counts.duplicate_timestamp;
      return absl::OkStatus();
    case AppendError::kOutOfBounds:
      ++counts.out_of_bounds;
      return absl::OkStatus();
    case AppendError::kLimit:  // Counted by the storage; the series it has go on.
      return absl::OkStatus();
    default:
      return refused;
  }
}

}  // namespace

absl::StatusOr<Histogram> LimitHistogram(const ScrapeConfig& config, const Histogram& histogram) {
  const uint64_t limit = config.native_histogram_bucket_limit;
  const auto too_many = [limit](const Histogram& h) {
    return limit > 0 && h.positive.counts.size() + h.negative.counts.size() > limit;
  };
  const absl::Status exceeded = absl::ResourceExhaustedError("histogram bucket limit exceeded");
  if (histogram.HasCustomBuckets()) {
    if (too_many(histogram)) return exceeded;
    return histogram;
  }
  RETURN_IF_ERROR(histogram.Validate());
  const auto reduce = [](const Histogram& from, int32_t schema) {
    Histogram reduced = ReduceResolution(from, schema);
    reduced.integer_counts = from.integer_counts;
    reduced.reset_hint = from.reset_hint;
    return reduced;
  };
  Histogram limited = histogram;
  if (config.native_histogram_min_bucket_factor > 1) {
    const double schema =
        std::floor(-std::log2(std::log2(config.native_histogram_min_bucket_factor)));
    if (schema < limited.schema) {
      limited = reduce(limited, std::max(kExponentialSchemaMin, static_cast<int32_t>(schema)));
    }
  }
  while (too_many(limited)) {
    if (limited.schema <= kExponentialSchemaMin) return exceeded;
    limited = reduce(limited, limited.schema - 1);
  }
  return limited;
}

absl::Status BodyAppender::AppendBody(std::string_view body, ExpositionFormat format,
                                      TimestampMs scrape_time, Appender& appender,
                                      AppendCounts& counts) {
  std::optional<TextParser> text;
  std::optional<ProtoParser> proto;
  std::optional<ClassicHistogramReader> converter;
  ExpositionReader* reader = nullptr;
  if (format == ExpositionFormat::kProtobuf) {
    reader = &proto.emplace(body, ProtoParserOptions{histograms_.native, histograms_.always_classic,
                                                     config_.type_and_unit_labels});
  } else {
    reader = &text.emplace(body,
                           format == ExpositionFormat::kOpenMetricsText ? TextFormat::kOpenMetrics
                                                                        : TextFormat::kPrometheus,
                           TextParserOptions{.start_times = config_.start_times,
                                             .metadata_labels = config_.type_and_unit_labels});
  }
  if (histograms_.convert_classic) {
    reader = &converter.emplace(*reader, histograms_.always_classic);
  }
  const bool by_text = text.has_value() && !converter.has_value() && !config_.type_and_unit_labels;
  const bool expects_lines =
      by_text && !(config_.start_times && format == ExpositionFormat::kOpenMetricsText);
  Scrape scrape{*reader, by_text ? &*text : nullptr, expects_lines, appender, scrape_time, counts};
  cache_.Begin();
  RETURN_IF_ERROR(AppendEntries(scrape));
  if (counts.sample_limit_exceeded) {
    return absl::ResourceExhaustedError("sample limit exceeded");
  }
  if (counts.bucket_limit_exceeded) {
    return absl::ResourceExhaustedError("histogram bucket limit exceeded");
  }
  cache_.End(
      [&](SeriesRef ref) {
        // A series that storage has forgotten needs no end; a newer sample is one.
        (void)appender.Append(ref, Labels(), scrape_time, StaleNan());
      },
      [&](uint32_t item) { metadata_.Release(item); });
  return absl::OkStatus();
}

void BodyAppender::AppendFailure(TimestampMs scrape_time, Appender& appender) {
  cache_.Fail(
      [&](SeriesRef ref) { (void)appender.Append(ref, Labels(), scrape_time, StaleNan()); });
}

absl::Status BodyAppender::AppendEntries(Scrape& scrape) {
  for (bool at_end = false; !at_end;) {
    RETURN_IF_ERROR(AppendExpectedLines(scrape));
    RETURN_IF_ERROR(AppendNextEntry(scrape, at_end));
  }
  return absl::OkStatus();
}

inline bool BodyAppender::Admit(Scrape& scrape, SeriesCache::Entry& entry, bool own_time) {
  AppendCounts& counts = scrape.counts;
  const bool first = cache_.MarkSeen(entry, !own_time || config_.track_timestamps_staleness);
  ++counts.post_relabel;
  if (!first && !own_time) {
    ++counts.duplicate_timestamp;
    return false;
  }
  if (config_.limits.samples > 0 && counts.post_relabel > config_.limits.samples) {
    counts.sample_limit_exceeded = true;  // The rest is still read, to report how many there are.
    return false;
  }
  return true;
}

inline bool BodyAppender::NextExpected(Scrape& scrape, KnownSample& sample,
                                       SeriesCache::Entry*& entry, bool& own_way) {
  TextParser& text = *scrape.text;
  while ((entry = cache_.Expected()) != nullptr) {
    if (entry->kind > SeriesCache::kDropped) {
      if (!text.AcceptLine(entry->bytes, entry->hash)) return false;
      if (entry->kind == SeriesCache::kType) text.SetType(static_cast<MetricType>(entry->type));
      cache_.MarkSeen(*entry, false);
      continue;
    }
    if (!text.AcceptSeries(entry->bytes, entry->hash)) return false;
    if (entry->kind == SeriesCache::kDropped) {
      ++scrape.counts.scraped;
      cache_.MarkSeen(*entry, false);
      continue;
    }
    if (entry->ref == 0 || text.has_exemplars() || (config_.honor_timestamps && text.has_time())) {
      own_way = true;
      return false;
    }
    ++scrape.counts.scraped;
    if (!Admit(scrape, *entry, false)) continue;
    sample = {SeriesRef{entry->ref}, scrape.time, text.value(), text.start_time(),
              cache_.RefLater(kSoonLines)};
    return true;
  }
  return false;
}

absl::Status BodyAppender::AppendExpectedLines(Scrape& scrape) {
  if (!scrape.expects_lines) return absl::OkStatus();
  for (;;) {
    SeriesCache::Entry* entry = nullptr;
    bool own_way = false;
    const absl::Status refused = scrape.appender.AppendKnown(
        [&](KnownSample& sample) { return NextExpected(scrape, sample, entry, own_way); });
    if (!refused.ok()) {
      RETURN_IF_ERROR(HandleRefused(scrape, *entry, refused));
    } else if (own_way) {
      RETURN_IF_ERROR(AppendSample(scrape, *entry, false));
    } else {
      return absl::OkStatus();
    }
  }
}

absl::Status BodyAppender::AppendNextEntry(Scrape& scrape, bool& at_end) {
  ExpositionReader& reader = scrape.reader;
  ASSIGN_OR_RETURN(const LineKind kind, reader.Next());
  at_end = kind == LineKind::kEnd;
  if (at_end) return absl::OkStatus();
  const uint64_t hash = reader.KeyHash();
  const uint32_t bytes = reader.KeyBytes();
  SeriesCache::Entry* entry = cache_.Lookup(hash, bytes);
  if (kind == LineKind::kSeries) {
    const bool is_new = entry == nullptr;
    if (is_new) entry = &cache_.Add(hash, bytes, SeriesCache::kSeries);
    return AppendSample(scrape, *entry, is_new);
  }
  if (entry == nullptr) {
    entry = &cache_.Add(hash, bytes,
                        kind == LineKind::kHelp   ? SeriesCache::kHelp
                        : kind == LineKind::kType ? SeriesCache::kType
                                                  : SeriesCache::kUnit);
    entry->ref = metadata_.Add(reader, kind);
    entry->type = static_cast<uint32_t>(reader.type());
  }
  cache_.MarkSeen(*entry, false);
  return absl::OkStatus();
}

absl::Status BodyAppender::AppendSample(Scrape& scrape, SeriesCache::Entry& entry, bool is_new) {
  AppendCounts& counts = scrape.counts;
  const ExpositionReader& reader = scrape.reader;
  ++counts.scraped;
  if (entry.kind == SeriesCache::kDropped) {
    cache_.MarkSeen(entry, false);
    return absl::OkStatus();
  }
  const bool own_time = config_.honor_timestamps && reader.has_time();
  if (entry.ref == 0) return AppendUnnamed(scrape, entry, own_time, is_new);
  if (!Admit(scrape, entry, own_time)) return absl::OkStatus();
  return AppendNow(scrape, entry, Labels(), own_time, is_new);
}

absl::Status BodyAppender::AppendUnnamed(Scrape& scrape, SeriesCache::Entry& entry, bool own_time,
                                         bool is_new) {
  ASSIGN_OR_RETURN(const Labels labels, BuildLabels(scrape.reader, scrape.counts));
  if (labels.empty()) {
    entry.kind = SeriesCache::kDropped;
    cache_.MarkSeen(entry, false);
    return absl::OkStatus();
  }
  if (!Admit(scrape, entry, own_time)) return absl::OkStatus();
  return AppendNow(scrape, entry, labels, own_time, is_new);
}

absl::Status BodyAppender::AppendNow(Scrape& scrape, SeriesCache::Entry& entry,
                                     const Labels& labels, bool own_time, bool is_new) {
  ASSIGN_OR_RETURN(const bool stored,
                   Store(scrape, entry, labels, own_time ? scrape.reader.time() : scrape.time));
  if (stored && is_new) ++scrape.counts.series_added;
  if (stored && scrape.reader.has_exemplars()) return StoreExemplars(scrape, entry);
  return absl::OkStatus();
}

absl::StatusOr<bool> BodyAppender::Store(Scrape& scrape, SeriesCache::Entry& entry,
                                         const Labels& labels, TimestampMs time) {
  std::optional<Histogram> limited;
  if (scrape.reader.histogram() != nullptr) {
    absl::StatusOr<Histogram> histogram = LimitHistogram(config_, *scrape.reader.histogram());
    if (absl::IsResourceExhausted(histogram.status())) {
      scrape.counts.bucket_limit_exceeded = true;
      return false;
    }
    RETURN_IF_ERROR(histogram.status());
    limited = *std::move(histogram);
  }
  const Histogram* const histogram = limited.has_value() ? &*limited : nullptr;
  absl::StatusOr<SeriesRef> ref = StoreValue(scrape, histogram, SeriesRef{entry.ref}, labels, time);
  if (entry.ref != 0 && absl::IsNotFound(ref.status())) {
    ASSIGN_OR_RETURN(const Labels rebuilt, BuildLabels(scrape.reader, scrape.counts));
    ref = StoreValue(scrape, histogram, kNoSeries, rebuilt, time);
  }
  if (ref.ok()) [[likely]] {
    entry.ref = static_cast<uint64_t>(*ref);
    return true;
  }
  RETURN_IF_ERROR(CountRefused(ref.status(), scrape.counts));
  return false;
}

absl::StatusOr<SeriesRef> BodyAppender::StoreValue(Scrape& scrape, const Histogram* histogram,
                                                   SeriesRef ref, const Labels& labels,
                                                   TimestampMs time) const {
  const TimestampMs start_time = config_.start_times ? scrape.reader.start_time() : 0;
  if (histogram == nullptr) {
    return scrape.appender.Append(ref, labels, time, scrape.reader.value(), start_time);
  }
  return scrape.appender.AppendHistogram(ref, labels, time, *histogram, start_time);
}

absl::Status BodyAppender::HandleRefused(Scrape& scrape, SeriesCache::Entry& entry,
                                         const absl::Status& refused) {
  if (!absl::IsNotFound(refused)) return CountRefused(refused, scrape.counts);
  return Store(scrape, entry, Labels(), scrape.time).status();
}

absl::Status BodyAppender::StoreExemplars(Scrape& scrape, const SeriesCache::Entry& entry) {
  std::vector<Exemplar> exemplars;
  RETURN_IF_ERROR(scrape.reader.ReadExemplars(exemplars));
  for (Exemplar& exemplar : exemplars) {
    if (!exemplar.has_time) exemplar.time = scrape.time;
  }
  std::stable_sort(exemplars.begin(), exemplars.end(),
                   [](const Exemplar& a, const Exemplar& b) { return a.time < b.time; });
  for (const Exemplar& exemplar : exemplars) {
    // Exemplars are examples: one that storage refuses is left out.
    (void)scrape.appender.AppendExemplar(SeriesRef{entry.ref}, Labels(), exemplar);
  }
  return absl::OkStatus();
}

absl::StatusOr<Labels> BodyAppender::BuildLabels(ExpositionReader& reader,
                                                 AppendCounts& counts) const {
  LabelPairs pairs;
  RETURN_IF_ERROR(reader.ReadLabels(pairs));
  RETURN_IF_ERROR(CheckUnique(pairs));
  AddTargetLabels(pairs);
  Labels labels = Labels::FromPairs(std::move(pairs));
  if (!config_.metric_relabel_rules.empty()) {
    LabelsBuilder builder(labels);
    if (!Relabel(config_.metric_relabel_rules, builder)) return Labels();
    labels = builder.Build();
  }
  if (labels.empty()) return labels;
  RETURN_IF_ERROR(CheckLabels(labels));
  RETURN_IF_ERROR(CheckLimits(labels, counts));
  return labels;
}

void BodyAppender::AddTargetLabels(LabelPairs& pairs) const {
  LabelPairs clashing;
  for (const LabelView& label : target_labels_) {
    const auto exposed = FindPair(pairs, label.name);
    if (exposed == pairs.end()) {
      pairs.emplace_back(std::string(label.name), std::string(label.value));
      continue;
    }
    if (config_.honor_labels) continue;  // Even an empty one: the metric wants to be without.
    if (!exposed->second.empty()) clashing.push_back(*exposed);
    exposed->second = std::string(label.value);
  }
  // Shorter names first, so that `exported_a` moves out of the way of `a`'s new name.
  std::stable_sort(clashing.begin(), clashing.end(),
                   [](const auto& a, const auto& b) { return a.first.size() < b.first.size(); });
  for (const auto& [name, value] : clashing) {
    std::string renamed = name;
    LabelPairs::iterator taken;
    do {
      renamed.insert(0, kExportedPrefix);
      taken = FindPair(pairs, renamed);
    } while (taken != pairs.end() && !taken->second.empty());
    if (taken != pairs.end()) {
      taken->second = value;
    } else {
      pairs.emplace_back(std::move(renamed), value);
    }
  }
}

absl::Status BodyAppender::CheckLabels(const Labels& labels) const {
  const std::string_view metric = labels.Get(kMetricName);
  if (metric.empty()) {
    return absl::InvalidArgumentError("missing metric name (__name__ label)");
  }
  bool valid = !config_.legacy_names || IsLegacyMetricName(metric);
  for (const LabelView& label : labels) {
    valid = valid && (config_.legacy_names ? IsLegacyLabelName(label.name)
                                           : IsValidUtf8(label.name) && IsValidUtf8(label.value));
  }
  if (valid) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("invalid metric name or label names: {}", labels.ToString()));
}

absl::Status BodyAppender::CheckLimits(const Labels& labels, AppendCounts& counts) const {
  const ScrapeLimits& limits = config_.limits;
  if (limits.labels == 0 && limits.label_name_bytes == 0 && limits.label_value_bytes == 0) {
    return absl::OkStatus();
  }
  const std::string_view metric = Cut(labels.Get(kMetricName));
  counts.label_limit_exceeded = true;
  const size_t size = labels.size();
  if (limits.labels > 0 && size > limits.labels) {
    return absl::ResourceExhaustedError(
        fmt::format("label_limit exceeded (metric: {}, number of labels: {}, limit: {})", metric,
                    size, limits.labels));
  }
  for (const LabelView& label : labels) {
    if (limits.label_name_bytes > 0 && label.name.size() > limits.label_name_bytes) {
      return absl::ResourceExhaustedError(fmt::format(
          "label_name_length_limit exceeded (metric: {}, label name: {}, length: {}, limit: {})",
          metric, Cut(label.name), label.name.size(), limits.label_name_bytes));
    }
    if (limits.label_value_bytes > 0 && label.value.size() > limits.label_value_bytes) {
      return absl::ResourceExhaustedError(
          fmt::format("label_value_length_limit exceeded (metric: {}, label name: {}, value: {}, "
                      "length: {}, limit: {})",
                      metric, Cut(label.name), Quoted(Cut(label.value)), label.value.size(),
                      limits.label_value_bytes));
    }
  }
  counts.label_limit_exceeded = false;
  return absl::OkStatus();
}

}  // namespace varve
