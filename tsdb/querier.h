// SPDX-License-Identifier: Apache-2.0
//
// Reading: series by selector, and their samples from the head and the hot families.
#pragma once

#include <absl/status/statusor.h>
#include <absl/types/span.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "model/queryable.h"
#include "tsdb/engine.h"

namespace varve {

// Querier and series sets keep the engine.
std::unique_ptr<Querier> NewHeadQuerier(std::shared_ptr<const Engine> engine, TimestampMs min,
                                        TimestampMs max);

// The labels of each id, whether the series is in memory or in a generation; empty where it is in
// neither. REQUIRES: ids rise.
absl::StatusOr<std::vector<Labels>> LabelsOfSeries(const Engine& engine,
                                                   absl::Span<const uint64_t> ids);

}  // namespace varve
