// SPDX-License-Identifier: Apache-2.0
//
// Statistics of a query as JSON, for answers and for the query log.
#pragma once

#include "http/json_writer.h"
#include "promql/engine.h"

namespace varve {

// One object, `{"timings":{...},"samples":{...}}`.
void WriteQueryStats(JsonWriter& json, const promql::QueryStats& stats);

}  // namespace varve
