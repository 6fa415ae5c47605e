// SPDX-License-Identifier: Apache-2.0
//
// From JSON to structs: every field, null and absent ones, hostile documents, and streams cut
// anywhere.
#include "kube/decoder.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "model/status_macros.h"
#include "tests/kube/objects_json.h"

namespace varve {
namespace {

using testing::EventJson;
using testing::kFullPod;
using testing::ListJson;
using testing::PodJson;
using testing::StatusJson;

absl::StatusOr<KubeWatchEvent> ParseAdded(std::string_view object,
                                          KubeResource resource = KubeResource::kPod) {
  KubeDecoder decoder(resource);
  return decoder.ParseEvent(EventJson("ADDED", object));
}

TEST_CASE("kube decoder: every field of a pod") {
  const KubeWatchEvent event = ParseAdded(kFullPod).value();
  CHECK(event.type == KubeWatchEvent::Type::kAdded);
  const KubeObject& object = *event.object;
  CHECK(object.Key() == "shop/web-7d9f-x2x1z");
  CHECK(object.metadata.name == "web-7d9f-x2x1z");
  CHECK(object.metadata.namespace_ == "shop");
  CHECK(object.metadata.uid == "0b5e6a9e-1111-2222-3333-444455556666");
  CHECK(object.metadata.resource_version == "48213");
  CHECK(object.metadata.labels ==
        KubePairs{{"app", "web"}, {"app.kubernetes.io/part-of", "shop \"quoted\" \xc3\xa9"}});
  CHECK(object.metadata.annotations ==
        KubePairs{{"prometheus.io/scrape", "true"}, {"prometheus.io/port", "9102"}});
  CHECK(object.metadata.owner_references ==
        std::vector<OwnerReference>{{"ReplicaSet", "web-7d9f", "ee01", true},
                                    {"Widget", "w", "ee02", false}});
  REQUIRE(object.pod() != nullptr);
  CHECK(object.node() == nullptr);
  const Pod& pod = *object.pod();
  CHECK(pod.node_name == "node-3");
  CHECK(pod.host_network);
  CHECK(pod.containers ==
        std::vector<Container>{
            {"web", "registry.example/web:1", "", {{"http", 8080, "TCP"}, {"", 9102, "UDP"}}},
            {"sidecar", "proxy:2", "", {}}});
  CHECK(pod.init_containers == std::vector<Container>{{"init", "init:1", "Always", {}}});
  CHECK(pod.pod_ip == "10.1.2.3");
  CHECK(pod.host_ip == "192.168.0.3");
  CHECK(pod.phase == "Running");
  CHECK(pod.conditions == std::vector<KubeCondition>{{"Ready", "True"}, {"PodScheduled", "True"}});
  CHECK(pod.container_statuses ==
        std::vector<ContainerStatus>{{"web", "containerd://abc"}, {"sidecar", ""}});
  CHECK(pod.init_container_statuses == std::vector<ContainerStatus>{{"init", "containerd://def"}});
}

TEST_CASE("kube decoder: null and absent fields are defaults") {
  const auto minimal = ParseAdded(R"({"metadata":{"name":"p","namespace":"n"}})").value();
  const auto nulls = ParseAdded(R"({"metadata":{"name":"p","namespace":"n","labels":null,
      "annotations":{},"ownerReferences":null},"spec":{"containers":null,"nodeName":null,
      "hostNetwork":null},"status":{"podIP":null,"conditions":[]}})")
                         .value();
  CHECK(*minimal.object == *nulls.object);
  CHECK(minimal.object->pod()->containers.empty());
}

TEST_CASE("kube decoder: a node and a namespace") {
  const auto node = ParseAdded(R"({"metadata":{"name":"n1"},"spec":{"providerID":"aws:///i-1"},
      "status":{"conditions":[{"type":"Ready","status":"True"}],
      "addresses":[{"type":"InternalIP","address":"10.0.0.1"}],
      "daemonEndpoints":{"kubeletEndpoint":{"Port":10250}}}})",
                               KubeResource::kNode)
                        .value();
  CHECK(node.object->Key() == "n1");
  REQUIRE(node.object->node() != nullptr);
  CHECK(*node.object->node() == Node{.provider_id = "aws:///i-1",
                                     .conditions = {{"Ready", "True"}},
                                     .addresses = {{"InternalIP", "10.0.0.1"}},
                                     .kubelet_port = 10250});
  const auto ns = ParseAdded(R"({"metadata":{"name":"shop"}})", KubeResource::kNamespace).value();
  CHECK(ns.object->metadata.name == "shop");
  CHECK(ns.object->pod() == nullptr);
}

