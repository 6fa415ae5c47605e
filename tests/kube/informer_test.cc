// SPDX-License-Identifier: Apache-2.0
//
// Shared informers against scripted answers.
#include "kube/informer.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <functional>
#include <set>

#include "kube/reflector.h"
#include "model/status_macros.h"
#include "tests/kube/objects_json.h"
#include "tests/kube/scripted_informer.h"
#include "tests/net/test_server.h"

namespace varve::testing {
namespace {

TEST_CASE_FIXTURE(InformerFixture, "informer: list, then every change, told in order") {
  server->OnList(Answer(ListJson("10", {PodJson("a", "n", "5")})));
  server->OnWatch(Stream(EventJson("ADDED", PodJson("b", "n", "11")) + "\n" + BookmarkJson("12") +
                         "\n" + EventJson("MODIFIED", PodJson("a", "n", "13")) +
                         EventJson("DELETED", PodJson("b", "n", "14")) +
                         EventJson("DELETED", PodJson("never", "n", "15"))));
  Recorder recorder;
  const auto subscription = informers->Subscribe(kAllPods, recorder.Callback());
  CHECK(Told(recorder, {"add n/a 5", "synced", "add n/b 11", "update n/a 13", "delete n/b 14"}));
  const TestRequest list = server->Lists().at(0);
  CHECK(list.target == "/api/v1/pods?limit=500&resourceVersion=0");
  const TestRequest watch = server->Watches().at(0);
  CHECK(watch.Path() == "/api/v1/pods");
  CHECK(watch.Query("resourceVersion") == "10");
  CHECK(watch.Query("allowWatchBookmarks") == "true");
  const int seconds = std::stoi(watch.Query("timeoutSeconds"));
  CHECK(seconds >= 300);
  CHECK(seconds <= 600);
  CHECK(informers->LastError(kAllPods).ok());
  CHECK(HasMetric("prometheus_sd_kubernetes_events_total{event=\"add\",role=\"pod\"} 2"));
  CHECK(HasMetric("prometheus_sd_kubernetes_events_total{event=\"update\",role=\"pod\"} 1"));
  CHECK(HasMetric("prometheus_sd_kubernetes_events_total{event=\"delete\",role=\"pod\"} 1"));
  CHECK(HasMetric("prometheus_sd_kubernetes_failures_total 0"));
}

TEST_CASE_FIXTURE(InformerFixture, "informer: one store for all subscribers of a key") {
  server->OnList(Answer(ListJson("10", {PodJson("a", "n", "5"), PodJson("b", "n", "6")})));
  Recorder first;
  const auto one = informers->Subscribe(kAllPods, first.Callback());
  REQUIRE(AdvanceUntil([&] { return first.Log().size() == 3; }));
  Recorder second;
  const auto two = informers->Subscribe(kAllPods, second.Callback());
  REQUIRE(AdvanceUntil([&] { return second.Log().size() == 3; }));
  CHECK(second.Log().back() == "synced");
  CHECK(server->lists() == 1);

  server->OnList(Answer(ListJson("20", {})));
  Recorder other;
  const auto three = informers->Subscribe({.resource = KubeResource::kPod,
                                           .namespace_ = "shop",
                                           .label_selector = "app in (a,b)",
                                           .field_selector = "spec.nodeName=n1"},
                                          other.Callback());
  CHECK(Told(other, {"synced"}));
  CHECK(server->Lists().at(1).target ==
        "/api/v1/namespaces/shop/pods?limit=500&resourceVersion=0"
        "&labelSelector=app%20in%20%28a%2Cb%29&fieldSelector=spec.nodeName%3Dn1");
}

TEST_CASE_FIXTURE(InformerFixture, "informer: pages") {
  server->OnList(Answer(ListJson("10", {PodJson("a", "n", "1")}, "token/2=")));
  server->OnList(Answer(ListJson("10", {PodJson("b", "n", "2")}, "token3")));
  server->OnList(Answer(ListJson("10", {PodJson("c", "n", "3")})));
  Recorder recorder;
  const auto subscription = informers->Subscribe(kAllPods, recorder.Callback());
  REQUIRE(AdvanceUntil([&] { return recorder.Log().size() == 4; }));
  CHECK(recorder.Log().back() == "synced");
  const auto lists = server->Lists();
  REQUIRE(lists.size() == 3);
  CHECK(lists[1].target == "/api/v1/pods?limit=500&continue=token%2F2%3D");
  CHECK(lists[2].target == "/api/v1/pods?limit=500&continue=token3");
}

TEST_CASE_FIXTURE(InformerFixture, "informer: pages that expire are replaced by one list") {
  server->OnList(Answer(ListJson("10", {PodJson("a", "n", "1")}, "t")));
  server->OnList(Answer(StatusJson(410, "Expired", "the continue parameter is too old"), 410));
  server->OnList(Answer(ListJson("12", {PodJson("b", "n", "2")})));
  Recorder recorder;
  const auto subscription = informers->Subscribe(kAllPods, recorder.Callback());
  CHECK(Told(recorder, {"add n/b 2", "synced"}));
  CHECK(server->Lists().at(2).target == "/api/v1/pods?resourceVersion=0");
  CHECK(HasMetric("prometheus_sd_kubernetes_failures_total 0"));
}

TEST_CASE_FIXTURE(InformerFixture, "informer: a watch that ends is resumed where it stopped") {
  server->OnList(Answer(ListJson("10", {})));
  server->OnWatch(StreamAndEnd(EventJson("ADDED", PodJson("a", "n", "11"))));
  server->OnWatch(StreamAndEnd(BookmarkJson("15")));
  server->OnWatch([](TestConnection& connection, const TestRequest&) {
    // A chunked answer that breaks off.
    connection.Write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    const std::string event = EventJson("ADDED", PodJson("b", "n", "16"));
    connection.Write(fmt::format("{:x}\r\n{}\r\nff\r\n{{\"type\":", event.size(), event));
    connection.Reset();
  });
  Recorder recorder;
  const auto subscription = informers->Subscribe(kAllPods, recorder.Callback());
  REQUIRE(AdvanceUntil([&] { return server->watches() == 4; }));
  const auto watches = server->Watches();
  CHECK(watches[1].Query("resourceVersion") == "11");
  CHECK(watches[2].Query("resourceVersion") == "15");
  CHECK(watches[3].Query("resourceVersion") == "16");
  CHECK(server->lists() == 1);
  CHECK(recorder.Log() == Log{"synced", "add n/a 11", "add n/b 16"});
}

// 410 comes as the answer's status or as an event of the stream.
void ExpireAndRelist(InformerFixture& fixture, Step expired) {
  ScriptedServer& server = *fixture.server;
  server.OnList(Answer(ListJson(
      "10", {PodJson("same", "n", "1"), PodJson("moved", "n", "2"), PodJson("gone", "n", "3")})));
  server.OnWatch(std::move(expired));
  server.OnList(Answer(StatusJson(410, "Expired", "too old resource version"), 410));
  server.OnList(Answer(ListJson(
      "30", {PodJson("same", "n", "1"), PodJson("moved", "n", "22"), PodJson("new", "n", "23")})));
  Recorder recorder;
  const auto subscription = fixture.informers->Subscribe(kAllPods, recorder.Callback());
  REQUIRE(fixture.AdvanceUntil([&] { return server.watches() == 2; }));
  Log log = recorder.Log();
  REQUIRE(log.size() == 7);
  CHECK(log[3] == "synced");
  CHECK(log[4] == "delete n/gone 3");
  std::sort(log.begin() + 5, log.end());
  CHECK(log[5] == "add n/new 23");
  CHECK(log[6] == "update n/moved 22");
  const auto lists = server.Lists();
  REQUIRE(lists.size() == 3);
  CHECK(lists[1].target == "/api/v1/pods?resourceVersion=10");
  CHECK(lists[2].target == "/api/v1/pods?limit=500");
  CHECK(server.Watches().at(1).Query("resourceVersion") == "30");
}

TEST_CASE_FIXTURE(InformerFixture, "informer: 410 as a status") {
  ExpireAndRelist(*this, Answer(StatusJson(410, "Gone", "too old"), 410));
}

TEST_CASE_FIXTURE(InformerFixture, "informer: 410 as an event") {
  ExpireAndRelist(*this, Stream(EventJson("ERROR", StatusJson(410, "Expired", "too old"))));
}

TEST_CASE_FIXTURE(InformerFixture, "informer: a version the server has not reached yet") {
  server->OnList(Answer(ListJson("10", {})));
  server->OnWatch(Stream(EventJson("ERROR", StatusJson(500, "InternalError", "etcd is away"))));
  server->OnList(Answer(R"({"kind":"Status","code":504,"reason":"Timeout","message":"Too large",
      "details":{"causes":[{"reason":"ResourceVersionTooLarge"}]}})",
                        504));
  server->OnList(Answer(ListJson("9", {PodJson("a", "n", "8")})));
  Recorder recorder;
  const auto subscription = informers->Subscribe(kAllPods, recorder.Callback());
  CHECK(Told(recorder, {"synced", "add n/a 8"}));
  CHECK(server->Lists().at(2).target == "/api/v1/pods?limit=500");
}

