// SPDX-License-Identifier: Apache-2.0
//
// Tells when files of some directories have been written, moved, made or removed, by inotify.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "net/event_loop.h"

namespace varve {

// Watches until Stop(). Directories that are not there are not watched, nor is what a link points
// to.
class DirectoryWatch {
 public:
  virtual ~DirectoryWatch() = default;
  // `changed` may still run once. Idempotent; any thread.
  virtual void Stop() = 0;
};

// Calls `changed` on the loop's thread soon after a change, for several at once or one by one. Null
// if the system has no watches to give. Every watch has to be stopped before the loop is.
std::shared_ptr<DirectoryWatch> WatchDirectories(EventLoop& loop,
                                                 const std::vector<std::string>& directories,
                                                 std::function<void()> changed);

}  // namespace varve
