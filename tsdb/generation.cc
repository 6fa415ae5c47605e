// SPDX-License-Identifier: Apache-2.0
//
// Keys of generations, and reading them.
#include "tsdb/generation.h"

#include <fmt/format.h>
#include <rocksdb/db.h>

#include <algorithm>
#include <map>
#include <utility>

#include "model/status_macros.h"
#include "tsdb/coding.h"
#include "tsdb/column_row.h"
#include "tsdb/damage.h"
#include "tsdb/merge_samples.h"
#include "tsdb/postings.h"
#include "tsdb/series_index.h"

namespace varve {

namespace {

// Neighbours this near are reached by stepping; beyond that by seeking.
constexpr uint64_t kStepsBeforeSeek = 8;
constexpr std::string_view kMatchingKind = "+";
constexpr std::string_view kNotMatchingKind = "-";

void PutPrefix(std::string& out, const GenerationId& id) {
  PutBigEndian<uint16_t>(out, id.partition);
  PutTime(out, id.bucket_start);
  PutBigEndian<uint32_t>(out, id.number);
}

// The first text behind all that begin with `name`, 0xFF. REQUIRES: name ends below 0xFF.
std::string BehindName(std::string_view name) {
  std::string behind(name);
  ++behind.back();
  return behind;
}

}  // namespace

std::string GenerationPrefix(const GenerationId& id) {
  std::string out;
  PutPrefix(out, id);
  return out;
}

std::string GenerationEnd(const GenerationId& id) {
  GenerationId next = id;
  ++next.number;  // Numbers end far below the largest.
  return GenerationPrefix(next);
}

absl::StatusOr<GenerationId> DecodeGenerationPrefix(std::string_view key) {
  ByteReader reader(key);
  GenerationId id;
  id.partition = reader.BigEndian<uint16_t>();
  id.bucket_start = reader.Time();
  id.number = reader.BigEndian<uint32_t>();
  if (reader.failed()) return absl::DataLossError("damaged key of a generation");
  return id;
}

std::string EncodeColumnKey(const ColumnKey& key) {
  std::string out;
  PutPrefix(out, key.generation);
  PutBigEndian<uint64_t>(out, key.series);
  PutTime(out, key.first_time);
  out.push_back(static_cast<char>(key.kind));
  return out;
}

absl::StatusOr<ColumnKey> DecodeColumnKey(std::string_view bytes) {
  ColumnKey key;
  ASSIGN_OR_RETURN(key.generation, DecodeGenerationPrefix(bytes));
  ByteReader reader(bytes.substr(kGenerationPrefixBytes));
  key.series = reader.BigEndian<uint64_t>();
  key.first_time = reader.Time();
  const uint8_t kind = reader.Byte();
  if (reader.failed() || !reader.done() || kind < 1 || kind > 2) {
    return absl::DataLossError("damaged key of a column row");
  }
  key.kind = static_cast<ColumnRowKind>(kind);
  return key;
}

std::string EncodeLabelKey(const GenerationId& id, uint64_t series) {
  std::string out;
  PutPrefix(out, id);
  PutBigEndian<uint64_t>(out, series);
  return out;
}

absl::StatusOr<uint64_t> DecodeLabelKey(std::string_view key) {
  if (key.size() < kGenerationPrefixBytes) return absl::DataLossError("damaged key of labels");
  return DecodeIdKey(key.substr(kGenerationPrefixBytes));
}

// --------------------------------------------------------------------------------------- selection

Generation::Generation(const Store& store, const GenerationId& id,
                       const BucketTable::Generation& info, std::shared_ptr<GenerationCache> cache,
                       DamageLog& damage)
    : columns_(store.columns()),
      labels_(store.labels()),
      postings_(store.postings()),
      id_(id),
      info_(info),
      prefix_(GenerationPrefix(id)),
      cache_(std::move(cache)),
      damage_(damage) {}

std::unique_ptr<rocksdb::Iterator> Generation::NewIterator(const Family& family) const {
  return std::unique_ptr<rocksdb::Iterator>(
      family.db().NewIterator(rocksdb::ReadOptions(), family.handle()));
}

absl::StatusOr<std::vector<uint64_t>> Generation::PostingsOf(std::string_view name,
                                                             std::string_view value) const {
  rocksdb::PinnableSlice encoded;
  const rocksdb::Status found =
      postings_->db().Get(rocksdb::ReadOptions(), postings_->handle(),
                          ToSlice(prefix_ + PostingsTail(name, value)), &encoded);
  if (found.IsNotFound()) return std::vector<uint64_t>();
  RETURN_IF_ERROR(FromRocks(found, "reading postings"));
  return DecodePostings(ToView(encoded));
}

absl::StatusOr<std::vector<uint64_t>> Generation::Resolve(const Matcher& matcher,
                                                          bool matching) const {
  const bool accepted = matching != matcher.is_negative();  // By text or expression.
  std::vector<uint64_t> ids;
  const auto add = [&ids](const std::vector<uint64_t>& more) {
    ids.insert(ids.end(), more.begin(), more.end());
  };
  if (accepted && !matcher.texts().empty()) {
    for (const std::string& text : matcher.texts()) {
      if (text.empty()) continue;
      ASSIGN_OR_RETURN(const std::vector<uint64_t> more, PostingsOf(matcher.name(), text));
      add(more);
    }
  } else {
    const std::string from = prefix_ + PostingsTail(matcher.name(), {});
    const Matcher::Range range = accepted ? matcher.range() : Matcher::Range{.bounded = false};
    const std::unique_ptr<rocksdb::Iterator> it = NewIterator(*postings_);
    it->Seek(from + std::string(range.first));
    for (; it->Valid() && ToView(it->key()).starts_with(from); it->Next()) {
      const std::string_view value = ToView(it->key()).substr(from.size());
      if (range.bounded && value > range.last) break;
      if (matcher.Matches(value) != matching) continue;
      ASSIGN_OR_RETURN(const std::vector<uint64_t> more, DecodePostings(ToView(it->value())));
      add(more);
    }
    RETURN_IF_ERROR(FromRocks(it->status(), "reading postings"));
  }
  SortIds(ids);
  return ids;
}

absl::StatusOr<Generation::Ids> Generation::MatcherIds(const Matcher& matcher,
                                                       std::string_view kind) const {
  std::string key = prefix_;
  key.append(kind);
  key.append(MatchTypeText(matcher.type()));
  key.append(PostingsTail(matcher.name(), matcher.value()));
  if (Ids cached = cache_->ids.Find(key)) return cached;
  ASSIGN_OR_RETURN(std::vector<uint64_t> ids, Resolve(matcher, kind == kMatchingKind));
  ids.shrink_to_fit();
  auto shared = std::make_shared<const std::vector<uint64_t>>(std::move(ids));
  cache_->ids.Add(key, shared, shared->size() * sizeof(uint64_t));
  return Ids(std::move(shared));
}

bool Generation::GoOn(rocksdb::Iterator& it, std::string_view from, std::string_view part) const {
  if (it.Valid() || !it.status().IsCorruption()) return false;
  damage_.NoteOnce(part, it.status().ToString());
  return SeekPastDamage(it, from);
}

bool Generation::HasPostings() const {
  const absl::StatusOr<std::vector<uint64_t>> all = PostingsOf({}, {});
  return all.ok() && !all->empty();
}

absl::StatusOr<std::vector<uint64_t>> Generation::Select(
    const std::vector<Matcher>& matchers) const {
  absl::StatusOr<std::vector<uint64_t>> ids = SelectByPostings(matchers);
  if (ids.ok() && ids->empty()) {
    if (HasPostings()) return ids;  // A table of them may have been lost.
  } else if (!absl::IsDataLoss(ids.status())) {
    return ids;
  }
  damage_.NoteOnce(kPostingsFamily,
                   ids.ok() ? fmt::format("postings of generation {} are missing", id_.number)
                            : ids.status().ToString());
  return SelectByLabels(matchers);
}

absl::StatusOr<std::vector<uint64_t>> Generation::SelectByLabels(
    const std::vector<Matcher>& matchers) const {
  std::vector<uint64_t> ids;
  const std::unique_ptr<rocksdb::Iterator> it = NewIterator(*labels_);
  std::string last = prefix_;
  it->Seek(prefix_);
  for (;;) {
    for (; it->Valid() && ToView(it->key()).starts_with(prefix_); it->Next()) {
      last = it->key().ToString();
      const absl::StatusOr<uint64_t> id = DecodeLabelKey(last);
      const absl::StatusOr<Labels> labels = Labels::FromBytes(ToView(it->value()));
      if (!id.ok() || !labels.ok()) {
        damage_.NoteOnce(kLabelsFamily, (id.ok() ? labels.status() : id.status()).ToString());
      } else if (std::all_of(matchers.begin(), matchers.end(), [&](const Matcher& matcher) {
                   return matcher.Matches(labels->Get(matcher.name()));
                 })) {
        ids.push_back(*id);
      }
    }
    if (it->Valid()) return ids;
    if (GoOn(*it, last, kLabelsFamily)) continue;
    RETURN_IF_ERROR(FromRocks(it->status(), "reading labels"));
    return ids;
  }
}

absl::StatusOr<std::vector<uint64_t>> Generation::SelectByPostings(
    const std::vector<Matcher>& matchers) const {
  std::vector<Ids> needed;
  for (const Matcher& matcher : matchers) {
    if (matcher.MatchesEmpty()) continue;
    if (matcher.name().empty()) return std::vector<uint64_t>();  // No series has such a label.
    ASSIGN_OR_RETURN(Ids ids, MatcherIds(matcher, kMatchingKind));
    if (ids->empty()) return std::vector<uint64_t>();
    needed.push_back(std::move(ids));
  }
  std::sort(needed.begin(), needed.end(),
            [](const Ids& a, const Ids& b) { return a->size() < b->size(); });
  std::vector<uint64_t> ids;
  if (needed.empty()) {
    ASSIGN_OR_RETURN(ids, PostingsOf({}, {}));
  } else {
    ids = *needed[0];
    for (size_t i = 1; i < needed.size() && !ids.empty(); ++i) IntersectIds(ids, *needed[i]);
  }
  for (const Matcher& matcher : matchers) {
    if (!matcher.MatchesEmpty() || matcher.MatchesAnything()) continue;
    if (matcher.name().empty() || ids.empty()) continue;
    ASSIGN_OR_RETURN(const Ids without, MatcherIds(matcher, kNotMatchingKind));
    SubtractIds(ids, *without);
  }
  return ids;
}

absl::StatusOr<std::vector<Labels>> Generation::LabelsOf(absl::Span<const uint64_t> ids) const {
  std::vector<Labels> result(ids.size());
  if (ids.empty()) return result;
  const std::unique_ptr<rocksdb::Iterator> it = NewIterator(*labels_);
  it->Seek(EncodeLabelKey(id_, ids[0]));
  bool damaged = false;
  for (size_t i = 0; i < ids.size(); ++i) {
    const std::string key = EncodeLabelKey(id_, ids[i]);
    uint64_t steps = 0;
    while (it->Valid() && ToView(it->key()) < key && steps++ < kStepsBeforeSeek) it->Next();
    if (it->Valid() && ToView(it->key()) < key) it->Seek(key);
    if (!it->Valid()) {
      damaged |= it->status().IsCorruption();
      if (!GoOn(*it, key, kLabelsFamily)) break;
      continue;
    }
    if (ToView(it->key()) != key) {
      damaged = true;
      continue;
    }
    absl::StatusOr<Labels> labels = Labels::FromBytes(ToView(it->value()));
    if (labels.ok()) {
      result[i] = *std::move(labels);
    } else {
      damaged = true;
      damage_.NoteOnce(kLabelsFamily, labels.status().ToString());
    }
  }
  const absl::Status status = FromRocks(it->status(), "reading labels");
  if (!absl::IsDataLoss(status)) RETURN_IF_ERROR(status);
  if (damaged) RETURN_IF_ERROR(LabelsFromPostings(ids, result));
  return result;
}

absl::Status Generation::LabelsFromPostings(absl::Span<const uint64_t> ids,
                                            std::vector<Labels>& labels) const {
  std::map<uint64_t, std::vector<std::pair<std::string, std::string>>> pairs;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (labels[i].empty()) pairs[ids[i]];
  }
  const std::unique_ptr<rocksdb::Iterator> it = NewIterator(*postings_);
  std::string last = prefix_;
  it->Seek(last);
  for (;;) {
    if (!it->Valid() && !GoOn(*it, last, kPostingsFamily)) break;
    last = it->key().ToString();
    if (!last.starts_with(prefix_)) break;
    const auto pair = SplitPostingsTail(std::string_view(last).substr(prefix_.size()));
    const absl::StatusOr<std::vector<uint64_t>> having = DecodePostings(ToView(it->value()));
    if (pair.has_value() && !pair->first.empty() && having.ok()) {
      for (const uint64_t id : *having) {
        const auto wanted = pairs.find(id);
        if (wanted != pairs.end()) wanted->second.emplace_back(pair->first, pair->second);
      }
    }
    it->Next();
  }
  for (size_t i = 0; i < ids.size(); ++i) {
    if (labels[i].empty()) labels[i] = Labels::FromPairs(std::move(pairs[ids[i]]));
  }
  const absl::Status status = FromRocks(it->status(), "reading postings");
  return absl::IsDataLoss(status) ? absl::OkStatus() : status;
}

