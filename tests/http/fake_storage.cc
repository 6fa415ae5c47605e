// SPDX-License-Identifier: Apache-2.0
//
// Queriers copy what they need when they are opened.
#include "tests/http/fake_storage.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "model/check.h"
#include "model/status_macros.h"

namespace varve {
namespace {

using SeriesMap = std::map<Labels, SeriesSamples>;

TimestampMs LastTime(const SeriesSamples& samples) {
  TimestampMs last = kMinTimestamp;
  if (!samples.times.empty()) last = samples.times.back();
  if (!samples.histograms.empty()) last = std::max(last, samples.histograms.back().time);
  return last;
}

class FakeSeriesSet : public SeriesSet {
 public:
  explicit FakeSeriesSet(std::vector<std::pair<Labels, SeriesSamples>> series)
      : series_(std::move(series)) {}

  size_t size() const override { return series_.size(); }
  const Labels& labels(size_t index) const override { return series_[index].first; }
  absl::Status Read(size_t index, TimestampMs min, TimestampMs max,
                    SeriesSamples& samples) const override {
    samples.Clear();
    const SeriesSamples& all = series_[index].second;
    for (size_t i = 0; i < all.times.size(); ++i) {
      if (all.times[i] < min || all.times[i] > max) continue;
      samples.times.push_back(all.times[i]);
      samples.values.push_back(all.values[i]);
    }
    for (const HistogramSample& sample : all.histograms) {
      if (sample.time >= min && sample.time <= max) samples.histograms.push_back(sample);
    }
    return absl::OkStatus();
  }

 private:
  const std::vector<std::pair<Labels, SeriesSamples>> series_;
};

class FakeQuerier : public Querier {
 public:
  FakeQuerier(SeriesMap series, Annotations warnings, TimestampMs min, TimestampMs max)
      : series_(std::move(series)), warnings_(std::move(warnings)), min_(min), max_(max) {}

  Annotations Warnings() const override { return warnings_; }

  absl::StatusOr<std::unique_ptr<SeriesSet>> Select(const std::vector<Matcher>& matchers,
                                                    const SelectHints&) const override {
    std::vector<std::pair<Labels, SeriesSamples>> found;
    for (const auto& [labels, samples] : series_) {
      if (InRange(samples) && MatchesAll(matchers, labels)) found.emplace_back(labels, samples);
    }
    return std::make_unique<FakeSeriesSet>(std::move(found));
  }

  absl::StatusOr<LabelTexts> LabelNames(const std::vector<std::vector<Matcher>>& matcher_sets,
                                        uint64_t limit) const override {
    std::set<std::string> texts;
    for (const Labels* labels : Matching(matcher_sets)) {
      for (const LabelView& label : *labels) texts.emplace(label.name);
    }
    return Cut(texts, limit);
  }

  absl::StatusOr<LabelTexts> LabelValues(std::string_view name,
                                         const std::vector<std::vector<Matcher>>& matcher_sets,
                                         uint64_t limit) const override {
    std::set<std::string> texts;
    for (const Labels* labels : Matching(matcher_sets)) {
      if (labels->Has(name)) texts.emplace(labels->Get(name));
    }
    return Cut(texts, limit);
  }

 private:
  bool InRange(const SeriesSamples& samples) const {
    for (const TimestampMs time : samples.times) {
      if (time >= min_ && time <= max_) return true;
    }
    for (const HistogramSample& sample : samples.histograms) {
      if (sample.time >= min_ && sample.time <= max_) return true;
    }
    return false;
  }

  std::vector<const Labels*> Matching(const std::vector<std::vector<Matcher>>& sets) const {
    std::vector<const Labels*> found;
    for (const auto& [labels, samples] : series_) {
      const bool matches =
          sets.empty() || std::any_of(sets.begin(), sets.end(), [&, &l = labels](const auto& set) {
            return MatchesAll(set, l);
          });
      if (matches && InRange(samples)) found.push_back(&labels);
    }
    return found;
  }