TEST_CASE_FIXTURE(InformerFixture, "informer: 429 waits as told and watches on without a list") {
  server->OnList(Answer(ListJson("10", {})));
  server->OnWatch(
      Answer(StatusJson(429, "TooManyRequests", "slow down"), 429, "Retry-After: 100\r\n"));
  Recorder recorder;
  const auto subscription = informers->Subscribe(kAllPods, recorder.Callback());
  REQUIRE(Eventually([&] { return !informers->LastError(kAllPods).ok(); }));
  clock.Advance(99 * kSecond);
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  CHECK(server->watches() == 1);
  clock.Advance(2 * kSecond);
  REQUIRE(Eventually([&] { return server->watches() == 2; }));
  CHECK(server->lists() == 1);
  CHECK(server->Watches().at(1).Query("resourceVersion") == "10");
  CHECK(HasMetric("prometheus_sd_kubernetes_failures_total 1"));
  CHECK(Eventually([&] { return informers->LastError(kAllPods).ok(); }));
}

TEST_CASE_FIXTURE(InformerFixture,
                  "informer: a server that is away is watched again when it is back") {
  server->OnList(Answer(ListJson("10", {})));
  server->OnWatch(StreamAndEnd(BookmarkJson("11")));
  Recorder recorder;
  const auto subscription = informers->Subscribe(kAllPods, recorder.Callback());
  REQUIRE(Eventually([&] { return server->closed_watches() == 1; }));
  const int port = server->port();
  server.reset();
  REQUIRE(AdvanceUntil([&] { return IsConnectionRefused(informers->LastError(kAllPods)); }));
  server = std::make_unique<ScriptedServer>(port);
  server->OnWatch(Stream(EventJson("ADDED", PodJson("a", "n", "12"))));
  CHECK(Told(recorder, {"synced", "add n/a 12"}));
  CHECK(server->lists() == 0);
  CHECK(server->Watches().at(0).Query("resourceVersion") == "11");
  const std::vector<std::string> health = recorder.Health();
  REQUIRE(health.size() >= 2);
  CHECK(health.front().find("connection refused") != std::string::npos);
  CHECK(health.back() == "working");
}

