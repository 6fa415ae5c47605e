// SPDX-License-Identifier: Apache-2.0
//
// Sealing, verifying and analysing a directory.
#include "tsdb/tools.h"

#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>
#include <absl/hash/hash.h>
#include <fmt/format.h>
#include <rocksdb/db.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <utility>

#include "model/clock.h"
#include "model/queryable.h"
#include "model/status_macros.h"
#include "model/string_map.h"
#include "tsdb/column.h"
#include "tsdb/db.h"
#include "tsdb/format.h"
#include "tsdb/generation.h"
#include "tsdb/head_row.h"
#include "tsdb/log_record.h"
#include "tsdb/postings.h"
#include "tsdb/store.h"

namespace varve {

namespace {

namespace fs = std::filesystem;

std::string StorePath(const std::string& path) {
  return (fs::path(path) / kDataSubdirectory).native();
}

absl::Status MustExist(const std::string& path) {
  std::error_code error;
  if (fs::exists(fs::path(StorePath(path)) / "CURRENT", error)) return absl::OkStatus();
  return absl::NotFoundError(fmt::format("\"{}\" holds no data of Varve", path));
}

absl::StatusOr<std::unique_ptr<Store>> OpenStore(const std::string& path) {
  RETURN_IF_ERROR(MustExist(path));
  return Store::Open({.path = StorePath(path)});
}

absl::StatusOr<BucketTable> ReadBucketTable(const Store& store) {
  const absl::StatusOr<std::string> table = store.Get(store.meta(), kBucketTableKey);
  if (absl::IsNotFound(table.status())) return BucketTable();
  RETURN_IF_ERROR(table.status());
  return BucketTable::Decode(*table);
}

using RowVisitor = Store::Visitor;

// Calls visit(key, value) for all rows of a generation.
absl::Status ScanGeneration(const Store& store, const Family& family, const GenerationId& id,
                            const RowVisitor& visit) {
  const std::string prefix = GenerationPrefix(id);
  return store.Scan(family, prefix,
                    [&](std::string_view key, std::string_view value) -> absl::StatusOr<bool> {
                      if (!key.starts_with(prefix)) return false;
                      return visit(key, value);
                    });
}

// ------------------------------------------------------------------------------------------ verify

class Verifier {
 public:
  explicit Verifier(Store& store) : store_(store) {}

  VerifyReport Run() {
    Note("tables", store_.VerifyChecksums());
    VerifyMemoryRows();
    for (const auto& [number, family] : store_.TakeNumbered(kLogFamilyPrefix)) VerifyLog(*family);
    for (const auto& [number, family] : store_.TakeNumbered(kHotFamilyPrefix)) VerifyHot(*family);
    const absl::StatusOr<BucketTable> table = ReadBucketTable(store_);
    if (!table.ok()) {
      Note("bucket table", table.status());
      return std::move(report_);
    }
    for (const BucketTable::Bucket& bucket : table->buckets()) {
      for (const BucketTable::Generation& info : bucket.generations) {
        VerifyGeneration({bucket.partition, bucket.start, info.number}, info);
      }
    }
    return std::move(report_);
  }

 private:
  void Note(std::string_view where, const absl::Status& status) {
    if (status.ok()) return;
    if (report_.problem_count++ < kVerifyProblemsMax) {
      report_.problems.push_back(fmt::format("{}: {}", where, status.ToString()));
    }
  }

  // Scans `family`, noting what `check` says of each row.
  template <typename Check>
  void VerifyRows(const Family& family, Check check) {
    Note(family.name(),
         store_.Scan(family, {},
                     [&](std::string_view key, std::string_view value) -> absl::StatusOr<bool> {
                       Note(family.name(), check(key, value));
                       return true;
                     }));
  }

  void VerifyMemoryRows() {
    VerifyRows(store_.series(), [this](std::string_view key, std::string_view value) {
      ++report_.series;
      RETURN_IF_ERROR(DecodeIdKey(key).status());
      return Labels::FromBytes(value).status();
    });
    VerifyRows(store_.head(), [](std::string_view key, std::string_view value) -> absl::Status {
      ASSIGN_OR_RETURN(const uint64_t id, DecodeIdKey(key));
      return DecodeHeadRow(id, value).status();
    });
  }