absl::StatusOr<bool> Generation::AddNames(uint64_t limit, std::set<std::string>& names) const {
  bool whole = true;
  uint64_t found = 0;  // In the order of their keys, which is that of texts.
  const std::unique_ptr<rocksdb::Iterator> it = NewIterator(*postings_);
  std::string from = prefix_;
  it->Seek(from);
  for (;;) {
    if (!it->Valid()) {
      whole &= !it->status().IsCorruption();
      if (!GoOn(*it, from, kPostingsFamily)) break;
    }
    if (!ToView(it->key()).starts_with(prefix_)) break;
    const auto pair = SplitPostingsTail(ToView(it->key()).substr(prefix_.size()));
    if (!pair.has_value()) return absl::DataLossError("damaged key of postings");
    if (pair->first.empty()) {  // The set of all series.
      from = it->key().ToString();
      it->Next();
      continue;
    }
    names.emplace(pair->first);
    if (++found == limit) return whole;
    from = prefix_ + BehindName(pair->first);
    it->Seek(from);
  }
  RETURN_IF_ERROR(FromRocks(it->status(), "reading label names"));
  return whole && (found > 0 || HasPostings());
}

absl::StatusOr<bool> Generation::AddValues(std::string_view name, uint64_t limit,
                                           std::set<std::string>& values) const {
  if (name.empty()) return true;
  const std::string prefix = prefix_ + PostingsTail(name, {});
  if (const auto cached = cache_->values.Find(prefix)) {
    const size_t size = limit == 0 ? cached->size() : std::min<size_t>(limit, cached->size());
    values.insert(cached->begin(), cached->begin() + static_cast<ptrdiff_t>(size));
    return true;
  }
  auto found = std::make_shared<std::vector<std::string>>();
  uint64_t bytes = 0;
  bool whole = true;
  std::string from = prefix;
  const std::unique_ptr<rocksdb::Iterator> it = NewIterator(*postings_);
  it->Seek(from);
  for (;;) {
    if (!it->Valid()) {
      whole &= !it->status().IsCorruption();
      if (!GoOn(*it, from, kPostingsFamily)) break;
    }
    if (!ToView(it->key()).starts_with(prefix)) break;
    from = it->key().ToString();
    found->emplace_back(from, prefix.size());
    bytes += sizeof(std::string) + found->back().size();
    if (found->size() == limit) {
      values.insert(found->begin(), found->end());
      return whole;
    }
    it->Next();
  }
  RETURN_IF_ERROR(FromRocks(it->status(), "reading label values"));
  whole &= !found->empty() || HasPostings();
  values.insert(found->begin(), found->end());
  if (whole) cache_->values.Add(prefix, std::move(found), bytes);
  return whole;
}

