// SPDX-License-Identifier: Apache-2.0
//
// Gzip for response bodies.
#pragma once

#include <memory>
#include <string>
#include <string_view>

struct z_stream_s;

namespace varve {

// Whether an Accept-Encoding header lets us answer in gzip.
bool AcceptsGzip(std::string_view accept_encoding);

// Compresses a body piece by piece. Not thread-safe.
class GzipStream {
 public:
  GzipStream();
  ~GzipStream();
  GzipStream(const GzipStream&) = delete;
  GzipStream& operator=(const GzipStream&) = delete;

  // Appends what is ready of the compressed bytes to `out`.
  void Add(std::string_view piece, std::string& out);
  // Appends the rest. Call once, last.
  void Finish(std::string& out);

 private:
  void Run(std::string_view piece, int flush, std::string& out);

  std::unique_ptr<z_stream_s> stream_;
};

}  // namespace varve