  void VerifyLog(const Family& family) {
    VerifyRows(family, [this](std::string_view key, std::string_view value) {
      ++report_.log_records;
      RETURN_IF_ERROR(DecodeIdKey(key).status());
      return DecodeLogRecord(value).status();
    });
  }

  void VerifyHot(const Family& family) {
    VerifyRows(family, [this](std::string_view key, std::string_view value) -> absl::Status {
      ++report_.hot_chunks;
      ASSIGN_OR_RETURN(const HotKey hot, DecodeHotKey(key));
      ASSIGN_OR_RETURN(const HotChunk chunk, DecodeHotChunk(value));
      SeriesSamples samples;
      return DecodeChunkSamples(chunk, hot.first_time, kMinTimestamp, kMaxTimestamp, samples);
    });
  }

  absl::Status VerifyColumnRow(std::string_view key, std::string_view value, uint64_t& samples) {
    ++report_.column_rows;
    ASSIGN_OR_RETURN(const ColumnKey column, DecodeColumnKey(key));
    std::vector<ColumnDamage> damage;
    RETURN_IF_ERROR(VerifyColumns(value, damage));
    if (!damage.empty()) {
      return absl::DataLossError(fmt::format("series {}: {}", column.series, damage[0].what));
    }
    ASSIGN_OR_RETURN(const ColumnSummary summary, SummarizeColumns(value));
    if (column.kind == ColumnRowKind::kSamples) {
      samples += summary.float_samples + summary.histogram_samples;
    }
    return absl::OkStatus();
  }

  void VerifyGeneration(const GenerationId& id, const BucketTable::Generation& info) {
    const std::string name = fmt::format("generation {}", id.number);
    uint64_t series = 0;
    uint64_t samples = 0;
    Note(name, ScanGeneration(store_, *store_.columns(), id,
                              [&](std::string_view key, std::string_view value) {
                                Note(name, VerifyColumnRow(key, value, samples));
                                return absl::StatusOr<bool>(true);
                              }));
    Note(name, ScanGeneration(store_, *store_.labels(), id,
                              [&](std::string_view, std::string_view value) {
                                ++series;
                                ++report_.series;
                                Note(name, Labels::FromBytes(value).status());
                                return absl::StatusOr<bool>(true);
                              }));
    Note(name, ScanGeneration(store_, *store_.postings(), id,
                              [&](std::string_view, std::string_view value) {
                                ++report_.postings;
                                Note(name, DecodePostings(value).status());
                                return absl::StatusOr<bool>(true);
                              }));
    if (series != info.series || samples != info.samples) {
      Note(name, absl::DataLossError(
                     fmt::format("has {} series and {} samples, the bucket table says {} and {}",
                                 series, samples, info.series, info.samples)));
    }
  }

  Store& store_;
  VerifyReport report_;
};

// ----------------------------------------------------------------------------------------- analyse

struct Use {
  uint64_t series = 0;
  uint64_t samples = 0;
  uint64_t bytes = 0;
};

std::vector<std::pair<std::string, Use>> Largest(const StringMap<Use>& uses, size_t limit,
                                                 uint64_t Use::*by) {
  std::vector<std::pair<std::string, Use>> sorted(uses.begin(), uses.end());
  std::sort(sorted.begin(), sorted.end(), [by](const auto& a, const auto& b) {
    return a.second.*by != b.second.*by ? a.second.*by > b.second.*by : a.first < b.first;
  });
  sorted.resize(std::min(limit, sorted.size()));
  return sorted;
}

double PerSample(uint64_t bytes, uint64_t samples) {
  return samples == 0 ? 0 : static_cast<double>(bytes) / static_cast<double>(samples);
}

class Analyzer {
 public:
  explicit Analyzer(Store& store) : store_(store) {}

