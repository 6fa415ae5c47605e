// SPDX-License-Identifier: Apache-2.0
//
// Containers of one engine. All targets are one group, as in Prometheus.
#include "scrape/discovery/docker.h"

#include <fmt/format.h>

#include <map>
#include <optional>
#include <utility>

#include "model/percent_encoding.h"
#include "model/status_macros.h"
#include "net/credentials.h"
#include "scrape/discovery/docker_api.h"
#include "scrape/discovery/poll.h"

namespace varve {
namespace {

constexpr std::string_view kDockerPrefix = "__meta_docker_";
// How many containers may lend their network one to the next.
constexpr int kSharedNetworksMax = 100;

std::string EscapedJson(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += fmt::format("\\u{:04x}", c);
    } else {
      out += c;
    }
  }
  return out;
}

// {"name":{"value":true,...},...}
std::string FiltersJson(const std::vector<DockerFilter>& filters) {
  std::map<std::string, std::map<std::string, bool>> values;
  for (const DockerFilter& filter : filters) {
    for (const std::string& value : filter.values) values[filter.name][value] = true;
  }
  std::string json = "{";
  for (const auto& [name, of_name] : values) {
    json += fmt::format("{}\"{}\":{{", json.size() > 1 ? "," : "", EscapedJson(name));
    bool first = true;
    for (const auto& [value, set] : of_name) {
      json += fmt::format("{}\"{}\":{}", first ? "" : ",", EscapedJson(value), set);
      first = false;
    }
    json += "}";
  }
  return json + "}";
}

class ContainerReader {
 public:
  ContainerReader(const DockerSdConfig& config, JsonView containers, LabelsById networks)
      : config_(config), containers_(containers), network_labels_(std::move(networks)) {
    containers_.Each([this](JsonView container) { by_id_[container["Id"].Text()] = container; });
  }

  TargetGroup Read() {
    containers_.Each([this](JsonView container) { AddContainer(container); });
    return std::move(group_);
  }

 private:
  using Networks = std::map<std::string, JsonView>;  // By name.

  static Networks NetworksOf(JsonView container) {
    Networks networks;
    container["NetworkSettings"]["Networks"].EachMember(
        [&](std::string_view name, JsonView network) {
          if (network.exists()) networks.emplace(name, network);
        });
    return networks;
  }

  // Its own, or those of the container it shares them with.
  Networks Lookup(JsonView container) const {
    constexpr std::string_view kShared = "container:";
    Networks networks = NetworksOf(container);
    for (int hops = 0; networks.empty() && hops < kSharedNetworksMax; ++hops) {
      const std::string_view mode = container["HostConfig"]["NetworkMode"].Text();
      if (!mode.starts_with(kShared)) break;
      const auto other = by_id_.find(mode.substr(kShared.size()));
      if (other == by_id_.end()) break;
      container = other->second;
      networks = NetworksOf(container);
    }
    if (config_.match_first_network && networks.size() > 1) {
      networks.erase(std::next(networks.begin()), networks.end());
    }
    return networks;
  }

  void AddContainer(JsonView container) {
    std::optional<std::string_view> name;
    container["Names"].Each([&name](JsonView each) {
      if (!name) name = each.Text();
    });
    if (!name) return;
    TargetLabels common(kDockerPrefix);
    common.Add("container_id", container["Id"].Text());
    common.Add("container_name", *name);
    common.Add("container_image", container["Image"].Text());
    common.Add("container_image_id", container["ImageID"].Text());
    common.Add("container_network_mode", container["HostConfig"]["NetworkMode"].Text());
    container["Labels"].EachMember([&common](std::string_view key, JsonView value) {
      common.AddKeyed("container_label_", key, value.Text());
    });
    for (const auto& [network_name, network] : Lookup(container)) {
      AddNetwork(container, common, network);
    }
  }

  void AddNetwork(JsonView container, const TargetLabels& common, JsonView network) {
    const std::string_view ip = network["IPAddress"].Text();
    const auto start = [&] {
      TargetLabels labels(kDockerPrefix);
      labels.Add("network_ip", ip);
      return labels;
    };
    const auto finish = [&](TargetLabels labels) {
      labels.AddAll(common);
      AddLabelsOf(network_labels_, network["NetworkID"].Text(), labels);
      group_.targets.push_back(std::move(labels).Take());
    };
    bool added = false;
    container["Ports"].Each([&](JsonView port) {
      if (port["Type"].Text() != "tcp") return;
      TargetLabels labels = start();
      labels.Address(ip, port["PrivatePort"].Int());
      labels.Add("port_private", std::to_string(port["PrivatePort"].Int()));
      if (port["PublicPort"].Int() > 0) {
        labels.Add("port_public", std::to_string(port["PublicPort"].Int()));
        labels.Add("port_public_ip", port["IP"].Text());
      }
      finish(std::move(labels));
      added = true;
    });
    if (added) return;
    // Without a port of its own; containers in the host's network never have one.
    TargetLabels labels = start();
    if (container["HostConfig"]["NetworkMode"].Text() == "host") {
      labels.Address(config_.host_networking_host);
    } else {
      labels.Address(ip, config_.port);
    }
    finish(std::move(labels));
  }