// ----------------------------------------------------------------------------------------- samples

absl::StatusOr<std::shared_ptr<const SharedTimes>> Generation::TimesOfRow(const TimesRef& ref,
                                                                          ReadCost& cost) const {
  const std::string key = EncodeColumnKey({.generation = id_,
                                           .series = ref.series,
                                           .first_time = ref.first_time,
                                           .kind = ColumnRowKind::kTimes});
  if (auto cached = cache_->times.Find(key)) {
    ++cost.cache_hits;
    return cached;
  }
  ++cost.cache_misses;
  rocksdb::PinnableSlice row;
  const rocksdb::Status found =
      columns_->db().Get(rocksdb::ReadOptions(), columns_->handle(), ToSlice(key), &row);
  if (found.IsNotFound()) return absl::DataLossError("a row's times row is missing");
  RETURN_IF_ERROR(FromRocks(found, "reading a times row"));
  auto times = std::make_shared<SharedTimes>();
  RETURN_IF_ERROR(DecodeTimes(ToView(row), *times));
  cache_->times.Add(key, times, times->times.size() * sizeof(TimestampMs));
  return std::shared_ptr<const SharedTimes>(std::move(times));
}

absl::Status Generation::ReadRow(std::string_view row, ColumnReadOptions options, TimesMemo* memo,
                                 SeriesSamples& samples) const {
  const absl::StatusOr<ColumnRow> whole = ParseColumnRow(row);
  RETURN_IF_ERROR(whole.status());
  const ColumnRow& parsed = *whole;
  if (parsed.max < options.min || parsed.min > options.max) return absl::OkStatus();
  ++samples.cost.chunks;
  samples.cost.bytes += row.size();
  if (parsed.times.has_value()) {
    if (memo != nullptr) options.times = memo->Find(*parsed.times);
    if (options.times != nullptr) {
      ++samples.cost.cache_hits;
    } else {
      ASSIGN_OR_RETURN(options.times, TimesOfRow(*parsed.times, samples.cost));
      if (memo != nullptr) memo->Set(*parsed.times, options.times);
    }
  }
  return DecodeInto(parsed.min, samples,
                    [&](SeriesSamples& to) { return DecodeColumnRow(parsed, options, to); });
}