  absl::Status Run() {
    const FamilyPtr* const folded[] = {&store_.columns(), &store_.labels(), &store_.postings()};
    for (const FamilyPtr* family : folded) RETURN_IF_ERROR(AddFamily(**family, (*family)->name()));
    for (const std::string_view prefix : {kHotFamilyPrefix, kLogFamilyPrefix}) {
      for (const auto& [number, family] : store_.TakeNumbered(prefix)) {
        RETURN_IF_ERROR(AddFamily(*family, fmt::format("{}*", prefix)));
      }
    }
    for (const Family* family : {&store_.head(), &store_.series(), &store_.exemplars(),
                                 &store_.metadata(), &store_.tombstones(), &store_.meta()}) {
      RETURN_IF_ERROR(AddFamily(*family, family->name()));
    }
    ASSIGN_OR_RETURN(const BucketTable table, ReadBucketTable(store_));
    for (const BucketTable::Bucket& bucket : table.buckets()) {
      for (const BucketTable::Generation& info : bucket.generations) {
        ++generations_;
        samples_ += info.samples;
        bytes_ += info.bytes;
        RETURN_IF_ERROR(AddGeneration({bucket.partition, bucket.start, info.number}));
      }
    }
    return absl::OkStatus();
  }

  std::string ToText(size_t limit) const {
    std::string out = fmt::format(
        "{} generations, {} series, {} samples, {} bytes: {:.3f} bytes a sample\n\n", generations_,
        series_seen_.size(), samples_, bytes_, PerSample(bytes_, samples_));
    out += fmt::format("{:<44} {:>12} {:>14}\n", "family", "rows", "bytes");
    for (const auto& [name, use] : families_) {
      out += fmt::format("{:<44} {:>12} {:>14}\n", name, use.rows, use.bytes);
    }
    out += "\n";
    out += fmt::format("{:<44} {:>12} {:>14} {:>14} {:>8}\n", "encoding", "columns", "samples",
                       "bytes", "B/sample");
    for (const ColumnUse& use : encodings_) {
      out += fmt::format("{:<44} {:>12} {:>14} {:>14} {:>8.3f}\n", use.encoding, use.columns,
                         use.samples, use.bytes, PerSample(use.bytes, use.samples));
    }
    out += fmt::format("\n{:<44} {:>12} {:>14} {:>14} {:>8}\n", "metric", "series", "samples",
                       "bytes", "B/sample");
    for (const auto& [metric, use] : Largest(metrics_, limit, &Use::bytes)) {
      out += fmt::format("{:<44} {:>12} {:>14} {:>14} {:>8.3f}\n", metric, use.series, use.samples,
                         use.bytes, PerSample(use.bytes, use.samples));
    }
    out += fmt::format("\n{:<44} {:>12} {:>14}\n", "label", "values", "bytes");
    for (const auto& [label, use] : Largest(labels_, limit, &Use::series)) {
      out += fmt::format("{:<44} {:>12} {:>14}\n", label, use.series, use.bytes);
    }
    return out;
  }

 private:
  struct FamilyUse {
    uint64_t rows = 0;
    uint64_t bytes = 0;  // Of keys and values, before the compression of blocks.
  };

  absl::Status AddFamily(const Family& family, const std::string& name) {
    auto it = std::find_if(families_.begin(), families_.end(),
                           [&name](const auto& known) { return known.first == name; });
    if (it == families_.end()) it = families_.insert(it, {name, FamilyUse()});
    return store_.Scan(family, {},
                       [&](std::string_view key, std::string_view value) -> absl::StatusOr<bool> {
                         ++it->second.rows;
                         it->second.bytes += key.size() + value.size();
                         return true;
                       });
  }

