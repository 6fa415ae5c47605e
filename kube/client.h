// SPDX-License-Identifier: Apache-2.0
//
// Requests to a Kubernetes API server: where it is, and as whom to ask. Credentials are found in
// the cluster (a service account's directory), in a kubeconfig file, or are given.
//
// A file with a token or CA is re-read by path every minute: the kubelet replaces it by swapping a
// symlink, which neither an open descriptor nor a watch on the file would notice.
#pragma once

#include <absl/base/thread_annotations.h>
#include <absl/status/statusor.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "kube/exec_plugin.h"
#include "model/clock.h"
#include "model/mutex.h"
#include "net/client.h"

namespace varve {

inline constexpr std::chrono::seconds kKubeFileRefresh{60};

// One API server and one identity.
struct KubeEndpoint {
  std::string server;      // "https://10.0.0.1:443", no slash at the end.
  HttpClientConfig http;   // Used as it is, but for the two files below.
  std::string token_file;  // Bearer token; a file that cannot be read leaves the old token in use.
  std::string ca_file;     // Likewise.
  std::string namespace_;  // Of the identity, may be empty.
  std::optional<ExecPluginConfig> exec;  // What gives token or certificate instead.

  // What a pod finds in its environment: KUBERNETES_SERVICE_HOST and _PORT, and a service account's
  // directory: VARVE_SERVICEACCOUNT_DIR if set, else /var/run/secrets/kubernetes.io/serviceaccount.
  // NotFound if this process is not in a cluster.
  static absl::StatusOr<KubeEndpoint> InCluster();
  // The same from given values; `get_env` returns null for what is not set.
  static absl::StatusOr<KubeEndpoint> InCluster(
      const std::function<const char*(const char*)>& get_env);

  // The current context of a kubeconfig file. Unimplemented, saying so, for `auth-provider` users;
  // InvalidArgument for a file that is none.
  static absl::StatusOr<KubeEndpoint> FromKubeconfig(const std::string& path);

  // Without secrets.
  std::string ToString() const;
};

// True if InCluster() would find an API server.
bool IsInKubernetes();

// Where InCluster() looks for `token` and `ca.crt`.
std::string ServiceAccountDir();

// The contents of a file, trimmed, re-read by path when older than kKubeFileRefresh. Thread-safe.
class RefreshedFile {
 public:
  RefreshedFile(std::string path, Clock& clock) : path_(std::move(path)), clock_(clock) {}

  // The newest readable contents. An error only if none could ever be read.
  absl::StatusOr<std::string> Get() ABSL_LOCKS_EXCLUDED(mutex_);
  // Makes the next Get() read the file, keeping the old contents in case it cannot.
  void Drop() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  const std::string path_;
  Clock& clock_;

  Mutex mutex_;
  std::string contents_ ABSL_GUARDED_BY(mutex_);
  bool fresh_ ABSL_GUARDED_BY(mutex_) = false;
  int64_t read_nanos_ ABSL_GUARDED_BY(mutex_) = 0;
};

// Thread-safe.
class KubeClient {
 public:
  // `http` must outlive the client and its transfers. Informers parse on its loop: give them one of
  // their own, apart from the scrapes.
  KubeClient(HttpClient& http, KubeEndpoint endpoint, Clock& clock);
  // Ends a plugin that runs.
  ~KubeClient();
  KubeClient(const KubeClient&) = delete;
  KubeClient& operator=(const KubeClient&) = delete;

  // Adds server, credentials and Accept to `request`, whose url is a path with query
  // ("/api/v1/pods?limit=500"), and starts it. A 401 drops the cached token. While a plugin has
  // to be waited for there is no transfer yet, and kNoTransfer is returned.
  TransferId Start(ClientRequest request, HttpClient::DoneCallback done);
  absl::StatusOr<ClientResponse> Fetch(ClientRequest request);

  HttpClient& http() { return http_; }
  Clock& clock() { return clock_; }
  const KubeEndpoint& endpoint() const { return endpoint_; }

 private:
  absl::Status Prepare(ClientRequest& request);
  TransferId StartNow(ClientRequest request, HttpClient::DoneCallback done);
  void Report(absl::Status status, HttpClient::DoneCallback done);

  HttpClient& http_;
  Clock& clock_;
  const KubeEndpoint endpoint_;
  // Shared with transfers under way.
  const std::shared_ptr<RefreshedFile> token_;  // Null: none.
  const std::shared_ptr<RefreshedFile> ca_;
  const std::shared_ptr<ExecPlugin> exec_;
};

}  // namespace varve
