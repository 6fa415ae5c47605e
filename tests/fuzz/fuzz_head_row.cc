// SPDX-License-Identifier: Apache-2.0
//
// Goal: any bytes are a head row or DataLoss, and the head takes what a row says without harm:
// the series it restores go on with further samples and can be read.
// Method: the row is restored into a head with series of its ids. Of inputs whose first byte is
// even the rest are a row's entries, which are compressed here: nothing would get past zstd.
#include <zstd.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "model/check.h"
#include "tsdb/coding.h"
#include "tsdb/head.h"

namespace varve {
namespace {

void Run(std::string_view bytes) {
  const auto row = DecodeHeadRow(0, bytes);
  if (!row.ok()) {
    INVARIANT(absl::IsDataLoss(row.status()));
    return;
  }
  Head head({});
  for (const HeadRowEntry& entry : row->entries) {
    if (entry.id == 0 || entry.id > kSeriesIdMax) continue;
    INVARIANT(head.RestoreLogged(entry.id));
    head.index().Add(entry.id, Labels::Of({{"id", std::to_string(entry.id)}}));
    const absl::Status status = head.RestoreEntry(entry);
    INVARIANT(status.ok() || absl::IsDataLoss(status));
    LogRecord record;
    record.floats = {{entry.id, 1'700'000'000'000, 1, 0}};
    uint64_t unknown = 0;
    head.Replay(
        record, /*sequence=*/1, [](uint64_t) { return false; }, unknown);
    INVARIANT(unknown == 0);
    const OpenSamples open = head.CopyOpen(entry.id);
    if (open.open.empty()) continue;
    const auto chunk = DecodeHotChunk(open.open);
    INVARIANT(chunk.ok());
    SeriesSamples samples;
    (void)DecodeChunkSamples(*chunk, open.open_first_time, kMinTimestamp, kMaxTimestamp, samples);
  }
  (void)head.CaptureRow(0, 1);
}

std::string RowOf(uint8_t count, std::string_view entries) {
  std::string row("\x03\x01\x00", 3);
  PutVarint(row, count);
  PutVarint(row, entries.size());
  std::string frame(ZSTD_compressBound(entries.size()), '\0');
  frame.resize(
      ZSTD_compress(frame.data(), frame.size(), entries.data(), entries.size(), /*level=*/1));
  return row + frame;
}

}  // namespace
}  // namespace varve

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  varve::Run((data[0] & 1) != 0 ? std::string(bytes) : varve::RowOf(data[0] / 2, bytes));
  return 0;
}
