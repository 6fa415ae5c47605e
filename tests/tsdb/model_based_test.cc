// SPDX-License-Identifier: Apache-2.0
//
// Goal: whatever is done to the storage, it answers as a map of samples would.
// Method: random appends (in and out of order, duplicates, histograms, start times, staleness,
// several appenders at once), rollbacks, deletes and their cleaning, maintenance with folds, seals,
// checkpoints, restarts and clock steps, from a printed seed; after each restart and now and then
// everything is read and compared, by any range. Invariant of the model: a sample is there if
// Append and Commit said so, under the documented rules; nothing else is.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <optional>

#include "tests/tsdb/test_values.h"
#include "tsdb/db.h"
#include "tsdb/head.h"

namespace varve {
namespace {

struct ModelSample {
  bool is_histogram = false;
  double value = 0;
  Histogram histogram;
  TimestampMs start = 0;
};

class Model {
 public:
  // `late_window`: the out-of-order window, 0 = none.
  Model(uint64_t seed, DurationMs late_window)
      : random_(seed), late_window_(late_window), db_(MustOpen(Options(), clock_)) {}

  void Step() {
    const uint64_t what = random_() % 100;
    if (what < 78) {
      AppendBatch();
    } else if (what < 80) {
      Delete();
    } else if (what < 86) {
      clock_.Advance(static_cast<DurationMs>(random_() % (20 * kMinute)));
    } else if (what < 87) {
      StepClock();
    } else if (what < 93) {
      REQUIRE(db_->Maintain().ok());
      Retire();
    } else if (what < 95) {
      REQUIRE(db_->Checkpoint().ok());
    } else if (what < 96) {
      const absl::Status status = db_->Seal();
      REQUIRE_MESSAGE(status.ok(), status.ToString());
    } else if (what < 98) {
      Compare();
    } else {
      Restart();
    }
  }

  void Restart() {
    // Without Close() the destructor closes; the crash test covers what a kill leaves.
    db_.reset();
    db_ = MustOpen(Options(), clock_);
    Retire();
    Compare();
  }

  void Compare() {
    CompareRange(kMinTimestamp, kMaxTimestamp);
    const TimestampMs min =
        kBegin + static_cast<TimestampMs>(random_() % (clock_.Now() - kBegin + 1));
    CompareRange(min, min + static_cast<TimestampMs>(random_() % (3 * kHour)));
  }

 private:
  DbOptions Options() {
    return {.path = dir_.path(),
            .retention = 0,
            .out_of_order_window = late_window_,
            .log_epoch_bytes = 4000,
            .hot_epoch = 20 * kMinute,
            .bucket_size = kHour * static_cast<DurationMs>(1 + random_() % 6),
            .write_buffer_bytes = 64 << 10,
            .background = false};
  }

  // A step of the wall clock by up to some days, most often back to about where it was.
  void StepClock() {
    const auto by = static_cast<DurationMs>(random_() % (3 * kDay));
    const TimestampMs ahead = clock_.Now() + by;
    const TimestampMs behind = std::max(clock_.Now() - by, kBegin + kMinute);
    clock_.Set(random_() % 3 == 0 ? ahead : behind);
  }

  // What the storage does once it sees that the newest sample lies too far ahead of the clock:
  // series with such samples begin anew.
  void Retire() {
    const TimestampMs limit = clock_.Now() + 10 * kMinute;
    if (!newest_.has_value() || *newest_ <= limit) return;
    TimestampMs newest = kMinTimestamp;
    for (auto& [labels, last] : last_) {
      if (last.empty()) continue;
      if (last.begin()->first > limit) {
        last.clear();
      } else {
        newest = std::max(newest, last.begin()->first);
      }
    }
    newest_ = newest == kMinTimestamp ? clock_.Now() : newest;
    retired_ = true;
  }

  Labels RandomLabels() {
    return Labels::Of({{"__name__", "m"}, {"s", std::to_string(random_() % 12)}});
  }

