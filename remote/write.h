// SPDX-License-Identifier: Apache-2.0
//
// The remote-write 1.0 receiver: one snappy block holding one protobuf WriteRequest becomes one
// committed batch. Knows nothing of HTTP servers; http maps its answer to a response.
#pragma once

#include <absl/status/status.h>
#include <prometheus/registry.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "model/appendable.h"
#include "model/clock.h"

namespace varve {

// Limits of one request.
inline constexpr size_t kWriteBodyBytesMax = 32 << 20;      // As it arrives.
inline constexpr size_t kWriteDecodedBytesMax = 128 << 20;  // Declared by the snappy header.

struct WriteAnswer {
  int status = 204;
  std::string message;  // Plain text; empty on success.
  uint64_t samples = 0;
  uint64_t histograms = 0;
  uint64_t exemplars = 0;
};

// Thread-safe.
class WriteReceiver {
 public:
  // Both references must outlive the receiver. `registry` may be null.
  static std::unique_ptr<WriteReceiver> Create(Appendable& appendable, Clock& clock,
                                               prometheus::Registry* registry);
  virtual ~WriteReceiver() = default;

  // `content_type` and `content_encoding` are the request's headers, "" if absent. 415 for a type,
  // message version or encoding not accepted; 400 for bytes or samples that cannot be accepted
  // (nothing is stored then); 500 if storing failed, which the sender should retry.
  virtual WriteAnswer Write(std::string_view content_type, std::string_view content_encoding,
                            std::string_view body) = 0;

 protected:
  WriteReceiver() = default;
};

}  // namespace varve
