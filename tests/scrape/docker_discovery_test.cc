// SPDX-License-Identifier: Apache-2.0
//
// Goal: what Docker's and Swarm's APIs tell becomes the targets and labels that Prometheus makes of
// it. Method: a fake server with pages of theirs.
#include "scrape/discovery/docker.h"
#include "tests/scrape/discovery_fixture.h"

namespace varve {
namespace {

using testing::DiscoveryFixture;
using testing::TempDir;
using testing::TestRequest;
using testing::TestServer;
using testing::WithPrefix;

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

}  // namespace
}  // namespace varve
