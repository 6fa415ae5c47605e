// SPDX-License-Identifier: Apache-2.0
//
// A frame's magic number is cut off and put back for reading: four bytes a block. Neither size nor
// checksum is written: the column's header knows the one, the block's checksum covers the other.
#include "tsdb/column_zstd.h"

#include <zstd.h>

#include <memory>

#include "model/check.h"

namespace varve {

namespace {

constexpr int kLevel = 3;
constexpr std::string_view kMagic("\x28\xb5\x2f\xfd", 4);

struct FreeCompressor {
  void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
};
struct FreeDecompressor {
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

ZSTD_CCtx* Compressor() {
  thread_local std::unique_ptr<ZSTD_CCtx, FreeCompressor> context = [] {
    std::unique_ptr<ZSTD_CCtx, FreeCompressor> made(ZSTD_createCCtx());
    INVARIANT(made != nullptr);
    ZSTD_CCtx_setParameter(made.get(), ZSTD_c_compressionLevel, kLevel);
    ZSTD_CCtx_setParameter(made.get(), ZSTD_c_contentSizeFlag, 0);
    ZSTD_CCtx_setParameter(made.get(), ZSTD_c_checksumFlag, 0);
    return made;
  }();
  return context.get();
}

ZSTD_DCtx* Decompressor() {
  thread_local std::unique_ptr<ZSTD_DCtx, FreeDecompressor> context(ZSTD_createDCtx());
  INVARIANT(context != nullptr);
  return context.get();
}

}  // namespace

bool CompressColumn(std::string_view bytes, size_t limit, std::string& out) {
  // Only frames that gain are wanted: compression fails, cheaply, when the room is too small.
  std::string frame(kMagic.size() + limit, 0);
  const size_t size =
      ZSTD_compress2(Compressor(), frame.data(), frame.size() - 1, bytes.data(), bytes.size());
  if (ZSTD_isError(size) != 0) return false;
  INVARIANT(std::string_view(frame).substr(0, kMagic.size()) == kMagic);
  out.append(frame, kMagic.size(), size - kMagic.size());
  return true;
}

bool DecompressColumn(std::string_view frame, char* out, size_t size) {
  std::string whole(kMagic);
  whole.append(frame);
  const size_t got = ZSTD_decompressDCtx(Decompressor(), out, size, whole.data(), whole.size());
  return ZSTD_isError(got) == 0 && got == size;
}

}  // namespace varve
