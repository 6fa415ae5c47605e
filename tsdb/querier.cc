// SPDX-License-Identifier: Apache-2.0
//
// Reading. A series set notes the time of each series' last sample when it is made and never
// returns later ones: samples of a series come in order, so this is a consistent view without
// copying anything. A read copies what memory holds first and takes the hot families after, so
// that a chunk on its way from one to the other is seen in either or both; samples at times
// already seen are skipped.
#include "tsdb/querier.h"

#include <absl/container/flat_hash_map.h>
#include <rocksdb/db.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "model/check.h"
#include "model/mutex.h"
#include "model/status_macros.h"

namespace varve {

namespace {

// Iterators over hot families, used again by the next read: making one costs more than a seek.
// Thread-safe.
class IteratorPool {
 public:
  // An iterator over the family's state of now or later.
  std::unique_ptr<rocksdb::Iterator> Take(const HotFamily& hot) ABSL_LOCKS_EXCLUDED(mutex_) {
    std::unique_ptr<rocksdb::Iterator> iterator;
    {
      MutexLock lock(mutex_);
      const auto it = idle_.find(hot.number);
      if (it != idle_.end() && !it->second.iterators.empty()) {
        iterator = std::move(it->second.iterators.back());
        it->second.iterators.pop_back();
      }
    }
    if (iterator != nullptr && iterator->Refresh().ok()) return iterator;
    return std::unique_ptr<rocksdb::Iterator>(
        hot.family->db().NewIterator(rocksdb::ReadOptions(), hot.family->handle()));
  }

  void Return(const HotFamily& hot, std::unique_ptr<rocksdb::Iterator> iterator)
      ABSL_LOCKS_EXCLUDED(mutex_) {
    MutexLock lock(mutex_);
    Idle& idle = idle_[hot.number];
    idle.family = hot.family;
    if (idle.iterators.size() < kIdleMax) idle.iterators.push_back(std::move(iterator));
  }

 private:
  static constexpr size_t kIdleMax = 16;  // Of one family: the threads that read at a time.
  struct Idle {
    FamilyPtr family;  // Outlives its iterators.
    std::vector<std::unique_ptr<rocksdb::Iterator>> iterators;
  };

