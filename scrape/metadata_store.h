// SPDX-License-Identifier: Apache-2.0
//
// Metadata of exposed metrics. A thousand node exporters expose the same help texts: each distinct
// one is kept once, and targets point at it.
#pragma once

#include <absl/base/thread_annotations.h>
#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "model/metric_metadata.h"
#include "model/mutex.h"
#include "scrape/exposition.h"

namespace varve {

// Thread-safe.
class MetadataPool {
 public:
  // The one copy of `family`.
  MetricFamilyPtr Intern(MetricFamily family) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Hash {
    size_t operator()(const MetricFamilyPtr& family) const;
  };
  struct Equal {
    bool operator()(const MetricFamilyPtr& a, const MetricFamilyPtr& b) const { return *a == *b; }
  };
  void DropUnused() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Mutex mutex_;
  absl::flat_hash_set<MetricFamilyPtr, Hash, Equal> families_ ABSL_GUARDED_BY(mutex_);
  size_t sweep_at_ ABSL_GUARDED_BY(mutex_) = 1024;
};

// What one target exposes. Thread-safe.
class TargetMetadataStore {
 public:
  explicit TargetMetadataStore(MetadataPool& pool) : pool_(pool) {}

  // Records a HELP, TYPE or UNIT line and returns the number of its metric's item, which counts
  // one line more.
  uint32_t Add(const ExpositionReader& line, LineKind kind) ABSL_LOCKS_EXCLUDED(mutex_);
  // Counts one line less; an item without lines is forgotten.
  void Release(uint32_t item) ABSL_LOCKS_EXCLUDED(mutex_);

  // In order of the items; all of them, or `metric` only.
  std::vector<MetricFamilyPtr> Families(std::string_view metric = "") const
      ABSL_LOCKS_EXCLUDED(mutex_);
  size_t size() const ABSL_LOCKS_EXCLUDED(mutex_);

  // Those that are new, or have changed, since ForgetChanges() was called.
  std::vector<MetricFamilyPtr> Changes() const ABSL_LOCKS_EXCLUDED(mutex_);
  void ForgetChanges() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Item {
    MetricFamilyPtr family;  // Null: free.
    uint32_t lines = 0;
    bool changed = false;  // It is in changed_.
  };

  uint32_t NewItem() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  MetadataPool& pool_;
  mutable Mutex mutex_;
  std::vector<Item> items_ ABSL_GUARDED_BY(mutex_);
  std::vector<uint32_t> free_ ABSL_GUARDED_BY(mutex_);
  std::vector<uint32_t> changed_ ABSL_GUARDED_BY(mutex_);
  // By the hash of the metric's name; of two names with one hash, the newer.
  absl::flat_hash_map<uint64_t, uint32_t> by_name_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace varve
