// SPDX-License-Identifier: Apache-2.0
//
// A column's frame has its magic number cut off, and put back for reading: four bytes a block.
// Neither size nor checksum is written: the column's header knows the one, the block's checksum
// covers the other.
#include "tsdb/zstd_frames.h"

#include <fmt/format.h>
#include <zstd.h>

#include <memory>

#include "model/check.h"

namespace varve {

namespace {

constexpr int kColumnLevel = 3;
// Sized frames live for minutes, so speed counts more than the last tenths of their size.
constexpr int kSizedLevel = -2;
constexpr std::string_view kMagic("\x28\xb5\x2f\xfd", 4);

struct FreeCompressor {
  void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
};
struct FreeDecompressor {
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

ZSTD_CCtx* ColumnCompressor() {
  thread_local std::unique_ptr<ZSTD_CCtx, FreeCompressor> context = [] {
    std::unique_ptr<ZSTD_CCtx, FreeCompressor> made(ZSTD_createCCtx());
    INVARIANT(made != nullptr);
    ZSTD_CCtx_setParameter(made.get(), ZSTD_c_compressionLevel, kColumnLevel);
    ZSTD_CCtx_setParameter(made.get(), ZSTD_c_contentSizeFlag, 0);
    ZSTD_CCtx_setParameter(made.get(), ZSTD_c_checksumFlag, 0);
    return made;
  }();
  return context.get();
}

ZSTD_CCtx* SizedCompressor() {
  thread_local std::unique_ptr<ZSTD_CCtx, FreeCompressor> context(ZSTD_createCCtx());
  INVARIANT(context != nullptr);
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
  const size_t size = ZSTD_compress2(ColumnCompressor(), frame.data(), frame.size() - 1,
                                     bytes.data(), bytes.size());
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

absl::Status PutSizedFrame(std::string_view bytes, std::string_view what, std::string& out) {
  PutVarint(out, bytes.size());
  const size_t begin = out.size();
  out.resize(begin + ZSTD_compressBound(bytes.size()));
  const size_t size = ZSTD_compressCCtx(SizedCompressor(), out.data() + begin, out.size() - begin,
                                        bytes.data(), bytes.size(), kSizedLevel);
  if (ZSTD_isError(size) != 0) {
    return absl::InternalError(fmt::format("compressing {}: {}", what, ZSTD_getErrorName(size)));
  }
  out.resize(begin + size);
  return absl::OkStatus();
}

bool ReadSizedFrame(ByteReader& reader, uint64_t bytes_max, std::vector<char>& out) {
  const uint64_t bytes = reader.Varint();
  const std::string_view frame = reader.rest();
  // The frame itself knows its size, which bounds what damaged bytes can make us allocate.
  if (reader.failed() || bytes > bytes_max ||
      ZSTD_getFrameContentSize(frame.data(), frame.size()) != bytes) {
    return false;
  }
  out.resize(bytes);
  const size_t size =
      ZSTD_decompressDCtx(Decompressor(), out.data(), out.size(), frame.data(), frame.size());
  return ZSTD_isError(size) == 0 && size == bytes;
}

}  // namespace varve
