// SPDX-License-Identifier: Apache-2.0
//
// Gzip (RFC 1952) of a body that comes in pieces.
#pragma once

#include <absl/functional/function_ref.h>
#include <absl/status/status.h>

#include <memory>
#include <string_view>

struct z_stream_s;

namespace varve {

// Members that follow each other count as one text. Not thread-safe.
class Gunzip {
 public:
  Gunzip();
  ~Gunzip();
  Gunzip(const Gunzip&) = delete;
  Gunzip& operator=(const Gunzip&) = delete;

  // Decodes a piece; what comes out goes to `take`, a piece at a time and never empty, whose error
  // ends it. DataLoss if it is no gzip.
  absl::Status Add(std::string_view piece, absl::FunctionRef<absl::Status(std::string_view)> take);
  // Call once, last. Unavailable if a member is not complete.
  absl::Status Finish() const;

 private:
  std::unique_ptr<z_stream_s> stream_;
  std::unique_ptr<char[]> decoded_;
  bool inside_ = false;  // A member has begun, and not ended.
};

}  // namespace varve
