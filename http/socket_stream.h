// SPDX-License-Identifier: Apache-2.0
//
// A Connection's bytes as cpp-httplib's Stream: reads ahead and writes late, bounds the header of
// a request, and gives up on clients that stop sending or taking.
#pragma once

#include <httplib.h>

#include <chrono>
#include <string>
#include <string_view>

#include "http/connections.h"

namespace varve {

struct StreamLimits {
  size_t header_bytes_max = 64 << 10;
  std::chrono::milliseconds read_timeout = std::chrono::minutes(5);   // Of a whole request.
  std::chrono::milliseconds write_timeout = std::chrono::minutes(1);  // Without any progress.
};

// Used by one thread; `connection` outlives it.
class SocketStream : public httplib::Stream {
 public:
  SocketStream(Connection& connection, const StreamLimits& limits)
      : connection_(connection), limits_(limits) {}

  // Starts the count and the clock of a request.
  void BeginRequest();
  // The header has been read; what follows is bounded by the body's own limit.
  void EndHeader() { in_header_ = false; }
  // Writes out what is buffered. False if the client cannot be reached.
  bool Flush();
  // Whether the next request's first bytes are here already.
  bool HasReceived() const { return connection_.received_used < connection_.received.size(); }
  // Whether anything the client sent is unread, here or in the socket.
  bool HasUnread() const;
  // Tells the client that nothing more comes, then swallows what it still sends for a moment, so
  // that it reads our answer before the connection resets.
  void Linger();
  size_t bytes_written() const { return bytes_written_; }

  bool is_readable() const override { return true; }
  bool is_writable() const override { return !failed_ && !connection_.gone; }
  ssize_t read(char* out, size_t size) override;
  ssize_t write(const char* data, size_t size) override;
  void get_remote_ip_and_port(std::string& ip, int& port) const override;
  void get_local_ip_and_port(std::string& ip, int& port) const override;
  socket_t socket() const override { return connection_.socket.fd(); }

 private:
  bool Fill();
  // What is buffered, then `data`, in one go: whoever wakes for the beginning finds more.
  bool SendAll(std::string_view data);

  Connection& connection_;
  const StreamLimits limits_;
  std::chrono::steady_clock::time_point read_deadline_;
  std::string unsent_;
  size_t header_bytes_ = 0;
  size_t bytes_written_ = 0;
  bool in_header_ = true;
  bool failed_ = false;
};

}  // namespace varve
