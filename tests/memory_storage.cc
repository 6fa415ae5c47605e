// SPDX-License-Identifier: Apache-2.0
//
// Samples are copied on write: a querier keeps the map it was opened with.
#include "tests/memory_storage.h"

#include <algorithm>
#include <functional>
#include <set>
#include <utility>

#include "model/histogram_math.h"

namespace varve {
namespace {

using Series = std::map<Labels, std::shared_ptr<SeriesSamples>>;

class MemorySeriesSet : public SeriesSet {
 public:
  explicit MemorySeriesSet(const SelectHints& hints)
      : newest_only_(hints.newest_only), presence_only_(hints.presence_only) {}

  void Add(const Labels& labels, std::shared_ptr<const SeriesSamples> samples) {
    series_.emplace_back(labels, std::move(samples));
  }
  void KeepLabels(const std::vector<std::string>& names) {
    for (auto& [labels, samples] : series_) {
      LabelsBuilder builder(labels);
      builder.Keep(names);
      labels = builder.Build();
    }
    // Those alike in another order than before.
    std::reverse(series_.begin(), series_.end());
    std::stable_sort(series_.begin(), series_.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
  }

  // Of two neighbours whose newest samples in [min, max] are alike to who counts, one goes.
  void MergeAlike(TimestampMs min, TimestampMs max) {
    std::vector<std::pair<Labels, std::shared_ptr<const SeriesSamples>>> merged;
    bool last_present = false;
    for (size_t i = 0; i < series_.size(); ++i) {
      SeriesSamples samples;
      ReadOf(*series_[i].second, min, max, samples);
      const bool present = IsOneFloat(samples);
      if (present && last_present && merged.back().first == series_[i].first) {
        ++alike_.back();
        continue;
      }
      merged.push_back(series_[i]);
      alike_.push_back(1);
      last_present = present;
    }
    series_ = std::move(merged);
  }

  size_t size() const override { return series_.size(); }
  const Labels& labels(size_t index) const override { return series_[index].first; }
  uint64_t Alike(size_t index) const override { return alike_.empty() ? 1 : alike_[index]; }

  absl::Status Read(size_t index, TimestampMs min, TimestampMs max,
                    SeriesSamples& samples) const override {
    ReadOf(*series_[index].second, min, max, samples);
    if (newest_only_ && presence_only_ && IsOneFloat(samples)) {
      samples.times = {index % 2 == 0 ? min : max};
    }
    if (index % 2 == 0) TellKnown(samples);
    return absl::OkStatus();
  }

 private:
  static bool IsOneFloat(const SeriesSamples& samples) {
    return samples.times.size() == 1 && samples.histograms.empty() &&
           !IsStaleNan(samples.values[0]);
  }

  void ReadOf(const SeriesSamples& all, TimestampMs min, TimestampMs max,
              SeriesSamples& samples) const {
    samples.Clear();
    for (size_t i = 0; i < all.times.size(); ++i) {
      if (all.times[i] < min || all.times[i] > max) continue;
      samples.times.push_back(all.times[i]);
      const bool any = presence_only_ && !IsStaleNan(all.values[i]);
      samples.values.push_back(any ? -1e-7 : all.values[i]);
      if (!all.start_times.empty()) samples.start_times.push_back(all.start_times[i]);
    }
    for (size_t i = 0; i < all.histograms.size(); ++i) {
      if (all.histograms[i].time < min || all.histograms[i].time > max) continue;
      samples.histograms.push_back(all.histograms[i]);
      if (!all.histogram_start_times.empty()) {
        samples.histogram_start_times.push_back(all.histogram_start_times[i]);
      }
    }
    if (newest_only_) KeepNewest(samples);
  }

  // All that can be known, one value after the other.
  static void TellKnown(SeriesSamples& samples) {
    const std::vector<double> values = std::move(samples.values);
    samples.values.clear();
    for (const double value : values) {
      samples.values.push_back(value);
      samples.Know(1, value == value, value == value, true);
    }
  }

  static void KeepNewest(SeriesSamples& samples) {
    if (samples.times.size() > 1) {
      samples.times = {samples.times.back()};
      samples.values = {samples.values.back()};
      if (!samples.start_times.empty()) samples.start_times = {samples.start_times.back()};
    }
    if (samples.histograms.size() > 1) {
      samples.histograms = {samples.histograms.back()};
      if (!samples.histogram_start_times.empty()) {
        samples.histogram_start_times = {samples.histogram_start_times.back()};
      }
    }
  }

  const bool newest_only_;
  const bool presence_only_;
  std::vector<std::pair<Labels, std::shared_ptr<const SeriesSamples>>> series_;
  std::vector<uint64_t> alike_;  // By series; empty: all stand for themselves.
};

bool InRange(const SeriesSamples& samples, TimestampMs min, TimestampMs max) {
  for (TimestampMs time : samples.times) {
    if (time >= min && time <= max) return true;
  }
  for (const HistogramSample& sample : samples.histograms) {
    if (sample.time >= min && sample.time <= max) return true;
  }
  return false;
}

class MemoryQuerier : public Querier {
 public:
  MemoryQuerier(Series series, TimestampMs min, TimestampMs max)
      : series_(std::move(series)), min_(min), max_(max) {}

