// SPDX-License-Identifier: Apache-2.0
//
// Values between samples, for the `anchored` and `smoothed` modifiers.
#pragma once

#include "model/queryable.h"
#include "promql/row.h"

namespace varve::promql {

// Takes staleness markers out.
void RemoveStale(SeriesSamples& samples);

// What the samples weigh in the sample limit.
uint64_t SampleWeight(const SeriesSamples& samples);

// Replaces unknown reset hints by what comparing a histogram with its predecessor tells.
void DetectResetHints(SeriesSamples& samples);

struct InterpolatedSample {
  enum class Kind { kNone, kFloat, kHistogram, kMixedTypes, kMixedSchemas };
  Kind kind = Kind::kNone;
  double value = 0;
  HistogramPtr histogram;
};

// The value at `at`, between its neighbours in (min, max]: the sample itself if there is one, the
// previous one if there is no next. REQUIRES: no staleness markers.
InterpolatedSample InterpolateAt(const SeriesSamples& samples, TimestampMs min, TimestampMs at,
                                 TimestampMs max);

// The value at `at` on the line between two floats. A counter that was reset in between is taken
// to have risen from 0.
double InterpolateFloats(TimestampMs time1, double value1, TimestampMs time2, double value2,
                         TimestampMs at, bool is_counter);
// The same for histograms. REQUIRES: Combinable().
Histogram InterpolateHistograms(const HistogramSample& first, const HistogramSample& second,
                                TimestampMs at, bool is_counter);

}  // namespace varve::promql
