// SPDX-License-Identifier: Apache-2.0
//
// Hash maps and sets keyed by std::string that are searched with std::string_view without a copy.
// (Debian's absl::string_view is a type of its own, so Abseil's default hash does not do it.)
#pragma once

#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>
#include <xxhash.h>

#include <functional>
#include <string>
#include <string_view>

namespace varve {

struct StringHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return XXH3_64bits(text.data(), text.size()); }
};

template <typename Value>
using StringMap = absl::flat_hash_map<std::string, Value, StringHash, std::equal_to<>>;
using StringSet = absl::flat_hash_set<std::string, StringHash, std::equal_to<>>;

}  // namespace varve
