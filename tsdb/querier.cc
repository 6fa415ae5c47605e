// SPDX-License-Identifier: Apache-2.0
//
// Reading. A series set notes the time of each series' last sample when it is made and never
// returns later ones, and it pins a bucket table: samples of a series come in order, so this is a
// consistent view without copying anything. The head is looked at before the table is pinned, and a
// read copies what memory holds before it asks for the table of now, so that a chunk on its way
// from memory to a hot family to a generation is seen somewhere; samples at times already seen are
// skipped.
#include "tsdb/querier.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <optional>
#include <set>
#include <utility>

#include "model/check.h"
#include "model/label_order.h"
#include "model/status_macros.h"
#include "tsdb/merge_samples.h"
#include "tsdb/neighbours.h"
#include "tsdb/postings.h"
#include "tsdb/read_set.h"

namespace varve {

namespace {

// An id of a selected series.
struct Source {
  uint64_t id = 0;
  bool in_memory = false;
  TimestampMs last_time = kMaxTimestamp;  // Later samples came after the view; if in memory.
  TimestampMs min_time = kMinTimestamp;   // Nothing is older; as far as known.
  bool is_present = false;                // SeriesView::is_present, if nothing is deleted.
};

// What a selector found: the ids of series with their labels, and where they are stored.
struct Selection {
  std::vector<Source> sources;                      // Those in memory first; each part by id.
  std::vector<Labels> labels;                       // Of each source, unless they are shared.
  std::optional<SeriesIndex::SharedLabels> shared;  // Only with sources in memory.
  // Of each set of `shared`, how many series it has beside `sources`, all of them present.
  std::vector<uint64_t> present;
  std::shared_ptr<const HotSet> pinned;
  ReadSet::SelectedIds stored;
};

// Of views or sources.
template <typename Series>
std::vector<uint64_t> IdsOf(const std::vector<Series>& all) {
  std::vector<uint64_t> ids;
  ids.reserve(all.size());
  for (const Series& one : all) ids.push_back(one.id);
  return ids;
}

// How many of `sources` are in memory; they come first.
size_t InMemory(const std::vector<Source>& sources) {
  const auto end = std::partition_point(sources.begin(), sources.end(),
                                        [](const Source& source) { return source.in_memory; });
  return static_cast<size_t>(end - sources.begin());
}

// Of those in memory.
std::vector<TimestampMs> LastTimesOf(const std::vector<Source>& sources) {
  std::vector<TimestampMs> times(InMemory(sources));
  for (size_t i = 0; i < times.size(); ++i) times[i] = sources[i].last_time;
  return times;
}

// Only counts those that are present. REQUIRES: labels are shared.
void CountPresent(Selection& selection) {
  std::vector<uint32_t>& set_of = selection.shared->set_of;
  selection.present.resize(selection.shared->sets.size());
  size_t kept = 0;
  for (size_t i = 0; i < set_of.size(); ++i) {
    if (selection.sources[i].is_present && set_of[i] != SeriesIndex::kNoSet) {
      ++selection.present[set_of[i]];
      continue;
    }
    selection.sources[kept] = selection.sources[i];
    set_of[kept++] = set_of[i];
  }
  selection.sources.resize(kept);
  set_of.resize(kept);
}

// Keeps the views of `ids`, which rise as they do.
void KeepIds(const std::vector<uint64_t>& ids, std::vector<SeriesView>& views) {
  auto next = ids.begin();
  std::erase_if(views, [&](const SeriesView& view) {
    if (next == ids.end() || *next != view.id) return true;
    ++next;
    return false;
  });
}

// Asks the pinned generations that overlap [min, max].
absl::Status SelectStored(const std::vector<Matcher>& matchers, TimestampMs min, TimestampMs max,
                          Selection& selection) {
  for (const GenerationPtr& generation : selection.pinned->generations) {
    if (!generation->Overlaps(min, max)) continue;
    ASSIGN_OR_RETURN(selection.stored[generation.get()], generation->Select(matchers));
  }
  return absl::OkStatus();
}

// The ids in generations that are not in `known`, rising. REQUIRES: `known` rises.
std::vector<uint64_t> StoredIds(const Selection& selection, absl::Span<const uint64_t> known) {
  std::vector<uint64_t> ids;
  for (const auto& [generation, stored] : selection.stored) {
    std::set_difference(stored.begin(), stored.end(), known.begin(), known.end(),
                        std::back_inserter(ids));
  }
  SortIds(ids);
  return ids;
}

// The labels of `ids`, which rise: from memory, else from the generations that have them.
absl::StatusOr<std::vector<Labels>> LabelsOfStored(const Selection& selection,
                                                   const SeriesIndex& index,
                                                   absl::Span<const uint64_t> ids) {
  std::vector<Labels> labels = index.LabelsOf(ids);
  std::vector<size_t> missing;  // Positions, rising.
  for (size_t i = 0; i < ids.size(); ++i) {
    if (labels[i].empty()) missing.push_back(i);
  }
  for (const auto& [generation, stored] : selection.stored) {
    std::vector<uint64_t> wanted;
    std::vector<size_t> positions;
    std::vector<size_t> elsewhere;
    for (const size_t position : missing) {
      if (std::binary_search(stored.begin(), stored.end(), ids[position])) {
        wanted.push_back(ids[position]);
        positions.push_back(position);
      } else {
        elsewhere.push_back(position);
      }
    }
    ASSIGN_OR_RETURN(std::vector<Labels> found, generation->LabelsOf(wanted));
    for (size_t i = 0; i < found.size(); ++i) labels[positions[i]] = std::move(found[i]);
    missing = std::move(elsewhere);
    if (missing.empty()) break;
  }
  return labels;
}

class StoredSeriesSet : public SeriesSet {
 public:
  // Of [min, max]. Sorts the selection by labels, and merges equal ones.
  StoredSeriesSet(std::shared_ptr<const Engine> engine, std::shared_ptr<ReadDamage> damage,
                  Selection selection, TimestampMs min, TimestampMs max, const SelectHints& hints)
      : engine_(std::move(engine)),
        damage_(std::move(damage)),
        min_(min),
        max_(max),
        newest_only_(hints.newest_only),
        newest_present_only_(hints.newest_only && hints.presence_only),
        sources_(std::move(selection.sources)),
        read_set_(std::move(selection.pinned), std::move(selection.stored), !hints.presence_only),
        neighbours_(*engine_, read_set_, IdsOf(sources_), InMemory(sources_),
                    newest_only_ ? std::optional(LastTimesOf(sources_)) : std::nullopt) {
    if (selection.shared.has_value()) {
      ShareLabels(std::move(*selection.shared), std::move(selection.present));
      return;
    }
    std::vector<Labels>& labels = selection.labels;
    const auto older = [this](uint32_t a, uint32_t b) { return sources_[a].id < sources_[b].id; };
    by_labels_.reserve(labels.size());
    for (const uint32_t i : OrderOfLabels(labels)) {
      if (labels[i].empty()) continue;  // Left memory between being found and being looked at.
      if (labels_.empty() || labels_.back() != labels[i]) {
        if (hints.limit > 0 && labels_.size() == hints.limit) break;
        labels_.push_back(std::move(labels[i]));
        first_source_.push_back(by_labels_.size());
      }
      // Of equal labels the oldest series first.
      const auto begin = by_labels_.begin() + static_cast<ptrdiff_t>(first_source_.back());
      by_labels_.insert(std::upper_bound(begin, by_labels_.end(), i, older), i);
    }
    first_source_.push_back(by_labels_.size());
  }

