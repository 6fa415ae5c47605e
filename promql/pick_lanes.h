// SPDX-License-Identifier: Apache-2.0
//
// The best values of many steps side by side, as topk and bottomk keep them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace varve::promql {

// Of each of some steps, the `ranks` best values so far, the best one first, and which series they
// are of. Those of rank r are at values[r * stride], values[r * stride + 1], ...
struct PickLanes {
  double* values = nullptr;
  uint64_t* series = nullptr;
  size_t ranks = 0;
  size_t stride = 0;
};

inline constexpr size_t kPickMultiple = 4;

// Puts values[i], of a series that comes after all those that were picked, where it belongs among
// the picks of step i, and drops the last of these, for each i < count. A number goes before NaN.
// REQUIRES: count is a multiple of kPickMultiple; ranks > 0, all taken.
void PickEach(const double* values, uint64_t series, size_t count, bool largest,
              const PickLanes& picks);

}  // namespace varve::promql
