// SPDX-License-Identifier: Apache-2.0
//
// epoll: one event at a time for each thread that waits, which the system gives to the one that
// began to wait last. Listening sockets are edge-triggered, so that one connection wakes one
// thread, and connections one-shot, so that none is handed to two. Events name connections by id,
// since a descriptor may be another connection's by the time its event is read.
#include "http/connections.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "model/check.h"
#include "model/log_line.h"
#include "model/status_macros.h"

namespace varve {
namespace {

constexpr uint64_t kStopId = 0;
constexpr uint64_t kClockId = 1;
constexpr uint64_t kFirstListenerId = 2;
constexpr uint64_t kFirstConnectionId = 1 << 16;
constexpr size_t kListenersMax = 1000;
constexpr itimerspec kTick{.it_interval = {.tv_sec = 0, .tv_nsec = 500'000'000},
                           .it_value = {.tv_sec = 0, .tv_nsec = 500'000'000}};

constexpr uint32_t kListening = EPOLLIN | EPOLLET;
constexpr uint32_t kWhenIdle = EPOLLIN | EPOLLRDHUP | EPOLLONESHOT;
constexpr uint32_t kWhenBusy = EPOLLRDHUP | EPOLLONESHOT;

// Whether its client has sent something, and not closed its half behind it.
bool OnlySpeaks(int fd) {
  pollfd item{.fd = fd, .events = POLLIN | POLLRDHUP, .revents = 0};
  return poll(&item, 1, 0) == 1 && item.revents == POLLIN;
}

}  // namespace

Connections::Connections(const ConnectionsOptions& options, std::vector<ListenSocket> listening,
                         Serve serve)
    : options_(options),
      serve_(std::move(serve)),
      listening_(std::move(listening)),
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
  stop_ = Socket(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  clock_ = Socket(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (epoll_.fd() < 0 || stop_.fd() < 0 || clock_.fd() < 0 ||
      timerfd_settime(clock_.fd(), 0, &kTick, nullptr) != 0) {
    return absl::UnavailableError(fmt::format("epoll: {}", std::strerror(errno)));
  }
  Arm(EPOLL_CTL_ADD, kStopId, stop_.fd(), EPOLLIN);
  Arm(EPOLL_CTL_ADD, kClockId, clock_.fd(), EPOLLIN | EPOLLET);
  for (size_t i = 0; i < listening_.size(); ++i) {
    Arm(EPOLL_CTL_ADD, kFirstListenerId + i, listening_[i].socket.fd(), kListening);
  }
  MutexLock lock(mutex_);
  if (!AddThread()) return absl::UnavailableError("cannot start a thread");
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
    Arm(EPOLL_CTL_MOD, kFirstListenerId + i, listening_[i].socket.fd(), enabled ? kListening : 0u);
  }
}

bool Connections::AddThread() {
  if (stopping_ || threads_.size() > options_.threads_max) return false;
  try {
    threads_.emplace_back([this] { Work(); });
  } catch (const std::system_error& error) {
    spdlog::warn(LogLine("Cannot start a thread",
                         {{"threads", std::to_string(threads_.size())}, {"err", error.what()}}));
    return false;
  }
  ++waiting_;
  return true;
}

void Connections::WaitNoMore() {
  if (--waiting_ == 0) none_waits_.NotifyAll();
}

void Connections::Work() {
  while (const std::optional<Ready> ready = Wait()) ServeOne(*ready);
}

std::optional<Connections::Ready> Connections::Wait() {
  while (true) {
    {
      MutexLock lock(mutex_);
      if (!ready_.empty() && (waiting_ > 1 || stopping_)) {
        const Ready ready = ready_.front();
        ready_.pop_front();
        WaitNoMore();
        return ready;
      }
      if (stopping_) {
        WaitNoMore();
        return std::nullopt;
      }
    }
    epoll_event event;
    if (epoll_wait(epoll_.fd(), &event, 1, -1) != 1) continue;
    const uint64_t id = event.data.u64;
    if (id == kClockId) {
      OnTick();
    } else if (id >= kFirstConnectionId) {
      if (const std::optional<Ready> ready = OnEvent(id, event.events)) return ready;
    } else if (id >= kFirstListenerId) {
      const int listener = listening_[id - kFirstListenerId].socket.fd();
      if (const std::optional<Ready> ready = Accept(listener)) return ready;
    }
  }
}

std::optional<Connections::Ready> Connections::Accept(int listener) {
  std::optional<Ready> spoken;
  // There will be no other event of those that wait already. The first one does.
  for (bool waits = true;; waits = false) {
    {
      MutexLock lock(mutex_);
      const bool full = entries_.size() >= options_.connections_max;
      if (stopping_ || (full && !waits)) {
        ListenAgain(false);
        ListenAgain(true);  // An event if another one waits.
        return Claim(spoken);
      }
      if (full && !CloseLongestIdle()) {
        ListenAgain(false);  // Until a connection closes; the backlog holds the clients.
        return std::nullopt;
      }
    }
    Socket socket(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (socket.fd() < 0) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      const int error = errno;
      MutexLock lock(mutex_);
      if (error != EAGAIN && error != EWOULDBLOCK) {
        spdlog::warn(LogLine("Cannot accept connections", {{"err", std::strerror(error)}}));
        CloseLongestIdle();
        ListenAgain(false);  // The next tick tries again.
      }
      return Claim(spoken);
    }
    const int on = 1;
    setsockopt(socket.fd(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    auto connection = std::make_unique<Connection>();
    connection->peer = PeerAddress(socket.fd());
    connection->socket = std::move(socket);
    const int fd = connection->socket.fd();
    // Usually there is no need to wait for the first request.
    const bool speaks = !spoken.has_value() && OnlySpeaks(fd);
    MutexLock lock(mutex_);
    const Id id = next_id_++;
    if (speaks) spoken = Ready{id, connection.get()};
    entries_[id] = Entry{.connection = std::move(connection),
                         .busy = speaks,
                         .idle_since = std::chrono::steady_clock::now()};
    Arm(EPOLL_CTL_ADD, id, fd, speaks ? kWhenBusy : kWhenIdle);
  }
}

std::optional<Connections::Ready> Connections::OnEvent(Id id, uint32_t events) {
  MutexLock lock(mutex_);
  const auto found = entries_.find(id);
  if (found == entries_.end()) return std::nullopt;
  Entry& entry = found->second;
  if (entry.busy) {
    entry.connection->gone = true;
    return std::nullopt;
  }
  entry.busy = true;
  const Ready ready{id, entry.connection.get()};
  // A client that has closed its half already is served what it sent; watching it further would
  // only take it for gone.
  if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) == 0) {
    Arm(EPOLL_CTL_MOD, id, ready.connection->socket.fd(), kWhenBusy);
  }
  return Claim(ready);
}

std::optional<Connections::Ready> Connections::Claim(std::optional<Ready> ready) {
  if (!ready.has_value()) return std::nullopt;
  // Somebody has to go on waiting, unless nobody else could serve.
  if (waiting_ == 1 && !AddThread() && threads_.size() > 1) {
    ready_.push_back(*ready);
    return std::nullopt;
  }
  WaitNoMore();
  return ready;
}

void Connections::OnTick() {
  uint64_t ignored;
  [[maybe_unused]] const ssize_t got = read(clock_.fd(), &ignored, sizeof(ignored));
  const auto limit = std::chrono::steady_clock::now() - options_.idle_timeout;
  MutexLock lock(mutex_);
  absl::erase_if(entries_, [&](const auto& item) {
    return !item.second.busy && item.second.idle_since < limit;
  });
  ListenAgain(true);
}

void Connections::ServeOne(const Ready& ready) {
  const AfterServe after = serve_(*ready.connection);
  MutexLock lock(mutex_);
  ++waiting_;
  if (after == AfterServe::kKeep && !stopping_ && !ready.connection->gone) {
    Entry& entry = entries_.at(ready.id);
    entry.busy = false;
    entry.idle_since = std::chrono::steady_clock::now();
    Arm(EPOLL_CTL_MOD, ready.id, ready.connection->socket.fd(), kWhenIdle);
    return;
  }
  entries_.erase(ready.id);
  closed_.NotifyAll();
  ListenAgain(true);
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

void Connections::Stop(std::chrono::milliseconds grace) {
  MutexLock stop_lock(stop_mutex_);
  if (stopped_) return;
  stopped_ = true;
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(stop_.fd(), &one, sizeof(one));
  std::vector<std::thread> threads;
  {
    MutexLock lock(mutex_);
    while (waiting_ > 0) none_waits_.Wait(mutex_);
    listening_.clear();
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
    threads.swap(threads_);
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace varve