TEST_CASE("kube decoder: a service") {
  const auto event = ParseAdded(R"({"metadata":{"name":"web","namespace":"shop"},"spec":{
      "type":"LoadBalancer","clusterIP":"10.96.0.1","loadBalancerIP":"192.0.2.1","externalName":"x",
      "ipFamilies":["IPv4","IPv6"],"ipFamilyPolicy":"PreferDualStack",
      "ports":[{"name":"http","port":80,"protocol":"TCP","targetPort":"web"}]},
      "status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.7"},{"hostname":"lb.example"}]}}})",
                                KubeResource::kService)
                         .value();
  REQUIRE(event.object->service() != nullptr);
  CHECK(*event.object->service() == Service{.type = "LoadBalancer",
                                            .cluster_ip = "10.96.0.1",
                                            .external_name = "x",
                                            .load_balancer_ip = "192.0.2.1",
                                            .load_balancer_ingress_ips = {"192.0.2.7"},
                                            .ip_families = {"IPv4", "IPv6"},
                                            .ip_family_policy = "PreferDualStack",
                                            .ports = {{"http", 80, "TCP"}}});
  const absl::Status bad = ParseAdded(R"({"metadata":{"name":"web","namespace":"shop"},
      "spec":{"ipFamilies":[4]}})",
                                      KubeResource::kService)
                               .status();
  CHECK(bad.message() == "Service shop/web: spec.ipFamilies is not an array of strings");
}

TEST_CASE("kube decoder: endpoints and slices") {
  const auto endpoints = ParseAdded(R"({"metadata":{"name":"web","namespace":"shop"},"subsets":[{
      "addresses":[{"ip":"10.0.0.1","nodeName":"n1","hostname":"h",
        "targetRef":{"kind":"Pod","namespace":"shop","name":"web-1"}}],
      "notReadyAddresses":[{"ip":"10.0.0.2"}],"ports":[{"name":"http","port":80,"protocol":"TCP"}]}]})",
                                    KubeResource::kEndpoints)
                             .value();
  const Endpoint first{.addresses = {"10.0.0.1"},
                       .conditions = {{"ready", "true"}},
                       .hostname = "h",
                       .node_name = "n1",
                       .target = {"Pod", "shop", "web-1"}};
  const Endpoint second{.addresses = {"10.0.0.2"}, .conditions = {{"ready", "false"}}};
  REQUIRE(endpoints.object->endpoints() != nullptr);
  CHECK(*endpoints.object->endpoints() ==
        Endpoints{.subsets = {{.endpoints = {first, second},
                               .ports = {{.name = "http", .port = 80, .protocol = "TCP"}}}}});

  const auto slice =
      ParseAdded(R"({"metadata":{"name":"web-x","namespace":"shop"},"addressType":"IPv4",
      "endpoints":[{"addresses":["10.0.0.1","10.0.0.3"],"conditions":{"ready":true,"serving":null,
        "terminating":false},"zone":"a","deprecatedTopology":{"k":"v"}}],
      "ports":[{"port":null,"appProtocol":"h2"}]})",
                 KubeResource::kEndpointSlice)
          .value();
  const Endpoint endpoint{.addresses = {"10.0.0.1", "10.0.0.3"},
                          .conditions = {{"ready", "true"}, {"terminating", "false"}},
                          .zone = "a",
                          .topology = {{"k", "v"}}};
  CHECK(*slice.object->endpoints() ==
        Endpoints{.address_type = "IPv4",
                  .subsets = {{.endpoints = {endpoint}, .ports = {{.app_protocol = "h2"}}}}});
}

TEST_CASE("kube decoder: an ingress, and resources of which only metadata counts") {
  const auto ingress = ParseAdded(R"({"metadata":{"name":"front","namespace":"shop"},"spec":{
      "ingressClassName":"nginx","tls":[{"hosts":["a.example"]},{"secretName":"s"}],
      "rules":[{"host":"a.example","http":{"paths":[{"path":"/x"},{}]}},{"http":null}]}})",
                                  KubeResource::kIngress)
                           .value();
  REQUIRE(ingress.object->ingress() != nullptr);
  CHECK(*ingress.object->ingress() == Ingress{.class_name = "nginx",
                                              .rules = {{"a.example", {"/x", ""}}, {"", {}}},
                                              .tls_hosts = {"a.example"}});
  const auto job =
      ParseAdded(R"({"metadata":{"name":"backup-1","namespace":"shop","ownerReferences":[
      {"kind":"CronJob","name":"backup","controller":true}]},"spec":{"parallelism":2}})",
                 KubeResource::kJob)
          .value();
  CHECK(job.object->metadata.owner_references[0].name == "backup");
  CHECK(job.object->body == decltype(job.object->body)(MetadataOnly{}));
}

