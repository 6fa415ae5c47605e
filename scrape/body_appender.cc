// SPDX-License-Identifier: Apache-2.0
//
// Labels are built for a line only when it is new, or when storage has forgotten its series; the
// text to build them from is then still in the body.
#include "scrape/body_appender.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>

#include "model/relabel.h"
#include "model/sample.h"
#include "model/status_macros.h"

namespace varve {
namespace {

constexpr std::string_view kExportedPrefix = "exported_";
// Bytes of a metric, name or value that a limit's error quotes.
constexpr size_t kQuotedBytesMax = 50;

using LabelPairs = TextParser::LabelPairs;

LabelPairs::iterator FindPair(LabelPairs& pairs, std::string_view name) {
  return std::find_if(pairs.begin(), pairs.end(),
                      [&](const auto& pair) { return pair.first == name; });
}

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

}  // namespace

absl::Status BodyAppender::AppendBody(std::string_view body, TextFormat format,
                                      TimestampMs scrape_time, Appender& appender,
                                      AppendCounts& counts) {
  TextParser parser(body, format);
  Scrape scrape{parser, appender, scrape_time, counts};
  cache_.Begin();
  RETURN_IF_ERROR(AppendLines(scrape));
  if (counts.sample_limit_exceeded) {
    return absl::ResourceExhaustedError("sample limit exceeded");
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

absl::Status BodyAppender::AppendLines(Scrape& scrape) {
  bool at_end = false;
  while (!at_end) {
    absl::Status status;
    if (AppendExpectedLine(scrape, status)) {
      RETURN_IF_ERROR(status);
      continue;
    }
    RETURN_IF_ERROR(AppendNextLine(scrape, at_end));
  }
  return absl::OkStatus();
}

bool BodyAppender::AppendExpectedLine(Scrape& scrape, absl::Status& status) {
  SeriesCache::Entry* const entry = cache_.Expected();
  if (entry == nullptr) return false;
  if (entry->kind <= SeriesCache::kDropped) {
    if (!scrape.parser.AcceptSeries(entry->bytes, entry->hash)) return false;
    status = AppendSample(scrape, *entry, false);
    return true;
  }
  if (!scrape.parser.AcceptLine(entry->bytes, entry->hash)) return false;
  if (entry->kind == SeriesCache::kType) {
    scrape.parser.SetType(static_cast<MetricType>(entry->type));
  }
  cache_.MarkSeen(*entry, false);
  return true;
}

absl::Status BodyAppender::AppendNextLine(Scrape& scrape, bool& at_end) {
  TextParser& parser = scrape.parser;
  ASSIGN_OR_RETURN(const LineKind kind, parser.Next());
  at_end = kind == LineKind::kEnd;
  if (at_end) return absl::OkStatus();
  const uint64_t hash = parser.TextHash();
  const auto bytes = static_cast<uint32_t>(parser.text().size());
  SeriesCache::Entry* entry = cache_.Find(hash, bytes);
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
    entry->ref = metadata_.Add(parser, kind);
    entry->type = static_cast<uint32_t>(parser.type());
  }
  cache_.MarkSeen(*entry, false);
  return absl::OkStatus();
}

absl::Status BodyAppender::AppendSample(Scrape& scrape, SeriesCache::Entry& entry, bool is_new) {
  AppendCounts& counts = scrape.counts;
  ++counts.scraped;
  if (entry.kind == SeriesCache::kDropped) {
    cache_.MarkSeen(entry, false);
    return absl::OkStatus();
  }
  const bool own_time = config_.honor_timestamps && scrape.parser.has_time();
  const bool ends = !own_time || config_.track_timestamps_staleness;
  Labels labels;
  if (entry.ref == 0) {
    ASSIGN_OR_RETURN(labels, BuildLabels(scrape.parser, counts));
    if (labels.empty()) {
      entry.kind = SeriesCache::kDropped;
      cache_.MarkSeen(entry, false);
      return absl::OkStatus();
    }
  }
  const bool first = cache_.MarkSeen(entry, ends);
  ++counts.post_relabel;
  if (!first && !own_time) {
    ++counts.duplicate_timestamp;
    return absl::OkStatus();
  }
  if (config_.limits.samples > 0 && counts.post_relabel > config_.limits.samples) {
    counts.sample_limit_exceeded = true;  // The rest is still read, to report how many there are.
    return absl::OkStatus();
  }
  const TimestampMs time = own_time ? scrape.parser.time() : scrape.time;
  ASSIGN_OR_RETURN(const bool stored, Store(scrape, entry, labels, time));
  if (stored && is_new) ++counts.series_added;
  if (stored && scrape.parser.has_exemplar()) return StoreExemplar(scrape, entry);
  return absl::OkStatus();
}

absl::StatusOr<bool> BodyAppender::Store(Scrape& scrape, SeriesCache::Entry& entry,
                                         const Labels& labels, TimestampMs time) {
  const double value = scrape.parser.value();
  absl::StatusOr<SeriesRef> ref = scrape.appender.Append(SeriesRef{entry.ref}, labels, time, value);
  if (entry.ref != 0 && absl::IsNotFound(ref.status())) {
    ASSIGN_OR_RETURN(const Labels rebuilt, BuildLabels(scrape.parser, scrape.counts));
    ref = scrape.appender.Append(kNoSeries, rebuilt, time, value);
  }
  if (ref.ok()) [[likely]] {
    entry.ref = static_cast<uint64_t>(*ref);
    return true;
  }
  switch (AppendErrorOf(ref.status())) {
    case AppendError::kOutOfOrder:
    case AppendError::kTooOld:
      ++scrape.counts.out_of_order;
      return false;
    case AppendError::kDuplicateTimestamp:
      ++scrape.counts.duplicate_timestamp;
      return false;
    case AppendError::kOutOfBounds:
      ++scrape.counts.out_of_bounds;
      return false;
    case AppendError::kLimit:  // Counted by the storage; the series it has go on.
      return false;
    default:
      return ref.status();
  }
}

absl::Status BodyAppender::StoreExemplar(Scrape& scrape, const SeriesCache::Entry& entry) {
  ASSIGN_OR_RETURN(Exemplar exemplar, scrape.parser.ReadExemplar());
  if (!exemplar.has_time) exemplar.time = scrape.time;
  // Exemplars are examples: one that storage refuses is left out.
  (void)scrape.appender.AppendExemplar(SeriesRef{entry.ref}, Labels(), exemplar);
  return absl::OkStatus();
}

absl::StatusOr<Labels> BodyAppender::BuildLabels(TextParser& parser, AppendCounts& counts) const {
  LabelPairs pairs;
  RETURN_IF_ERROR(parser.ReadLabels(pairs));
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
