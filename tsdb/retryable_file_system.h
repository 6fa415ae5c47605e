// SPDX-License-Identifier: Apache-2.0
//
// A file system on which RocksDB goes on after failed writes. RocksDB gives up for good after a
// write error that it is not told may pass, and its own file system says so of a full disk only.
// Flushes go through a gate (flush_gate.h).
#pragma once

#include <rocksdb/env.h>

#include <atomic>
#include <memory>

#include "tsdb/flush_gate.h"

namespace varve {

// What could not be written to. Set here, cleared by whoever has made up for it.
struct FailedWrites {
  std::atomic<bool> any = false;
  std::atomic<bool> log = false;  // A file of the write-ahead log.
};

// `base` with every failed write marked as one that may pass, after it was noted in `failed`.
// `base` outlives what is returned.
struct RetryableEnv {
  std::shared_ptr<rocksdb::Env> env;
  std::shared_ptr<FlushGate> flush_gate;
};
RetryableEnv NewRetryableEnv(rocksdb::Env& base, std::shared_ptr<FailedWrites> failed);

}  // namespace varve
