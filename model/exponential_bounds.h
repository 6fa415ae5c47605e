// SPDX-License-Identifier: Apache-2.0
//
// The bounds of exponential buckets within one power of two. Prometheus' table is up to four units
// in the last place off the correctly rounded 0.5 * 2^(i/256); answers agree to the last digit only
// with the same numbers.
#pragma once

#include <array>

namespace varve {

// Element i: half the upper bound of bucket i of schema 8, in [0.5, 1). Coarser schemas use every
// 2^(8-schema)th.
extern const std::array<double, 256> kExponentialBounds;

}  // namespace varve
