// SPDX-License-Identifier: Apache-2.0
//
// JSON as an API server sends it, for tests.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <vector>

namespace varve::testing {

inline constexpr std::string_view kFullPod = R"({"kind":"Pod","apiVersion":"v1","metadata":{
  "name":"web-7d9f-x2x1z","generateName":"web-7d9f-","namespace":"shop",
  "uid":"0b5e6a9e-1111-2222-3333-444455556666","resourceVersion":"48213",
  "creationTimestamp":"2026-01-02T03:04:05Z",
  "labels":{"app":"web","app.kubernetes.io/part-of":"shop \"quoted\" \u00e9"},
  "annotations":{"prometheus.io/scrape":"true","prometheus.io/port":"9102"},
  "ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"web-7d9f","uid":"ee01",
    "controller":true,"blockOwnerDeletion":true},{"kind":"Widget","name":"w","uid":"ee02"}],
  "managedFields":[{"manager":"kubelet","operation":"Update","fieldsV1":{"f:status":{"f:phase":{}}}}]},
 "spec":{"nodeName":"node-3","hostNetwork":true,"restartPolicy":"Always",
  "initContainers":[{"name":"init","image":"init:1","restartPolicy":"Always"}],
  "containers":[{"name":"web","image":"registry.example/web:1","ports":[
    {"name":"http","containerPort":8080,"protocol":"TCP"},{"containerPort":9102,"protocol":"UDP"}],
    "resources":{"limits":{"cpu":"1"}}},{"name":"sidecar","image":"proxy:2"}]},
 "status":{"phase":"Running","podIP":"10.1.2.3","podIPs":[{"ip":"10.1.2.3"}],"hostIP":"192.168.0.3",
  "conditions":[{"type":"Ready","status":"True","lastProbeTime":null},
    {"type":"PodScheduled","status":"True"}],
  "containerStatuses":[{"name":"web","containerID":"containerd://abc","ready":true,"restartCount":3},
    {"name":"sidecar"}],
  "initContainerStatuses":[{"name":"init","containerID":"containerd://def"}]}})";

inline std::string PodJson(std::string_view name, std::string_view ns, std::string_view version,
                           std::string_view ip = "10.0.0.1") {
  return fmt::format(
      R"({{"metadata":{{"name":"{}","namespace":"{}","resourceVersion":"{}"}},)"
      R"("spec":{{"containers":[{{"name":"c"}}]}},"status":{{"podIP":"{}","phase":"Running"}}}})",
      name, ns, version, ip);
}

inline std::string EventJson(std::string_view type, std::string_view object) {
  return fmt::format(R"({{"type":"{}","object":{}}})", type, object);
}

inline std::string BookmarkJson(std::string_view version) {
  return fmt::format(R"({{"type":"BOOKMARK","object":{{"kind":"Pod","apiVersion":"v1","metadata":)"
                     R"({{"resourceVersion":"{}","creationTimestamp":null}}}}}})",
                     version);
}

// The bookmark that ends a streaming list.
inline std::string ListEndJson(std::string_view version) {
  return fmt::format(R"({{"type":"BOOKMARK","object":{{"kind":"Pod","apiVersion":"v1","metadata":)"
                     R"({{"resourceVersion":"{}","creationTimestamp":null,"annotations":)"
                     R"({{"k8s.io/initial-events-end":"true"}}}}}}}})",
                     version);
}

inline std::string ListJson(std::string_view version, const std::vector<std::string>& items,
                            std::string_view next = "") {
  return fmt::format(
      R"({{"kind":"PodList","apiVersion":"v1","metadata":{{"resourceVersion":"{}"{}}},"items":[{}]}})",
      version, next.empty() ? "" : fmt::format(R"(,"continue":"{}")", next), fmt::join(items, ","));
}

inline std::string StatusJson(int code, std::string_view reason, std::string_view message) {
  return fmt::format(
      R"({{"kind":"Status","apiVersion":"v1","metadata":{{}},"status":"Failure","message":"{}",)"
      R"("reason":"{}","code":{}}})",
      message, reason, code);
}

}  // namespace varve::testing
