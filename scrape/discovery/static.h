// SPDX-License-Identifier: Apache-2.0
//
// Targets written in the configuration.
#pragma once

#include <memory>
#include <vector>

#include "scrape/config.h"
#include "scrape/discovery/discovery.h"

namespace varve {

// The group a static_config stands for.
TargetGroup StaticGroup(const StaticConfig& config, std::string source);

// Calls back once, before it returns.
std::unique_ptr<Discovery> NewStaticDiscovery(const std::vector<StaticConfig>& configs,
                                              const TargetGroupsCallback& callback);

}  // namespace varve
