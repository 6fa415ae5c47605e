// SPDX-License-Identifier: Apache-2.0
//
// Opening a database whose files may be damaged: step by step, each step costing more than the one
// before, until it opens. What is left out is named.
//
//   1. a CURRENT file that names no manifest is written again
//   2. the write-ahead log: a record cut off at the end of a file is no damage, anything else makes
//      RocksDB refuse, which changes nothing
//   3. then again, damaged records of the write-ahead log left out
//   4. a table that does not open is removed from the database, and the others tried
//   5. the manifest is made again from what the tables say of themselves and the write-ahead log
//   6. the directory is renamed and an empty database takes its place
//
// RocksDB's point-in-time mode would be a step between 2 and 3, but costs everything behind the
// damage and does not say so; best_efforts_recovery keeps nothing at all (docs/recovery.md).
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tsdb/store.h"

namespace varve {

struct OpenedStore {
  std::unique_ptr<Store> store;
  // What was left out, a sentence each; empty if nothing was.
  std::vector<std::string> losses;
};

// `remove_table` is a program with its arguments, to which directory and file number are added: it
// calls RemoveTableAndExit() of tools.h. Step 4 is left out if it is empty. `now` names a directory
// set aside. Errors that are not damage (locks, permissions, no room) are returned.
absl::StatusOr<OpenedStore> OpenReadableStore(const StoreOptions& options,
                                              const std::vector<std::string>& remove_table,
                                              TimestampMs now);

// Runs `remove_table` for the table.
absl::Status RemoveTable(const std::vector<std::string>& remove_table, const std::string& directory,
                         uint64_t number);

// The number of the table that an error text of RocksDB names last; 0 if it names none.
uint64_t TableNamedIn(std::string_view text);

}  // namespace varve