  absl::StatusOr<std::unique_ptr<SeriesSet>> Select(const std::vector<Matcher>& matchers,
                                                    const SelectHints& hints) const override {
    auto set = std::make_unique<MemorySeriesSet>(hints);
    for (const auto& [labels, samples] : series_) {
      if (!MatchesAll(matchers, labels)) continue;
      if (!InRange(*samples, std::max(min_, hints.start_ms), std::min(max_, hints.end_ms))) {
        continue;
      }
      if (hints.limit != 0 && set->size() == hints.limit) break;
      set->Add(labels, samples);
    }
    if (hints.grouping_only) set->KeepLabels(hints.grouping);
    if (hints.grouping_only && hints.newest_only && hints.presence_only) {
      set->MergeAlike(hints.start_ms, hints.end_ms);
    }
    return set;
  }

  absl::StatusOr<LabelTexts> LabelNames(const std::vector<std::vector<Matcher>>& matcher_sets,
                                        uint64_t limit) const override {
    std::set<std::string> texts;
    ForEachMatching(matcher_sets, [&](const Labels& labels) {
      for (const LabelView& label : labels) texts.emplace(label.name);
    });
    return Limited(texts, limit);
  }

  absl::StatusOr<LabelTexts> LabelValues(std::string_view name,
                                         const std::vector<std::vector<Matcher>>& matcher_sets,
                                         uint64_t limit) const override {
    std::set<std::string> texts;
    ForEachMatching(matcher_sets, [&](const Labels& labels) {
      const std::string_view value = labels.Get(name);
      if (!value.empty()) texts.emplace(value);
    });
    return Limited(texts, limit);
  }

 private:
  void ForEachMatching(const std::vector<std::vector<Matcher>>& matcher_sets,
                       const std::function<void(const Labels&)>& visit) const {
    for (const auto& [labels, samples] : series_) {
      if (!InRange(*samples, min_, max_)) continue;
      bool matches = matcher_sets.empty();
      for (const std::vector<Matcher>& matchers : matcher_sets) {
        matches = matches || MatchesAll(matchers, labels);
      }
      if (matches) visit(labels);
    }
  }

  static LabelTexts Limited(const std::set<std::string>& texts, uint64_t limit) {
    LabelTexts result;
    for (const std::string& text : texts) {
      if (limit != 0 && result.texts.size() == limit) {
        result.truncated = true;
        break;
      }
      result.texts.push_back(text);
    }
    return result;
  }

  const Series series_;
  const TimestampMs min_;
  const TimestampMs max_;
};

class MemoryAppender : public Appender {
 public:
  explicit MemoryAppender(MemoryStorage& storage) : storage_(storage) {}

  absl::StatusOr<SeriesRef> Append(SeriesRef, const Labels& labels, TimestampMs time, double value,
                                   TimestampMs start_time) override {
    batch_.push_back([this, labels, time, value, start_time] {
      storage_.AddFloat(labels, time, value, start_time);
    });
    return kNoSeries;
  }
  absl::StatusOr<SeriesRef> AppendHistogram(SeriesRef, const Labels& labels, TimestampMs time,
                                            const Histogram& histogram,
                                            TimestampMs start_time) override {
    batch_.push_back([this, labels, time, histogram, start_time] {
      storage_.AddHistogram(labels, time, histogram, start_time);
    });
    return kNoSeries;
  }
  absl::Status AppendExemplar(SeriesRef, const Labels&, const Exemplar&) override {
    return absl::OkStatus();
  }
  absl::Status AppendMetadata(std::string_view, const MetricMetadata&) override {
    return absl::OkStatus();
  }
  absl::Status Commit() override {
    for (const auto& write : batch_) write();
    batch_.clear();
    return absl::OkStatus();
  }
  void Rollback() override { batch_.clear(); }

