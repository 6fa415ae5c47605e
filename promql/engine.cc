// SPDX-License-Identifier: Apache-2.0
//
// Runs queries: admission, parsing, planning, reading the root operator's rows, shaping the
// result.
#include "promql/engine.h"

#include <absl/container/flat_hash_map.h>
#include <fmt/format.h>
#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/summary.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <optional>
#include <thread>
#include <utility>

#include "model/clock.h"
#include "model/mutex.h"
#include "model/status_macros.h"
#include "promql/ast.h"
#include "promql/context.h"
#include "promql/operator.h"
#include "promql/parser.h"
#include "promql/plan.h"
#include "promql/query_memory.h"
#include "promql/range_function.h"
#include "promql/rewrite.h"
#include "promql/workers.h"

namespace varve::promql {
namespace {

constexpr std::string_view kTruncated = "results truncated due to limit";
constexpr std::string_view kSameLabelset = "vector cannot contain metrics with the same labelset";

// What the tree of a query takes for a byte of its text, at most about (`a+a+a...`).
constexpr uint64_t kTreeBytes = 128;

double Seconds(int64_t nanos) { return static_cast<double>(nanos) / 1e9; }

// The figures behind prometheus_engine_*; without a registry they lead nowhere.
class EngineMetrics {
 public:
  EngineMetrics(prometheus::Registry* registry, int max_concurrency) {
    if (registry == nullptr) return;
    auto& queries = prometheus::BuildGauge()
                        .Name("prometheus_engine_queries")
                        .Help("The current number of queries being executed or waiting.")
                        .Register(*registry);
    queries_ = &queries.Add({});
    prometheus::BuildGauge()
        .Name("prometheus_engine_queries_concurrent_max")
        .Help("The max number of concurrent queries.")
        .Register(*registry)
        .Add({})
        .Set(max_concurrency);
    samples_ = &prometheus::BuildCounter()
                    .Name("prometheus_engine_query_samples_total")
                    .Help("The total number of samples loaded by all queries.")
                    .Register(*registry)
                    .Add({});
    auto& durations = prometheus::BuildSummary()
                          .Name("prometheus_engine_query_duration_seconds")
                          .Help("Query timings.")
                          .Register(*registry);
    const prometheus::Summary::Quantiles quantiles{{0.5, 0.05}, {0.9, 0.01}, {0.99, 0.001}};
    queue_ = &durations.Add({{"slice", "queue_time"}}, quantiles);
    prepare_ = &durations.Add({{"slice", "prepare_time"}}, quantiles);
    inner_ = &durations.Add({{"slice", "inner_eval"}}, quantiles);
    sort_ = &durations.Add({{"slice", "result_sort"}}, quantiles);
  }

  void Started() {
    if (queries_ != nullptr) queries_->Increment();
  }
  void Ended() {
    if (queries_ != nullptr) queries_->Decrement();
  }
  void Observe(const QueryStats& stats) {
    if (queue_ == nullptr) return;
    queue_->Observe(stats.exec_queue_time);
    prepare_->Observe(stats.query_preparation_time);
    inner_->Observe(stats.inner_eval_time);
    sort_->Observe(stats.result_sort_time);
    samples_->Increment(static_cast<double>(stats.total_queryable_samples));
  }