  // A delete takes what is there, and nothing that comes later.
  void Delete() {
    const std::string series = std::to_string(random_() % 12);
    const TimestampMs min =
        kBegin + static_cast<TimestampMs>(random_() % (clock_.Now() - kBegin + 1));
    const TimestampMs max = min + static_cast<TimestampMs>(random_() % (2 * kHour));
    REQUIRE(db_->DeleteSeries({{Matcher::Equal("s", series)}}, min, max).ok());
    auto& samples = samples_[Labels::Of({{"__name__", "m"}, {"s", series}}).ToString()];
    samples.erase(samples.lower_bound(min), samples.upper_bound(max));
    if (random_() % 3 == 0) REQUIRE(db_->CleanTombstones().ok());
  }

  void AppendBatch() {
    const auto appender = db_->NewAppender();
    AppendWindow window;
    if (newest_.has_value()) {
      const TimestampMs newest = std::min(*newest_, clock_.Now() + 10 * kMinute);
      window.min = newest - kHour;
      if (late_window_ > 0) window.late_min = newest - late_window_;
    }
    std::map<std::string, std::map<TimestampMs, ModelSample>> batch;
    for (size_t i = random_() % 30; i-- > 0;) {
      const Labels labels = RandomLabels();
      ModelSample sample = RandomSample();
      TimestampMs time = clock_.Now() + static_cast<TimestampMs>(random_() % (2 * kMinute));
      if (random_() % 10 == 0) time -= static_cast<TimestampMs>(random_() % (2 * kHour));
      if (random_() % 20 == 0) time += 9 * kMinute + static_cast<TimestampMs>(random_() % kMinute);
      // Which of two samples at one time stays is not said, if one is late or of a series that
      // began anew.
      if ((late_window_ > 0 || retired_) && IsThere(labels.ToString(), time, batch)) continue;
      if (IsStaleNan(sample.value) && MayEndHistogram(labels.ToString(), batch)) {
        continue;  // It would become a histogram, tested elsewhere.
      }
      if (late_window_ > 0 && window.late_min == kMaxTimestamp &&
          time <= clock_.Now() + 10 * kMinute) {
        window.late_min = time - late_window_;
      }
      const AppendError expected = Judge(labels, time, sample, window, batch);
      const auto result =
          sample.is_histogram
              ? appender->AppendHistogram(kNoSeries, labels, time, sample.histogram, sample.start)
              : appender->Append(kNoSeries, labels, time, sample.value, sample.start);
      const AppendError error = result.ok() ? AppendError::kNone : AppendErrorOf(result.status());
      REQUIRE(static_cast<int>(error) == static_cast<int>(expected));
    }
    if (random_() % 10 == 0) return;  // Rolled back.
    REQUIRE(appender->Commit().ok());
    for (auto& [labels, samples] : batch) {
      for (auto& [time, sample] : samples) {
        newest_ = std::max(newest_.value_or(time), time);
        auto& last = last_[labels];
        if (last.empty() || time > last.begin()->first) last = {{time, sample}};
        samples_[labels][time] = std::move(sample);
      }
    }
  }

  ModelSample RandomSample() {
    ModelSample sample;
    sample.is_histogram = random_() % 6 == 0;
    if (sample.is_histogram) sample.histogram = RandomHistogram(random_);
    sample.value = RandomValue(random_);
    if (random_() % 12 == 0) {
      sample.value = StaleNan();
      if (sample.is_histogram) {
        sample.histogram = Histogram();
        sample.histogram.sum = StaleNan();
        sample.histogram.integer_counts = random_() % 2 == 0;
      }
    }
    if (random_() % 8 == 0) sample.start = kBegin - static_cast<TimestampMs>(random_() % kHour);
    return sample;
  }

