// SPDX-License-Identifier: Apache-2.0
//
// One thread that waits for file descriptors, timers and posted work, and runs their callbacks one
// after another. Callbacks must be short and must not block: whatever else the loop drives waits
// meanwhile.
#pragma once

#include <absl/base/thread_annotations.h>
#include <absl/container/btree_map.h>
#include <absl/container/flat_hash_map.h>
#include <absl/functional/any_invocable.h>
#include <absl/status/statusor.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "model/clock.h"
#include "model/mutex.h"

namespace varve {

// Names a timer of one loop; kNoTimer is never one.
enum class TimerId : uint64_t {};
inline constexpr TimerId kNoTimer{0};

// Told about readiness of a file descriptor (EPOLLIN and so on), on the loop's thread.
class FdHandler {
 public:
  virtual ~FdHandler() = default;
  virtual void OnReady(int fd, uint32_t events) = 0;
};

// Thread-safe unless a method says otherwise.
class EventLoop {
 public:
  using Callback = absl::AnyInvocable<void()>;

  struct Options {
    std::string thread_name = "net";
    // The longest single wait. A test with a ManualClock sets a few milliseconds, since moving that
    // clock does not wake the loop.
    std::chrono::nanoseconds wait_max = std::chrono::hours(1);
  };

  // Starts the thread. `clock` is what RunAt() times mean; it must outlive the loop.
  static absl::StatusOr<std::unique_ptr<EventLoop>> Open(Clock& clock, Options options);
  static absl::StatusOr<std::unique_ptr<EventLoop>> Open(Clock& clock) { return Open(clock, {}); }

  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  // Runs what is already posted, drops the timers, and ends the thread. Idempotent. REQUIRES: not
  // called on the loop's thread.
  void Stop() ABSL_LOCKS_EXCLUDED(stop_mutex_, mutex_);

  // Runs `callback` on the loop's thread, in the order of posting. Returns false, having dropped
  // it, once the loop is stopping.
  bool Post(Callback callback) ABSL_LOCKS_EXCLUDED(mutex_);

  // Runs `callback` on the loop's thread when the clock's MonotonicNanos() has reached `nanos`,
  // within about a millisecond. kNoTimer once the loop is stopping.
  TimerId RunAt(int64_t nanos, Callback callback) ABSL_LOCKS_EXCLUDED(mutex_);
  TimerId RunAfter(std::chrono::nanoseconds delay, Callback callback) ABSL_LOCKS_EXCLUDED(mutex_);

  // Returns true if the timer was still to run, and now never will. On false it has run, is running
  // on the loop's thread, or never was.
  bool Cancel(TimerId timer) ABSL_LOCKS_EXCLUDED(mutex_);

  // Those still to run.
  size_t timers() const ABSL_LOCKS_EXCLUDED(mutex_) {
    MutexLock lock(mutex_);
    return timers_.size();
  }

  bool OnLoopThread() const { return thread_id_.load() == std::this_thread::get_id(); }
  Clock& clock() { return clock_; }

  // Watches `fd` for `events` (EPOLLIN | EPOLLOUT), or changes what it is watched for. `handler`
  // must live until UnwatchFd(). REQUIRES: on the loop's thread.
  absl::Status WatchFd(int fd, uint32_t events, FdHandler& handler);
  void UnwatchFd(int fd);

 private:
  static constexpr int64_t kNotArmed = std::numeric_limits<int64_t>::min();

  struct TimerKey {
    int64_t nanos;
    uint64_t id;
    friend auto operator<=>(const TimerKey&, const TimerKey&) = default;
  };

  EventLoop(Clock& clock, Options options) : clock_(clock), options_(std::move(options)) {}

  absl::Status Start();
  void Run();
  void RunPosted() ABSL_LOCKS_EXCLUDED(mutex_);
  void RunDueTimers() ABSL_LOCKS_EXCLUDED(mutex_);
  void ArmTimer() ABSL_LOCKS_EXCLUDED(mutex_);
  void Wake();

  // Constant once the thread runs.
  Clock& clock_;
  const Options options_;
  int epoll_fd_ = -1;
  int wake_fd_ = -1;
  int timer_fd_ = -1;
  std::thread thread_;
  std::atomic<std::thread::id> thread_id_;

  // The loop thread's own.
  absl::flat_hash_map<int, FdHandler*> handlers_;
  int64_t armed_nanos_ = kNotArmed;  // What timer_fd_ is set to.

  Mutex stop_mutex_ ABSL_ACQUIRED_BEFORE(mutex_);  // Held while joining the thread.

  mutable Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t next_timer_ ABSL_GUARDED_BY(mutex_) = 1;
  std::vector<Callback> posted_ ABSL_GUARDED_BY(mutex_);
  absl::btree_map<TimerKey, Callback> timers_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<uint64_t, int64_t> timer_nanos_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace varve
