// SPDX-License-Identifier: Apache-2.0
//
// simdjson's DOM: it validates the whole document before anything is read from it, and limits the
// nesting. Fields are then looked up by name, in any order.
#include "kube/decoder.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <optional>
#include <utility>

#include "model/status_macros.h"

namespace varve {
namespace {

namespace dom = simdjson::dom;

constexpr size_t kStatusMessageBytesMax = 500;
constexpr size_t kParserCapacity = 64 << 10;
// Buffers that a longer event has enlarged are given back.
constexpr size_t kKeptCapacityMax = 1 << 20;

// Reads the fields of one object. Absent and null are the default; a field of another type is an
// error, of which the first is kept in `status`.
class FieldReader {
 public:
  // A reader of a whole document, or of an object whose errors begin with itself.
  FieldReader(dom::object object, absl::Status& status) : object_(object), status_(status) {}

  std::string String(std::string_view name) const {
    std::string_view value;
    dom::element element;
    if (!Find(name, element)) return "";
    if (element.get_string().get(value) != simdjson::SUCCESS) Fail(name, "a string");
    return std::string(value);
  }

  bool Bool(std::string_view name) const {
    bool value = false;
    dom::element element;
    if (Find(name, element) && element.get_bool().get(value) != simdjson::SUCCESS) {
      Fail(name, "a boolean");
    }
    return value;
  }

  int64_t Int(std::string_view name) const {
    int64_t value = 0;
    dom::element element;
    if (Find(name, element) && element.get_int64().get(value) != simdjson::SUCCESS) {
      Fail(name, "an integer");
    }
    return value;
  }

  // None if the field is absent or null.
  std::optional<int64_t> OptionalInt(std::string_view name) const {
    dom::element element;
    if (!Find(name, element)) return std::nullopt;
    return Int(name);
  }
  std::optional<bool> OptionalBool(std::string_view name) const {
    dom::element element;
    if (!Find(name, element)) return std::nullopt;
    return Bool(name);
  }

  // The array of strings `name`.
  std::vector<std::string> Strings(std::string_view name) const {
    std::vector<std::string> strings;
    dom::element element;
    if (!Find(name, element)) return strings;
    dom::array children;
    if (element.get_array().get(children) != simdjson::SUCCESS) {
      Fail(name, "an array");
      return strings;
    }
    for (const dom::element item : children) {
      std::string_view value;
      if (item.get_string().get(value) != simdjson::SUCCESS) {
        Fail(name, "an array of strings");
        return strings;
      }
      strings.emplace_back(value);
    }
    return strings;
  }

  // Calls `read` with a reader of the object `name`, if there is one.
  template <typename Read>
  void Object(std::string_view name, Read read) const {
    dom::element element;
    if (!Find(name, element)) return;
    dom::object child;
    if (element.get_object().get(child) != simdjson::SUCCESS) return Fail(name, "an object");
    read(FieldReader(child, this, name));
  }

  // Calls `read` with a reader of each object in the array `name`.
  template <typename Read>
  void Each(std::string_view name, Read read) const {
    dom::element element;
    if (!Find(name, element)) return;
    dom::array children;
    if (element.get_array().get(children) != simdjson::SUCCESS) return Fail(name, "an array");
    for (const dom::element item : children) {
      dom::object child;
      if (item.get_object().get(child) != simdjson::SUCCESS) {
        return Fail(name, "an array of objects");
      }
      read(FieldReader(child, this, name));
    }
  }

  // The object `name` as pairs of strings.
  KubePairs Pairs(std::string_view name) const {
    KubePairs pairs;
    dom::element element;
    if (!Find(name, element)) return pairs;
    dom::object child;
    if (element.get_object().get(child) != simdjson::SUCCESS) {
      Fail(name, "an object");
      return pairs;
    }
    pairs.reserve(child.size());
    for (const auto field : child) {
      std::string_view value;
      if (!field.value.is_null() && field.value.get_string().get(value) != simdjson::SUCCESS) {
        Fail(name, "an object of strings");
        return pairs;
      }
      pairs.emplace_back(field.key, value);
    }
    return pairs;
  }

  FieldReader AsRoot() const { return FieldReader(object_, status_); }

