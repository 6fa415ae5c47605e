// SPDX-License-Identifier: Apache-2.0
//
// Listening sockets from addresses as flags write them.
#pragma once

#include <absl/status/statusor.h>

#include <string>
#include <string_view>

namespace varve {

// A file descriptor that is closed with its owner.
class Socket {
 public:
  Socket() = default;
  explicit Socket(int fd) : fd_(fd) {}
  Socket(Socket&& other) noexcept : fd_(other.Release()) {}
  Socket& operator=(Socket&& other) noexcept;
  ~Socket();

  int fd() const { return fd_; }
  int Release();

 private:
  int fd_ = -1;
};

struct ListenSocket {
  Socket socket;
  std::string address;  // "127.0.0.1:9090", with the port the system chose if 0 was asked for.
};

// Binds "host:port", ":port" or "[v6]:port" and listens, without blocking on accept.
// InvalidArgument for a malformed address, Unavailable
// `listen tcp HOST:PORT: bind: address already in use`.
absl::StatusOr<ListenSocket> Listen(std::string_view address);

// "127.0.0.1:4000", "[::1]:4000" of the peer; "" if unknown.
std::string PeerAddress(int fd);

}  // namespace varve
