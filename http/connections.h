// SPDX-License-Identifier: Apache-2.0
//
// Accepted connections and who waits for them. All threads that serve nothing wait for the same
// events: of listening sockets, of idle connections, and of a clock. Whoever gets one deals with
// it: a connection that speaks is served where the event arrived, one request or several if the
// client sent them at once, and comes back idle. One thread always goes on waiting, made if need
// be; at the limit of threads, requests wait for one that serves. So a client that leaves while its
// connection is served is noticed, and `gone` says so.
#pragma once

#include <absl/container/flat_hash_map.h>
#include <absl/status/statusor.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "http/listen.h"
#include "model/mutex.h"

namespace varve {

// One client. Belongs to the thread that serves it while busy.
struct Connection {
  Socket socket;
  std::string peer;
  std::string received;  // Read ahead, from `received_used` on.
  size_t received_used = 0;
  std::atomic<bool> gone{false};
};

// What becomes of a connection after it was served.
enum class AfterServe { kKeep, kClose };

struct ConnectionsOptions {
  size_t connections_max = 512;
  size_t threads_max = 512;  // That serve.
  std::chrono::milliseconds idle_timeout = std::chrono::minutes(5);
};

class Connections {
 public:
  // `serve` answers the requests a connection has sent; called by several threads at a time.
  using Serve = std::function<AfterServe(Connection& connection)>;

  // Starts to accept.
  static absl::StatusOr<std::unique_ptr<Connections>> Open(const ConnectionsOptions& options,
                                                           std::vector<ListenSocket> listening,
                                                           Serve serve);
  ~Connections();
  Connections(const Connections&) = delete;
  Connections& operator=(const Connections&) = delete;

  // Closes the listening sockets and idle connections, lets busy ones finish for `grace`, then
  // marks them gone and cuts their sockets. Returns once no thread runs. Idempotent.
  void Stop(std::chrono::milliseconds grace) ABSL_LOCKS_EXCLUDED(mutex_, stop_mutex_);

 private:
  using Id = uint64_t;
  struct Entry {
    std::unique_ptr<Connection> connection;
    bool busy = false;
    std::chrono::steady_clock::time_point idle_since;
  };

  Connections(const ConnectionsOptions& options, std::vector<ListenSocket> listening, Serve serve);

  // A connection that has spoken.
  struct Ready {
    Id id = 0;
    Connection* connection = nullptr;
  };

  absl::Status Start() ABSL_LOCKS_EXCLUDED(mutex_);
  void Work() ABSL_LOCKS_EXCLUDED(mutex_);
  // The next connection to serve; none after Stop().
  std::optional<Ready> Wait() ABSL_LOCKS_EXCLUDED(mutex_);
  // These give a connection that has spoken if whoever asks is to serve it.
  std::optional<Ready> Accept(int listener) ABSL_LOCKS_EXCLUDED(mutex_);
  std::optional<Ready> OnEvent(Id id, uint32_t events) ABSL_LOCKS_EXCLUDED(mutex_);
  void OnTick() ABSL_LOCKS_EXCLUDED(mutex_);
  void ServeOne(const Ready& ready) ABSL_LOCKS_EXCLUDED(mutex_);
  std::optional<Ready> Claim(std::optional<Ready> ready) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // One that waits. False if there can be no more.
  bool AddThread() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WaitNoMore() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool CloseLongestIdle() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Arm(int operation, Id id, int fd, uint32_t events);
  void ListenAgain(bool enabled) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const ConnectionsOptions options_;
  const Serve serve_;
  std::vector<ListenSocket> listening_;  // Constant while threads wait.
  Socket epoll_;
  Socket stop_;   // Readable from Stop() on.
  Socket clock_;  // Readable at every tick.

  Mutex stop_mutex_;  // Taken before mutex_.
  bool stopped_ ABSL_GUARDED_BY(stop_mutex_) = false;

  Mutex mutex_;
  CondVar closed_;
  CondVar none_waits_;
  std::vector<std::thread> threads_ ABSL_GUARDED_BY(mutex_);
  size_t waiting_ ABSL_GUARDED_BY(mutex_) = 0;       // Threads that serve nothing.
  std::deque<Ready> ready_ ABSL_GUARDED_BY(mutex_);  // That no thread serves yet.
  bool accepting_ ABSL_GUARDED_BY(mutex_) = true;
  absl::flat_hash_map<Id, Entry> entries_ ABSL_GUARDED_BY(mutex_);
  Id next_id_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace varve
