// SPDX-License-Identifier: Apache-2.0
//
// zstd, with contexts that are kept per thread: for single columns, whose frames are so small that
// a frame's header is left out where it can be, and for what is written fast and read at most once.
#pragma once

#include <absl/status/status.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tsdb/coding.h"

namespace varve {

// Appends a frame of `bytes` if it takes less than `limit` bytes; returns whether it did.
bool CompressColumn(std::string_view bytes, size_t limit, std::string& out);

// Fills `out` with exactly `size` bytes. Returns false if `frame` does not hold these.
bool DecompressColumn(std::string_view frame, char* out, size_t size);

// Appends the number of `bytes` as a varint and a frame of them. Internal if zstd fails, with
// `what` was to be compressed.
absl::Status PutSizedFrame(std::string_view bytes, std::string_view what, std::string& out);

// Sets `out` to what all that is left of `reader` holds. False if that is no such frame, or of more
// than `bytes_max`.
bool ReadSizedFrame(ByteReader& reader, uint64_t bytes_max, std::vector<char>& out);

}  // namespace varve
