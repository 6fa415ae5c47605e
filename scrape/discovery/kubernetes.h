// SPDX-License-Identifier: Apache-2.0
//
// Targets from a Kubernetes cluster, through shared informers: however many jobs ask for the same
// objects, they are listed and watched once.
#pragma once

#include <absl/base/thread_annotations.h>
#include <absl/status/statusor.h>
#include <prometheus/registry.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "model/clock.h"
#include "model/mutex.h"
#include "scrape/config.h"
#include "scrape/discovery/discovery.h"
#include "scrape/discovery/health.h"

namespace varve {

// One API server as one identity: its client and its informers.
class KubernetesSource;

// Makes discoveries that share a source where their configuration lets them. Thread-safe.
class KubernetesSources {
 public:
  KubernetesSources(Clock& clock, prometheus::Registry& registry)
      : clock_(clock), registry_(registry) {}

  // NotFound outside a cluster if `config` names no server.
  absl::StatusOr<std::unique_ptr<Discovery>> NewDiscovery(const KubernetesSdConfig& config,
                                                          const std::string& job,
                                                          DiscoveryHealths& healths,
                                                          TargetGroupsCallback callback)
      ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  absl::StatusOr<std::shared_ptr<KubernetesSource>> Source(const KubernetesSdConfig& config)
      ABSL_LOCKS_EXCLUDED(mutex_);

  Clock& clock_;
  prometheus::Registry& registry_;

  Mutex mutex_;
  std::vector<std::pair<KubernetesSdConfig, std::weak_ptr<KubernetesSource>>> sources_
      ABSL_GUARDED_BY(mutex_);
};

}  // namespace varve
