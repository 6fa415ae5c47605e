// SPDX-License-Identifier: Apache-2.0
//
// Targets from DNS records: a group per name. A name that no server can tell about keeps its
// targets, one that is known not to exist has none.
#pragma once

#include <memory>
#include <string>

#include "net/dns.h"
#include "scrape/config.h"
#include "scrape/discovery/context.h"
#include "scrape/discovery/discovery.h"

namespace varve {

std::unique_ptr<Discovery> NewDnsDiscovery(const DnsSdConfig& config, const std::string& job,
                                           std::shared_ptr<DiscoveryContext> context,
                                           TargetGroupsCallback callback, DnsOptions options = {});

}  // namespace varve
