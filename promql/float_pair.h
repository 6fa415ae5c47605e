// SPDX-License-Identifier: Apache-2.0
//
// Two floats that are worked on at once.
#pragma once

#include <cstdint>
#include <cstring>

namespace varve::promql {

using FloatPair [[gnu::vector_size(16)]] = double;
using PairTest [[gnu::vector_size(16)]] = int64_t;  // Of a comparison: all bits where it holds.

// Packs of any size, of floats or integers.
template <typename Pack, typename From>
[[gnu::always_inline]] inline Pack LoadPack(const From* from) {
  Pack pack;
  std::memcpy(&pack, from, sizeof(pack));
  return pack;
}
template <typename Pack, typename To>
[[gnu::always_inline]] inline void StorePack(Pack pack, To* to) {
  std::memcpy(to, &pack, sizeof(pack));
}

// Sets `total` to a + b and returns what rounding took off: the same number that CompensatedSum
// carries, which can be represented, found without comparing the two. Not finite if `total` is
// not, and in rare cases if `total` nearly is not. For packs of any size.
template <typename Pack>
[[gnu::always_inline]] inline Pack RoundedOff(Pack a, Pack b, Pack& total) {
  const Pack sum = a + b;
  const Pack of_b = sum - a;
  total = sum;
  return (a - (sum - of_b)) + (b - of_b);
}

}  // namespace varve::promql
