// SPDX-License-Identifier: Apache-2.0
//
// Goal: services and their instances are followed as they come, change and go. Method: a fake agent
// that answers blocking queries.
#include <functional>

#include "model/status_macros.h"
#include "scrape/discovery/consul.h"
#include "tests/scrape/discovery_fixture.h"

namespace varve {
namespace {

using testing::DiscoveryFixture;
using testing::Eventually;
using testing::Found;
using testing::TestConnection;
using testing::TestRequest;
using testing::TestServer;
using testing::WithPrefix;

// An agent: answers at once to an index that is not the current one, else waits.
class FakeConsul {
 public:
  void Set(const std::string& path, std::string body) {
    MutexLock lock(mutex_);
    bodies_[path] = std::move(body);
    ++index_;
    changed_.NotifyAll();
  }
  void Fail(bool fail) {
    MutexLock lock(mutex_);
    fail_ = fail;
    ++index_;
    changed_.NotifyAll();
  }
  void End() {
    MutexLock lock(mutex_);
    ended_ = true;
    changed_.NotifyAll();
  }
  void Answer(TestConnection& connection, const TestRequest& request) {
    MutexLock lock(mutex_);
    last_[request.Path()] = request;
    while (request.Query("index") == std::to_string(index_) && !ended_) changed_.Wait(mutex_);
    const auto found = bodies_.find(request.Path());
    if (fail_ || ended_ || found == bodies_.end()) return connection.Respond(500, "no leader");
    connection.Respond(200, found->second, fmt::format("X-Consul-Index: {}\r\n", index_));
  }
  TestRequest Last(const std::string& path) {
    MutexLock lock(mutex_);
    return last_[path];
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  uint64_t index_ ABSL_GUARDED_BY(mutex_) = 7;
  bool fail_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  std::map<std::string, std::string> bodies_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, TestRequest> last_ ABSL_GUARDED_BY(mutex_);
};

struct ConsulFixture : DiscoveryFixture {
  ConsulFixture()
      : agent([this](TestConnection& connection, const TestRequest& request) {
          consul.Answer(connection, request);
        }) {
    consul.Set("/v1/agent/self", R"({"Config":{"Datacenter":"dc1"}})");
    consul.Set("/v1/catalog/services", R"({"web":["a","b"],"db":[]})");
    consul.Set("/v1/health/service/web", std::string(kWeb));
    consul.Set("/v1/health/service/db", "[]");
    config.server = fmt::format("127.0.0.1:{}", agent.port());
    config.refresh_interval = 20;
  }
  ~ConsulFixture() {
    discovery.reset();
    consul.End();
  }
  void Start() { discovery = NewConsulDiscovery(config, "job", context, found.Callback()); }

  static constexpr std::string_view kWeb = R"([
 {"Node":{"Node":"n1","Address":"10.0.0.1","Meta":{"rack-id":"7"},
          "TaggedAddresses":{"lan":"10.0.0.1","wan":"1.2.3.4"}},
  "Service":{"ID":"web-1","Service":"web","Address":"","Port":80,"Tags":["a","b"],
             "Meta":{"v.1":"x"},"Namespace":"ns1","Partition":"p1"},
  "Checks":[{"CheckID":"serfHealth","Status":"passing"},{"CheckID":"c","Status":"warning"}]},
 {"Node":{"Node":"n2","Address":"10.0.0.2"},
  "Service":{"ID":"web-2","Service":"web","Address":"fd00::2","Port":81,"Tags":[]},
  "Checks":[{"CheckID":"_node_maintenance","Status":"critical"}]}
])";
  static std::vector<std::string> Web() {
    constexpr std::string_view kConsul = "__meta_consul_";
    return {WithPrefix(kConsul, "10.0.0.1:80",
                       {{"address", "10.0.0.1"},
                        {"node", "n1"},
                        {"namespace", "ns1"},
                        {"partition", "p1"},
                        {"service", "web"},
                        {"dc", "dc1"},
                        {"service_port", "80"},
                        {"service_id", "web-1"},
                        {"health", "warning"},
                        {"tags", ",a,b,"},
                        {"metadata_rack_id", "7"},
                        {"service_metadata_v_1", "x"},
                        {"tagged_address_lan", "10.0.0.1"},
                        {"tagged_address_wan", "1.2.3.4"}}),
            WithPrefix(kConsul, "[fd00::2]:81",
                       {{"address", "10.0.0.2"},
                        {"node", "n2"},
                        {"service", "web"},
                        {"dc", "dc1"},
                        {"service_address", "fd00::2"},
                        {"service_port", "81"},
                        {"service_id", "web-2"},
                        {"health", "maintenance"},
                        {"tags", ",,"}})};
  }

