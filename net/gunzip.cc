// SPDX-License-Identifier: Apache-2.0
//
// zlib's inflate(), a buffer of output at a time, so that a small piece cannot become a large one
// before whoever takes it has said that it is too much.
#include "net/gunzip.h"

#include <zlib.h>

#include "model/check.h"

namespace varve {
namespace {

constexpr int kGzipOnly = 15 + 16;  // 16 asks zlib for the gzip framing.
constexpr size_t kDecodedBytes = 64 << 10;

}  // namespace

Gunzip::Gunzip() : stream_(std::make_unique<z_stream_s>()), decoded_(new char[kDecodedBytes]) {
  INVARIANT(inflateInit2(stream_.get(), kGzipOnly) == Z_OK);
}

Gunzip::~Gunzip() { inflateEnd(stream_.get()); }

absl::Status Gunzip::Add(std::string_view piece,
                         absl::FunctionRef<absl::Status(std::string_view)> take) {
  stream_->next_in = reinterpret_cast<Bytef*>(const_cast<char*>(piece.data()));
  stream_->avail_in = static_cast<uInt>(piece.size());
  bool full = false;  // There may be more to come out, without more going in.
  while (stream_->avail_in > 0 || full) {
    inside_ = true;
    stream_->next_out = reinterpret_cast<Bytef*>(decoded_.get());
    stream_->avail_out = kDecodedBytes;
    const int result = inflate(stream_.get(), Z_NO_FLUSH);
    if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR) {
      return absl::DataLossError("gzip: invalid data");
    }
    const size_t bytes = kDecodedBytes - stream_->avail_out;
    full = stream_->avail_out == 0;
    if (result == Z_STREAM_END) {
      full = inside_ = false;
      inflateReset(stream_.get());
    }
    if (bytes == 0) continue;
    absl::Status taken = take(std::string_view(decoded_.get(), bytes));
    if (!taken.ok()) return taken;
  }
  return absl::OkStatus();
}

absl::Status Gunzip::Finish() const {
  return inside_ ? absl::UnavailableError("unexpected EOF") : absl::OkStatus();
}

}  // namespace varve
