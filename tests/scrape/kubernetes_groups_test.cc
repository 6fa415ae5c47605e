// SPDX-License-Identifier: Apache-2.0
//
// Objects of Kubernetes as groups of targets. tests/e2e/test_kubernetes.py compares every role with
// other code on whole objects; here are the cases at the edges.
#include "scrape/discovery/kubernetes_groups.h"

#include <doctest/doctest.h>

#include <map>

namespace varve {
namespace {

using Objects = std::map<std::pair<KubeResource, std::string>, KubeObject>;

TargetGroup GroupOf(const KubernetesSdConfig& config, const KubeObject& object,
                    const Objects& others = {}) {
  return KubernetesGroup(config, object,
                         [&](KubeResource resource, const std::string& key) -> const KubeObject* {
                           const auto found = others.find({resource, key});
                           return found == others.end() ? nullptr : &found->second;
                         });
}

TargetGroup GroupOf(KubernetesRole role, const KubeObject& object, const Objects& others = {}) {
  return GroupOf(KubernetesSdConfig{.role = role}, object, others);
}

std::string Meta(const Labels& labels, std::string_view name) {
  return std::string(labels.Get("__meta_kubernetes_" + std::string(name)));
}

KubeObject Named(std::string name, std::string_view name_space = "ns") {
  KubeObject object;
  object.metadata.name = std::move(name);
  object.metadata.namespace_ = name_space;
  return object;
}

KubeObject PodOf(std::string name, std::string ip) {
  KubeObject object = Named(std::move(name));
  object.body = Pod{
      .node_name = "n1",
      .containers = {{.name = "app",
                      .ports = {{"http", 80, "TCP"}, {"dns", 53, "UDP"}, {"dns-tcp", 53, "TCP"}}},
                     {.name = "side", .ports = {{"admin", 80, "TCP"}}}},
      .pod_ip = std::move(ip),
      .phase = "Running"};
  return object;
}

TEST_CASE("kubernetes discovery: a pod's labels") {
  Pod pod;
  pod.pod_ip = "10.0.0.1";
  pod.host_ip = "10.1.0.1";
  pod.phase = "Running";
  pod.node_name = "n1";
  pod.conditions = {{"Initialized", "True"}, {"Ready", "True"}};
  pod.containers = {{.name = "app", .image = "app:1", .ports = {{"http", 80, "TCP"}}},
                    {.name = "side", .image = "side:1"}};
  pod.init_containers = {{.name = "setup", .image = "setup:1"}};
  pod.container_statuses = {{"app", "docker://a"}};
  KubeObject object;
  object.metadata = {.name = "p", .namespace_ = "ns", .uid = "u"};
  object.metadata.labels = {{"app.kubernetes.io/name", "shop"}};
  object.metadata.annotations = {{"prometheus.io/scrape", "true"}};
  object.metadata.owner_references = {{"ReplicaSet", "rs", "x", true}};
  object.body = pod;
  const TargetGroup group = GroupOf(KubernetesRole::kPod, object);
  CHECK(group.source == "pod/ns/p");
  const auto meta = [&](std::string_view name) {
    return std::string(group.labels.Get("__meta_kubernetes_" + std::string(name)));
  };
  CHECK(meta("namespace") == "ns");
  CHECK(meta("pod_name") == "p");
  CHECK(meta("pod_ip") == "10.0.0.1");
  CHECK(meta("pod_host_ip") == "10.1.0.1");
  CHECK(meta("pod_ready") == "true");
  CHECK(meta("pod_phase") == "Running");
  CHECK(meta("pod_node_name") == "n1");
  CHECK(meta("pod_uid") == "u");
  CHECK(meta("pod_controller_kind") == "ReplicaSet");
  CHECK(meta("pod_controller_name") == "rs");
  CHECK(meta("pod_label_app_kubernetes_io_name") == "shop");
  CHECK(meta("pod_labelpresent_app_kubernetes_io_name") == "true");
  CHECK(meta("pod_annotation_prometheus_io_scrape") == "true");
  REQUIRE(group.targets.size() == 3);
  CHECK(group.targets[0] == Labels::Of({{"__address__", "10.0.0.1:80"},
                                        {"__meta_kubernetes_pod_container_name", "app"},
                                        {"__meta_kubernetes_pod_container_id", "docker://a"},
                                        {"__meta_kubernetes_pod_container_image", "app:1"},
                                        {"__meta_kubernetes_pod_container_init", "false"},
                                        {"__meta_kubernetes_pod_container_port_name", "http"},
                                        {"__meta_kubernetes_pod_container_port_number", "80"},
                                        {"__meta_kubernetes_pod_container_port_protocol", "TCP"}}));
  CHECK(group.targets[1].Get("__address__") == "10.0.0.1");
  CHECK(group.targets[2].Get("__meta_kubernetes_pod_container_init") == "true");
  pod.pod_ip = "fd00::1";
  object.body = pod;
  CHECK(GroupOf(KubernetesRole::kPod, object).targets[0].Get("__address__") == "[fd00::1]:80");
  pod.pod_ip.clear();
  object.body = pod;
  CHECK(GroupOf(KubernetesRole::kPod, object).targets.empty());
}

TEST_CASE("kubernetes discovery: a node's address") {
  Node node;
  node.kubelet_port = 10250;
  node.provider_id = "cloud://1";
  node.conditions = {{"Ready", "True"}};
  node.addresses = {{"Hostname", "host"}, {"ExternalIP", "1.2.3.4"}, {"InternalIP", "10.0.0.1"}};
  KubeObject object;
  object.metadata.name = "n1";
  object.body = node;
  const TargetGroup group = GroupOf(KubernetesRole::kNode, object);
  CHECK(group.source == "node/n1");
  REQUIRE(group.targets.size() == 1);
  CHECK(group.targets[0].Get("__address__") == "10.0.0.1:10250");
  CHECK(group.targets[0].Get("instance") == "n1");
  CHECK(group.targets[0].Get("__meta_kubernetes_node_address_ExternalIP") == "1.2.3.4");
  CHECK(group.labels.Get("__meta_kubernetes_node_condition_ready") == "true");
  CHECK(group.labels.Get("__meta_kubernetes_node_provider_id") == "cloud://1");
  node.addresses.clear();
  object.body = node;
  CHECK(GroupOf(KubernetesRole::kNode, object).targets.empty());
}

TEST_CASE("kubernetes discovery: what a pod belongs to") {
  KubeObject pod = PodOf("web-1", "10.0.0.1");
  pod.metadata.owner_references = {{"ReplicaSet", "web-7d9f", "u", true}};
  KubeObject replica_set = Named("web-7d9f");
  replica_set.metadata.owner_references = {{"Deployment", "web", "u", true}};
  KubeObject node = Named("n1", "");
  node.metadata.labels = {{"zone", "a"}};
  KubeObject name_space = Named("ns", "");
  name_space.metadata.labels = {{"team", "shop"}};
  const Objects others = {{{KubeResource::kReplicaSet, "ns/web-7d9f"}, replica_set},
                          {{KubeResource::kNode, "n1"}, node},
                          {{KubeResource::kNamespace, "ns"}, name_space}};
  KubernetesSdConfig config{.role = KubernetesRole::kPod,
                            .attach_node = true,
                            .attach_namespace = true,
                            .attach_deployment = true,
                            .attach_job = true,
                            .attach_cronjob = true};
  const TargetGroup group = GroupOf(config, pod, others);
  CHECK(Meta(group.labels, "pod_deployment_name") == "web");
  CHECK(Meta(group.labels, "node_label_zone") == "a");
  CHECK(Meta(group.labels, "node_name") == "n1");
  CHECK(Meta(group.labels, "namespace_label_team") == "shop");
  CHECK(Meta(group.labels, "namespace_name").empty());
  CHECK(Meta(group.labels, "pod_job_name").empty());

  pod.metadata.owner_references = {{"Job", "backup-28", "u", true}};
  KubeObject job = Named("backup-28");
  job.metadata.owner_references = {{"CronJob", "backup", "u", true}};
  const TargetGroup of_job = GroupOf(config, pod, {{{KubeResource::kJob, "ns/backup-28"}, job}});
  CHECK(Meta(of_job.labels, "pod_job_name") == "backup-28");
  CHECK(Meta(of_job.labels, "pod_cronjob_name") == "backup");
  CHECK(of_job.targets.size() == 4);
  // With a selector on nodes, pods on others are not selected.
  config.selectors = {{.role = KubernetesRole::kNode, .label = "zone=a"}};
  CHECK(GroupOf(config, pod, {}).targets.empty());
  CHECK(GroupOf(config, pod, others).targets.size() == 4);
}

TEST_CASE("kubernetes discovery: addresses of a load balancer") {
  KubeObject object = Named("web");
  Service service{.type = "LoadBalancer",
                  .cluster_ip = "10.96.0.1",
                  .load_balancer_ip = "192.0.2.1",
                  .ports = {{"http", 80, "TCP"}}};
  object.body = service;
  TargetGroup group = GroupOf(KubernetesRole::kService, object);
  CHECK(group.source == "svc/ns/web");
  REQUIRE(group.targets.size() == 1);
  CHECK(group.targets[0].Get("__address__") == "web.ns.svc:80");
  CHECK(Meta(group.targets[0], "service_loadbalancer_ip") == "192.0.2.1");
  service.load_balancer_ingress_ips = {"192.0.2.7", "192.0.2.8"};
  object.body = service;
  group = GroupOf(KubernetesRole::kService, object);
  CHECK(Meta(group.targets[0], "service_loadbalancer_ip") == "192.0.2.7,192.0.2.8");
  service.ports.clear();
  object.body = service;
  CHECK(GroupOf(KubernetesRole::kService, object).targets.empty());
}

TEST_CASE("kubernetes discovery: which hosts of an ingress are secure") {
  KubeObject object = Named("front");
  object.body = Ingress{.rules = {{"a.example", {"/", ""}},
                                  {"b.c.example", {}},
                                  {"x.b.c.example", {}},
                                  {"c.example", {}}},
                        .tls_hosts = {"a.example", "*.c.example"}};
  const TargetGroup group = GroupOf(KubernetesRole::kIngress, object);
  std::vector<std::string> schemes;
  for (const Labels& target : group.targets) schemes.push_back(Meta(target, "ingress_scheme"));
  CHECK(schemes == std::vector<std::string>{"https", "https", "https", "http", "http"});
  CHECK(Meta(group.targets[1], "ingress_path") == "/");
  CHECK(Meta(group.labels, "ingress_class_name").empty());
}

TEST_CASE("kubernetes discovery: endpoints show their pods and the ports that are not theirs") {
  KubeObject object = Named("web");
  const Endpoint of_pod{.addresses = {"10.0.0.1"},
                        .conditions = {{"ready", "false"}},
                        .target = {"Pod", "ns", "web-1"}};
  const Endpoint of_node{.addresses = {"fd00::9"}, .target = {"Node", "", "n2"}};
  object.body =
      Endpoints{.subsets = {{.endpoints = {of_pod, of_node},
                             .ports = {{.name = "http", .port = 80, .protocol = "SCTP"}}}}};
  KubeObject node = Named("n2", "");
  node.metadata.labels = {{"zone", "b"}};
  const Objects others = {{{KubeResource::kPod, "ns/web-1"}, PodOf("web-1", "10.0.0.1")},
                          {{KubeResource::kNode, "n2"}, node}};
  const TargetGroup group =
      GroupOf({.role = KubernetesRole::kEndpoints, .attach_node = true}, object, others);
  REQUIRE(group.targets.size() == 4);
  const Labels& first = group.targets[0];
  CHECK(first.Get("__address__") == "10.0.0.1:80");
  CHECK(Meta(first, "endpoint_ready") == "false");
  CHECK(Meta(first, "pod_name") == "web-1");
  // The last container with the port, and the protocol of the endpoint.
  CHECK(Meta(first, "pod_container_name") == "side");
  CHECK(Meta(first, "pod_container_port_protocol") == "SCTP");
  CHECK(group.targets[1].Get("__address__") == "[fd00::9]:80");
  CHECK(Meta(group.targets[1], "node_label_zone") == "b");
  CHECK(Meta(group.targets[1], "pod_name").empty());
  CHECK(group.targets[2].Get("__address__") == "10.0.0.1:53");
  CHECK(Meta(group.targets[2], "pod_container_port_name") == "dns");
  CHECK(Meta(group.targets[3], "pod_container_port_name") == "dns-tcp");
  CHECK(Meta(group.targets[3], "endpoint_ready").empty());
}

TEST_CASE("kubernetes discovery: a service of both families has targets of its first") {
  KubeObject object = Named("web-x7");
  object.metadata.labels = {{"kubernetes.io/service-name", "web"}};
  object.body = Endpoints{.address_type = "IPv6",
                          .subsets = {{.endpoints = {{.addresses = {"fd00::1"},
                                                      .conditions = {{"serving", "true"}},
                                                      .topology = {{"topology.io/zone", "a"}}}},
                                       .ports = {{.name = "any"}}}}};
  KubeObject service = Named("web");
  Service body{.ip_families = {"IPv4", "IPv6"}, .ip_family_policy = "PreferDualStack"};
  service.body = body;
  const auto group = [&] {
    return GroupOf(KubernetesRole::kEndpointSlice, object,
                   {{{KubeResource::kService, "ns/web"}, service}});
  };
  CHECK(group().targets.empty());
  body.ip_families = {"IPv6", "IPv4"};
  service.body = body;
  REQUIRE(group().targets.size() == 1);
  const Labels target = group().targets[0];
  CHECK(target.Get("__address__") == "fd00::1");  // No port: any.
  CHECK(Meta(target, "endpointslice_endpoint_conditions_serving") == "true");
  CHECK(Meta(target, "endpointslice_endpoint_topology_topology_io_zone") == "a");
  CHECK(Meta(target, "endpointslice_endpoint_topology_present_topology_io_zone") == "true");
  CHECK(Meta(group().labels, "service_name") == "web");
  CHECK(Meta(group().labels, "endpointslice_address_type") == "IPv6");
}

}  // namespace
}  // namespace varve
