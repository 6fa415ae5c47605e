// SPDX-License-Identifier: Apache-2.0
//
// HTTP client configurations: what is refused and how, what is read from files, what is never
// shown.
#include "net/credentials.h"

#include <doctest/doctest.h>

#include "model/status_macros.h"
#include "tests/net/test_server.h"

namespace varve {
namespace {

TEST_CASE("credentials: contradictions are refused in Prometheus' words") {
  struct Case {
    HttpClientConfig config;
    std::string message;
  };
  BasicAuthConfig basic{.username = "u", .password = Secret("p")};
  AuthorizationConfig bearer{.credentials = Secret("t")};
  const std::vector<Case> cases = {
      {{.basic_auth = basic}, ""},
      {{.authorization = bearer}, ""},
      {{.basic_auth = basic, .authorization = bearer},
       "at most one of basic_auth, oauth2 & authorization must be configured"},
      {{.basic_auth = BasicAuthConfig{.username = "u", .username_file = "f"}},
       "at most one of basic_auth username & username_file must be configured"},
      {{.basic_auth = BasicAuthConfig{.password = Secret("u"), .password_file = "f"}},
       "at most one of basic_auth password & password_file must be configured"},
      {{.authorization = AuthorizationConfig{.credentials = Secret("u"), .credentials_file = "f"}},
       "at most one of authorization credentials & credentials_file must be configured"},
      {{.authorization = AuthorizationConfig{.type = " Basic "}},
       R"(authorization type cannot be set to "basic", use "basic_auth" instead)"},
      {{.oauth2 = OAuth2Config{.client_id = "c", .token_url = "u"}}, ""},
      {{.oauth2 = OAuth2Config{.token_url = "u"}}, "oauth2 client_id must be configured"},
      {{.oauth2 = OAuth2Config{.client_id = "c"}}, "oauth2 token_url must be configured"},
      {{.basic_auth = basic, .oauth2 = OAuth2Config{.client_id = "c", .token_url = "u"}},
       "at most one of basic_auth, oauth2 & authorization must be configured"},
      {{.tls = {.ca = "x", .ca_file = "y"}}, "at most one of ca and ca_file must be configured"},
      {{.tls = {.cert_file = "y"}},
       "exactly one of key or key_file must be configured when a client certificate is configured"},
      {{.tls = {.key_file = "y"}},
       "exactly one of cert or cert_file must be configured when a client key is configured"},
      {{.tls = {.min_version = TlsVersion::kTls13, .max_version = TlsVersion::kTls12}},
       "tls_config.max_version must be greater than or equal to tls_config.min_version"},
      {{.proxy = {.no_proxy = "a"}},
       "if no_proxy is configured, proxy_url must also be configured"},
      {{.proxy = {.proxy_url = "http://p", .proxy_from_environment = true}},
       "if proxy_from_environment is configured, proxy_url must not be configured"},
      {{.http_headers = {{.name = "AUTHORIZATION", .values = {"x"}}}},
       "setting header \"AUTHORIZATION\" is not allowed"},
      {{.http_headers = {{.name = "X-Tenant", .values = {"x"}}}}, ""},
  };
  for (const Case& c : cases) {
    CAPTURE(c.message);
    const absl::Status status = c.config.Validate();
    CHECK(status.ok() == c.message.empty());
    CHECK(MessageOf(status) == c.message);
  }
}

TEST_CASE("credentials: secrets are in no text") {
  HttpClientConfig config;
  config.basic_auth = BasicAuthConfig{.username = "user", .password = Secret("hunter2")};
  config.authorization = AuthorizationConfig{.credentials = Secret("hunter2")};
  config.tls.cert = "hunter2";
  config.tls.key = Secret("hunter2");
  config.proxy.proxy_url = "http://me:hunter2@proxy:3128/";
  config.http_headers = {{.name = "X-Key", .values = {"hunter2"}, .secrets = {Secret("hunter2")}}};
  const std::string text = config.ToString();
  CAPTURE(text);
  CHECK(text.find("hunter2") == std::string::npos);
  CHECK(text.find("<secret>") != std::string::npos);
  CHECK(text.find("user") != std::string::npos);
  CHECK(Secret("x").ToString() == "<secret>");
  CHECK(Secret().ToString() == "");
}

TEST_CASE("credentials: passwords leave URLs") {
  CHECK(RedactUrl("http://a/b") == "http://a/b");
  CHECK(RedactUrl("http://u@a/b") == "http://u@a/b");
  CHECK(RedactUrl("http://u:p@a:1/b?c=d:e@f") == "http://u:***@a:1/b?c=d:e@f");
  CHECK(RedactUrl("http://u:p:@q@a") == "http://u:***@a");
  CHECK(RedactUrl("http://a/x:y@z") == "http://a/x:y@z");
  CHECK(RedactUrl("nonsense:p@x") == "nonsense:p@x");
  CHECK(RedactUrl("") == "");
}

TEST_CASE("credentials: files are read and trimmed, and an unreadable one is named") {
  testing::TempDir dir;
  HttpClientConfig config;
  config.authorization = AuthorizationConfig{.credentials_file = dir.Write("token", " abc\n")};
  config.http_headers = {
      {.name = "X-A", .values = {"1"}, .secrets = {Secret("2")}, .files = {dir.Write("h", "3\n")}}};
  const auto resolved = ResolveCredentials(config).value();
  const std::vector<std::pair<std::string, std::string>> expected = {
      {"X-A", "1"}, {"X-A", "2"}, {"X-A", "3"}, {"Authorization", "Bearer abc"}};
  CHECK(resolved.headers == expected);

  config.authorization->credentials_file = dir.path() + "/none";
  const absl::Status missing = ResolveCredentials(config).status();
  CHECK(missing.code() == absl::StatusCode::kNotFound);
  CHECK(MessageOf(missing) == "unable to read authorization credentials: unable to read file " +
                                  dir.path() + "/none: open " + dir.path() +
                                  "/none: no such file or directory");
}

TEST_CASE("credentials: basic auth from values and files") {
  testing::TempDir dir;
  HttpClientConfig config;
  config.basic_auth = BasicAuthConfig{.username = "Aladdin", .password = Secret("open sesame")};
  CHECK(ResolveCredentials(config).value().headers[0].second ==
        "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
  config.basic_auth = BasicAuthConfig{.username_file = dir.Write("u", "Aladdin\n"),
                                      .password_file = dir.Write("p", "open sesame\n")};
  CHECK(ResolveCredentials(config).value().headers[0].second ==
        "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
}

TEST_CASE("credentials: a file at the limit is read, one byte more is refused") {
  testing::TempDir dir;
  const std::string path = dir.Write("f", std::string(kCredentialFileBytesMax, 'x'));
  CHECK(ReadCredentialFile(path).value().size() == kCredentialFileBytesMax);
  dir.Write("f", std::string(kCredentialFileBytesMax + 1, 'x'));
  CHECK(ReadCredentialFile(path).status().code() == absl::StatusCode::kResourceExhausted);
  CHECK_FALSE(ReadCredentialFile(dir.path()).ok());  // A directory.
}

}  // namespace
}  // namespace varve
