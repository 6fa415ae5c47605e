// SPDX-License-Identifier: Apache-2.0
//
// Bringing samples of one series together that were stored apart.
#pragma once

#include <absl/functional/function_ref.h>
#include <absl/status/status.h>

#include "model/queryable.h"

namespace varve {

// Time of the newest sample; kMinTimestamp if there is none.
TimestampMs LastTimeOf(const SeriesSamples& samples);

// The samples in [min, max].
SeriesSamples Within(const SeriesSamples& samples, TimestampMs min, TimestampMs max);

// Merges `other` into `samples`. At equal times what is in `samples` stays, whether it is a float
// or a histogram.
void MergeSamples(SeriesSamples other, SeriesSamples& samples);

// Lets `decode` append samples that begin at `first_time` to `samples` or, if there are newer ones
// already, to an empty buffer that is then merged as above.
absl::Status DecodeInto(TimestampMs first_time, SeriesSamples& samples,
                        absl::FunctionRef<absl::Status(SeriesSamples&)> decode);

}  // namespace varve
