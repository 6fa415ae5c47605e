// SPDX-License-Identifier: Apache-2.0
//
// Walking the samples of a batch or of a log record, which lie with series all over memory.
#pragma once

#include <absl/container/flat_hash_set.h>
#include <absl/types/span.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "tsdb/head.h"
#include "tsdb/log_record.h"

namespace varve {

// Records of a batch, and the ends of their streams, lie all over memory: asked for this many
// samples ahead, they are there when their turn comes.
inline constexpr size_t kRecordsAhead = 12;
inline constexpr size_t kStreamsAhead = 6;

inline void FetchRecordAhead(absl::Span<SeriesRecord* const> series, size_t i) {
  if (i + kRecordsAhead >= series.size() || series[i + kRecordsAhead] == nullptr) return;
  const auto* record = reinterpret_cast<const char*>(series[i + kRecordsAhead]);
  __builtin_prefetch(record);
  __builtin_prefetch(record + sizeof(SeriesRecord) - 1);
}

// The end of the record's stream, where the next sample goes.
inline void FetchStream(const SeriesRecord& record) {
  if (record.chunk.data != nullptr) {
    __builtin_prefetch(record.chunk.data + record.chunk.bits / 8, 1);
  }
}

inline void FetchStreamAhead(absl::Span<SeriesRecord* const> series, size_t i) {
  if (i + kStreamsAhead >= series.size() || series[i + kStreamsAhead] == nullptr) return;
  FetchStream(*series[i + kStreamsAhead]);
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
