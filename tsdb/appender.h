// SPDX-License-Identifier: Apache-2.0
//
// The appender: checks samples against the head as they come, and hands the batch to the write
// path.
#pragma once

#include <memory>

#include "model/storage.h"
#include "tsdb/engine.h"
#include "tsdb/head.h"

namespace varve {

// An appender that refuses everything: memory is spent. ResourceExhausted, and AppendErrorOf() says
// nothing of it: the whole batch fails.
std::unique_ptr<Appender> NewRefusingAppender();
// The engine outlives the appender. `window` is what the head and the clock allow now.
std::unique_ptr<Appender> NewHeadAppender(Engine& engine, AppendWindow window);

}  // namespace varve
