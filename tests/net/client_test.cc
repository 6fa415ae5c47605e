// SPDX-License-Identifier: Apache-2.0
//
// The HTTP client against a server of plain sockets: answers, errors and their texts, limits,
// streams, redirects, reuse, credentials, stopping.
#include "net/client.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <future>

#include "model/status_macros.h"
#include "net/error_text.h"
#include "tests/net/deflated.h"
#include "tests/net/test_server.h"

namespace varve {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::Deflated;
using testing::Eventually;
using testing::TempDir;
using testing::TestConnection;
using testing::TestRequest;
using testing::TestServer;

std::unique_ptr<HttpClient> OpenClient() { return HttpClient::Open({}).value(); }

ClientRequest Get(std::string url) {
  ClientRequest request;
  request.url = std::move(url);
  request.timeout = seconds(20);
  return request;
}

TEST_CASE("client: a request and its answer") {
  TestRequest seen;
  TestServer server([&](TestConnection& connection, const TestRequest& request) {
    seen = request;
    connection.Respond(200, "hello", "Content-Type: text/plain\r\nX-Two:  a b \r\n");
  });
  auto client = OpenClient();
  ClientRequest request = Get(server.Url("/a/../b?c=d"));
  request.headers = {{"Accept", "text/plain"}, {"X-Empty", ""}};
  const ClientResponse response = client->Fetch(std::move(request)).value();
  CHECK(response.status == 200);
  CHECK(response.reason == "200 Reason");
  CHECK(response.body == "hello");
  CHECK(response.Header("content-type") == "text/plain");
  CHECK(response.Header("x-two") == "a b");
  CHECK(response.Header("absent") == "");
  CHECK(response.url == server.Url("/a/../b?c=d"));
  CHECK(response.total_time.count() > 0);
  CHECK(seen.method == "GET");
  CHECK(seen.target == "/a/../b?c=d");
  CHECK(seen.Header("host") == fmt::format("127.0.0.1:{}", server.port()));
  CHECK(seen.Header("user-agent") == "Prometheus/3.14.0");
  CHECK(seen.Header("accept") == "text/plain");
  CHECK(seen.Header("accept-encoding") == "gzip");
  CHECK(seen.headers.count("x-empty") == 1);
  CHECK(seen.headers.count("content-type") == 0);
}

TEST_CASE("client: methods and bodies") {
  TestRequest seen;
  TestServer server([&](TestConnection& connection, const TestRequest& request) {
    seen = request;
    connection.Respond(request.method == "HEAD" ? 200 : 204, "");
  });
  auto client = OpenClient();
  const std::string big(300'000, 'x');
  for (const std::string method : {"POST", "PUT", "DELETE", "HEAD", "GET"}) {
    CAPTURE(method);
    ClientRequest request = Get(server.Url("/"));
    request.method = method;
    if (method[0] == 'P') request.body = big;
    const auto response = client->Fetch(std::move(request));
    REQUIRE(response.ok());
    CHECK(seen.method == method);
    CHECK(seen.body == (method[0] == 'P' ? big : ""));
    CHECK(seen.headers.count("expect") == 0);
    CHECK(seen.headers.count("content-type") == 0);
  }
}

TEST_CASE("client: errors read as Go's") {
  auto client = OpenClient();
  TestServer server([&](TestConnection& connection, const TestRequest& request) {
    const std::string path = request.Path();
    if (path == "/nothing") return connection.Close();
    if (path == "/reset") return connection.Reset();
    if (path == "/hang") return connection.WaitForClose();
    if (path == "/garbage") {
      connection.Write("what is this\r\n\r\n");
      return connection.Close();
    }
    if (path == "/half" || path == "/slow") {
      connection.Write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
      if (path == "/slow") connection.WaitForClose();
      return connection.Close();
    }
    if (path == "/badgzip") connection.Respond(200, "no gzip", "Content-Encoding: gzip\r\n");
  });
  const testing::ClosedPort closed_port;
  const int closed = closed_port.port();
  struct Case {
    std::string url;
    std::string message;
    absl::StatusCode code;
  };
  const auto get = [](const std::string& url, const std::string& text) {
    return fmt::format("Get \"{}\": {}", url, text);
  };
  const std::string refused = fmt::format("http://127.0.0.1:{}/metrics", closed);
  using Code = absl::StatusCode;
  const std::vector<Case> cases = {
      {refused,
       get(refused, fmt::format("dial tcp 127.0.0.1:{}: connect: connection refused", closed)),
       Code::kUnavailable},
      {server.Url("/nothing"), get(server.Url("/nothing"), "EOF"), Code::kUnavailable},
      {server.Url("/reset"), get(server.Url("/reset"), "read tcp: read: connection reset by peer"),
       Code::kUnavailable},
      {server.Url("/hang"), get(server.Url("/hang"), "context deadline exceeded"),
       Code::kDeadlineExceeded},
      {server.Url("/garbage"),
       get(server.Url("/garbage"),
           "net/http: HTTP/1.x transport connection broken: malformed HTTP response"),
       Code::kUnavailable},
      {server.Url("/half"), "unexpected EOF", Code::kUnavailable},
      {server.Url("/slow"), "context deadline exceeded", Code::kDeadlineExceeded},
      {server.Url("/badgzip"), "gzip: invalid data", Code::kDataLoss},
      {"ftp://a/b", get("ftp://a/b", "unsupported protocol scheme \"ftp\""),
       Code::kInvalidArgument},
      {"a/b", get("a/b", "unsupported protocol scheme \"\""), Code::kInvalidArgument},
      {"http://1.2.3.4:99999/m",
       get("http://1.2.3.4:99999/m", "dial tcp: address 99999: invalid port"),
       Code::kInvalidArgument},
      {"http://me:secret@127.0.0.1:99999/",
       get("http://me:***@127.0.0.1:99999/", "dial tcp: address 99999: invalid port"),
       Code::kInvalidArgument},
  };
  for (const Case& c : cases) {
    CAPTURE(c.url);
    ClientRequest request;
    request.url = c.url;
    // Those that hang need not take long; those that fail may, on a busy machine.
    request.timeout = c.code == Code::kDeadlineExceeded ? milliseconds(1500) : seconds(20);
    const absl::Status status = client->Fetch(std::move(request)).status();
    CHECK(MessageOf(status) == c.message);
    CHECK(status.code() == c.code);
    CHECK(IsConnectionRefused(status) == (c.url == refused));
  }
}

TEST_CASE("client: texts for failures that a test cannot provoke") {
  TransferFailure failure;
  failure.host = "nope.example";
  failure.code = CURLE_COULDNT_RESOLVE_HOST;
  CHECK(MessageOf(StatusOfFailure(failure)) == "dial tcp: lookup nope.example: no such host");
  failure.code = CURLE_OPERATION_TIMEDOUT;
  failure.address = "10.0.0.1:80";
  CHECK(MessageOf(StatusOfFailure(failure)) == "dial tcp 10.0.0.1:80: i/o timeout");
  failure.code = CURLE_COULDNT_CONNECT;
  failure.os_errno = EHOSTUNREACH;
  CHECK(MessageOf(StatusOfFailure(failure)) == "dial tcp 10.0.0.1:80: connect: no route to host");
  CHECK_FALSE(IsConnectionRefused(StatusOfFailure(failure)));
}

TEST_CASE("client: the body limit counts decoded bytes, at the limit and one past it") {
  const std::string body(100'000, 'a');
  TestServer server([&](TestConnection& connection, const TestRequest& request) {
    if (request.Path() == "/gzip") {
      connection.Respond(200, Deflated(body), "Content-Encoding: gzip\r\n");
    } else {
      connection.Respond(200, body);
    }
  });
  auto client = OpenClient();
  for (const std::string path : {"/plain", "/gzip"}) {
    CAPTURE(path);
    ClientRequest request = Get(server.Url(path));
    request.body_bytes_max = body.size();
    const auto fits = client->Fetch(request);
    REQUIRE(fits.ok());
    CHECK(fits->body == body);
    request.body_bytes_max = body.size() - 1;
    const absl::Status status = client->Fetch(request).status();
    CHECK(status.code() == absl::StatusCode::kResourceExhausted);
    CHECK(MessageOf(status) == "body size limit exceeded");
  }
  ClientRequest raw = Get(server.Url("/gzip"));
  raw.accept_gzip = false;
  CHECK(client->Fetch(std::move(raw))->body == Deflated(body));
}

TEST_CASE("client: too many header bytes end the transfer") {
  TestServer server([&](TestConnection& connection, const TestRequest&) {
    connection.Write("HTTP/1.1 200 OK\r\n");
    const std::string line = "X: " + std::string(50'000, 'h') + "\r\n";
    for (size_t sent = 0; sent < 2 * kResponseHeaderBytesMax; sent += line.size()) {
      if (!connection.Write(line)) return;
    }
    connection.Write("\r\n");
  });
  auto client = OpenClient();
  CHECK(client->Fetch(Get(server.Url("/"))).status().code() ==
        absl::StatusCode::kResourceExhausted);
}

TEST_CASE("client: a stream hands over bytes as they come and can be ended from inside") {
  std::promise<void> first_seen;
  TestServer server([&](TestConnection& connection, const TestRequest& request) {
    connection.BeginStream();
    connection.Write("one ");
    if (request.Path() == "/wait") first_seen.get_future().wait();
    connection.Write("two");
    if (request.Path() == "/endless") connection.WaitForClose();
  });
  auto client = OpenClient();
  std::string received;
  ClientRequest request = Get(server.Url("/wait"));
  request.body_bytes_max = 1;  // Does not count what is handed over.
  request.on_data = [&](std::string_view bytes) {
    if (received.empty()) first_seen.set_value();
    received += bytes;
    return absl::OkStatus();
  };
  const auto response = client->Fetch(std::move(request));
  REQUIRE(response.ok());
  CHECK(response->body == "");
  CHECK(received == "one two");

  request = Get(server.Url("/endless"));
  request.on_data = [](std::string_view bytes) {
    return bytes.find("two") != std::string_view::npos ? absl::DataLossError("enough")
                                                       : absl::OkStatus();
  };
  CHECK(client->Fetch(std::move(request)).status() == absl::DataLossError("enough"));
}

TEST_CASE("client: a stream's failure answers are collected instead") {
  TestServer server([&](TestConnection& connection, const TestRequest&) {
    connection.Respond(410, "gone", "Retry-After: 7\r\n");
  });
  auto client = OpenClient();
  ClientRequest request = Get(server.Url("/"));
  int calls = 0;
  request.on_data = [&](std::string_view) {
    ++calls;
    return absl::OkStatus();
  };
  const auto response = client->Fetch(std::move(request));
  REQUIRE(response.ok());
  CHECK(response->status == 410);
  CHECK(response->body == "gone");
  CHECK(response->RetryAfter(0) == seconds(7));
  CHECK(calls == 0);
}

TEST_CASE("client: Retry-After as seconds and as a date") {
  ClientResponse response;
  CHECK_FALSE(response.RetryAfter(0).has_value());
  response.headers = {{"retry-after", "Thu, 01 Jan 1970 00:01:40 GMT"}};
  CHECK(response.RetryAfter(40'000) == seconds(60));
  CHECK(response.RetryAfter(400'000) == seconds(0));
  response.headers = {{"retry-after", "-5"}};
  CHECK(response.RetryAfter(0) == seconds(0));
  response.headers = {{"retry-after", "soon"}};
  CHECK_FALSE(response.RetryAfter(0).has_value());
}

TEST_CASE("client: timeouts follow the clock it was given") {
  std::atomic<bool> sent{false};
  TestServer server([&](TestConnection& connection, const TestRequest&) {
    connection.BeginStream();
    connection.Write("x");
    sent = true;
    connection.WaitForClose();
  });
  ManualClock clock(0);
  HttpClient::Options options;
  options.clock = &clock;
  options.wait_max = milliseconds(2);
  auto client = HttpClient::Open(std::move(options)).value();
  std::promise<absl::Status> ended;
  std::atomic<int> pieces{0};
  ClientRequest request;
  request.url = server.Url("/");
  request.idle_timeout = seconds(60);
  request.on_data = [&](std::string_view) {
    ++pieces;
    return absl::OkStatus();
  };
  client->Start(std::move(request),
                [&](absl::StatusOr<ClientResponse> r) { ended.set_value(r.status()); });
  auto result = ended.get_future();
  REQUIRE(Eventually([&] { return pieces.load() == 1; }));
  clock.Advance(59 * kSecond);
  CHECK(result.wait_for(milliseconds(50)) == std::future_status::timeout);
  clock.Advance(2 * kSecond);
  REQUIRE(result.wait_for(seconds(20)) == std::future_status::ready);
  const absl::Status status = result.get();
  CHECK(status.code() == absl::StatusCode::kDeadlineExceeded);
  CHECK(MessageOf(status) == "no data for 60 s");
}

TEST_CASE("client: redirects are followed, or not, and end at ten") {
  TestServer server([&](TestConnection& connection, const TestRequest& request) {
    const std::string path = request.Path();
    if (path == "/there") return connection.Respond(200, request.method + request.body);
    if (path == "/loop") return connection.Respond(302, "x", "Location: /loop\r\n");
    if (path == "/bad") return connection.Respond(302, "x", "Location: http://a b/\r\n");
    connection.Respond(std::stoi(path.substr(1)), "moved", "Location: there?q=1#frag\r\n");
  });
  auto client = OpenClient();
  struct Case {
    std::string path;
    std::string method;
    std::string answer;
  };
  for (const Case& c :
       {Case{"/301", "GET", "GET"}, Case{"/302", "POST", "GET"}, Case{"/303", "PUT", "GET"},
        Case{"/307", "POST", "POSTbody"}, Case{"/308", "PUT", "PUTbody"}}) {
    CAPTURE(c.path);
    ClientRequest request = Get(server.Url(c.path));
    request.method = c.method;
    if (c.method[0] == 'P') request.body = "body";
    const auto response = client->Fetch(std::move(request));
    REQUIRE(response.ok());
    CHECK(response->status == 200);
    CHECK(response->body == c.answer);
    CHECK(response->url.find("/there?q=1") != std::string::npos);
  }
  ClientRequest stay = Get(server.Url("/302"));
  stay.config = std::make_shared<HttpClientConfig>(HttpClientConfig{.follow_redirects = false});
  const auto stayed = client->Fetch(std::move(stay));
  REQUIRE(stayed.ok());
  CHECK(stayed->status == 302);
  CHECK(stayed->body == "moved");

  const int before = server.requests();
  CHECK(MessageOf(client->Fetch(Get(server.Url("/loop"))).status()) ==
        fmt::format("Get \"{}\": stopped after 10 redirects", server.Url("/loop")));
  CHECK(server.requests() - before == 11);
  CHECK_FALSE(client->Fetch(Get(server.Url("/bad"))).ok());
}

TEST_CASE("client: credentials stay with their host") {
  TestRequest elsewhere;
  TestServer other([&](TestConnection& connection, const TestRequest& request) {
    elsewhere = request;
    connection.Respond(200, "other");
  });
  TestRequest at_home;
  TestServer home([&](TestConnection& connection, const TestRequest& request) {
    if (request.Path() == "/away") {
      return connection.Respond(302, "", "Location: " + other.Url("/x") + "\r\n");
    }
    if (request.Path() == "/near") return connection.Respond(302, "", "Location: /here\r\n");
    at_home = request;
    connection.Respond(200, "home");
  });
  auto client = OpenClient();
  HttpClientConfig config;
  config.authorization = AuthorizationConfig{.credentials = Secret("token")};
  config.http_headers = {{.name = "X-Key", .secrets = {Secret("key")}}};
  const auto shared = std::make_shared<const HttpClientConfig>(config);
  ClientRequest request = Get(home.Url("/near"));
  request.config = shared;
  request.headers = {{"Cookie", "c"}, {"X-Plain", "p"}};
  CHECK(client->Fetch(request)->body == "home");
  CHECK(at_home.Header("authorization") == "Bearer token");
  CHECK(at_home.Header("x-key") == "key");

  request.url = home.Url("/away");
  CHECK(client->Fetch(request)->body == "other");
  CHECK(elsewhere.headers.count("authorization") == 0);
  CHECK(elsewhere.headers.count("x-key") == 0);
  CHECK(elsewhere.headers.count("cookie") == 0);
  CHECK(elsewhere.Header("x-plain") == "p");
}

TEST_CASE("client: credential files are read for every request; headers cannot be smuggled") {
  TestRequest seen;
  TestServer server([&](TestConnection& connection, const TestRequest& request) {
    seen = request;
    connection.Respond(200, "");
  });
  TempDir dir;
  auto client = OpenClient();
  HttpClientConfig config;
  config.authorization = AuthorizationConfig{.credentials_file = dir.Write("t", "one")};
  ClientRequest request = Get(server.Url("/"));
  request.config = std::make_shared<const HttpClientConfig>(config);
  REQUIRE(client->Fetch(request).ok());
  CHECK(seen.Header("authorization") == "Bearer one");
  dir.Write("t", "two\n");
  REQUIRE(client->Fetch(request).ok());
  CHECK(seen.Header("authorization") == "Bearer two");

  const int before = server.requests();
  dir.Write("t", "three\r\nX-Evil: 1");
  const absl::Status smuggled = client->Fetch(request).status();
  CHECK(smuggled.code() == absl::StatusCode::kInvalidArgument);
  CHECK(MessageOf(smuggled).find("three") == std::string::npos);
  request = Get(server.Url("/"));
  request.headers = {{"X Bad", "v"}};
  CHECK_FALSE(client->Fetch(request).ok());
  CHECK(server.requests() == before);
}

TEST_CASE("client: connections are reused") {
  TestServer server([](TestConnection& connection, const TestRequest& request) {
    connection.Respond(200, request.target);
  });
  auto client = OpenClient();
  for (int i = 0; i < 50; ++i) {
    CHECK(client->Fetch(Get(server.Url(fmt::format("/{}", i))))->body == fmt::format("/{}", i));
  }
  CHECK(server.connections() == 1);
}

// Goal: what a request is prepared with is sent each time, whatever the handle was used for before.
// Method: one transfer at a time, so that all share a handle.
TEST_CASE("client: prepared requests are sent again and again") {
  TestServer server([](TestConnection& connection, const TestRequest& request) {
    if (request.Path() == "/moved") return connection.Respond(302, "", "Location: /there\r\n");
    connection.Respond(
        200, fmt::format("{} {} {} {} {}", request.method, request.target, request.Header("x-name"),
                         request.Header("accept-encoding"), request.body));
  });
  auto client = OpenClient();
  const auto prepare = [&](const std::string& path, const std::string& name, bool gzip,
                           const std::string& body) {
    ClientRequest request = Get(server.Url(path));
    request.headers = {{"X-Name", name}};
    request.accept_gzip = gzip;
    request.body = body;
    if (!body.empty()) request.method = "POST";
    return client->Prepare(std::move(request)).value();
  };
  const auto fetch = [&](const std::shared_ptr<const PreparedRequest>& request) {
    std::promise<std::string> body;
    client->Start(request, 0, [&](const absl::StatusOr<ClientResponse>& response) {
      body.set_value(response.ok() ? response->body : response.status().ToString());
    });
    return body.get_future().get();
  };
  const auto a = prepare("/a", "A", true, "");
  const auto b = prepare("/b", "B", true, "");
  const auto plain = prepare("/plain", "P", false, "");
  const auto post = prepare("/post", "C", true, "text");
  const auto moved = prepare("/moved", "M", true, "");
  for (int round = 0; round < 2; ++round) {
    CHECK(fetch(a) == "GET /a A gzip ");
    CHECK(fetch(b) == "GET /b B gzip ");
    CHECK(fetch(plain) == "GET /plain P  ");
    CHECK(fetch(a) == "GET /a A gzip ");
    CHECK(fetch(post) == "POST /post C gzip text");
    CHECK(fetch(b) == "GET /b B gzip ");
    CHECK(fetch(moved) == "GET /there M gzip ");
    CHECK(fetch(a) == "GET /a A gzip ");
  }
  ClientRequest wrong = Get("gopher://x/");
  CHECK(client->Prepare(std::move(wrong)).status().message() ==
        R"(Get "gopher://x/": unsupported protocol scheme "gopher")");
}

// What an answer leaves on its connection decides whether the next request may use it.
TEST_CASE("client: which answers leave a connection for the next request") {
  struct Case {
    std::string answer;
    std::string body;
    bool kept;
  };
  const std::string ok = "HTTP/1.1 200 OK\r\n";
  for (const Case& c : {
           Case{ok + "Content-Length: 1\r\n\r\nx", "x", true},
           Case{ok + "Transfer-Encoding: chunked\r\n\r\n2\r\nxy\r\n0\r\n\r\n", "xy", true},
           Case{"HTTP/1.1 404 No\r\nContent-Length: 1\r\n\r\nx", "x", true},
           Case{ok + "Content-Length: 1\r\n\r\nxHTTP/1.1 200 OK\r\n\r\n", "x", false},
           Case{ok + "Content-Length: 1\r\nConnection: close\r\n\r\nx", "x", false},
           Case{"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", "x", false},
       }) {
    CAPTURE(c.answer);
    TestServer server(
        [&](TestConnection& connection, const TestRequest&) { connection.Write(c.answer); });
    auto client = OpenClient();
    for (int i = 0; i < 3; ++i) CHECK(client->Fetch(Get(server.Url("/")))->body == c.body);
    CHECK(server.connections() == (c.kept ? 1 : 3));
  }
}

TEST_CASE("client: what an idle connection brings ends it") {
  std::promise<void> answered;
  std::promise<void> closed;
  TestServer server([&](TestConnection& connection, const TestRequest& request) {
    connection.Respond(200, request.target);
    if (request.target != "/first") return;
    answered.get_future().wait();
    connection.Write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong");  // Not asked for.
    connection.WaitForClose();
    closed.set_value();
  });
  auto client = OpenClient();
  CHECK(client->Fetch(Get(server.Url("/first")))->body == "/first");
  answered.set_value();
  closed.get_future().wait();
  CHECK(client->Fetch(Get(server.Url("/second")))->body == "/second");
}

TEST_CASE("client: a kept connection that the server closed is not an error") {
  TestServer server([](TestConnection& connection, const TestRequest&) {
    connection.Respond(200, "x");
    connection.Close();  // Without having said so.
  });
  auto client = OpenClient();
  for (int i = 0; i < 20; ++i) CHECK(client->Fetch(Get(server.Url("/"))).ok());
}

TEST_CASE("client: hundreds of transfers at once") {
  constexpr int kTransfers = 300;
  std::atomic<int> waiting{0};
  std::promise<void> all_waiting;
  std::shared_future<void> go = all_waiting.get_future().share();
  TestServer server([&](TestConnection& connection, const TestRequest& request) {
    if (++waiting == kTransfers) all_waiting.set_value();
    go.wait();
    connection.Respond(200, request.target);
  });
  auto client = OpenClient();
  std::atomic<int> right{0};
  std::promise<void> done;
  std::atomic<int> left{kTransfers};
  for (int i = 0; i < kTransfers; ++i) {
    client->Start(Get(server.Url(fmt::format("/{}", i))),
                  [&, i](absl::StatusOr<ClientResponse> response) {
                    if (response.ok() && response->body == fmt::format("/{}", i)) ++right;
                    if (--left == 0) done.set_value();
                  });
  }
  done.get_future().wait();
  CHECK(right.load() == kTransfers);
}

TEST_CASE("client: a cancelled transfer ends once, and its connection with it") {
  std::atomic<int> arrived{0};
  std::atomic<int> closed{0};
  TestServer server([&](TestConnection& connection, const TestRequest&) {
    ++arrived;
    connection.WaitForClose();
    ++closed;
  });
  auto client = OpenClient();
  std::atomic<int> calls{0};
  std::promise<absl::Status> ended;
  const TransferId id = client->Start(Get(server.Url("/")), [&](absl::StatusOr<ClientResponse> r) {
    ++calls;
    ended.set_value(r.status());
  });
  REQUIRE(Eventually([&] { return arrived.load() == 1; }));
  client->Cancel(id);
  client->Cancel(id);
  client->Cancel(kNoTransfer);
  CHECK(ended.get_future().get().code() == absl::StatusCode::kCancelled);
  CHECK(Eventually([&] { return closed.load() == 1; }));
  CHECK(calls.load() == 1);
}

TEST_CASE("client: stopping ends every transfer, and later ones at once") {
  TestServer server(
      [](TestConnection& connection, const TestRequest&) { connection.WaitForClose(); });
  auto client = OpenClient();
  std::atomic<int> cancelled{0};
  for (int i = 0; i < 20; ++i) {
    client->Start(Get(server.Url("/")), [&](absl::StatusOr<ClientResponse> response) {
      if (response.status().code() == absl::StatusCode::kCancelled) ++cancelled;
    });
  }
  client->Stop();
  CHECK(cancelled.load() == 20);
  CHECK(client->Fetch(Get(server.Url("/"))).status().code() == absl::StatusCode::kCancelled);
  client->Stop();
}

TEST_CASE("client: a callback may start the next transfer") {
  TestServer server(
      [](TestConnection& connection, const TestRequest&) { connection.Respond(200, ""); });
  auto client = OpenClient();
  std::promise<void> done;
  int left = 20;
  std::function<void(absl::StatusOr<ClientResponse>)> next = [&](const auto& response) {
    CHECK(response.ok());
    if (--left == 0) return done.set_value();
    client->Start(Get(server.Url("/")), next);
  };
  client->Start(Get(server.Url("/")), next);
  done.get_future().wait();
  CHECK(server.connections() == 1);
}

TEST_CASE("client: unix sockets") {
  TempDir dir;
  TestServer::Options options;
  options.unix_socket = dir.path() + "/s";
  TestServer server(
      [](TestConnection& connection, const TestRequest& request) {
        connection.Respond(200, request.Header("host") + request.target);
      },
      options);
  auto client = OpenClient();
  ClientRequest request = Get("http://docker/info");
  request.unix_socket = options.unix_socket;
  CHECK(client->Fetch(request)->body == "docker/info");
  request.unix_socket = dir.path() + "/none";
  CHECK(MessageOf(client->Fetch(request).status()) ==
        fmt::format("Get \"http://docker/info\": dial unix {}/none: connect: no such file or "
                    "directory",
                    dir.path()));
}

TEST_CASE("client: proxies get the whole URL, exceptions and the environment do not count") {
  TestServer proxy([](TestConnection& connection, const TestRequest& request) {
    connection.Respond(200, "proxied " + request.target);
  });
  TestServer direct(
      [](TestConnection& connection, const TestRequest&) { connection.Respond(200, "direct"); });
  auto client = OpenClient();
  setenv("http_proxy", proxy.Url("").c_str(), 1);
  CHECK(client->Fetch(Get(direct.Url("/")))->body == "direct");
  unsetenv("http_proxy");
  HttpClientConfig config;
  config.proxy.proxy_url = proxy.Url("");
  ClientRequest request = Get("http://far.test/x");
  request.config = std::make_shared<const HttpClientConfig>(config);
  CHECK(client->Fetch(request)->body == "proxied http://far.test/x");
  config.proxy.no_proxy = "127.0.0.0/8";
  request = Get(direct.Url("/"));
  request.config = std::make_shared<const HttpClientConfig>(config);
  CHECK(client->Fetch(request)->body == "direct");
}

TEST_CASE("client: a tunnel is asked for with the proxy's headers, the server gets none of them") {
  TestRequest connect;
  TestServer proxy([&](TestConnection& connection, const TestRequest& request) {
    connect = request;
    connection.Respond(407, "who are you");
  });
  auto client = OpenClient();
  HttpClientConfig config;
  config.proxy.proxy_url = fmt::format("http://me:pw@127.0.0.1:{}", proxy.port());
  config.proxy.proxy_connect_headers = {{.name = "X-Tunnel", .secrets = {Secret("s")}}};
  config.authorization = AuthorizationConfig{.credentials = Secret("token")};
  ClientRequest request = Get("https://far.test/x");
  request.config = std::make_shared<const HttpClientConfig>(config);
  CHECK_FALSE(client->Fetch(request).ok());
  CHECK(connect.method == "CONNECT");
  CHECK(connect.target == "far.test:443");
  CHECK(connect.Header("x-tunnel") == "s");
  CHECK(connect.Header("proxy-authorization") == "Basic bWU6cHc=");
  CHECK(connect.headers.count("authorization") == 0);
  // Without a tunnel there is nobody to tell them to.
  request.url = "http://far.test/x";
  CHECK(client->Fetch(request)->status == 407);
  CHECK(connect.headers.count("x-tunnel") == 0);
  CHECK(connect.Header("authorization") == "Bearer token");
}

TEST_CASE("client: the environment's proxy counts when it is asked for") {
  TestServer proxy([](TestConnection& connection, const TestRequest& request) {
    connection.Respond(200, "proxied " + request.target);
  });
  auto client = OpenClient();
  HttpClientConfig config;
  config.proxy.proxy_from_environment = true;
  ClientRequest request = Get("http://far.test/x");
  request.config = std::make_shared<const HttpClientConfig>(config);
  setenv("HTTP_PROXY", proxy.Url("").c_str(), 1);
  CHECK(client->Fetch(request)->body == "proxied http://far.test/x");
  setenv("NO_PROXY", "far.test", 1);
  CHECK_FALSE(client->Fetch(request).ok());
  unsetenv("NO_PROXY");
  unsetenv("HTTP_PROXY");
}

}  // namespace
}  // namespace varve
