// SPDX-License-Identifier: Apache-2.0
//
// Goal: instances of all pages become the targets that Prometheus makes of them, and stay while the
// API fails. Method: a fake server.
#include "scrape/discovery/vultr.h"
#include "tests/scrape/discovery_fixture.h"

namespace varve {
namespace {

using testing::DiscoveryFixture;
using testing::Eventually;
using testing::TestRequest;
using testing::WithPrefix;

constexpr std::string_view kVultr = "__meta_vultr_instance_";
constexpr std::string_view kInstances = "/v2/instances";

TEST_CASE_FIXTURE(DiscoveryFixture, "vultr discovery: instances of all pages") {
  pages.Set(std::string(kInstances), R"({"instances":[
 {"id":"i1","os":"Debian 12 x64","ram":4096,"disk":128,"main_ip":"192.0.2.7","vcpu_count":2,
  "region":"ewr","plan":"vhf-2c-4gb","status":"active","allowed_bandwidth":3,"server_status":"ok",
  "v6_main_ip":"2001:db8::7","label":"web","internal_ip":"10.1.96.5","hostname":"web-1",
  "tags":["a","b"],"os_id":426,"features":["backups"]}],
 "meta":{"total":2,"links":{"next":"bmV4dA==","prev":""}}})");
  pages.Set(std::string(kInstances) + "?cursor=bmV4dA==", R"({"instances":[
 {"id":"i2","main_ip":"2001:db8::8","tags":[],"features":[]}],
 "meta":{"total":2,"links":{"next":"","prev":"cHJldg=="}}})");
  VultrSdConfig config{.server = server.Url(""), .port = 9100, .refresh_interval = 50};
  config.http_client.authorization = AuthorizationConfig{.credentials = Secret("key")};
  discovery = NewVultrDiscovery(config, "job", context, found.Callback());
  CHECK(found.Becomes({WithPrefix(kVultr, "192.0.2.7:9100",
                                  {{"id", "i1"},
                                   {"label", "web"},
                                   {"os", "Debian 12 x64"},
                                   {"os_id", "426"},
                                   {"region", "ewr"},
                                   {"plan", "vhf-2c-4gb"},
                                   {"main_ip", "192.0.2.7"},
                                   {"main_ipv6", "2001:db8::7"},
                                   {"internal_ip", "10.1.96.5"},
                                   {"hostname", "web-1"},
                                   {"server_status", "ok"},
                                   {"vcpu_count", "2"},
                                   {"ram_mb", "4096"},
                                   {"allowed_bandwidth_gb", "3"},
                                   {"disk_gb", "128"},
                                   {"features", ",backups,"},
                                   {"tags", ",a,b,"}}),
                       WithPrefix(kVultr, "[2001:db8::8]:9100",
                                  {{"id", "i2"},
                                   {"os_id", "0"},
                                   {"main_ip", "2001:db8::8"},
                                   {"vcpu_count", "0"},
                                   {"ram_mb", "0"},
                                   {"allowed_bandwidth_gb", "0"},
                                   {"disk_gb", "0"}})}));
  const TestRequest request = pages.Last(std::string(kInstances));
  CHECK(request.Query("per_page") == "100");
  CHECK(request.Header("authorization") == "Bearer key");
  CHECK(BecomesStale(false));
}

TEST_CASE_FIXTURE(DiscoveryFixture, "vultr discovery: what fails keeps the last targets") {
  const std::string path(kInstances);
  const std::string one =
      R"({"instances":[{"id":"i1","main_ip":"192.0.2.7"}],"meta":{"links":{"next":"x"}}})";
  pages.Set(path, one);
  pages.Set(path + "?cursor=x", R"({"instances":[],"meta":{"links":{"next":""}}})");
  const VultrSdConfig config{.server = server.Url(""), .refresh_interval = 300};
  discovery = NewVultrDiscovery(config, "job", context, found.Callback());
  CHECK(Eventually([&] { return found.Targets().size() == 1; }));
  const auto fails = [&](const std::string& error) {
    const bool failed = Eventually([&] { return Status().last_error == error; });
    if (!failed) MESSAGE(Status().last_error);
    return failed && Status().stale && found.Targets().size() == 1;
  };
  pages.Set(path + "?cursor=x", R"({"error":"Invalid API token","status":401})", 401);
  CHECK(fails("server returned HTTP status 401 Reason"));
  pages.Set(path + "?cursor=x", "{}");
  CHECK(fails("expected a list of instances"));
  pages.Set(path + "?cursor=x", one);  // Names itself as the next page.
  CHECK(fails("more than 1000 pages of instances"));
  pages.Hang(true);
  CHECK(Eventually(
      [&] { return Status().last_error.find("deadline exceeded") != std::string::npos; }));
  CHECK(found.Targets().size() == 1);
  pages.Hang(false);
  pages.Set(path, R"({"instances":[],"meta":{"links":{"next":""}}})");
  CHECK(found.Becomes({}));
  CHECK(BecomesStale(false));
}

}  // namespace
}  // namespace varve
