// SPDX-License-Identifier: Apache-2.0
//
// Streaming lists, and how failures are retried, against scripted answers.
#include "kube/reflector.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <memory>
#include <random>
#include <vector>

#include "tests/kube/objects_json.h"
#include "tests/kube/scripted_informer.h"
#include "tests/net/test_server.h"

namespace varve::testing {
namespace {

std::string Added(std::string_view name, std::string_view version) {
  return EventJson("ADDED", PodJson(name, "n", version)) + "\n";
}

TEST_CASE_FIXTURE(InformerFixture, "informer: a list that comes as a stream goes on as a watch") {
  server->OnStream(Stream(Added("a", "5") + Added("b", "6") + BookmarkJson("9") +
                          EventJson("MODIFIED", PodJson("a", "n", "11")) +
                          EventJson("DELETED", PodJson("b", "n", "12")) + ListEndJson("12") +
                          Added("c", "13") + EventJson("DELETED", PodJson("a", "n", "14"))));
  Recorder recorder;
  const auto subscription = informers->Subscribe(kAllPods, recorder.Callback());
  CHECK(Told(recorder, {"add n/a 11", "synced", "add n/c 13", "delete n/a 14"}));
  const TestRequest stream = server->Streams().at(0);
  CHECK(stream.Path() == "/api/v1/pods");
  CHECK(stream.Query("watch") == "1");
  CHECK(stream.Query("sendInitialEvents") == "true");
  CHECK(stream.Query("resourceVersionMatch") == "NotOlderThan");
  CHECK(stream.Query("resourceVersion") == "");
  CHECK(stream.Query("allowWatchBookmarks") == "true");
  CHECK(std::stoi(stream.Query("timeoutSeconds")) >= 300);
  CHECK(server->lists() == 0);
  CHECK(server->watches() == 0);
  CHECK(informers->LastError(kAllPods).ok());
  CHECK(HasMetric("prometheus_sd_kubernetes_failures_total 0"));
  // Long after, it is still the same watch: nothing gives up on a list that is complete.
  clock.Advance(200 * kSecond);
  // Its end is the end of a watch.
  clock.Advance(631 * kSecond);
  REQUIRE(Eventually([&] { return server->watches() == 1; }));
  CHECK(server->Watches().at(0).Query("resourceVersion") == "14");
  CHECK(server->streams() == 1);
}

TEST_CASE_FIXTURE(InformerFixture,
                  "informer: a server without streaming lists is asked for one once") {
  server->OnList(Answer(ListJson("10", {PodJson("a", "n", "5")})));
  server->OnWatch(Stream(EventJson("ERROR", StatusJson(410, "Expired", "too old"))));
  server->OnList(Answer(ListJson("20", {PodJson("b", "n", "15")})));
  Recorder recorder;
  const auto subscription = informers->Subscribe(kAllPods, recorder.Callback());
  CHECK(Told(recorder, {"add n/a 5", "synced", "delete n/a 5", "add n/b 15"}));
  CHECK(server->streams() == 1);
  CHECK(server->lists() == 2);
  CHECK(HasMetric("prometheus_sd_kubernetes_failures_total 0"));
}

TEST_CASE_FIXTURE(InformerFixture, "informer: what a broken streaming list told does not count") {
  server->OnStream(StreamAndEnd(Added("a", "5") + BookmarkJson("9")));
  server->OnList(Answer(ListJson("10", {PodJson("b", "n", "6")})));
  server->OnWatch(Stream(EventJson("ERROR", StatusJson(410, "Expired", "too old"))));
  server->OnStream(Stream(Added("c", "15") + "not json"));
  server->OnList(Answer(ListJson("20", {PodJson("b", "n", "6")})));
  Recorder recorder;
  const auto subscription = informers->Subscribe(kAllPods, recorder.Callback());
  REQUIRE(AdvanceUntil([&] { return server->watches() == 2; }));
  CHECK(recorder.Log() == Log{"add n/b 6", "synced"});
  const auto lists = server->Lists();
  REQUIRE(lists.size() == 2);
  CHECK(lists[0].target == "/api/v1/pods?limit=500&resourceVersion=0");
  CHECK(lists[1].target == "/api/v1/pods?resourceVersion=10");
  CHECK(server->Streams().at(1).Query("resourceVersion") == "10");
  CHECK(HasMetric("prometheus_sd_kubernetes_failures_total 2"));
}

TEST_CASE_FIXTURE(InformerFixture,
                  "informer: a streaming list from a version the server does not serve") {
  server->OnStream(Stream(Added("a", "5") + ListEndJson("10") +
                          EventJson("ERROR", StatusJson(410, "Expired", "too old"))));
  server->OnStream(Answer(StatusJson(410, "Expired", "too old resource version"), 410));
  server->OnStream(Stream(ListEndJson("20")));
  Recorder recorder;
  const auto subscription = informers->Subscribe(kAllPods, recorder.Callback());
  CHECK(Told(recorder, {"add n/a 5", "synced", "delete n/a 5"}));
  const auto streams = server->Streams();
  REQUIRE(streams.size() == 3);
  CHECK(streams[1].Query("resourceVersion") == "10");
  CHECK(streams[2].Query("resourceVersion") == "");
  CHECK(server->lists() == 0);
  CHECK(HasMetric("prometheus_sd_kubernetes_failures_total 0"));
}

TEST_CASE_FIXTURE(InformerFixture, "informer: a streaming list refused otherwise") {
  server->OnStream(
      Answer(StatusJson(429, "TooManyRequests", "slow down"), 429, "Retry-After: 3\r\n"));
  server->OnStream(Answer(StatusJson(500, "InternalError", "etcd is away"), 500));
  server->OnList(Answer(ListJson("10", {PodJson("a", "n", "5")})));
  Recorder recorder;
  const auto subscription = informers->Subscribe(kAllPods, recorder.Callback());
  CHECK(Told(recorder, {"add n/a 5", "synced"}));
  CHECK(server->streams() == 2);
  CHECK(HasMetric("prometheus_sd_kubernetes_failures_total 2"));
}

// Goal: what a stream has failed at does not cost a pause, unless the server asks for one. The
// clock stands still.
TEST_CASE_FIXTURE(InformerFixture, "informer: pages follow a failed streaming list at once") {
  struct Case {
    std::string what;
    Step stream;
  };
  const std::vector<Case> cases = {
      {"refused", Answer(StatusJson(500, "InternalError", "etcd is away"), 500)},
      {"an error as an event", Stream(EventJson("ERROR", StatusJson(500, "InternalError", "x")))},
      {"malformed", Stream("not json")},
      {"ended early", StreamAndEnd(Added("b", "4"))},
      {"cut", [](TestConnection& connection, const TestRequest&) { connection.Reset(); }}};
  for (const Case& one : cases) {
    CAPTURE(one.what);
    const size_t streams = server->streams();
    server->OnStream(one.stream);
    server->OnList(Answer(ListJson("10", {PodJson("a", "n", "5")})));
    Recorder recorder;
    const auto subscription = informers->Subscribe(kAllPods, recorder.Callback());
    CHECK(Eventually([&] { return recorder.Log() == Log{"add n/a 5", "synced"}; }));
    CHECK(server->streams() == streams + 1);
  }
}

TEST_CASE_FIXTURE(InformerFixture, "informer: pages come no sooner than the server wants") {
  server->OnStream(
      Answer(StatusJson(503, "ServiceUnavailable", "starting"), 503, "Retry-After: 100\r\n"));
  server->OnList(Answer(ListJson("10", {PodJson("a", "n", "5")})));
  Recorder recorder;
  const auto subscription = informers->Subscribe(kAllPods, recorder.Callback());
  REQUIRE(Eventually([&] { return !informers->LastError(kAllPods).ok(); }));
  clock.Advance(99 * kSecond);
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  CHECK(server->lists() == 0);
  clock.Advance(2 * kSecond);
  CHECK(Eventually([&] { return recorder.Log() == Log{"add n/a 5", "synced"}; }));
}

// The least time in which a reflector may have failed `failures` times.
int64_t LeastSeconds(int failures) {
  double seconds = 0;
  double pause = 0.8;
  for (int i = 1; i < failures; ++i) {
    seconds += pause;
    pause = std::min(30.0, pause * 2);
  }
  return static_cast<int64_t>(seconds);
}

// Goal: a server that fails everything is asked at the distances of the backoff, not faster, though
// each try is a stream and a list.
TEST_CASE_FIXTURE(InformerFixture, "informer: a server that refuses all is not stormed") {
  constexpr int kTries = 10;
  for (int i = 0; i < kTries; ++i) {
    server->OnStream(Answer(StatusJson(500, "InternalError", "etcd is away"), 500));
  }
  const int64_t start = clock.MonotonicNanos();
  Recorder recorder;
  const auto subscription = informers->Subscribe(kAllPods, recorder.Callback());
  REQUIRE(Eventually([&] {
    clock.Advance(500);
    return server->lists() == kTries;
  }));
  CHECK((clock.MonotonicNanos() - start) / 1'000'000'000 >= LeastSeconds(kTries));
  CHECK(server->streams() == kTries);
  CHECK(server->watches() == 0);
}

// Goal: minutes without a server leave what was known, are told, cost few requests; what has
// changed meanwhile shows up once it is back, and only that.
TEST_CASE_FIXTURE(InformerFixture,
                  "informer: a server away for minutes forgets the version meanwhile") {
  server->OnStream(
      StreamAndEnd(Added("a", "5") + Added("b", "6") + Added("c", "7") + ListEndJson("10")));
  Recorder recorder;
  const auto subscription = informers->Subscribe(kAllPods, recorder.Callback());
  REQUIRE(Eventually([&] { return recorder.Log().size() == 4; }));
  const Log known = recorder.Log();  // A list has no order.
  CHECK(std::is_permutation(known.begin(), known.end() - 1,
                            Log{"add n/a 5", "add n/b 6", "add n/c 7"}.begin()));
  CHECK(known.back() == "synced");
  const int port = server->port();
  server.reset();
  constexpr int kFailures = 10;
  const int64_t start = clock.MonotonicNanos();
  REQUIRE(Eventually([&] {
    clock.Advance(500);
    return HasMetric(fmt::format("prometheus_sd_kubernetes_failures_total {}", kFailures));
  }));
  CHECK((clock.MonotonicNanos() - start) / 1'000'000'000 >= LeastSeconds(kFailures));
  CHECK(recorder.Log() == known);
  CHECK(IsConnectionRefused(informers->LastError(kAllPods)));
  const std::vector<std::string> health = recorder.Health();
  REQUIRE(!health.empty());
  CHECK(health.back().find("connection refused") != std::string::npos);

  server = std::make_unique<ScriptedServer>(port);
  server->OnWatch(Answer(StatusJson(410, "Expired", "too old resource version"), 410));
  server->OnStream(Answer(StatusJson(410, "Expired", "too old resource version"), 410));
  server->OnStream(
      Stream(Added("a", "5") + Added("c", "15") + Added("d", "16") + ListEndJson("20")));
  REQUIRE(AdvanceUntil([&] { return recorder.Log().size() >= known.size() + 3; }));
  const Log log = recorder.Log();
  Log changes(log.begin() + static_cast<std::ptrdiff_t>(known.size()), log.end());
  std::sort(changes.begin(), changes.end());
  CHECK(changes == Log{"add n/d 16", "delete n/b 6", "update n/c 15"});
  CHECK(recorder.Health().back() == "working");
  CHECK(informers->LastError(kAllPods).ok());
  CHECK(server->watches() == 1);
  CHECK(server->streams() == 2);
  CHECK(server->lists() == 0);
}

// How many descriptors this process has open.
size_t OpenDescriptors() {
  const std::filesystem::directory_iterator descriptors("/proc/self/fd");
  return static_cast<size_t>(std::distance(begin(descriptors), end(descriptors)));
}

// Goal: however often the server goes and comes back, there is one watch, one connection, and of
// objects those it has. Method: rounds in which one object is replaced by another, counted before
// and after.
TEST_CASE_FIXTURE(InformerFixture,
                  "informer: rounds of a server that is away leave nothing behind") {
  server->OnStream(Stream(Added("stays", "5") + Added("pod-0", "6") + ListEndJson("10")));
  Recorder recorder;
  Mutex mutex;
  std::vector<std::weak_ptr<const KubeObject>> objects;
  const auto subscription =
      informers->Subscribe(kAllPods, [&, record = recorder.Callback()](const InformerEvent& event) {
        record(event);
        MutexLock lock(mutex);
        if (event.object != nullptr) objects.push_back(event.object);
      });
  const auto alive = [&] {
    MutexLock lock(mutex);
    return std::count_if(objects.begin(), objects.end(),
                         [](const auto& object) { return !object.expired(); });
  };
  REQUIRE(Eventually([&] { return recorder.Log().size() == 3; }));
  REQUIRE(alive() == 2);
  const size_t descriptors = OpenDescriptors();
  const size_t timers = http->loop().timers();
  const int port = server->port();
  constexpr int kRounds = 3;
  constexpr int kFailures = 5;
  for (int round = 1; round <= kRounds; ++round) {
    CAPTURE(round);
    server.reset();
    REQUIRE(Eventually([&] {
      clock.Advance(kSecond);
      return HasMetric(
          fmt::format("prometheus_sd_kubernetes_failures_total {}", round * kFailures));
    }));
    const size_t told = recorder.Log().size();
    server = std::make_unique<ScriptedServer>(port);
    server->OnWatch(Answer(StatusJson(410, "Expired", "too old resource version"), 410));
    const int version = 10 * (round + 1);
    server->OnStream(Stream(Added("stays", "5") +
                            Added(fmt::format("pod-{}", round), std::to_string(version - 1)) +
                            ListEndJson(std::to_string(version))));
    // Once the list has begun no time passes, as it would be given up.
    REQUIRE(Eventually([&] {
      if (server->streams() == 0) clock.Advance(kSecond);
      return recorder.Log().size() >= told + 2;
    }));
    const Log log = recorder.Log();
    Log changes(log.begin() + static_cast<std::ptrdiff_t>(told), log.end());
    std::sort(changes.begin(), changes.end());
    CHECK(changes ==
          Log{fmt::format("add n/pod-{} {}", round, version - 1),
              fmt::format("delete n/pod-{} {}", round - 1, round == 1 ? 6 : version - 11)});
    CHECK(Eventually([&] { return alive() == 2; }));
    CHECK(Eventually([&] { return OpenDescriptors() == descriptors; }));
    CHECK(Eventually([&] { return http->loop().timers() == timers; }));
    // The refused watch, and the list that goes on as one.
    CHECK(server->watches() == 1);
    CHECK(server->streams() == 1);
    CHECK(server->lists() == 0);
  }
  CHECK(recorder.Health().back() == "working");
}

// A server that does not know what it is asked for, and does not say so either.
TEST_CASE_FIXTURE(InformerFixture, "informer: a streaming list without an end is given up") {
  server->OnStream(Stream(Added("a", "5")));
  server->OnList(Answer(ListJson("10", {PodJson("b", "n", "6")})));
  Recorder recorder;
  const auto subscription = informers->Subscribe(kAllPods, recorder.Callback());
  REQUIRE(Eventually([&] { return server->streams() == 1; }));
  clock.Advance(59 * kSecond);
  CHECK(recorder.Health().empty());
  CHECK(Eventually([&] {
    clock.Advance(5 * kSecond);
    return recorder.Log() == Log{"add n/b 6", "synced"};
  }));
  CHECK(recorder.Health().front().find("does not end the streaming list") != std::string::npos);
}

TEST_CASE("kube backoff: doubles with jitter up to its cap, and starts afresh after a pause") {
  std::mt19937_64 random(1);
  KubeBackoff backoff(random);
  int64_t now = 0;
  double base = 0.8;
  for (int i = 0; i < 12; ++i) {
    const double seconds = std::chrono::duration<double>(backoff.Next(now)).count();
    CAPTURE(i);
    CHECK(seconds >= base);
    CHECK(seconds < 2 * base);
    base = std::min(30.0, base * 2);
    now += static_cast<int64_t>(seconds * 1e9);
  }
  now += 121'000'000'000;
  CHECK(backoff.Next(now) < std::chrono::milliseconds(1600));
}

}  // namespace
}  // namespace varve::testing
