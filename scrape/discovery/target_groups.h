// SPDX-License-Identifier: Apache-2.0
//
// Target groups as files and HTTP servers write them: a list of {targets: [...], labels: {...}}.
#pragma once

#include <absl/status/statusor.h>

#include <string>
#include <string_view>
#include <vector>

#include "scrape/discovery/discovery.h"

namespace varve {

// The groups of `text`; JSON is read as the YAML it is. Their sources are `ORIGIN:INDEX`, and each
// gets the label `origin_label` with `origin`, a path or URL. InvalidArgument names the line.
absl::StatusOr<std::vector<TargetGroup>> ParseTargetGroups(std::string_view text,
                                                           const std::string& origin,
                                                           std::string_view origin_label);

// Appends empty groups for the sources of `origin` from index `from` up to `to`: those are gone.
void DropTargetGroups(const std::string& origin, size_t from, size_t to,
                      std::vector<TargetGroup>& changed);

}  // namespace varve
