// SPDX-License-Identifier: Apache-2.0
//
// Goal: each backend's answers become the targets and labels that Prometheus makes of them; while a
// backend fails or hangs its last targets stay and it is marked stale. Method: fake backends.
#include "scrape/discovery/discovery.h"

#include <arpa/nameser.h>
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "model/status_macros.h"
#include "net/client.h"
#include "scrape/discovery/consul.h"
#include "scrape/discovery/directory_watch.h"
#include "scrape/discovery/dns.h"
#include "scrape/discovery/docker.h"
#include "scrape/discovery/http.h"
#include "scrape/discovery/vultr.h"
#include "tests/net/dns_server.h"
#include "tests/net/test_server.h"

namespace varve {
namespace {

using testing::DnsServer;
using testing::Eventually;
using testing::TempDir;
using testing::TestConnection;
using testing::TestRequest;
using testing::TestServer;

// What a discovery has said, as a pool would keep it.
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
std::string WithPrefix(std::string_view prefix, std::string_view address,
                       const std::vector<std::pair<std::string, std::string>>& labels) {
  std::vector<std::pair<std::string, std::string>> pairs = {{"__address__", std::string(address)}};
  for (const auto& [name, value] : labels) {
    pairs.emplace_back(fmt::format("{}{}", prefix, name), value);
  }
  return Labels::FromPairs(std::move(pairs)).ToString();
}

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

// ----------------------------------------------------------------------------------- Docker

constexpr std::string_view kContainers = R"([
 {"Id":"c1","Names":["/web"],"Image":"nginx:1","ImageID":"sha256:1",
  "Labels":{"com.example/a":"x","z":""},
  "HostConfig":{"NetworkMode":"front"},
  "Ports":[{"PrivatePort":80,"PublicPort":8080,"IP":"0.0.0.0","Type":"tcp"},
           {"PrivatePort":81,"Type":"tcp"},{"PrivatePort":53,"Type":"udp"}],
  "NetworkSettings":{"Networks":{"front":{"IPAddress":"172.1.0.2","NetworkID":"n1"},
                                 "back":{"IPAddress":"172.2.0.2","NetworkID":"n2"}}}},
 {"Id":"c2","Names":["/hosted"],"HostConfig":{"NetworkMode":"host"},"Ports":[],
  "NetworkSettings":{"Networks":{"host":{"IPAddress":"","NetworkID":"n3"}}}},
 {"Id":"c3","Names":["/sidecar"],"HostConfig":{"NetworkMode":"container:c1"},"Ports":[],
  "NetworkSettings":{"Networks":{}}},
 {"Id":"c4","Names":["/loop"],"HostConfig":{"NetworkMode":"container:c4"},
  "NetworkSettings":{"Networks":{}}},
 {"Id":"c5","Names":[],"HostConfig":{"NetworkMode":"front"}},
 {"Id":"c6","Names":["/none"],"HostConfig":{"NetworkMode":"none"},
  "NetworkSettings":{"Networks":null}}
])";
constexpr std::string_view kNetworks = R"([
 {"Id":"n1","Name":"front","Scope":"local","Internal":false,"Ingress":true,"Labels":{"k.1":"v"}},
 {"Id":"n2","Name":"back","Scope":"swarm","Internal":true,"Ingress":false,"Labels":null},
 {"Id":"n3","Name":"host","Scope":"local"}
])";

using LabelList = std::vector<std::pair<std::string, std::string>>;

