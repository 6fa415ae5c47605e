// SPDX-License-Identifier: Apache-2.0
//
// Late samples, sorted and encoded.
#include "tsdb/late_samples.h"

#include <algorithm>
#include <utility>

#include "tsdb/format.h"
#include "tsdb/histogram_chunk.h"
#include "tsdb/xor_chunk.h"

namespace varve {

bool LateSamples::Insert(LateSample sample) {
  const auto at = std::lower_bound(
      samples_.begin(), samples_.end(), sample.time,
      [](const LateSample& present, TimestampMs time) { return present.time < time; });
  if (at != samples_.end() && at->time == sample.time) return false;
  samples_.insert(at, std::move(sample));
  return true;
}

SeriesSamples LateSamples::Copy() const {
  SeriesSamples copy;
  const bool starts = std::any_of(samples_.begin(), samples_.end(),
                                  [](const LateSample& sample) { return sample.start_time != 0; });
  for (const LateSample& sample : samples_) {
    if (sample.histogram != nullptr) {
      copy.histograms.push_back({sample.time, sample.histogram});
      if (starts) copy.histogram_start_times.push_back(sample.start_time);
      continue;
    }
    copy.times.push_back(sample.time);
    copy.values.push_back(sample.value);
    if (starts) copy.start_times.push_back(sample.start_time);
  }
  return copy;
}

std::vector<LateSamples::Chunk> LateSamples::Encode(
    absl::FunctionRef<TimestampMs(TimestampMs time)> bucket_end) const {
  std::vector<Chunk> chunks;
  OpenXorChunk floats;
  std::unique_ptr<OpenHistogramChunk> histograms;
  TimestampMs end = kMinTimestamp;
  const auto cut = [&] {
    HotChunk chunk;
    std::string histogram_payload;
    if (floats.count > 0) {
      chunk = {.encoding = floats.has_starts ? ChunkEncoding::kXorWithStarts : ChunkEncoding::kXor,
               .sample_count = floats.count,
               .end_time = floats.last_time,
               .payload = floats.payload()};
      chunks.push_back({floats.first_time, floats.last_time, EncodeHotChunk(chunk)});
    } else if (histograms != nullptr) {
      histogram_payload = histograms->payload();
      chunk = {.encoding = ChunkEncoding::kHistogram,
               .sample_count = static_cast<uint16_t>(histograms->count()),
               .end_time = histograms->last_time(),
               .payload = histogram_payload};
      chunks.push_back({histograms->first_time(), histograms->last_time(), EncodeHotChunk(chunk)});
    }
    floats.Release();
    histograms.reset();
  };
  for (const LateSample& sample : samples_) {
    const bool is_histogram = sample.histogram != nullptr;
    if (sample.time >= end) {
      cut();
      end = bucket_end(sample.time);
    } else if (floats.count > 0 && (is_histogram || floats.has_starts != (sample.start_time != 0) ||
                                    sample.time - floats.first_time >= kChunkSpanMax)) {
      cut();
    } else if (histograms != nullptr && (!is_histogram || !histograms->Fits(*sample.histogram) ||
                                         sample.time - histograms->first_time() >= kChunkSpanMax)) {
      cut();
    }
    if (is_histogram) {
      if (histograms == nullptr) {
        histograms = std::make_unique<OpenHistogramChunk>(*sample.histogram);
      }
      histograms->Append(sample.time, *sample.histogram, sample.start_time);
    } else {
      if (floats.count == 0) floats.has_starts = sample.start_time != 0;
      floats.Append(sample.time, sample.value, sample.start_time);
    }
  }
  cut();
  return chunks;
}

}  // namespace varve
