// SPDX-License-Identifier: Apache-2.0
//
// What a query did, operator by operator: filled in while it runs, for whoever asks for it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/labels.h"
#include "model/queryable.h"

namespace varve::promql {

// Series of a join for which the other side has none with the same matching labels.
struct ExplainUnmatched {
  uint64_t series = 0;
  Labels example;  // The first of them.

  void Add(const Labels& labels) {
    if (series++ == 0) example = labels;
  }
};
struct ExplainJoin {
  ExplainUnmatched left;
  ExplainUnmatched right;
};

// One part of the query and the operator that gave its series. Figures include what lies below.
struct ExplainNode {
  std::string expression;
  uint64_t series = 0;        // That the labels promised.
  uint64_t series_empty = 0;  // Of these, without a sample at any step: filtered, joined away.
  uint64_t samples = 0;       // Given to the operator above.
  uint64_t samples_read = 0;  // From storage.
  uint64_t memory_bytes = 0;  // Most the query held, in all, at the end of a call of this part.
  ReadCost cost;              // Of reading these.
  double seconds = 0;
  std::optional<ExplainJoin> join;  // Of binary operators between vectors.
  std::vector<std::unique_ptr<ExplainNode>> children;
};

}  // namespace varve::promql
