// SPDX-License-Identifier: Apache-2.0
//
// A stack of strings.
#include "net/body_pool.h"

#include <utility>

namespace varve {

std::string BodyPool::Take(size_t bytes) {
  std::string body;
  {
    MutexLock lock(mutex_);
    if (!free_.empty()) {
      body = std::move(free_.back());
      free_.pop_back();
      bytes_ -= body.capacity();
    }
  }
  body.reserve(bytes);
  return body;
}

void BodyPool::Return(std::string body) {
  MutexLock lock(mutex_);
  if (bytes_ + body.capacity() > kBytesMax) return;
  bytes_ += body.capacity();
  free_.push_back(std::move(body));
}

}  // namespace varve
