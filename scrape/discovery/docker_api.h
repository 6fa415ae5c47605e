// SPDX-License-Identifier: Apache-2.0
//
// What both discoveries through the Docker Engine API need of it.
#pragma once

#include <absl/container/flat_hash_map.h>
#include <absl/status/statusor.h>

#include <string>
#include <string_view>
#include <vector>

#include "net/client.h"
#include "scrape/config.h"
#include "scrape/discovery/json_view.h"
#include "scrape/discovery/target_labels.h"

namespace varve {

// The largest answer read.
inline constexpr size_t kDockerAnswerBytesMax = 256 << 20;

// A GET of `path`, with `filters` if there are any, from a configured host.
ClientRequest DockerRequest(const std::string& host, const HttpClientConfig& http,
                            std::string_view path, const std::vector<DockerFilter>& filters,
                            DurationMs timeout);

// Labels by ID of a network, service or node.
using LabelsById = absl::flat_hash_map<std::string, TargetLabels>;

// Of an answer to /networks; `prefix` begins the labels' names.
LabelsById DockerNetworkLabels(JsonView networks, std::string_view prefix);
// Adds those of `id`, if it is known.
void AddLabelsOf(const LabelsById& all, std::string_view id, TargetLabels& labels);

// Parses `body` with `parser`, which outlives the view. `what` names it in errors.
absl::StatusOr<JsonView> ParseDockerAnswer(simdjson::dom::parser& parser, const std::string& body,
                                           std::string_view what);

}  // namespace varve