TEST_CASE("kube decoder: lists") {
  KubeDecoder decoder(KubeResource::kPod);
  const KubeList list =
      decoder.ParseList(ListJson("77", {PodJson("a", "n", "1"), PodJson("b", "n", "2")}, "next"))
          .value();
  CHECK(list.resource_version == "77");
  CHECK(list.continue_token == "next");
  REQUIRE(list.items.size() == 2);
  CHECK(list.items[1]->Key() == "n/b");
  CHECK(decoder.ParseList(R"({"metadata":{},"items":null})")->items.empty());
  CHECK_FALSE(decoder.ParseList(R"({"kind":"Status"})").ok());
  CHECK_FALSE(decoder.ParseList("[]").ok());
  CHECK_FALSE(decoder.ParseList("").ok());
  const absl::Status bad =
      decoder.ParseList(ListJson("1", {PodJson("a", "n", "1"), R"({"metadata":{}})"})).status();
  CHECK(bad.code() == absl::StatusCode::kDataLoss);
}

TEST_CASE("kube decoder: bookmarks and errors") {
  KubeDecoder decoder(KubeResource::kPod);
  const auto bookmark = decoder
                            .ParseEvent(EventJson("BOOKMARK", R"({"kind":"Pod","apiVersion":"v1",
                                "metadata":{"resourceVersion":"99"},"spec":{"containers":null}})"))
                            .value();
  CHECK(bookmark.type == KubeWatchEvent::Type::kBookmark);
  CHECK(bookmark.object->metadata.resource_version == "99");
  CHECK_FALSE(bookmark.initial_events_end);
  CHECK(decoder
            .ParseEvent(EventJson("BOOKMARK", R"({"metadata":{"resourceVersion":"9","annotations":
                                              {"k8s.io/initial-events-end":"true"}}})"))
            ->initial_events_end);
  const auto error =
      decoder.ParseEvent(EventJson("ERROR", StatusJson(410, "Expired", "too old: 1 (5)"))).value();
  CHECK(error.type == KubeWatchEvent::Type::kError);
  CHECK(error.status.IsExpired());
  CHECK(error.status.message == "too old: 1 (5)");
}

TEST_CASE("kube decoder: a Status from an answer's body") {
  const KubeStatus too_large = ParseKubeStatus(504, R"({"kind":"Status","reason":"Timeout",
      "message":"Too large resource version: 5, current: 3","code":504,
      "details":{"causes":[{"reason":"ResourceVersionTooLarge","message":"x"}]}})");
  CHECK(too_large.resource_version_too_large);
  CHECK_FALSE(too_large.IsExpired());
  const KubeStatus html = ParseKubeStatus(502, std::string(2000, '<'));
  CHECK(html.code == 502);
  CHECK(html.message == std::string(500, '<'));
  CHECK(ParseKubeStatus(410, "").IsExpired());
}

TEST_CASE("kube decoder: wrong types are named") {
  struct Case {
    std::string object;
    std::string message;
  };
  const std::vector<Case> cases = {
      {R"({"metadata":{"namespace":"n"}})", "metadata.name is not a name"},
      {R"({})", "metadata.name is not a name"},
      {R"({"metadata":7})", "metadata is not an object"},
      {R"({"metadata":{"name":7}})", "metadata.name is not a string"},
      {R"({"metadata":{"name":"p","labels":{"a":1}}})",
       "Pod p: metadata.labels is not an object of strings"},
      {R"({"metadata":{"name":"p","namespace":"n"},"spec":{"containers":{}}})",
       "Pod n/p: spec.containers is not an array"},
      {R"({"metadata":{"name":"p"},"spec":{"containers":["x"]}})",
       "Pod p: spec.containers is not an array of objects"},
      {R"({"metadata":{"name":"p"},"spec":{"containers":[{"ports":[{"containerPort":"x"}]}]}})",
       "Pod p: spec.containers.ports.containerPort is not an integer"},
      {R"({"metadata":{"name":"p"},"spec":{"containers":[{"ports":[{"containerPort":1e99}]}]}})",
       "Pod p: spec.containers.ports.containerPort is not an integer"},
      {R"({"metadata":{"name":"p"},"spec":{"hostNetwork":"yes"}})",
       "Pod p: spec.hostNetwork is not a boolean"},
      {R"({"metadata":{"name":"p"},"status":[]})", "Pod p: status is not an object"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.object);
    const absl::Status status = ParseAdded(c.object).status();
    CHECK(status.code() == absl::StatusCode::kDataLoss);
    CHECK(MessageOf(status) == c.message);
  }
}