  size_t size() const override { return first_source_.size() - 1; }
  const Labels& labels(size_t index) const override {
    return labels_[set_of_.empty() ? index : set_of_[index]];
  }

  uint64_t Alike(size_t index) const override {
    return HasNoSource(index) ? present_[set_of_[index]] : 1;
  }

  bool is_known() const override {
    if (!newest_present_only_) return false;
    const auto counted = std::count_if(present_.begin(), present_.end(),
                                       [](uint64_t present) { return present > 0; });
    const auto present = std::count_if(sources_.begin(), sources_.end(),
                                       [](const Source& source) { return source.is_present; });
    return 2 * (counted + present) > counted + static_cast<ptrdiff_t>(sources_.size());
  }

  absl::Status Read(size_t index, TimestampMs min, TimestampMs max,
                    SeriesSamples& samples) const override {
    INVARIANT(index < size());
    samples.Clear();
    if (IsPresent(index, min, max)) {
      samples.times.push_back(max_);
      samples.values.push_back(0);
      return absl::OkStatus();
    }
    const size_t first = first_source_[index];
    std::vector<ColumnDamage> damage;
    RETURN_IF_ERROR(ReadSource(by_labels_[first], min, max, damage, samples));
    for (size_t i = first + 1; i < first_source_[index + 1]; ++i) {
      SeriesSamples other;
      RETURN_IF_ERROR(ReadSource(by_labels_[i], min, max, damage, other));
      MergeSamples(std::move(other), samples);
    }
    for (const ColumnDamage& part : damage) {
      damage_->Note("samples",
                    fmt::format("samples of {} from {} to {}: {}", AllLabels(index).ToString(),
                                FormatRfc3339(part.min), FormatRfc3339(part.max), part.what));
    }
    return absl::OkStatus();
  }

