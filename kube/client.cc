// SPDX-License-Identifier: Apache-2.0
//
// In-cluster credentials, files that are re-read, and the completing of requests.
#include "kube/client.h"

#include <fmt/format.h>

#include <cstdlib>
#include <future>
#include <utility>

#include "model/status_macros.h"

namespace varve {
namespace {

constexpr char kServiceAccountDir[] = "/var/run/secrets/kubernetes.io/serviceaccount";

std::string Trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return "";
  return std::string(text.substr(begin, text.find_last_not_of(kSpace) - begin + 1));
}

std::string GetOrEmpty(const std::function<const char*(const char*)>& get_env, const char* name) {
  const char* value = get_env(name);
  return value != nullptr ? value : "";
}

std::shared_ptr<RefreshedFile> OpenFile(const std::string& path, Clock& clock) {
  return path.empty() ? nullptr : std::make_shared<RefreshedFile>(path, clock);
}

}  // namespace

bool IsInKubernetes() {
  const char* host = std::getenv("KUBERNETES_SERVICE_HOST");
  const char* port = std::getenv("KUBERNETES_SERVICE_PORT");
  return host != nullptr && *host != '\0' && port != nullptr && *port != '\0';
}

std::string ServiceAccountDir() {
  const char* dir = std::getenv("VARVE_SERVICEACCOUNT_DIR");
  return dir != nullptr && *dir != '\0' ? dir : kServiceAccountDir;
}

absl::StatusOr<KubeEndpoint> KubeEndpoint::InCluster() {
  return InCluster([](const char* name) -> const char* { return std::getenv(name); });
}

absl::StatusOr<KubeEndpoint> KubeEndpoint::InCluster(
    const std::function<const char*(const char*)>& get_env) {
  const std::string host = GetOrEmpty(get_env, "KUBERNETES_SERVICE_HOST");
  const std::string port = GetOrEmpty(get_env, "KUBERNETES_SERVICE_PORT");
  if (host.empty() || port.empty()) {
    return absl::NotFoundError(
        "unable to load in-cluster configuration, KUBERNETES_SERVICE_HOST and "
        "KUBERNETES_SERVICE_PORT must be defined");
  }
  std::string dir = GetOrEmpty(get_env, "VARVE_SERVICEACCOUNT_DIR");
  if (dir.empty()) dir = kServiceAccountDir;
  KubeEndpoint endpoint;
  const bool is_v6 = host.find(':') != std::string::npos;
  endpoint.server = fmt::format("https://{}:{}", is_v6 ? "[" + host + "]" : host, port);
  endpoint.token_file = dir + "/token";
  endpoint.ca_file = dir + "/ca.crt";
  ASSIGN_OR_RETURN(const std::string token, ReadCredentialFile(endpoint.token_file));
  const absl::StatusOr<std::string> own = ReadCredentialFile(dir + "/namespace");
  if (own.ok()) endpoint.namespace_ = Trim(*own);
  return endpoint;
}

std::string KubeEndpoint::ToString() const {
  return fmt::format("{{server: {}, token_file: {}, ca_file: {}, http: {}}}", RedactUrl(server),
                     token_file, ca_file, http.ToString());
}

absl::StatusOr<std::string> RefreshedFile::Get() {
  MutexLock lock(mutex_);
  const int64_t now = clock_.MonotonicNanos();
  const int64_t age = now - read_nanos_;
  if (fresh_ && age < std::chrono::nanoseconds(kKubeFileRefresh).count()) return contents_;
  absl::StatusOr<std::string> read = ReadCredentialFile(path_);
  if (read.ok()) {
    std::string trimmed = Trim(*read);
    if (!trimmed.empty()) {
      contents_ = std::move(trimmed);
      fresh_ = true;
      read_nanos_ = now;
      return contents_;
    }
  }
  // The kubelet may be replacing it at this moment: what was valid a minute ago mostly still is.
  if (!contents_.empty()) return contents_;
  if (!read.ok()) return read.status();
  return absl::NotFoundError(fmt::format("{} is empty", path_));
}

