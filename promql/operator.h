// SPDX-License-Identifier: Apache-2.0
//
// The execution contract. A plan is a tree of operators; each gives its series one after another,
// a whole row (row.h) at a time, so that chunks are decoded once and loops run over arrays.
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <functional>
#include <memory>
#include <vector>

#include "model/labels.h"
#include "model/queryable.h"
#include "model/time.h"
#include "promql/ast.h"
#include "promql/row.h"

namespace varve::promql {

// One PromQL node. Call Open() once, then Next() once for each series it returned.
// A scalar is an operator with one series without labels and a float at every step.
class Operator {
 public:
  virtual ~Operator() = default;

  // Returns the series this operator will produce, in order. Two may have equal labels only where
  // their samples never share a step.
  virtual absl::StatusOr<std::vector<Labels>> Open() = 0;

  // Overwrites `row` with the next series' samples; a row may be empty.
  // REQUIRES: a series remains.
  virtual absl::Status Next(Row& row) = 0;

  // Asks an operator that is open to give rows to `taker`, in order, as soon as they are there:
  // those that another operator made on its way need not be kept then. Next() goes on behind them.
  // `taker` may change them, and lives as long as the operator. False if it will give none.
  using RowTaker = std::function<absl::Status(Row& row)>;
  virtual bool GiveEarly(RowTaker) { return false; }
};

using OperatorPtr = std::unique_ptr<Operator>;

// Which samples each step of a range vector sees: those in (end - range, end], where `end` is the
// step's time (or the time `@` fixes) less the offset.
struct RangeSpec {
  Grid grid;
  DurationMs range = 0;
  DurationMs offset = 0;
  bool fixed = false;  // `@` was given: every step looks at `fixed_time`.
  TimestampMs fixed_time = 0;
  bool anchored = false;
  bool smoothed = false;
  DurationMs lookback = 0;

  TimestampMs EndAt(size_t step) const { return (fixed ? fixed_time : grid.TimeAt(step)) - offset; }
};

// All samples of one series that its windows touch; staleness markers are taken out.
struct RangeSeries {
  SeriesSamples samples;
  bool drop_name = false;
};

// What of the storage a range vector consists of.
struct RangeSelection {
  const VectorSelector& selector;
  SelectHints hints;
};

// A range vector: raw samples of a selector, or the steps of a subquery.
class RangeSource {
 public:
  virtual ~RangeSource() = default;
  virtual const RangeSpec& spec() const = 0;
  virtual absl::StatusOr<std::vector<Labels>> Open() = 0;
  // Overwrites `series` with the next series' samples. REQUIRES: a series remains.
  virtual absl::Status Next(RangeSeries& series) = 0;

  // Not null if the series are those of the storage, staleness markers taken out: whoever reads
  // them there need not open the source.
  virtual const RangeSelection* selection() const { return nullptr; }
};

using RangeSourcePtr = std::unique_ptr<RangeSource>;

}  // namespace varve::promql