 private:
  using Copies = std::shared_ptr<const NeighbourCopies>;

  // Sorts the sources by the set that each has, behind a series for those of it that are `present`.
  void ShareLabels(SeriesIndex::SharedLabels shared, std::vector<uint64_t> present) {
    present_ = std::move(present);
    present_.resize(shared.sets.size());
    std::vector<size_t> begins(shared.sets.size() + 1);
    for (const uint32_t set : shared.set_of) {
      if (set != SeriesIndex::kNoSet) ++begins[set + 1];  // Others left memory meanwhile.
    }
    for (size_t set = 1; set < begins.size(); ++set) begins[set] += begins[set - 1];
    by_labels_.resize(begins.back());
    for (uint32_t set = 0; set < shared.sets.size(); ++set) {
      const auto add = [&](size_t source) {
        set_of_.push_back(set);
        first_source_.push_back(source);
      };
      if (present_[set] > 0) add(begins[set]);
      for (size_t source = begins[set]; source < begins[set + 1]; ++source) add(source);
    }
    first_source_.push_back(by_labels_.size());
    for (uint32_t i = 0; i < shared.set_of.size(); ++i) {
      if (shared.set_of[i] != SeriesIndex::kNoSet) by_labels_[begins[shared.set_of[i]]++] = i;
    }
    labels_ = std::move(shared.sets);
  }

  // Whether it stands for series that are present.
  bool HasNoSource(size_t index) const { return first_source_[index] == first_source_[index + 1]; }

  // Whether it has a sample in [min, max], and more of it does not count.
  bool IsPresent(size_t index, TimestampMs min, TimestampMs max) const {
    if (HasNoSource(index)) return true;
    const size_t first = first_source_[index];
    return newest_present_only_ && min == min_ && max == max_ &&
           first + 1 == first_source_[index + 1] && sources_[by_labels_[first]].is_present;
  }

  // Also those that were left out, if the series is still in memory.
  Labels AllLabels(size_t index) const {
    if (set_of_.empty()) return labels_[index];
    Labels all = engine_->head.index().LabelsOf(sources_[by_labels_[first_source_[index]]].id);
    return all.empty() ? labels(index) : all;
  }

