// SPDX-License-Identifier: Apache-2.0
//
// Which leaves of a query read the storage together (leaf_rows.h).
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "model/queryable.h"
#include "model/time.h"

namespace varve::promql {

class LeafRows;

// Leaves that read the storage together.
struct LeafGroup {
  std::vector<LeafRows*> leaves;  // In the order they were planned.
  TimestampMs start = 0;          // Of the samples that are read.
  TimestampMs end = 0;
  uint64_t apart_ms = 0;  // What the leaves would read on their own, together.
  std::shared_ptr<const SeriesSet> series;
  bool closed = false;  // Nothing is given away any more: there is no room.
};

// The leaves of one query. Not thread-safe.
class LeafShares {
 public:
  void Add(LeafRows& leaf) { leaves_.push_back(&leaf); }
  // When it returns, no other leaf makes rows of it, or will.
  void Remove(LeafRows& leaf);
  // The group of `leaf`. REQUIRES: all leaves were planned.
  LeafGroup& GroupOf(const LeafRows& leaf);
  // Throws away the rows that wait to be taken; false if there are none.
  bool Discard();

 private:
  void MakeGroups();

  std::vector<LeafRows*> leaves_;
  std::vector<std::unique_ptr<LeafGroup>> groups_;
  bool grouped_ = false;
};

}  // namespace varve::promql
