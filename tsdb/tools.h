// SPDX-License-Identifier: Apache-2.0
//
// `varve tsdb ...`: work on a data directory that no server has open.
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace varve {

// All take the path that the server has as --storage.tsdb.path and fail with
//   NotFound     there is no Varve data
//   Unavailable  another process has it open
// or as Db::Open() does.

// Folds all that is there and merges every bucket into one generation. Returns what that made of
// it, in sentences.
absl::StatusOr<std::string> SealData(const std::string& path);

// Problems named in a report; the others are only counted.
inline constexpr size_t kVerifyProblemsMax = 100;

struct VerifyReport {
  uint64_t hot_chunks = 0;
  uint64_t log_records = 0;
  uint64_t series = 0;  // Rows of labels, of memory and of all generations.
  uint64_t column_rows = 0;
  uint64_t postings = 0;
  uint64_t problem_count = 0;
  std::vector<std::string> problems;  // Up to kVerifyProblemsMax.

  std::string ToText() const;
};
// Reads everything and checks it against its checksums and against one another.
absl::StatusOr<VerifyReport> VerifyData(const std::string& path);

// What takes how many bytes, as tables of text: families of rows, folded or not; of what is folded
// encodings, the `limit` metrics with most bytes, and the labels with most values.
absl::StatusOr<std::string> AnalyzeData(const std::string& path, size_t limit);

// Removes table `number` from the database in `directory` and ends the process, with 0 if it
// worked. RocksDB's tool for that does so itself, hence a process of its own.
[[noreturn]] void RemoveTableAndExit(const std::string& directory, const std::string& number);

}  // namespace varve