absl::Status Generation::Read(rocksdb::Iterator& it, const Reading& reading, uint64_t series,
                              TimestampMs min, TimestampMs max, std::vector<ColumnDamage>* damage,
                              SeriesSamples& samples) const {
  const std::string from = EncodeLabelKey(id_, series);  // The start of its column keys too.
  std::optional<ColumnKey> last;
  bool behind_damage = false;
  for (uint64_t steps = 0; reading.near && steps < kStepsBeforeSeek; ++steps) {
    if (!it.Valid() || ToView(it.key()) >= from) break;
    it.Next();
  }
  if (!reading.near || !it.Valid() || ToView(it.key()) < from) {
    if (it.status().IsCorruption()) ForgetBlock(it);
    it.Seek(from);
  }
  for (;;) {
    if (!it.Valid()) {
      absl::Status status = FromRocks(it.status(), "reading columns");
      if (!absl::IsDataLoss(status) || damage == nullptr) return status;
      damage->push_back({.min = last.has_value() ? last->first_time : info_.min_time,
                         .max = info_.max_time,
                         .samples = 0,
                         .what = MessageOf(status)});
      behind_damage = true;
      if (!SeekPastDamage(it, last.has_value() ? EncodeColumnKey(*last) : from)) {
        return FromRocks(it.status(), "reading columns behind damage");
      }
    }
    if (!ToView(it.key()).starts_with(from)) return absl::OkStatus();
    const absl::StatusOr<ColumnKey> key = DecodeColumnKey(ToView(it.key()));
    if (!key.ok()) {
      if (damage == nullptr) return key.status();
      damage->push_back({info_.min_time, info_.max_time, 0, MessageOf(key.status())});
      it.Next();
      continue;
    }
    if (key->first_time > max) return absl::OkStatus();
    if (std::exchange(behind_damage, false)) damage->back().max = key->first_time - 1;
    last = *key;
    if (key->kind == ColumnRowKind::kSamples) {
      const absl::Status status = ReadRow(
          ToView(it.value()), {.min = min, .max = max, .values = reading.values, .damage = damage},
          reading.times, samples);
      if (!absl::IsDataLoss(status) || damage == nullptr) {
        RETURN_IF_ERROR(status);
      } else {
        damage->push_back({.min = key->first_time,
                           .max = info_.max_time,
                           .samples = 0,
                           .what = MessageOf(status)});
      }
    }
    it.Next();
  }
}