  absl::Status ReadSource(size_t index, TimestampMs min, TimestampMs max,
                          std::vector<ColumnDamage>& damage, SeriesSamples& samples) const {
    const Source& source = sources_[index];
    if (source.in_memory) return ReadInMemory(index, min, max, damage, samples);
    const std::shared_ptr<const TombstoneSet> deleted = engine_->write_path.tombstones();
    ReadSet::Source stored{.id = source.id};
    const Copies copies = neighbours_.Take(index, min, max, samples.cost);
    if (copies != nullptr) {
      stored.copies = &copies->stored;
      stored.place = copies->stored_place[neighbours_.Place(index)];
    }
    return read_set_.Read(stored, deleted->Of(source.id), min, max, damage, samples);
  }

  absl::Status ReadInMemory(size_t index, TimestampMs min, TimestampMs asked_max,
                            std::vector<ColumnDamage>& damage, SeriesSamples& samples) const {
    const Source& source = sources_[index];
    const TimestampMs max = std::min(asked_max, source.last_time);
    if (min > max) return absl::OkStatus();
    const Copies copies = neighbours_.Take(index, min, asked_max, samples.cost);
    const size_t place = neighbours_.Place(index);
    if (newest_only_) {
      const NewestSample newest = copies != nullptr
                                      ? copies->newest[place]
                                      : engine_->head.ReadNewest({{source.id, max}}, min).front();
      if (newest.found && engine_->write_path.tombstones()->Of(source.id).empty()) {
        if (newest.decoded_bytes > 0) ++samples.cost.chunks;
        samples.cost.bytes += newest.decoded_bytes;
        samples.times.push_back(newest.sample.time);
        samples.values.push_back(newest.sample.value);
        return absl::OkStatus();
      }
    }
    if (copies != nullptr && copies->open_place[place] != NeighbourCopies::kNowhere) {
      const std::shared_ptr<const TombstoneSet> deleted = engine_->write_path.tombstones();
      const OpenSamples& open = copies->open[copies->open_place[place]];
      const bool all_open = IsAllOpen(open, NeededFrom(min, max, deleted->Of(source.id)), min);
      const uint8_t stored_place = copies->stored_place[place];
      if (all_open || stored_place != NeighbourCopies::kNowhere) {
        return ReadParts({.id = source.id,
                          .now = read_set_.pinned(),
                          .copies = &copies->stored,
                          .place = stored_place},
                         open, all_open, deleted->Of(source.id), min, max, damage, samples);
      }
    }
    const OpenSamples open = engine_->head.CopyOpen(source.id);
    const std::shared_ptr<const TombstoneSet> deleted = engine_->write_path.tombstones();
    const bool all_open = IsAllOpen(open, NeededFrom(min, max, deleted->Of(source.id)), min);
    return ReadParts({.id = source.id, .now = engine_->write_path.hot_set()}, open, all_open,
                     deleted->Of(source.id), min, max, damage, samples);
  }

  // Without deletions, the newest sample is in memory if anything up to `max` is.
  TimestampMs NeededFrom(TimestampMs min, TimestampMs max,
                         absl::Span<const Tombstone> deleted) const {
    return newest_only_ && deleted.empty() ? max : min;
  }

  // What is stored of a series, unless `all_open`, and what was copied of it in memory.
  absl::Status ReadParts(const ReadSet::Source& stored, const OpenSamples& open, bool all_open,
                         absl::Span<const Tombstone> deleted, TimestampMs min, TimestampMs max,
                         std::vector<ColumnDamage>& damage, SeriesSamples& samples) const {
    if (!all_open) {
      RETURN_IF_ERROR(read_set_.Read(stored, deleted, min, max, damage, samples));
    }
    for (const std::shared_ptr<const ClosedChunk>& closed : open.closed) {
      RETURN_IF_ERROR(ReadChunk(closed->value, closed->key, deleted, min, max, samples));
    }
    if (!open.open.empty() && open.open_first_time <= max) {
      RETURN_IF_ERROR(
          ReadChunk(open.open, {.first_time = open.open_first_time}, deleted, min, max, samples));
    }
    for (const std::shared_ptr<const ClosedChunk>& closed : open.late_closed) {
      if (closed->key.first_time > max || closed->last_time < min) continue;
      RETURN_IF_ERROR(ReadChunk(closed->value, closed->key, deleted, min, max, samples));
    }
    // Those that no chunk has came after any tombstone.
    if (!open.late.times.empty() || !open.late.histograms.empty()) {
      MergeSamples(Within(open.late, min, max), samples);
    }
    return absl::OkStatus();
  }

