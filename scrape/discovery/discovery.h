// SPDX-License-Identifier: Apache-2.0
//
// Where targets come from. A discovery calls back with the groups that are new or changed; a group
// replaces the one it said before under the same source, and one without targets is gone.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "model/labels.h"

namespace varve {

struct TargetGroup {
  std::string source;           // Unique within its discovery.
  Labels labels;                // Of every target.
  std::vector<Labels> targets;  // With __address__; win over `labels`.
};

// Called from any thread, one call at a time for one discovery. The first call says all that is
// known by then, even if that is nothing. May be called before the discovery's creation returns.
using TargetGroupsCallback = std::function<void(std::vector<TargetGroup>)>;

// Runs from its creation to its destruction, after which the callback neither runs nor will run.
class Discovery {
 public:
  virtual ~Discovery() = default;
};

}  // namespace varve
