// SPDX-License-Identifier: Apache-2.0
//
// Series index: adding, removing and selecting.
#include "tsdb/series_index.h"

#include <absl/container/flat_hash_set.h>
#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "model/check.h"
#include "model/label_order.h"
#include "tsdb/coding.h"
#include "tsdb/postings.h"
#include "tsdb/smallest_texts.h"

namespace varve {

namespace {

// Where a label set's entry may be lies far from that of its neighbour: asked for this many series
// ahead, it is there when their turn comes.
constexpr size_t kHashesAhead = 6;

uint64_t ReadNumber(const uint8_t*& at) {
  uint64_t value = 0;
  for (unsigned shift = 0;; shift += 7) {
    const uint8_t byte = *at++;
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
}

// The end of a code, whose length is read off it.
const uint8_t* EndOfCode(const uint8_t*& code) {
  const uint64_t size = ReadNumber(code);
  return code + size;
}

// Calls visit(name number, value number) for every label; stops when it returns false.
template <typename Visitor>
void ForEachPair(const uint8_t* code, Visitor visit) {
  const uint8_t* end = EndOfCode(code);
  while (code < end) {
    const auto name = static_cast<uint32_t>(ReadNumber(code));
    const auto value = static_cast<uint32_t>(ReadNumber(code));
    if (!visit(name, value)) return;
  }
}

void KeepLargest(std::vector<NamedCount>& counts, size_t limit) {
  const auto larger = [](const NamedCount& a, const NamedCount& b) {
    return a.value != b.value ? a.value > b.value : a.name < b.name;
  };
  const size_t kept = std::min(limit, counts.size());
  std::partial_sort(counts.begin(), counts.begin() + static_cast<ptrdiff_t>(kept), counts.end(),
                    larger);
  counts.resize(kept);
}

}  // namespace

// ---------------------------------------------------------------------------------------- look-up

const uint8_t* SeriesIndex::CodeOf(uint64_t id) const {
  NearPage near;
  return CodeNear(id, near);
}

const uint8_t* SeriesIndex::CodeNear(uint64_t id, NearPage& near) const {
  if (id / kPageSeries != near.number) {
    const auto it = pages_.find(id / kPageSeries);
    near = {id / kPageSeries, it == pages_.end() ? nullptr : it->second.get()};
  }
  if (near.page == nullptr) return nullptr;
  const uint32_t begin = near.page->begins[id % kPageSeries];
  return begin == 0 ? nullptr : near.page->codes.data() + begin - 1;
}

bool SeriesIndex::Matches(const uint8_t* code, const Labels& labels) const {
  auto label = labels.begin();
  const auto end = labels.end();
  bool same = true;
  ForEachPair(code, [&](uint32_t name, uint32_t value) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    same = label != end && names_[name].text == label->name &&
           names_[name].values[value].text == label->value;
    if (same) ++label;
    return same;
  });
  return same && label == end;
}

Labels SeriesIndex::Decode(const uint8_t* code, LabelsWriter& writer) const {
  ForEachPair(code, [&](uint32_t number, uint32_t value) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    const Name& name = names_[number];
    writer.Add(name.text);
    writer.Add(name.values[value].text);
    return true;
  });
  return writer.Take();
}

uint64_t SeriesIndex::Find(const Labels& labels) const {
  const uint64_t hash = labels.Hash();
  ReaderLock lock(mutex_);
  const auto it = by_labels_.find(Probe{labels, hash});
  return it == by_labels_.end() ? 0 : IdOf(*it);
}

bool SeriesIndex::Has(uint64_t id) const {
  ReaderLock lock(mutex_);
  return CodeOf(id) != nullptr;
}

Labels SeriesIndex::LabelsOf(uint64_t id) const {
  LabelsWriter writer;
  ReaderLock lock(mutex_);
  const uint8_t* code = CodeOf(id);
  return code == nullptr ? Labels() : Decode(code, writer);
}

std::vector<Labels> SeriesIndex::LabelsOf(absl::Span<const uint64_t> ids) const {
  std::vector<Labels> result;
  result.reserve(ids.size());
  LabelsWriter writer;
  ReaderLock lock(mutex_);
  NearPage near;
  for (const uint64_t id : ids) {
    const uint8_t* code = CodeNear(id, near);
    result.push_back(code == nullptr ? Labels() : Decode(code, writer));
  }
  return result;
}