 private:
  prometheus::Gauge* queries_ = nullptr;
  prometheus::Counter* samples_ = nullptr;
  prometheus::Summary* queue_ = nullptr;
  prometheus::Summary* prepare_ = nullptr;
  prometheus::Summary* inner_ = nullptr;
  prometheus::Summary* sort_ = nullptr;
};

// Fewer steps are listed: a grid takes some memory of its own.
constexpr size_t kGridStepsMin = 32;

// A dense row gives its values away.
MatrixSeries ToSeries(const Grid& grid, Labels labels, Row& row) {
  MatrixSeries series;
  series.labels = std::move(labels);
  const size_t samples = row.CountPresent();
  if (!row.has_histograms() && row.steps() >= kGridStepsMin && samples >= row.steps() / 2) {
    series.floats =
        FloatSamples(grid.start, grid.step, std::move(row.values()), std::move(row.present()));
    return series;
  }
  std::vector<FloatSample> floats;
  if (!row.has_histograms()) floats.reserve(samples);
  for (size_t step = 0; step < row.steps(); ++step) {
    if (!row.Has(step)) continue;
    if (row.HasHistogram(step)) {
      series.histograms.push_back({grid.TimeAt(step), row.histogram(step)});
    } else {
      floats.push_back({grid.TimeAt(step), row.value(step)});
    }
  }
  series.floats = std::move(floats);
  return series;
}

// Whether the two have a sample at the same time.
bool Overlap(const MatrixSeries& a, const MatrixSeries& b) {
  std::vector<TimestampMs> times;
  for (const MatrixSeries* series : {&a, &b}) {
    for (const FloatSample& sample : series->floats) times.push_back(sample.time);
    for (const HistogramSample& sample : series->histograms) times.push_back(sample.time);
  }
  std::sort(times.begin(), times.end());
  return std::adjacent_find(times.begin(), times.end()) != times.end();
}

void MergeInto(MatrixSeries& into, MatrixSeries&& from) {
  const auto earlier = [](const auto& a, const auto& b) { return a.time < b.time; };
  std::vector<FloatSample> floats(into.floats.begin(), into.floats.end());
  floats.insert(floats.end(), from.floats.begin(), from.floats.end());
  std::sort(floats.begin(), floats.end(), earlier);
  into.floats = std::move(floats);
  into.histograms.insert(into.histograms.end(), from.histograms.begin(), from.histograms.end());
  std::sort(into.histograms.begin(), into.histograms.end(), earlier);
}

}  // namespace

struct Engine::Impl {
  Impl(EngineOptions engine_options, Clock& engine_clock, prometheus::Registry* registry)
      : options(std::move(engine_options)),
        clock(engine_clock),
        metrics(registry, options.max_concurrency),
        memory(options.memory != nullptr ? *options.memory : unlimited),
        workers(WorkerThreads(options)) {}

  // The thread that runs a query works too.
  static size_t WorkerThreads(const EngineOptions& options) {
    if (options.worker_threads >= 0) return static_cast<size_t>(options.worker_threads);
    return std::max(std::thread::hardware_concurrency(), 1u) - 1;
  }

  struct Running {
    std::string query;
    TimestampMs since = 0;
    int64_t since_nanos = 0;
    bool waiting = true;
    std::atomic<bool> killed{false};
  };

  // Lists the query until Leave().
  std::pair<uint64_t, Running&> Arrive(std::string_view query) ABSL_LOCKS_EXCLUDED(mutex) {
    MutexLock lock(mutex);
    const uint64_t id = ++last_id;
    Running& entry = active[id];
    entry.query = query;
    entry.since = clock.Now();
    entry.since_nanos = clock.MonotonicNanos();
    return {id, entry};
  }

  // Waits for one of the max_concurrency places.
  absl::Status Enter(Running& entry, const QueryOptions& query, int64_t deadline)
      ABSL_LOCKS_EXCLUDED(mutex) {
    for (;;) {
      if (clock.MonotonicNanos() >= deadline) {
        return QueryError(QueryErrorType::kTimeout, "query timed out in query queue");
      }
      {
        MutexLock lock(mutex);
        if (running < options.max_concurrency) {
          ++running;
          entry.waiting = false;
          return absl::OkStatus();
        }
      }
      if (entry.killed) return QueryError(QueryErrorType::kCanceled, "query was killed");
      if (query.canceled && query.canceled()) {
        return QueryError(QueryErrorType::kCanceled, "query was canceled in query queue");
      }
      MutexLock lock(mutex);
      if (running >= options.max_concurrency) {
        clock.WaitFor(left, mutex, std::chrono::milliseconds(50));
      }
    }
  }
  void Leave(uint64_t id) ABSL_LOCKS_EXCLUDED(mutex) {
    MutexLock lock(mutex);
    const auto entry = active.find(id);
    if (!entry->second.waiting) {
      --running;
      left.NotifyOne();
    }
    active.erase(entry);
  }

  absl::StatusOr<QueryResult> Run(const Queryable& storage, std::string_view query,
                                  const Grid& grid, TimestampMs end, bool instant,
                                  const QueryOptions& query_options);
  absl::Status Evaluate(QueryContext& context, const Queryable& storage, const Expr& expr,
                        const Grid& grid, bool instant, QueryResult& result);
  absl::Status EvaluateRange(QueryContext& context, const Queryable& storage, const Expr& expr,
                             const Grid& grid, QueryResult& result);

