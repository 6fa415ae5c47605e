// SPDX-License-Identifier: Apache-2.0
//
// Goal: what is polled or watched becomes targets; while a backend fails, hangs or lies its last
// targets stay and it is marked stale. Method: a fake HTTP server, a fake DNS server, directories.
#include "scrape/discovery/discovery.h"

#include <arpa/nameser.h>
#include <unistd.h>

#include <cstdio>
#include <functional>

#include "scrape/discovery/directory_watch.h"
#include "scrape/discovery/dns.h"
#include "scrape/discovery/http.h"
#include "tests/net/dns_server.h"
#include "tests/scrape/discovery_fixture.h"

namespace varve {
namespace {

using testing::DiscoveryFixture;
using testing::DnsServer;
using testing::Eventually;
using testing::Found;
using testing::TempDir;
using testing::WithPrefix;

// ----------------------------------------------------------------------------------- a poll

TEST_CASE_FIXTURE(DiscoveryFixture,
                  "discovery: a backend that fails, hangs or lies keeps its targets") {
  constexpr const char* kJson = "Content-Type: application/json\r\n";
  pages.Set("/list", R"([{"targets":["a:1"]},{"targets":["b:1"]}])", 200, kJson);
  const std::string url = server.Url("/list");
  discovery =
      NewHttpDiscovery({.url = url, .refresh_interval = 200}, "job", context, found.Callback());
  const std::vector<std::string> both = {WithPrefix("__meta_", "a:1", {{"url", url}}),
                                         WithPrefix("__meta_", "b:1", {{"url", url}})};
  CHECK(found.Becomes(both));
  CHECK(BecomesStale(false));
  CHECK(Status().last_success > 0);
  CHECK(Metric("varve_sd_stale") == 0);

  const std::pair<int, const char*> bad[] = {{500, "[]"}, {200, "[{"}, {200, R"({"a":1})"}};
  for (const auto& [status, body] : bad) {
    pages.Set("/list", body, status, kJson);
    CHECK(BecomesStale(true));
    CHECK_FALSE(Status().last_error.empty());
    CHECK(Status().failing_since > 0);
    CHECK(found.Targets() == both);
    pages.Set("/list", R"([{"targets":["a:1"]},{"targets":["b:1"]}])", 200, kJson);
    CHECK(BecomesStale(false));
    CHECK(Status().last_error.empty());
  }

  pages.Hang(true);
  CHECK(BecomesStale(true));
  CHECK(Status().last_error.find("context deadline exceeded") != std::string::npos);
  CHECK(Metric("varve_sd_stale") == 1);
  CHECK(Metric("prometheus_sd_refresh_failures_total") >= 4);
  CHECK(found.Targets() == both);
  pages.Hang(false);
  pages.Set("/list", R"([{"targets":["b:1"]}])", 200, kJson);
  CHECK(found.Becomes({both[1]}));
  CHECK(BecomesStale(false));
  discovery.reset();
  CHECK(context->healths.List().empty());
  CHECK(Metric("varve_sd_stale") == -1);
}

TEST_CASE_FIXTURE(DiscoveryFixture,
                  "discovery: one that ends says nothing more, whatever is under way") {
  pages.Hang(true);
  discovery = NewHttpDiscovery({.url = server.Url("/list"), .refresh_interval = 60000}, "job",
                               context, found.Callback());
  CHECK(Eventually([&] { return server.requests() == 1; }));
  discovery.reset();
  CHECK(found.calls() == 0);
}

TEST_CASE_FIXTURE(DiscoveryFixture, "discovery: directories tell what happens in them") {
  TempDir dir;
  // Shared with the loop, which may be telling of a change while the watch is stopped.
  const auto changes = std::make_shared<std::atomic<int>>(0);
  const auto watch =
      WatchDirectories(http->loop(), {dir.path(), dir.path() + "/none"}, [changes] { ++*changes; });
  REQUIRE(watch != nullptr);
  const auto told = [&](const std::function<void()>& change) {
    const int before = *changes;
    change();
    return Eventually([&] { return *changes > before; });
  };
  // The first change may come before the watch.
  CHECK(Eventually([&] {
    dir.Write("a", "1");
    return *changes > 0;
  }));
  CHECK(told([&] { dir.Write("a", "2"); }));
  CHECK(told([&] { std::rename((dir.path() + "/a").c_str(), (dir.path() + "/b").c_str()); }));
  CHECK(told([&] { CHECK(symlink("b", (dir.path() + "/c").c_str()) == 0); }));
  CHECK(told([&] { unlink((dir.path() + "/b").c_str()); }));
  watch->Stop();
  watch->Stop();
}

// ----------------------------------------------------------------------------------- DNS

TEST_CASE_FIXTURE(DiscoveryFixture, "dns discovery: labels of each type") {
  DnsServer dns;
  dns.Set("_x._tcp.test", ns_t_srv, {DnsServer::Srv(9100, "n1.test")});
  dns.Set("a.test", ns_t_a, {DnsServer::A("10.0.0.1")});
  dns.Set("a.test", ns_t_aaaa, {DnsServer::Aaaa("fd00::1")});
  dns.Set("a.test", ns_t_mx, {DnsServer::Mx(1, "mail.test")});
  dns.Set("a.test", ns_t_ns, {DnsServer::Name("ns.test")});
  struct Case {
    DnsSdConfig config;
    std::string target;
  };
  constexpr std::string_view kDns = "__meta_dns_";
  const std::vector<Case> cases = {
      {{.names = {"_x._tcp.test"}},
       WithPrefix(kDns, "n1.test:9100",
                  {{"name", "_x._tcp.test"},
                   {"srv_record_target", "n1.test."},
                   {"srv_record_port", "9100"}})},
      {{.names = {"a.test"}, .type = DnsRecordType::kA, .port = 80},
       WithPrefix(kDns, "10.0.0.1:80", {{"name", "a.test"}})},
      {{.names = {"a.test"}, .type = DnsRecordType::kAaaa, .port = 80},
       WithPrefix(kDns, "[fd00::1]:80", {{"name", "a.test"}})},
      {{.names = {"a.test"}, .type = DnsRecordType::kMx, .port = 25},
       WithPrefix(kDns, "mail.test:25", {{"name", "a.test"}, {"mx_record_target", "mail.test."}})},
      {{.names = {"a.test"}, .type = DnsRecordType::kNs, .port = 53},
       WithPrefix(kDns, "ns.test:53", {{"name", "a.test"}, {"ns_record_target", "ns.test."}})},
  };
  for (const Case& c : cases) {
    Found of_case;
    const auto lookup =
        NewDnsDiscovery(c.config, "job", context, of_case.Callback(), {.servers = dns.address()});
    CHECK(of_case.Becomes({c.target}));
  }
}

TEST_CASE_FIXTURE(DiscoveryFixture,
                  "dns discovery: names come and go, and stay while servers fail") {
  DnsServer dns;
  dns.Set("a.test", ns_t_a, {DnsServer::A("10.0.0.1"), DnsServer::A("10.0.0.2")});
  discovery = NewDnsDiscovery(
      {.names = {"a.test", "b.test"}, .type = DnsRecordType::kA, .port = 1, .refresh_interval = 50},
      "job", context, found.Callback(), {.servers = dns.address()});
  const auto target = [](std::string_view address, std::string_view name) {
    return WithPrefix("__meta_dns_", address, {{"name", std::string(name)}});
  };
  CHECK(found.Becomes({target("10.0.0.1:1", "a.test"), target("10.0.0.2:1", "a.test")}));
  CHECK(BecomesStale(false));
  dns.Set("b.test", ns_t_a, {DnsServer::A("10.0.0.3")});
  dns.Set("a.test", ns_t_a, {DnsServer::A("10.0.0.1")});
  const std::vector<std::string> both = {target("10.0.0.1:1", "a.test"),
                                         target("10.0.0.3:1", "b.test")};
  CHECK(found.Becomes(both));
  constexpr int kServerFailure = 2;
  dns.FailWith(kServerFailure);
  CHECK(BecomesStale(true));
  CHECK(Metric("prometheus_sd_dns_lookup_failures_total") >= 1);
  CHECK(found.Targets() == both);
  dns.Forget("a.test");
  dns.FailWith(0);
  CHECK(found.Becomes({both[1]}));
  CHECK(BecomesStale(false));
}

}  // namespace
}  // namespace varve
