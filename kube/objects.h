// SPDX-License-Identifier: Apache-2.0
//
// Kubernetes objects as plain structs: the fields Varve uses, under Kubernetes' names. Absent and
// null fields have their type's default. Every other field (managedFields above all) is dropped, so
// that a store of many thousand pods stays small.
#pragma once

#include <absl/status/statusor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace varve {

// The nesting a JSON document from the API server may have.
inline constexpr size_t kKubeJsonDepthMax = 128;

// The resources Varve can list and watch. See ResourceInfoOf() for what they are called.
enum class KubeResource {
  kPod,
  kNode,
  kNamespace,
  kService,
  kEndpoints,
  kEndpointSlice,
  kIngress,
  kReplicaSet,
  kJob,
};

struct KubeResourceInfo {
  std::string_view kind;      // "Pod"
  std::string_view role;      // "pod": the `role` of Prometheus' metrics and configuration.
  std::string_view api_path;  // "/api/v1"
  std::string_view plural;    // "pods"
  bool namespaced;
};
const KubeResourceInfo& ResourceInfoOf(KubeResource resource);

using KubePairs = std::vector<std::pair<std::string, std::string>>;  // In the object's order.

struct OwnerReference {
  std::string kind;
  std::string name;
  std::string uid;
  bool controller = false;
  friend bool operator==(const OwnerReference&, const OwnerReference&) = default;
};

struct ObjectMeta {
  std::string name;
  std::string namespace_;  // Empty for cluster-scoped objects.
  std::string uid;
  std::string resource_version;  // Opaque.
  KubePairs labels;
  KubePairs annotations;
  std::vector<OwnerReference> owner_references;
  friend bool operator==(const ObjectMeta&, const ObjectMeta&) = default;
};

struct KubeCondition {
  std::string type;
  std::string status;
  friend bool operator==(const KubeCondition&, const KubeCondition&) = default;
};

struct ContainerPort {
  std::string name;
  int64_t container_port = 0;
  std::string protocol;
  friend bool operator==(const ContainerPort&, const ContainerPort&) = default;
};

struct Container {
  std::string name;
  std::string image;
  std::string restart_policy;  // "Always" on an init container: a sidecar.
  std::vector<ContainerPort> ports;
  friend bool operator==(const Container&, const Container&) = default;
};

struct ContainerStatus {
  std::string name;
  std::string container_id;
  friend bool operator==(const ContainerStatus&, const ContainerStatus&) = default;
};

struct Pod {
  std::string node_name;
  bool host_network = false;
  std::vector<Container> containers;
  std::vector<Container> init_containers;
  std::string pod_ip;
  std::string host_ip;
  std::string phase;
  std::vector<KubeCondition> conditions;
  std::vector<ContainerStatus> container_statuses;
  std::vector<ContainerStatus> init_container_statuses;
  friend bool operator==(const Pod&, const Pod&) = default;
};

struct NodeAddress {
  std::string type;
  std::string address;
  friend bool operator==(const NodeAddress&, const NodeAddress&) = default;
};

struct Node {
  std::string provider_id;
  std::vector<KubeCondition> conditions;
  std::vector<NodeAddress> addresses;
  int64_t kubelet_port = 0;  // 0: none given.
  friend bool operator==(const Node&, const Node&) = default;
};

struct ServicePort {
  std::string name;
  int64_t port = 0;
  std::string protocol;
  friend bool operator==(const ServicePort&, const ServicePort&) = default;
};

struct Service {
  std::string type;
  std::string cluster_ip;
  std::string external_name;
  std::string load_balancer_ip;
  std::vector<std::string> load_balancer_ingress_ips;
  std::vector<std::string> ip_families;
  std::string ip_family_policy;
  std::vector<ServicePort> ports;
  friend bool operator==(const Service&, const Service&) = default;
};

struct ObjectReference {
  std::string kind;  // Empty: there is none.
  std::string namespace_;
  std::string name;
  friend bool operator==(const ObjectReference&, const ObjectReference&) = default;
};

struct EndpointPort {
  std::string name;
  std::optional<int64_t> port;  // None: every port.
  std::string protocol;
  std::string app_protocol;
  friend bool operator==(const EndpointPort&, const EndpointPort&) = default;
};

// Of Endpoints one address each, of an EndpointSlice the addresses of one endpoint.
struct Endpoint {
  std::vector<std::string> addresses;
  KubePairs conditions;  // "ready", "serving", "terminating", as far as given: "true" or "false".
  std::string hostname;
  std::string node_name;
  std::string zone;
  ObjectReference target;
  KubePairs topology;
  friend bool operator==(const Endpoint&, const Endpoint&) = default;
};

// A subset of Endpoints, or what an EndpointSlice holds: every endpoint has every port.
struct EndpointSubset {
  std::vector<Endpoint> endpoints;
  std::vector<EndpointPort> ports;
  friend bool operator==(const EndpointSubset&, const EndpointSubset&) = default;
};

// Endpoints, and EndpointSlice as one subset.
struct Endpoints {
  std::string address_type;  // Of a slice: "IPv4", "IPv6" or "FQDN".
  std::vector<EndpointSubset> subsets;
  friend bool operator==(const Endpoints&, const Endpoints&) = default;
};

struct IngressRule {
  std::string host;
  std::vector<std::string> paths;
  friend bool operator==(const IngressRule&, const IngressRule&) = default;
};

struct Ingress {
  std::string class_name;
  std::vector<IngressRule> rules;
  std::vector<std::string> tls_hosts;
  friend bool operator==(const Ingress&, const Ingress&) = default;
};

// A resource of which only the metadata is used.
struct MetadataOnly {
  friend bool operator==(const MetadataOnly&, const MetadataOnly&) = default;
};

struct KubeObject {
  ObjectMeta metadata;
  std::variant<MetadataOnly, Pod, Node, Service, Endpoints, Ingress> body;

  // The object's key in a store: "namespace/name", or "name" if it has no namespace.
  std::string Key() const;
  // Null unless the object is of that kind.
  const Pod* pod() const { return std::get_if<Pod>(&body); }
  const Node* node() const { return std::get_if<Node>(&body); }
  const Service* service() const { return std::get_if<Service>(&body); }
  const Endpoints* endpoints() const { return std::get_if<Endpoints>(&body); }
  const Ingress* ingress() const { return std::get_if<Ingress>(&body); }

  friend bool operator==(const KubeObject&, const KubeObject&) = default;
};
using KubeObjectPtr = std::shared_ptr<const KubeObject>;

}  // namespace varve