  static absl::Status ReadChunk(std::string_view value, const HotKey& key,
                                absl::Span<const Tombstone> deleted, TimestampMs min,
                                TimestampMs max, SeriesSamples& samples) {
    ++samples.cost.chunks;
    samples.cost.bytes += value.size();
    ASSIGN_OR_RETURN(const HotChunk chunk, DecodeHotChunk(value));
    return ReadLiving(deleted, key.late >> kLateSequenceShift, samples, [&](SeriesSamples& into) {
      return DecodeInto(std::max(key.first_time, min), into, [&](SeriesSamples& to) {
        return DecodeChunkSamples(chunk, key.first_time, min, max, to);
      });
    });
  }

  const std::shared_ptr<const Engine> engine_;
  const std::shared_ptr<ReadDamage> damage_;
  const TimestampMs min_;
  const TimestampMs max_;
  const bool newest_only_;
  const bool newest_present_only_;     // Nor does its value or its time count.
  const std::vector<Source> sources_;  // As selected.
  const ReadSet read_set_;
  mutable Neighbours neighbours_;  // Of sources_.
  std::vector<Labels> labels_;
  std::vector<uint64_t> present_;     // Of each of labels_, series beside sources_, if shared.
  std::vector<uint32_t> set_of_;      // Of each series, which of labels_ it has; empty: its own.
  std::vector<uint32_t> by_labels_;   // Places in sources_.
  std::vector<size_t> first_source_;  // Of each series in by_labels_, and one past the last.
};

LabelTexts Limited(std::set<std::string> texts, uint64_t limit) {
  LabelTexts result;
  result.truncated = limit > 0 && texts.size() > limit;
  auto end = texts.end();
  if (result.truncated) end = std::next(texts.begin(), static_cast<ptrdiff_t>(limit));
  for (auto it = texts.begin(); it != end;) {
    result.texts.push_back(std::move(texts.extract(it++).value()));
  }
  return result;
}

void Insert(LabelTexts from, std::set<std::string>& to) {
  for (std::string& text : from.texts) to.insert(to.end(), std::move(text));
}

// How many texts of each source decide an answer of `limit` and whether it is cut; 0 = all.
uint64_t Enough(uint64_t limit) { return limit == 0 ? 0 : limit + 1; }

class StoredQuerier : public Querier {
 public:
  StoredQuerier(std::shared_ptr<const Engine> engine, TimestampMs min, TimestampMs max)
      : engine_(std::move(engine)), min_(min), max_(max) {}