void RefreshedFile::Drop() {
  MutexLock lock(mutex_);
  fresh_ = false;
}

KubeClient::KubeClient(HttpClient& http, KubeEndpoint endpoint, Clock& clock)
    : http_(http),
      clock_(clock),
      endpoint_(std::move(endpoint)),
      token_(OpenFile(endpoint_.token_file, clock)),
      ca_(OpenFile(endpoint_.ca_file, clock)),
      exec_(endpoint_.exec ? std::make_shared<ExecPlugin>(*endpoint_.exec, clock) : nullptr) {}

KubeClient::~KubeClient() {
  if (exec_ != nullptr) exec_->Stop();
}

absl::Status KubeClient::Prepare(ClientRequest& request) {
  auto config = std::make_shared<HttpClientConfig>(endpoint_.http);
  // A watch has a connection to itself, so that nothing on it can hold up the others.
  config->enable_http2 = false;
  if (token_ != nullptr) {
    ASSIGN_OR_RETURN(std::string token, token_->Get());
    config->authorization = AuthorizationConfig{.credentials = Secret(std::move(token))};
  }
  if (exec_ != nullptr) {
    const std::optional<ExecCredential> credential = exec_->Current();
    if (!credential) return absl::UnavailableError("the exec plugin's credential has expired");
    if (!credential->token.empty()) {
      config->authorization = AuthorizationConfig{.credentials = Secret(credential->token)};
    }
    if (!credential->cert_pem.empty()) {
      config->tls.cert = credential->cert_pem;
      config->tls.key = Secret(credential->key_pem);
    }
  }
  if (ca_ != nullptr) {
    ASSIGN_OR_RETURN(config->tls.ca, ca_->Get());
    config->tls.ca_file.clear();
  }
  request.url = endpoint_.server + request.url;
  request.headers.push_back({"Accept", "application/json"});
  request.config = std::move(config);
  return absl::OkStatus();
}

void KubeClient::Report(absl::Status status, HttpClient::DoneCallback done) {
  // As HttpClient does: never from inside Start(), unless the loop has ended.
  auto report = std::make_shared<absl::AnyInvocable<void()>>(
      [done = std::move(done), status = std::move(status)]() mutable { done(std::move(status)); });
  if (!http_.loop().Post([report] { (*report)(); })) (*report)();
}

TransferId KubeClient::Start(ClientRequest request, HttpClient::DoneCallback done) {
  if (exec_ == nullptr || exec_->Current()) return StartNow(std::move(request), std::move(done));
  // Stopping the plugin, which the destructor does, ends this callback.
  exec_->Get([this, request = std::move(request),
              done = std::move(done)](const absl::StatusOr<ExecCredential>& credential) mutable {
    if (credential.ok()) {
      StartNow(std::move(request), std::move(done));
    } else {
      Report(credential.status(), std::move(done));
    }
  });
  return kNoTransfer;
}

TransferId KubeClient::StartNow(ClientRequest request, HttpClient::DoneCallback done) {
  absl::Status prepared = Prepare(request);
  if (!prepared.ok()) {
    Report(std::move(prepared), std::move(done));
    return kNoTransfer;
  }
  return http_.Start(std::move(request),
                     [token = token_, exec = std::weak_ptr<ExecPlugin>(exec_),
                      done = std::move(done)](absl::StatusOr<ClientResponse> response) mutable {
                       if (response.ok() && response->status == 401) {
                         if (token != nullptr) token->Drop();
                         if (const auto plugin = exec.lock()) plugin->Drop();
                       }
                       done(std::move(response));
                     });
}

absl::StatusOr<ClientResponse> KubeClient::Fetch(ClientRequest request) {
  std::promise<absl::StatusOr<ClientResponse>> promise;
  Start(std::move(request), [&promise](absl::StatusOr<ClientResponse> response) {
    promise.set_value(std::move(response));
  });
  return promise.get_future().get();
}

}  // namespace varve
