// SPDX-License-Identifier: Apache-2.0
//
// The appender: checks samples against the head as they come, and hands the batch to the write
// path.
#pragma once

#include <memory>

#include "model/storage.h"
#include "tsdb/exemplar_store.h"
#include "tsdb/head.h"
#include "tsdb/write_path.h"

namespace varve {

// Everything outlives the appender. `window` is what the head and the clock allow now.
// An appender that refuses everything: memory is spent. ResourceExhausted, and AppendErrorOf() says
// nothing of it: the whole batch fails.
std::unique_ptr<Appender> NewRefusingAppender();
std::unique_ptr<Appender> NewHeadAppender(Head& head, WritePath& write_path,
                                          ExemplarStore& exemplars, AtomicCounters& counters,
                                          AppendWindow window);

}  // namespace varve