  absl::StatusOr<std::unique_ptr<SeriesSet>> Select(const std::vector<Matcher>& matchers,
                                                    const SelectHints& hints) const override {
    const TimestampMs min = std::max(min_, hints.start_ms);
    const TimestampMs max = std::min(max_, hints.end_ms);
    const Head& head = engine_->head;
    Selection selection;
    std::vector<SeriesView> views = head.View(head.index().Select(matchers), min, max);
    const std::vector<uint64_t> ids = IdsOf(views);
    if (hints.found) RETURN_IF_ERROR(hints.found(ids.size()));
    // What is deleted is left out below.
    const bool any_deleted = AnyDeleted();
    const bool cut = hints.limit > 0 && !any_deleted;
    if (cut) KeepIds(head.index().SmallestOf(ids, hints.limit), views);
    if (hints.grouping_only && hints.limit == 0 && !any_deleted) {
      selection.shared = head.index().SharedLabelsOf(ids, hints.grouping);
    }
    if (!selection.shared.has_value()) selection.labels = head.index().LabelsOf(IdsOf(views));
    selection.sources.reserve(views.size());
    for (const SeriesView& view : views) {
      selection.sources.push_back({view.id, /*in_memory=*/true, view.last_time, view.min_time,
                                   view.is_present && !any_deleted});
    }
    selection.pinned = engine_->write_path.hot_set();
    RETURN_IF_ERROR(SelectStored(matchers, min, max, selection));
    const std::vector<uint64_t> stored = StoredIds(selection, ids);
    if (hints.found) RETURN_IF_ERROR(hints.found(ids.size() + stored.size()));
    if (selection.shared.has_value() && !stored.empty()) {
      selection.shared.reset();  // Those stored may have the labels of others.
      selection.labels = head.index().LabelsOf(ids);
    }
    ASSIGN_OR_RETURN(std::vector<Labels> labels, LabelsOfStored(selection, head.index(), stored));
    NoteUnknown(labels);
    for (size_t i = 0; i < stored.size(); ++i) {
      selection.sources.push_back({.id = stored[i]});
      selection.labels.push_back(std::move(labels[i]));
    }
    if (!selection.shared.has_value()) {
      LeaveOutDeleted(min, max, selection);
    } else if (hints.newest_only && hints.presence_only) {
      CountPresent(selection);
    }
    return std::make_unique<StoredSeriesSet>(engine_, damage_, std::move(selection), min, max,
                                             hints);
  }

  absl::StatusOr<LabelTexts> LabelNames(const std::vector<std::vector<Matcher>>& matcher_sets,
                                        uint64_t limit) const override {
    const SeriesIndex& index = engine_->head.index();
    const uint64_t enough = Enough(limit);
    std::set<std::string> names;
    if (matcher_sets.empty()) {
      Insert(index.Names([this](uint64_t id) { return InRange(id); }, enough), names);
      RETURN_IF_ERROR(ForEachGeneration([&](const Generation& generation) {
        return NoteUnless(generation.AddNames(enough, names), "label names", generation);
      }));
    } else {
      ASSIGN_OR_RETURN(const Matching matching, Match(matcher_sets));
      Insert(index.NamesOf(matching.ids, enough), names);
      for (const Labels& labels : matching.labels) {
        for (const LabelView& label : labels) names.emplace(label.name);
      }
    }
    return Limited(std::move(names), limit);
  }

  absl::StatusOr<LabelTexts> LabelValues(std::string_view name,
                                         const std::vector<std::vector<Matcher>>& matcher_sets,
                                         uint64_t limit) const override {
    const SeriesIndex& index = engine_->head.index();
    const uint64_t enough = Enough(limit);
    std::set<std::string> values;
    if (matcher_sets.empty()) {
      Insert(index.Values(
                 name, [this](uint64_t id) { return InRange(id); }, enough),
             values);
      RETURN_IF_ERROR(ForEachGeneration([&](const Generation& generation) {
        return NoteUnless(generation.AddValues(name, enough, values), "label values", generation);
      }));
    } else {
      ASSIGN_OR_RETURN(const Matching matching, Match(matcher_sets));
      Insert(index.ValuesOf(name, matching.ids, enough), values);
      for (const Labels& labels : matching.labels) {
        if (labels.Has(name)) values.emplace(labels.Get(name));
      }
    }
    return Limited(std::move(values), limit);
  }

  Annotations Warnings() const override { return damage_->Warnings(); }

 private:
  // Series that match: those in memory by id, the others by their labels.
  struct Matching {
    std::vector<uint64_t> ids;
    std::vector<Labels> labels;
  };

  bool AnyDeleted() const { return !engine_->write_path.tombstones()->by_series().empty(); }

  // Leaves out series all of whose samples in [min, max] are deleted.
  void LeaveOutDeleted(TimestampMs min, TimestampMs max, Selection& selection) const {
    const std::shared_ptr<const TombstoneSet> deleted = engine_->write_path.tombstones();
    if (deleted->by_series().empty()) return;
    for (size_t i = 0; i < selection.sources.size(); ++i) {
      const Source& source = selection.sources[i];
      const TimestampMs from = std::max(min, source.min_time);
      // Late samples may have come after the tombstone.
      if (engine_->head.newest_late() < from &&
          Covers(deleted->Of(source.id), from, std::min(max, source.last_time))) {
        selection.labels[i] = Labels();  // As if it had left memory.
      }
    }
  }