TEST_CASE("kube decoder: documents that are no events") {
  KubeDecoder decoder(KubeResource::kPod);
  for (const std::string text :
       {"", "{", "null", "[]", "{}", "\"x\"", R"({"type":"ADDED"})",
        R"({"type":"WEIRD","object":{}})", R"({"type":"ADDED","object":null})",
        R"({"type":"ADDED","object":[]})", "{\"type\":\"\xff\"}",
        R"({"type":"ADDED","object":{"metadata":{"name":"p"}}} trailing)"}) {
    CAPTURE(text);
    CHECK(decoder.ParseEvent(text).status().code() == absl::StatusCode::kDataLoss);
  }
}

TEST_CASE("kube decoder: nesting at the limit and past it") {
  // The event and its object are two levels, the pod's own field one more.
  const auto nested = [](size_t levels) {
    return fmt::format(R"({{"metadata":{{"name":"p"}},"x":{}{}}})", std::string(levels, '['),
                       std::string(levels, ']'));
  };
  CHECK(ParseAdded(nested(kKubeJsonDepthMax - 3)).ok());
  CHECK_FALSE(ParseAdded(nested(kKubeJsonDepthMax)).ok());
  CHECK_FALSE(ParseAdded(nested(1'000'000)).ok());
  // A decoder goes on working after it.
  KubeDecoder decoder(KubeResource::kPod);
  CHECK_FALSE(decoder.ParseEvent(EventJson("ADDED", nested(5000))).ok());
  CHECK(decoder.ParseEvent(EventJson("ADDED", kFullPod)).ok());
}

TEST_CASE("kube framer: a stream cut at every byte gives the same objects") {
  const std::string stream = EventJson("ADDED", kFullPod) + "\n" +
                             R"({"a":"}{\"[\\"} {"b":[{},[]]}{"c":"\\\""})" + "\r\n\t ";
  const std::vector<std::string> expected = {EventJson("ADDED", kFullPod), R"({"a":"}{\"[\\"})",
                                             R"({"b":[{},[]]})", R"({"c":"\\\""})"};
  for (size_t cut = 0; cut <= stream.size(); ++cut) {
    WatchFramer framer(1 << 20);
    std::vector<std::string> objects;
    const auto keep = [&objects](std::string_view object) {
      objects.emplace_back(object);
      return absl::OkStatus();
    };
    REQUIRE(framer.Append(std::string_view(stream).substr(0, cut), keep).ok());
    REQUIRE(framer.Append(std::string_view(stream).substr(cut), keep).ok());
    REQUIRE(objects == expected);
    REQUIRE(framer.AtBoundary());
  }
  WatchFramer framer(1 << 20);
  std::vector<std::string> objects;
  for (const char c : stream) {
    REQUIRE(framer
                .Append(std::string_view(&c, 1),
                        [&objects](std::string_view object) {
                          objects.emplace_back(object);
                          return absl::OkStatus();
                        })
                .ok());
  }
  CHECK(objects == expected);
}

TEST_CASE("kube framer: what is no object, and objects at the limit and past it") {
  const auto ignore = [](std::string_view) { return absl::OkStatus(); };
  for (const std::string_view text : {"x", "]", "[{}]", "\"{}\"", "{} 1", "}"}) {
    CAPTURE(text);
    WatchFramer framer(100);
    CHECK(framer.Append(text, ignore).code() == absl::StatusCode::kDataLoss);
  }
  const std::string object = R"({"k":"0123456789"})";
  for (const size_t step : {size_t{1}, size_t{7}, object.size()}) {
    for (const bool fits : {true, false}) {
      CAPTURE(step);
      CAPTURE(fits);
      WatchFramer framer(fits ? object.size() : object.size() - 1);
      absl::Status status;
      for (size_t i = 0; i < object.size() && status.ok(); i += step) {
        status = framer.Append(std::string_view(object).substr(i, step), ignore);
      }
      CHECK(status.ok() == fits);
    }
  }
  WatchFramer framer(100);
  CHECK(framer.Append("{}{}", [](std::string_view) { return absl::AbortedError("stop"); }) ==
        absl::AbortedError("stop"));
}

}  // namespace
}  // namespace varve
