// SPDX-License-Identifier: Apache-2.0
//
// Writes a generation: tables of `columns`, `labels` and `postings` beside the database, which one
// ingestion then takes in. Until the bucket table names the generation nobody reads it.
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <rocksdb/sst_file_writer.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "model/labels.h"
#include "model/queryable.h"
#include "tsdb/generation.h"
#include "tsdb/postings.h"
#include "tsdb/store.h"

namespace varve {

// A table of a generation is ended at this size.
inline constexpr uint64_t kGenerationTableBytesMax = 256 << 20;

// Not thread-safe. Files that were not ingested are deleted with the writer.
class GenerationWriter {
 public:
  // `directory` exists and is empty of files of other writers at work. `store` outlives the writer.
  GenerationWriter(Store& store, const GenerationId& id, std::string directory);
  ~GenerationWriter();
  GenerationWriter(const GenerationWriter&) = delete;
  GenerationWriter& operator=(const GenerationWriter&) = delete;

  // Adds all samples of a series. REQUIRES: ids rise; `samples` is not empty, as EncodeColumns
  // wants it but for the number of samples.
  absl::Status Add(uint64_t series, const Labels& labels, SeriesSamples samples);

  // Ends the tables and takes them into the database. If nothing was added the generation has no
  // series, and there is nothing to publish.
  absl::StatusOr<BucketTable::Generation> Finish();

  const GenerationId& id() const { return id_; }
  // What is held until Finish(), about.
  uint64_t MemoryBytes() const { return builder_.bytes(); }

 private:
  // The tables of one family, in the order of their keys.
  struct Tables {
    const Family* family = nullptr;
    std::unique_ptr<rocksdb::SstFileWriter> writer;  // Null between tables.
    std::vector<std::string> paths;
    uint64_t bytes = 0;  // Of ended tables.
  };
  // The series added last, whose row waits to see whether the next one has the same times.
  struct Waiting {
    uint64_t series = 0;
    SeriesSamples samples;
    std::vector<TimestampMs> times;
  };

  absl::Status Put(Tables& tables, std::string_view key, std::string_view value);
  absl::Status End(Tables& tables);
  absl::Status AddRow(uint64_t series, SeriesSamples samples);
  absl::Status PutRow(uint64_t series, const SeriesSamples& samples, const TimesRef* times);
  absl::Status PutWaiting(const std::vector<TimestampMs>* next_times);

  Store& store_;
  const GenerationId id_;
  const std::string directory_;
  Tables columns_;
  Tables labels_;
  Tables postings_;
  PostingsBuilder builder_;
  std::unique_ptr<Waiting> waiting_;
  TimesRef shared_ref_;
  std::vector<TimestampMs> shared_times_;  // Of the last times row; empty if there is none.
  BucketTable::Generation info_;
  uint32_t files_ = 0;
  bool ingested_ = false;
};

}  // namespace varve
