// SPDX-License-Identifier: Apache-2.0
//
// The API as a client sees it: the real server and engine over a storage in memory, with targets
// and rules made up.
#pragma once

#include <prometheus/registry.h>

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "http/api.h"
#include "http/server.h"
#include "promql/engine.h"
#include "remote/write.h"
#include "rules/manager.h"
#include "scrape/manager.h"
#include "scrape/scrape_now.h"
#include "tests/http/fake_storage.h"
#include "tests/http/test_client.h"

namespace varve {

class FakeScrape : public ScrapeManager {
 public:
  absl::Status ApplyConfig(std::vector<ScrapeConfig>, Labels) override { return absl::OkStatus(); }
  void Stop() override {}
  std::vector<std::string> Pools() const override { return {"node", "pods"}; }
  TargetsSnapshot Targets(std::string_view pool) const override;
  std::vector<DiscoveryStatus> DiscoveryStatuses() const override;
  absl::StatusOr<ScrapePreview> ScrapeNow(std::string_view pool, std::string_view url,
                                          size_t samples_max) override;
  absl::StatusOr<ScrapeConfig> PoolConfig(std::string_view pool) const override;
  std::vector<TargetMetadata> MetadataByTarget(const std::vector<Matcher>& matchers,
                                               std::string_view metric,
                                               int64_t limit) const override;
  std::map<std::string, std::vector<MetricMetadata>> Metadata(std::string_view metric,
                                                              int64_t limit,
                                                              int64_t per_metric) const override;

  std::vector<ActiveTarget> others;  // Beside the one of `node`.
};

class FakeRules : public RuleManager {
 public:
  absl::Status Apply(const RuleSettings&) override { return absl::OkStatus(); }
  void Stop() override {}
  std::vector<RuleGroupStatus> Groups() const override;
};

class ApiFixture {
 public:
  explicit ApiFixture(bool lifecycle = true);

  const std::string& address() const { return server->addresses()[0]; }
  TestResponse Get(std::string_view target) { return TestGet(address(), target); }
  TestResponse Post(std::string_view target, std::string_view form) {
    return TestPostForm(address(), target, form);
  }

  ManualClock clock{20'000};
  prometheus::Registry registry;
  FakeStorage storage;
  promql::Engine engine{{}, clock};
  FakeScrape scrape;
  FakeRules rules;
  std::unique_ptr<WriteReceiver> write = WriteReceiver::Create(storage, clock, nullptr);
  absl::Status reload_status;
  std::atomic<int> quits{0};
  Router router;
  std::unique_ptr<Api> api;
  std::unique_ptr<HttpServer> server;
};

}  // namespace varve
