// SPDX-License-Identifier: Apache-2.0
//
// Texts in zlib's formats, for tests of what decodes them.
#pragma once

#include <zlib.h>

#include <string>

namespace varve::testing {

inline constexpr int kGzipBits = 15 + 16;
inline constexpr int kZlibBits = 15;

inline std::string Deflated(const std::string& text, int window_bits = kGzipBits) {
  z_stream stream{};
  deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

}  // namespace varve::testing
