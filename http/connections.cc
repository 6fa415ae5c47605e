// SPDX-License-Identifier: Apache-2.0
//
// epoll: listening sockets level-triggered, connections one-shot, so that a connection is never
// handed to two workers. Events name connections by id, since a descriptor may be another
// connection's by the time its event is read.
#include "http/connections.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <spdlog/spdlog.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "model/check.h"
#include "model/log_line.h"
#include "model/status_macros.h"

namespace varve {
namespace {

constexpr uint64_t kWakeId = 0;
constexpr uint64_t kFirstListenerId = 1;
constexpr uint64_t kFirstConnectionId = 1 << 16;
constexpr size_t kListenersMax = 1000;
constexpr int kEventsMax = 64;
constexpr int kTickMs = 500;

constexpr uint32_t kWhenIdle = EPOLLIN | EPOLLRDHUP | EPOLLONESHOT;
constexpr uint32_t kWhenBusy = EPOLLRDHUP | EPOLLONESHOT;

}  // namespace

Connections::Connections(const ConnectionsOptions& options, std::vector<ListenSocket> listening,
                         Serve serve)
    : options_(options),
      serve_(std::move(serve)),
      listening_(std::move(listening)),
      workers_(options.threads_max + 1),
      next_id_(kFirstConnectionId) {}

absl::StatusOr<std::unique_ptr<Connections>> Connections::Open(const ConnectionsOptions& options,
                                                               std::vector<ListenSocket> listening,
                                                               Serve serve) {
  if (listening.size() > kListenersMax) {
    return absl::InvalidArgumentError("too many listen addresses");
  }
  std::unique_ptr<Connections> connections(
      new Connections(options, std::move(listening), std::move(serve)));
  RETURN_IF_ERROR(connections->Start());
  return connections;
}

absl::Status Connections::Start() {
  epoll_ = Socket(epoll_create1(EPOLL_CLOEXEC));
  wake_ = Socket(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (epoll_.fd() < 0 || wake_.fd() < 0) {
    return absl::UnavailableError(fmt::format("epoll: {}", std::strerror(errno)));
  }
  Arm(EPOLL_CTL_ADD, kWakeId, wake_.fd(), EPOLLIN);
  for (size_t i = 0; i < listening_.size(); ++i) {
    Arm(EPOLL_CTL_ADD, kFirstListenerId + i, listening_[i].socket.fd(), EPOLLIN);
  }
  next_expiry_ = std::chrono::steady_clock::now();
  {
    MutexLock lock(mutex_);
    watching_ = true;
  }
  workers_.Run([this] { Watch(); });
  return absl::OkStatus();
}

Connections::~Connections() { Stop(std::chrono::milliseconds(0)); }

void Connections::Arm(int operation, Id id, int fd, uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = id;
  if (epoll_ctl(epoll_.fd(), operation, fd, &event) != 0) {
    spdlog::error(LogLine("Cannot watch a connection", {{"err", std::strerror(errno)}}));
  }
}

void Connections::ListenAgain(bool enabled) {
  if (accepting_ == enabled) return;
  accepting_ = enabled;
  for (size_t i = 0; i < listening_.size(); ++i) {
    Arm(EPOLL_CTL_MOD, kFirstListenerId + i, listening_[i].socket.fd(), enabled ? EPOLLIN : 0u);
  }
}

void Connections::Wake() {
  const uint64_t one = 1;
  // Full means a wake-up is due already.
  [[maybe_unused]] const ssize_t written = write(wake_.fd(), &one, sizeof(one));
}

void Connections::Watch() {
  while (true) {
    {
      MutexLock lock(mutex_);
      if (stopping_) break;
    }
    const Ready ready = WatchOnce();
    if (ready.connection == nullptr) continue;
    if (workers_.RunIfFree([this] { Watch(); })) return ServeOne(ready.id, *ready.connection);
    GiveToWorker(ready);
  }
  listening_.clear();
  MutexLock lock(mutex_);
  watching_ = false;
  unwatched_.NotifyAll();
}

Connections::Ready Connections::WatchOnce() {
  epoll_event events[kEventsMax];
  Ready last;
  const int count = epoll_wait(epoll_.fd(), events, kEventsMax, kTickMs);
  for (int i = 0; i < count; ++i) {
    const uint64_t id = events[i].data.u64;
    if (id == kWakeId) {
      uint64_t ignored;
      [[maybe_unused]] const ssize_t got = read(wake_.fd(), &ignored, sizeof(ignored));
      ListenAgain(true);
    } else if (id < kFirstConnectionId) {
      Accept(listening_[id - kFirstListenerId].socket.fd());
    } else if (const Ready ready = OnEvent(id, events[i].events); ready.connection != nullptr) {
      if (last.connection != nullptr) GiveToWorker(last);
      last = ready;
    }
  }
  const auto now = std::chrono::steady_clock::now();
  if (now >= next_expiry_) {
    CloseExpired();
    ListenAgain(true);
    next_expiry_ = now + std::chrono::milliseconds(kTickMs);
  }
  return last;
}

void Connections::GiveToWorker(const Ready& ready) {
  workers_.Run([this, ready] { ServeOne(ready.id, *ready.connection); });
}

void Connections::Accept(int listener) {
  // The first one waits; of others there will be another event.
  for (bool waits = true;; waits = false) {
    {
      MutexLock lock(mutex_);
      if (stopping_) return;
      const bool full = entries_.size() >= options_.connections_max;
      if (full && !waits) return;
      if (full && !CloseLongestIdle()) {
        ListenAgain(false);  // Until a connection closes; the backlog holds the clients.
        return;
      }
    }
    Socket socket(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (socket.fd() < 0) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      if (errno != EAGAIN && errno != EWOULDBLOCK) {
        spdlog::warn(LogLine("Cannot accept connections", {{"err", std::strerror(errno)}}));
        MutexLock lock(mutex_);
        CloseLongestIdle();
        ListenAgain(false);  // The next tick tries again.
      }
      return;
    }
    const int on = 1;
    setsockopt(socket.fd(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    auto connection = std::make_unique<Connection>();
    connection->peer = PeerAddress(socket.fd());
    connection->socket = std::move(socket);
    const int fd = connection->socket.fd();
    MutexLock lock(mutex_);
    const Id id = next_id_++;
    entries_[id] = Entry{.connection = std::move(connection),
                         .busy = false,
                         .idle_since = std::chrono::steady_clock::now()};
    Arm(EPOLL_CTL_ADD, id, fd, kWhenIdle);
  }
}

Connections::Ready Connections::OnEvent(Id id, uint32_t events) {
  MutexLock lock(mutex_);
  const auto found = entries_.find(id);
  if (found == entries_.end()) return {};
  Entry& entry = found->second;
  if (entry.busy) {
    entry.connection->gone = true;
    return {};
  }
  entry.busy = true;
  Connection* const connection = entry.connection.get();
  // A client that has closed its half already is served what it sent; watching it further would
  // only take it for gone.
  if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) == 0) {
    Arm(EPOLL_CTL_MOD, id, connection->socket.fd(), kWhenBusy);
  }
  return {id, connection};
}

void Connections::ServeOne(Id id, Connection& connection) {
  const AfterServe after = serve_(connection);
  MutexLock lock(mutex_);
  if (after == AfterServe::kKeep && !stopping_ && !connection.gone) {
    Entry& entry = entries_.at(id);
    entry.busy = false;
    entry.idle_since = std::chrono::steady_clock::now();
    Arm(EPOLL_CTL_MOD, id, connection.socket.fd(), kWhenIdle);
    return;
  }
  const bool was_full = entries_.size() >= options_.connections_max;
  entries_.erase(id);
  closed_.NotifyAll();
  if (was_full) Wake();
}

bool Connections::CloseLongestIdle() {
  auto longest = entries_.end();
  for (auto it = entries_.begin(); it != entries_.end(); ++it) {
    if (it->second.busy) continue;
    if (longest == entries_.end() || it->second.idle_since < longest->second.idle_since) {
      longest = it;
    }
  }
  if (longest == entries_.end()) return false;
  entries_.erase(longest);
  return true;
}

void Connections::CloseExpired() {
  const auto limit = std::chrono::steady_clock::now() - options_.idle_timeout;
  MutexLock lock(mutex_);
  absl::erase_if(entries_, [&](const auto& item) {
    return !item.second.busy && item.second.idle_since < limit;
  });
}

void Connections::Stop(std::chrono::milliseconds grace) {
  MutexLock stop_lock(stop_mutex_);
  if (stopped_) return;
  stopped_ = true;
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  Wake();
  {
    MutexLock lock(mutex_);
    while (watching_) unwatched_.Wait(mutex_);
    absl::erase_if(entries_, [](const auto& item) { return !item.second.busy; });
    const auto deadline = std::chrono::steady_clock::now() + grace;
    while (!entries_.empty()) {
      const auto left = deadline - std::chrono::steady_clock::now();
      if (left <= std::chrono::nanoseconds(0)) break;
      closed_.WaitFor(mutex_, left);
    }
    for (auto& [id, entry] : entries_) {
      entry.connection->gone = true;
      shutdown(entry.connection->socket.fd(), SHUT_RDWR);
    }
    while (!entries_.empty()) closed_.Wait(mutex_);
  }
  workers_.Stop();
}

}  // namespace varve