  static LabelTexts Cut(const std::set<std::string>& texts, uint64_t limit) {
    LabelTexts result;
    for (const std::string& text : texts) {
      if (limit > 0 && result.texts.size() == limit) {
        result.truncated = true;
        break;
      }
      result.texts.push_back(text);
    }
    return result;
  }

  const SeriesMap series_;
  const Annotations warnings_;
  const TimestampMs min_;
  const TimestampMs max_;
};

}  // namespace

class FakeAppender : public Appender {
 public:
  explicit FakeAppender(FakeStorage& storage) : storage_(storage) {}

  absl::StatusOr<SeriesRef> Append(SeriesRef ref, const Labels& labels, TimestampMs time,
                                   double value, TimestampMs) override {
    return Add(ref, {.labels = labels, .time = time, .value = value});
  }
  absl::StatusOr<SeriesRef> AppendHistogram(SeriesRef ref, const Labels& labels, TimestampMs time,
                                            const Histogram& histogram, TimestampMs) override {
    return Add(ref, {.labels = labels,
                     .time = time,
                     .histogram = std::make_shared<const Histogram>(histogram)});
  }
  absl::Status AppendExemplar(SeriesRef, const Labels&, const Exemplar&) override {
    return absl::OkStatus();
  }
  absl::Status AppendMetadata(std::string_view metric, const MetricMetadata& metadata) override {
    if (metric.empty()) return AppendErrorStatus(AppendError::kInvalidLabels);
    metadata_.push_back({std::string(metric), metadata});
    return absl::OkStatus();
  }
  absl::Status Commit() override { return storage_.Commit(pending_, metadata_); }
  void Rollback() override {
    pending_.clear();
    metadata_.clear();
  }

 private:
  absl::StatusOr<SeriesRef> Add(SeriesRef ref, FakeStorage::Pending sample) {
    MutexLock lock(storage_.mutex_);
    if (ref != kNoSeries && sample.labels.empty()) {
      const uint64_t index = static_cast<uint64_t>(ref) - storage_.first_ref_;
      if (index >= storage_.by_ref_.size()) return absl::NotFoundError("unknown series ref");
      sample.labels = storage_.by_ref_[index];
    }
    const auto found = storage_.series_.find(sample.labels);
    if (found != storage_.series_.end() && sample.time <= LastTime(found->second)) {
      return AppendErrorStatus(AppendError::kOutOfOrder);
    }
    const auto at = std::find(storage_.by_ref_.begin(), storage_.by_ref_.end(), sample.labels);
    const auto index = static_cast<uint64_t>(at - storage_.by_ref_.begin());
    if (at == storage_.by_ref_.end()) {
      if (storage_.series_max_ > 0 && storage_.by_ref_.size() >= storage_.series_max_) {
        return AppendErrorStatus(AppendError::kLimit, "the memory limit is reached");
      }
      storage_.by_ref_.push_back(sample.labels);
    }
    pending_.push_back(std::move(sample));
    return SeriesRef{storage_.first_ref_ + index};
  }