  Mutex mutex_;
  absl::flat_hash_map<uint64_t, Idle> idle_ ABSL_GUARDED_BY(mutex_);  // By family number.
};

// Appends the samples of the chunks of `id` in one bucket of the iterator's family.
absl::Status ReadChunks(rocksdb::Iterator& it, const BucketTable::Bucket& bucket, uint64_t id,
                        TimestampMs min, TimestampMs max, SeriesSamples& samples) {
  const std::string from =
      EncodeHotKey({.partition = bucket.partition,
                    .bucket_start = bucket.start,
                    .series = id,
                    .first_time = std::max(min, kMinTimestamp + kChunkSpanMax) - kChunkSpanMax});
  for (it.Seek(from); it.Valid(); it.Next()) {
    ASSIGN_OR_RETURN(const HotKey found, DecodeHotKey(ToView(it.key())));
    if (found.series != id || found.bucket_start != bucket.start ||
        found.partition != bucket.partition || found.first_time > max) {
      break;
    }
    ASSIGN_OR_RETURN(const HotChunk chunk, DecodeHotChunk(ToView(it.value())));
    if (chunk.end_time < min) continue;
    RETURN_IF_ERROR(DecodeChunkSamples(chunk, found.first_time, min, max, samples));
  }
  return FromRocks(it.status(), "reading chunks");
}

absl::Status ReadHot(const HotSet& set, IteratorPool& pool, uint64_t id, TimestampMs min,
                     TimestampMs max, SeriesSamples& samples) {
  for (const std::shared_ptr<HotFamily>& hot : set.families) {
    const TimestampMs hot_min = hot->min.load(std::memory_order_relaxed);
    const TimestampMs hot_max = hot->max.load(std::memory_order_relaxed);
    if (hot_min > max || hot_max < min) continue;
    std::unique_ptr<rocksdb::Iterator> it = pool.Take(*hot);
    for (const BucketTable::Bucket& bucket : set.buckets.buckets()) {
      if (bucket.start > std::min(max, hot_max) || bucket.end <= std::max(min, hot_min)) continue;
      RETURN_IF_ERROR(ReadChunks(*it, bucket, id, min, max, samples));
    }
    pool.Return(*hot, std::move(it));
  }
  return absl::OkStatus();
}

template <typename T>
void Permute(std::vector<T>& items, const std::vector<uint32_t>& order) {
  std::vector<T> sorted;
  sorted.reserve(order.size());
  for (const uint32_t index : order) sorted.push_back(std::move(items[index]));
  items = std::move(sorted);
}

// Adds the samples of `other` (another id of the same labels) to `samples`. At equal times the
// one in `samples` stays.
void MergeSamples(SeriesSamples other, SeriesSamples& samples) {
  SeriesSamples merged;
  const bool starts = !samples.start_times.empty() || !other.start_times.empty();
  const bool histogram_starts =
      !samples.histogram_start_times.empty() || !other.histogram_start_times.empty();
  const auto start_at = [](const std::vector<TimestampMs>& times, size_t i) {
    return times.empty() ? 0 : times[i];
  };
  for (size_t i = 0, j = 0; i < samples.times.size() || j < other.times.size();) {
    const bool first =
        j == other.times.size() || (i < samples.times.size() && samples.times[i] <= other.times[j]);
    const SeriesSamples& from = first ? samples : other;
    const size_t at = first ? i++ : j++;
    if (!merged.times.empty() && merged.times.back() == from.times[at]) continue;
    merged.times.push_back(from.times[at]);
    merged.values.push_back(from.values[at]);
    if (starts) merged.start_times.push_back(start_at(from.start_times, at));
  }
  for (size_t i = 0, j = 0; i < samples.histograms.size() || j < other.histograms.size();) {
    const bool first =
        j == other.histograms.size() ||
        (i < samples.histograms.size() && samples.histograms[i].time <= other.histograms[j].time);
    const SeriesSamples& from = first ? samples : other;
    const size_t at = first ? i++ : j++;
    if (!merged.histograms.empty() && merged.histograms.back().time == from.histograms[at].time) {
      continue;
    }
    merged.histograms.push_back(from.histograms[at]);
    if (histogram_starts) {
      merged.histogram_start_times.push_back(start_at(from.histogram_start_times, at));
    }
  }
  samples = std::move(merged);
}

class HeadSeriesSet : public SeriesSet {
 public:
  // `views` and `labels` belong together; sorts them, and merges equal labels.
  HeadSeriesSet(std::shared_ptr<const ReadState> state, std::vector<SeriesView> views,
                std::vector<Labels> labels, uint64_t limit)
      : state_(std::move(state)), hot_(state_->write_path->hot_set()) {
    std::vector<uint32_t> order(views.size());
    for (uint32_t i = 0; i < order.size(); ++i) order[i] = i;
    std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
      const auto by_labels = labels[a] <=> labels[b];
      return by_labels != 0 ? by_labels < 0 : a < b;
    });
    Permute(views, order);
    Permute(labels, order);
    for (size_t i = 0; i < views.size(); ++i) {
      if (labels[i].empty()) continue;  // Left between being found and being looked at.
      if (labels_.empty() || labels_.back() != labels[i]) {
        if (limit > 0 && labels_.size() == limit) break;
        labels_.push_back(std::move(labels[i]));
        first_view_.push_back(views_.size());
      }
      views_.push_back(views[i]);
    }
    first_view_.push_back(views_.size());
  }

  size_t size() const override { return labels_.size(); }
  const Labels& labels(size_t index) const override { return labels_[index]; }

  absl::Status Read(size_t index, TimestampMs min, TimestampMs max,
                    SeriesSamples& samples) const override {
    INVARIANT(index < labels_.size());
    samples.Clear();
    const size_t first = first_view_[index];
    RETURN_IF_ERROR(ReadView(views_[first], min, max, samples));
    for (size_t i = first + 1; i < first_view_[index + 1]; ++i) {
      SeriesSamples other;
      RETURN_IF_ERROR(ReadView(views_[i], min, max, other));
      MergeSamples(std::move(other), samples);
    }
    return absl::OkStatus();
  }

