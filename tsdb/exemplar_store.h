// SPDX-License-Identifier: Apache-2.0
//
// Exemplars: the newest ones of all series, in memory for reading and in the `exemplars` family
// for restarts. The oldest make room for new ones.
#pragma once

#include <absl/container/flat_hash_map.h>
#include <absl/functional/function_ref.h>
#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <absl/types/span.h>
#include <rocksdb/write_batch.h>

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "model/appendable.h"
#include "model/exemplar.h"
#include "model/matcher.h"
#include "model/mutex.h"
#include "tsdb/format.h"
#include "tsdb/log_record.h"
#include "tsdb/store.h"

namespace varve {

// Characters the label names and values of an exemplar may have in all.
inline constexpr size_t kExemplarLabelCharactersMax = 128;

// Thread-safe; Put() and Added() are called by one writer at a time.
class ExemplarStore {
 public:
  explicit ExemplarStore(uint64_t exemplars_max) : exemplars_max_(exemplars_max) {}

  // Reads the `exemplars` family; what is damaged is left out and said in `damage`.
  absl::Status Load(const Store& store, std::vector<absl::Status>& damage);

  // kDuplicateExemplar, kOutOfOrderExemplar, or kNone if it may be added. InvalidLabels if its
  // labels are too long.
  AppendError Check(uint64_t series, const Exemplar& exemplar) const ABSL_LOCKS_EXCLUDED(mutex_);
  bool enabled() const ABSL_LOCKS_EXCLUDED(mutex_);
  void SetMax(uint64_t exemplars_max) ABSL_LOCKS_EXCLUDED(mutex_);

  // Adds the rows of `entries`, and the removal of rows that have made room, to `batch`; those
  // that Check() refuses by now are left out of `entries`.
  void Put(std::vector<LogRecord::ExemplarEntry>& entries, const Store& store,
           rocksdb::WriteBatch& batch) ABSL_LOCKS_EXCLUDED(mutex_);
  // The batch was written.
  void Added(const std::vector<LogRecord::ExemplarEntry>& entries) ABSL_LOCKS_EXCLUDED(mutex_);

  // The labels of each id, which rise; empty if they are not known any more.
  using LabelsLookup =
      absl::FunctionRef<absl::StatusOr<std::vector<Labels>>(absl::Span<const uint64_t> ids)>;
  // Those in [start, end] of the series that one of the sets accepts, sorted by series, then time.
  absl::StatusOr<std::vector<SeriesExemplars>> Select(
      TimestampMs start, TimestampMs end, LabelsLookup lookup,
      const std::vector<std::vector<Matcher>>& matcher_sets) const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Stored {
    uint64_t series = 0;
    std::string key;
    Exemplar exemplar;
  };

  AppendError CheckLocked(uint64_t series, const Exemplar& exemplar) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Push(Stored stored) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Trim() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable Mutex mutex_;
  uint64_t exemplars_max_ ABSL_GUARDED_BY(mutex_);
  std::deque<Stored> stored_ ABSL_GUARDED_BY(mutex_);                       // In order of arrival.
  absl::flat_hash_map<uint64_t, Exemplar> newest_ ABSL_GUARDED_BY(mutex_);  // By series.
  std::vector<std::string> evicted_ ABSL_GUARDED_BY(mutex_);  // Keys whose rows must go.
  std::vector<std::string> put_ ABSL_GUARDED_BY(mutex_);      // Keys of the batch in flight.
  uint32_t next_number_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace varve
