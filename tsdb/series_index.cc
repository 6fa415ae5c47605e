// SPDX-License-Identifier: Apache-2.0
//
// Series index: adding, removing and selecting.
#include "tsdb/series_index.h"

#include <absl/container/flat_hash_set.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "model/check.h"
#include "tsdb/coding.h"
#include "tsdb/postings.h"

namespace varve {

namespace {

uint64_t ReadNumber(const uint8_t*& at) {
  uint64_t value = 0;
  for (unsigned shift = 0;; shift += 7) {
    const uint8_t byte = *at++;
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
}

// Calls visit(name number, value number) for every label; stops when it returns false.
template <typename Visitor>
void ForEachPair(const uint8_t* code, Visitor visit) {
  const uint64_t size = ReadNumber(code);
  const uint8_t* end = code + size;
  while (code < end) {
    const auto name = static_cast<uint32_t>(ReadNumber(code));
    const auto value = static_cast<uint32_t>(ReadNumber(code));
    if (!visit(name, value)) return;
  }
}

// The encoding of Labels::bytes().
void PutLabelText(std::string& out, std::string_view text) {
  if (text.size() < 255) {
    out.push_back(static_cast<char>(text.size()));
  } else {
    out.push_back(static_cast<char>(0xff));
    for (int shift = 0; shift < 24; shift += 8) {
      out.push_back(static_cast<char>(text.size() >> shift));
    }
  }
  out.append(text);
}

LabelTexts Sorted(std::vector<std::string> texts, uint64_t limit) {
  LabelTexts result;
  result.truncated = limit > 0 && texts.size() > limit;
  if (result.truncated) {
    std::nth_element(texts.begin(), texts.begin() + static_cast<ptrdiff_t>(limit), texts.end());
    texts.resize(limit);
  }
  std::sort(texts.begin(), texts.end());
  result.texts = std::move(texts);
  return result;
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

std::vector<std::string> LiteralAlternatives(std::string_view pattern) {
  std::vector<std::string> texts(1);
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '|') {
      texts.emplace_back();
    } else if (c == '\\') {
      // Only escaped punctuation stands for itself.
      if (++i == pattern.size() || std::strchr("\\.+*?()|[]{}^$-/:", pattern[i]) == nullptr) {
        return {};
      }
      texts.back().push_back(pattern[i]);
    } else if (std::strchr(".+*?()[]{}^$", c) != nullptr) {  // NUL included.
      return {};
    } else {
      texts.back().push_back(c);
    }
  }
  std::sort(texts.begin(), texts.end());
  texts.erase(std::unique(texts.begin(), texts.end()), texts.end());
  return texts;
}

// ---------------------------------------------------------------------------------------- look-up

const uint8_t* SeriesIndex::CodeOf(uint64_t id) const {
  const auto it = pages_.find(id / kPageSeries);
  return it == pages_.end() ? nullptr : it->second->codes[id % kPageSeries].get();
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

Labels SeriesIndex::Decode(const uint8_t* code) const {
  std::string bytes;
  ForEachPair(code, [&](uint32_t name, uint32_t value) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    PutLabelText(bytes, names_[name].text);
    PutLabelText(bytes, names_[name].values[value].text);
    return true;
  });
  absl::StatusOr<Labels> labels = Labels::FromBytes(bytes);
  INVARIANT(labels.ok());
  return *std::move(labels);
}

uint64_t SeriesIndex::FindLocked(const Labels& labels, uint64_t hash) const {
  const auto it = by_hash_.find(hash);
  if (it == by_hash_.end()) return 0;
  if (Matches(CodeOf(it->second), labels)) return it->second;
  const auto others = same_hash_.find(hash);
  if (others == same_hash_.end()) return 0;
  for (const uint64_t id : others->second) {
    if (Matches(CodeOf(id), labels)) return id;
  }
  return 0;
}

uint64_t SeriesIndex::Find(const Labels& labels) const {
  const uint64_t hash = labels.Hash();
  ReaderLock lock(mutex_);
  return FindLocked(labels, hash);
}

bool SeriesIndex::Has(uint64_t id) const {
  ReaderLock lock(mutex_);
  return CodeOf(id) != nullptr;
}

Labels SeriesIndex::LabelsOf(uint64_t id) const {
  ReaderLock lock(mutex_);
  const uint8_t* code = CodeOf(id);
  return code == nullptr ? Labels() : Decode(code);
}

std::vector<Labels> SeriesIndex::LabelsOf(absl::Span<const uint64_t> ids) const {
  std::vector<Labels> result;
  result.reserve(ids.size());
  ReaderLock lock(mutex_);
  for (const uint64_t id : ids) {
    const uint8_t* code = CodeOf(id);
    result.push_back(code == nullptr ? Labels() : Decode(code));
  }
  return result;
}

const SeriesIndex::Name* SeriesIndex::FindName(std::string_view name) const {
  const auto it = name_numbers_.find(name);
  return it == name_numbers_.end() ? nullptr : &names_[it->second];
}

const IdSet* SeriesIndex::FindValue(std::string_view name, std::string_view value) const {
  const Name* entry = FindName(name);
  if (entry == nullptr) return nullptr;
  const auto it = entry->by_text.find(value);
  return it == entry->by_text.end() ? nullptr : &entry->values[it->second].ids;
}

// ------------------------------------------------------------------------------ adding, removing

uint32_t SeriesIndex::NameNumber(std::string_view name) {
  const auto it = name_numbers_.find(name);
  if (it != name_numbers_.end()) return it->second;
  const auto number = static_cast<uint32_t>(names_.size());
  names_.emplace_back().text = name;
  name_numbers_.emplace(name, number);
  return number;
}

uint32_t SeriesIndex::ValueNumber(Name& name, std::string_view value) {
  const auto it = name.by_text.find(value);
  if (it != name.by_text.end()) return it->second;
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
  return number;
}

void SeriesIndex::Add(uint64_t id, const Labels& labels) {
  const uint64_t hash = labels.Hash();
  std::string pairs;
  WriterLock lock(mutex_);
  INVARIANT(id != 0 && CodeOf(id) == nullptr);
  for (const LabelView& label : labels) {
    const uint32_t name_number = NameNumber(label.name);
    Name& name = names_[name_number];
    const uint32_t value_number = ValueNumber(name, label.value);
    IdSet& ids = name.values[value_number].ids;
    if (ids.empty()) ++label_pairs_;
    ids.Insert(id);
    PutVarint(pairs, name_number);
    PutVarint(pairs, value_number);
  }
  std::string code;
  PutVarint(code, pairs.size());
  code += pairs;
  std::unique_ptr<Page>& page = pages_[id / kPageSeries];
  if (page == nullptr) page = std::make_unique<Page>();
  LabelCode& slot = page->codes[id % kPageSeries];
  slot = std::make_unique<uint8_t[]>(code.size());
  std::memcpy(slot.get(), code.data(), code.size());
  ++page->used;
  ++series_;
  const auto [it, added] = by_hash_.emplace(hash, id);
  if (!added) same_hash_[hash].push_back(std::exchange(it->second, id));
}

void SeriesIndex::Forget(uint64_t hash, uint64_t id) {
  const auto it = by_hash_.find(hash);
  INVARIANT(it != by_hash_.end());
  const auto others = same_hash_.find(hash);
  if (others == same_hash_.end()) {
    INVARIANT(it->second == id);
    by_hash_.erase(it);
    return;
  }
  if (it->second == id) {
    it->second = others->second.back();
    others->second.pop_back();
  } else {
    std::erase(others->second, id);
  }
  if (others->second.empty()) same_hash_.erase(others);
}

void SeriesIndex::RemoveCode(uint64_t id) {
  const auto page = pages_.find(id / kPageSeries);
  page->second->codes[id % kPageSeries].reset();
  if (--page->second->used == 0) pages_.erase(page);
  --series_;
}

void SeriesIndex::Remove(absl::Span<const uint64_t> ids) {
  absl::flat_hash_set<uint64_t> touched;  // Name number and value number.
  WriterLock lock(mutex_);
  for (const uint64_t id : ids) {
    const uint8_t* code = CodeOf(id);
    if (code == nullptr) continue;
    Forget(Decode(code).Hash(), id);
    ForEachPair(code, [&](uint32_t name, uint32_t value) {
      touched.insert(static_cast<uint64_t>(name) << 32 | value);
      return true;
    });
    RemoveCode(id);
  }
  for (const uint64_t pair : touched) {
    Name& name = names_[pair >> 32];
    const auto number = static_cast<uint32_t>(pair);
    Value& value = name.values[number];
    value.ids.RemoveIf([&](uint64_t id) { return std::binary_search(ids.begin(), ids.end(), id); });
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
      if (page->codes[i] != nullptr) ids.push_back(number * kPageSeries + i);
    }
  }
  std::sort(ids.begin(), ids.end());
  return ids;
}

std::vector<uint64_t> SeriesIndex::IdsByValue(const Matcher& matcher, const Name& name,
                                              bool matching) const {
  std::vector<uint64_t> ids;
  size_t sets = 0;
  const auto add = [&](const IdSet& set) {
    if (set.empty()) return;
    ids.insert(ids.end(), set.ids().begin(), set.ids().end());
    ++sets;
  };
  const auto add_text = [&](std::string_view text) {
    const auto it = name.by_text.find(text);
    if (it != name.by_text.end()) add(name.values[it->second].ids);
  };
  const bool positive_texts =
      matching == (matcher.type() == MatchType::kEqual || matcher.type() == MatchType::kRegex);
  const bool is_regex =
      matcher.type() == MatchType::kRegex || matcher.type() == MatchType::kNotRegex;
  const std::vector<std::string> texts =
      !is_regex ? std::vector<std::string>{matcher.value()} : LiteralAlternatives(matcher.value());
  if (positive_texts && !texts.empty()) {
    for (const std::string& text : texts) add_text(text);
  } else {
    for (const Value& value : name.values) {
      if (!value.ids.empty() && matcher.Matches(value.text) == matching) add(value.ids);
    }
  }
  // A series has one value of a name, so there are no duplicates.
  if (sets > 1) std::sort(ids.begin(), ids.end());
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

std::vector<uint64_t> SeriesIndex::Select(const std::vector<Matcher>& matchers) const {
  ReaderLock lock(mutex_);
  std::vector<const IdSet*> exact;
  std::vector<const Matcher*> rest;
  for (const Matcher& matcher : matchers) {
    if (matcher.type() != MatchType::kEqual || matcher.MatchesEmpty()) {
      rest.push_back(&matcher);
      continue;
    }
    const IdSet* ids = FindValue(matcher.name(), matcher.value());
    if (ids == nullptr) return {};
    exact.push_back(ids);
  }
  std::sort(exact.begin(), exact.end(),
            [](const IdSet* a, const IdSet* b) { return a->size() < b->size(); });
  // What needs a label narrows more than what excludes some of its values.
  std::stable_partition(rest.begin(), rest.end(),
                        [](const Matcher* matcher) { return !matcher->MatchesEmpty(); });
  std::vector<uint64_t> ids;
  size_t used = 0;
  if (!exact.empty()) {
    ids.assign(exact[0]->ids().begin(), exact[0]->ids().end());
    for (size_t i = 1; i < exact.size() && !ids.empty(); ++i) IntersectIds(ids, exact[i]->ids());
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
  std::vector<std::string> texts;
  ReaderLock lock(mutex_);
  for (const Name& name : names_) {
    const bool seen = std::any_of(name.values.begin(), name.values.end(), [&](const Value& value) {
      return std::any_of(value.ids.ids().begin(), value.ids.ids().end(), filter);
    });
    if (seen) texts.push_back(name.text);
  }
  return Sorted(std::move(texts), limit);
}

LabelTexts SeriesIndex::Values(std::string_view name, SeriesFilter filter, uint64_t limit) const {
  std::vector<std::string> texts;
  ReaderLock lock(mutex_);
  const Name* entry = FindName(name);
  if (entry == nullptr) return {};
  for (const Value& value : entry->values) {
    if (std::any_of(value.ids.ids().begin(), value.ids.ids().end(), filter)) {
      texts.push_back(value.text);
    }
  }
  return Sorted(std::move(texts), limit);
}

LabelTexts SeriesIndex::NamesOf(absl::Span<const uint64_t> ids, uint64_t limit) const {
  absl::flat_hash_set<uint32_t> seen;
  std::vector<std::string> texts;
  ReaderLock lock(mutex_);
  for (const uint64_t id : ids) {
    const uint8_t* code = CodeOf(id);
    if (code == nullptr) continue;
    ForEachPair(code, [&](uint32_t name, uint32_t) ABSL_NO_THREAD_SAFETY_ANALYSIS {
      if (seen.insert(name).second) texts.push_back(names_[name].text);
      return true;
    });
  }
  return Sorted(std::move(texts), limit);
}

LabelTexts SeriesIndex::ValuesOf(std::string_view name, absl::Span<const uint64_t> ids,
                                 uint64_t limit) const {
  absl::flat_hash_set<uint32_t> seen;
  std::vector<std::string> texts;
  ReaderLock lock(mutex_);
  const auto number = name_numbers_.find(name);
  if (number == name_numbers_.end()) return {};
  const Name& entry = names_[number->second];
  for (const uint64_t id : ids) {
    const uint8_t* code = CodeOf(id);
    if (code == nullptr) continue;
    ForEachPair(code, [&](uint32_t pair_name, uint32_t pair_value) {
      if (pair_name != number->second) return true;
      if (seen.insert(pair_value).second) texts.push_back(entry.values[pair_value].text);
      return false;
    });
  }
  return Sorted(std::move(texts), limit);
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
  for (const Name& name : names_) {
    if (name.by_text.empty()) continue;
    uint64_t bytes = 0;
    for (const Value& value : name.values) {
      if (value.ids.empty()) continue;
      bytes += value.text.size() * value.ids.size();
      stats.series_by_pair.push_back(
          {fmt::format("{}={}", name.text, value.text), value.ids.size()});
      if (name.text == kMetricName)
        stats.series_by_metric.push_back({value.text, value.ids.size()});
    }
    // A pair list of every label at 1 M series would be large: keep it near what is asked for.
    if (stats.series_by_pair.size() > 16 * limit + 4096) KeepLargest(stats.series_by_pair, limit);
    stats.values_by_label.push_back({name.text, name.by_text.size()});
    stats.bytes_by_label.push_back({name.text, bytes});
  }
  for (auto* counts : {&stats.series_by_metric, &stats.values_by_label, &stats.bytes_by_label,
                       &stats.series_by_pair}) {
    KeepLargest(*counts, limit);
  }
  return stats;
}

}  // namespace varve
