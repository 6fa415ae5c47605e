// SPDX-License-Identifier: Apache-2.0
//
// Room for the bodies of answers, used again and again. What was given back last is taken first: it
// is in some processor's cache, where memory fresh from the allocator is not.
#pragma once

#include <absl/base/thread_annotations.h>

#include <cstddef>
#include <string>
#include <vector>

#include "model/mutex.h"

namespace varve {

// Thread-safe.
class BodyPool {
 public:
  // Bytes it keeps at most.
  static constexpr size_t kBytesMax = 8 << 20;

  // A string with room for so many bytes, and whatever it held before.
  std::string Take(size_t bytes);
  // Keeps the room of `body`, unless that would be too much.
  void Return(std::string body);

 private:
  Mutex mutex_;
  std::vector<std::string> free_ ABSL_GUARDED_BY(mutex_);
  size_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;  // The capacities of free_.
};

}  // namespace varve
