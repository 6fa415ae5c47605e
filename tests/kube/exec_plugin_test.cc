// SPDX-License-Identifier: Apache-2.0
//
// Goal: plugins give credentials, once per lifetime, and cannot hold up or flood this process.
// Method: shell scripts.
#include "kube/exec_plugin.h"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <atomic>
#include <fstream>
#include <future>
#include <string>

#include "kube/client.h"
#include "model/status_macros.h"
#include "tests/net/test_server.h"

namespace varve {
namespace {

using testing::TempDir;
using testing::TestConnection;
using testing::TestRequest;
using testing::TestServer;

constexpr std::string_view kVersion1 = "client.authentication.k8s.io/v1";
constexpr TimestampMs kStart = 1'767'323'045'000;  // 2026-01-02T03:04:05Z

struct PluginFixture {
  // A script with `body`, which also leaves a line in the file `runs`.
  ExecPluginConfig Script(const std::string& body) {
    const std::string path =
        dir.Write("plugin", fmt::format("#!/bin/sh\necho run >> {}/runs\n{}\n", dir.path(), body));
    chmod(path.c_str(), 0700);
    return {.api_version = std::string(kVersion1), .command = path};
  }
  static std::string Prints(const std::string& status) {
    return fmt::format(R"(echo '{{"kind":"ExecCredential","apiVersion":"{}","status":{{{}}}}}')",
                       kVersion1, status);
  }
  absl::StatusOr<ExecCredential> Get(ExecPlugin& plugin) {
    std::promise<absl::StatusOr<ExecCredential>> promise;
    plugin.Get([&](absl::StatusOr<ExecCredential> found) { promise.set_value(std::move(found)); });
    return promise.get_future().get();
  }
  int Runs() {
    std::ifstream file(dir.path() + "/runs");
    int lines = 0;
    for (std::string line; std::getline(file, line);) ++lines;
    return lines;
  }

