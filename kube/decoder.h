// SPDX-License-Identifier: Apache-2.0
//
// From the API server's JSON to structs: lists, watch events, and the cutting of a watch stream
// into events. All input is untrusted: whatever it is, the answer is a value or DataLoss.
#pragma once

#include <absl/functional/function_ref.h>
#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kube/objects.h"

namespace varve {

// A `Status` object: how the API server says that something did not work.
struct KubeStatus {
  int code = 0;
  std::string reason;  // "Expired", "Forbidden", ...
  std::string message;
  bool resource_version_too_large = false;  // Among its causes.

  // 410: the resource version asked for is no longer known.
  bool IsExpired() const { return code == 410 || reason == "Expired" || reason == "Gone"; }
};

struct KubeList {
  std::string resource_version;
  std::string continue_token;  // Empty: the last page.
  std::vector<KubeObjectPtr> items;
};

struct KubeWatchEvent {
  enum class Type { kAdded, kModified, kDeleted, kBookmark, kError };
  Type type;
  KubeObjectPtr object;             // Of the first three; of a bookmark: resource_version only.
  bool initial_events_end = false;  // A bookmark that ends a streaming list.
  KubeStatus status;                // Of an error.
};

// Not thread-safe: it keeps buffers between calls.
class KubeDecoder {
 public:
  explicit KubeDecoder(KubeResource resource);
  ~KubeDecoder();

  absl::StatusOr<KubeList> ParseList(std::string_view json);
  absl::StatusOr<KubeWatchEvent> ParseEvent(std::string_view json);

 private:
  struct Parser;
  const KubeResource resource_;
  std::unique_ptr<Parser> parser_;
};

// The Status in an answer's body. Bytes that are none give one with `http_status` as its code and
// the start of the body as its message.
KubeStatus ParseKubeStatus(int http_status, std::string_view body);

// Cuts a stream of concatenated JSON objects wherever one ends, however the bytes arrive.
class WatchFramer {
 public:
  // `event_bytes_max`: the longest object accepted.
  explicit WatchFramer(uint64_t event_bytes_max) : event_bytes_max_(event_bytes_max) {}

  // Calls `on_object` with each object that `bytes` completes. DataLoss if the stream holds
  // something else, ResourceExhausted if an object is too long; else what `on_object` returns.
  absl::Status Append(std::string_view bytes,
                      absl::FunctionRef<absl::Status(std::string_view)> on_object);

  // True between objects.
  bool AtBoundary() const { return depth_ == 0; }

 private:
  const uint64_t event_bytes_max_;
  std::string pending_;  // The beginning of an object that is not complete.
  uint64_t depth_ = 0;
  bool in_string_ = false;
  bool escaped_ = false;
};

}  // namespace varve