LabelList operator+(LabelList a, const LabelList& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

const LabelList kFront = {{"network_id", "n1"},        {"network_name", "front"},
                          {"network_scope", "local"},  {"network_internal", "false"},
                          {"network_ingress", "true"}, {"network_label_k_1", "v"}};
const LabelList kBack = {{"network_id", "n2"},
                         {"network_name", "back"},
                         {"network_scope", "swarm"},
                         {"network_internal", "true"},
                         {"network_ingress", "false"}};

struct DockerFixture : DiscoveryFixture {
  DockerFixture() : DiscoveryFixture() {}
  explicit DockerFixture(TestServer::Options options) : DiscoveryFixture(std::move(options)) {
    pages.Set("/containers/json", std::string(kContainers));
    pages.Set("/networks", std::string(kNetworks));
  }

  static std::vector<std::string> Expected(bool all_networks) {
    constexpr std::string_view kDocker = "__meta_docker_";
    const LabelList web = {{"container_id", "c1"},
                           {"container_name", "/web"},
                           {"container_image", "nginx:1"},
                           {"container_image_id", "sha256:1"},
                           {"container_network_mode", "front"},
                           {"container_label_com_example_a", "x"}};
    const LabelList public_port = {
        {"port_private", "80"}, {"port_public", "8080"}, {"port_public_ip", "0.0.0.0"}};
    const LabelList sidecar = {{"container_id", "c3"},
                               {"container_name", "/sidecar"},
                               {"container_network_mode", "container:c1"}};
    std::vector<std::string> targets;
    const auto in_network = [&](const std::string& ip, const LabelList& network) {
      const LabelList common = network + LabelList{{"network_ip", ip}};
      targets.push_back(WithPrefix(kDocker, ip + ":80", web + common + public_port));
      targets.push_back(
          WithPrefix(kDocker, ip + ":81", web + common + LabelList{{"port_private", "81"}}));
      targets.push_back(WithPrefix(kDocker, ip + ":9000", sidecar + common));
    };
    in_network("172.2.0.2", kBack);  // The first by name.
    if (all_networks) in_network("172.1.0.2", kFront);
    targets.push_back(WithPrefix(kDocker, "myhost",
                                 {{"container_id", "c2"},
                                  {"container_name", "/hosted"},
                                  {"container_network_mode", "host"},
                                  {"network_id", "n3"},
                                  {"network_name", "host"},
                                  {"network_scope", "local"},
                                  {"network_internal", "false"},
                                  {"network_ingress", "false"}}));
    return targets;
  }
};

TEST_CASE("docker discovery: containers over HTTP") {
  DockerFixture f{TestServer::Options{}};
  DockerSdConfig config{.host = f.server.Url(""),
                        .port = 9000,
                        .host_networking_host = "myhost",
                        .filters = {{"name", {"b", "a\""}}, {"label", {"x=y"}}},
                        .refresh_interval = 50};
  config.http_client.basic_auth = BasicAuthConfig{.username = "u", .password = Secret("p")};
  f.discovery = NewDockerDiscovery(config, "job", f.context, f.found.Callback());
  CHECK(f.found.Becomes(DockerFixture::Expected(false)));
  const TestRequest request = f.pages.Last("/containers/json");
  CHECK(request.Query("filters") == R"({"label":{"x=y":true},"name":{"a\"":true,"b":true}})");
  CHECK_FALSE(f.pages.Last("/networks").HasQuery("filters"));
  CHECK(request.Header("authorization") == "Basic dTpw");

  f.pages.Set("/networks", "{}");
  CHECK(f.BecomesStale(true));
  CHECK(f.Status().last_error == "error while listing networks: expected a list");
  CHECK(f.found.Targets().size() == 4);
  f.pages.Set("/networks", "null");
  f.pages.Set("/containers/json", "[]");
  CHECK(f.found.Becomes({}));
}

TEST_CASE("docker discovery: through a unix socket, all networks") {
  TempDir directory;
  TestServer::Options options;
  options.unix_socket = directory.path() + "/docker.sock";
  DockerFixture f(options);
  f.discovery = NewDockerDiscovery({.host = "unix://" + options.unix_socket,
                                    .port = 9000,
                                    .host_networking_host = "myhost",
                                    .match_first_network = false,
                                    .refresh_interval = 50},
                                   "job", f.context, f.found.Callback());
  CHECK(f.found.Becomes(DockerFixture::Expected(true)));
}

// ----------------------------------------------------------------------------------- Vultr

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

// ----------------------------------------------------------------------------------- Swarm

constexpr std::string_view kServices = R"([
 {"ID":"s1","Spec":{"Name":"web","Labels":{"a-b":"c"},"Mode":{"Replicated":{"Replicas":2}},
   "TaskTemplate":{"ContainerSpec":{"Hostname":"h","Image":"nginx"}}},
  "UpdateStatus":{"State":"completed"},
  "Endpoint":{"Ports":[{"Name":"http","Protocol":"tcp","PublishedPort":30000,"PublishMode":"ingress"},
                       {"Name":"dns","Protocol":"udp","PublishedPort":53,"PublishMode":"ingress"}],
              "VirtualIPs":[{"NetworkID":"n1","Addr":"10.0.0.3/24"}]}},
 {"ID":"s2","Spec":{"Name":"agent","Mode":{"Global":{}}},
  "Endpoint":{"VirtualIPs":[{"NetworkID":"nx","Addr":"10.0.1.5/24"}]}}
])";
constexpr std::string_view kNodes = R"([
 {"ID":"m1","Spec":{"Role":"manager","Availability":"active","Labels":{"zone":"z1"}},
  "Description":{"Hostname":"host1","Platform":{"Architecture":"x86_64","OS":"linux"},
                 "Engine":{"EngineVersion":"24.0"}},
  "Status":{"State":"ready","Addr":"192.168.0.1"},
  "ManagerStatus":{"Leader":true,"Reachability":"reachable","Addr":"192.168.0.1:2377"}}
])";
constexpr std::string_view kTasks = R"([
 {"ID":"t1","ServiceID":"s1","NodeID":"m1","Slot":1,"DesiredState":"running",
  "Spec":{"ContainerSpec":{"Labels":{"l":"v"}}},
  "Status":{"State":"running","ContainerStatus":{"ContainerID":"k1"},
            "PortStatus":{"Ports":[{"Protocol":"tcp","PublishedPort":9000,"PublishMode":"host"}]}},
  "NetworksAttachments":[{"Network":{"ID":"n1"},"Addresses":["10.0.0.7/24"]}]},
 {"ID":"t2","ServiceID":"s2","NodeID":"gone","DesiredState":"shutdown","Status":{"State":"failed"},
  "NetworksAttachments":[{"Network":{"ID":"n2"},"Addresses":["10.0.1.7/24"]}]}
])";

