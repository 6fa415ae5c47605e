// SPDX-License-Identifier: Apache-2.0
//
// Services, tasks and nodes of a swarm. All targets are one group, as in Prometheus.
#include <fmt/format.h>

#include <optional>
#include <utility>

#include "model/status_macros.h"
#include "net/credentials.h"
#include "scrape/discovery/docker.h"
#include "scrape/discovery/docker_api.h"
#include "scrape/discovery/poll.h"

namespace varve {
namespace {

constexpr std::string_view kSwarmPrefix = "__meta_dockerswarm_";

// The addresses that an answer writes as `10.0.0.3/24`.
absl::StatusOr<std::string> AddressOfRange(std::string_view range) {
  const size_t slash = range.find('/');
  if (slash == std::string_view::npos || slash == 0) {
    return absl::UnavailableError(
        fmt::format("error while parsing address {}: invalid CIDR address: {}", range, range));
  }
  return std::string(range.substr(0, slash));
}

std::string_view ServiceMode(JsonView service) {
  const JsonView mode = service["Spec"]["Mode"];
  if (mode["Global"].exists()) return "global";
  if (mode["Replicated"].exists()) return "replicated";
  return "";
}

void AddServiceLabels(JsonView service, TargetLabels& labels) {
  labels.Add("service_id", service["ID"].Text());
  labels.Add("service_name", service["Spec"]["Name"].Text());
  labels.Add("service_mode", ServiceMode(service));
  service["Spec"]["Labels"].EachMember([&labels](std::string_view key, JsonView value) {
    labels.AddKeyed("service_label_", key, value.Text());
  });
}

// What targets of nodes and of tasks on them have in common.
void AddNodeLabels(JsonView node, TargetLabels& labels) {
  const JsonView description = node["Description"];
  labels.Add("node_id", node["ID"].Text());
  labels.Add("node_role", node["Spec"]["Role"].Text());
  labels.Add("node_availability", node["Spec"]["Availability"].Text());
  labels.Add("node_hostname", description["Hostname"].Text());
  labels.Add("node_platform_architecture", description["Platform"]["Architecture"].Text());
  labels.Add("node_platform_os", description["Platform"]["OS"].Text());
  labels.Add("node_status", node["Status"]["State"].Text());
  labels.Add("node_address", node["Status"]["Addr"].Text());
  node["Spec"]["Labels"].EachMember([&labels](std::string_view key, JsonView value) {
    labels.AddKeyed("node_label_", key, value.Text());
  });
}

class SwarmReader {
 public:
  explicit SwarmReader(const DockerSwarmSdConfig& config) : config_(config) {}

  absl::StatusOr<std::vector<TargetGroup>> Read(const std::vector<ClientResponse>& answers) {
    std::vector<JsonView> lists;
    for (const ClientResponse& answer : answers) {
      auto& parser = parsers_.emplace_back(std::make_unique<simdjson::dom::parser>());
      ASSIGN_OR_RETURN(const JsonView list,
                       ParseDockerAnswer(*parser, answer.body, DockerSwarmRoleText(config_.role)));
      lists.push_back(list);
    }
    // In the order of SwarmPaths().
    switch (config_.role) {
      case DockerSwarmRole::kServices:
        networks_ = DockerNetworkLabels(lists[1], kSwarmPrefix);
        lists[0].Each([this](JsonView service) { AddService(service); });
        break;
      case DockerSwarmRole::kTasks:
        ReadServicesOfTasks(lists[1]);
        ReadNodesOfTasks(lists[2]);
        networks_ = DockerNetworkLabels(lists[3], kSwarmPrefix);
        lists[0].Each([this](JsonView task) { AddTask(task); });
        break;
      case DockerSwarmRole::kNodes:
        lists[0].Each([this](JsonView node) { AddNode(node); });
        break;
    }
    RETURN_IF_ERROR(status_);
    return std::vector<TargetGroup>{std::move(group_)};
  }

 private:
  // A target of `common` and `network` at `host` and `port`.
  void AddTarget(TargetLabels labels, const TargetLabels& common, std::string_view network,
                 std::string_view host, int64_t port) {
    labels.AddAll(common);
    AddLabelsOf(networks_, network, labels);
    labels.Address(host, port);
    group_.targets.push_back(std::move(labels).Take());
  }

  // The address of a range, or nothing and the error kept.
  std::optional<std::string> Address(std::string_view range) {
    absl::StatusOr<std::string> address = AddressOfRange(range);
    if (address.ok()) return *std::move(address);
    if (status_.ok()) status_ = address.status();
    return std::nullopt;
  }

  void AddService(JsonView service) {
    const JsonView container = service["Spec"]["TaskTemplate"]["ContainerSpec"];
    TargetLabels common(kSwarmPrefix);
    AddServiceLabels(service, common);
    common.Add("service_task_container_hostname", container["Hostname"].Text());
    common.Add("service_task_container_image", container["Image"].Text());
    common.Add("service_updating_status", service["UpdateStatus"]["State"].Text());
    service["Endpoint"]["VirtualIPs"].Each([&](JsonView ip) {
      const std::optional<std::string> address = Address(ip["Addr"].Text());
      if (!address) return;
      bool added = false;
      service["Endpoint"]["Ports"].Each([&](JsonView port) {
        if (port["Protocol"].Text() != "tcp") return;
        TargetLabels labels(kSwarmPrefix);
        labels.Add("service_endpoint_port_name", port["Name"].Text());
        labels.Add("service_endpoint_port_publish_mode", port["PublishMode"].Text());
        AddTarget(std::move(labels), common, ip["NetworkID"].Text(), *address,
                  port["PublishedPort"].Int());
        added = true;
      });
      if (!added) {
        AddTarget(TargetLabels(kSwarmPrefix), common, ip["NetworkID"].Text(), *address,
                  config_.port);
      }
    });
  }