  void Fail(std::string_view name, std::string_view expected) const {
    if (!status_.ok()) return;
    status_ = absl::DataLossError(fmt::format("{} is not {}", PathOf(name), expected));
  }

 private:
  // Lives no longer than `parent` and the call it is passed to.
  FieldReader(dom::object object, const FieldReader* parent, std::string_view name)
      : object_(object), parent_(parent), name_(name), status_(parent->status_) {}

  bool Find(std::string_view name, dom::element& element) const {
    return object_.at_key(name).get(element) == simdjson::SUCCESS && !element.is_null();
  }

  std::string PathOf(std::string_view name) const {
    return parent_ == nullptr ? std::string(name)
                              : fmt::format("{}.{}", parent_->PathOf(name_), name);
  }

  dom::object object_;
  const FieldReader* parent_ = nullptr;
  std::string_view name_;
  absl::Status& status_;
};

ObjectMeta ReadMetadata(const FieldReader& reader) {
  ObjectMeta meta;
  meta.name = reader.String("name");
  meta.namespace_ = reader.String("namespace");
  meta.uid = reader.String("uid");
  meta.resource_version = reader.String("resourceVersion");
  meta.labels = reader.Pairs("labels");
  meta.annotations = reader.Pairs("annotations");
  reader.Each("ownerReferences", [&meta](const FieldReader& owner) {
    meta.owner_references.push_back({.kind = owner.String("kind"),
                                     .name = owner.String("name"),
                                     .uid = owner.String("uid"),
                                     .controller = owner.Bool("controller")});
  });
  return meta;
}

std::vector<KubeCondition> ReadConditions(const FieldReader& status) {
  std::vector<KubeCondition> conditions;
  status.Each("conditions", [&](const FieldReader& condition) {
    conditions.push_back({condition.String("type"), condition.String("status")});
  });
  return conditions;
}

std::vector<Container> ReadContainers(const FieldReader& spec, std::string_view name) {
  std::vector<Container> containers;
  spec.Each(name, [&](const FieldReader& reader) {
    Container container;
    container.name = reader.String("name");
    container.image = reader.String("image");
    container.restart_policy = reader.String("restartPolicy");
    reader.Each("ports", [&container](const FieldReader& port) {
      container.ports.push_back({.name = port.String("name"),
                                 .container_port = port.Int("containerPort"),
                                 .protocol = port.String("protocol")});
    });
    containers.push_back(std::move(container));
  });
  return containers;
}

std::vector<ContainerStatus> ReadContainerStatuses(const FieldReader& status,
                                                   std::string_view name) {
  std::vector<ContainerStatus> statuses;
  status.Each(name, [&](const FieldReader& reader) {
    statuses.push_back({reader.String("name"), reader.String("containerID")});
  });
  return statuses;
}

Pod ReadPod(const FieldReader& object) {
  Pod pod;
  object.Object("spec", [&pod](const FieldReader& spec) {
    pod.node_name = spec.String("nodeName");
    pod.host_network = spec.Bool("hostNetwork");
    pod.containers = ReadContainers(spec, "containers");
    pod.init_containers = ReadContainers(spec, "initContainers");
  });
  object.Object("status", [&pod](const FieldReader& status) {
    pod.pod_ip = status.String("podIP");
    pod.host_ip = status.String("hostIP");
    pod.phase = status.String("phase");
    pod.conditions = ReadConditions(status);
    pod.container_statuses = ReadContainerStatuses(status, "containerStatuses");
    pod.init_container_statuses = ReadContainerStatuses(status, "initContainerStatuses");
  });
  return pod;
}

Node ReadNode(const FieldReader& object) {
  Node node;
  object.Object("spec",
                [&node](const FieldReader& spec) { node.provider_id = spec.String("providerID"); });
  object.Object("status", [&node](const FieldReader& status) {
    node.conditions = ReadConditions(status);
    status.Each("addresses", [&node](const FieldReader& address) {
      node.addresses.push_back({address.String("type"), address.String("address")});
    });
    status.Object("daemonEndpoints", [&node](const FieldReader& endpoints) {
      endpoints.Object("kubeletEndpoint", [&node](const FieldReader& endpoint) {
        node.kubelet_port = endpoint.Int("Port");
      });
    });
  });
  return node;
}

Service ReadService(const FieldReader& object) {
  Service service;
  object.Object("spec", [&service](const FieldReader& spec) {
    service.type = spec.String("type");
    service.cluster_ip = spec.String("clusterIP");
    service.external_name = spec.String("externalName");
    service.load_balancer_ip = spec.String("loadBalancerIP");
    service.ip_families = spec.Strings("ipFamilies");
    service.ip_family_policy = spec.String("ipFamilyPolicy");
    spec.Each("ports", [&service](const FieldReader& port) {
      service.ports.push_back({port.String("name"), port.Int("port"), port.String("protocol")});
    });
  });
  object.Object("status", [&service](const FieldReader& status) {
    status.Object("loadBalancer", [&service](const FieldReader& balancer) {
      balancer.Each("ingress", [&service](const FieldReader& ingress) {
        std::string ip = ingress.String("ip");
        if (!ip.empty()) service.load_balancer_ingress_ips.push_back(std::move(ip));
      });
    });
  });
  return service;
}

std::vector<EndpointPort> ReadEndpointPorts(const FieldReader& reader) {
  std::vector<EndpointPort> ports;
  reader.Each("ports", [&ports](const FieldReader& port) {
    ports.push_back({.name = port.String("name"),
                     .port = port.OptionalInt("port"),
                     .protocol = port.String("protocol"),
                     .app_protocol = port.String("appProtocol")});
  });
  return ports;
}

// What an address of Endpoints and an endpoint of a slice have in common.
Endpoint ReadEndpoint(const FieldReader& reader) {
  Endpoint endpoint;
  endpoint.hostname = reader.String("hostname");
  endpoint.node_name = reader.String("nodeName");
  reader.Object("targetRef", [&endpoint](const FieldReader& target) {
    endpoint.target = {target.String("kind"), target.String("namespace"), target.String("name")};
  });
  return endpoint;
}

Endpoints ReadEndpoints(const FieldReader& object) {
  Endpoints endpoints;
  object.Each("subsets", [&endpoints](const FieldReader& reader) {
    EndpointSubset& subset = endpoints.subsets.emplace_back();
    subset.ports = ReadEndpointPorts(reader);
    for (const auto& [name, ready] :
         {std::pair("addresses", "true"), std::pair("notReadyAddresses", "false")}) {
      reader.Each(name, [&subset, ready = ready](const FieldReader& address) {
        Endpoint endpoint = ReadEndpoint(address);
        endpoint.addresses = {address.String("ip")};
        endpoint.conditions = {{"ready", ready}};
        subset.endpoints.push_back(std::move(endpoint));
      });
    }
  });
  return endpoints;
}

Endpoints ReadEndpointSlice(const FieldReader& object) {
  Endpoints slice;
  slice.address_type = object.String("addressType");
  EndpointSubset& subset = slice.subsets.emplace_back();
  subset.ports = ReadEndpointPorts(object);
  object.Each("endpoints", [&subset](const FieldReader& reader) {
    Endpoint endpoint = ReadEndpoint(reader);
    endpoint.addresses = reader.Strings("addresses");
    endpoint.zone = reader.String("zone");
    endpoint.topology = reader.Pairs("deprecatedTopology");
    reader.Object("conditions", [&endpoint](const FieldReader& conditions) {
      for (const std::string_view name : {"ready", "serving", "terminating"}) {
        const std::optional<bool> value = conditions.OptionalBool(name);
        if (value) endpoint.conditions.emplace_back(name, *value ? "true" : "false");
      }
    });
    subset.endpoints.push_back(std::move(endpoint));
  });
  return slice;
}

Ingress ReadIngress(const FieldReader& object) {
  Ingress ingress;
  object.Object("spec", [&ingress](const FieldReader& spec) {
    ingress.class_name = spec.String("ingressClassName");
    spec.Each("rules", [&ingress](const FieldReader& reader) {
      IngressRule& rule = ingress.rules.emplace_back();
      rule.host = reader.String("host");
      reader.Object("http", [&rule](const FieldReader& http) {
        http.Each("paths",
                  [&rule](const FieldReader& path) { rule.paths.push_back(path.String("path")); });
      });
    });
    spec.Each("tls", [&ingress](const FieldReader& tls) {
      for (std::string& host : tls.Strings("hosts")) ingress.tls_hosts.push_back(std::move(host));
    });
  });
  return ingress;
}

void ReadBody(KubeResource resource, const FieldReader& reader, KubeObject& object) {
  switch (resource) {
    case KubeResource::kPod:
      object.body = ReadPod(reader);
      break;
    case KubeResource::kNode:
      object.body = ReadNode(reader);
      break;
    case KubeResource::kService:
      object.body = ReadService(reader);
      break;
    case KubeResource::kEndpoints:
      object.body = ReadEndpoints(reader);
      break;
    case KubeResource::kEndpointSlice:
      object.body = ReadEndpointSlice(reader);
      break;
    case KubeResource::kIngress:
      object.body = ReadIngress(reader);
      break;
    case KubeResource::kNamespace:
    case KubeResource::kReplicaSet:
    case KubeResource::kJob:
      break;
  }
}

// `is_bookmark`: an object that has nothing but a resource version.
KubeObjectPtr ReadObject(KubeResource resource, const FieldReader& reader, bool is_bookmark,
                         absl::Status& status) {
  auto object = std::make_shared<KubeObject>();
  reader.Object("metadata",
                [&](const FieldReader& metadata) { object->metadata = ReadMetadata(metadata); });
  if (!is_bookmark) {
    if (object->metadata.name.empty()) reader.Fail("metadata.name", "a name");
    ReadBody(resource, reader, *object);
  }
  if (!status.ok() && !object->metadata.name.empty()) {
    status = absl::DataLossError(
        fmt::format("{} {}: {}", ResourceInfoOf(resource).kind, object->Key(), MessageOf(status)));
  }
  return object;
}

KubeStatus ReadStatus(const FieldReader& reader) {
  KubeStatus status;
  status.code = static_cast<int>(reader.Int("code"));
  status.reason = reader.String("reason");
  status.message = reader.String("message");
  reader.Object("details", [&status](const FieldReader& details) {
    details.Each("causes", [&status](const FieldReader& cause) {
      if (cause.String("reason") == "ResourceVersionTooLarge") {
        status.resource_version_too_large = true;
      }
    });
  });
  return status;
}

absl::StatusOr<dom::object> ParseObject(dom::parser& parser, std::string_view json) {
  dom::element root;
  simdjson::error_code error = parser.parse(json.data(), json.size()).get(root);
  if (error != simdjson::SUCCESS) {
    return absl::DataLossError(fmt::format("invalid JSON: {}", simdjson::error_message(error)));
  }
  dom::object object;
  if (root.get_object().get(object) != simdjson::SUCCESS) {
    return absl::DataLossError("not a JSON object");
  }
  return object;
}

std::unique_ptr<dom::parser> NewParser() {
  auto parser = std::make_unique<dom::parser>();
  // On failure parse() tries again, and reports it.
  [[maybe_unused]] const auto error = parser->allocate(kParserCapacity, kKubeJsonDepthMax);
  return parser;
}

absl::StatusOr<KubeWatchEvent::Type> EventTypeOf(std::string_view name) {
  using Type = KubeWatchEvent::Type;
  if (name == "ADDED") return Type::kAdded;
  if (name == "MODIFIED") return Type::kModified;
  if (name == "DELETED") return Type::kDeleted;
  if (name == "BOOKMARK") return Type::kBookmark;
  if (name == "ERROR") return Type::kError;
  return absl::DataLossError("unknown type of watch event");
}

}  // namespace

struct KubeDecoder::Parser {
  std::unique_ptr<dom::parser> dom = NewParser();
};

KubeDecoder::KubeDecoder(KubeResource resource)
    : resource_(resource), parser_(std::make_unique<Parser>()) {}
KubeDecoder::~KubeDecoder() = default;

absl::StatusOr<KubeList> KubeDecoder::ParseList(std::string_view json) {
  // A parser of its own, as a page's buffers are many megabytes.
  const std::unique_ptr<dom::parser> parser = NewParser();
  ASSIGN_OR_RETURN(const dom::object root, ParseObject(*parser, json));
  dom::element items;
  if (root.at_key("items").get(items) != simdjson::SUCCESS) {
    return absl::DataLossError("not a list: there are no items");
  }
  KubeList list;
  absl::Status status;
  const FieldReader reader(root, status);
  reader.Object("metadata", [&list](const FieldReader& metadata) {
    list.resource_version = metadata.String("resourceVersion");
    list.continue_token = metadata.String("continue");
  });
  reader.Each("items", [&](const FieldReader& item) {
    if (!status.ok()) return;
    list.items.push_back(ReadObject(resource_, item.AsRoot(), false, status));
  });
  RETURN_IF_ERROR(status);
  return list;
}

absl::StatusOr<KubeWatchEvent> KubeDecoder::ParseEvent(std::string_view json) {
  if (parser_->dom->capacity() > kKeptCapacityMax) parser_->dom = NewParser();
  ASSIGN_OR_RETURN(const dom::object root, ParseObject(*parser_->dom, json));
  absl::Status status;
  const FieldReader reader(root, status);
  KubeWatchEvent event;
  ASSIGN_OR_RETURN(event.type, EventTypeOf(reader.String("type")));
  bool has_object = false;
  reader.Object("object", [&](const FieldReader& object) {
    has_object = true;
    if (event.type == KubeWatchEvent::Type::kError) {
      event.status = ReadStatus(object);
      return;
    }
    const bool is_bookmark = event.type == KubeWatchEvent::Type::kBookmark;
    event.object = ReadObject(resource_, object.AsRoot(), is_bookmark, status);
    if (!is_bookmark) return;
    for (const auto& [name, value] : event.object->metadata.annotations) {
      if (name == "k8s.io/initial-events-end" && value == "true") event.initial_events_end = true;
    }
  });
  RETURN_IF_ERROR(status);
  if (!has_object) return absl::DataLossError("a watch event without an object");
  return event;
}

KubeStatus ParseKubeStatus(int http_status, std::string_view body) {
  KubeStatus result;
  const std::unique_ptr<dom::parser> parser = NewParser();
  const absl::StatusOr<dom::object> root = ParseObject(*parser, body);
  if (root.ok()) {
    absl::Status ignored;  // What can be read of it is better than nothing.
    result = ReadStatus(FieldReader(*root, ignored));
  }
  if (result.code == 0) result.code = http_status;
  if (result.message.empty()) {
    result.message = body.substr(0, kStatusMessageBytesMax);
  }
  return result;
}

absl::Status WatchFramer::Append(std::string_view bytes,
                                 absl::FunctionRef<absl::Status(std::string_view)> on_object) {
  const auto too_long = [this] {
    return absl::ResourceExhaustedError(
        fmt::format("a watch event is longer than {} bytes", event_bytes_max_));
  };
  size_t begin = 0;  // Of the current object's part in `bytes`.
  for (size_t i = 0; i < bytes.size(); ++i) {
    const char c = bytes[i];
    if (depth_ == 0) {
      if (c == ' ' || c == '\n' || c == '\r' || c == '\t') continue;
      if (c != '{') return absl::DataLossError("a watch stream holds something else than objects");
      begin = i;
      depth_ = 1;
      continue;
    }
    if (in_string_) {
      if (escaped_) {
        escaped_ = false;
      } else if (c == '\\') {
        escaped_ = true;
      } else if (c == '"') {
        in_string_ = false;
      }
      continue;
    }
    if (c == '"') {
      in_string_ = true;
    } else if (c == '{' || c == '[') {
      ++depth_;
    } else if ((c == '}' || c == ']') && --depth_ == 0) {
      const std::string_view part = bytes.substr(begin, i + 1 - begin);
      if (pending_.size() + part.size() > event_bytes_max_) return too_long();
      if (pending_.empty()) {
        RETURN_IF_ERROR(on_object(part));
      } else {
        pending_.append(part);
        RETURN_IF_ERROR(on_object(pending_));
        pending_.clear();
        if (pending_.capacity() > kKeptCapacityMax) pending_.shrink_to_fit();
      }
    }
  }
  if (depth_ == 0) return absl::OkStatus();
  pending_.append(bytes.substr(begin));
  return pending_.size() > event_bytes_max_ ? too_long() : absl::OkStatus();
}

}  // namespace varve