 private:
  absl::Status ReadView(const SeriesView& view, TimestampMs min, TimestampMs max,
                        SeriesSamples& samples) const {
    max = std::min(max, view.last_time);
    if (min > max) return absl::OkStatus();
    const Head::OpenSamples open = state_->head->CopyOpen(view.id);
    const bool in_memory = !open.closed.empty() ? open.closed.front()->key.first_time <= min
                                                : !open.open.empty() && open.open_first_time <= min;
    if (!in_memory) {
      const std::shared_ptr<const HotSet> now = state_->write_path->hot_set();
      // Families that expired since the set was made are read all the same.
      if (now != hot_)
        RETURN_IF_ERROR(ReadHot(Expired(*now), iterators_, view.id, min, max, samples));
      RETURN_IF_ERROR(ReadHot(*now, iterators_, view.id, min, max, samples));
    }
    for (const std::shared_ptr<const ClosedChunk>& closed : open.closed) {
      ASSIGN_OR_RETURN(const HotChunk chunk, DecodeHotChunk(closed->value));
      RETURN_IF_ERROR(DecodeChunkSamples(chunk, closed->key.first_time, min, max, samples));
    }
    if (open.open.empty() || open.open_first_time > max) return absl::OkStatus();
    ASSIGN_OR_RETURN(const HotChunk chunk, DecodeHotChunk(open.open));
    return DecodeChunkSamples(chunk, open.open_first_time, min, max, samples);
  }

  HotSet Expired(const HotSet& now) const {
    HotSet expired;
    expired.buckets = hot_->buckets;
    for (const std::shared_ptr<HotFamily>& hot : hot_->families) {
      if (std::find(now.families.begin(), now.families.end(), hot) == now.families.end()) {
        expired.families.push_back(hot);
      }
    }
    return expired;
  }

  std::shared_ptr<const ReadState> state_;
  std::shared_ptr<const HotSet> hot_;
  std::vector<Labels> labels_;
  std::vector<SeriesView> views_;
  std::vector<size_t> first_view_;  // Of each labels_, and one past the last.
  mutable IteratorPool iterators_;
};

class HeadQuerier : public Querier {
 public:
  HeadQuerier(std::shared_ptr<const ReadState> state, TimestampMs min, TimestampMs max)
      : state_(std::move(state)), min_(min), max_(max) {}

  absl::StatusOr<std::unique_ptr<SeriesSet>> Select(const std::vector<Matcher>& matchers,
                                                    const SelectHints& hints) const override {
    const Head& head = *state_->head;
    std::vector<SeriesView> views =
        head.View(head.index().Select(matchers), std::max(min_, hints.start_ms),
                  std::min(max_, hints.end_ms));
    std::vector<Labels> labels = head.index().LabelsOf(Ids(views));
    return std::make_unique<HeadSeriesSet>(state_, std::move(views), std::move(labels),
                                           hints.limit);
  }

  absl::StatusOr<LabelTexts> LabelNames(const std::vector<std::vector<Matcher>>& matcher_sets,
                                        uint64_t limit) const override {
    const SeriesIndex& index = state_->head->index();
    if (matcher_sets.empty()) {
      return index.Names([this](uint64_t id) { return InRange(id); }, limit);
    }
    return index.NamesOf(SelectAny(matcher_sets), limit);
  }

  absl::StatusOr<LabelTexts> LabelValues(std::string_view name,
                                         const std::vector<std::vector<Matcher>>& matcher_sets,
                                         uint64_t limit) const override {
    const SeriesIndex& index = state_->head->index();
    if (matcher_sets.empty()) {
      return index.Values(
          name, [this](uint64_t id) { return InRange(id); }, limit);
    }
    return index.ValuesOf(name, SelectAny(matcher_sets), limit);
  }

 private:
  static std::vector<uint64_t> Ids(const std::vector<SeriesView>& views) {
    std::vector<uint64_t> ids;
    ids.reserve(views.size());
    for (const SeriesView& view : views) ids.push_back(view.id);
    return ids;
  }

  bool InRange(uint64_t id) const { return state_->head->MayHaveSamples(id, min_, max_); }

  std::vector<uint64_t> SelectAny(const std::vector<std::vector<Matcher>>& matcher_sets) const {
    const Head& head = *state_->head;
    std::vector<uint64_t> ids;
    for (const std::vector<Matcher>& matchers : matcher_sets) {
      const std::vector<uint64_t> selected =
          Ids(head.View(head.index().Select(matchers), min_, max_));
      std::vector<uint64_t> both;
      std::set_union(ids.begin(), ids.end(), selected.begin(), selected.end(),
                     std::back_inserter(both));
      ids = std::move(both);
    }
    return ids;
  }

  std::shared_ptr<const ReadState> state_;
  const TimestampMs min_;
  const TimestampMs max_;
};

}  // namespace

std::unique_ptr<Querier> NewHeadQuerier(std::shared_ptr<const ReadState> state, TimestampMs min,
                                        TimestampMs max) {
  return std::make_unique<HeadQuerier>(std::move(state), min, max);
}

}  // namespace varve
