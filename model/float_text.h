// SPDX-License-Identifier: Apache-2.0
//
// Floats as text in a buffer of the caller's; model/time.h has the same as strings.
#pragma once

#include <cstddef>

namespace varve {

// The longest shortest decimal without an exponent, 5e-324, takes 326 characters.
inline constexpr size_t kFloatBytesMax = 400;

// AppendJsonFloat() into `to`, which has room for kFloatBytesMax. Returns the end of the text.
char* WriteJsonFloat(double value, char* to);

}  // namespace varve