  void NoteUnknown(const std::vector<Labels>& labels) const {
    const auto unknown = std::count_if(labels.begin(), labels.end(),
                                       [](const Labels& found) { return found.empty(); });
    if (unknown == 0) return;
    damage_->Note("labels", fmt::format("labels of {} series that match", unknown));
  }

  absl::Status NoteUnless(const absl::StatusOr<bool>& whole, std::string_view what,
                          const Generation& generation) const {
    if (whole.ok() && !*whole) {
      damage_->Note("postings",
                    fmt::format("{} from {} to {}", what, FormatRfc3339(generation.info().min_time),
                                FormatRfc3339(generation.info().max_time)));
    }
    return whole.status();
  }

  bool InRange(uint64_t id) const { return engine_->head.MayHaveSamples(id, min_, max_); }

  template <typename Visitor>
  absl::Status ForEachGeneration(Visitor visit) const {
    const std::shared_ptr<const HotSet> pinned = engine_->write_path.hot_set();
    for (const GenerationPtr& generation : pinned->generations) {
      if (generation->Overlaps(min_, max_)) RETURN_IF_ERROR(visit(*generation));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<Matching> Match(const std::vector<std::vector<Matcher>>& matcher_sets) const {
    const Head& head = engine_->head;
    Matching matching;
    for (const std::vector<Matcher>& matchers : matcher_sets) {
      const std::vector<uint64_t> ids = IdsOf(head.View(head.index().Select(matchers), min_, max_));
      matching.ids.insert(matching.ids.end(), ids.begin(), ids.end());
    }
    SortIds(matching.ids);
    for (const std::vector<Matcher>& matchers : matcher_sets) {
      Selection selection;
      selection.pinned = engine_->write_path.hot_set();
      RETURN_IF_ERROR(SelectStored(matchers, min_, max_, selection));
      const std::vector<uint64_t> stored = StoredIds(selection, matching.ids);
      ASSIGN_OR_RETURN(std::vector<Labels> labels, LabelsOfStored(selection, head.index(), stored));
      NoteUnknown(labels);
      std::move(labels.begin(), labels.end(), std::back_inserter(matching.labels));
    }
    return matching;
  }

  const std::shared_ptr<const Engine> engine_;
  const std::shared_ptr<ReadDamage> damage_ =
      std::make_shared<ReadDamage>(engine_->counters->damage);
  const TimestampMs min_;
  const TimestampMs max_;
};

}  // namespace

std::unique_ptr<Querier> NewHeadQuerier(std::shared_ptr<const Engine> engine, TimestampMs min,
                                        TimestampMs max) {
  return std::make_unique<StoredQuerier>(std::move(engine), min, max);
}

absl::StatusOr<std::vector<Labels>> LabelsOfSeries(const Engine& engine,
                                                   absl::Span<const uint64_t> ids) {
  std::vector<Labels> labels = engine.head.index().LabelsOf(ids);
  // The table after the index: what leaves memory is in a generation by then.
  const std::shared_ptr<const HotSet> pinned = engine.write_path.hot_set();
  for (auto it = pinned->generations.rbegin(); it != pinned->generations.rend(); ++it) {
    std::vector<uint64_t> missing;
    std::vector<size_t> positions;
    for (size_t i = 0; i < ids.size(); ++i) {
      if (!labels[i].empty()) continue;
      missing.push_back(ids[i]);
      positions.push_back(i);
    }
    if (missing.empty()) break;
    ASSIGN_OR_RETURN(std::vector<Labels> found, (*it)->LabelsOf(missing));
    for (size_t i = 0; i < found.size(); ++i) labels[positions[i]] = std::move(found[i]);
  }
  return labels;
}

}  // namespace varve
