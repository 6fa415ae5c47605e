// SPDX-License-Identifier: Apache-2.0
//
// Linear interpolation between neighbouring samples.
#include "promql/interpolate.h"

#include <absl/types/span.h>

#include <algorithm>
#include <vector>

#include "model/histogram_math.h"
#include "promql/float_pair.h"

namespace varve::promql {

uint64_t SampleWeight(const SeriesSamples& samples) {
  uint64_t weight = samples.times.size();
  for (const HistogramSample& sample : samples.histograms) {
    weight += (sample.histogram->MemoryBytes() + 8) / 16;
  }
  return weight;
}

namespace {

// How many values come before the first block that has no number in it.
size_t NumbersAtFront(absl::Span<const double> values) {
  constexpr size_t kBlock = 32;
  size_t first = 0;
  for (; first + kBlock <= values.size(); first += kBlock) {
    PairTest none{};
#pragma GCC unroll 16
    for (size_t i = 0; i < kBlock; i += 2) {
      const FloatPair pair = LoadPack<FloatPair>(values.data() + first + i);
      none |= pair != pair;
    }
    if ((none[0] | none[1]) != 0) break;
  }
  return first;
}

}  // namespace

void RemoveStale(SeriesSamples& samples) {
  // What is known of values in front holds where these stay; markers may be the same, too.
  samples.known.same = std::min(samples.known.same, samples.known.numbers);
  size_t out = samples.known.numbers;
  out += NumbersAtFront(absl::MakeConstSpan(samples.values).subspan(out));
  while (out < samples.values.size() && !IsStaleNan(samples.values[out])) ++out;
  for (size_t i = out; i < samples.times.size(); ++i) {
    if (IsStaleNan(samples.values[i])) continue;
    if (out != i) {
      samples.times.Set(out, samples.times[i]);
      samples.values[out] = samples.values[i];
      if (!samples.start_times.empty()) samples.start_times[out] = samples.start_times[i];
    }
    ++out;
  }
  samples.times.Truncate(out);
  samples.values.resize(out);
  if (!samples.start_times.empty()) samples.start_times.resize(out);

  out = 0;
  for (size_t i = 0; i < samples.histograms.size(); ++i) {
    if (samples.histograms[i].histogram->IsStale()) continue;
    if (out != i) {
      samples.histograms[out] = std::move(samples.histograms[i]);
      if (!samples.histogram_start_times.empty()) {
        samples.histogram_start_times[out] = samples.histogram_start_times[i];
      }
    }
    ++out;
  }
  samples.histograms.resize(out);
  if (!samples.histogram_start_times.empty()) samples.histogram_start_times.resize(out);
}

void DetectResetHints(SeriesSamples& samples) {
  HistogramPtr previous;
  for (HistogramSample& sample : samples.histograms) {
    const HistogramPtr current = sample.histogram;
    if (previous != nullptr && current->reset_hint == ResetHint::kUnknown && !current->IsStale() &&
        !previous->IsStale()) {
      Histogram hinted = *current;
      hinted.reset_hint =
          DetectHistogramReset(*current, *previous) ? ResetHint::kReset : ResetHint::kNotReset;
      sample.histogram = std::make_shared<const Histogram>(std::move(hinted));
    }
    previous = current;
  }
}

double InterpolateFloats(TimestampMs time1, double value1, TimestampMs time2, double value2,
                         TimestampMs at, bool is_counter) {
  if (is_counter && value2 < value1) value1 = 0;
  return value1 +
         (value2 - value1) * static_cast<double>(at - time1) / static_cast<double>(time2 - time1);
}

Histogram InterpolateHistograms(const HistogramSample& first, const HistogramSample& second,
                                TimestampMs at, bool is_counter) {
  const double fraction =
      static_cast<double>(at - first.time) / static_cast<double>(second.time - first.time);
  if (is_counter && DetectHistogramReset(*second.histogram, *first.histogram)) {
    return MultiplyHistogram(*second.histogram, fraction);
  }
  HistogramMergeNotes notes;
  const Histogram difference = SubtractHistograms(*second.histogram, *first.histogram, notes);
  Histogram result =
      AddHistograms(*first.histogram, MultiplyHistogram(difference, fraction), notes);
  result.reset_hint = first.histogram->reset_hint;
  return result;
}

InterpolatedSample InterpolateAt(const SeriesSamples& samples, TimestampMs min, TimestampMs at,
                                 TimestampMs max) {
  InterpolatedSample result;
  const auto float_begin = std::upper_bound(samples.times.begin(), samples.times.end(), min);
  const auto float_end = std::upper_bound(float_begin, samples.times.end(), max);
  const auto later = [](TimestampMs time, const HistogramSample& sample) {
    return time < sample.time;
  };
  const auto histogram_begin =
      std::upper_bound(samples.histograms.begin(), samples.histograms.end(), min, later);
  const auto histogram_end =
      std::upper_bound(histogram_begin, samples.histograms.end(), max, later);
  if (float_begin != float_end && histogram_begin != histogram_end) {
    result.kind = InterpolatedSample::Kind::kMixedTypes;
    return result;
  }
  if (float_begin != float_end) {
    const auto next = std::lower_bound(float_begin, float_end, at);
    const size_t index = static_cast<size_t>(next - samples.times.begin());
    if (next != float_end && *next == at) {
      result.value = samples.values[index];
    } else if (next == float_begin) {
      return result;
    } else if (next == float_end) {
      result.value = samples.values[index - 1];
    } else {
      result.value = InterpolateFloats(samples.times[index - 1], samples.values[index - 1], *next,
                                       samples.values[index], at, false);
    }
    result.kind = InterpolatedSample::Kind::kFloat;
    return result;
  }
  const auto next = std::lower_bound(
      histogram_begin, histogram_end, at,
      [](const HistogramSample& sample, TimestampMs time) { return sample.time < time; });
  if (next != histogram_end && next->time == at) {
    result.histogram = next->histogram;
  } else if (next == histogram_begin) {
    return result;
  } else if (next == histogram_end) {
    result.histogram = (next - 1)->histogram;
  } else {
    const HistogramSample& previous = *(next - 1);
    if (!Combinable(*previous.histogram, *next->histogram)) {
      result.kind = InterpolatedSample::Kind::kMixedSchemas;
      return result;
    }
    const bool is_counter = previous.histogram->reset_hint != ResetHint::kGauge &&
                            next->histogram->reset_hint != ResetHint::kGauge;
    result.histogram =
        std::make_shared<const Histogram>(InterpolateHistograms(previous, *next, at, is_counter));
  }
  result.kind = InterpolatedSample::Kind::kHistogram;
  return result;
}

}  // namespace varve::promql
