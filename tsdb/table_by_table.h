// SPDX-License-Identifier: Apache-2.0
//
// Reading a family some of whose blocks are damaged. A usual iterator merges all tables, and stops
// for all of them where one is damaged; this one loses the damaged blocks only.
#pragma once

#include <rocksdb/iterator.h>
#include <rocksdb/options.h>

#include <memory>

#include "tsdb/store.h"

namespace varve {

// An iterator that steps over damaged blocks; its status is never Corruption. Forward only.
// REQUIRES: no key of the family is written twice with different values, or deleted.
std::unique_ptr<rocksdb::Iterator> NewTableByTableIterator(const Family& family,
                                                           const rocksdb::ReadOptions& options);

}  // namespace varve