 private:
  MemoryStorage& storage_;
  std::vector<std::function<void()>> batch_;
};

// Whether `next` can go into the chunk whose last sample is `last`.
enum class Fit { kContinues, kNewChunk, kReset };
Fit FitOf(const Histogram& last, const Histogram& next) {
  if (next.reset_hint == ResetHint::kReset) return Fit::kReset;
  if (last.IsStale() || next.IsStale()) return next.IsStale() ? Fit::kContinues : Fit::kNewChunk;
  if (next.count < last.count) return Fit::kReset;
  if (next.schema != last.schema || next.zero_threshold != last.zero_threshold ||
      next.custom_bounds != last.custom_bounds) {
    return Fit::kNewChunk;
  }
  Histogram unhinted = next;
  unhinted.reset_hint = ResetHint::kUnknown;
  return DetectHistogramReset(unhinted, last) ? Fit::kReset : Fit::kContinues;
}

}  // namespace

SeriesSamples& MemoryStorage::Writable(const Labels& labels) {
  std::shared_ptr<SeriesSamples>& samples = series_[labels];
  if (samples == nullptr) {
    samples = std::make_shared<SeriesSamples>();
  } else if (samples.use_count() > 1) {
    samples = std::make_shared<SeriesSamples>(*samples);
  }
  return *samples;
}

void MemoryStorage::AddFloat(const Labels& labels, TimestampMs time, double value,
                             TimestampMs start_time) {
  MutexLock lock(mutex_);
  SeriesSamples& samples = Writable(labels);
  const auto at = std::lower_bound(samples.times.begin(), samples.times.end(), time);
  const auto index = at - samples.times.begin();
  if (start_time != 0 && samples.start_times.empty()) {
    samples.start_times.resize(samples.times.size(), 0);
  }
  const bool with_starts = start_time != 0 || !samples.start_times.empty();
  if (at != samples.times.end() && *at == time) {
    samples.values[static_cast<size_t>(index)] = value;
    if (with_starts) samples.start_times[static_cast<size_t>(index)] = start_time;
  } else {
    std::vector<TimestampMs> times(samples.times.begin(), samples.times.end());
    times.insert(times.begin() + index, time);
    samples.times = times;
    samples.values.insert(samples.values.begin() + index, value);
    if (with_starts) samples.start_times.insert(samples.start_times.begin() + index, start_time);
  }
}

void MemoryStorage::AddHistogram(const Labels& labels, TimestampMs time, const Histogram& histogram,
                                 TimestampMs start_time) {
  MutexLock lock(mutex_);
  SeriesSamples& samples = Writable(labels);
  Histogram stored = histogram;
  const bool after_float =
      !samples.times.empty() &&
      (samples.histograms.empty() || samples.times.back() > samples.histograms.back().time);
  if (stored.reset_hint != ResetHint::kGauge) {
    if (samples.histograms.empty() || after_float ||
        samples.histograms.back().histogram->reset_hint == ResetHint::kGauge) {
      if (stored.reset_hint != ResetHint::kReset) stored.reset_hint = ResetHint::kUnknown;
    } else {
      switch (FitOf(*samples.histograms.back().histogram, stored)) {
        case Fit::kContinues:
          stored.reset_hint = ResetHint::kNotReset;
          break;
        case Fit::kNewChunk:
          stored.reset_hint = ResetHint::kUnknown;
          break;
        case Fit::kReset:
          // Only an explicit hint survives: a detected one is for the reader to detect again.
          if (stored.reset_hint != ResetHint::kReset) stored.reset_hint = ResetHint::kUnknown;
          break;
      }
    }
  }
  if (start_time != 0 && samples.histogram_start_times.empty()) {
    samples.histogram_start_times.resize(samples.histograms.size(), 0);
  }
  const bool with_starts = start_time != 0 || !samples.histogram_start_times.empty();
  auto shared = std::make_shared<const Histogram>(std::move(stored));
  const auto at = std::lower_bound(
      samples.histograms.begin(), samples.histograms.end(), time,
      [](const HistogramSample& sample, TimestampMs value) { return sample.time < value; });
  const auto index = at - samples.histograms.begin();
  if (at != samples.histograms.end() && at->time == time) {
    at->histogram = std::move(shared);
    if (with_starts) samples.histogram_start_times[static_cast<size_t>(index)] = start_time;
  } else {
    samples.histograms.insert(at, {time, std::move(shared)});
    if (with_starts) {
      samples.histogram_start_times.insert(samples.histogram_start_times.begin() + index,
                                           start_time);
    }
  }
}

void MemoryStorage::Clear() {
  MutexLock lock(mutex_);
  series_.clear();
}

absl::StatusOr<std::unique_ptr<Querier>> MemoryStorage::OpenQuerier(TimestampMs min,
                                                                    TimestampMs max) const {
  MutexLock lock(mutex_);
  return std::make_unique<MemoryQuerier>(series_, min, max);
}

std::unique_ptr<Appender> MemoryStorage::NewAppender() {
  return std::make_unique<MemoryAppender>(*this);
}

}  // namespace varve
