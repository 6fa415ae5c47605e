// SPDX-License-Identifier: Apache-2.0
//
// Goal: tokens are asked for once, used until shortly before they expire, and never told to
// anybody else. Method: a server that gives tokens and one that wants them; a clock moved by hand.
#include "net/oauth2.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <atomic>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "model/status_macros.h"
#include "net/client.h"
#include "tests/net/test_server.h"

namespace varve {
namespace {

using testing::TempDir;
using testing::TestConnection;
using testing::TestRequest;
using testing::TestServer;

// Answers /token as told, everything else with the Authorization it got.
struct OAuth2Fixture {
  OAuth2Fixture()
      : server([this](TestConnection& connection, const TestRequest& request) {
          if (request.Path() != "/token") {
            return connection.Respond(200, request.Header("authorization"));
          }
          MutexLock lock(mutex);
          last = request;
          const int number = ++tokens;
          if (accept_form_only && request.Header("authorization") != "") {
            return connection.Respond(401, R"({"error":"invalid_client"})");
          }
          if (!answer.empty()) return connection.Respond(status, answer);
          connection.Respond(
              200, fmt::format(R"({{"access_token":"t{}","token_type":"bearer","expires_in":{}}})",
                               number, expires));
        }),
        clock(1'000'000) {
    client = HttpClient::Open({.clock = &clock, .wait_max = std::chrono::milliseconds(2)}).value();
    config.client_id = "my id";
    config.client_secret = Secret("s3cret&");
    config.scopes = {"a", "b"};
    config.endpoint_params = {{"audience", "x y"}};
    config.token_url = server.Url("/token");
  }

  ClientRequest Request() const {
    ClientRequest request;
    request.url = server.Url("/x");
    auto http = std::make_shared<HttpClientConfig>();
    http->oauth2 = config;
    request.config = std::move(http);
    return request;
  }
  std::string Fetch() {
    const absl::StatusOr<ClientResponse> response = client->Fetch(Request());
    return response.ok() ? response->body : MessageOf(response.status());
  }
  int Tokens() {
    MutexLock lock(mutex);
    return tokens;
  }
  TestRequest Last() {
    MutexLock lock(mutex);
    return last;
  }
  void Answer(int new_status, std::string text) {
    MutexLock lock(mutex);
    status = new_status;
    answer = std::move(text);
  }