std::optional<SeriesIndex::SharedLabels> SeriesIndex::SharedLabelsOf(
    absl::Span<const uint64_t> ids, absl::Span<const std::string> names) const {
  SharedLabels shared;
  shared.set_of.reserve(ids.size());
  ReaderLock lock(mutex_);
  if (!older_.empty()) return std::nullopt;
  std::vector<bool> wanted(names_.size());
  size_t wanted_names = 0;
  uint32_t wanted_last = 0;
  for (const std::string& name : names) {
    const auto number = name_numbers_.find(name);
    if (number == name_numbers_.end() || wanted[number->second]) continue;
    wanted[number->second] = true;
    wanted_last = number->second;
    ++wanted_names;
  }
  std::vector<uint32_t> set_by_value;  // Of the name, if one is wanted and has few values.
  if (wanted_names == 1 && names_[wanted_last].values.size() <= ids.size()) {
    set_by_value.resize(names_[wanted_last].values.size(), kNoSet);
  }
  StringMap<uint32_t> set_by_code;  // By the pairs of a code that are wanted.
  std::string code;                 // With its length in front, as those of pages.
  std::string pairs;
  LabelsWriter writer;
  NearPage near;
  for (const uint64_t id : ids) {
    const uint8_t* const whole = CodeNear(id, near);
    if (whole == nullptr) {
      shared.set_of.push_back(kNoSet);
      continue;
    }
    pairs.clear();
    size_t left = wanted_names;
    uint32_t* by_value = nullptr;
    ForEachPair(whole, [&](uint32_t name, uint32_t value) {
      if (left == 0) return false;
      if (!wanted[name]) return true;
      if (!set_by_value.empty()) by_value = &set_by_value[value];
      if (by_value != nullptr && *by_value != kNoSet) return false;
      PutVarint(pairs, name);
      PutVarint(pairs, value);
      return --left > 0;
    });
    if (by_value != nullptr && *by_value != kNoSet) {
      shared.set_of.push_back(*by_value);
      continue;
    }
    const auto [it, added] =
        set_by_code.try_emplace(pairs, static_cast<uint32_t>(shared.sets.size()));
    if (added) {
      code.clear();
      PutVarint(code, pairs.size());
      code += pairs;
      shared.sets.push_back(Decode(reinterpret_cast<const uint8_t*>(code.data()), writer));
    }
    if (by_value != nullptr) *by_value = it->second;
    shared.set_of.push_back(it->second);
  }
  std::vector<Labels> sorted;
  std::vector<uint32_t> place(shared.sets.size());
  for (const uint32_t set : OrderOfLabels(shared.sets)) {
    place[set] = static_cast<uint32_t>(sorted.size());
    sorted.push_back(std::move(shared.sets[set]));
  }
  shared.sets = std::move(sorted);
  for (uint32_t& set : shared.set_of) {
    if (set != kNoSet) set = place[set];
  }
  return shared;
}

const SeriesIndex::Name* SeriesIndex::FindName(std::string_view name) const {
  const auto it = name_numbers_.find(name);
  return it == name_numbers_.end() ? nullptr : &names_[it->second];
}

SeriesIndex::ExactValue SeriesIndex::FindValue(std::string_view name,
                                               std::string_view value) const {
  const auto number = name_numbers_.find(name);
  if (number == name_numbers_.end()) return {};
  const Name& entry = names_[number->second];
  const auto it = entry.by_text.find(value);
  if (it == entry.by_text.end()) return {};
  return {number->second, it->second, &entry.values[it->second].ids};
}

// ------------------------------------------------------------------------------ adding, removing

uint32_t SeriesIndex::NameNumber(std::string_view name) {
  const auto [it, added] = name_numbers_.try_emplace(name, static_cast<uint32_t>(names_.size()));
  if (added) names_.emplace_back().text = name;
  return it->second;
}

uint32_t SeriesIndex::ValueNumber(Name& name, std::string_view value) {
  if (name.recent < name.values.size()) {
    const Value& recent = name.values[name.recent];
    if (!recent.ids.empty() && recent.text == value) return name.recent;
  }
  const auto it = name.by_text.find(value);
  if (it != name.by_text.end()) return name.recent = it->second;
  uint32_t number = 0;
  if (name.free_numbers.empty()) {
    number = static_cast<uint32_t>(name.values.size());
    name.values.emplace_back();
  } else {
    number = name.free_numbers.back();
    name.free_numbers.pop_back();
  }
  name.values[number].text = value;
  name.by_text.emplace(name.values[number].text, number);
  return name.recent = number;
}

