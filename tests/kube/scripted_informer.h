// SPDX-License-Identifier: Apache-2.0
//
// Informers against scripted answers: a server answers each list, streaming list and watch with the
// next step of a script; a manual clock is moved on until something happens, so backoffs and
// timeouts take no time.
#pragma once

#include <fmt/format.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kube/informer.h"
#include "model/status_macros.h"
#include "tests/kube/objects_json.h"
#include "tests/net/test_server.h"

namespace varve::testing {

using Step = std::function<void(TestConnection&, const TestRequest&)>;

inline Step Answer(std::string body, int status = 200, std::string headers = "") {
  return [=](TestConnection& connection, const TestRequest&) {
    connection.Respond(status, body, headers);
  };
}

// A watch that sends `bytes` and then stays open, or ends.
inline Step Stream(std::string bytes) {
  return [=](TestConnection& connection, const TestRequest&) {
    connection.BeginStream();
    connection.Write(bytes);
    connection.WaitForClose();
  };
}
inline Step StreamAndEnd(std::string bytes) {
  return [=](TestConnection& connection, const TestRequest&) {
    connection.BeginStream();
    connection.Write(bytes);
  };
}

// An API server that answers from scripts. An empty list script gives 500, an empty watch script an
// open stream without events, and without one for streaming lists these are refused.
class ScriptedServer {
 public:
  explicit ScriptedServer(int port = 0)
      : server_([this](TestConnection& c, const TestRequest& r) { Handle(c, r); }, {.port = port}) {
  }

  void OnList(Step step) {
    MutexLock lock(mutex_);
    lists_.push_back(std::move(step));
  }
  void OnStream(Step step) {
    MutexLock lock(mutex_);
    streams_.push_back(std::move(step));
  }
  void OnWatch(Step step) {
    MutexLock lock(mutex_);
    watches_.push_back(std::move(step));
  }
  std::vector<TestRequest> Lists() {
    MutexLock lock(mutex_);
    return list_requests_;
  }
  std::vector<TestRequest> Streams() {
    MutexLock lock(mutex_);
    return stream_requests_;
  }
  std::vector<TestRequest> Watches() {
    MutexLock lock(mutex_);
    return watch_requests_;
  }
  size_t lists() { return Lists().size(); }
  size_t streams() { return Streams().size(); }
  size_t watches() { return Watches().size(); }
  int closed_watches() { return closed_watches_.load(); }
  int port() const { return server_.port(); }
  std::string Url() const { return server_.Url(""); }

 private:
  void Handle(TestConnection& connection, const TestRequest& request) {
    const bool stream = !request.Query("sendInitialEvents").empty();
    const bool watch = !stream && request.Query("watch") == "1";
    Step step = stream  ? Answer(StatusJson(422, "Invalid", "unknown"), 422)
                : watch ? Stream("")
                        : Answer("no such step", 500);
    {
      MutexLock lock(mutex_);
      (stream ? stream_requests_ : watch ? watch_requests_ : list_requests_).push_back(request);
      std::deque<Step>& script = stream ? streams_ : watch ? watches_ : lists_;
      if (!script.empty()) {
        step = std::move(script.front());
        script.pop_front();
      }
    }
    step(connection, request);
    if (watch) ++closed_watches_;
  }

  Mutex mutex_;
  std::deque<Step> lists_ ABSL_GUARDED_BY(mutex_);
  std::deque<Step> watches_ ABSL_GUARDED_BY(mutex_);
  std::deque<Step> streams_ ABSL_GUARDED_BY(mutex_);
  std::vector<TestRequest> list_requests_ ABSL_GUARDED_BY(mutex_);
  std::vector<TestRequest> watch_requests_ ABSL_GUARDED_BY(mutex_);
  std::vector<TestRequest> stream_requests_ ABSL_GUARDED_BY(mutex_);
  std::atomic<int> closed_watches_{0};
  TestServer server_;
};

// What a subscriber was told: "add n/a 1", "synced", ...
class Recorder {
 public:
  InformerCallback Callback() {
    return [this](const InformerEvent& event) {
      MutexLock lock(mutex_);
      if (event.type == InformerEvent::Type::kFailing) {
        health_.push_back("failing: " + MessageOf(event.status));
        return;
      }
      if (event.type == InformerEvent::Type::kWorking) return health_.push_back("working");
      static constexpr std::string_view kNames[] = {"add", "update", "delete", "synced"};
      std::string text(kNames[static_cast<int>(event.type)]);
      if (event.object != nullptr) {
        text += " " + event.object->Key() + " " + event.object->metadata.resource_version;
      }
      log_.push_back(std::move(text));
    };
  }
  // "failing: ...", "working", ...
  std::vector<std::string> Health() {
    MutexLock lock(mutex_);
    return health_;
  }
  std::vector<std::string> Log() {
    MutexLock lock(mutex_);
    return log_;
  }

 private:
  Mutex mutex_;
  std::vector<std::string> log_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::string> health_ ABSL_GUARDED_BY(mutex_);
};

using Log = std::vector<std::string>;

class InformerFixture {
 public:
  InformerFixture() : InformerFixture(0) {}
  explicit InformerFixture(int port) : server(std::make_unique<ScriptedServer>(port)) {
    HttpClient::Options options;
    options.clock = &clock;
    options.wait_max = std::chrono::milliseconds(2);
    http = HttpClient::Open(std::move(options)).value();
    KubeEndpoint endpoint;
    endpoint.server = server->Url();
    client = std::make_unique<KubeClient>(*http, endpoint, clock);
    informers = InformerSet::Create(*client, {.seed = 7, .registry = &registry});
  }
  ~InformerFixture() {
    informers->Stop();
    http->Stop();
  }

  // Moves the clock until `condition` holds.
  bool AdvanceUntil(const std::function<bool()>& condition) {
    return Eventually([&] {
      if (condition()) return true;
      clock.Advance(50);
      return false;
    });
  }
  bool Told(Recorder& recorder, const Log& expected) {
    const bool told = AdvanceUntil([&] { return recorder.Log().size() >= expected.size(); });
    return told && recorder.Log() == expected;
  }
  std::string Metrics() { return prometheus::TextSerializer().Serialize(registry.Collect()); }
  bool HasMetric(const std::string& line) {
    return Metrics().find(line + "\n") != std::string::npos;
  }

  ManualClock clock{1'700'000'000'000};
  prometheus::Registry registry;
  std::unique_ptr<ScriptedServer> server;
  std::unique_ptr<HttpClient> http;
  std::unique_ptr<KubeClient> client;
  std::shared_ptr<InformerSet> informers;
};

inline const InformerKey kAllPods{.resource = KubeResource::kPod};

}  // namespace varve::testing