  Mutex mutex;
  TestRequest last ABSL_GUARDED_BY(mutex);
  int tokens ABSL_GUARDED_BY(mutex) = 0;
  int status ABSL_GUARDED_BY(mutex) = 200;
  std::string answer ABSL_GUARDED_BY(mutex);
  std::string expires ABSL_GUARDED_BY(mutex) = "60";
  bool accept_form_only ABSL_GUARDED_BY(mutex) = false;
  TestServer server;
  ManualClock clock;
  OAuth2Config config;
  std::unique_ptr<HttpClient> client;
};

TEST_CASE_FIXTURE(OAuth2Fixture, "oauth2: a token serves until ten seconds before its end") {
  CHECK(Fetch() == "Bearer t1");
  CHECK(Fetch() == "Bearer t1");
  CHECK(Tokens() == 1);
  CHECK(Last().method == "POST");
  CHECK(Last().Header("content-type") == "application/x-www-form-urlencoded");
  CHECK(Last().body == "audience=x+y&grant_type=client_credentials&scope=a+b");
  // my+id:s3cret%26
  CHECK(Last().Header("authorization") == "Basic bXkraWQ6czNjcmV0JTI2");
  clock.Advance(49'000);
  CHECK(Fetch() == "Bearer t1");
  clock.Advance(1'000);
  CHECK(Fetch() == "Bearer t2");
  CHECK(Tokens() == 2);
}

TEST_CASE_FIXTURE(OAuth2Fixture, "oauth2: requests that come together wait for one token") {
  std::atomic<int> good{0};
  std::atomic<int> ended{0};
  constexpr int kRequests = 20;
  for (int i = 0; i < kRequests; ++i) {
    client->Start(Request(), [&](const absl::StatusOr<ClientResponse>& response) {
      if (response.ok() && response->body == "Bearer t1") ++good;
      ++ended;
    });
  }
  CHECK(testing::Eventually([&] { return ended == kRequests; }));
  CHECK(good == kRequests);
  CHECK(Tokens() == 1);
}

TEST_CASE_FIXTURE(OAuth2Fixture, "oauth2: servers that want the secret in the form get it there") {
  {
    MutexLock lock(mutex);
    accept_form_only = true;
  }
  CHECK(Fetch() == "Bearer t2");
  CHECK(Last().Header("authorization").empty());
  CHECK(Last().body ==
        "audience=x+y&client_id=my+id&client_secret=s3cret%26&grant_type=client_credentials&"
        "scope=a+b");
  clock.Advance(60'000);
  CHECK(Fetch() == "Bearer t3");  // The first attempt is the one that worked.
}

TEST_CASE_FIXTURE(OAuth2Fixture, "oauth2: failures are told, without the secret, and end") {
  const std::pair<int, const char*> answers[] = {
      {500, "no"},
      {401, R"({"error":"invalid_client"})"},
      {200, "no"},
      {200, "{}"},
      {200, R"({"error":"odd"})"},
      {200, R"({"access_token":7})"},
  };
  const char* messages[] = {
      "oauth2: cannot fetch token: 500 ",
      "oauth2: \"invalid_client\"",
      "oauth2: cannot parse json: ",
      "oauth2: server response missing access_token",
      "oauth2: \"odd\"",
      "oauth2: server response missing access_token",
  };
  for (size_t i = 0; i < std::size(answers); ++i) {
    Answer(answers[i].first, answers[i].second);
    const std::string text = Fetch();
    CAPTURE(text);
    CHECK(text.starts_with(fmt::format("Get \"{}\": {}", server.Url("/x"), messages[i])));
    CHECK(text.find("s3cret") == std::string::npos);
  }
  Answer(200, "");
  CHECK(Fetch().starts_with("Bearer t"));
}

TEST_CASE_FIXTURE(OAuth2Fixture, "oauth2: tokens without end, with another type, or as text") {
  Answer(200, R"({"access_token":"x","token_type":"Custom"})");
  CHECK(Fetch() == "Custom x");
  clock.Advance(10 * kDay);
  Answer(200, R"({"access_token":"y"})");
  CHECK(Fetch() == "Custom x");
  config.client_id = "other";
  CHECK(Fetch() == "Bearer y");
  Answer(200, R"({"access_token":"z","expires_in":"20"})");
  config.client_id = "third";
  CHECK(Fetch() == "Bearer z");
  Answer(200, R"({"access_token":"z2"})");
  clock.Advance(9'999);
  CHECK(Fetch() == "Bearer z");
  clock.Advance(1);
  CHECK(Fetch() == "Bearer z2");
}

TEST_CASE_FIXTURE(OAuth2Fixture,
                  "oauth2: a secret's file is read anew, another secret is another token") {
  TempDir dir;
  config.client_secret = Secret();
  config.client_secret_file = dir.Write("secret", "one\n");
  CHECK(Fetch() == "Bearer t1");
  CHECK(Last().Header("authorization") == "Basic bXkraWQ6b25l");  // my+id:one
  dir.Write("secret", "two\n");
  CHECK(Fetch() == "Bearer t2");
  config.client_secret_file = dir.path() + "/none";
  CHECK(Fetch().find("unable to read oauth2 client secret: unable to read file ") !=
        std::string::npos);
}

TEST_CASE_FIXTURE(OAuth2Fixture,
                  "oauth2: who waits for a token can be cancelled and runs out of time") {
  TestServer silent(
      [](TestConnection& connection, const TestRequest&) { connection.WaitForClose(); });
  config.token_url = silent.Url("/token");
  std::atomic<int> cancelled{0};
  const TransferId id =
      client->Start(Request(), [&](const absl::StatusOr<ClientResponse>& response) {
        cancelled = absl::IsCancelled(response.status()) ? 1 : -1;
      });
  client->Cancel(id);
  CHECK(testing::Eventually([&] { return cancelled == 1; }));
  ClientRequest request = Request();
  request.timeout = std::chrono::seconds(1);
  std::atomic<int> late{0};
  client->Start(std::move(request), [&](const absl::StatusOr<ClientResponse>& response) {
    late = absl::IsDeadlineExceeded(response.status()) ? 1 : -1;
  });
  CHECK(testing::Eventually([&] {
    clock.Advance(100);
    return late != 0;
  }));
  CHECK(late == 1);
}

TEST_CASE_FIXTURE(OAuth2Fixture, "oauth2: the token stays with its host") {
  std::string elsewhere = "unset";
  TestServer other([&](TestConnection& connection, const TestRequest& request) {
    elsewhere = request.Header("authorization");
    connection.Respond(200, "other");
  });
  TestServer home([&](TestConnection& connection, const TestRequest&) {
    connection.Respond(302, "", "Location: " + other.Url("/x") + "\r\n");
  });
  ClientRequest request = Request();
  request.url = home.Url("/");
  CHECK(client->Fetch(std::move(request))->body == "other");
  CHECK(elsewhere.empty());
}

}  // namespace
}  // namespace varve
