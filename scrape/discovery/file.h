// SPDX-License-Identifier: Apache-2.0
//
// Targets from JSON or YAML files that other programs write. Files are looked at when something
// happens in their directories, and every few seconds besides, since not every file system and link
// tells; they are read when they have changed.
#pragma once

#include <absl/status/statusor.h>

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "scrape/config.h"
#include "scrape/discovery/context.h"
#include "scrape/discovery/discovery.h"

namespace varve {

// The largest file read, and how often files are looked at.
inline constexpr size_t kTargetFileBytesMax = 256 << 20;
inline constexpr DurationMs kTargetFileLookInterval = 2 * kSecond;
// Between a change and the look at it, so that a row of changes is one.
inline constexpr std::chrono::milliseconds kTargetFileSettleTime{20};

// The files that match the patterns (`*` in the last part of the path), sorted.
std::vector<std::string> ExpandFilePatterns(const std::vector<std::string>& patterns);

// What a file says, with `__meta_filepath`. The error names file and line.
absl::StatusOr<std::vector<TargetGroup>> ReadTargetFile(const std::string& path);

// Timers run on the context's event loop, files are read by its workers. A file that cannot be read
// keeps its last targets.
std::unique_ptr<Discovery> NewFileDiscovery(const FileSdConfig& config, const std::string& job,
                                            std::shared_ptr<DiscoveryContext> context,
                                            TargetGroupsCallback callback);

}  // namespace varve
