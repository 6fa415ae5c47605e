// SPDX-License-Identifier: Apache-2.0
//
// Content-Encoding of a body that comes in pieces: gzip (RFC 1952) and zstd (RFC 8878).
#pragma once

#include <absl/functional/function_ref.h>
#include <absl/status/status.h>

#include <memory>
#include <string_view>

namespace varve {

// Members, or frames, that follow each other count as one text. Not thread-safe.
class ContentDecoder {
 public:
  // A decoder of `encoding` ("gzip", "zstd"), or null if it is not one of these.
  static std::unique_ptr<ContentDecoder> Create(std::string_view encoding);
  virtual ~ContentDecoder() = default;

  // Decodes a piece; what comes out goes to `take`, a piece at a time and never empty, whose error
  // ends it. DataLoss if the piece is no such encoding.
  virtual absl::Status Add(std::string_view piece,
                           absl::FunctionRef<absl::Status(std::string_view)> take) = 0;
  // Call once, last. Unavailable if a member is not complete.
  absl::Status Finish() const;

 protected:
  bool inside_ = false;  // A member has begun, and not ended.
};

}  // namespace varve
