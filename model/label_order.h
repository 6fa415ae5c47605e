// SPDX-License-Identifier: Apache-2.0
//
// Sorting many label sets: by eight bytes of all of them at a time, where comparing two at a time
// goes over what most have in common again and again.
#pragma once

#include <absl/types/span.h>

#include <cstdint>
#include <vector>

#include "model/labels.h"

namespace varve {

// The positions of `labels` in the order of their `<`; equal ones in that of their positions. Needs
// about as much memory as they have bytes.
std::vector<uint32_t> OrderOfLabels(absl::Span<const Labels> labels);

}  // namespace varve
