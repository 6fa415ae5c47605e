// SPDX-License-Identifier: Apache-2.0
//
// A buffer of output at a time, so that a small piece cannot become a large one before whoever
// takes it has said that it is too much.
#include "net/content_decoder.h"

#include <zlib.h>
#include <zstd.h>

#include "model/check.h"

namespace varve {
namespace {

constexpr int kGzipOnly = 15 + 16;  // 16 asks zlib for the gzip framing.
constexpr size_t kDecodedBytes = 64 << 10;
// A frame that asks for a larger window, and so for as much memory, is refused, as browsers do.
constexpr int kZstdWindowLogMax = 23;

class GzipDecoder final : public ContentDecoder {
 public:
  GzipDecoder() : decoded_(new char[kDecodedBytes]) {
    INVARIANT(inflateInit2(&stream_, kGzipOnly) == Z_OK);
  }
  ~GzipDecoder() override { inflateEnd(&stream_); }

  absl::Status Add(std::string_view piece,
                   absl::FunctionRef<absl::Status(std::string_view)> take) override {
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(piece.data()));
    stream_.avail_in = static_cast<uInt>(piece.size());
    bool full = false;  // There may be more to come out, without more going in.
    while (stream_.avail_in > 0 || full) {
      inside_ = true;
      stream_.next_out = reinterpret_cast<Bytef*>(decoded_.get());
      stream_.avail_out = kDecodedBytes;
      const int result = inflate(&stream_, Z_NO_FLUSH);
      if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR) {
        return absl::DataLossError("gzip: invalid data");
      }
      const size_t bytes = kDecodedBytes - stream_.avail_out;
      full = stream_.avail_out == 0;
      if (result == Z_STREAM_END) {
        full = inside_ = false;
        inflateReset(&stream_);
      }
      if (bytes == 0) continue;
      absl::Status taken = take(std::string_view(decoded_.get(), bytes));
      if (!taken.ok()) return taken;
    }
    return absl::OkStatus();
  }

 private:
  z_stream stream_{};
  std::unique_ptr<char[]> decoded_;
};

class ZstdDecoder final : public ContentDecoder {
 public:
  ZstdDecoder() : stream_(ZSTD_createDStream()), decoded_(new char[kDecodedBytes]) {
    INVARIANT(stream_ != nullptr);
    ZSTD_DCtx_setParameter(stream_, ZSTD_d_windowLogMax, kZstdWindowLogMax);
  }
  ~ZstdDecoder() override { ZSTD_freeDStream(stream_); }

  absl::Status Add(std::string_view piece,
                   absl::FunctionRef<absl::Status(std::string_view)> take) override {
    ZSTD_inBuffer in{piece.data(), piece.size(), 0};
    bool full = false;
    while (in.pos < in.size || full) {
      ZSTD_outBuffer out{decoded_.get(), kDecodedBytes, 0};
      const size_t wanted = ZSTD_decompressStream(stream_, &out, &in);
      if (ZSTD_isError(wanted) != 0) return absl::DataLossError("zstd: invalid data");
      inside_ = wanted != 0;
      full = inside_ && out.pos == out.size;
      if (out.pos == 0) continue;
      absl::Status taken = take(std::string_view(decoded_.get(), out.pos));
      if (!taken.ok()) return taken;
    }
    return absl::OkStatus();
  }

 private:
  ZSTD_DStream* const stream_;
  std::unique_ptr<char[]> decoded_;
};

}  // namespace

std::unique_ptr<ContentDecoder> ContentDecoder::Create(std::string_view encoding) {
  if (encoding == "gzip") return std::make_unique<GzipDecoder>();
  if (encoding == "zstd") return std::make_unique<ZstdDecoder>();
  return nullptr;
}

absl::Status ContentDecoder::Finish() const {
  return inside_ ? absl::UnavailableError("unexpected EOF") : absl::OkStatus();
}

}  // namespace varve
