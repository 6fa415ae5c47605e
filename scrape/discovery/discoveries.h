// SPDX-License-Identifier: Apache-2.0
//
// Starts whatever a configuration says targets come from.
#pragma once

#include <prometheus/registry.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "model/clock.h"
#include "net/client.h"
#include "scrape/config.h"
#include "scrape/discovery/context.h"
#include "scrape/discovery/discovery.h"
#include "scrape/discovery/kubernetes.h"

namespace varve {

// Thread-safe. Outlives the discoveries it started.
class Discoveries {
 public:
  // `user` names who discovers ("scrape") on /metrics. The references outlive the object.
  Discoveries(Clock& clock, HttpClient& http, prometheus::Registry& registry,
              const std::string& user);
  ~Discoveries() { Stop(); }

  // Starts those of `configs` for the job `name`, each with a callback of its own. As in
  // Prometheus, one that cannot start costs its own targets only: it is logged, counted, and its
  // callback is called without groups.
  std::vector<std::unique_ptr<Discovery>> Start(
      const DiscoveryConfigs& configs, const std::string& name,
      const std::function<TargetGroupsCallback()>& new_callback);

  // Of all that run, statically configured ones left out.
  std::vector<DiscoveryStatus> Statuses() const { return context_->healths.List(); }

  // Ends the worker; what is started later finds nothing. Idempotent.
  void Stop() { context_->workers.Stop(); }

 private:
  const std::shared_ptr<DiscoveryContext> context_;
  KubernetesSources kubernetes_;
  prometheus::Gauge& failed_configs_;
};

}  // namespace varve