const SeriesIndex::RecentLabel& SeriesIndex::Recent(const LabelView& label, size_t position) {
  if (position >= recent_.size()) recent_.resize(position + 1);
  RecentLabel& recent = recent_[position];
  // Labels are one piece of memory (Labels::bytes()).
  const std::string_view bytes(
      label.name.data(),
      static_cast<size_t>(label.value.data() + label.value.size() - label.name.data()));
  const bool same_name = recent.ids != nullptr && label.name.size() == recent.name_bytes &&
                         recent.bytes.starts_with(label.name);
  if (same_name && recent.bytes == bytes) return recent;
  if (!same_name) recent.name = NameNumber(label.name);
  Name& name = names_[recent.name];
  recent.value = ValueNumber(name, label.value);
  recent.ids = &name.values[recent.value].ids;
  recent.bytes = bytes;
  recent.name_bytes = label.name.size();
  return recent;
}

void SeriesIndex::Add(uint64_t id, const Labels& labels) {
  const uint64_t hash = labels.Hash();
  WriterLock lock(mutex_);
  AddLocked(id, labels, hash);
}

void SeriesIndex::AddAll(absl::Span<const NewSeries> series) {
  std::vector<uint64_t> hashes;
  hashes.reserve(series.size());
  for (const NewSeries& added : series) hashes.push_back(added.labels.Hash());
  WriterLock lock(mutex_);
  for (size_t i = 0; i < series.size(); ++i) {
    if (i + kHashesAhead < series.size()) {
      const size_t ahead = i + kHashesAhead;
      by_labels_.prefetch(Probe{series[ahead].labels, hashes[ahead]});
    }
    AddLocked(series[i].id, series[i].labels, hashes[i]);
  }
}

void SeriesIndex::AddLocked(uint64_t id, const Labels& labels, uint64_t hash) {
  INVARIANT(id != 0 && id <= kSeriesIdMax);
  std::unique_ptr<Page>& slot = pages_[id / kPageSeries];
  if (slot == nullptr) slot = std::make_unique<Page>();
  Page& page = *slot;
  INVARIANT(page.begins[id % kPageSeries] == 0);
  code_.clear();
  size_t position = 0;
  for (const LabelView& label : labels) {
    const RecentLabel& recent = Recent(label, position++);
    if (recent.ids->empty()) ++label_pairs_;
    recent.ids->Insert(id);
    PutVarint(code_, recent.name);
    PutVarint(code_, recent.value);
  }
  // Grows by little, as `by_labels_` below is asked for codes that lie there.
  std::string length;
  PutVarint(length, code_.size());
  const size_t needed = page.codes.size() + length.size() + code_.size();
  if (needed > page.codes.capacity()) page.codes.reserve(needed + needed / 8 + 64);
  page.begins[id % kPageSeries] = static_cast<uint32_t>(page.codes.size()) + 1;
  page.codes.insert(page.codes.end(), length.begin(), length.end());
  page.codes.insert(page.codes.end(), code_.begin(), code_.end());
  if (id % kPageSeries == kPageSeries - 1) page.codes.shrink_to_fit();
  ++page.used;
  ++series_;
  const uint64_t entry = hash >> kIdBits << kIdBits | id;
  bool added = false;
  const auto it = by_labels_.lazy_emplace(Probe{labels, hash}, [&](const auto& construct) {
    construct(entry);
    added = true;
  });
  if (added) return;
  older_[id] = IdOf(*it);
  by_labels_.erase(it);
  by_labels_.insert(entry);
}

void SeriesIndex::Forget(uint64_t id, const Labels& labels) {
  const uint64_t hash = labels.Hash();
  const auto it = by_labels_.find(Probe{labels, hash});
  INVARIANT(it != by_labels_.end());
  uint64_t newer = IdOf(*it);
  const auto older = older_.find(id);
  const uint64_t next = older == older_.end() ? 0 : older->second;  // With the same labels.
  if (older != older_.end()) older_.erase(older);
  if (newer == id) {
    by_labels_.erase(it);
    if (next != 0) by_labels_.insert(hash >> kIdBits << kIdBits | next);
    return;
  }
  while (older_.at(newer) != id) newer = older_.at(newer);
  if (next == 0) {
    older_.erase(newer);
  } else {
    older_[newer] = next;
  }
}

