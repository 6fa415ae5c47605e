// SPDX-License-Identifier: Apache-2.0
//
// Administration.
#include "model/storage_admin.h"

namespace varve {

void DurationCounts::Add(double seconds) {
  sum += seconds;
  size_t bound = 0;
  while (bound < kBounds && seconds > static_cast<double>(uint64_t{1} << bound)) ++bound;
  ++counts[bound];
}

}  // namespace varve
