// SPDX-License-Identifier: Apache-2.0
//
// zstd for single columns: frames so small that contexts are kept per thread and the frame's
// header is left out where it can be.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace varve {

// Appends a frame of `bytes` if it takes less than `limit` bytes; returns whether it did.
bool CompressColumn(std::string_view bytes, size_t limit, std::string& out);

// Fills `out` with exactly `size` bytes. Returns false if `frame` does not hold these.
bool DecompressColumn(std::string_view frame, char* out, size_t size);

}  // namespace varve
