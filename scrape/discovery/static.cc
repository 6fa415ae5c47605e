// SPDX-License-Identifier: Apache-2.0
//
// A discovery with nothing to discover.
#include "scrape/discovery/static.h"

#include <utility>

#include "scrape/target.h"

namespace varve {

TargetGroup StaticGroup(const StaticConfig& config, std::string source) {
  TargetGroup group;
  group.source = std::move(source);
  group.labels = config.labels;
  for (const std::string& address : config.targets) {
    group.targets.push_back(Labels::Of({{kAddressLabel, address}}));
  }
  return group;
}

std::unique_ptr<Discovery> NewStaticDiscovery(const std::vector<StaticConfig>& configs,
                                              const TargetGroupsCallback& callback) {
  std::vector<TargetGroup> groups;
  for (size_t i = 0; i < configs.size(); ++i) {
    groups.push_back(StaticGroup(configs[i], std::to_string(i)));
  }
  callback(std::move(groups));
  return std::make_unique<Discovery>();
}

}  // namespace varve
