// SPDX-License-Identifier: Apache-2.0
//
// Names of the configuration's enumerations.
#include "scrape/config.h"

namespace varve {

std::string_view ScrapeProtocolText(ScrapeProtocol protocol) {
  switch (protocol) {
    case ScrapeProtocol::kPrometheusProto:
      return "PrometheusProto";
    case ScrapeProtocol::kOpenMetricsText1_0_0:
      return "OpenMetricsText1.0.0";
    case ScrapeProtocol::kOpenMetricsText0_0_1:
      return "OpenMetricsText0.0.1";
    case ScrapeProtocol::kPrometheusText1_0_0:
      return "PrometheusText1.0.0";
    case ScrapeProtocol::kPrometheusText0_0_4:
      return "PrometheusText0.0.4";
  }
  return "";
}

std::string_view KubernetesRoleText(KubernetesRole role) {
  switch (role) {
    case KubernetesRole::kNode:
      return "node";
    case KubernetesRole::kPod:
      return "pod";
    case KubernetesRole::kService:
      return "service";
    case KubernetesRole::kEndpoints:
      return "endpoints";
    case KubernetesRole::kEndpointSlice:
      return "endpointslice";
    case KubernetesRole::kIngress:
      return "ingress";
  }
  return "";
}

std::string_view DockerSwarmRoleText(DockerSwarmRole role) {
  switch (role) {
    case DockerSwarmRole::kServices:
      return "services";
    case DockerSwarmRole::kTasks:
      return "tasks";
    case DockerSwarmRole::kNodes:
      return "nodes";
  }
  return "";
}

}  // namespace varve
