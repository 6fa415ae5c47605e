// SPDX-License-Identifier: Apache-2.0
//
// Prometheus' names, and the memory of a query beside them.
#include "http/query_stats.h"

namespace varve {
namespace {

// Nothing if there are none.
void WriteStepCounts(JsonWriter& json, std::string_view name, const promql::StepCounts& counts) {
  if (counts.empty()) return;
  json.Key(name);
  json.BeginArray();
  for (const auto& [time, count] : counts) {
    json.BeginArray();
    json.Timestamp(time);
    json.Uint(count);
    json.EndArray();
  }
  json.EndArray();
}

}  // namespace

void WriteQueryStats(JsonWriter& json, const promql::QueryStats& stats) {
  json.BeginObject();
  json.Key("timings");
  json.BeginObject();
  json.Member("evalTotalTime", stats.eval_total_time);
  json.Member("resultSortTime", stats.result_sort_time);
  json.Member("queryPreparationTime", stats.query_preparation_time);
  json.Member("innerEvalTime", stats.inner_eval_time);
  json.Member("execQueueTime", stats.exec_queue_time);
  json.Member("execTotalTime", stats.exec_total_time);
  json.EndObject();
  json.Key("samples");
  json.BeginObject();
  WriteStepCounts(json, "totalQueryableSamplesPerStep", stats.total_queryable_samples_per_step);
  json.Member("totalQueryableSamples", stats.total_queryable_samples);
  WriteStepCounts(json, "samplesReadPerStep", stats.samples_read_per_step);
  json.Member("samplesRead", stats.samples_read);
  json.Member("peakSamples", stats.peak_samples);
  json.Member("peakMemoryBytes", stats.peak_memory_bytes);
  json.EndObject();
  json.EndObject();
}

}  // namespace varve
