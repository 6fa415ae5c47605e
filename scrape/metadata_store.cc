// SPDX-License-Identifier: Apache-2.0
//
// A target's items are found by the hash of the metric's name: lines of known texts never come
// here, so that a second copy of every name would cost more than it is worth.
#include "scrape/metadata_store.h"

#include <xxhash.h>

#include <utility>

namespace varve {

size_t MetadataPool::Hash::operator()(const MetricFamilyPtr& family) const {
  uint64_t hash = XXH3_64bits(family->name.data(), family->name.size());
  hash = XXH3_64bits_withSeed(family->metadata.help.data(), family->metadata.help.size(), hash);
  return XXH3_64bits_withSeed(family->metadata.unit.data(), family->metadata.unit.size(), hash) +
         static_cast<size_t>(family->metadata.type);
}

MetricFamilyPtr MetadataPool::Intern(MetricFamily family) {
  auto made = std::make_shared<const MetricFamily>(std::move(family));
  MutexLock lock(mutex_);
  if (families_.size() >= sweep_at_) DropUnused();
  return *families_.insert(std::move(made)).first;
}

void MetadataPool::DropUnused() {
  for (auto family = families_.begin(); family != families_.end();) {
    if (family->use_count() == 1) {
      families_.erase(family++);
    } else {
      ++family;
    }
  }
  sweep_at_ = 1024 + 2 * families_.size();
}

uint32_t TargetMetadataStore::NewItem() {
  if (free_.empty()) {
    items_.emplace_back();
    return static_cast<uint32_t>(items_.size() - 1);
  }
  const uint32_t item = free_.back();
  free_.pop_back();
  return item;
}

uint32_t TargetMetadataStore::Add(const ExpositionReader& line, LineKind kind) {
  MutexLock lock(mutex_);
  const uint64_t hash = XXH3_64bits(line.metric().data(), line.metric().size());
  const auto found = by_name_.find(hash);
  const bool known = found != by_name_.end() && items_[found->second].family->name == line.metric();
  const uint32_t at = known ? found->second : NewItem();
  by_name_[hash] = at;
  MetricFamily changed;
  if (known) {
    changed = *items_[at].family;
  } else {
    changed.name = line.metric();
  }
  if (kind == LineKind::kHelp) changed.metadata.help = line.help();
  if (kind == LineKind::kType) changed.metadata.type = line.type();
  if (kind == LineKind::kUnit) changed.metadata.unit = line.unit();
  Item& item = items_[at];
  MetricFamilyPtr family = pool_.Intern(std::move(changed));
  if (family != item.family && !std::exchange(item.changed, true)) changed_.push_back(at);
  item.family = std::move(family);
  ++item.lines;
  return at;
}

void TargetMetadataStore::Release(uint32_t item) {
  MutexLock lock(mutex_);
  if (item >= items_.size() || items_[item].lines == 0) return;
  if (--items_[item].lines > 0) return;
  const std::string& name = items_[item].family->name;
  const auto found = by_name_.find(XXH3_64bits(name.data(), name.size()));
  if (found != by_name_.end() && found->second == item) by_name_.erase(found);
  items_[item].family.reset();
  free_.push_back(item);
}

std::vector<MetricFamilyPtr> TargetMetadataStore::Families(std::string_view metric) const {
  MutexLock lock(mutex_);
  std::vector<MetricFamilyPtr> found;
  for (const Item& item : items_) {
    if (item.family != nullptr && (metric.empty() || item.family->name == metric)) {
      found.push_back(item.family);
    }
  }
  return found;
}

std::vector<MetricFamilyPtr> TargetMetadataStore::Changes() const {
  MutexLock lock(mutex_);
  std::vector<MetricFamilyPtr> changes;
  for (const uint32_t at : changed_) {
    if (items_[at].family != nullptr) changes.push_back(items_[at].family);
  }
  return changes;
}

void TargetMetadataStore::ForgetChanges() {
  MutexLock lock(mutex_);
  for (const uint32_t at : changed_) items_[at].changed = false;
  changed_ = {};
}

size_t TargetMetadataStore::size() const {
  MutexLock lock(mutex_);
  return items_.size() - free_.size();
}

}  // namespace varve