  const DockerSdConfig& config_;
  const JsonView containers_;
  const LabelsById network_labels_;
  std::map<std::string_view, JsonView> by_id_;
  TargetGroup group_{.source = "Docker"};
};

absl::StatusOr<std::vector<TargetGroup>> ReadContainers(
    const DockerSdConfig& config, const std::vector<ClientResponse>& answers) {
  simdjson::dom::parser containers_parser;
  simdjson::dom::parser networks_parser;
  ASSIGN_OR_RETURN(const JsonView containers,
                   ParseDockerAnswer(containers_parser, answers[0].body, "containers"));
  ASSIGN_OR_RETURN(const JsonView networks,
                   ParseDockerAnswer(networks_parser, answers[1].body, "networks"));
  ContainerReader reader(config, containers, DockerNetworkLabels(networks, kDockerPrefix));
  return std::vector<TargetGroup>{reader.Read()};
}

}  // namespace

ClientRequest DockerRequest(const std::string& host, const HttpClientConfig& http,
                            std::string_view path, const std::vector<DockerFilter>& filters,
                            DurationMs timeout) {
  constexpr std::string_view kUnix = "unix://";
  constexpr std::string_view kTcp = "tcp://";
  ClientRequest request;
  std::string base = host;
  while (base.ends_with('/')) base.pop_back();
  if (host.starts_with(kUnix)) {
    request.unix_socket = host.substr(kUnix.size());
    base = "http://docker";
  } else {
    if (host.starts_with(kTcp)) base = "http://" + base.substr(kTcp.size());
    request.config = std::make_shared<HttpClientConfig>(http);
  }
  request.url = base + std::string(path);
  if (!filters.empty()) request.url += "?filters=" + PercentEncoded(FiltersJson(filters));
  request.timeout = std::chrono::milliseconds(timeout);
  request.body_bytes_max = kDockerAnswerBytesMax;
  return request;
}

LabelsById DockerNetworkLabels(JsonView networks, std::string_view prefix) {
  LabelsById all;
  networks.Each([&](JsonView network) {
    TargetLabels labels(prefix);
    labels.Add("network_id", network["Id"].Text());
    labels.Add("network_name", network["Name"].Text());
    labels.Add("network_scope", network["Scope"].Text());
    labels.Add("network_internal", network["Internal"].Bool() ? "true" : "false");
    labels.Add("network_ingress", network["Ingress"].Bool() ? "true" : "false");
    network["Labels"].EachMember([&labels](std::string_view key, JsonView value) {
      labels.AddKeyed("network_label_", key, value.Text());
    });
    all.insert_or_assign(std::string(network["Id"].Text()), std::move(labels));
  });
  return all;
}

void AddLabelsOf(const LabelsById& all, std::string_view id, TargetLabels& labels) {
  const auto found = all.find(std::string(id));
  if (found != all.end()) labels.AddAll(found->second);
}

absl::StatusOr<JsonView> ParseDockerAnswer(simdjson::dom::parser& parser, const std::string& body,
                                           std::string_view what) {
  simdjson::dom::element root;
  const simdjson::error_code error = parser.parse(body).get(root);
  if (error != simdjson::SUCCESS) {
    return absl::UnavailableError(
        fmt::format("error while listing {}: {}", what, simdjson::error_message(error)));
  }
  if (!root.is_array() && !root.is_null()) {
    return absl::UnavailableError(fmt::format("error while listing {}: expected a list", what));
  }
  return JsonView(root);
}

std::unique_ptr<Discovery> NewDockerDiscovery(const DockerSdConfig& config, const std::string& job,
                                              std::shared_ptr<DiscoveryContext> context,
                                              TargetGroupsCallback callback) {
  std::vector<ClientRequest> requests;
  requests.push_back(DockerRequest(config.host, config.http_client, "/containers/json",
                                   config.filters, config.refresh_interval));
  requests.push_back(
      DockerRequest(config.host, config.http_client, "/networks", {}, config.refresh_interval));
  auto source = NewHttpPollSource(
      std::move(requests),
      [config](const std::vector<ClientResponse>& answers) {
        return ReadContainers(config, answers);
      },
      context);
  return NewPolledDiscovery({.config = job,
                             .mechanism = "docker",
                             .source = RedactUrl(config.host),
                             .interval = config.refresh_interval},
                            std::move(source), std::move(context), std::move(callback));
}

}  // namespace varve