  TempDir dir;
  ManualClock clock{kStart};
};

TEST_CASE_FIXTURE(PluginFixture,
                  "exec plugin: a credential serves until it expires or is dropped") {
  ExecPlugin plugin(
      Script(Prints(R"("token":"t","expirationTimestamp":"2026-01-02T04:04:15+01:00")")), clock);
  CHECK_FALSE(plugin.Current().has_value());
  CHECK(Get(plugin)->token == "t");
  CHECK(Get(plugin)->expiry_ms == kStart + 10'000);
  clock.Advance(9'999);
  CHECK(plugin.Current()->token == "t");
  CHECK(Runs() == 1);
  clock.Advance(1);
  CHECK_FALSE(plugin.Current().has_value());
  CHECK(Get(plugin).ok());
  CHECK(Runs() == 2);
  plugin.Drop();
  CHECK(Get(plugin).ok());
  CHECK(Runs() == 3);
}

TEST_CASE_FIXTURE(PluginFixture, "exec plugin: arguments, environment and a certificate") {
  ExecPluginConfig config = Script(
      R"(test "$1 $2" = "a b c" && test "$X" = "y z" && test -n "$PATH" || exit 3
case "$KUBERNETES_EXEC_INFO" in *'"cluster":{"server":"s"},"interactive":false'*) ;; *) exit 4;; esac
)" + Prints(R"("clientCertificateData":"C","clientKeyData":"K")"));
  config.args = {"a", "b c"};
  config.env = {{"X", "y z"}};
  config.cluster_json = R"({"server":"s"})";
  ExecPlugin plugin(config, clock);
  const auto credential = Get(plugin);
  REQUIRE_MESSAGE(credential.ok(), MessageOf(credential.status()));
  CHECK(credential->cert_pem == "C");
  CHECK(credential->key_pem == "K");
  CHECK(credential->expiry_ms == 0);
  clock.Advance(1000 * kDay);
  CHECK(plugin.Current().has_value());
}

TEST_CASE_FIXTURE(PluginFixture, "exec plugin: whatever is wrong is said") {
  const auto failure = [&](ExecPluginConfig config) {
    ExecPlugin plugin(std::move(config), clock);
    return MessageOf(Get(plugin).status());
  };
  const auto contains = [](const std::string& text, std::string_view part) {
    CAPTURE(text);
    CHECK(text.find(part) != std::string::npos);
  };
  contains(failure(Script("echo oops >&2; exit 7")), "failed with exit code 7: oops");
  ExecPluginConfig missing = Script("");
  missing.command = dir.path() + "/none";
  missing.install_hint = "install it";
  contains(failure(missing), "No such file or directory\ninstall it");
  contains(failure(Script("echo no json")), "decoding stdout: ");
  contains(failure(Script("echo '{}'")), "not an ExecCredential");
  contains(failure(Script(Prints(""))), "didn't return a token or cert/key pair");
  contains(failure(Script(Prints(R"("clientKeyData":"K")"))), "only certificate or key");
  contains(failure(Script(Prints(R"("token":"t","expirationTimestamp":"soon")"))), "is no time");
  ExecPluginConfig other = Script(Prints(R"("token":"t")"));
  other.api_version = "client.authentication.k8s.io/v1beta1";
  contains(failure(other), "plugin returned version client.authentication.k8s.io/v1");
  CHECK(Runs() == 7);  // All but the missing one.
}

TEST_CASE_FIXTURE(PluginFixture,
                  "exec plugin: one that hangs is killed, and its children with it") {
  // The pipe stays open as long as the child that inherited it lives.
  ExecPluginConfig config =
      Script(fmt::format("(sleep 300; echo late > {}/late) & sleep 300", dir.path()));
  config.timeout = std::chrono::milliseconds(200);
  ExecPlugin plugin(config, clock);
  CHECK(MessageOf(Get(plugin).status()).find("no credential after 200 ms") != std::string::npos);

  ExecPlugin stopped(Script("sleep 300"), clock);
  std::promise<absl::Status> promise;
  stopped.Get(
      [&](const absl::StatusOr<ExecCredential>& found) { promise.set_value(found.status()); });
  stopped.Stop();
  CHECK(absl::IsCancelled(promise.get_future().get()));
  CHECK(absl::IsCancelled(Get(stopped).status()));
}

TEST_CASE_FIXTURE(PluginFixture, "exec plugin: output at the limit and past it") {
  const std::string credential = Prints(R"("token":"t")");
  // What `echo` prints, and blanks up to the limit.
  const auto padded = [&](size_t bytes) {
    return fmt::format("out=$({}); printf '%s' \"$out\"; head -c {} /dev/zero | tr '\\0' ' '",
                       credential, bytes);
  };
  const size_t printed = credential.size() - std::string_view("echo ''").size();
  ExecPlugin fits(Script(padded(kExecPluginBytesMax - printed)), clock);
  CHECK(Get(fits).ok());
  ExecPlugin over(Script(padded(kExecPluginBytesMax - printed + 1)), clock);
  CHECK(absl::IsResourceExhausted(Get(over).status()));
  ExecPlugin floods(Script("while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done"),
                    clock);
  CHECK(absl::IsResourceExhausted(Get(floods).status()));
}

TEST_CASE_FIXTURE(PluginFixture,
                  "exec plugin: a client's requests wait for it, and 401 runs it again") {
  std::atomic<bool> refuse{false};
  TestServer server([&](TestConnection& connection, const TestRequest& request) {
    connection.Respond(refuse.exchange(false) ? 401 : 200, request.Header("authorization"));
  });
  KubeEndpoint endpoint;
  endpoint.server = server.Url("");
  endpoint.exec = Script(Prints(R"("token":"t'$(wc -l < )" + dir.path() + R"(/runs)'")"));
  const auto http = HttpClient::Open({}).value();
  KubeClient client(*http, endpoint, clock);
  const auto fetch = [&] {
    ClientRequest request;
    request.url = "/x";
    return client.Fetch(std::move(request));
  };
  constexpr int kRequests = 10;
  std::atomic<int> good{0};
  std::atomic<int> ended{0};
  for (int i = 0; i < kRequests; ++i) {
    ClientRequest request;
    request.url = "/x";
    client.Start(std::move(request), [&](const absl::StatusOr<ClientResponse>& response) {
      if (response.ok() && response->body == "Bearer t1") ++good;
      ++ended;
    });
  }
  CHECK(testing::Eventually([&] { return ended == kRequests; }));
  CHECK(good == kRequests);
  CHECK(fetch()->body == "Bearer t1");
  refuse = true;
  CHECK(fetch()->status == 401);
  CHECK(fetch()->body == "Bearer t2");
  CHECK(Runs() == 2);
}

}  // namespace
}  // namespace varve
