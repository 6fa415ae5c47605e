// SPDX-License-Identifier: Apache-2.0
//
// A file system on which RocksDB goes on after failed writes. RocksDB gives up for good after a
// write error that it is not told may pass, and its own file system says so of a full disk only.
#pragma once

#include <rocksdb/env.h>

#include <atomic>
#include <memory>

namespace varve {

// `base` with every failed write marked as one that may pass, after `failed` was set. `base`
// outlives what is returned.
std::unique_ptr<rocksdb::Env> NewRetryableEnv(rocksdb::Env& base,
                                              std::shared_ptr<std::atomic<bool>> failed);

}  // namespace varve
