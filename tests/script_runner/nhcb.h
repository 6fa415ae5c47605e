// SPDX-License-Identifier: Apache-2.0
//
// Classic histograms as native ones with custom buckets, for `load_with_nhcb`.
#pragma once

#include <vector>

#include "model/time.h"
#include "tests/memory_storage.h"
#include "tests/script_runner/notation.h"

namespace varve::script {

// Adds the native form of every `_bucket` series (with its `_count` and `_sum`) in `series`.
// What does not add up is left out.
void AddNativeForms(const std::vector<SeriesLine>& series, DurationMs step, MemoryStorage& storage);

}  // namespace varve::script