void SeriesIndex::RemoveCode(uint64_t id) {
  const auto page = pages_.find(id / kPageSeries);
  page->second->begins[id % kPageSeries] = 0;  // Its bytes go with the page.
  if (--page->second->used == 0) pages_.erase(page);
  --series_;
}

void SeriesIndex::Remove(absl::Span<const uint64_t> ids) {
  absl::flat_hash_set<uint64_t> touched;  // Name number and value number.
  LabelsWriter writer;
  WriterLock lock(mutex_);
  for (const uint64_t id : ids) {
    const uint8_t* code = CodeOf(id);
    if (code == nullptr) continue;
    Forget(id, Decode(code, writer));
    ForEachPair(code, [&](uint32_t name, uint32_t value) {
      touched.insert(static_cast<uint64_t>(name) << 32 | value);
      return true;
    });
    RemoveCode(id);
  }
  recent_.clear();
  for (const uint64_t pair : touched) {
    Name& name = names_[pair >> 32];
    const auto number = static_cast<uint32_t>(pair);
    Value& value = name.values[number];
    auto next = ids.begin();
    value.ids.RemoveIf([&](uint64_t id) {
      // Large sets have most of `ids`, small ones few.
      if (next != ids.end() && *next < id) ++next;
      if (next != ids.end() && *next < id) next = std::lower_bound(next, ids.end(), id);
      return next != ids.end() && *next == id;
    });
    if (!value.ids.empty()) continue;
    name.by_text.erase(value.text);
    value = Value();
    name.free_numbers.push_back(number);
    --label_pairs_;
  }
}

// --------------------------------------------------------------------------------------- selection

std::vector<uint64_t> SeriesIndex::AllIds() const {
  std::vector<uint64_t> ids;
  ids.reserve(series_);
  for (const auto& [number, page] : pages_) {
    for (uint64_t i = 0; i < kPageSeries; ++i) {
      if (page->begins[i] != 0) ids.push_back(number * kPageSeries + i);
    }
  }
  std::sort(ids.begin(), ids.end());
  return ids;
}

std::vector<uint64_t> SeriesIndex::IdsByValue(const Matcher& matcher, const Name& name,
                                              bool matching) const {
  std::vector<const IdSet*> sets;
  size_t size = 0;
  const auto add = [&](const IdSet& set) {
    if (set.empty()) return;
    sets.push_back(&set);
    size += set.size();
  };
  if (matching != matcher.is_negative() && !matcher.texts().empty()) {
    for (const std::string& text : matcher.texts()) {
      const auto it = name.by_text.find(text);
      if (it != name.by_text.end()) add(name.values[it->second].ids);
    }
  } else {
    for (const Value& value : name.values) {
      if (!value.ids.empty() && matcher.Matches(value.text) == matching) add(value.ids);
    }
  }
  std::vector<uint64_t> ids;
  ids.reserve(size);
  for (const IdSet* set : sets) set->AppendTo(ids);
  if (sets.size() > 1) SortIds(ids);
  return ids;
}

void SeriesIndex::FilterByLabel(const Matcher& matcher, const Name& name,
                                std::vector<uint64_t>& ids) const {
  const auto name_number = name_numbers_.find(name.text)->second;
  absl::flat_hash_map<uint32_t, bool> verdicts;  // By value number.
  std::erase_if(ids, [&](uint64_t id) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    std::optional<uint32_t> number;
    ForEachPair(CodeOf(id), [&](uint32_t pair_name, uint32_t pair_value) {
      if (pair_name == name_number) number = pair_value;
      return !number.has_value();
    });
    if (!number.has_value()) return !matcher.MatchesEmpty();
    const auto [it, added] = verdicts.try_emplace(*number, false);
    if (added) it->second = matcher.Matches(name.values[*number].text);
    return !it->second;
  });
}

void SeriesIndex::Narrow(const Matcher& matcher, std::vector<uint64_t>& ids) const {
  const Name* name = FindName(matcher.name());
  if (name == nullptr) {
    if (!matcher.MatchesEmpty()) ids.clear();
    return;
  }
  if (ids.size() <= name->by_text.size()) return FilterByLabel(matcher, *name, ids);
  if (matcher.MatchesEmpty()) {
    SubtractIds(ids, IdsByValue(matcher, *name, false));
  } else {
    IntersectIds(ids, IdsByValue(matcher, *name, true));
  }
}

