// SPDX-License-Identifier: Apache-2.0
//
// Connections without TLS and proxy over which requests without a body go one after the other, and
// those of them that are idle. libcurl dials them; from then on a request is one send() and what
// comes back is read as it is, which takes a fraction of what libcurl needs for a transfer.
#pragma once

#include <absl/container/flat_hash_map.h>
#include <absl/status/statusor.h>
#include <curl/curl.h>

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "net/event_loop.h"
#include "net/http1_reader.h"

namespace varve {

// Bytes received at a time: most scrapes in one piece.
inline constexpr size_t kReceiveBytes = 64 << 10;

class PlainConnection;

class PlainConnectionListener {
 public:
  virtual ~PlainConnectionListener() = default;
  // Proceed() has something to do. May destroy the connection.
  virtual void OnConnectionReady(PlainConnection& connection) = 0;
};

// Used on the loop's thread only.
class PlainConnection final : public FdHandler {
 public:
  // Takes over `fd`, a connected socket that does not block. `peer` is who it leads to.
  static absl::StatusOr<std::unique_ptr<PlainConnection>> Create(int fd, std::string peer,
                                                                 EventLoop& loop,
                                                                 PlainConnectionListener& listener);
  ~PlainConnection() override;
  PlainConnection(const PlainConnection&) = delete;
  PlainConnection& operator=(const PlainConnection&) = delete;

  // Sends a request, whose text must stay until its answer is complete. What is left to send goes
  // when the connection is ready.
  void Send(std::string_view request);
  // Goes on with sending and reads what has come, or much of it: heads and bodies go to `sink`.
  // Returns true when the answer is complete, or never will be: failure() tells.
  bool Proceed(Http1Reader::Sink& sink);

  // Why there is no answer: as libcurl would call it, CURLE_OK if there is none.
  CURLcode failure() const { return failure_; }
  int os_errno() const { return os_errno_; }
  // Whether a byte of the answer has come.
  bool answered() const { return reader_.begun(); }
  // Whether it had served other requests before, and its peer may have closed it since.
  bool reused() const { return requests_ > 1; }
  // Whether the answer was read to its end, and the connection lasts.
  bool reusable() const;
  // Whether nothing has come since, not even the end.
  bool Quiet() const;

  const std::string& peer() const { return peer_; }
  // Whose request it serves; 0: it is idle.
  uint64_t transfer = 0;
  int64_t idle_since_nanos = 0;

 private:
  PlainConnection(int fd, std::string peer, EventLoop& loop, PlainConnectionListener& listener);
  void OnReady(int fd, uint32_t events) override;
  bool SendRest();
  void Fail(CURLcode code, int os_errno);

  const int fd_;
  const std::string peer_;
  EventLoop& loop_;
  PlainConnectionListener& listener_;
  Http1Reader reader_;
  std::string_view unsent_;
  bool excess_ = false;  // More came than the answer.
  uint64_t requests_ = 0;
  CURLcode failure_ = CURLE_OK;
  int os_errno_ = 0;
};

// Connections that wait for the next request, by peer.
class IdleConnections {
 public:
  // A connection that was idle for longer is not used again.
  static constexpr int64_t kIdleNanosMax = int64_t{300} * 1'000'000'000;

  explicit IdleConnections(size_t max) : max_(max) {}

  // One to `peer`, or null.
  std::unique_ptr<PlainConnection> Take(const std::string& peer, int64_t now_nanos);
  // Closes the ones idle for longest, if there are too many or they are too old.
  void Put(std::unique_ptr<PlainConnection> connection, int64_t now_nanos);
  // Closes an idle connection.
  void Close(const PlainConnection& connection);
  void Clear();

 private:
  using List = std::list<std::unique_ptr<PlainConnection>>;

  std::unique_ptr<PlainConnection> Remove(List::iterator at);
  void CloseOlder(int64_t nanos);

  const size_t max_;
  List idle_;  // The longest idle first.
  absl::flat_hash_map<std::string, std::vector<List::iterator>> by_peer_;  // Likewise.
};

}  // namespace varve
