// SPDX-License-Identifier: Apache-2.0
//
// Where the API server is and as whom to ask: in-cluster, kubeconfig, rotation of tokens and
// authorities.
#include "kube/client.h"

#include <absl/strings/escaping.h>
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <map>

#include "model/status_macros.h"
#include "tests/net/test_server.h"

namespace varve {
namespace {

using testing::TempDir;
using testing::TestAuthority;
using testing::TestConnection;
using testing::TestRequest;
using testing::TestServer;

absl::StatusOr<KubeEndpoint> InCluster(std::map<std::string, std::string> env) {
  return KubeEndpoint::InCluster([&env](const char* name) -> const char* {
    const auto it = env.find(name);
    return it == env.end() ? nullptr : it->second.c_str();
  });
}

TEST_CASE("kube client: the environment of a pod") {
  TempDir dir;
  dir.Write("token", "t");
  dir.Write("namespace", "monitoring\n");
  const auto found = InCluster({{"KUBERNETES_SERVICE_HOST", "10.96.0.1"},
                                {"KUBERNETES_SERVICE_PORT", "443"},
                                {"VARVE_SERVICEACCOUNT_DIR", dir.path()}});
  REQUIRE(found.ok());
  CHECK(found->server == "https://10.96.0.1:443");
  CHECK(found->token_file == dir.path() + "/token");
  CHECK(found->ca_file == dir.path() + "/ca.crt");
  CHECK(found->namespace_ == "monitoring");
  CHECK(InCluster({{"KUBERNETES_SERVICE_HOST", "fd00::1"},
                   {"KUBERNETES_SERVICE_PORT", "6443"},
                   {"VARVE_SERVICEACCOUNT_DIR", dir.path()}})
            ->server == "https://[fd00::1]:6443");
  CHECK(InCluster({{"KUBERNETES_SERVICE_HOST", "10.96.0.1"}}).status().code() ==
        absl::StatusCode::kNotFound);
  CHECK_FALSE(InCluster({{"KUBERNETES_SERVICE_HOST", "h"},
                         {"KUBERNETES_SERVICE_PORT", "1"},
                         {"VARVE_SERVICEACCOUNT_DIR", dir.path() + "/none"}})
                  .ok());
}

TEST_CASE("kube client: a refreshed file is read by path each minute, and kept if it vanishes") {
  TempDir dir;
  ManualClock clock(0);
  // As the kubelet does it: a symlink to a directory is replaced.
  std::filesystem::create_directory(dir.path() + "/v1");
  std::filesystem::create_directory(dir.path() + "/v2");
  dir.Write("v1/token", " one\n");
  dir.Write("v2/token", "two\n");
  std::filesystem::create_directory_symlink("v1", dir.path() + "/..data");
  std::filesystem::create_symlink("..data/token", dir.path() + "/token");
  RefreshedFile file(dir.path() + "/token", clock);
  CHECK(file.Get().value() == "one");
  std::filesystem::create_directory_symlink("v2", dir.path() + "/..new");
  std::filesystem::rename(dir.path() + "/..new", dir.path() + "/..data");
  clock.Advance(59 * kSecond);
  CHECK(file.Get().value() == "one");
  clock.Advance(kSecond);
  CHECK(file.Get().value() == "two");

  dir.Write("v2/token", "three");
  file.Drop();
  CHECK(file.Get().value() == "three");
  dir.Write("v2/token", " \n");
  clock.Advance(kMinute);
  CHECK(file.Get().value() == "three");
  std::filesystem::remove(dir.path() + "/v2/token");
  clock.Advance(kMinute);
  CHECK(file.Get().value() == "three");
  RefreshedFile none(dir.path() + "/never", clock);
  CHECK_FALSE(none.Get().ok());
}

TEST_CASE("kube client: a 401 makes the next request read the token anew") {
  TempDir dir;
  std::string valid = "old";  // The server's thread only reads between requests.
  std::vector<std::string> seen;
  TestServer server([&](TestConnection& connection, const TestRequest& request) {
    seen.push_back(request.Header("authorization") + request.Header("accept"));
    const bool ok = request.Header("authorization") == "Bearer " + valid;
    connection.Respond(ok ? 200 : 401, request.target);
  });
  auto http = HttpClient::Open({}).value();
  ManualClock clock(0);
  KubeEndpoint endpoint;
  endpoint.server = server.Url("");
  endpoint.token_file = dir.Write("token", "old");
  KubeClient client(*http, endpoint, clock);
  const auto fetch = [&client] {
    ClientRequest request;
    request.url = "/api/v1/pods?limit=1";
    return client.Fetch(std::move(request)).value();
  };
  CHECK(fetch().body == "/api/v1/pods?limit=1");
  valid = "new";
  dir.Write("token", "new");
  CHECK(fetch().status == 401);  // The old one was cached.
  CHECK(fetch().status == 200);
  CHECK(seen == std::vector<std::string>{"Bearer oldapplication/json", "Bearer oldapplication/json",
                                         "Bearer newapplication/json"});
}

TEST_CASE("kube client: TLS with the service account's authority, rotated") {
  TempDir dir;
  TestAuthority first("first");
  TestAuthority second("second");
  const auto serve = [](TestConnection& connection, const TestRequest&) {
    connection.Respond(200, "ok");
  };
  TestServer server(serve, {.identity = second.Issue("s", "IP:127.0.0.1")});
  auto http = HttpClient::Open({}).value();
  ManualClock clock(0);
  KubeEndpoint endpoint;
  endpoint.server = server.Url("");
  endpoint.token_file = dir.Write("token", "t");
  endpoint.ca_file = dir.Write("ca.crt", first.cert_pem());
  KubeClient client(*http, endpoint, clock);
  ClientRequest request;
  request.url = "/version";
  CHECK(client.Fetch(request).status().code() == absl::StatusCode::kUnauthenticated);
  dir.Write("ca.crt", second.cert_pem());
  clock.Advance(kMinute);
  CHECK(client.Fetch(request).ok());
}

constexpr char kKubeconfig[] = R"(apiVersion: v1
kind: Config
current-context: {}
contexts:
- name: tokens
  context: {{cluster: main, user: token, namespace: shop}}
- name: files
  context: {{cluster: files, user: file}}
- name: certs
  context: {{cluster: main, user: cert}}
- name: runs
  context: {{cluster: main, user: exec}}
- {{name: near, context: {{cluster: main, user: near}}}}
- {{name: old, context: {{cluster: main, user: old}}}}
- {{name: asks, context: {{cluster: main, user: asks}}}}
- {{name: unnamed, context: {{cluster: main, user: unnamed}}}}
- {{name: provider, context: {{cluster: main, user: provider}}}}
- name: nobody
  context: {{cluster: main, user: missing}}
- name: nowhere
  context: {{cluster: missing}}
- name: badca
  context: {{cluster: badca}}
clusters:
- name: main
  cluster:
    server: https://api.example:6443/
    certificate-authority-data: {}
    certificate-authority: ignored.crt
    tls-server-name: kubernetes
    proxy-url: http://proxy:3128
- name: files
  cluster: {{server: api.example, certificate-authority: pki/ca.crt, insecure-skip-tls-verify: true}}
- name: badca
  cluster: {{server: api.example, certificate-authority-data: "%%"}}
users:
- name: token
  user: {{token: sesame, as: alice, as-groups: [a, b]}}
- name: file
  user: {{token: ignored, tokenFile: /abs/token}}
- name: cert
  user: {{client-certificate-data: Q0VSVA==, client-key-data: S0VZ}}
- name: exec
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1
      command: aws
      args: [eks, get-token]
      env: [{{name: AWS_PROFILE, value: p}}]
      provideClusterInfo: true
      installHint: install "aws"
- name: near
  user: {{exec: {{apiVersion: client.authentication.k8s.io/v1beta1, command: ./bin/plugin}}}}
- name: old
  user: {{exec: {{apiVersion: client.authentication.k8s.io/v1alpha1, command: aws}}}}
- name: asks
  user: {{exec: {{apiVersion: client.authentication.k8s.io/v1, command: a, interactiveMode: Always}}}}
- name: unnamed
  user: {{exec: {{apiVersion: client.authentication.k8s.io/v1}}}}
- name: provider
  user: {{auth-provider: {{name: gcp}}}}
)";

TEST_CASE("kube client: kubeconfig files") {
  TempDir dir;
  const auto read = [&dir](const std::string& context) {
    return KubeEndpoint::FromKubeconfig(
        dir.Write("config", fmt::format(kKubeconfig, context, absl::Base64Escape("CA"))));
  };
  const auto tokens = read("tokens");
  REQUIRE(tokens.ok());
  CHECK(tokens->server == "https://api.example:6443");
  CHECK(tokens->namespace_ == "shop");
  CHECK(tokens->http.tls.ca == "CA");
  CHECK(tokens->ca_file == "");
  CHECK(tokens->http.tls.server_name == "kubernetes");
  CHECK(tokens->http.proxy.proxy_url == "http://proxy:3128");
  CHECK(tokens->http.authorization->credentials.Reveal() == "sesame");
  CHECK(tokens->ToString().find("sesame") == std::string::npos);
  REQUIRE(tokens->http.http_headers.size() == 3);
  CHECK(tokens->http.http_headers[2].values == std::vector<std::string>{"b"});

  const auto files = read("files");
  REQUIRE(files.ok());
  CHECK(files->server == "https://api.example");
  CHECK(files->token_file == "/abs/token");
  CHECK_FALSE(files->http.authorization.has_value());
  CHECK(files->ca_file == dir.path() + "/pki/ca.crt");
  CHECK(files->http.tls.insecure_skip_verify);

  const auto certs = read("certs");
  REQUIRE(certs.ok());
  CHECK(certs->http.tls.cert == "CERT");
  CHECK(certs->http.tls.key.Reveal() == "KEY");

  const auto runs = read("runs");
  REQUIRE_MESSAGE(runs.ok(), MessageOf(runs.status()));
  CHECK(runs->exec == ExecPluginConfig{.api_version = "client.authentication.k8s.io/v1",
                                       .command = "aws",
                                       .args = {"eks", "get-token"},
                                       .env = {{"AWS_PROFILE", "p"}},
                                       .cluster_json = R"({"server":"https://api.example:6443",)"
                                                       R"("tls-server-name":"kubernetes",)"
                                                       R"("certificate-authority-data":"Q0E=",)"
                                                       R"("proxy-url":"http://proxy:3128"})",
                                       .install_hint = "install \"aws\""});
  CHECK(read("near")->exec->command == dir.path() + "/./bin/plugin");
  CHECK(MessageOf(read("old").status()).find("exec: invalid apiVersion") != std::string::npos);
  CHECK(MessageOf(read("asks").status()).find("interactive mode") != std::string::npos);
  CHECK(MessageOf(read("unnamed").status()).find("command must be specified") != std::string::npos);
  CHECK(read("provider").status().code() == absl::StatusCode::kUnimplemented);
  CHECK(MessageOf(read("nobody").status()).find("user \"missing\" does not exist") !=
        std::string::npos);
  CHECK(MessageOf(read("nowhere").status()).find("cluster \"missing\" does not exist") !=
        std::string::npos);
  CHECK(MessageOf(read("absent").status()).find("context \"absent\" does not exist") !=
        std::string::npos);
  CHECK_FALSE(read("badca").ok());
  for (const std::string text : {"", "[]", "a: [", "just text", "current-context: [1]"}) {
    CAPTURE(text);
    CHECK(KubeEndpoint::FromKubeconfig(dir.Write("config", text)).status().code() ==
          absl::StatusCode::kInvalidArgument);
  }
  CHECK(KubeEndpoint::FromKubeconfig(dir.path() + "/none").status().code() ==
        absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace varve
