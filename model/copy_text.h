// SPDX-License-Identifier: Apache-2.0
//
// Copying texts of some bytes, as label names and values are: a call of memcpy() for each would
// take most of the time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace varve {

namespace internal {

// REQUIRES: sizeof(Word) <= text.size() <= 2 * sizeof(Word).
template <typename Word>
void CopyEnds(std::string_view text, char* to) {
  Word first, last;
  std::memcpy(&first, text.data(), sizeof(Word));
  std::memcpy(&last, text.data() + text.size() - sizeof(Word), sizeof(Word));
  std::memcpy(to, &first, sizeof(Word));
  std::memcpy(to + text.size() - sizeof(Word), &last, sizeof(Word));
}

}  // namespace internal

// Copies `text` to `to`, which does not overlap it, and returns the copy's end.
inline char* CopyText(std::string_view text, char* to) {
  struct Words {
    uint64_t words[2];
  };
  const size_t size = text.size();
  if (size > 2 * sizeof(Words)) {
    std::memcpy(to, text.data(), size);
  } else if (size >= sizeof(Words)) {
    internal::CopyEnds<Words>(text, to);
  } else if (size >= sizeof(uint64_t)) {
    internal::CopyEnds<uint64_t>(text, to);
  } else if (size >= sizeof(uint32_t)) {
    internal::CopyEnds<uint32_t>(text, to);
  } else {
    for (size_t i = 0; i < size; ++i) to[i] = text[i];
  }
  return to + size;
}

}  // namespace varve
