// SPDX-License-Identifier: Apache-2.0
//
// Reading.
#include "model/queryable.h"

namespace varve {

ReadCost& ReadCost::operator+=(const ReadCost& other) {
  chunks += other.chunks;
  bytes += other.bytes;
  cache_hits += other.cache_hits;
  cache_misses += other.cache_misses;
  return *this;
}

void SeriesSamples::Clear() {
  times.clear();
  values.clear();
  start_times.clear();
  histograms.clear();
  histogram_start_times.clear();
  cost = ReadCost();
}

}  // namespace varve
