// SPDX-License-Identifier: Apache-2.0
//
// Goal: any bytes decode to samples or to DataLoss, and what was decoded encodes to a chunk that
// decodes to the same.
// Method: the first byte says whether there are start times, the second how many samples.
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "model/check.h"
#include "tsdb/xor_chunk.h"

namespace varve {
namespace {

void Run(bool has_starts, uint32_t count, std::string_view payload) {
  SeriesSamples samples;
  const absl::Status status = DecodeXorChunk(payload, count, 1'700'000'000'000, has_starts,
                                             kMinTimestamp, kMaxTimestamp, samples);
  INVARIANT(status.ok() || absl::IsDataLoss(status));
  INVARIANT(samples.times.size() == samples.values.size());
  INVARIANT(!has_starts || samples.start_times.size() == samples.times.size());
  for (size_t i = 1; i < samples.times.size(); ++i) {
    INVARIANT(samples.times[i - 1] < samples.times[i]);
  }
  if (!status.ok() || samples.times.empty()) return;
  OpenXorChunk chunk;
  chunk.has_starts = has_starts;
  for (size_t i = 0; i < samples.times.size(); ++i) {
    chunk.Append(samples.times[i], samples.values[i], has_starts ? samples.start_times[i] : 0);
  }
  SeriesSamples again;
  INVARIANT(DecodeXorChunk(chunk.payload(), chunk.count, chunk.first_time, has_starts,
                           kMinTimestamp, kMaxTimestamp, again)
                .ok());
  INVARIANT(again.times == samples.times && again.start_times == samples.start_times);
  for (size_t i = 0; i < samples.values.size(); ++i) {
    INVARIANT(std::bit_cast<uint64_t>(again.values[i]) ==
              std::bit_cast<uint64_t>(samples.values[i]));
  }
}

}  // namespace
}  // namespace varve

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  varve::Run((data[0] & 1) != 0, data[1], {reinterpret_cast<const char*>(data) + 2, size - 2});
  return 0;
}