TEST_CASE_FIXTURE(InformerFixture,
                  "informer: a watch that ends at once without events is a failure") {
  server->OnList(Answer(ListJson("10", {})));
  server->OnWatch(StreamAndEnd(""));
  server->OnList(Answer(ListJson("11", {})));
  Recorder recorder;
  const auto subscription = informers->Subscribe(kAllPods, recorder.Callback());
  REQUIRE(AdvanceUntil([&] { return server->watches() == 2; }));
  CHECK(server->Lists().at(1).target == "/api/v1/pods?resourceVersion=10");
  CHECK(HasMetric("prometheus_sd_kubernetes_failures_total 1"));
  CHECK(recorder.Log() == Log{"synced"});
}

TEST_CASE_FIXTURE(InformerFixture, "informer: a watch that outlives its time is asked for again") {
  server->OnList(Answer(ListJson("10", {})));
  server->OnWatch(Stream(EventJson("ADDED", PodJson("a", "n", "11"))));
  Recorder recorder;
  const auto subscription = informers->Subscribe(kAllPods, recorder.Callback());
  REQUIRE(Eventually([&] { return recorder.Log().size() == 2; }));
  clock.Advance(631 * kSecond);
  REQUIRE(Eventually([&] { return server->watches() == 2; }));
  CHECK(server->lists() == 1);
  CHECK(server->Watches().at(1).Query("resourceVersion") == "11");
}

