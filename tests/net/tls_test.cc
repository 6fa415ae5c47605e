// SPDX-License-Identifier: Apache-2.0
//
// TLS: who is trusted, under which name, and files that are replaced while the client runs.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include "model/status_macros.h"
#include "net/client.h"
#include "tests/net/test_server.h"

namespace varve {
namespace {

using testing::TestAuthority;
using testing::TestConnection;
using testing::TestRequest;
using testing::TestServer;

class Fixture {
 public:
  Fixture() : client_(HttpClient::Open({}).value()) {}

  absl::StatusOr<ClientResponse> Fetch(const std::string& url, const TlsConfig& tls) {
    HttpClientConfig config;
    config.tls = tls;
    ClientRequest request;
    request.url = url;
    request.timeout = std::chrono::seconds(20);
    request.config = std::make_shared<const HttpClientConfig>(config);
    return client_->Fetch(std::move(request));
  }

  TestAuthority authority{"varve test authority"};
  TestAuthority stranger{"another authority"};

 private:
  std::unique_ptr<HttpClient> client_;
};

void Hello(TestConnection& connection, const TestRequest& request) {
  connection.Respond(200, request.Header("host"));
}

TEST_CASE_FIXTURE(Fixture, "tls: the authority decides") {
  TestServer server(Hello, {.identity = authority.Issue("s", "IP:127.0.0.1")});
  CHECK(Fetch(server.Url("/"), {.ca = authority.cert_pem()}).ok());
  const absl::Status unknown = Fetch(server.Url("/"), {.ca = stranger.cert_pem()}).status();
  CHECK(unknown.code() == absl::StatusCode::kUnauthenticated);
  CHECK(MessageOf(unknown) ==
        fmt::format("Get \"{}\": tls: failed to verify certificate: x509: certificate signed by "
                    "unknown authority",
                    server.Url("/")));
  CHECK(Fetch(server.Url("/"), {}).status().code() == absl::StatusCode::kUnauthenticated);
  CHECK(Fetch(server.Url("/"), {.insecure_skip_verify = true}).ok());
}

TEST_CASE_FIXTURE(Fixture, "tls: the name is checked, and server_name replaces it") {
  TestServer server(Hello, {.identity = authority.Issue("s", "DNS:kubernetes.default.svc")});
  const absl::Status wrong = Fetch(server.Url("/"), {.ca = authority.cert_pem()}).status();
  CHECK(MessageOf(wrong).find("x509: certificate is not valid for 127.0.0.1") != std::string::npos);
  const auto right =
      Fetch(server.Url("/"), {.ca = authority.cert_pem(), .server_name = "kubernetes.default.svc"});
  REQUIRE(right.ok());
  CHECK(right->body == fmt::format("127.0.0.1:{}", server.port()));  // The Host stays.
  CHECK_FALSE(Fetch(server.Url("/"), {.ca = authority.cert_pem(), .server_name = "other"}).ok());
}

TEST_CASE_FIXTURE(Fixture, "tls: a replaced authority file takes effect on the next connection") {
  testing::TempDir dir;
  TestServer first(Hello, {.identity = authority.Issue("s", "IP:127.0.0.1")});
  TestServer second(Hello, {.identity = stranger.Issue("s", "IP:127.0.0.1")});
  const TlsConfig tls{.ca_file = dir.Write("ca.crt", authority.cert_pem())};
  CHECK(Fetch(first.Url("/"), tls).ok());
  CHECK_FALSE(Fetch(second.Url("/"), tls).ok());
  dir.Write("ca.crt", stranger.cert_pem());
  CHECK(Fetch(second.Url("/"), tls).ok());
  // The connection made under the old file is not used under the new one.
  CHECK_FALSE(Fetch(first.Url("/"), tls).ok());
}

TEST_CASE_FIXTURE(Fixture, "tls: client certificates") {
  TestServer server(Hello, {.identity = authority.Issue("s", "IP:127.0.0.1"),
                            .client_ca_pem = authority.cert_pem()});
  const auto mine = authority.Issue("client", "");
  CHECK(Fetch(server.Url("/"),
              {.ca = authority.cert_pem(), .cert = mine.cert_pem, .key = Secret(mine.key_pem)})
            .ok());
  CHECK_FALSE(Fetch(server.Url("/"), {.ca = authority.cert_pem()}).ok());
}

TEST_CASE_FIXTURE(Fixture, "tls: unusable material is an error, a plain server is told apart") {
  TestServer server(Hello, {.identity = authority.Issue("s", "IP:127.0.0.1")});
  CHECK_FALSE(Fetch(server.Url("/"), {.ca = "no certificate"}).ok());
  TestServer plain(Hello);
  const std::string url = fmt::format("https://127.0.0.1:{}/", plain.port());
  CHECK(MessageOf(Fetch(url, {}).status()) ==
        fmt::format("Get \"{}\": http: server gave HTTP response to HTTPS client", url));
}

TEST_CASE_FIXTURE(Fixture, "tls: versions") {
  TestServer old(Hello,
                 {.identity = authority.Issue("s", "IP:127.0.0.1"), .tls_version = TLS1_2_VERSION});
  TestServer current(
      Hello, {.identity = authority.Issue("s", "IP:127.0.0.1"), .tls_version = TLS1_3_VERSION});
  const auto reaches = [&](const TestServer& server, TlsVersion min, TlsVersion max) {
    return Fetch(server.Url("/"),
                 {.ca = authority.cert_pem(), .min_version = min, .max_version = max})
        .ok();
  };
  CHECK(reaches(old, TlsVersion::kDefault, TlsVersion::kDefault));
  CHECK(reaches(current, TlsVersion::kDefault, TlsVersion::kDefault));
  CHECK(reaches(old, TlsVersion::kTls12, TlsVersion::kTls12));
  CHECK(reaches(current, TlsVersion::kTls13, TlsVersion::kTls13));
  CHECK_FALSE(reaches(old, TlsVersion::kTls13, TlsVersion::kDefault));
  CHECK_FALSE(reaches(current, TlsVersion::kDefault, TlsVersion::kTls12));
}

TEST_CASE_FIXTURE(Fixture, "tls: HTTP/2 is offered unless it is turned off") {
  const auto client = HttpClient::Open({}).value();
  for (const bool enabled : {true, false}) {
    TestServer server(Hello, {.identity = authority.Issue("s", "IP:127.0.0.1")});
    HttpClientConfig config;
    config.tls.ca = authority.cert_pem();
    config.enable_http2 = enabled;
    ClientRequest request;
    request.url = server.Url("/");
    request.config = std::make_shared<const HttpClientConfig>(config);
    CHECK(client->Fetch(std::move(request)).ok());
    CHECK(server.was_offered_http2() == enabled);
  }
}

TEST_CASE_FIXTURE(Fixture, "tls: a replaced client certificate takes effect on the next request") {
  TestServer server(Hello, {.identity = authority.Issue("s", "IP:127.0.0.1"),
                            .client_ca_pem = authority.cert_pem()});
  testing::TempDir dir;
  const auto write = [&dir](const TestAuthority::Identity& identity) {
    dir.Write("cert", identity.cert_pem);
    dir.Write("key", identity.key_pem);
  };
  const TlsConfig tls{.ca = authority.cert_pem(),
                      .cert_file = dir.path() + "/cert",
                      .key_file = dir.path() + "/key"};
  write(stranger.Issue("c", "DNS:c"));
  CHECK_FALSE(Fetch(server.Url("/"), tls).ok());
  write(authority.Issue("c", "DNS:c"));
  CHECK(Fetch(server.Url("/"), tls).ok());
  write(stranger.Issue("c", "DNS:c"));
  CHECK_FALSE(Fetch(server.Url("/"), tls).ok());
}

}  // namespace
}  // namespace varve
