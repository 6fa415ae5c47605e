// SPDX-License-Identifier: Apache-2.0
//
// The query engine: text to result. Parses, checks, plans and runs a query over a Queryable, inside
// limits of samples, time and concurrency.
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <prometheus/registry.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "model/annotations.h"
#include "model/clock.h"
#include "model/float_samples.h"
#include "model/labels.h"
#include "model/memory_budget.h"
#include "model/queryable.h"
#include "model/sample.h"
#include "model/time.h"
#include "promql/explain.h"
#include "promql/query_observer.h"

namespace varve::promql {

class Workers;  // promql/workers.h

// Language and evaluation features, by Prometheus' flag names.
struct EngineFeatures {
  bool experimental_functions = false;    // promql-experimental-functions
  bool extended_range_selectors = false;  // promql-extended-range-selectors
  bool binop_fill_modifiers = false;      // promql-binop-fill-modifiers
  bool delayed_name_removal = false;      // promql-delayed-name-removal
  bool use_start_timestamps = false;      // use-start-timestamps
  bool type_and_unit_labels = false;      // type-and-unit-labels
  bool per_step_stats = false;            // promql-per-step-stats
};

struct EngineOptions {
  DurationMs lookback_delta = 5 * kMinute;
  DurationMs timeout = 2 * kMinute;
  uint64_t max_samples = 50'000'000;
  uint64_t max_memory_bytes = 0;   // Of one query; 0 = no limit.
  MemoryBudget* memory = nullptr;  // Of all of them; null = no limit. Outlives the results.
  int max_concurrency = 20;
  // Threads that help the queries' own; -1 = one less than there are processors. Answers do not
  // depend on it.
  int worker_threads = -1;
  // Whether plans are rewritten to do less work (docs/queries.md). Answers do not depend on it.
  bool rewrites = true;
  EngineFeatures features;
  QueryObserver* observer =
      nullptr;  // Told of every query's end; may be null. Outlives the engine.
  // Step of subqueries that name none. Empty = one minute. Thread-safe; may change over time (it
  // is the configuration's evaluation interval).
  std::function<DurationMs()> default_subquery_step;
};

// How a query failed, as the HTTP API names it.
enum class QueryErrorType { kBadData, kExecution, kTimeout, kCanceled, kUnavailable, kInternal };

// "bad_data", "execution", "timeout", "canceled", "unavailable" (memory is short: later it may
// work), "internal".
std::string_view QueryErrorTypeText(QueryErrorType type);
// A failed status with that type; its message is shown to the user as it is.
absl::Status QueryError(QueryErrorType type, std::string_view message);
// The type of a failure this engine returned; kInternal for statuses of others.
QueryErrorType QueryErrorTypeOf(const absl::Status& status);

struct QueryOptions {
  // 0 = the engine's; a longer one is cut to the engine's; below 0, time is up at once.
  DurationMs timeout = 0;
  DurationMs lookback_delta = 0;  // 0 = the engine's.
  // Series returned at most, 0 = all; a cut adds the warning `results truncated due to limit`.
  uint64_t limit = 0;
  // Asked between series: true ends the query with kCanceled. Empty = never. Thread-safe.
  std::function<bool()> canceled;
  bool per_step_stats = false;  // Fill QueryStats' figures per step.
  bool explain = false;         // Fill QueryResult::explain.
  QueryOrigin origin;           // For the observer.
};

struct ScalarResult {
  TimestampMs time = 0;
  double value = 0;
};

struct StringResult {
  TimestampMs time = 0;
  std::string value;
};

// One element of an instant vector: a float, or a histogram if there is one.
struct VectorSample {
  Labels labels;
  TimestampMs time = 0;
  double value = 0;
  std::shared_ptr<const Histogram> histogram;
};

struct MatrixSeries {
  Labels labels;
  FloatSamples floats;
  std::vector<HistogramSample> histograms;
};

using Vector = std::vector<VectorSample>;
using Matrix = std::vector<MatrixSeries>;  // Sorted by labels.

using StepCounts = std::vector<std::pair<TimestampMs, uint64_t>>;

struct QueryStats {
  uint64_t total_queryable_samples = 0;  // Samples looked at, once per step that used them.
  uint64_t samples_read = 0;             // Samples read from storage, each once.
  uint64_t peak_samples = 0;             // Most samples held at one time.
  uint64_t peak_memory_bytes = 0;        // Most memory held at one time, in steps of 256 KiB.
  // Of every step, if asked for. The sums are the figures above.
  StepCounts total_queryable_samples_per_step;
  StepCounts samples_read_per_step;  // Each sample at the first step that can see it.
  // Seconds.
  double exec_queue_time = 0;
  double query_preparation_time = 0;
  double inner_eval_time = 0;
  double result_sort_time = 0;
  double eval_total_time = 0;
  double exec_total_time = 0;
};

struct QueryResult {
  std::variant<ScalarResult, StringResult, Vector, Matrix> value;
  Annotations annotations;
  QueryStats stats;
  MemoryCharge memory;  // What the value counts as in the engine's memory budget.
  // The operator tree below one node for the whole query; null unless asked for, or if the query
  // needs no operator (a string, a range vector).
  std::shared_ptr<const ExplainNode> explain;
};

// A query that waits or runs.
struct ActiveQuery {
  uint64_t id = 0;  // Unique while the process lives.
  std::string query;
  TimestampMs since = 0;  // When it came.
  double elapsed = 0;     // Seconds.
  bool waiting = false;   // For one of the max_concurrency places.
};

// Thread-safe.
class Engine {
 public:
  // `clock` (deadlines) and `registry` (prometheus_engine_* metrics; may be null) outlive the
  // engine.
  Engine(EngineOptions options, Clock& clock, prometheus::Registry* registry = nullptr);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  const EngineOptions& options() const;

  // Evaluates `query` at `time`. Any type of expression; a range vector gives a Matrix of the raw
  // samples.
  absl::StatusOr<QueryResult> Instant(const Queryable& storage, std::string_view query,
                                      TimestampMs time, const QueryOptions& options = {});

  // Evaluates `query` at start, start + step, ... up to `end`; the result is a Matrix.
  // REQUIRES: step > 0, start <= end.
  absl::StatusOr<QueryResult> Range(const Queryable& storage, std::string_view query,
                                    TimestampMs start, TimestampMs end, DurationMs step,
                                    const QueryOptions& options = {});

  // The threads that help queries: may help with what is done with an answer, too.
  Workers& workers() const;

  // The queries of the moment, oldest first.
  std::vector<ActiveQuery> Active() const;
  // Ends a query with kCanceled, as soon as it notices. False if there is none of that id.
  bool Kill(uint64_t id);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace varve::promql