  FakeStorage& storage_;
  std::vector<FakeStorage::Pending> pending_;
  std::vector<MetricFamily> metadata_;
};

absl::StatusOr<std::unique_ptr<Querier>> FakeStorage::OpenQuerier(TimestampMs min,
                                                                  TimestampMs max) const {
  MutexLock lock(mutex_);
  return std::make_unique<FakeQuerier>(series_, warnings_, min, max);
}

void FakeStorage::AddWarning(const std::string& text) {
  MutexLock lock(mutex_);
  warnings_.AddWarning(text);
}

std::unique_ptr<Appender> FakeStorage::NewAppender() {
  return std::make_unique<FakeAppender>(*this);
}

absl::Status FakeStorage::Commit(const std::vector<Pending>& samples,
                                 const std::vector<MetricFamily>& metadata) {
  MutexLock lock(mutex_);
  if (fail_commits_) return absl::UnavailableError("the disk is full");
  for (const MetricFamily& family : metadata) {
    metadata_[family.name] = std::make_shared<const MetricFamily>(family);
  }
  for (const Pending& sample : samples) {
    SeriesSamples& series = series_[sample.labels];
    if (sample.histogram != nullptr) {
      series.histograms.push_back({sample.time, sample.histogram});
    } else {
      series.times.push_back(sample.time);
      series.values.push_back(sample.value);
    }
  }
  return absl::OkStatus();
}

std::vector<MetricFamilyPtr> FakeStorage::Metadata(std::string_view metric) const {
  MutexLock lock(mutex_);
  std::vector<MetricFamilyPtr> found;
  for (const auto& [name, family] : metadata_) {
    if (metric.empty() || name == metric) found.push_back(family);
  }
  return found;
}

CardinalityStats FakeStorage::Cardinality(size_t limit) const {
  CardinalityStats stats;
  stats.head = Head();
  MutexLock lock(mutex_);
  std::map<std::string, uint64_t> by_metric;
  for (const auto& [labels, samples] : series_) ++by_metric[std::string(labels.Get(kMetricName))];
  for (const auto& [name, count] : by_metric) {
    if (stats.series_by_metric.size() < limit) stats.series_by_metric.push_back({name, count});
  }
  return stats;
}

HeadStats FakeStorage::Head() const {
  MutexLock lock(mutex_);
  HeadStats stats;
  stats.series = series_.size();
  return stats;
}

void FakeStorage::Add(std::initializer_list<std::pair<std::string_view, std::string_view>> labels,
                      TimestampMs time, double value) {
  const std::unique_ptr<Appender> appender = NewAppender();
  INVARIANT(appender->Append(kNoSeries, Labels::Of(labels), time, value).ok());
  INVARIANT(appender->Commit().ok());
}

std::string FakeStorage::Dump() const {
  MutexLock lock(mutex_);
  std::string out;
  for (const auto& [labels, samples] : series_) {
    out += labels.ToString();
    for (size_t i = 0; i < samples.times.size(); ++i) {
      const double value = samples.values[i];
      out +=
          fmt::format(" {}@{}", IsStaleNan(value) ? "stale" : FormatFloat(value), samples.times[i]);
    }
    for (const HistogramSample& sample : samples.histograms) {
      out += fmt::format(" {}@{}", sample.histogram->ToString(), sample.time);
    }
    out += "\n";
  }
  return out;
}

void FakeStorage::ForgetRefs() {
  MutexLock lock(mutex_);
  first_ref_ += by_ref_.size();
  by_ref_.clear();
}

void FakeStorage::FailCommits() {
  MutexLock lock(mutex_);
  fail_commits_ = true;
}

absl::Status FakeStorage::DeleteSeries(const std::vector<std::vector<Matcher>>& matcher_sets,
                                       TimestampMs min, TimestampMs max) {
  MutexLock lock(mutex_);
  for (auto& [labels, samples] : series_) {
    const bool selected = std::any_of(
        matcher_sets.begin(), matcher_sets.end(),
        [&labels = labels](const auto& matchers) { return MatchesAll(matchers, labels); });
    if (!selected) continue;
    SeriesSamples kept;
    for (size_t i = 0; i < samples.times.size(); ++i) {
      if (samples.times[i] >= min && samples.times[i] <= max) continue;
      kept.times.push_back(samples.times[i]);
      kept.values.push_back(samples.values[i]);
    }
    samples.times = kept.times;
    samples.values = kept.values;
  }
  return absl::OkStatus();
}

absl::Status FakeStorage::CleanTombstones() {
  MutexLock lock(mutex_);
  ++cleanings_;
  return absl::OkStatus();
}

int FakeStorage::cleanings() const {
  MutexLock lock(mutex_);
  return cleanings_;
}

}  // namespace varve
