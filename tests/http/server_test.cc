// SPDX-License-Identifier: Apache-2.0
//
// Goal: the server keeps answering whatever clients do, and bounds what they send.
// Method: real sockets on a port the system chose.
#include "http/server.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "model/mutex.h"
#include "model/status_macros.h"
#include "tests/http/test_client.h"

namespace varve {
namespace {

// A handler that waits until told to go on, and says that it is waiting.
class Gate {
 public:
  void Pass() {
    MutexLock lock(mutex_);
    ++waiting_;
    changed_.NotifyAll();
    while (!open_) changed_.Wait(mutex_);
  }
  void WaitForWaiting(int count) {
    MutexLock lock(mutex_);
    while (waiting_ < count) changed_.Wait(mutex_);
  }
  void Open() {
    MutexLock lock(mutex_);
    open_ = true;
    changed_.NotifyAll();
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  int waiting_ ABSL_GUARDED_BY(mutex_) = 0;
  bool open_ ABSL_GUARDED_BY(mutex_) = false;
};

// A server with a few routes; more may be added before Start().
class ServerFixture {
 public:
  ServerFixture() {
    options.addresses = {"127.0.0.1:0"};
    router.Add("GET", "/hello", [](const HttpRequest&, HttpResponse& response) {
      response.SetText(200, "hello\n");
    });
    router.AddAll({"GET", "POST"}, "/echo/:word",
                  [](const HttpRequest& request, HttpResponse& response) {
                    std::string text = request.path_values[0] + "\n";
                    for (const auto& [name, value] : request.params.pairs()) {
                      text += fmt::format("{}={} bytes\n", name, value.size());
                    }
                    text += fmt::format("body {} bytes\n", request.body.size());
                    response.SetText(200, text);
                  });
    router.Add("POST", "/small",
               [](const HttpRequest& request, HttpResponse& response) {
                 response.SetText(200, fmt::format("{}", request.body.size()));
               },
               {.body_bytes_max = 100});
    router.Add("GET", "/gated",
               [](const HttpRequest&, HttpResponse& response) { response.SetText(200, "open"); },
               {.gated = true});
    router.Add("GET", "/large", [](const HttpRequest&, HttpResponse& response) {
      response.SetText(200, std::string(100'000, 'x'));
    });
    router.Add("GET", "/stream", [](const HttpRequest&, HttpResponse& response) {
      response.content_type = "application/json";
      response.stream = [](const BodySink& sink) {
        for (int i = 0; i < 1000; ++i) sink(std::string(1000, 'y'));
      };
    });
    router.Add("GET", "/known", [](const HttpRequest&, HttpResponse& response) {
      response.content_type = "application/json";
      response.stream = [](const BodySink& sink) {
        for (int i = 0; i < 300; ++i) sink(std::string(i < 298 ? 1000 : 100'000, 'k'));
      };
      response.stream_bytes = 298 * 1000 + 200'000;
    });
    router.Add("GET", "/throws", [](const HttpRequest&, HttpResponse&) -> void {
      throw std::runtime_error("a handler's bug");
    });
    router.Add("GET", "/api/v1/x",
               [](const HttpRequest&, HttpResponse& response) { response.SetText(200, "x"); });
  }

  // GET /wait is answered once the gate is open.
  void AddWait(Gate& gate) {
    router.Add("GET", "/wait", [&gate](const HttpRequest&, HttpResponse& response) {
      gate.Pass();
      response.SetText(200, "done");
    });
  }

  const std::string& Start() {
    auto opened = HttpServer::Open(options, router);
    REQUIRE_MESSAGE(opened.ok(), opened.status().ToString());
    server = std::move(*opened);
    return server->addresses()[0];
  }

  HttpServerOptions options;
  Router router;
  std::unique_ptr<HttpServer> server;
};

TEST_CASE("server: routes, methods and path values") {
  ServerFixture fixture;
  const std::string address = fixture.Start();
  CHECK(TestGet(address, "/hello").body == "hello\n");
  CHECK(TestGet(address, "/hello?x=1").status == 200);
  CHECK(TestGet(address, "/nothing").status == 404);
  CHECK(TestGet(address, "/hello/").status == 404);
  CHECK(TestRequest(address, "DELETE", "/hello").status == 405);
  CHECK(TestRequest(address, "HEAD", "/hello").status == 200);
  CHECK(TestRequest(address, "HEAD", "/hello").headers["content-length"] == "6");
  CHECK(TestGet(address, "/echo/a%2Fb%20c?k=v").body == "a/b c\nk=1 bytes\nbody 0 bytes\n");
  CHECK(TestGet(address, "/echo/a%zz").status == 404);
  CHECK(TestGet(address, "/hello?x=%zz").status == 400);
  CHECK(TestGet(address, "/throws").status == 500);
  CHECK(TestGet(address, "/hello").status == 200);
}

TEST_CASE("server: form bodies of any size up to the limit, URL parameters after them") {
  ServerFixture fixture;
  const std::string address = fixture.Start();
  const std::string large(100'000, 'q');
  const TestResponse posted = TestPostForm(address, "/echo/f?a=12", "query=" + large + "&b=%41+c");
  CHECK(posted.body == "f\nquery=100000 bytes\nb=3 bytes\na=2 bytes\nbody 0 bytes\n");
  CHECK(TestPostForm(address, "/echo/f", "a=%4").status == 400);
  const std::string too_large = "a=" + std::string(kFormBytesMax, 'q');
  CHECK(TestPostForm(address, "/echo/f", too_large).status == 413);
}

TEST_CASE("server: bodies at the limit pass, one byte more answers 413, also in chunks") {
  ServerFixture fixture;
  const std::string address = fixture.Start();
  CHECK(TestRequest(address, "POST", "/small", "", std::string(100, 'b')).body == "100");
  CHECK(TestRequest(address, "POST", "/small", "", std::string(101, 'b')).status == 413);
  CHECK(TestRequest(address, "POST", "/small").body == "0");

  TestConnection chunked(address);
  chunked.Send("POST /small HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n");
  chunked.Send("3\r\nabc\r\n5\r\ndefgh\r\n0\r\n\r\n");
  CHECK(chunked.Receive().body == "8");
  // The same connection goes on with the next request.
  chunked.Send("POST /small HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n");
  chunked.Send("65\r\n" + std::string(101, 'c') + "\r\n0\r\n\r\n");
  CHECK(chunked.Receive().status == 413);
  CHECK(chunked.WaitClosed());
}

TEST_CASE("server: a body nobody read is never taken for the next request") {
  ServerFixture fixture;
  const std::string address = fixture.Start();
  TestConnection connection(address);
  const std::string smuggled = "GET /hello HTTP/1.1\r\nHost: t\r\n\r\n";
  connection.Send(fmt::format("GET /nothing HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n{}",
                              smuggled.size(), smuggled));
  CHECK(connection.Receive().status == 404);
  CHECK(connection.Receive().status == 0);
}

TEST_CASE("server: a request whose end cannot be told is refused and its connection closed") {
  ServerFixture fixture;
  const std::string address = fixture.Start();
  for (const char* headers :
       {"Content-Length: x\r\n", "Content-Length: -1\r\n",
        "Content-Length: 1\r\nContent-Length: 2\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: gzip\r\n",
        "Content-Length: 9999999999999999999\r\n"}) {
    CAPTURE(headers);
    TestConnection connection(address);
    connection.Send(fmt::format("POST /small HTTP/1.1\r\nHost: t\r\n{}\r\n", headers));
    CHECK(connection.Receive().status == 400);
    CHECK(connection.WaitClosed());
  }
}

TEST_CASE("server: requests sent together are answered in order") {
  ServerFixture fixture;
  const std::string address = fixture.Start();
  TestConnection connection(address);
  connection.Send(
      "GET /echo/1 HTTP/1.1\r\nHost: t\r\n\r\nGET /echo/2 HTTP/1.1\r\nHost: t\r\n\r\n"
      "GET /echo/3 HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
  CHECK(connection.Receive().body.starts_with("1\n"));
  CHECK(connection.Receive().body.starts_with("2\n"));
  CHECK(connection.Receive().body.starts_with("3\n"));
  CHECK(connection.WaitClosed());
}

TEST_CASE("server: URLs and headers are bounded") {
  ServerFixture fixture;
  const std::string address = fixture.Start();
  CHECK(TestGet(address, "/hello?" + std::string(8000, 'a')).status == 200);
  CHECK(TestGet(address, "/hello?" + std::string(9000, 'a')).status == 414);
  std::string headers;
  for (int i = 0; i < 100; ++i) headers += fmt::format("X-{}: {}\r\n", i, std::string(100, 'h'));
  CHECK(TestGet(address, "/hello", headers).status == 200);
  for (int i = 0; i < 1000; ++i) headers += fmt::format("Y-{}: {}\r\n", i, std::string(100, 'h'));
  CHECK(TestGet(address, "/hello", headers).status != 200);
  CHECK(TestGet(address, "/hello").status == 200);
}

TEST_CASE("server: health answers while idle connections and slow senders stay open") {
  ServerFixture fixture;
  fixture.options.threads_max = 8;
  const std::string address = fixture.Start();
  std::vector<std::unique_ptr<TestConnection>> idle;
  for (int i = 0; i < 64; ++i) {
    idle.push_back(std::make_unique<TestConnection>(address));
    idle.back()->Send("GET /hello HTTP/1.1\r\nHost: t\r\n\r\n");
    REQUIRE(idle.back()->Receive().status == 200);
  }
  // These keep a thread each, since their requests have begun.
  std::vector<std::unique_ptr<TestConnection>> slow;
  for (int i = 0; i < 7; ++i) {
    slow.push_back(std::make_unique<TestConnection>(address));
    slow.back()->Send("GET /hello HT");
  }
  CHECK(TestGet(address, "/hello").status == 200);
  for (auto& connection : slow) {
    connection->Send("TP/1.1\r\nHost: t\r\n\r\n");
    REQUIRE(connection->Receive().status == 200);
  }
  // Every one of them still works.
  for (auto& connection : idle) {
    connection->Send("GET /hello HTTP/1.1\r\nHost: t\r\n\r\n");
    REQUIRE(connection->Receive().status == 200);
  }
}

TEST_CASE("server: past the connection limit the one idle longest makes room") {
  ServerFixture fixture;
  fixture.options.connections_max = 4;
  const std::string address = fixture.Start();
  std::vector<std::unique_ptr<TestConnection>> idle;
  for (int i = 0; i < 4; ++i) idle.push_back(std::make_unique<TestConnection>(address));
  // The last one's answer says that all have been accepted; the first one's, that it is idle for
  // less long than the others, or not yet.
  for (const size_t i : {3, 0}) {
    idle[i]->Send("GET /hello HTTP/1.1\r\nHost: t\r\n\r\n");
    REQUIRE(idle[i]->Receive().status == 200);
  }
  CHECK(TestGet(address, "/hello").status == 200);
  CHECK(idle[1]->WaitClosed());
}

TEST_CASE("server: as many requests at a time as there are threads, the next waits") {
  Gate gate;
  ServerFixture fixture;
  fixture.options.threads_max = 2;
  fixture.AddWait(gate);
  const std::string address = fixture.Start();
  std::atomic<int> answered{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < 3; ++i) {
    clients.emplace_back([&] { answered += TestGet(address, "/wait").status == 200; });
  }
  gate.WaitForWaiting(2);
  CHECK(answered == 0);
  gate.Open();
  for (std::thread& client : clients) client.join();
  CHECK(answered == 3);
}

TEST_CASE("server: past the connection limit, when all are busy, the next waits for one to close") {
  Gate gate;
  ServerFixture fixture;
  fixture.options.connections_max = 2;
  fixture.AddWait(gate);
  const std::string address = fixture.Start();
  std::atomic<int> answered{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < 2; ++i) {
    clients.emplace_back(
        [&] { answered += TestGet(address, "/wait", "Connection: close\r\n").status == 200; });
  }
  gate.WaitForWaiting(2);
  // Connected for the system; it is accepted when there is room.
  TestConnection third(address);
  third.Send("GET /hello HTTP/1.1\r\nHost: t\r\n\r\n");
  gate.Open();
  for (std::thread& client : clients) client.join();
  CHECK(answered == 2);
  CHECK(third.Receive().status == 200);
}

TEST_CASE("server: a handler learns that its client has gone") {
  ServerFixture fixture;
  Gate started;
  std::atomic<bool> noticed{false};
  fixture.router.Add("GET", "/long", [&](const HttpRequest& request, HttpResponse&) {
    started.Pass();
    while (!request.cancelled->load()) std::this_thread::yield();
    noticed = true;
  });
  const std::string address = fixture.Start();
  TestConnection connection(address);
  connection.Send("GET /long HTTP/1.1\r\nHost: t\r\n\r\n");
  started.WaitForWaiting(1);
  started.Open();
  connection.Close();
  fixture.server->Stop();
  CHECK(noticed);
}

TEST_CASE("server: gzip when asked, never when refused") {
  ServerFixture fixture;
  const std::string address = fixture.Start();
  TestResponse packed = TestGet(address, "/large", "Accept-Encoding: br, gzip\r\n");
  CHECK(packed.headers["content-encoding"] == "gzip");
  CHECK(packed.body.size() < 10'000);
  CHECK(Gunzip(packed.body) == std::string(100'000, 'x'));
  CHECK(TestGet(address, "/large", "Accept-Encoding: gzip;q=0\r\n").body.size() == 100'000);
  CHECK(TestGet(address, "/large").body.size() == 100'000);
  // Not worth it.
  CHECK(TestGet(address, "/hello", "Accept-Encoding: gzip\r\n").body == "hello\n");
}

TEST_CASE("server: streamed bodies arrive whole, in chunks, in gzip and over HTTP/1.0") {
  ServerFixture fixture;
  const std::string address = fixture.Start();
  const std::string expected(1'000'000, 'y');
  TestResponse plain = TestGet(address, "/stream");
  CHECK(plain.headers["transfer-encoding"] == "chunked");
  CHECK(plain.headers["content-type"] == "application/json");
  CHECK(plain.body == expected);
  TestResponse packed = TestGet(address, "/stream", "Accept-Encoding: gzip\r\n");
  CHECK(Gunzip(packed.body) == expected);
  TestConnection old(address);
  old.Send("GET /stream HTTP/1.0\r\n\r\n");
  CHECK(old.Receive().body == expected);
  CHECK(old.WaitClosed());
  CHECK(TestRequest(address, "HEAD", "/stream").headers["content-length"] == "1000000");
}

TEST_CASE("server: a stream of known length tells it, but for gzip, and keeps the connection") {
  ServerFixture fixture;
  const std::string address = fixture.Start();
  const std::string expected(498'000, 'k');
  TestConnection connection(address);
  for (int i = 0; i < 2; ++i) {
    connection.Send("GET /known HTTP/1.1\r\nHost: t\r\n\r\n");
    TestResponse plain = connection.Receive();
    CHECK(plain.headers["content-length"] == "498000");
    CHECK(plain.body == expected);
  }
  TestResponse packed = TestGet(address, "/known", "Accept-Encoding: gzip\r\n");
  CHECK(packed.headers["transfer-encoding"] == "chunked");
  CHECK(Gunzip(packed.body) == expected);
  CHECK(TestRequest(address, "HEAD", "/known").headers["content-length"] == "498000");
}

TEST_CASE("server: a client that asks for the end is not waited for, one that sends on is read") {
  ServerFixture fixture;
  const std::string address = fixture.Start();
  TestConnection done(address);
  done.Send("GET /hello HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
  CHECK(done.Receive().body == "hello\n");
  CHECK(done.WaitClosed());
  CHECK(done.Send("more"));        // Answered by a reset:
  CHECK_FALSE(done.Send("more"));  // the socket is closed, not only its sending half.

  TestConnection more(address);
  more.Send("GET /stream HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n" +
            std::string(100'000, 'm'));
  CHECK(more.Receive().body == std::string(1'000'000, 'y'));
  CHECK(more.WaitClosed());
}

TEST_CASE("server: gated routes wait for readiness") {
  ServerFixture fixture;
  const std::string address = fixture.Start();
  TestResponse early = TestGet(address, "/gated");
  CHECK(early.status == 503);
  CHECK(early.body == "Service Unavailable");
  CHECK(early.headers["x-prometheus-stopping"] == "false");
  CHECK(TestGet(address, "/hello").status == 200);
  fixture.server->SetReady();
  CHECK(TestGet(address, "/gated").body == "open");
}

TEST_CASE("server: CORS headers for API paths and origins that match") {
  ServerFixture any;
  std::string address = any.Start();
  TestResponse open = TestGet(address, "/api/v1/x", "Origin: http://a.example\r\n");
  CHECK(open.headers["access-control-allow-origin"] == "*");
  CHECK(open.headers["access-control-allow-methods"] == "GET, POST, OPTIONS");
  CHECK(open.headers["access-control-expose-headers"] == "Date");
  CHECK(TestGet(address, "/api/v1/x").headers.count("access-control-allow-origin") == 0);
  CHECK(TestGet(address, "/hello", "Origin: http://a.example\r\n")
            .headers.count("access-control-allow-origin") == 0);
  CHECK(TestRequest(address, "OPTIONS", "/api/v1/anything").status == 204);

  ServerFixture some;
  some.options.cors_origin_pattern = "https?://a\\.example";
  address = some.Start();
  TestResponse echoed = TestGet(address, "/api/v1/x", "Origin: http://a.example\r\n");
  CHECK(echoed.headers["access-control-allow-origin"] == "http://a.example");
  CHECK(echoed.headers["vary"].find("Origin") != std::string::npos);
  CHECK(TestGet(address, "/api/v1/x", "Origin: http://a.example.net\r\n")
            .headers.count("access-control-allow-origin") == 0);

  ServerFixture bad;
  bad.options.cors_origin_pattern = "(";
  CHECK(HttpServer::Open(bad.options, bad.router).status().code() ==
        absl::StatusCode::kInvalidArgument);
}

TEST_CASE("server: route prefix") {
  ServerFixture fixture;
  fixture.options.route_prefix = "/varve";
  const std::string address = fixture.Start();
  CHECK(TestGet(address, "/varve/hello").status == 200);
  CHECK(TestGet(address, "/hello").status == 404);
  CHECK(TestGet(address, "/varvehello").status == 404);
  TestResponse root = TestGet(address, "/");
  CHECK(root.status == 302);
  CHECK(root.headers["location"] == "/varve");
}

TEST_CASE("server: a port in use and a bad address are told at once") {
  ServerFixture fixture;
  const std::string address = fixture.Start();
  ServerFixture second;
  second.options.addresses = {address};
  const absl::Status taken = HttpServer::Open(second.options, second.router).status();
  CHECK(MessageOf(taken) == fmt::format("listen tcp {}: bind: address already in use", address));
  second.options.addresses = {"127.0.0.1"};
  CHECK_FALSE(HttpServer::Open(second.options, second.router).ok());
  second.options.addresses = {"127.0.0.1:0", "127.0.0.1:0"};
  auto both = HttpServer::Open(second.options, second.router);
  REQUIRE(both.ok());
  CHECK(TestGet((*both)->addresses()[0], "/hello").status == 200);
  CHECK(TestGet((*both)->addresses()[1], "/hello").status == 200);
}

TEST_CASE("server: Stop lets running requests end and closes idle connections") {
  Gate gate;
  ServerFixture fixture;
  fixture.AddWait(gate);
  const std::string address = fixture.Start();
  TestConnection idle(address);
  idle.Send("GET /hello HTTP/1.1\r\nHost: t\r\n\r\n");
  REQUIRE(idle.Receive().status == 200);
  TestConnection busy(address);
  busy.Send("GET /wait HTTP/1.1\r\nHost: t\r\n\r\n");
  gate.WaitForWaiting(1);
  std::thread stopper([&] { fixture.server->Stop(); });
  CHECK(idle.WaitClosed());
  gate.Open();
  CHECK(busy.Receive().body == "done");
  stopper.join();
  CHECK(TestGet(address, "/hello").status == 0);
  fixture.server->Stop();
}

TEST_CASE("server: whoever waits serves, and another one goes on waiting") {
  Gate gate;
  ServerFixture fixture;
  fixture.options.threads_max = 3;
  fixture.AddWait(gate);
  const std::string address = fixture.Start();
  // All three threads exist and are idle before two of them are kept.
  std::vector<std::thread> clients;
  for (int round = 0; round < 20; ++round) CHECK(TestGet(address, "/hello").status == 200);
  std::atomic<int> answered{0};
  for (int i = 0; i < 2; ++i) {
    clients.emplace_back([&] { answered += TestGet(address, "/wait").body == "done"; });
  }
  gate.WaitForWaiting(2);
  for (int round = 0; round < 20; ++round) CHECK(TestGet(address, "/hello").status == 200);
  gate.Open();
  for (std::thread& client : clients) client.join();
  CHECK(answered == 2);
}

TEST_CASE("server: many clients at a time") {
  ServerFixture fixture;
  const std::string address = fixture.Start();
  std::atomic<int> good{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < 16; ++i) {
    clients.emplace_back([&] {
      TestConnection connection(address);
      for (int k = 0; k < 50; ++k) {
        connection.Send("GET /hello HTTP/1.1\r\nHost: t\r\n\r\n");
        good += connection.Receive().body == "hello\n";
      }
    });
  }
  for (std::thread& client : clients) client.join();
  CHECK(good == 800);
}

}  // namespace
}  // namespace varve
