// SPDX-License-Identifier: Apache-2.0
//
// Targets from a Consul agent's catalog: a group per service. Changes come through blocking
// queries: an answer waits until there is something new, or two minutes.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "scrape/config.h"
#include "scrape/discovery/context.h"
#include "scrape/discovery/discovery.h"

namespace varve {

// How long an agent may keep a query, and how much longer its answer may take.
inline constexpr std::chrono::seconds kConsulWait{120};
inline constexpr std::chrono::seconds kConsulGrace{15};
// After a failure; the refresh interval if that is less.
inline constexpr DurationMs kConsulRetry = 15 * kSecond;
inline constexpr size_t kConsulAnswerBytesMax = 256 << 20;

std::unique_ptr<Discovery> NewConsulDiscovery(const ConsulSdConfig& config, const std::string& job,
                                              std::shared_ptr<DiscoveryContext> context,
                                              TargetGroupsCallback callback);

}  // namespace varve
