// SPDX-License-Identifier: Apache-2.0
//
// Reading.
#include "model/queryable.h"

#include <bit>
#include <cstdint>

namespace varve {

ReadCost& ReadCost::operator+=(const ReadCost& other) {
  chunks += other.chunks;
  bytes += other.bytes;
  cache_hits += other.cache_hits;
  cache_misses += other.cache_misses;
  return *this;
}

void SeriesSamples::Clear() {
  times.Clear();
  values.clear();
  start_times.clear();
  histograms.clear();
  histogram_start_times.clear();
  known = Known();
  cost = ReadCost();
}

void SeriesSamples::Know(size_t count, bool numbers, bool rising, bool same) {
  if (count == 0) return;
  const size_t before = values.size() - count;
  if (numbers && known.numbers == before) known.numbers += count;
  if (known.rising == before && rising && (before == 0 || values[before] >= values[before - 1])) {
    known.rising += count;
  }
  if (known.same == before && same &&
      (before == 0 ||
       std::bit_cast<uint64_t>(values[before]) == std::bit_cast<uint64_t>(values[before - 1]))) {
    known.same += count;
  }
}

}  // namespace varve
