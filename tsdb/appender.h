// SPDX-License-Identifier: Apache-2.0
//
// The appender: checks samples against the head as they come, and hands the batch to the write
// path.
#pragma once

#include <absl/status/status.h>
#include <absl/types/span.h>

#include <memory>
#include <vector>

#include "model/appendable.h"
#include "tsdb/engine.h"
#include "tsdb/head.h"
#include "tsdb/write_path.h"

namespace varve {

// An appender that refuses everything: memory is spent. ResourceExhausted, and AppendErrorOf() says
// nothing of it: the whole batch fails.
std::unique_ptr<Appender> NewRefusingAppender();
// The engine outlives the appender. `window` is what the head and the clock allow now.
std::unique_ptr<Appender> NewHeadAppender(Engine& engine, AppendWindow window);
// As Appendable::CommitAll(). REQUIRES: `appenders` were made by the functions above.
std::vector<absl::Status> CommitAppenders(WritePath& write_path,
                                          absl::Span<Appender* const> appenders);

}  // namespace varve
