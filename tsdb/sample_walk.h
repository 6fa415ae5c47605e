// SPDX-License-Identifier: Apache-2.0
//
// Walking the samples of a batch or of a log record, which lie with series all over memory.
#pragma once

#include <absl/base/attributes.h>
#include <absl/container/flat_hash_set.h>
#include <absl/types/span.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "tsdb/head.h"
#include "tsdb/log_record.h"

namespace varve {

// Records of a batch, and the ends of their streams, lie all over memory: asked for a group of
// samples ahead, they are there when their turn comes. What asks for them is always inlined: GCC
// takes a function that does nothing else for one without effects, and drops calls of it.
inline constexpr size_t kFetchedGroup = 32;

// The end of the record's stream, where the next sample goes.
ABSL_ATTRIBUTE_ALWAYS_INLINE inline void FetchStreamEnd(const SeriesRecord& record) {
  if (record.chunk.data != nullptr) {
    __builtin_prefetch(record.chunk.data + record.chunk.bits / 8, 1);
  }
}

// All of it, which is a few lines of the cache.
ABSL_ATTRIBUTE_ALWAYS_INLINE inline void FetchStream(const SeriesRecord& record) {
  if (record.chunk.data == nullptr) return;
  for (size_t at = 0; at <= record.chunk.bits / 8; at += 64) {
    __builtin_prefetch(record.chunk.data + at);
  }
}

// To be called for every `i` in turn, before `series[i]`, which may be null, is looked at.
ABSL_ATTRIBUTE_ALWAYS_INLINE inline void FetchAhead(absl::Span<SeriesRecord* const> series,
                                                    size_t i) {
  if (i % kFetchedGroup != 0) return;
  // Each group's records are fetched two groups ahead, its streams one: these need the records.
  const size_t records_end = std::min(series.size(), i + 3 * kFetchedGroup);
  for (size_t k = i == 0 ? 0 : i + 2 * kFetchedGroup; k < records_end; ++k) {
    if (series[k] != nullptr) FetchRecord(*series[k]);
  }
  const size_t streams_end = std::min(series.size(), i + 2 * kFetchedGroup);
  for (size_t k = i == 0 ? 0 : i + kFetchedGroup; k < streams_end; ++k) {
    if (series[k] != nullptr) FetchStreamEnd(*series[k]);
  }
}

// Calls on_float(i) and on_histogram(i) for every sample of the record such that samples of one
// series come in the order of their times.
template <typename OnFloat, typename OnHistogram>
void ForEachSample(const LogRecord& record, OnFloat on_float, OnHistogram on_histogram) {
  if (record.histograms.empty() || record.floats.empty()) {
    for (size_t i = 0; i < record.floats.size(); ++i) on_float(i);
    for (size_t i = 0; i < record.histograms.size(); ++i) on_histogram(i);
    return;
  }
  absl::flat_hash_set<uint64_t> with_histograms;
  for (const LogRecord::HistogramEntry& entry : record.histograms) {
    with_histograms.insert(entry.id);
  }
  struct Mixed {
    TimestampMs time;
    size_t index;
    bool is_histogram;
  };
  std::vector<Mixed> mixed;
  for (size_t i = 0; i < record.floats.size(); ++i) {
    if (with_histograms.contains(record.floats[i].id)) {
      mixed.push_back({record.floats[i].time, i, false});
    } else {
      on_float(i);
    }
  }
  for (size_t i = 0; i < record.histograms.size(); ++i) {
    mixed.push_back({record.histograms[i].time, i, true});
  }
  std::stable_sort(mixed.begin(), mixed.end(),
                   [](const Mixed& a, const Mixed& b) { return a.time < b.time; });
  for (const Mixed& sample : mixed) {
    sample.is_histogram ? on_histogram(sample.index) : on_float(sample.index);
  }
}

}  // namespace varve
