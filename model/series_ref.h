// SPDX-License-Identifier: Apache-2.0
//
// How callers of the storage name a series.
#pragma once

#include <cstdint>

namespace varve {

// Names a series inside one storage, for as long as it is open: 0 is never a series. A ref may
// become unknown when its series leaves memory; appending with its labels again finds or makes it.
enum class SeriesRef : uint64_t {};
inline constexpr SeriesRef kNoSeries{0};

}  // namespace varve
