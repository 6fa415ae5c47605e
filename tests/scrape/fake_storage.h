// SPDX-License-Identifier: Apache-2.0
//
// A storage for scrapes: it remembers commits as text and can be told to refuse.
#pragma once

#include <absl/types/span.h>
#include <fmt/format.h>

#include <bit>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/appendable.h"
#include "model/exemplar.h"
#include "model/metric_metadata.h"
#include "model/mutex.h"
#include "model/sample.h"
#include "model/series_ref.h"
#include "model/status_macros.h"

namespace varve {

// Thread-safe.
class FakeStorage : public Appendable {
 public:
  struct Sample {
    std::string series;
    TimestampMs time = 0;
    double value = 0;
    std::string histogram;  // As text; empty for a float.
    TimestampMs start_time = 0;
  };

  std::unique_ptr<Appender> NewAppender() override { return std::make_unique<FakeAppender>(*this); }
  std::vector<absl::Status> CommitAll(absl::Span<Appender* const> appenders) override {
    {
      MutexLock lock(mutex_);
      commit_sizes_.push_back(appenders.size());
    }
    return Appendable::CommitAll(appenders);
  }

  // How many appenders were committed at once, for each time since the last call.
  std::vector<size_t> TakeCommitSizes() {
    MutexLock lock(mutex_);
    return std::exchange(commit_sizes_, {});
  }

  // `series value@time` of each committed sample since the last call, without those whose series
  // name starts with `without`. A staleness marker prints as `stale`, a start time as ` since
  // TIME`.
  std::vector<std::string> TakeTexts(std::string_view without = "scrape_") {
    MutexLock lock(mutex_);
    std::vector<std::string> texts;
    for (const Sample& sample : committed_) {
      if (!without.empty() && sample.series.starts_with(without)) continue;
      const std::string value = !sample.histogram.empty()  ? sample.histogram
                                : IsStaleNan(sample.value) ? "stale"
                                                           : FormatFloat(sample.value);
      texts.push_back(fmt::format("{} {}@{}", sample.series, value, sample.time));
      if (sample.start_time != 0) texts.back() += fmt::format(" since {}", sample.start_time);
    }
    committed_.clear();
    return texts;
  }

  // The last committed sample of `series`, or nothing.
  std::optional<Sample> Last(const std::string& series) const {
    MutexLock lock(mutex_);
    const auto found = last_.find(series);
    return found == last_.end() ? std::nullopt : std::optional(found->second);
  }

  // `series {labels} value@time` of each committed exemplar since the last call.
  std::vector<std::string> TakeExemplars() {
    MutexLock lock(mutex_);
    return std::exchange(exemplars_, {});
  }

  // `name type help` of each committed metadata since the last call.
  std::vector<std::string> TakeMetadata() {
    MutexLock lock(mutex_);
    return std::exchange(metadata_, {});
  }

  // Commits fail, or no longer do.
  void set_fails(bool fails) {
    MutexLock lock(mutex_);
    fails_ = fails;
  }

  // Refs given out so far become unknown.
  void ForgetSeries() {
    MutexLock lock(mutex_);
    labels_.clear();
    refs_.clear();
  }

  // Series after so many are refused (kLimit); 0 = none are.
  void set_series_max(uint64_t series_max) {
    MutexLock lock(mutex_);
    series_max_ = series_max;
  }

  uint64_t label_appends() const {
    MutexLock lock(mutex_);
    return label_appends_;
  }

 private:
  class FakeAppender : public Appender {
   public:
    explicit FakeAppender(FakeStorage& storage) : storage_(storage) {}

