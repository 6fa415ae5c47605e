// SPDX-License-Identifier: Apache-2.0
//
// Merging samples.
#include "tsdb/merge_samples.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "model/status_macros.h"

namespace varve {

namespace {

TimestampMs StartAt(const std::vector<TimestampMs>& starts, size_t index) {
  return starts.empty() ? 0 : starts[index];
}

// Moves elements of two rising lists into one, those of `a` first at equal times, each time once.
// Calls take(from_a, index).
template <typename TimeA, typename TimeB, typename Take>
void Interleave(size_t size_a, size_t size_b, TimeA time_a, TimeB time_b, Take take) {
  TimestampMs last = kMinTimestamp;
  bool any = false;
  for (size_t a = 0, b = 0; a < size_a || b < size_b;) {
    const bool from_a = b == size_b || (a < size_a && time_a(a) <= time_b(b));
    const TimestampMs time = from_a ? time_a(a) : time_b(b);
    if (!any || time != last) take(from_a, from_a ? a : b);
    last = time;
    any = true;
    ++(from_a ? a : b);
  }
}

void MergeFloats(const SeriesSamples& other, SeriesSamples& samples) {
  const bool starts = !samples.start_times.empty() || !other.start_times.empty();
  SeriesSamples merged;
  Interleave(
      samples.times.size(), other.times.size(), [&](size_t i) { return samples.times[i]; },
      [&](size_t i) { return other.times[i]; },
      [&](bool first, size_t i) {
        const SeriesSamples& from = first ? samples : other;
        merged.times.push_back(from.times[i]);
        merged.values.push_back(from.values[i]);
        if (starts) merged.start_times.push_back(StartAt(from.start_times, i));
      });
  samples.times = std::move(merged.times);
  samples.values = std::move(merged.values);
  samples.known = {};
  samples.start_times = std::move(merged.start_times);
}

void MergeHistograms(const SeriesSamples& other, SeriesSamples& samples) {
  const bool starts =
      !samples.histogram_start_times.empty() || !other.histogram_start_times.empty();
  SeriesSamples merged;
  Interleave(
      samples.histograms.size(), other.histograms.size(),
      [&](size_t i) { return samples.histograms[i].time; },
      [&](size_t i) { return other.histograms[i].time; },
      [&](bool first, size_t i) {
        const SeriesSamples& from = first ? samples : other;
        merged.histograms.push_back(from.histograms[i]);
        if (starts) {
          merged.histogram_start_times.push_back(StartAt(from.histogram_start_times, i));
        }
      });
  samples.histograms = std::move(merged.histograms);
  samples.histogram_start_times = std::move(merged.histogram_start_times);
}

// Removes the floats of `other` that `samples` has a histogram for, and the other way round.
void DropMixed(const SeriesSamples& samples, SeriesSamples& other) {
  const auto has_histogram = [&](TimestampMs time) {
    const auto at = std::lower_bound(
        samples.histograms.begin(), samples.histograms.end(), time,
        [](const HistogramSample& sample, TimestampMs wanted) { return sample.time < wanted; });
    return at != samples.histograms.end() && at->time == time;
  };
  const auto has_float = [&](TimestampMs time) {
    return std::binary_search(samples.times.begin(), samples.times.end(), time);
  };
  SeriesSamples kept;
  for (size_t i = 0; i < other.times.size(); ++i) {
    if (has_histogram(other.times[i])) continue;
    kept.times.push_back(other.times[i]);
    kept.values.push_back(other.values[i]);
    if (!other.start_times.empty()) kept.start_times.push_back(other.start_times[i]);
  }
  for (size_t i = 0; i < other.histograms.size(); ++i) {
    if (has_float(other.histograms[i].time)) continue;
    kept.histograms.push_back(std::move(other.histograms[i]));
    if (!other.histogram_start_times.empty()) {
      kept.histogram_start_times.push_back(other.histogram_start_times[i]);
    }
  }
  other = std::move(kept);
}

}  // namespace

TimestampMs LastTimeOf(const SeriesSamples& samples) {
  TimestampMs last = kMinTimestamp;
  if (!samples.times.empty()) last = samples.times.back();
  if (!samples.histograms.empty()) last = std::max(last, samples.histograms.back().time);
  return last;
}

SeriesSamples Within(const SeriesSamples& samples, TimestampMs min, TimestampMs max) {
  SeriesSamples within;
  for (size_t i = 0; i < samples.times.size(); ++i) {
    if (samples.times[i] < min || samples.times[i] > max) continue;
    within.times.push_back(samples.times[i]);
    within.values.push_back(samples.values[i]);
    if (!samples.start_times.empty()) within.start_times.push_back(samples.start_times[i]);
  }
  for (size_t i = 0; i < samples.histograms.size(); ++i) {
    if (samples.histograms[i].time < min || samples.histograms[i].time > max) continue;
    within.histograms.push_back(samples.histograms[i]);
    if (!samples.histogram_start_times.empty()) {
      within.histogram_start_times.push_back(samples.histogram_start_times[i]);
    }
  }
  return within;
}

void MergeSamples(SeriesSamples other, SeriesSamples& samples) {
  const bool mixed = (!other.times.empty() && !samples.histograms.empty()) ||
                     (!other.histograms.empty() && !samples.times.empty());
  if (mixed) DropMixed(samples, other);
  if (!other.times.empty()) MergeFloats(other, samples);
  if (!other.histograms.empty()) MergeHistograms(other, samples);
  samples.cost += other.cost;
}

absl::Status DecodeInto(TimestampMs first_time, SeriesSamples& samples,
                        absl::FunctionRef<absl::Status(SeriesSamples&)> decode) {
  if ((samples.times.empty() && samples.histograms.empty()) || first_time > LastTimeOf(samples)) {
    return decode(samples);
  }
  SeriesSamples other;
  RETURN_IF_ERROR(decode(other));
  MergeSamples(std::move(other), samples);
  return absl::OkStatus();
}

}  // namespace varve
