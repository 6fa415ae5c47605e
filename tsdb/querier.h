// SPDX-License-Identifier: Apache-2.0
//
// Reading: series by selector, and their samples from the head and the hot families.
#pragma once

#include <memory>

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

}  // namespace varve