  // What the rules say; adds the sample to `batch` if it is to be stored.
  AppendError Judge(const Labels& labels, TimestampMs time, const ModelSample& sample,
                    const AppendWindow& window,
                    std::map<std::string, std::map<TimestampMs, ModelSample>>& batch) {
    const std::string key = labels.ToString();
    if (time > clock_.Now() + 10 * kMinute) return AppendError::kOutOfBounds;
    const auto& in_batch = batch[key];
    const auto& stored = last_[key];
    const bool batch_is_newer =
        !in_batch.empty() && (stored.empty() || in_batch.rbegin()->first > stored.rbegin()->first);
    const auto& last_in = batch_is_newer ? in_batch : stored;
    const bool in_order = time >= window.min && (last_in.empty() || time > last_in.rbegin()->first);
    if (!in_order && time >= window.min && time == last_in.rbegin()->first) {
      const ModelSample& last = last_in.rbegin()->second;
      const bool same = last.is_histogram == sample.is_histogram &&
                        (sample.is_histogram ? last.histogram == sample.histogram
                                             : BitsOf(last.value) == BitsOf(sample.value));
      return same ? AppendError::kNone : AppendError::kDuplicateTimestamp;
    }
    if (!in_order && window.late_min != kMaxTimestamp) {
      if (time < window.late_min) return AppendError::kTooOld;
    } else if (!in_order) {
      return time < window.min ? AppendError::kOutOfBounds : AppendError::kOutOfOrder;
    }
    batch[key][time] = sample;
    return AppendError::kNone;
  }

  bool MayEndHistogram(const std::string& labels,
                       const std::map<std::string, std::map<TimestampMs, ModelSample>>& batch) {
    const auto in_batch = batch.find(labels);
    if (in_batch != batch.end() && !in_batch->second.empty()) {
      return true;  // Perhaps: it depends on which is newer.
    }
    const auto& last = last_[labels];
    return !last.empty() && last.begin()->second.is_histogram;
  }

  bool IsThere(const std::string& labels, TimestampMs time,
               const std::map<std::string, std::map<TimestampMs, ModelSample>>& batch) {
    const auto in_batch = batch.find(labels);
    return samples_[labels].contains(time) ||
           (in_batch != batch.end() && in_batch->second.contains(time));
  }

  void CompareRange(TimestampMs min, TimestampMs max) {
    Contents expected;
    for (const auto& [labels, samples] : samples_) {
      std::vector<std::string> floats;
      std::vector<std::string> histograms;
      for (const auto& [time, sample] : samples) {
        if (time < min || time > max) continue;
        if (sample.is_histogram) {
          histograms.push_back(SampleText(time, sample.histogram, sample.start));
        } else {
          floats.push_back(SampleText(time, sample.value, sample.start));
        }
      }
      floats.insert(floats.end(), histograms.begin(), histograms.end());
      if (!floats.empty()) expected[labels] = std::move(floats);
    }
    Contents found = ReadAll(*db_, min, max);
    // Series whose samples surround the range may be returned without any.
    std::erase_if(found, [](const auto& entry) { return entry.second.empty(); });
    REQUIRE(found == expected);
  }

  TempDir dir_;
  ManualClock clock_{kBegin};
  std::mt19937_64 random_;
  const DurationMs late_window_;
  std::unique_ptr<Db> db_;
  std::map<std::string, std::map<TimestampMs, ModelSample>> samples_;
  // The newest sample of each series ever, deleted or not: what order is judged by.
  std::map<std::string, std::map<TimestampMs, ModelSample>> last_;
  std::optional<TimestampMs> newest_;
  bool retired_ = false;  // Some series at some time.
};

TEST_CASE("storage against a map of samples") {
  const uint64_t seed = TestSeed();
  for (int round = 0; round < TestRounds(4); ++round) {
    CAPTURE(seed + round);
    Model model(seed + round, round % 2 == 0 ? 0 : 90 * kMinute);
    for (int step = 0; step < 600; ++step) {
      CAPTURE(step);
      model.Step();
    }
    model.Restart();
  }
}

}  // namespace
}  // namespace varve
