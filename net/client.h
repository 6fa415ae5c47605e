// SPDX-License-Identifier: Apache-2.0
//
// The HTTP client all outgoing requests go through: thousands of transfers at once on one event
// loop, with connections kept and reused.
//
//   auto client = HttpClient::Open({}).value();
//   client->Start({.url = "http://127.0.0.1:9100/metrics", .timeout = std::chrono::seconds(10)},
//                 [](absl::StatusOr<ClientResponse> response) { ... });   // On the loop's thread.
//
// Errors are worded as Go's http.Client words them, since users of Prometheus know those texts:
// `Get "http://127.0.0.1:1/": dial tcp 127.0.0.1:1: connect: connection refused`. Their codes:
//   Unavailable        no connection, or it broke          DeadlineExceeded  timeout, idle timeout
//   ResourceExhausted  body size limit exceeded, headers    Cancelled         Cancel() or Stop()
//   InvalidArgument    URL, configuration, certificates     Unauthenticated   TLS verification
//   DataLoss           gzip or zstd that is none                    or what reading a credential
//   file gave
// An answer of any HTTP status is a response, not an error.
#pragma once

#include <absl/base/thread_annotations.h>
#include <absl/functional/any_invocable.h>
#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/clock.h"
#include "net/credentials.h"
#include "net/event_loop.h"

namespace varve {

// The most bytes of one answer's headers. libcurl itself gives up a little later, less clearly.
inline constexpr size_t kResponseHeaderBytesMax = 256 << 10;
inline constexpr int kRedirectsMax = 10;

struct HttpHeader {
  std::string name;
  std::string value;
  friend bool operator==(const HttpHeader&, const HttpHeader&) = default;
};

struct ClientResponse;

struct ClientRequest {
  std::string method = "GET";
  std::string url;
  std::vector<HttpHeader> headers;  // Win over those of `config`.
  std::string body;                 // Sent if not empty, or if the method is POST or PUT.

  // From Start() to the last byte, redirects included. 0: no limit.
  std::chrono::nanoseconds timeout{0};
  // Between two received bytes (or since Start). 0: no limit.
  std::chrono::nanoseconds idle_timeout{0};
  std::chrono::nanoseconds connect_timeout = std::chrono::seconds(30);

  // The most bytes of decoded body. In streaming mode it counts for what is collected only.
  uint64_t body_bytes_max = uint64_t{256} << 20;
  // Room made for the body before it comes, as for one like the last. 0: none.
  uint64_t body_bytes_expected = 0;

  // Offers gzip, and decodes it and zstd. When false, bodies arrive as they are sent.
  bool accept_gzip = true;

  std::string unix_socket;  // Path; the URL then only gives the Host header and path.

  // Credentials, TLS, proxy, redirects. Null: the defaults of HttpClientConfig.
  std::shared_ptr<const HttpClientConfig> config;

  // If set, called on the loop's thread when an answer's headers are complete (its body is not
  // there yet); not for redirects that are followed.
  std::function<void(const ClientResponse&)> on_headers;

  // Streaming mode, if set: called on the loop's thread with each piece of a 2xx body, which is
  // then not collected (bodies of other answers are). A status that is not OK ends the transfer
  // with it. Both callbacks may call Start() and Cancel().
  std::function<absl::Status(std::string_view)> on_data;
};

class PreparedRequest;

struct ClientResponse {
  int status = 0;
  std::string reason;               // "200 OK", "404 Not Found": as Go's Response.Status.
  std::vector<HttpHeader> headers;  // Of the last answer, names in lower case.
  std::string body;
  std::string url;                         // After redirects; without credentials.
  std::chrono::nanoseconds total_time{0};  // From Start().

  // The first header of that (lower-case) name, or "".
  std::string_view Header(std::string_view name) const;
  // Retry-After in seconds, or as an HTTP date relative to `now`; never negative.
  std::optional<std::chrono::seconds> RetryAfter(TimestampMs now) const;
};

// Names a started transfer of one client.
enum class TransferId : uint64_t {};
inline constexpr TransferId kNoTransfer{0};

// Thread-safe.
class HttpClient {
 public:
  using DoneCallback = absl::AnyInvocable<void(absl::StatusOr<ClientResponse>)>;

  struct Options {
    std::string thread_name = "http-client";
    std::string user_agent = "Prometheus/3.14.0";  // Unless a request brings its own.
    size_t idle_connections_max = 16384;
    Clock* clock = nullptr;  // Null: the real one. Timeouts are counted on it.
    std::chrono::nanoseconds wait_max = std::chrono::hours(1);  // See EventLoop::Options.
  };

  static absl::StatusOr<std::unique_ptr<HttpClient>> Open(Options options);

  // Stops. REQUIRES: not on the loop's thread.
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // Ends every transfer with Cancelled, then the loop. Idempotent.
  void Stop();

  // Starts a transfer. `done` is called exactly once, on the loop's thread, never from inside
  // Start(); after Stop() it is called by Start() itself. Credential files are read here, on the
  // caller's thread.
  TransferId Start(ClientRequest request, DoneCallback done);

  // The same for a request that is sent again and again: what can be done once is done by
  // Prepare(), whose error, given to Start(), is handed on to `done`. Of credential files it keeps
  // what was in them. `body_bytes_expected` stands for the request's. The client must outlive what
  // Prepare() returns.
  absl::StatusOr<std::shared_ptr<const PreparedRequest>> Prepare(ClientRequest request) const;
  TransferId Start(absl::StatusOr<std::shared_ptr<const PreparedRequest>> request,
                   uint64_t body_bytes_expected, DoneCallback done);

  // Gives back the room of an answer's body, for that of another one.
  void Recycle(std::string body);

  // Ends a transfer with Cancelled, unless it has ended already.
  void Cancel(TransferId transfer);

  // Starts a transfer and waits for it. REQUIRES: not on the loop's thread.
  absl::StatusOr<ClientResponse> Fetch(ClientRequest request);

  // For timers and posted work beside the transfers.
  EventLoop& loop();

 private:
  class Impl;
  explicit HttpClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// True if the error says that the server's port was closed.
bool IsConnectionRefused(const absl::Status& status);

}  // namespace varve