void SeriesIndex::IntersectExact(const ExactValue& exact, std::vector<uint64_t>& ids) const {
  // Few among many: looking at the labels of the few is less than decoding the many.
  if (exact.ids->size() / 16 <= ids.size()) return exact.ids->Intersect(ids);
  std::erase_if(ids, [&](uint64_t id) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    bool found = false;
    ForEachPair(CodeOf(id), [&](uint32_t name, uint32_t value) {
      found = name == exact.name && value == exact.value;
      return !found;
    });
    return !found;
  });
}

std::vector<uint64_t> SeriesIndex::Select(const std::vector<Matcher>& matchers) const {
  ReaderLock lock(mutex_);
  std::vector<ExactValue> exact;
  std::vector<const Matcher*> rest;
  for (const Matcher& matcher : matchers) {
    if (matcher.MatchesAnything()) continue;
    if (matcher.type() != MatchType::kEqual || matcher.MatchesEmpty()) {
      rest.push_back(&matcher);
      continue;
    }
    const ExactValue value = FindValue(matcher.name(), matcher.value());
    if (value.ids == nullptr) return {};
    exact.push_back(value);
  }
  std::sort(exact.begin(), exact.end(),
            [](const ExactValue& a, const ExactValue& b) { return a.ids->size() < b.ids->size(); });
  // What needs a label narrows more than what excludes some of its values.
  std::stable_partition(rest.begin(), rest.end(),
                        [](const Matcher* matcher) { return !matcher->MatchesEmpty(); });
  std::vector<uint64_t> ids;
  size_t used = 0;
  if (!exact.empty()) {
    exact[0].ids->AppendTo(ids);
    for (size_t i = 1; i < exact.size() && !ids.empty(); ++i) IntersectExact(exact[i], ids);
  } else if (!rest.empty() && !rest[0]->MatchesEmpty()) {
    const Name* name = FindName(rest[0]->name());
    if (name == nullptr) return {};
    ids = IdsByValue(*rest[0], *name, true);
    used = 1;
  } else {
    ids = AllIds();
  }
  for (size_t i = used; i < rest.size() && !ids.empty(); ++i) Narrow(*rest[i], ids);
  return ids;
}

// --------------------------------------------------------------------------------- names and
// values

LabelTexts SeriesIndex::Names(SeriesFilter filter, uint64_t limit) const {
  ReaderLock lock(mutex_);
  SmallestTexts names(limit);
  for (const Name& name : names_) {
    names.Offer(name.text, [&] {
      return std::any_of(name.values.begin(), name.values.end(),
                         [&](const Value& value) { return value.ids.AnyOf(filter); });
    });
  }
  return names.Take();
}

LabelTexts SeriesIndex::Values(std::string_view name, SeriesFilter filter, uint64_t limit) const {
  ReaderLock lock(mutex_);
  const Name* entry = FindName(name);
  if (entry == nullptr) return {};
  SmallestTexts values(limit);
  for (const Value& value : entry->values) {
    if (value.ids.empty()) continue;
    values.Offer(value.text, [&] { return value.ids.AnyOf(filter); });
  }
  return values.Take();
}

LabelTexts SeriesIndex::NamesOf(absl::Span<const uint64_t> ids, uint64_t limit) const {
  ReaderLock lock(mutex_);
  std::vector<bool> seen(names_.size());
  SmallestTexts names(limit);
  for (const uint64_t id : ids) {
    const uint8_t* code = CodeOf(id);
    if (code == nullptr) continue;
    ForEachPair(code, [&](uint32_t name, uint32_t) ABSL_NO_THREAD_SAFETY_ANALYSIS {
      if (!seen[name]) names.Offer(names_[name].text, [] { return true; });
      seen[name] = true;
      return true;
    });
  }
  return names.Take();
}

LabelTexts SeriesIndex::ValuesOf(std::string_view name, absl::Span<const uint64_t> ids,
                                 uint64_t limit) const {
  ReaderLock lock(mutex_);
  const auto number = name_numbers_.find(name);
  if (number == name_numbers_.end()) return {};
  const Name& entry = names_[number->second];
  std::vector<bool> seen(entry.values.size());
  SmallestTexts values(limit);
  for (const uint64_t id : ids) {
    const uint8_t* code = CodeOf(id);
    if (code == nullptr) continue;
    ForEachPair(code, [&](uint32_t pair_name, uint32_t pair_value) {
      if (pair_name != number->second) return true;
      if (!seen[pair_value]) values.Offer(entry.values[pair_value].text, [] { return true; });
      seen[pair_value] = true;
      return false;
    });
  }
  return values.Take();
}