  FakeConsul consul;
  ConsulSdConfig config;
  TestServer agent;
};

TEST_CASE_FIXTURE(ConsulFixture, "consul discovery: services come, change and go") {
  config.token = Secret("tok");
  config.node_meta = {{"rack", "7"}};
  config.filter = "a == b";
  Start();
  CHECK(found.Becomes(Web()));
  const TestRequest catalog = consul.Last("/v1/catalog/services");
  CHECK(catalog.Header("x-consul-token") == "tok");
  CHECK(catalog.Query("wait") == "120000ms");
  CHECK(catalog.Query("node-meta") == "rack:7");
  CHECK(catalog.Query("filter") == "a == b");
  CHECK(catalog.HasQuery("stale"));
  // The next question says what is known, and is answered when that has changed.
  CHECK(Eventually([&] { return consul.Last("/v1/health/service/web").HasQuery("index"); }));

  consul.Set("/v1/health/service/web", "[]");
  CHECK(found.Becomes({}));
  consul.Set("/v1/health/service/web", std::string(kWeb));
  CHECK(found.Becomes(Web()));
  consul.Set("/v1/catalog/services", R"({"db":[]})");
  CHECK(found.Becomes({}));
  consul.Set("/v1/catalog/services", R"({"web":[]})");
  CHECK(found.Becomes(Web()));
}

TEST_CASE_FIXTURE(ConsulFixture, "consul discovery: an agent that fails keeps its targets") {
  Start();
  CHECK(found.Becomes(Web()));
  consul.Fail(true);
  CHECK(BecomesStale(true));
  CHECK(Status().last_error == "Unexpected response code: 500 Reason");
  CHECK(Metric("prometheus_sd_consul_rpc_failures_total") >= 1);
  CHECK(found.Targets().size() == 2);
  consul.Fail(false);
  CHECK(BecomesStale(false));
  consul.Set("/v1/health/service/web", "[]");
  CHECK(found.Becomes({}));
}

TEST_CASE_FIXTURE(ConsulFixture, "consul discovery: chosen services and tags") {
  config.services = {"web", "other"};
  config.datacenter = "dc1";
  config.health_filter = "x";
  consul.Set("/v1/health/service/other", "[]");
  Start();
  CHECK(found.Becomes(Web()));
  CHECK(consul.Last("/v1/catalog/services").method.empty());
  CHECK(consul.Last("/v1/agent/self").method.empty());
  CHECK(consul.Last("/v1/health/service/web").Query("filter") == "x");
  CHECK(consul.Last("/v1/health/service/web").Query("dc") == "dc1");
  discovery.reset();

  // With tags the catalog says which of the services have them.
  config.tags = {"b", "a"};
  Found tagged;
  discovery = NewConsulDiscovery(config, "job", context, tagged.Callback());
  CHECK(tagged.Becomes(Web()));
  CHECK(consul.Last("/v1/health/service/web").target.find("tag=b&tag=a") != std::string::npos);
  config.tags = {"c"};
  Found none;
  discovery = NewConsulDiscovery(config, "job", context, none.Callback());
  CHECK(Eventually([&] { return none.calls() > 0; }));
  CHECK(none.Targets().empty());
}

}  // namespace
}  // namespace varve
