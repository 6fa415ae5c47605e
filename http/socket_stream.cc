// SPDX-License-Identifier: Apache-2.0
//
// poll() rather than select(): descriptors above 1023 are normal beside a storage engine.
#include "http/socket_stream.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>

namespace varve {
namespace {

constexpr size_t kReadBytes = 16 << 10;
constexpr size_t kUnsentBytesMax = 64 << 10;
constexpr size_t kLingerBytesMax = 8 << 20;
constexpr auto kLingerTime = std::chrono::milliseconds(500);

using SteadyTime = std::chrono::steady_clock::time_point;

// Waits until `fd` is ready for `events`; false at the deadline.
bool WaitReady(int fd, short events, SteadyTime deadline) {
  while (true) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    if (left.count() < 0) return false;
    pollfd item{.fd = fd, .events = events, .revents = 0};
    const int ready = poll(&item, 1, static_cast<int>(std::min<int64_t>(left.count() + 1, 60'000)));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return false;
  }
}

void SplitHostPort(const std::string& address, std::string& host, int& port) {
  const size_t colon = address.rfind(':');
  host = address.substr(0, colon);
  port = colon == std::string::npos ? -1 : std::atoi(address.c_str() + colon + 1);
}

}  // namespace

void SocketStream::BeginRequest() {
  read_deadline_ = std::chrono::steady_clock::now() + limits_.read_timeout;
  header_bytes_ = 0;
  in_header_ = true;
  bytes_written_ = 0;
}

bool SocketStream::Fill() {
  std::string& received = connection_.received;
  received.resize(kReadBytes);
  connection_.received_used = 0;
  while (true) {
    const ssize_t got = recv(socket(), received.data(), received.size(), 0);
    if (got > 0) {
      received.resize(static_cast<size_t>(got));
      return true;
    }
    const bool wait = got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
    if (got < 0 && errno == EINTR) continue;
    if (!wait || !WaitReady(socket(), POLLIN, read_deadline_)) {
      received.clear();
      return false;
    }
  }
}

ssize_t SocketStream::read(char* out, size_t size) {
  if (in_header_ && header_bytes_ >= limits_.header_bytes_max) {
    failed_ = true;
    return -1;
  }
  if (!HasReceived() && !Fill()) return -1;
  const size_t count = std::min(size, connection_.received.size() - connection_.received_used);
  std::memcpy(out, connection_.received.data() + connection_.received_used, count);
  connection_.received_used += count;
  if (in_header_) header_bytes_ += count;
  return static_cast<ssize_t>(count);
}

ssize_t SocketStream::write(const char* data, size_t size) {
  if (failed_) return -1;
  bytes_written_ += size;
  const std::string_view piece(data, size);
  if (unsent_.size() + size <= kUnsentBytesMax) {
    unsent_.append(piece);
    return static_cast<ssize_t>(size);
  }
  return SendAll(piece) ? static_cast<ssize_t>(size) : -1;
}

bool SocketStream::Flush() { return SendAll({}); }

bool SocketStream::SendAll(std::string_view data) {
  std::string_view buffered = unsent_;
  while (!failed_ && !(buffered.empty() && data.empty())) {
    iovec parts[] = {{const_cast<char*>(buffered.data()), buffered.size()},
                     {const_cast<char*>(data.data()), data.size()}};
    const msghdr message{.msg_iov = parts, .msg_iovlen = std::size(parts)};
    const ssize_t sent = sendmsg(socket(), &message, MSG_NOSIGNAL);
    if (sent > 0) {
      const size_t of_buffered = std::min(static_cast<size_t>(sent), buffered.size());
      buffered.remove_prefix(of_buffered);
      data.remove_prefix(static_cast<size_t>(sent) - of_buffered);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      const auto deadline = std::chrono::steady_clock::now() + limits_.write_timeout;
      if (!WaitReady(socket(), POLLOUT, deadline)) failed_ = true;
    } else if (errno != EINTR) {
      failed_ = true;
    }
  }
  unsent_.clear();
  return !failed_;
}

bool SocketStream::HasUnread() const {
  char ignored;
  return HasReceived() || recv(socket(), &ignored, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

void SocketStream::Linger() {
  if (failed_) return;
  shutdown(socket(), SHUT_WR);
  const SteadyTime deadline = std::chrono::steady_clock::now() + kLingerTime;
  char ignored[kReadBytes];
  for (size_t swallowed = 0; swallowed < kLingerBytesMax;) {
    const ssize_t got = recv(socket(), ignored, sizeof(ignored), 0);
    if (got > 0) {
      swallowed += static_cast<size_t>(got);
    } else if (got == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) ||
               !WaitReady(socket(), POLLIN, deadline)) {
      return;
    }
  }
}

void SocketStream::get_remote_ip_and_port(std::string& ip, int& port) const {
  SplitHostPort(connection_.peer, ip, port);
}

void SocketStream::get_local_ip_and_port(std::string& ip, int& port) const {
  ip.clear();
  port = -1;
}

}  // namespace varve