  const EngineOptions options;
  Clock& clock;
  EngineMetrics metrics;
  MemoryBudget unlimited;
  MemoryBudget& memory;
  Workers workers;
  Mutex mutex;
  CondVar left;
  int running ABSL_GUARDED_BY(mutex) = 0;
  uint64_t last_id ABSL_GUARDED_BY(mutex) = 0;
  std::map<uint64_t, Running> active ABSL_GUARDED_BY(mutex);
};

namespace {

// Reads all rows of the root and gives series with samples, names dropped where they must go.
absl::Status ReadRoot(QueryContext& context, Operator& root, const Grid& grid, Matrix& matrix) {
  ASSIGN_OR_RETURN(std::vector<Labels> labels, root.Open());
  Row row;
  bool dropped = false;
  for (Labels& set : labels) {
    RETURN_IF_ERROR(context.Check());
    RETURN_IF_ERROR(root.Next(row));
    if (row.Empty()) continue;
    RETURN_IF_ERROR(context.Hold(row.Weight()));
    RETURN_IF_ERROR(context.memory().Hold(sizeof(MatrixSeries) + set.bytes().size()));
    if (row.drop_name) {
      set = WithoutName(set);
      dropped = true;
    }
    matrix.push_back(ToSeries(grid, std::move(set), row));
  }
  if (!dropped) return absl::OkStatus();
  // Dropping names may have made label sets equal.
  absl::flat_hash_map<Labels, size_t> index;
  size_t out = 0;
  for (size_t i = 0; i < matrix.size(); ++i) {
    const auto [it, inserted] = index.try_emplace(matrix[i].labels, out);
    if (!inserted) {
      MatrixSeries& first = matrix[it->second];
      if (Overlap(first, matrix[i])) return ExecutionError(kSameLabelset);
      MergeInto(first, std::move(matrix[i]));
    } else {
      if (out != i) matrix[out] = std::move(matrix[i]);
      ++out;
    }
  }
  matrix.resize(out);
  return absl::OkStatus();
}

Vector ToVector(Matrix&& matrix, TimestampMs time) {
  Vector vector;
  vector.reserve(matrix.size());
  for (MatrixSeries& series : matrix) {
    VectorSample sample;
    sample.labels = std::move(series.labels);
    sample.time = time;
    if (!series.histograms.empty()) {
      sample.histogram = std::move(series.histograms[0].histogram);
    } else {
      sample.value = series.floats[0].value;
    }
    vector.push_back(std::move(sample));
  }
  return vector;
}

void SortByLabels(Matrix& matrix) {
  const auto less = [](const MatrixSeries& a, const MatrixSeries& b) {
    return a.labels < b.labels;
  };
  // Mostly they come in order.
  if (std::is_sorted(matrix.begin(), matrix.end(), less)) return;
  std::sort(matrix.begin(), matrix.end(), less);
}

template <typename Series>
bool Truncate(std::vector<Series>& series, uint64_t limit) {
  if (limit == 0 || series.size() <= limit) return false;
  series.resize(limit);
  return true;
}

}  // namespace

absl::Status Engine::Impl::EvaluateRange(QueryContext& context, const Queryable& storage,
                                         const Expr& expr, const Grid& grid, QueryResult& result) {
  ASSIGN_OR_RETURN(const RangeSourcePtr source,
                   PlanRange(context, grid, expr, /*presence_only=*/false));
  RETURN_IF_ERROR(context.OpenStorage(storage));
  ASSIGN_OR_RETURN(std::vector<Labels> labels, source->Open());
  Matrix matrix;
  RangeSeries series;
  for (Labels& set : labels) {
    RETURN_IF_ERROR(source->Next(series));
    WindowSlider slider(source->spec(), series.samples);
    const RangeWindow window = slider.At(0);
    if (window.empty()) continue;
    context.CountQueryable(window.times.size() + window.histograms.size());
    context.CountQueryableAt(grid.start, window.times.size() + window.histograms.size());
    RETURN_IF_ERROR(context.Hold(window.times.size() + window.histograms.size()));
    RETURN_IF_ERROR(context.memory().Hold(sizeof(MatrixSeries) + set.bytes().size()));
    MatrixSeries out;
    out.labels = series.drop_name ? WithoutName(set) : std::move(set);
    std::vector<FloatSample> floats;
    floats.reserve(window.times.size());
    for (size_t i = 0; i < window.times.size(); ++i) {
      floats.push_back({window.times[i], window.values[i]});
    }
    out.floats = std::move(floats);
    out.histograms.assign(window.histograms.begin(), window.histograms.end());
    matrix.push_back(std::move(out));
  }
  SortByLabels(matrix);
  result.value = std::move(matrix);
  return absl::OkStatus();
}

absl::Status Engine::Impl::Evaluate(QueryContext& context, const Queryable& storage,
                                    const Expr& expr, const Grid& grid, bool instant,
                                    QueryResult& result) {
  const int64_t begin = clock.MonotonicNanos();
  if (const auto* text = TryAs<StringLiteral>(Unparen(expr))) {
    result.value = StringResult{grid.start, text->value};
    return absl::OkStatus();
  }
  context.set_histogram_stats(HistogramStatsSelectors(expr));
  context.set_step_invariant(StepInvariantParts(expr));
  if (options.rewrites) {
    // Statistics per step and overlaps of start times count every part of its own.
    if (!context.counts_per_step() && !options.features.use_start_timestamps) {
      context.set_repeated(RepeatedParts(expr));
    }
    context.set_carried(CarriedMatchers(expr));
  }
  if (expr.type == ValueType::kMatrix) return EvaluateRange(context, storage, expr, grid, result);
  ExplainNode explained;  // Its only child is the root's node.
  if (context.setup().query.explain) context.set_explain(&explained);
  ASSIGN_OR_RETURN(const OperatorPtr root, Plan(context, grid, expr));
  RETURN_IF_ERROR(context.OpenStorage(storage));
  const int64_t prepared = clock.MonotonicNanos();
  result.stats.query_preparation_time = Seconds(prepared - begin);
  Matrix matrix;
  RETURN_IF_ERROR(ReadRoot(context, *root, grid, matrix));
  if (!explained.children.empty()) result.explain = std::move(explained.children[0]);
  const int64_t evaluated = clock.MonotonicNanos();
  result.stats.inner_eval_time = Seconds(evaluated - prepared);
  if (instant && expr.type == ValueType::kScalar) {
    result.value = ScalarResult{grid.start, matrix[0].floats[0].value};
  } else if (instant) {
    result.value = ToVector(std::move(matrix), grid.start);
  } else {
    SortByLabels(matrix);
    result.value = std::move(matrix);
  }
  result.stats.result_sort_time = Seconds(clock.MonotonicNanos() - evaluated);
  return absl::OkStatus();
}

absl::StatusOr<QueryResult> Engine::Impl::Run(const Queryable& storage, std::string_view query,
                                              const Grid& grid, TimestampMs end, bool instant,
                                              const QueryOptions& query_options) {
  ParserOptions parser_options;
  parser_options.experimental_functions = options.features.experimental_functions;
  parser_options.fill_modifiers = options.features.binop_fill_modifiers;
  parser_options.extended_range_selectors = options.features.extended_range_selectors;
  QueryMemory query_memory(memory, options.max_memory_bytes);
  absl::Status held = query_memory.Hold(query.size() * kTreeBytes);
  RETURN_IF_ERROR(held);
  parser_options.hold_regex = [&](uint64_t bytes) { return held = query_memory.Hold(bytes); };
  auto expr = Parse(query, parser_options);
  RETURN_IF_ERROR(held);
  if (!expr.ok()) {
    return QueryError(QueryErrorType::kBadData, MessageOf(expr.status()));
  }
  const ValueType type = (*expr)->type;
  if (!instant && type != ValueType::kVector && type != ValueType::kScalar) {
    return QueryError(QueryErrorType::kBadData,
                      fmt::format("invalid expression type \"{}\" for range query, must be Scalar "
                                  "or instant Vector",
                                  ValueTypeDescription(type)));
  }
  DurationMs timeout = options.timeout;
  if (query_options.timeout != 0) timeout = std::min(timeout, query_options.timeout);
  const int64_t begin = clock.MonotonicNanos();
  const auto [id, entry] = Arrive(query);
  QueryContext::Setup setup{.engine = options,
                            .query = query_options,
                            .clock = clock,
                            .workers = workers,
                            .memory = query_memory,
                            .killed = entry.killed};
  setup.lookback =
      query_options.lookback_delta > 0 ? query_options.lookback_delta : options.lookback_delta;
  if (options.default_subquery_step) setup.default_subquery_step = options.default_subquery_step();
  setup.deadline_nanos = begin + timeout * kNanosPerMs;
  setup.start = grid.start;
  setup.end = end;
  setup.step = instant ? 0 : grid.step;

  metrics.Started();
  absl::Status status = Enter(entry, query_options, setup.deadline_nanos);
  QueryResult result;
  if (status.ok()) {
    const int64_t entered = clock.MonotonicNanos();
    result.stats.exec_queue_time = Seconds(entered - begin);
    QueryContext context(setup);
    status = Evaluate(context, storage, **expr, grid, instant, result);
    result.stats.eval_total_time = Seconds(clock.MonotonicNanos() - entered);
    result.annotations = context.annotations().Render(query);
    result.annotations.Merge(context.StorageWarnings());
    result.stats.total_queryable_samples = context.queryable_samples();
    result.stats.total_queryable_samples_per_step = context.queryable_per_step();
    result.stats.samples_read_per_step = context.read_per_step();
    result.stats.samples_read = context.samples_read();
    result.stats.peak_samples = context.peak_samples();
    result.stats.peak_memory_bytes = query_memory.peak();
  }
  Leave(id);
  metrics.Ended();
  result.stats.exec_total_time = Seconds(clock.MonotonicNanos() - begin);
  if (options.observer != nullptr) {
    options.observer->QueryFinished({.query = query,
                                     .start = grid.start,
                                     .end = end,
                                     .step = setup.step,
                                     .stats = result.stats,
                                     .status = status,
                                     .origin = query_options.origin});
  }
  RETURN_IF_ERROR(status);
  bool truncated = false;
  if (auto* vector = std::get_if<Vector>(&result.value)) {
    truncated = Truncate(*vector, query_options.limit);
  } else if (auto* matrix = std::get_if<Matrix>(&result.value)) {
    truncated = Truncate(*matrix, query_options.limit);
  }
  if (truncated) result.annotations.AddWarning(std::string(kTruncated));
  // A result may outlive the engine, and a budget of the engine's own.
  if (options.memory != nullptr) result.memory = query_memory.Keep();
  metrics.Observe(result.stats);
  return result;
}

Engine::Engine(EngineOptions options, Clock& clock, prometheus::Registry* registry)
    : impl_(std::make_unique<Impl>(std::move(options), clock, registry)) {}
Engine::~Engine() = default;

const EngineOptions& Engine::options() const { return impl_->options; }

Workers& Engine::workers() const { return impl_->workers; }

std::vector<ActiveQuery> Engine::Active() const {
  std::vector<ActiveQuery> queries;
  MutexLock lock(impl_->mutex);
  const int64_t now = impl_->clock.MonotonicNanos();
  for (const auto& [id, entry] : impl_->active) {
    queries.push_back(
        {id, entry.query, entry.since, Seconds(now - entry.since_nanos), entry.waiting});
  }
  return queries;
}

bool Engine::Kill(uint64_t id) {
  MutexLock lock(impl_->mutex);
  const auto entry = impl_->active.find(id);
  if (entry == impl_->active.end()) return false;
  entry->second.killed = true;
  return true;
}

absl::StatusOr<QueryResult> Engine::Instant(const Queryable& storage, std::string_view query,
                                            TimestampMs time, const QueryOptions& options) {
  time = ClampTime(time);
  return impl_->Run(storage, query, {.start = time, .step = 1, .count = 1}, time, true, options);
}

absl::StatusOr<QueryResult> Engine::Range(const Queryable& storage, std::string_view query,
                                          TimestampMs start, TimestampMs end, DurationMs step,
                                          const QueryOptions& options) {
  start = ClampTime(start);
  end = ClampTime(end);
  const Grid grid{
      .start = start, .step = step, .count = static_cast<size_t>((end - start) / step) + 1};
  if (grid.count > impl_->options.max_samples) {
    return ExecutionError(
        "query processing would load too many samples into memory in query execution");
  }
  return impl_->Run(storage, query, grid, end, false, options);
}

}  // namespace varve::promql
