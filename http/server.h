// SPDX-License-Identifier: Apache-2.0
//
// The HTTP server. Sockets, waiting and threads are ours, the protocol is cpp-httplib's: threads
// wait together for connections and for idle ones to speak, and serve one request at a time, so
// an idle connection costs no thread and cannot keep a health check waiting.
//
//   Router router;                        // Fill with routes first; must outlive the server.
//   ASSIGN_OR_RETURN(auto server, HttpServer::Open(options, router));  // The ports are bound.
//   ...
//   server->Stop();
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <prometheus/registry.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "http/router.h"

namespace varve {

// Limits of every request; those of bodies are the routes' own.
inline constexpr size_t kRequestHeaderBytesMax = 64 << 10;
inline constexpr size_t kRequestLineBytesMax = 8 << 10;  // cpp-httplib's: a longer one answers 414.

struct HttpServerOptions {
  // "host:port", "[::1]:port" or ":port". Port 0 takes a free one.
  std::vector<std::string> addresses = {"0.0.0.0:9090"};
  // Connections beyond it close the one idle for longest, or wait unaccepted if all are busy.
  size_t connections_max = 512;
  // Requests served at the same time; threads are made on demand.
  size_t threads_max = 512;
  // An idle connection is closed after this; so is one whose request stops arriving.
  std::chrono::milliseconds idle_timeout = std::chrono::minutes(5);
  std::chrono::milliseconds read_timeout = std::chrono::minutes(5);
  std::chrono::milliseconds write_timeout = std::chrono::minutes(1);
  // How long Stop() lets running requests finish before it cuts them off.
  std::chrono::milliseconds stop_timeout = std::chrono::seconds(10);
  std::string route_prefix;                  // "" or "/x": a leading slash, no trailing one.
  std::string cors_origin_pattern = ".*";    // Anchored RE2.
  prometheus::Registry* registry = nullptr;  // prometheus_http_*; null = none.
};

class HttpServer {
 public:
  // Binds every address, then starts to serve. Unavailable
  // `listen tcp 127.0.0.1:9090: bind: address already in use`, InvalidArgument for a bad address
  // or pattern. `router` must outlive the server and no longer change.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Open(const HttpServerOptions& options,
                                                          const Router& router);

  // Stops.
  virtual ~HttpServer() = default;

  // The addresses served, with the ports the system chose: "127.0.0.1:9090".
  virtual const std::vector<std::string>& addresses() const = 0;

  // From now on gated routes answer (before: 503 `Service Unavailable`).
  virtual void SetReady() = 0;

  // Accepts nothing more, marks running requests cancelled after `stop_timeout`, and returns once
  // the last one has ended. Idempotent, thread-safe.
  virtual void Stop() = 0;

 protected:
  HttpServer() = default;
};

}  // namespace varve