// ------------------------------------------------------------------------------------- maintenance

absl::StatusOr<std::set<GenerationId>> ListGenerations(const Store& store,
                                                       std::vector<absl::Status>& damage) {
  std::set<GenerationId> ids;
  for (const FamilyPtr& family : {store.columns(), store.labels(), store.postings()}) {
    const std::unique_ptr<rocksdb::Iterator> it(
        family->db().NewIterator(rocksdb::ReadOptions(), family->handle()));
    std::string from;
    it->SeekToFirst();
    for (;;) {
      if (!it->Valid()) {
        absl::Status status = FromRocks(it->status(), "listing generations");
        if (status.ok()) break;
        if (!absl::IsDataLoss(status)) return status;
        damage.push_back(std::move(status));
        if (!SeekPastDamage(*it, from)) break;
        continue;
      }
      const absl::StatusOr<GenerationId> id = DecodeGenerationPrefix(ToView(it->key()));
      if (id.ok()) {
        ids.insert(*id);
        from = GenerationEnd(*id);
        it->Seek(from);
      } else {
        damage.push_back(id.status());
        it->Next();
      }
    }
  }
  return ids;
}

BucketTable::Generation DescribeGeneration(const Store& store, const GenerationId& id,
                                           std::vector<absl::Status>& damage) {
  BucketTable::Generation info{
      .number = id.number, .min_time = kMaxTimestamp, .max_time = kMinTimestamp};
  const std::string prefix = GenerationPrefix(id);
  const absl::Status columns = store.Scan(
      *store.columns(), prefix,
      [&](std::string_view key, std::string_view value) -> absl::StatusOr<bool> {
        if (!key.starts_with(prefix)) return false;
        const absl::StatusOr<ColumnKey> column = DecodeColumnKey(key);
        const absl::StatusOr<ColumnSummary> summary = SummarizeColumns(value);
        if (!column.ok() || !summary.ok()) {
          damage.push_back(column.ok() ? summary.status() : column.status());
          return true;
        }
        info.bytes += key.size() + value.size();
        if (column->kind != ColumnRowKind::kSamples) return true;
        info.min_time = std::min(info.min_time, summary->min_time);
        info.max_time = std::max(info.max_time, summary->max_time);
        info.samples += summary->float_samples + summary->histogram_samples;
        return true;
      },
      &damage);
  if (!columns.ok()) damage.push_back(columns);
  const absl::Status labels = store.Scan(
      *store.labels(), prefix,
      [&](std::string_view key, std::string_view value) -> absl::StatusOr<bool> {
        if (!key.starts_with(prefix)) return false;
        info.bytes += key.size() + value.size();
        ++info.series;
        return true;
      },
      &damage);
  if (!labels.ok()) damage.push_back(labels);
  return info;
}

uint64_t LastSeriesOf(const Store& store, const GenerationId& id) {
  const std::unique_ptr<rocksdb::Iterator> it(
      store.labels()->db().NewIterator(rocksdb::ReadOptions(), store.labels()->handle()));
  it->SeekForPrev(GenerationEnd(id));
  if (!it->Valid() || !ToView(it->key()).starts_with(GenerationPrefix(id))) return 0;
  return DecodeLabelKey(ToView(it->key())).value_or(0);
}

absl::Status DeleteGeneration(Store& store, const GenerationId& id) {
  for (const FamilyPtr& family : {store.columns(), store.labels(), store.postings()}) {
    RETURN_IF_ERROR(store.DeleteTables(*family, GenerationPrefix(id), GenerationEnd(id)));
  }
  return absl::OkStatus();
}

}  // namespace varve