    absl::StatusOr<SeriesRef> Append(SeriesRef ref, const Labels& labels, TimestampMs time,
                                     double value, TimestampMs start_time) override {
      MutexLock lock(storage_.mutex_);
      ASSIGN_OR_RETURN(ref, FindOrMake(ref, labels));
      const std::string& series = storage_.labels_[ref];
      const auto last = storage_.last_.find(series);
      if (last != storage_.last_.end() && time < last->second.time) {
        return AppendErrorStatus(AppendError::kOutOfOrder);
      }
      if (last != storage_.last_.end() && time == last->second.time &&
          std::bit_cast<uint64_t>(value) != std::bit_cast<uint64_t>(last->second.value)) {
        return AppendErrorStatus(AppendError::kDuplicateTimestamp);
      }
      pending_.push_back({series, time, value, "", start_time});
      return ref;
    }
    absl::StatusOr<SeriesRef> AppendHistogram(SeriesRef ref, const Labels& labels, TimestampMs time,
                                              const Histogram& histogram,
                                              TimestampMs start_time) override {
      MutexLock lock(storage_.mutex_);
      const absl::Status valid = histogram.Validate();
      if (!valid.ok()) return AppendErrorStatus(AppendError::kInvalidHistogram, MessageOf(valid));
      ASSIGN_OR_RETURN(ref, FindOrMake(ref, labels));
      pending_.push_back({storage_.labels_[ref], time, 0,
                          fmt::format("{}{}{}", histogram.ToString(),
                                      histogram.integer_counts ? "i" : "f", histogram.schema),
                          start_time});
      return ref;
    }
    absl::Status AppendExemplar(SeriesRef ref, const Labels&, const Exemplar& exemplar) override {
      MutexLock lock(storage_.mutex_);
      storage_.exemplars_.push_back(fmt::format("{} {} {}@{}", storage_.labels_[ref],
                                                exemplar.labels.ToString(), exemplar.value,
                                                exemplar.time));
      return absl::OkStatus();
    }
    absl::Status AppendMetadata(std::string_view metric, const MetricMetadata& metadata) override {
      metadata_.push_back(
          fmt::format("{} {} {}", metric, MetricTypeText(metadata.type), metadata.help));
      return absl::OkStatus();
    }
    absl::Status Commit() override {
      MutexLock lock(storage_.mutex_);
      if (storage_.fails_) return absl::UnavailableError("the disk is full");
      storage_.metadata_.insert(storage_.metadata_.end(), metadata_.begin(), metadata_.end());
      for (Sample& sample : pending_) {
        storage_.last_[sample.series] = sample;
        storage_.committed_.push_back(std::move(sample));
      }
      return absl::OkStatus();
    }
    void Rollback() override {
      pending_.clear();
      metadata_.clear();
    }

   private:
    absl::StatusOr<SeriesRef> FindOrMake(SeriesRef ref, const Labels& labels)
        ABSL_EXCLUSIVE_LOCKS_REQUIRED(storage_.mutex_) {
      if (ref != kNoSeries && storage_.labels_.contains(ref)) return ref;
      if (labels.empty()) return absl::NotFoundError("unknown series ref");
      ++storage_.label_appends_;
      const auto [known, made] = storage_.refs_.try_emplace(labels.ToString(), SeriesRef{});
      if (made && storage_.series_max_ > 0 && storage_.refs_.size() > storage_.series_max_) {
        storage_.refs_.erase(known);
        return AppendErrorStatus(AppendError::kLimit);
      }
      if (made) {
        known->second = SeriesRef{storage_.next_ref_++};
        storage_.labels_[known->second] = labels.ToString();
      }
      return known->second;
    }

    FakeStorage& storage_;
    std::vector<Sample> pending_;
    std::vector<std::string> metadata_;
  };

  mutable Mutex mutex_;
  uint64_t next_ref_ ABSL_GUARDED_BY(mutex_) = 1;
  uint64_t series_max_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<size_t> commit_sizes_ ABSL_GUARDED_BY(mutex_);
  bool fails_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t label_appends_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<std::string, SeriesRef> refs_ ABSL_GUARDED_BY(mutex_);
  std::map<SeriesRef, std::string> labels_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, Sample> last_ ABSL_GUARDED_BY(mutex_);
  std::vector<Sample> committed_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::string> exemplars_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::string> metadata_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace varve
