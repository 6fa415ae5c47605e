// SPDX-License-Identifier: Apache-2.0
//
// Credentials from a program that a kubeconfig names (client.authentication.k8s.io): it prints an
// ExecCredential, which serves until it expires or is refused.
#pragma once

#include <absl/base/thread_annotations.h>
#include <absl/functional/any_invocable.h>
#include <absl/status/statusor.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "model/clock.h"
#include "model/mutex.h"

namespace varve {

// How long a plugin may run, and how much it may print.
inline constexpr std::chrono::seconds kExecPluginTimeout{60};
inline constexpr size_t kExecPluginBytesMax = 1 << 20;

struct ExecPluginConfig {
  std::string api_version;  // "client.authentication.k8s.io/v1" or ".../v1beta1".
  std::string command;      // A path, or a name that is looked for in PATH.
  std::vector<std::string> args;
  std::vector<std::pair<std::string, std::string>> env;  // On top of this process' own.
  std::string cluster_json;  // What `provideClusterInfo` tells; empty: nothing.
  std::string install_hint;
  std::chrono::milliseconds timeout = kExecPluginTimeout;
  friend bool operator==(const ExecPluginConfig&, const ExecPluginConfig&) = default;
};

// Secret, all of it.
struct ExecCredential {
  std::string token;
  std::string cert_pem;
  std::string key_pem;
  int64_t expiry_ms = 0;  // Unix time; 0: none.
};

// The credential a plugin printed. InvalidArgument if it is none, or of another version.
absl::StatusOr<ExecCredential> ParseExecCredential(const std::string& json,
                                                   const std::string& api_version);

// Thread-safe.
class ExecPlugin {
 public:
  using Done = absl::AnyInvocable<void(absl::StatusOr<ExecCredential>)>;

  ExecPlugin(ExecPluginConfig config, Clock& clock) : config_(std::move(config)), clock_(clock) {}
  ~ExecPlugin() { Stop(); }
  ExecPlugin(const ExecPlugin&) = delete;
  ExecPlugin& operator=(const ExecPlugin&) = delete;

  // The credential at hand, if it is still good.
  std::optional<ExecCredential> Current() ABSL_LOCKS_EXCLUDED(mutex_);
  // Calls `done` with a credential: at once if there is one, else on a thread of the plugin's when
  // it has ended. All who wait share one run. Cancelled once stopped.
  void Get(Done done) ABSL_LOCKS_EXCLUDED(mutex_);
  // The server has refused the credential: the next Get() runs the plugin again.
  void Drop() ABSL_LOCKS_EXCLUDED(mutex_);
  // Kills a plugin that runs; who waits is told Cancelled. Idempotent. REQUIRES: not in a `done`.
  void Stop() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  bool IsGood() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void StartRun() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Run(int stop_fd) ABSL_LOCKS_EXCLUDED(mutex_);
  // Tells who waits; true if somebody who came meanwhile needs another run.
  bool Tell(const absl::StatusOr<ExecCredential>& credential) ABSL_LOCKS_EXCLUDED(mutex_);

  const ExecPluginConfig config_;
  Clock& clock_;

  Mutex mutex_;
  std::optional<ExecCredential> credential_ ABSL_GUARDED_BY(mutex_);
  std::vector<Done> waiting_ ABSL_GUARDED_BY(mutex_);
  bool running_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  int stop_fd_ ABSL_GUARDED_BY(mutex_) = -1;  // Of the run: readable once it has to end.
  std::thread thread_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace varve
