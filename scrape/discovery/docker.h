// SPDX-License-Identifier: Apache-2.0
//
// Targets from the Docker Engine API, through a unix socket or HTTP: the containers of one engine,
// or the services, tasks or nodes of a swarm.
#pragma once

#include <absl/status/statusor.h>

#include <memory>
#include <string>
#include <vector>

#include "scrape/config.h"
#include "scrape/discovery/context.h"
#include "scrape/discovery/discovery.h"

namespace varve {

std::unique_ptr<Discovery> NewDockerDiscovery(const DockerSdConfig& config, const std::string& job,
                                              std::shared_ptr<DiscoveryContext> context,
                                              TargetGroupsCallback callback);

std::unique_ptr<Discovery> NewDockerSwarmDiscovery(const DockerSwarmSdConfig& config,
                                                   const std::string& job,
                                                   std::shared_ptr<DiscoveryContext> context,
                                                   TargetGroupsCallback callback);

}  // namespace varve
