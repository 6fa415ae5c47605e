// SPDX-License-Identifier: Apache-2.0
//
// epoll for descriptors, an eventfd to wake the thread, a timerfd for the earliest timer: epoll's
// own timeout has only whole milliseconds, which would show in scrape timestamps.
#include "net/event_loop.h"

#include <absl/status/status.h>
#include <fmt/format.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "model/check.h"
#include "model/status_macros.h"

namespace varve {
namespace {

constexpr int kEventsPerWait = 256;

absl::Status SystemError(std::string_view what) {
  return absl::ErrnoToStatus(errno, std::string(what));
}

}  // namespace

absl::StatusOr<std::unique_ptr<EventLoop>> EventLoop::Open(Clock& clock, Options options) {
  std::unique_ptr<EventLoop> loop(new EventLoop(clock, std::move(options)));
  RETURN_IF_ERROR(loop->Start());
  return loop;
}

absl::Status EventLoop::Start() {
  epoll_fd_ = epoll_create1(EPOLL_CLOEXEC);
  wake_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  timer_fd_ = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  if (epoll_fd_ < 0 || wake_fd_ < 0 || timer_fd_ < 0) return SystemError("creating an event loop");
  for (const int fd : {wake_fd_, timer_fd_}) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    if (epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &event) != 0) {
      return SystemError("creating an event loop");
    }
  }
  // The thread inherits a mask that blocks every signal: the process's handlers run elsewhere, and
  // writing to a closed connection is an error here, not a SIGPIPE.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { Run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return absl::OkStatus();
}

EventLoop::~EventLoop() {
  Stop();
  for (const int fd : {epoll_fd_, wake_fd_, timer_fd_}) {
    if (fd >= 0) close(fd);
  }
}

void EventLoop::Stop() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  INVARIANT(!OnLoopThread());
  MutexLock stop_lock(stop_mutex_);
  if (!thread_.joinable()) return;
  Wake();
  thread_.join();
  // What callbacks captured is released here, outside the lock.
  absl::btree_map<TimerKey, Callback> timers;
  std::vector<Callback> posted;
  MutexLock lock(mutex_);
  timers.swap(timers_);
  posted.swap(posted_);
  timer_nanos_.clear();
}

bool EventLoop::Post(Callback callback) {
  {
    MutexLock lock(mutex_);
    if (stopping_) return false;
    posted_.push_back(std::move(callback));
    if (posted_.size() > 1) return true;  // Whoever posted the first has woken the loop.
  }
  if (!OnLoopThread()) Wake();
  return true;
}

TimerId EventLoop::RunAt(int64_t nanos, Callback callback) {
  uint64_t id = 0;
  bool earliest = false;
  {
    MutexLock lock(mutex_);
    if (stopping_) return kNoTimer;
    id = next_timer_++;
    const auto it = timers_.emplace(TimerKey{nanos, id}, std::move(callback)).first;
    timer_nanos_.emplace(id, nanos);
    earliest = it == timers_.begin();
  }
  if (earliest && !OnLoopThread()) Wake();
  return TimerId{id};
}

TimerId EventLoop::RunAfter(std::chrono::nanoseconds delay, Callback callback) {
  return RunAt(clock_.MonotonicNanos() + delay.count(), std::move(callback));
}

bool EventLoop::Cancel(TimerId timer) {
  Callback dropped;  // Destroyed after the lock is released.
  MutexLock lock(mutex_);
  const auto id = timer_nanos_.find(static_cast<uint64_t>(timer));
  if (id == timer_nanos_.end()) return false;
  const auto entry = timers_.find(TimerKey{id->second, id->first});
  dropped = std::move(entry->second);
  timers_.erase(entry);
  timer_nanos_.erase(id);
  return true;
}

