// SPDX-License-Identifier: Apache-2.0
//
// Type, help and unit of metrics as committed last: in memory for reading and for telling what is
// known already, in the `metadata` family for restarts.
//
// Rows are put with the log record that has them, so a killed process leaves both or neither. What
// replay finds in the log but not in the family, damage has cost there: it is put again.
#pragma once

#include <absl/container/flat_hash_set.h>
#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <rocksdb/write_batch.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model/appendable.h"
#include "model/metric_metadata.h"
#include "model/mutex.h"
#include "model/string_map.h"
#include "tsdb/store.h"

namespace varve {

struct MetadataLimits {
  size_t metrics = 100'000;
  size_t bytes = 32 << 20;  // Of all names, helps and units.
  size_t name_bytes = 1024;
  size_t help_bytes = 4096;
  size_t unit_bytes = 256;
};

// Thread-safe; Put() and Added() are called by one writer at a time.
class MetadataStore {
 public:
  explicit MetadataStore(const MetadataLimits& limits = {}) : limits_(limits) {}

  // Reads the `metadata` family; what is damaged is left out and said in `damage`.
  absl::Status Load(const Store& store, std::vector<absl::Status>& damage)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Takes what Load() did not find. Called in the order of the log.
  void Replay(const std::vector<MetricFamily>& logged) ABSL_LOCKS_EXCLUDED(mutex_);
  // Adds rows of what Replay() took to `batch`.
  void PutReplayed(const Store& store, rocksdb::WriteBatch& batch) ABSL_LOCKS_EXCLUDED(mutex_);

  // Texts that are too long are cut; `cut` says whether one was.
  MetricFamily Cut(std::string_view metric, const MetricMetadata& metadata, bool& cut) const;
  // Whether Cut() of it is what is stored.
  bool IsKnown(std::string_view metric, const MetricMetadata& metadata) const
      ABSL_LOCKS_EXCLUDED(mutex_);
  // kNone, kInvalidLabels (a name that is none or too long) or kLimit. `pending`: how many others
  // its batch has.
  AppendError Check(const MetricFamily& family, size_t pending) const ABSL_LOCKS_EXCLUDED(mutex_);

  // Adds the rows of `families`, which have different names, to `batch`. Those that are known by
  // now, or refused, are left out of `families`; returns how many were refused.
  size_t Put(std::vector<MetricFamily>& families, const Store& store, rocksdb::WriteBatch& batch)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // The batch was written.
  void Added(const std::vector<MetricFamily>& families) ABSL_LOCKS_EXCLUDED(mutex_);

  // As MetadataQueryable::Metadata().
  std::vector<MetricFamilyPtr> Select(std::string_view metric) const ABSL_LOCKS_EXCLUDED(mutex_);
  // About what it takes.
  uint64_t MemoryBytes() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view name) const { return StringHash{}(name); }
    size_t operator()(const MetricFamilyPtr& family) const { return StringHash{}(family->name); }
  };
  struct Equal {
    using is_transparent = void;
    static std::string_view Name(std::string_view name) { return name; }
    static std::string_view Name(const MetricFamilyPtr& family) { return family->name; }
    template <typename A, typename B>
    bool operator()(const A& a, const B& b) const {
      return Name(a) == Name(b);
    }
  };
  using FamilySet = absl::flat_hash_set<MetricFamilyPtr, Hash, Equal>;
  // How many metrics there are and what their texts take.
  struct Size {
    size_t metrics = 0;
    size_t bytes = 0;
  };

  bool IsKnownLocked(std::string_view metric, const MetricMetadata& metadata) const
      ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  // Whether there is room for `family` at `size`, which then counts it.
  bool Fits(const MetricFamily& family, Size& size) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  bool IsValidName(std::string_view name) const;
  void Set(MetricFamily family) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const MetadataLimits limits_;
  mutable SharedMutex mutex_;
  FamilySet families_ ABSL_GUARDED_BY(mutex_);
  Size size_ ABSL_GUARDED_BY(mutex_);
  FamilySet replayed_ ABSL_GUARDED_BY(mutex_);  // Of these, those Load() did not find.
};

}  // namespace varve