  absl::Status AddGeneration(const GenerationId& id) {
    // Rows of columns and of labels come in the order of the same ids.
    absl::flat_hash_map<uint64_t, std::string> metric_of;
    RETURN_IF_ERROR(
        ScanGeneration(store_, *store_.labels(), id,
                       [&](std::string_view key, std::string_view value) -> absl::StatusOr<bool> {
                         ASSIGN_OR_RETURN(const uint64_t series, DecodeLabelKey(key));
                         ASSIGN_OR_RETURN(const Labels labels, Labels::FromBytes(value));
                         metric_of.emplace(series, labels.Get(kMetricName));
                         // A series of several buckets is one.
                         if (series_seen_.insert(labels.Hash()).second) {
                           ++metrics_[metric_of[series]].series;
                         }
                         return true;
                       }));
    RETURN_IF_ERROR(
        ScanGeneration(store_, *store_.columns(), id,
                       [&](std::string_view key, std::string_view value) -> absl::StatusOr<bool> {
                         ASSIGN_OR_RETURN(const ColumnKey column, DecodeColumnKey(key));
                         ASSIGN_OR_RETURN(const ColumnSummary summary, SummarizeColumns(value));
                         RETURN_IF_ERROR(AddColumnUses(value, encodings_));
                         Use& metric = metrics_[metric_of[column.series]];
                         metric.bytes += key.size() + value.size();
                         if (column.kind == ColumnRowKind::kSamples) {
                           metric.samples += summary.float_samples + summary.histogram_samples;
                         }
                         return true;
                       }));
    return ScanGeneration(store_, *store_.postings(), id,
                          [&](std::string_view key, std::string_view) -> absl::StatusOr<bool> {
                            const auto pair = SplitPostingsTail(key.substr(kGenerationPrefixBytes));
                            if (!pair.has_value() || pair->first.empty()) return true;
                            const uint64_t hash = absl::HashOf(pair->first, pair->second);
                            if (!pairs_seen_.insert(hash).second) return true;
                            Use& label = labels_[std::string(pair->first)];
                            ++label.series;
                            label.bytes += pair->second.size();
                            return true;
                          });
  }

  Store& store_;
  std::vector<std::pair<std::string, FamilyUse>> families_;
  absl::flat_hash_set<uint64_t> series_seen_;  // Hashes of their labels,
  absl::flat_hash_set<uint64_t> pairs_seen_;   // and of names and values.
  uint64_t generations_ = 0;
  uint64_t samples_ = 0;
  uint64_t bytes_ = 0;
  std::vector<ColumnUse> encodings_;
  StringMap<Use> metrics_;
  StringMap<Use> labels_;  // `series`: values.
};

}  // namespace

absl::StatusOr<std::string> SealData(const std::string& path) {
  RETURN_IF_ERROR(MustExist(path));
  // Nothing expires, and nothing runs beside it.
  ASSIGN_OR_RETURN(const std::unique_ptr<Db> db,
                   Db::Open({.path = path, .retention = 0, .background = false}, RealClock()));
  RETURN_IF_ERROR(db->Seal());
  const StoredStats stored = db->Stored();
  RETURN_IF_ERROR(db->Close());
  return fmt::format(
      "{} samples in {} buckets of one generation each, {} bytes: {:.3f} bytes a sample\n",
      stored.generation_samples, stored.generations, stored.generation_bytes,
      PerSample(stored.generation_bytes, stored.generation_samples));
}

std::string VerifyReport::ToText() const {
  std::string out =
      fmt::format("read {} chunks, {} log records, {} series, {} column rows, {} postings\n",
                  hot_chunks, log_records, series, column_rows, postings);
  for (const std::string& problem : problems) out += problem + "\n";
  if (problem_count > problems.size()) {
    out += fmt::format("and {} more\n", problem_count - problems.size());
  }
  out += problem_count == 0 ? "no damage found\n" : fmt::format("{} problems\n", problem_count);
  return out;
}

absl::StatusOr<VerifyReport> VerifyData(const std::string& path) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Store> store, OpenStore(path));
  return Verifier(*store).Run();
}

absl::StatusOr<std::string> AnalyzeData(const std::string& path, size_t limit) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Store> store, OpenStore(path));
  Analyzer analyzer(*store);
  RETURN_IF_ERROR(analyzer.Run());
  return analyzer.ToText(limit);
}

}  // namespace varve
