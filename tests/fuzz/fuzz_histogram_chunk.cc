// SPDX-License-Identifier: Apache-2.0
//
// Goal: any bytes decode to histograms or to DataLoss; what was decoded goes into a chunk again,
// and comes out of it the same.
// Method: the first byte says how many samples the chunk claims.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "model/check.h"
#include "tsdb/histogram_chunk.h"

namespace varve {
namespace {

constexpr TimestampMs kFirstTime = 1'700'000'000'000;

void Run(uint32_t count, std::string_view payload) {
  SeriesSamples samples;
  const absl::Status status =
      DecodeHistogramChunk(payload, count, kFirstTime, kMinTimestamp, kMaxTimestamp, samples);
  INVARIANT(status.ok() || absl::IsDataLoss(status));
  const auto restored = OpenHistogramChunk::Restore(payload, count, kFirstTime);
  INVARIANT(restored.ok() || absl::IsDataLoss(restored.status()));
  if (!status.ok()) return;
  std::unique_ptr<OpenHistogramChunk> chunk;
  SeriesSamples again;
  const auto close = [&] {
    INVARIANT(DecodeHistogramChunk(chunk->payload(), chunk->count(), chunk->first_time(),
                                   kMinTimestamp, kMaxTimestamp, again)
                  .ok());
  };
  for (const HistogramSample& sample : samples.histograms) {
    if (chunk != nullptr && !chunk->Fits(*sample.histogram)) {
      close();
      chunk.reset();
    }
    if (chunk == nullptr) chunk = std::make_unique<OpenHistogramChunk>(*sample.histogram);
    chunk->Append(sample.time, *sample.histogram, 0);
  }
  if (chunk != nullptr) close();
  INVARIANT(again.histograms.size() == samples.histograms.size());
  for (size_t i = 0; i < samples.histograms.size(); ++i) {
    INVARIANT(again.histograms[i].time == samples.histograms[i].time);
    INVARIANT(*again.histograms[i].histogram == *samples.histograms[i].histogram);
  }
}

}  // namespace
}  // namespace varve

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  varve::Run(data[0], {reinterpret_cast<const char*>(data) + 1, size - 1});
  return 0;
}
