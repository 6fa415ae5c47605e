// SPDX-License-Identifier: Apache-2.0
//
// What the operators of one running query share: limits, the view of the storage, annotations and
// statistics.
#pragma once

#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>
#include <absl/status/status.h>

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "model/annotations.h"
#include "model/clock.h"
#include "model/mutex.h"
#include "model/queryable.h"
#include "promql/ast.h"
#include "promql/engine.h"
#include "promql/explain.h"
#include "promql/leaf_share.h"
#include "promql/query_memory.h"
#include "promql/row.h"
#include "promql/shared_operator.h"
#include "promql/workers.h"

namespace varve::promql {

// Collects annotations under their text: of equal texts the first position stays, and those that
// describe ranges (buckets, times, counts) are merged. Thread-safe.
class AnnotationCollector {
 public:
  // What histogram_quantile() repaired.
  struct Monotonicity {
    std::string metric;  // "" = not to be named.
    double bucket_min = 0;
    double bucket_max = 0;
    double diff_max = 0;
    uint64_t samples = 0;
    TimestampMs time_min = 0;
    TimestampMs time_max = 0;

    void Merge(const Monotonicity& other);
  };

  // `message` has neither prefix nor position; `position` is a byte of the query.
  void Warn(std::string message, int position) ABSL_LOCKS_EXCLUDED(mutex_);
  void Info(std::string message, int position) ABSL_LOCKS_EXCLUDED(mutex_);
  void AddMonotonicity(const Monotonicity& fixed, int position) ABSL_LOCKS_EXCLUDED(mutex_);
  // A start time that overlaps the previous sample.
  void AddStartTimeOverlap(std::string_view metric, uint64_t occurrences, int position)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Moves what `other` has collected here, as if it had been said now. Nobody adds to it meanwhile.
  void Take(AnnotationCollector& other) ABSL_LOCKS_EXCLUDED(mutex_);

  // The complete texts, in order of first appearance.
  Annotations Render(std::string_view query) const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  enum class Kind { kWarning, kInfo, kMonotonicity, kOverlap };
  struct Entry {
    Kind kind = Kind::kWarning;
    std::string text;
    int position = 0;
    Monotonicity monotonicity;
    uint64_t occurrences = 0;
  };

  Entry& Find(Kind kind, std::string key, int position, bool& created)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  std::atomic<bool> any_{false};  // Whether there was an entry at any time.
  mutable Mutex mutex_;
  std::vector<Entry> entries_ ABSL_GUARDED_BY(mutex_);
  std::map<std::pair<Kind, std::string>, size_t> index_ ABSL_GUARDED_BY(mutex_);
};

// Lives as long as the query. The operators hold references to it.
class QueryContext {
 public:
  struct Setup {
    const EngineOptions& engine;
    const QueryOptions& query;
    Clock& clock;
    Workers& workers;
    QueryMemory& memory;
    DurationMs lookback = 0;
    DurationMs default_subquery_step = kMinute;
    const std::atomic<bool>& killed;
    int64_t deadline_nanos = 0;  // Of clock.MonotonicNanos().
    TimestampMs start = 0;       // Of the outermost evaluation.
    TimestampMs end = 0;
    DurationMs step = 0;  // 0 for an instant query.
  };
  explicit QueryContext(const Setup& setup) : setup_(setup) {}
  ~QueryContext() { setup_.memory.Release(planned_bytes_); }
  QueryContext(const QueryContext&) = delete;
  QueryContext& operator=(const QueryContext&) = delete;

  const Setup& setup() const { return setup_; }
  const EngineFeatures& features() const { return setup_.engine.features; }
  Workers& workers() const { return setup_.workers; }
  bool delayed_name_removal() const { return features().delayed_name_removal; }
  AnnotationCollector& annotations() { return annotations_; }

  // The selectors whose histograms need their reset hints worked out.
  void set_histogram_stats(absl::flat_hash_set<const VectorSelector*> selectors) {
    histogram_stats_ = std::move(selectors);
  }
  bool NeedsResetHints(const VectorSelector& selector) const {
    return histogram_stats_.contains(&selector);
  }

  // Whether rows of `selector` may be made from samples that another leaf has read.
  bool shares(const VectorSelector& selector) const {
    return setup_.engine.rewrites && !counts_per_step() && !NeedsResetHints(selector);
  }

  // The parts of the query that give the same at every step.
  void set_step_invariant(absl::flat_hash_set<const Expr*> parts) {
    step_invariant_ = std::move(parts);
  }
  bool IsStepInvariant(const Expr& expr) const { return step_invariant_.contains(&expr); }

  // What the rewrites found (rewrite.h).
  void set_repeated(absl::flat_hash_map<const Expr*, size_t> parts) {
    repeated_ = std::move(parts);
  }
  // The number of a part that occurs several times, else 0.
  size_t RepeatedPart(const Expr& expr) const {
    const auto found = repeated_.find(&expr);
    return found == repeated_.end() ? 0 : found->second;
  }
  void set_carried(absl::flat_hash_map<const VectorSelector*, std::vector<Matcher>> matchers) {
    carried_ = std::move(matchers);
  }
  // The selector's matchers and those carried to it. Lives as long as the context and the selector.
  const std::vector<Matcher>& MatchersOf(const VectorSelector& selector) const {
    const auto found = carried_.find(&selector);
    return found == carried_.end() ? selector.matchers : found->second;
  }
  SharedOperators& shared_operators() { return shared_operators_; }

  // Below which node operators that are planned now belong; null if nothing is to be explained.
  ExplainNode* explain() const { return explain_; }
  void set_explain(ExplainNode* node) { explain_ = node; }

  // Accounts for buffers of operators with so many bytes a step, as long as the query lives.
  absl::Status HoldPlanned(const Grid& grid, uint64_t step_bytes);