TEST_CASE_FIXTURE(InformerFixture, "informer: hostile streams are failures, and listed anew") {
  const std::string deep = fmt::format(R"({{"type":"ADDED","object":{}{}}})",
                                       std::string(100'000, '['), std::string(100'000, ']'));
  const std::vector<std::string> hostile = {"not json",
                                            deep,
                                            EventJson("ADDED", "7"),
                                            EventJson("ADDED", R"({"metadata":{}})"),
                                            EventJson("FLUSHED", PodJson("x", "n", "1")),
                                            "{\"type\":\"\xff\xfe\"}"};
  server->OnList(Answer(ListJson("10", {})));
  for (const std::string& bytes : hostile) {
    server->OnWatch(Stream(bytes));
    server->OnList(Answer(ListJson("10", {})));
  }
  server->OnWatch(Stream(EventJson("ADDED", PodJson("a", "n", "11"))));
  Recorder recorder;
  const auto subscription = informers->Subscribe(kAllPods, recorder.Callback());
  CHECK(Told(recorder, {"synced", "add n/a 11"}));
  CHECK(server->lists() == hostile.size() + 1);
  CHECK(HasMetric(fmt::format("prometheus_sd_kubernetes_failures_total {}", hostile.size())));
}

TEST_CASE_FIXTURE(InformerFixture,
                  "informer: refused, broken and malformed lists are tried again") {
  // On a connection of its own, as libcurl tries again by itself when one it had kept breaks.
  server->OnStream(Answer(StatusJson(422, "Invalid", "unknown"), 422, "Connection: close\r\n"));
  server->OnList([](TestConnection& connection, const TestRequest&) { connection.Reset(); });
  server->OnList(
      Answer(StatusJson(403, "Forbidden", "pods is forbidden: User x cannot list"), 403));
  Recorder recorder;
  const auto subscription = informers->Subscribe(kAllPods, recorder.Callback());
  REQUIRE(AdvanceUntil([&] { return absl::IsPermissionDenied(informers->LastError(kAllPods)); }));
  const absl::Status forbidden = informers->LastError(kAllPods);
  CHECK(MessageOf(forbidden) ==
        "the server answered 403 Forbidden: pods is forbidden: User x cannot list");
  server->OnList(Answer("{\"items\":["));
  server->OnList(Answer(ListJson("1", {R"({"metadata":{"name":"p","labels":[]}})"})));
  server->OnList(Answer(ListJson("10", {PodJson("a", "n", "1")})));
  CHECK(Told(recorder, {"add n/a 1", "synced"}));
  CHECK(HasMetric("prometheus_sd_kubernetes_failures_total 4"));
}

// Goal: wherever a stream breaks, nothing is lost and nothing is told twice.
// Method: a server that knows three events, sends those after the version asked for, and cuts its
// first answer at each offset.
TEST_CASE_FIXTURE(InformerFixture, "informer: a watch cut at every byte") {
  // Held by each step, as a step may end after the test.
  const auto events = std::make_shared<const std::vector<std::pair<int, std::string>>>(
      std::vector<std::pair<int, std::string>>{
          {11, EventJson("ADDED", PodJson("a", "n", "11")) + "\n"},
          {12, BookmarkJson("12") + "\n"},
          {13, EventJson("MODIFIED", PodJson("a", "n", "13")) + "\n"},
          {14, EventJson("DELETED", PodJson("a", "n", "14")) + "\n"},
      });
  const auto after = [events](const TestRequest& request) {
    const int version = std::stoi(request.Query("resourceVersion"));
    std::string bytes;
    for (const auto& [at, event] : *events) {
      if (at > version) bytes += event;
    }
    return bytes;
  };
  std::set<size_t> cuts;  // Every seventh offset, and all around the events' ends.
  size_t total = 0;
  for (const auto& [at, event] : *events) {
    total += event.size();
    for (size_t cut = total - 3; cut <= total; ++cut) cuts.insert(cut);
  }
  for (size_t cut = 0; cut < total; cut += 7) cuts.insert(cut);
  size_t watches = 0;
  for (const size_t cut : cuts) {
    CAPTURE(cut);
    watches += 2;
    server->OnList(Answer(ListJson("10", {})));
    server->OnWatch([after, cut](TestConnection& connection, const TestRequest& request) {
      connection.BeginStream();
      connection.Write(after(request).substr(0, cut));
    });
    // Not a byte of an event: the watch is a failure, and the list is asked for again.
    if (cut < events->front().second.size() - 1) server->OnList(Answer(ListJson("10", {})));
    server->OnWatch([after](TestConnection& connection, const TestRequest& request) {
      connection.BeginStream();
      connection.Write(after(request));
      connection.WaitForClose();
    });
    Recorder recorder;
    const InformerKey key{.resource = KubeResource::kPod, .namespace_ = fmt::format("n{}", cut)};
    const auto subscription = informers->Subscribe(key, recorder.Callback());
    REQUIRE(Told(recorder, {"synced", "add n/a 11", "update n/a 13", "delete n/a 14"}));
    REQUIRE(AdvanceUntil([&] { return server->watches() >= watches; }));
    CHECK(server->watches() == watches);
  }
}

TEST_CASE("informer: a token swap is survived") {
  TempDir dir;
  Mutex mutex;
  std::string valid = "one";
  std::atomic<int> refused{0};
  std::atomic<int> accepted{0};
  TestServer server([&](TestConnection& connection, const TestRequest& request) {
    {
      MutexLock lock(mutex);
      if (request.Header("authorization") != "Bearer " + valid) {
        ++refused;
        return connection.Respond(401, StatusJson(401, "Unauthorized", "Unauthorized"));
      }
    }
    ++accepted;
    connection.BeginStream();
    connection.Write(request.Query("sendInitialEvents").empty() ? BookmarkJson("11")
                                                                : ListEndJson("10"));
  });
  ManualClock clock(0);
  HttpClient::Options options;
  options.clock = &clock;
  options.wait_max = std::chrono::milliseconds(2);
  auto http = HttpClient::Open(std::move(options)).value();
  KubeEndpoint endpoint;
  endpoint.server = server.Url("");
  endpoint.token_file = dir.Write("token", "one");
  KubeClient client(*http, endpoint, clock);
  auto informers = InformerSet::Create(client, {});
  Recorder recorder;
  const auto subscription = informers->Subscribe(kAllPods, recorder.Callback());
  REQUIRE(Eventually([&] {
    clock.Advance(100);
    return accepted.load() >= 2;
  }));
  dir.Write("token", "two");
  {
    MutexLock lock(mutex);
    valid = "two";
  }
  const int before = accepted.load();
  CHECK(Eventually([&] {
    clock.Advance(100);
    return accepted.load() > before;
  }));
  CHECK(refused.load() == 1);
  CHECK(recorder.Log() == Log{"synced"});
  informers->Stop();
}

TEST_CASE_FIXTURE(InformerFixture, "informer: the last subscriber to leave ends the watch") {
  server->OnList(Answer(ListJson("10", {PodJson("a", "n", "1")})));
  Recorder first;
  Recorder second;
  auto one = informers->Subscribe(kAllPods, first.Callback());
  auto two = informers->Subscribe(kAllPods, second.Callback());
  REQUIRE(Told(first, {"add n/a 1", "synced"}));
  REQUIRE(Eventually([&] { return server->watches() == 1; }));
  one = InformerSubscription();
  CHECK(server->closed_watches() == 0);
  two = InformerSubscription();
  CHECK(Eventually([&] { return server->closed_watches() == 1; }));
  // Coming back starts anew.
  server->OnList(Answer(ListJson("12", {})));
  Recorder third;
  const auto again = informers->Subscribe(kAllPods, third.Callback());
  CHECK(Told(third, {"synced"}));
}

TEST_CASE_FIXTURE(InformerFixture,
                  "informer: a callback may unsubscribe itself and subscribe others") {
  server->OnList(Answer(ListJson("10", {PodJson("a", "n", "1"), PodJson("b", "n", "2")})));
  server->OnList(Answer(ListJson("20", {PodJson("c", "n", "3")})));
  Recorder recorder;
  InformerSubscription self;
  InformerSubscription other;
  std::atomic<int> calls{0};
  Mutex mutex;
  {
    MutexLock lock(mutex);
    self = informers->Subscribe(kAllPods, [&](const InformerEvent&) {
      MutexLock inner(mutex);
      ++calls;
      self = InformerSubscription();
      other = informers->Subscribe(kAllPods, recorder.Callback());
    });
  }
  REQUIRE(AdvanceUntil([&] { return recorder.Log().size() >= 2; }));
  CHECK(recorder.Log().back() == "synced");
  CHECK(calls.load() == 1);
}

TEST_CASE_FIXTURE(InformerFixture, "informer: nothing is told after Stop") {
  server->OnList(Answer(ListJson("10", {PodJson("a", "n", "1")})));
  Recorder recorder;
  const auto subscription = informers->Subscribe(kAllPods, recorder.Callback());
  REQUIRE(Told(recorder, {"add n/a 1", "synced"}));
  informers->Stop();
  informers->Stop();
  const auto late = informers->Subscribe(kAllPods, recorder.Callback());
  clock.Advance(kHour);
  http->Stop();
  CHECK(recorder.Log().size() == 2);
}

}  // namespace
}  // namespace varve::testing
