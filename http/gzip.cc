// SPDX-License-Identifier: Apache-2.0
//
// zlib at its fastest level: JSON still shrinks to about a tenth, and a slow level would cost more
// than evaluating the query.
#include "http/gzip.h"

#include <zlib.h>

#include <algorithm>
#include <cctype>

#include "model/check.h"
#include "model/time.h"

namespace varve {
namespace {

constexpr int kLevel = 1;
constexpr int kGzipWindowBits = 15 + 16;  // 16 asks zlib for the gzip framing.
constexpr int kMemoryLevel = 8;
constexpr size_t kOutputBytes = 16 << 10;

std::string_view Trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

}  // namespace

bool AcceptsGzip(std::string_view accept_encoding) {
  while (!accept_encoding.empty()) {
    const size_t comma = std::min(accept_encoding.find(','), accept_encoding.size());
    std::string_view item = accept_encoding.substr(0, comma);
    accept_encoding.remove_prefix(std::min(comma + 1, accept_encoding.size()));
    const size_t semicolon = std::min(item.find(';'), item.size());
    const std::string_view name = Trim(item.substr(0, semicolon));
    if (name != "gzip" && name != "*") continue;
    std::string_view weight = Trim(item.substr(std::min(semicolon + 1, item.size())));
    if (weight.substr(0, 2) != "q=") return true;
    return ParseFloat(weight.substr(2)).value_or(1) > 0;
  }
  return false;
}

GzipStream::GzipStream() : stream_(std::make_unique<z_stream_s>()) {
  // Fails only for bad arguments or without memory.
  INVARIANT(deflateInit2(stream_.get(), kLevel, Z_DEFLATED, kGzipWindowBits, kMemoryLevel,
                         Z_DEFAULT_STRATEGY) == Z_OK);
}

GzipStream::~GzipStream() { deflateEnd(stream_.get()); }

void GzipStream::Add(std::string_view piece, std::string& out) { Run(piece, Z_NO_FLUSH, out); }

void GzipStream::Finish(std::string& out) { Run({}, Z_FINISH, out); }

void GzipStream::Run(std::string_view piece, int flush, std::string& out) {
  // zlib counts in 32 bits.
  constexpr size_t kPieceBytesMax = 1u << 30;
  do {
    const std::string_view part = piece.substr(0, kPieceBytesMax);
    piece.remove_prefix(part.size());
    stream_->next_in = reinterpret_cast<Bytef*>(const_cast<char*>(part.data()));
    stream_->avail_in = static_cast<uInt>(part.size());
    do {
      const size_t before = out.size();
      out.resize(before + kOutputBytes);
      stream_->next_out = reinterpret_cast<Bytef*>(out.data() + before);
      stream_->avail_out = kOutputBytes;
      INVARIANT(deflate(stream_.get(), flush) != Z_STREAM_ERROR);
      out.resize(out.size() - stream_->avail_out);
    } while (stream_->avail_out == 0);
  } while (!piece.empty());
}

}  // namespace varve
