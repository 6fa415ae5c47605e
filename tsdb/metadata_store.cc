// SPDX-License-Identifier: Apache-2.0
//
// Metadata in memory and on disk.
#include "tsdb/metadata_store.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "model/status_macros.h"
#include "tsdb/format.h"

namespace varve {

namespace {

// Of an entry beside its texts: its object and its place in the set.
constexpr size_t kEntryBytes = sizeof(MetricFamily) + 48;

// The first `bytes_max` bytes, or up to three less so as not to split a character.
std::string_view CutText(std::string_view text, size_t bytes_max) {
  if (text.size() <= bytes_max) return text;
  size_t bytes = bytes_max;
  while (bytes > 0 && bytes_max - bytes < 3 && (static_cast<uint8_t>(text[bytes]) & 0xc0) == 0x80) {
    --bytes;
  }
  return text.substr(0, bytes);
}

size_t TextBytes(const MetricFamily& family) {
  return family.name.size() + family.metadata.help.size() + family.metadata.unit.size();
}

}  // namespace

absl::Status MetadataStore::Load(const Store& store, std::vector<absl::Status>& damage) {
  std::vector<MetricFamily> loaded;
  RETURN_IF_ERROR(store.Scan(
      store.metadata(), {},
      [&](std::string_view key, std::string_view value) -> absl::StatusOr<bool> {
        absl::StatusOr<MetricMetadata> metadata = DecodeMetadata(value);
        if (metadata.ok()) {
          loaded.push_back({std::string(key), *std::move(metadata)});
        } else {
          damage.push_back(std::move(metadata).status());
        }
        return true;
      },
      &damage));
  const WriterLock lock(mutex_);
  for (MetricFamily& family : loaded) {
    Size size = size_;
    if (IsValidName(family.name) && Fits(family, size)) Set(std::move(family));
  }
  return absl::OkStatus();
}

void MetadataStore::Replay(const std::vector<MetricFamily>& logged) {
  const WriterLock lock(mutex_);
  for (const MetricFamily& family : logged) {
    // A row is as new as the newest record.
    if (families_.contains(family.name) && !replayed_.contains(family.name)) continue;
    Size size = size_;
    if (!IsValidName(family.name) || !Fits(family, size)) continue;
    Set(family);
    const MetricFamilyPtr& set = *families_.find(family.name);
    replayed_.erase(set);
    replayed_.insert(set);
  }
}

void MetadataStore::PutReplayed(const Store& store, rocksdb::WriteBatch& batch) {
  const WriterLock lock(mutex_);
  for (const MetricFamilyPtr& family : replayed_) {
    batch.Put(store.metadata().handle(), family->name, EncodeMetadata(family->metadata));
  }
  replayed_ = {};
}

MetricFamily MetadataStore::Cut(std::string_view metric, const MetricMetadata& metadata,
                                bool& cut) const {
  const std::string_view help = CutText(metadata.help, limits_.help_bytes);
  const std::string_view unit = CutText(metadata.unit, limits_.unit_bytes);
  cut = help.size() < metadata.help.size() || unit.size() < metadata.unit.size();
  return {std::string(metric), {metadata.type, std::string(help), std::string(unit)}};
}

bool MetadataStore::IsKnown(std::string_view metric, const MetricMetadata& metadata) const {
  const ReaderLock lock(mutex_);
  return IsKnownLocked(metric, metadata);
}

bool MetadataStore::IsKnownLocked(std::string_view metric, const MetricMetadata& metadata) const {
  const auto found = families_.find(metric);
  if (found == families_.end()) return false;
  const MetricMetadata& known = (*found)->metadata;
  return known.type == metadata.type && known.help == CutText(metadata.help, limits_.help_bytes) &&
         known.unit == CutText(metadata.unit, limits_.unit_bytes);
}

bool MetadataStore::IsValidName(std::string_view name) const {
  return !name.empty() && name.size() <= limits_.name_bytes && IsValidUtf8(name);
}

AppendError MetadataStore::Check(const MetricFamily& family, size_t pending) const {
  if (!IsValidName(family.name)) return AppendError::kInvalidLabels;
  if (pending >= limits_.metrics) return AppendError::kLimit;
  const ReaderLock lock(mutex_);
  Size size = size_;
  return Fits(family, size) ? AppendError::kNone : AppendError::kLimit;
}

bool MetadataStore::Fits(const MetricFamily& family, Size& size) const {
  Size after = size;
  const auto found = families_.find(family.name);
  if (found == families_.end()) {
    ++after.metrics;
  } else {
    after.bytes -= TextBytes(**found);
  }
  after.bytes += TextBytes(family);
  if (after.metrics > limits_.metrics ||
      (after.bytes > limits_.bytes && after.bytes > size.bytes)) {
    return false;
  }
  size = after;
  return true;
}

size_t MetadataStore::Put(std::vector<MetricFamily>& families, const Store& store,
                          rocksdb::WriteBatch& batch) {
  const ReaderLock lock(mutex_);
  Size size = size_;
  size_t refused = 0;
  std::erase_if(families, [&](const MetricFamily& family) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    if (IsKnownLocked(family.name, family.metadata)) return true;
    if (Fits(family, size)) return false;
    ++refused;
    return true;
  });
  for (const MetricFamily& family : families) {
    batch.Put(store.metadata().handle(), family.name, EncodeMetadata(family.metadata));
  }
  return refused;
}

void MetadataStore::Added(const std::vector<MetricFamily>& families) {
  if (families.empty()) return;
  const WriterLock lock(mutex_);
  for (const MetricFamily& family : families) Set(family);
}

void MetadataStore::Set(MetricFamily family) {
  size_.bytes += TextBytes(family);
  auto set = std::make_shared<const MetricFamily>(std::move(family));
  if (const auto found = families_.find(set->name); found != families_.end()) {
    size_.bytes -= TextBytes(**found);
    families_.erase(found);
  }
  families_.insert(std::move(set));
  size_.metrics = families_.size();
}

std::vector<MetricFamilyPtr> MetadataStore::Select(std::string_view metric) const {
  std::vector<MetricFamilyPtr> selected;
  {
    const ReaderLock lock(mutex_);
    if (!metric.empty()) {
      if (const auto found = families_.find(metric); found != families_.end()) return {*found};
      return {};
    }
    selected.assign(families_.begin(), families_.end());
  }
  std::sort(selected.begin(), selected.end(),
            [](const MetricFamilyPtr& a, const MetricFamilyPtr& b) { return a->name < b->name; });
  return selected;
}

uint64_t MetadataStore::MemoryBytes() const {
  const ReaderLock lock(mutex_);
  return size_.bytes + size_.metrics * kEntryBytes;
}

}  // namespace varve
