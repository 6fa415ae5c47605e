// SPDX-License-Identifier: Apache-2.0
//
// Targets from JSON or YAML files that other programs write. Files are looked at every few seconds
// and read when they have changed.
#pragma once

#include <absl/status/statusor.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "scrape/config.h"
#include "scrape/context.h"
#include "scrape/discovery/discovery.h"

namespace varve {

// The largest file read, and how often files are looked at.
inline constexpr size_t kTargetFileBytesMax = 256 << 20;
inline constexpr DurationMs kTargetFileLookInterval = 2 * kSecond;

// The files that match the patterns (`*` in the last part of the path), sorted.
std::vector<std::string> ExpandFilePatterns(const std::vector<std::string>& patterns);

// Timers run on the context's event loop, files are read by its workers. A file that cannot be read
// keeps its last targets.
std::unique_ptr<Discovery> NewFileDiscovery(const FileSdConfig& config,
                                            std::shared_ptr<ScrapeContext> context,
                                            TargetGroupsCallback callback);

}  // namespace varve