  // Planning tells which times will be read; the engine then opens the storage once, if anything
  // will be read at all.
  void WillRead(TimestampMs min, TimestampMs max);
  absl::Status OpenStorage(const Queryable& storage);
  // REQUIRES: WillRead() was called, and OpenStorage() succeeded.
  const Querier& querier() const { return *querier_; }
  // What the storage could not read so far.
  Annotations StorageWarnings() const {
    return querier_ != nullptr ? querier_->Warnings() : Annotations();
  }

  // The leaves of the plan.
  LeafShares& leaves() { return leaves_; }

  // Fails once the query is canceled or its time is up. Call it for every series.
  absl::Status Check() const;

  // Accounts for samples held in memory, of 16 bytes each. Fails once over a limit; they count in
  // any case.
  absl::Status Hold(uint64_t samples);
  // Accounts for them unless more than `room`, or than memory allows, would then be held.
  bool HoldIfRoom(uint64_t samples, uint64_t room);
  void Release(uint64_t samples) {
    held_ -= samples;
    setup_.memory.Release(samples * kSampleBytes);
  }
  static constexpr uint64_t kSampleBytes = 16;
  // For what is no sample: labels, bitmaps, buffers. See HeldMemory. Thread-safe.
  QueryMemory& memory() const { return setup_.memory; }
  void CountRead(uint64_t samples, const ReadCost& cost) {
    read_ += samples;
    read_cost_ += cost;
  }
  void CountQueryable(uint64_t samples) { queryable_ += samples; }
  // False while the inside of a subquery is planned: what is read there counts where it is used.
  bool counts_queryable() const { return counts_queryable_; }
  void set_counts_queryable(bool counts) { counts_queryable_ = counts; }
  // The same per step of the outermost evaluation, if asked for: `time` counts for the first step
  // not before it.
  bool counts_per_step() const { return setup_.query.per_step_stats; }
  void CountQueryableAt(TimestampMs time, uint64_t samples) ABSL_LOCKS_EXCLUDED(mutex_);
  // The same of samples as they were read: they count for the first step that can see them.
  // `offset` is the selector's; `fixed`: every step sees the same.
  void CountReadPerStep(const SeriesSamples& samples, DurationMs offset, bool fixed)
      ABSL_LOCKS_EXCLUDED(mutex_);
  StepCounts queryable_per_step() const ABSL_LOCKS_EXCLUDED(mutex_);
  StepCounts read_per_step() const ABSL_LOCKS_EXCLUDED(mutex_);

  uint64_t peak_samples() const { return peak_; }
  uint64_t samples_read() const { return read_; }
  const ReadCost& read_cost() const { return read_cost_; }  // On the query's own thread.
  uint64_t queryable_samples() const { return queryable_; }

 private:
  // The first step not before `time`, the last if there is none.
  TimestampMs StepOf(TimestampMs time) const;
  StepCounts AllSteps(const std::map<TimestampMs, uint64_t>& counted) const;

  const Setup setup_;
  AnnotationCollector annotations_;
  absl::flat_hash_set<const VectorSelector*> histogram_stats_;
  absl::flat_hash_set<const Expr*> step_invariant_;
  absl::flat_hash_map<const Expr*, size_t> repeated_;
  absl::flat_hash_map<const VectorSelector*, std::vector<Matcher>> carried_;
  SharedOperators shared_operators_;
  LeafShares leaves_;
  ExplainNode* explain_ = nullptr;
  bool counts_queryable_ = true;
  bool reads_ = false;
  TimestampMs min_time_ = 0;
  TimestampMs max_time_ = 0;
  std::unique_ptr<Querier> querier_;
  uint64_t planned_bytes_ = 0;
  std::atomic<uint64_t> held_{0};
  std::atomic<uint64_t> peak_{0};
  std::atomic<uint64_t> read_{0};
  std::atomic<uint64_t> queryable_{0};
  ReadCost read_cost_;

  mutable Mutex mutex_;
  std::map<TimestampMs, uint64_t> queryable_per_step_ ABSL_GUARDED_BY(mutex_);
  std::map<TimestampMs, uint64_t> read_per_step_ ABSL_GUARDED_BY(mutex_);
};

// Bytes of a query that are released when it goes. Not thread-safe.
class HeldMemory {
 public:
  explicit HeldMemory(const QueryContext& context) : memory_(context.memory()) {}
  ~HeldMemory() { memory_.Release(bytes_); }
  HeldMemory(const HeldMemory&) = delete;
  HeldMemory& operator=(const HeldMemory&) = delete;

  absl::Status Add(uint64_t bytes) {
    bytes_ += bytes;
    return memory_.Hold(bytes);
  }
  // A label set, or a list of them, each held `copies` times.
  absl::Status Add(const Labels& labels, uint64_t copies = 1);
  absl::Status Add(const std::vector<Labels>& labels, uint64_t copies = 1);

 private:
  QueryMemory& memory_;
  uint64_t bytes_ = 0;
};

// Times are kept this far from the ends of their type, so that adding ranges and offsets (at most
// 292 years) cannot overflow.
inline constexpr TimestampMs kTimeLimit = TimestampMs{1} << 60;
inline TimestampMs ClampTime(TimestampMs time) {
  return time > kTimeLimit ? kTimeLimit : time < -kTimeLimit ? -kTimeLimit : time;
}

// An execution error, the type most failures of operators have.
absl::Status ExecutionError(std::string_view message);

// `value` as Go's %g prints it (precision 0), or %.Ng.
std::string FormatGeneral(double value, int precision = 0);

// `labels` without __name__, __type__ and __unit__.
Labels WithoutName(const Labels& labels);

}  // namespace varve::promql
