// SPDX-License-Identifier: Apache-2.0
//
// Requests over plain sockets. A connection is watched for as long as it lives, idle or not: a
// request costs no call to change that, and one that its peer closes is closed here at once.
#include "net/plain_connection.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "net/client.h"

namespace varve {
namespace {

// Times a connection receives before others have their turn.
constexpr int kReceivesPerTurn = 16;
// Received first: a usual head and little more, so that the body is written where it stays.
constexpr size_t kHeadBytes = 1 << 10;

CURLcode CodeOf(Http1Error error) {
  switch (error) {
    case Http1Error::kNone:
      return CURLE_OK;
    case Http1Error::kMalformed:
      return CURLE_WEIRD_SERVER_REPLY;
    case Http1Error::kTooLong:
      return CURLE_FILESIZE_EXCEEDED;
    case Http1Error::kEmpty:
      return CURLE_GOT_NOTHING;
    case Http1Error::kCutShort:
      return CURLE_PARTIAL_FILE;
    case Http1Error::kRefused:
      return CURLE_WRITE_ERROR;
  }
  return CURLE_RECV_ERROR;
}

}  // namespace

absl::StatusOr<std::unique_ptr<PlainConnection>> PlainConnection::Create(
    int fd, std::string peer, EventLoop& loop, PlainConnectionListener& listener) {
  std::unique_ptr<PlainConnection> connection(
      new PlainConnection(fd, std::move(peer), loop, listener));
  absl::Status watched = loop.WatchFd(fd, EPOLLIN, *connection);
  if (!watched.ok()) return watched;
  return connection;
}

PlainConnection::PlainConnection(int fd, std::string peer, EventLoop& loop,
                                 PlainConnectionListener& listener)
    : fd_(fd),
      peer_(std::move(peer)),
      loop_(loop),
      listener_(listener),
      reader_(kResponseHeaderBytesMax) {}

PlainConnection::~PlainConnection() {
  loop_.UnwatchFd(fd_);
  close(fd_);
}

void PlainConnection::OnReady(int /*fd*/, uint32_t /*events*/) {
  listener_.OnConnectionReady(*this);
}

void PlainConnection::Fail(CURLcode code, int os_errno) {
  if (failure_ != CURLE_OK) return;
  failure_ = code;
  os_errno_ = os_errno;
}

void PlainConnection::Send(std::string_view request) {
  ++requests_;
  reader_.Begin();
  unsent_ = request;
  if (!SendRest()) return;
  if (!unsent_.empty() && !loop_.WatchFd(fd_, EPOLLIN | EPOLLOUT, *this).ok()) {
    Fail(CURLE_SEND_ERROR, errno);
  }
}

bool PlainConnection::SendRest() {
  while (!unsent_.empty()) {
    const ssize_t sent = send(fd_, unsent_.data(), unsent_.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EAGAIN) return true;
    if (sent < 0) {
      Fail(CURLE_SEND_ERROR, errno);
      return false;
    }
    unsent_.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

bool PlainConnection::Proceed(Http1Reader::Sink& sink) {
  if (!unsent_.empty()) {
    if (!SendRest()) return true;
    if (unsent_.empty() && !loop_.WatchFd(fd_, EPOLLIN, *this).ok()) Fail(CURLE_SEND_ERROR, errno);
  }
  char buffer[kReceiveBytes];
  for (int i = 0; i < kReceivesPerTurn && failure_ == CURLE_OK && !reader_.done(); ++i) {
    const size_t body_bytes = std::min<uint64_t>(reader_.body_bytes_next(), sizeof buffer);
    const absl::Span<char> room = body_bytes > 0 ? sink.BodyRoom(body_bytes) : absl::Span<char>();
    const absl::Span<char> into =
        !room.empty() ? room : absl::MakeSpan(buffer, reader_.begun() ? sizeof buffer : kHeadBytes);
    const ssize_t received = recv(fd_, into.data(), into.size(), 0);
    if (received < 0 && errno == EINTR) continue;
    if (received < 0 && errno == EAGAIN) return false;
    if (received < 0) {
      Fail(CURLE_RECV_ERROR, errno);
      return true;
    }
    const auto bytes = static_cast<size_t>(received);
    if (bytes == 0) {
      reader_.ReadEnd();
    } else if (!room.empty()) {
      reader_.Wrote(bytes, sink);
    } else if (reader_.Read(std::string_view(buffer, bytes), sink) < bytes) {
      excess_ = true;  // What follows an answer nobody asked for.
    }
    Fail(CodeOf(reader_.error()), 0);
    // A short piece is all that has come so far.
    if (bytes < into.size()) break;
  }
  return failure_ != CURLE_OK || reader_.done();
}

bool PlainConnection::reusable() const {
  return failure_ == CURLE_OK && reader_.done() && reader_.keeps_connection() && !excess_ &&
         unsent_.empty();
}

bool PlainConnection::Quiet() const {
  char byte = 0;
  return recv(fd_, &byte, 1, MSG_PEEK) < 0 && errno == EAGAIN;
}

std::unique_ptr<PlainConnection> IdleConnections::Take(const std::string& peer, int64_t now_nanos) {
  CloseOlder(now_nanos - kIdleNanosMax);
  const auto found = by_peer_.find(peer);
  if (found == by_peer_.end()) return nullptr;
  return Remove(found->second.back());
}

void IdleConnections::Put(std::unique_ptr<PlainConnection> connection, int64_t now_nanos) {
  CloseOlder(now_nanos - kIdleNanosMax);
  if (max_ == 0) return;
  if (idle_.size() >= max_) Remove(idle_.begin());
  connection->transfer = 0;
  connection->idle_since_nanos = now_nanos;
  const std::string& peer = connection->peer();
  idle_.push_back(std::move(connection));
  by_peer_[peer].push_back(std::prev(idle_.end()));
}

void IdleConnections::Close(const PlainConnection& connection) {
  const auto found = by_peer_.find(connection.peer());
  if (found == by_peer_.end()) return;
  for (const List::iterator& at : found->second) {
    if (at->get() != &connection) continue;
    Remove(at);
    return;
  }
}

std::unique_ptr<PlainConnection> IdleConnections::Remove(List::iterator at) {
  std::unique_ptr<PlainConnection> connection = std::move(*at);
  const auto found = by_peer_.find(connection->peer());
  std::erase(found->second, at);
  if (found->second.empty()) by_peer_.erase(found);
  idle_.erase(at);
  return connection;
}

void IdleConnections::CloseOlder(int64_t nanos) {
  while (!idle_.empty() && idle_.front()->idle_since_nanos < nanos) Remove(idle_.begin());
}

void IdleConnections::Clear() {
  by_peer_.clear();
  idle_.clear();
}

}  // namespace varve
