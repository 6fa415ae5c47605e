// SPDX-License-Identifier: Apache-2.0
//
// Keys of generations, and reading them.
#include "tsdb/generation.h"

#include <rocksdb/db.h>

#include <algorithm>
#include <utility>

#include "model/status_macros.h"
#include "tsdb/coding.h"
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
                       const BucketTable::Generation& info, std::shared_ptr<GenerationCache> cache)
    : columns_(store.columns()),
      labels_(store.labels()),
      postings_(store.postings()),
      id_(id),
      info_(info),
      prefix_(GenerationPrefix(id)),
      cache_(std::move(cache)) {}

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

absl::StatusOr<std::vector<uint64_t>> Generation::Select(
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
  for (size_t i = 0; i < ids.size(); ++i) {
    const std::string key = EncodeLabelKey(id_, ids[i]);
    uint64_t steps = 0;
    while (it->Valid() && ToView(it->key()) < key && steps++ < kStepsBeforeSeek) it->Next();
    if (it->Valid() && ToView(it->key()) < key) it->Seek(key);
    if (!it->Valid()) break;
    if (ToView(it->key()) != key) continue;
    ASSIGN_OR_RETURN(result[i], Labels::FromBytes(ToView(it->value())));
  }
  RETURN_IF_ERROR(FromRocks(it->status(), "reading labels"));
  return result;
}

absl::Status Generation::AddNames(std::set<std::string>& names) const {
  const std::unique_ptr<rocksdb::Iterator> it = NewIterator(*postings_);
  it->Seek(prefix_);
  while (it->Valid() && ToView(it->key()).starts_with(prefix_)) {
    const auto pair = SplitPostingsTail(ToView(it->key()).substr(prefix_.size()));
    if (!pair.has_value()) return absl::DataLossError("damaged key of postings");
    if (pair->first.empty()) {  // The set of all series.
      it->Next();
      continue;
    }
    names.emplace(pair->first);
    it->Seek(prefix_ + BehindName(pair->first));
  }
  return FromRocks(it->status(), "reading label names");
}

absl::Status Generation::AddValues(std::string_view name, std::set<std::string>& values) const {
  if (name.empty()) return absl::OkStatus();
  const std::string from = prefix_ + PostingsTail(name, {});
  const std::unique_ptr<rocksdb::Iterator> it = NewIterator(*postings_);
  for (it->Seek(from); it->Valid() && ToView(it->key()).starts_with(from); it->Next()) {
    values.emplace(ToView(it->key()).substr(from.size()));
  }
  return FromRocks(it->status(), "reading label values");
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

absl::Status Generation::ReadRow(std::string_view row, TimestampMs min, TimestampMs max,
                                 std::vector<ColumnDamage>* damage, SeriesSamples& samples) const {
  ASSIGN_OR_RETURN(const ColumnSummary summary, SummarizeColumns(row));
  if (summary.max_time < min || summary.min_time > max) return absl::OkStatus();
  ++samples.cost.chunks;
  samples.cost.bytes += row.size();
  ColumnReadOptions options{.min = min, .max = max, .damage = damage};
  std::shared_ptr<const SharedTimes> times;
  if (summary.times.has_value()) {
    ASSIGN_OR_RETURN(times, TimesOfRow(*summary.times, samples.cost));
    options.times = times.get();
  }
  return DecodeInto(summary.min_time, samples,
                    [&](SeriesSamples& to) { return DecodeColumns(row, options, to); });
}

absl::Status Generation::Read(rocksdb::Iterator& it, uint64_t series, TimestampMs min,
                              TimestampMs max, std::vector<ColumnDamage>* damage,
                              SeriesSamples& samples) const {
  const std::string from = EncodeLabelKey(id_, series);  // The start of its column keys too.
  for (it.Seek(from); it.Valid() && ToView(it.key()).starts_with(from); it.Next()) {
    ASSIGN_OR_RETURN(const ColumnKey key, DecodeColumnKey(ToView(it.key())));
    if (key.first_time > max) break;
    if (key.kind != ColumnRowKind::kSamples) continue;
    const absl::Status status = ReadRow(ToView(it.value()), min, max, damage, samples);
    if (!absl::IsDataLoss(status) || damage == nullptr) {
      RETURN_IF_ERROR(status);
    } else {
      damage->push_back({.min = key.first_time,
                         .max = info_.max_time,
                         .samples = 0,
                         .what = std::string(status.message())});
    }
  }
  return FromRocks(it.status(), "reading columns");
}

// ------------------------------------------------------------------------------------- maintenance

absl::StatusOr<std::set<GenerationId>> ListGenerations(const Store& store) {
  std::set<GenerationId> ids;
  for (const FamilyPtr& family : {store.columns(), store.labels(), store.postings()}) {
    const std::unique_ptr<rocksdb::Iterator> it(
        family->db().NewIterator(rocksdb::ReadOptions(), family->handle()));
    it->SeekToFirst();
    while (it->Valid()) {
      ASSIGN_OR_RETURN(const GenerationId id, DecodeGenerationPrefix(ToView(it->key())));
      ids.insert(id);
      it->Seek(GenerationEnd(id));
    }
    RETURN_IF_ERROR(FromRocks(it->status(), "listing generations"));
  }
  return ids;
}

absl::Status DeleteGeneration(Store& store, const GenerationId& id) {
  for (const FamilyPtr& family : {store.columns(), store.labels(), store.postings()}) {
    RETURN_IF_ERROR(store.DeleteTables(*family, GenerationPrefix(id), GenerationEnd(id)));
  }
  return absl::OkStatus();
}

}  // namespace varve