bool SeriesIndex::CodeLess(const uint8_t* a, const uint8_t* b) const {
  const uint8_t* const a_end = EndOfCode(a);
  const uint8_t* const b_end = EndOfCode(b);
  while (a < a_end && b < b_end) {
    const Name& a_name = names_[ReadNumber(a)];
    const Name& b_name = names_[ReadNumber(b)];
    if (&a_name != &b_name) return a_name.text < b_name.text;
    const uint64_t a_value = ReadNumber(a);
    const uint64_t b_value = ReadNumber(b);
    if (a_value != b_value) return a_name.values[a_value].text < a_name.values[b_value].text;
  }
  return a == a_end && b < b_end;
}

std::vector<uint64_t> SeriesIndex::SmallestOf(absl::Span<const uint64_t> ids,
                                              uint64_t limit) const {
  ReaderLock lock(mutex_);
  const uint64_t wanted = limit + older_.size();  // Each older one may be a duplicate of another.
  if (ids.size() <= wanted) return {ids.begin(), ids.end()};
  struct Entry {
    const uint8_t* code;
    uint64_t id;
  };
  const auto less = [this](const Entry& a, const Entry& b)
                        ABSL_NO_THREAD_SAFETY_ANALYSIS { return CodeLess(a.code, b.code); };
  std::vector<Entry> kept;  // A heap, largest first.
  for (const uint64_t id : ids) {
    const Entry entry{CodeOf(id), id};
    if (entry.code == nullptr) continue;
    if (kept.size() < wanted) {
      kept.push_back(entry);
      std::push_heap(kept.begin(), kept.end(), less);
    } else if (less(entry, kept.front())) {
      std::pop_heap(kept.begin(), kept.end(), less);
      kept.back() = entry;
      std::push_heap(kept.begin(), kept.end(), less);
    }
  }
  std::vector<uint64_t> result;
  result.reserve(kept.size());
  for (const Entry& entry : kept) result.push_back(entry.id);
  std::sort(result.begin(), result.end());
  return result;
}

size_t SeriesIndex::series() const {
  ReaderLock lock(mutex_);
  return series_;
}

size_t SeriesIndex::label_pairs() const {
  ReaderLock lock(mutex_);
  return label_pairs_;
}

CardinalityStats SeriesIndex::Cardinality(size_t limit) const {
  CardinalityStats stats;
  ReaderLock lock(mutex_);
  struct Pair {
    uint64_t series;
    const Name* name;
    const Value* value;
  };
  const auto larger = [](const Pair& a, const Pair& b) {
    if (a.series != b.series) return a.series > b.series;
    return a.name != b.name ? a.name->text < b.name->text : a.value->text < b.value->text;
  };
  std::vector<Pair> pairs;  // A heap of the largest, the smallest of them first.
  for (const Name& name : names_) {
    if (name.by_text.empty()) continue;
    uint64_t bytes = 0;
    for (const Value& value : name.values) {
      if (value.ids.empty()) continue;
      bytes += value.text.size() * value.ids.size();
      const Pair pair{value.ids.size(), &name, &value};
      if (pairs.size() < limit) {
        pairs.push_back(pair);
        std::push_heap(pairs.begin(), pairs.end(), larger);
      } else if (limit > 0 && larger(pair, pairs.front())) {
        std::pop_heap(pairs.begin(), pairs.end(), larger);
        pairs.back() = pair;
        std::push_heap(pairs.begin(), pairs.end(), larger);
      }
      if (name.text == kMetricName)
        stats.series_by_metric.push_back({value.text, value.ids.size()});
    }
    stats.values_by_label.push_back({name.text, name.by_text.size()});
    stats.bytes_by_label.push_back({name.text, bytes});
  }
  std::sort(pairs.begin(), pairs.end(), larger);
  for (const Pair& pair : pairs) {
    stats.series_by_pair.push_back(
        {fmt::format("{}={}", pair.name->text, pair.value->text), pair.series});
  }
  for (auto* counts : {&stats.series_by_metric, &stats.values_by_label, &stats.bytes_by_label}) {
    KeepLargest(*counts, limit);
  }
  return stats;
}

}  // namespace varve
