// SPDX-License-Identifier: Apache-2.0
//
// Parts of a query that occur several times are computed once. Whoever comes first makes the rows
// be computed; each is held until the last of its readers has had it.
#pragma once

#include <absl/container/flat_hash_map.h>
#include <absl/status/statusor.h>

#include <functional>
#include <memory>
#include <tuple>
#include <vector>

#include "promql/operator.h"
#include "promql/row.h"

namespace varve::promql {

class QueryContext;
class SharedSource;

// The shared parts of one query. Not thread-safe.
class SharedOperators {
 public:
  // An operator that gives what `plan` does. The next call with the same number and grid does not
  // plan again. REQUIRES: all are planned before one is opened.
  absl::StatusOr<OperatorPtr> Plan(QueryContext& context, size_t part, const Grid& grid,
                                   const std::function<absl::StatusOr<OperatorPtr>()>& plan);

 private:
  // The number, and the grid's first step, step, count and uneven steps.
  using Key = std::tuple<size_t, TimestampMs, DurationMs, size_t, std::vector<TimestampMs>>;
  absl::flat_hash_map<Key, std::weak_ptr<SharedSource>> sources_;
};

}  // namespace varve::promql
