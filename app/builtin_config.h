// SPDX-License-Identifier: Apache-2.0
//
// What is scraped when nobody has written a configuration: the server itself, a node exporter on
// this machine, and in a Kubernetes cluster the pods that ask for it by annotation.
#pragma once

#include <absl/status/statusor.h>

#include <string>
#include <string_view>

#include "app/config.h"

namespace varve {

// Where a node exporter is looked for.
inline constexpr int kNodeExporterPort = 9100;

// What the built-in configuration depends on.
struct BuiltinSurroundings {
  bool node_exporter = false;  // Something answers on kNodeExporterPort.
  bool in_cluster = false;     // The process has a cluster's service account.
  std::string account_dir;     // With the account's `token` and `ca.crt`.
};

// The configuration as YAML; `listen_address` is the server's own, `0.0.0.0:9090`.
std::string BuiltinConfigYaml(std::string_view listen_address,
                              const BuiltinSurroundings& surroundings);

// Looks around and returns the configuration for what it finds.
absl::StatusOr<Config> BuiltinConfig(std::string_view listen_address,
                                     const ConfigOptions& options = {});

}  // namespace varve