absl::Status EventLoop::WatchFd(int fd, uint32_t events, FdHandler& handler) {
  INVARIANT(OnLoopThread());
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  const auto [it, added] = handlers_.insert_or_assign(fd, &handler);
  int result = epoll_ctl(epoll_fd_, added ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event);
  // A descriptor that was closed and opened anew has left the set by itself.
  if (result != 0 && errno == ENOENT) result = epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &event);
  if (result != 0 && errno == EEXIST) result = epoll_ctl(epoll_fd_, EPOLL_CTL_MOD, fd, &event);
  if (result != 0) {
    handlers_.erase(it);
    return SystemError("watching a socket");
  }
  return absl::OkStatus();
}

void EventLoop::UnwatchFd(int fd) {
  INVARIANT(OnLoopThread());
  if (handlers_.erase(fd) > 0) epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, fd, nullptr);
}

void EventLoop::Wake() {
  const uint64_t one = 1;
  // Fails only if the counter is full, and then the loop is awake.
  [[maybe_unused]] const ssize_t written = write(wake_fd_, &one, sizeof one);
}

void EventLoop::Run() {
  thread_id_.store(std::this_thread::get_id());
  pthread_setname_np(pthread_self(), options_.thread_name.substr(0, 15).c_str());
  const int64_t wait_ms =
      std::chrono::duration_cast<std::chrono::milliseconds>(options_.wait_max).count();
  epoll_event events[kEventsPerWait];
  for (;;) {
    bool posted = false;
    {
      MutexLock lock(mutex_);
      posted = !posted_.empty();
      if (stopping_ && !posted) break;
    }
    // What this thread posts wakes nobody: it must not be waited over.
    if (!posted) ArmTimer();
    const int count =
        epoll_wait(epoll_fd_, events, kEventsPerWait, posted ? 0 : static_cast<int>(wait_ms));
    for (int i = 0; i < count; ++i) {
      const int fd = events[i].data.fd;
      if (fd == wake_fd_ || fd == timer_fd_) {
        if (fd == timer_fd_) armed_nanos_ = kNotArmed;
        uint64_t expirations = 0;
        [[maybe_unused]] const ssize_t bytes = read(fd, &expirations, sizeof expirations);
        continue;
      }
      // An earlier handler of this round may have unwatched it.
      const auto handler = handlers_.find(fd);
      if (handler != handlers_.end()) handler->second->OnReady(fd, events[i].events);
    }
    RunDueTimers();
    RunPosted();  // What timers posted goes without another wait.
  }
  thread_id_.store(std::thread::id());  // The system may give it to another thread.
}

void EventLoop::RunPosted() {
  std::vector<Callback> posted;
  {
    MutexLock lock(mutex_);
    posted.swap(posted_);
  }
  for (Callback& callback : posted) {
    callback();
    callback = nullptr;
  }
}

void EventLoop::RunDueTimers() {
  const int64_t now = clock_.MonotonicNanos();
  uint64_t first_new = 0;
  {
    MutexLock lock(mutex_);
    first_new = next_timer_;
  }
  // One at a time, since a callback may cancel the next. Timers set meanwhile wait a round, so that
  // one that keeps setting itself to "now" cannot starve the descriptors.
  for (;;) {
    Callback callback;
    {
      MutexLock lock(mutex_);
      if (stopping_ || timers_.empty()) return;
      const auto first = timers_.begin();
      if (first->first.nanos > now || first->first.id >= first_new) return;
      callback = std::move(first->second);
      timer_nanos_.erase(first->first.id);
      timers_.erase(first);
    }
    callback();
  }
}

void EventLoop::ArmTimer() {
  int64_t earliest = kNotArmed;
  {
    MutexLock lock(mutex_);
    if (!timers_.empty()) earliest = timers_.begin()->first.nanos;
  }
  if (earliest == armed_nanos_) return;
  itimerspec spec{};
  if (earliest != kNotArmed) {
    const int64_t delay = std::max<int64_t>(1, earliest - clock_.MonotonicNanos());
    spec.it_value.tv_sec = delay / kNanosPerSecond;
    spec.it_value.tv_nsec = delay % kNanosPerSecond;
  }
  timerfd_settime(timer_fd_, 0, &spec, nullptr);
  armed_nanos_ = earliest;
}

}  // namespace varve
