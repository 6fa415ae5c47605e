// SPDX-License-Identifier: Apache-2.0
//
// A body while it comes in: written to where it stays, into room that need not be cleared first.
#pragma once

#include <absl/types/span.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

namespace varve {

// Not thread-safe.
class ReceivedBody {
 public:
  ReceivedBody() = default;
  // What `room` holds is overwritten.
  explicit ReceivedBody(std::string room) : bytes_(std::move(room)) {}

  size_t size() const { return size_; }

  void Append(std::string_view bytes) {
    const size_t over = std::min(bytes.size(), bytes_.size() - size_);
    if (over > 0) std::memcpy(bytes_.data() + size_, bytes.data(), over);
    bytes_.append(bytes.substr(over));
    size_ += bytes.size();
  }

  // Where the next bytes go, so many of them. Valid until the next call but for Wrote().
  absl::Span<char> Room(size_t bytes) {
    if (bytes_.size() - size_ < bytes) bytes_.resize(size_ + bytes);
    return {bytes_.data() + size_, bytes};
  }
  // The first of them are there. REQUIRES: not more than there was room for.
  void Wrote(size_t bytes) { size_ += bytes; }

  // All that came, and nothing else. The body is then empty.
  std::string Take() {
    bytes_.resize(std::exchange(size_, 0));
    return std::exchange(bytes_, {});
  }

 private:
  std::string bytes_;  // Behind size_: of an earlier body, or zeros.
  size_t size_ = 0;
};

}  // namespace varve
