// SPDX-License-Identifier: Apache-2.0
//
// Reading: series by selector, and their samples from the head and the hot families.
#pragma once

#include <absl/status/statusor.h>
#include <absl/types/span.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "model/storage.h"
#include "tsdb/head.h"
#include "tsdb/write_path.h"

namespace varve {

// What queriers and the series sets they leave behind share; keeps head and families alive.
struct ReadState {
  std::unique_ptr<Head> head;
  std::unique_ptr<WritePath> write_path;
};

std::unique_ptr<Querier> NewHeadQuerier(std::shared_ptr<const ReadState> state, TimestampMs min,
                                        TimestampMs max);

// The labels of each id, whether the series is in memory or in a generation; empty where it is in
// neither. REQUIRES: ids rise.
absl::StatusOr<std::vector<Labels>> LabelsOfSeries(const ReadState& state,
                                                   absl::Span<const uint64_t> ids);

}  // namespace varve