  void AddNode(JsonView node) {
    TargetLabels labels(kSwarmPrefix);
    AddNodeLabels(node, labels);
    labels.Add("node_engine_version", node["Description"]["Engine"]["EngineVersion"].Text());
    const JsonView manager = node["ManagerStatus"];
    if (manager.exists()) {
      labels.Add("node_manager_leader", manager["Leader"].Bool() ? "true" : "false");
      labels.Add("node_manager_reachability", manager["Reachability"].Text());
      labels.Add("node_manager_address", manager["Addr"].Text());
    }
    labels.Address(node["Status"]["Addr"].Text(), config_.port);
    group_.targets.push_back(std::move(labels).Take());
  }

  void ReadServicesOfTasks(JsonView services) {
    services.Each([this](JsonView service) {
      TargetLabels labels(kSwarmPrefix);
      AddServiceLabels(service, labels);
      const std::string id(service["ID"].Text());
      services_.insert_or_assign(id, std::move(labels));
      ports_.insert_or_assign(id, service["Endpoint"]["Ports"]);
    });
  }

  void ReadNodesOfTasks(JsonView nodes) {
    nodes.Each([this](JsonView node) {
      TargetLabels labels(kSwarmPrefix);
      AddNodeLabels(node, labels);
      const std::string id(node["ID"].Text());
      nodes_.insert_or_assign(id, std::move(labels));
      addresses_.insert_or_assign(id, node["Status"]["Addr"].Text());
    });
  }

  void AddTask(JsonView task) {
    TargetLabels common(kSwarmPrefix);
    common.Add("task_id", task["ID"].Text());
    common.Add("task_desired_state", task["DesiredState"].Text());
    common.Add("task_state", task["Status"]["State"].Text());
    common.Add("task_slot", std::to_string(task["Slot"].Int()));
    common.Add("task_container_id", task["Status"]["ContainerStatus"]["ContainerID"].Text());
    task["Spec"]["ContainerSpec"]["Labels"].EachMember(
        [&common](std::string_view key, JsonView value) {
          common.AddKeyed("container_label_", key, value.Text());
        });
    AddLabelsOf(services_, task["ServiceID"].Text(), common);
    AddLabelsOf(nodes_, task["NodeID"].Text(), common);
    const std::string_view node_address = addresses_[std::string(task["NodeID"].Text())];
    EachTcpPort(task["Status"]["PortStatus"]["Ports"], [&](TargetLabels labels, int64_t port) {
      AddTarget(std::move(labels), common, "", node_address, port);
    });
    task["NetworksAttachments"].Each([&](JsonView attachment) {
      attachment["Addresses"].Each([&](JsonView range) {
        if (const auto address = Address(range.Text())) {
          AddTaskAddress(task, common, attachment["Network"]["ID"].Text(), *address);
        }
      });
    });
  }

  void AddTaskAddress(JsonView task, const TargetLabels& common, std::string_view network,
                      std::string_view address) {
    bool added = false;
    const JsonView ports = ports_[std::string(task["ServiceID"].Text())];
    EachTcpPort(ports, [&](TargetLabels labels, int64_t port) {
      AddTarget(std::move(labels), common, network, address, port);
      added = true;
    });
    if (!added) AddTarget(TargetLabels(kSwarmPrefix), common, network, address, config_.port);
  }

  template <typename Add>
  static void EachTcpPort(JsonView ports, const Add& add) {
    ports.Each([&add](JsonView port) {
      if (port["Protocol"].Text() != "tcp") return;
      TargetLabels labels(kSwarmPrefix);
      labels.Add("task_port_publish_mode", port["PublishMode"].Text());
      add(std::move(labels), port["PublishedPort"].Int());
    });
  }

  const DockerSwarmSdConfig& config_;
  std::vector<std::unique_ptr<simdjson::dom::parser>> parsers_;  // Hold what the views refer to.
  LabelsById networks_;
  LabelsById services_;
  LabelsById nodes_;
  absl::flat_hash_map<std::string, JsonView> ports_;              // By service.
  absl::flat_hash_map<std::string, std::string_view> addresses_;  // By node.
  TargetGroup group_{.source = "DockerSwarm"};
  absl::Status status_;  // The first error.
};

// What is asked for a role. The first list is the role's own, which the filters are for.
std::vector<std::string_view> SwarmPaths(DockerSwarmRole role) {
  switch (role) {
    case DockerSwarmRole::kServices:
      return {"/services", "/networks"};
    case DockerSwarmRole::kTasks:
      return {"/tasks", "/services", "/nodes", "/networks"};
    case DockerSwarmRole::kNodes:
      return {"/nodes"};
  }
  return {};
}

}  // namespace

std::unique_ptr<Discovery> NewDockerSwarmDiscovery(const DockerSwarmSdConfig& config,
                                                   const std::string& job,
                                                   std::shared_ptr<DiscoveryContext> context,
                                                   TargetGroupsCallback callback) {
  std::vector<ClientRequest> requests;
  for (const std::string_view path : SwarmPaths(config.role)) {
    requests.push_back(DockerRequest(
        config.host, config.http_client, path,
        requests.empty() ? config.filters : std::vector<DockerFilter>(), config.refresh_interval));
  }
  auto source = NewHttpPollSource(
      std::move(requests),
      [config](const std::vector<ClientResponse>& answers) {
        return SwarmReader(config).Read(answers);
      },
      context);
  return NewPolledDiscovery({.config = job,
                             .mechanism = "dockerswarm",
                             .source = RedactUrl(config.host),
                             .interval = config.refresh_interval},
                            std::move(source), std::move(context), std::move(callback));
}

}  // namespace varve
