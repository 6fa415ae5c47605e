// SPDX-License-Identifier: Apache-2.0
//
// The log as others read it: model/log_source.h's LogCursor.
#pragma once

#include <memory>

#include "model/log_source.h"
#include "tsdb/head.h"
#include "tsdb/write_path.h"

namespace varve {

// Both references outlive the cursor.
std::unique_ptr<LogCursor> NewLogCursor(const Head& head, WritePath& write_path);

}  // namespace varve
