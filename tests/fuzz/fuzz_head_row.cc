// SPDX-License-Identifier: Apache-2.0
//
// Goal: any bytes are a head row or DataLoss, and the head takes what a row says without harm:
// the series it restores go on with further samples and can be read.
// Method: the row is restored into a head with series of its ids.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "model/check.h"
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

}  // namespace
}  // namespace varve

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  varve::Run({reinterpret_cast<const char*>(data), size});
  return 0;
}
