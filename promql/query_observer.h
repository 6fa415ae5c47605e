// SPDX-License-Identifier: Apache-2.0
//
// Who asked a query, and who is told when it has ended.
#pragma once

#include <absl/status/status.h>

#include <string>
#include <string_view>

#include "model/time.h"

namespace varve::promql {

struct QueryStats;

// Of an HTTP request or of a rule; what does not apply is empty.
struct QueryOrigin {
  std::string client_ip;
  std::string method;
  std::string path;
  std::string rule_file;
  std::string rule_group;
};

struct FinishedQuery {
  std::string_view query;
  TimestampMs start = 0;
  TimestampMs end = 0;
  DurationMs step = 0;  // 0 for an instant query.
  const QueryStats& stats;
  const absl::Status& status;
  const QueryOrigin& origin;
};

class QueryObserver {
 public:
  virtual ~QueryObserver() = default;
  // Called in the query's thread for every query that parsed, whether it succeeded or not.
  // Thread-safe.
  virtual void QueryFinished(const FinishedQuery& query) = 0;
};

}  // namespace varve::promql
