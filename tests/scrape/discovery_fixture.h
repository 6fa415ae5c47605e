// SPDX-License-Identifier: Apache-2.0
//
// A fake backend of pages, a discovery that asks it, and what the discovery says.
#pragma once

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "net/client.h"
#include "scrape/discovery/discovery.h"
#include "tests/net/test_server.h"

namespace varve::testing {

class Found {
 public:
  TargetGroupsCallback Callback() {
    return [this](std::vector<TargetGroup> groups) {
      MutexLock lock(mutex_);
      ++calls_;
      for (TargetGroup& group : groups) {
        if (group.targets.empty()) {
          groups_.erase(group.source);
        } else {
          groups_[group.source] = std::move(group);
        }
      }
    };
  }
  // Every target with the labels of its group, as `{a="b", ...}`, sorted.
  std::vector<std::string> Targets() {
    MutexLock lock(mutex_);
    std::vector<std::string> texts;
    for (const auto& [source, group] : groups_) {
      for (const Labels& target : group.targets) {
        std::vector<std::pair<std::string, std::string>> pairs;
        for (const LabelView& label : group.labels) pairs.emplace_back(label.name, label.value);
        for (const LabelView& label : target) pairs.emplace_back(label.name, label.value);
        texts.push_back(Labels::FromPairs(std::move(pairs)).ToString());
      }
    }
    std::sort(texts.begin(), texts.end());
    return texts;
  }
  bool Becomes(std::vector<std::string> targets) {
    std::sort(targets.begin(), targets.end());
    const bool became = Eventually([&] { return Targets() == targets; });
    if (!became) {
      for (const std::string& target : Targets()) MESSAGE(target);
    }
    return became;
  }
  int calls() {
    MutexLock lock(mutex_);
    return calls_;
  }

 private:
  Mutex mutex_;
  std::map<std::string, TargetGroup> groups_ ABSL_GUARDED_BY(mutex_);
  int calls_ ABSL_GUARDED_BY(mutex_) = 0;
};

// Pages by path, and by cursor where one is asked for; changed by the test.
class Pages {
 public:
  void Set(const std::string& path, std::string body, int status = 200, std::string headers = "") {
    MutexLock lock(mutex_);
    pages_[path] = {status, std::move(body), std::move(headers)};
  }
  void Hang(bool hang) { hang_ = hang; }
  void Answer(TestConnection& connection, const TestRequest& request) {
    if (hang_) return connection.WaitForClose();
    MutexLock lock(mutex_);
    std::string path = request.Path();
    if (request.HasQuery("cursor")) path += "?cursor=" + request.Query("cursor");
    last_[path] = request;
    const auto found = pages_.find(path);
    if (found == pages_.end()) return connection.Respond(404, "not found");
    connection.Respond(found->second.status, found->second.body, found->second.headers);
  }
  TestRequest Last(const std::string& path) {
    MutexLock lock(mutex_);
    return last_[path];
  }

 private:
  struct Page {
    int status;
    std::string body;
    std::string headers;
  };
  std::atomic<bool> hang_{false};
  Mutex mutex_;
  std::map<std::string, Page> pages_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, TestRequest> last_ ABSL_GUARDED_BY(mutex_);
};

struct DiscoveryFixture {
  explicit DiscoveryFixture(TestServer::Options options = {})
      : server([this](TestConnection& connection,
                      const TestRequest& request) { pages.Answer(connection, request); },
               std::move(options)) {}
  ~DiscoveryFixture() {
    discovery.reset();
    context->workers.Stop();
    http->Stop();
  }

  bool BecomesStale(bool stale) {
    return Eventually([&] {
      const std::vector<DiscoveryStatus> list = context->healths.List();
      return list.size() == 1 && list[0].stale == stale;
    });
  }
  DiscoveryStatus Status() { return context->healths.List().at(0); }
  double Metric(const std::string& name) {
    for (const prometheus::MetricFamily& family : registry.Collect()) {
      if (family.name != name || family.metric.empty()) continue;
      return family.type == prometheus::MetricType::Gauge ? family.metric[0].gauge.value
                                                          : family.metric[0].counter.value;
    }
    return -1;
  }

  Pages pages;
  TestServer server;
  Found found;
  prometheus::Registry registry;
  std::unique_ptr<HttpClient> http = HttpClient::Open({}).value();
  std::shared_ptr<DiscoveryContext> context =
      std::make_shared<DiscoveryContext>(RealClock(), *http, registry);
  std::unique_ptr<Discovery> discovery;
};

// `labels` with the prefix of a kind before each name but the address.
inline std::string WithPrefix(std::string_view prefix, std::string_view address,
                              const std::vector<std::pair<std::string, std::string>>& labels) {
  std::vector<std::pair<std::string, std::string>> pairs = {{"__address__", std::string(address)}};
  for (const auto& [name, value] : labels) {
    pairs.emplace_back(fmt::format("{}{}", prefix, name), value);
  }
  return Labels::FromPairs(std::move(pairs)).ToString();
}
}  // namespace varve::testing