constexpr std::string_view kSwarm = "__meta_dockerswarm_";
const LabelList kWebService = {{"service_id", "s1"},
                               {"service_name", "web"},
                               {"service_mode", "replicated"},
                               {"service_label_a_b", "c"}};
const LabelList kNode = {{"node_id", "m1"},
                         {"node_role", "manager"},
                         {"node_availability", "active"},
                         {"node_hostname", "host1"},
                         {"node_platform_architecture", "x86_64"},
                         {"node_platform_os", "linux"},
                         {"node_status", "ready"},
                         {"node_address", "192.168.0.1"},
                         {"node_label_zone", "z1"}};

struct SwarmFixture : DiscoveryFixture {
  SwarmFixture() {
    pages.Set("/services", std::string(kServices));
    pages.Set("/nodes", std::string(kNodes));
    pages.Set("/tasks", std::string(kTasks));
    pages.Set("/networks", std::string(kNetworks));
  }
  void Start(DockerSwarmRole role) {
    // "tcp" is how Docker's own tools write it.
    discovery = NewDockerSwarmDiscovery({.host = fmt::format("tcp://127.0.0.1:{}", server.port()),
                                         .role = role,
                                         .filters = {{"name", {"x"}}},
                                         .refresh_interval = 50},
                                        "job", context, found.Callback());
  }
};

TEST_CASE_FIXTURE(SwarmFixture, "docker swarm discovery: services") {
  Start(DockerSwarmRole::kServices);
  CHECK(found.Becomes(
      {WithPrefix(kSwarm, "10.0.0.3:30000",
                  kWebService + kFront +
                      LabelList{{"service_task_container_hostname", "h"},
                                {"service_task_container_image", "nginx"},
                                {"service_updating_status", "completed"},
                                {"service_endpoint_port_name", "http"},
                                {"service_endpoint_port_publish_mode", "ingress"}}),
       WithPrefix(kSwarm, "10.0.1.5:80",
                  {{"service_id", "s2"}, {"service_name", "agent"}, {"service_mode", "global"}})}));
  CHECK(pages.Last("/services").Query("filters") == R"({"name":{"x":true}})");
  pages.Set("/services", R"([{"Endpoint":{"VirtualIPs":[{"Addr":"10.0.0.3"}]}}])");
  CHECK(BecomesStale(true));
  CHECK(Status().last_error ==
        "error while parsing address 10.0.0.3: invalid CIDR address: 10.0.0.3");
  CHECK(found.Targets().size() == 2);
}

TEST_CASE_FIXTURE(SwarmFixture, "docker swarm discovery: nodes") {
  Start(DockerSwarmRole::kNodes);
  CHECK(
      found.Becomes({WithPrefix(kSwarm, "192.168.0.1:80",
                                kNode + LabelList{{"node_engine_version", "24.0"},
                                                  {"node_manager_leader", "true"},
                                                  {"node_manager_reachability", "reachable"},
                                                  {"node_manager_address", "192.168.0.1:2377"}})}));
}

TEST_CASE_FIXTURE(SwarmFixture, "docker swarm discovery: tasks") {
  Start(DockerSwarmRole::kTasks);
  const LabelList task =
      kWebService + kNode +
      LabelList{{"task_id", "t1"},  {"task_desired_state", "running"}, {"task_state", "running"},
                {"task_slot", "1"}, {"task_container_id", "k1"},       {"container_label_l", "v"}};
  CHECK(found.Becomes(
      {WithPrefix(kSwarm, "192.168.0.1:9000", task + LabelList{{"task_port_publish_mode", "host"}}),
       WithPrefix(kSwarm, "10.0.0.7:30000",
                  task + kFront + LabelList{{"task_port_publish_mode", "ingress"}}),
       WithPrefix(kSwarm, "10.0.1.7:80",
                  kBack + LabelList{{"service_id", "s2"},
                                    {"service_name", "agent"},
                                    {"service_mode", "global"},
                                    {"task_id", "t2"},
                                    {"task_desired_state", "shutdown"},
                                    {"task_state", "failed"},
                                    {"task_slot", "0"}})}));
  CHECK(pages.Last("/tasks").HasQuery("filters"));
  CHECK_FALSE(pages.Last("/services").HasQuery("filters"));
  CHECK_FALSE(pages.Last("/nodes").HasQuery("filters"));
}

// ----------------------------------------------------------------------------------- Consul

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
