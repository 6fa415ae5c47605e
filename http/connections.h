// SPDX-License-Identifier: Apache-2.0
//
// Accepted connections and who waits for them. One worker, the watcher, watches the listening
// sockets and every idle connection; a connection that speaks is served by a worker, one request or
// several if the client sent them at once, and comes back idle. If another worker is free, that one
// goes on watching and the watcher serves: a request need not wait for a second thread to wake.
// While a connection is served, the watcher notices the client leaving and says so in `gone`.
#pragma once

#include <absl/container/flat_hash_map.h>
#include <absl/status/statusor.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "http/listen.h"
#include "http/worker_pool.h"
#include "model/mutex.h"

namespace varve {

// One client. Belongs to a worker while busy, to the watcher while idle.
struct Connection {
  Socket socket;
  std::string peer;
  std::string received;  // Read ahead, from `received_used` on.
  size_t received_used = 0;
  std::atomic<bool> gone{false};
};

// What becomes of a connection after a worker had it.
enum class AfterServe { kKeep, kClose };

struct ConnectionsOptions {
  size_t connections_max = 512;
  size_t threads_max = 512;
  std::chrono::milliseconds idle_timeout = std::chrono::minutes(5);
};

class Connections {
 public:
  // `serve` answers the requests a connection has sent; called by workers, several at a time.
  using Serve = std::function<AfterServe(Connection& connection)>;

  // Starts to accept.
  static absl::StatusOr<std::unique_ptr<Connections>> Open(const ConnectionsOptions& options,
                                                           std::vector<ListenSocket> listening,
                                                           Serve serve);
  ~Connections();
  Connections(const Connections&) = delete;
  Connections& operator=(const Connections&) = delete;

  // Closes the listening sockets and idle connections, lets busy ones finish for `grace`, then
  // marks them gone and cuts their sockets. Returns once no worker runs. Idempotent.
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
    Connection* connection = nullptr;  // Null: there is none.
  };

  absl::Status Start();
  void Watch() ABSL_LOCKS_EXCLUDED(mutex_);
  // Waits once. All connections that have spoken but one are given to workers; that one is
  // returned.
  Ready WatchOnce() ABSL_LOCKS_EXCLUDED(mutex_);
  void Accept(int listener) ABSL_LOCKS_EXCLUDED(mutex_);
  Ready OnEvent(Id id, uint32_t events) ABSL_LOCKS_EXCLUDED(mutex_);
  void GiveToWorker(const Ready& ready) ABSL_LOCKS_EXCLUDED(mutex_);
  void ServeOne(Id id, Connection& connection) ABSL_LOCKS_EXCLUDED(mutex_);
  void CloseExpired() ABSL_LOCKS_EXCLUDED(mutex_);
  bool CloseLongestIdle() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Arm(int operation, Id id, int fd, uint32_t events);
  void ListenAgain(bool enabled);
  void Wake();

  const ConnectionsOptions options_;
  const Serve serve_;
  std::vector<ListenSocket> listening_;                // Touched by the watcher only, once started.
  bool accepting_ = true;                              // The watcher's.
  std::chrono::steady_clock::time_point next_expiry_;  // The watcher's.
  Socket epoll_;
  Socket wake_;
  WorkerPool workers_;  // One of them watches.

  Mutex stop_mutex_;  // Taken before mutex_.
  bool stopped_ ABSL_GUARDED_BY(stop_mutex_) = false;

  Mutex mutex_;
  CondVar closed_;
  CondVar unwatched_;
  bool watching_ ABSL_GUARDED_BY(mutex_) = false;
  absl::flat_hash_map<Id, Entry> entries_ ABSL_GUARDED_BY(mutex_);
  Id next_id_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace varve
