// SPDX-License-Identifier: Apache-2.0
//
// One function per kind does the work; this is the list of them.
#include "scrape/discovery/discoveries.h"

#include <prometheus/gauge.h>
#include <spdlog/spdlog.h>

#include <utility>

#include "model/log_line.h"
#include "model/status_macros.h"
#include "scrape/discovery/consul.h"
#include "scrape/discovery/dns.h"
#include "scrape/discovery/docker.h"
#include "scrape/discovery/file.h"
#include "scrape/discovery/http.h"
#include "scrape/discovery/static.h"
#include "scrape/discovery/vultr.h"

namespace varve {

Discoveries::Discoveries(Clock& clock, HttpClient& http, prometheus::Registry& registry,
                         const std::string& user)
    : context_(std::make_shared<DiscoveryContext>(clock, http, registry)),
      kubernetes_(clock, registry),
      failed_configs_(prometheus::BuildGauge()
                          .Name("prometheus_sd_failed_configs")
                          .Help("Current number of discoveries that could not start.")
                          .Register(registry)
                          .Add({{"name", user}})) {}

std::vector<std::unique_ptr<Discovery>> Discoveries::Start(
    const DiscoveryConfigs& configs, const std::string& name,
    const std::function<TargetGroupsCallback()>& new_callback) {
  std::vector<std::unique_ptr<Discovery>> started;
  started.push_back(NewStaticDiscovery(configs.static_configs, new_callback()));
  const auto start = [&](const auto& list, auto create) {
    for (const auto& config : list) {
      started.push_back(create(config, name, context_, new_callback()));
    }
  };
  start(configs.file_sd_configs, NewFileDiscovery);
  start(configs.http_sd_configs, NewHttpDiscovery);
  start(configs.dns_sd_configs,
        [](const DnsSdConfig& config, const std::string& job,
           std::shared_ptr<DiscoveryContext> context, TargetGroupsCallback callback) {
          return NewDnsDiscovery(config, job, std::move(context), std::move(callback));
        });
  start(configs.consul_sd_configs, NewConsulDiscovery);
  start(configs.docker_sd_configs, NewDockerDiscovery);
  start(configs.dockerswarm_sd_configs, NewDockerSwarmDiscovery);
  start(configs.vultr_sd_configs, NewVultrDiscovery);
  for (const KubernetesSdConfig& config : configs.kubernetes_sd_configs) {
    TargetGroupsCallback callback = new_callback();
    absl::StatusOr<std::unique_ptr<Discovery>> discovery =
        kubernetes_.NewDiscovery(config, name, context_->healths, callback);
    if (discovery.ok()) {
      started.push_back(std::move(*discovery));
      continue;
    }
    spdlog::error(LogLine(
        "Cannot create service discovery",
        {{"type", "kubernetes"}, {"config", name}, {"err", MessageOf(discovery.status())}}));
    failed_configs_.Increment();
    callback({});
  }
  return started;
}

}  // namespace varve
