// SPDX-License-Identifier: Apache-2.0
//
// The rows of the operators that read the storage. Series do not depend on one another there, so
// several are read and worked on at a time, some ahead of the consumer; they are handed out in
// order, and what they account for and annotate counts when they are, so that neither answers nor
// limits depend on timing or on the number of threads.
//
// Leaves of one query that select the same series over about the same time read them together: the
// first to be read makes the rows of the others from the same samples and gives them away. The
// given rows are held until they are taken, up to a share of the sample limit; what does not fit is
// read again by whoever needs it. Whoever takes rows early gets them at once, and none is held.
#pragma once

#include <absl/status/status.h>

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "model/mutex.h"
#include "model/queryable.h"
#include "promql/ast.h"
#include "promql/context.h"
#include "promql/leaf_share.h"
#include "promql/operator.h"
#include "promql/row.h"
#include "promql/window_kernel.h"
#include "promql/workers.h"

namespace varve::promql {

// What one series gives.
struct LeafRow {
  Row row;
  uint64_t read = 0;       // Samples read from storage.
  ReadCost cost;           // Of reading them.
  uint64_t held = 0;       // Their weight in the sample limit while the row is made or kept.
  uint64_t queryable = 0;  // Samples looked at, once per step.
  AnnotationCollector annotations;
};

// Buffers a series needs on its way; used again by the next one.
struct LeafScratch {
  SeriesSamples samples;
  FloatWindows windows;
  uint64_t bytes_held = 0;  // What the query's memory knows of it.
};

// What a leaf reads, and how it makes rows of it.
struct LeafPlan {
  // Makes the row of a series from its samples, which may reach beyond the leaf's own times.
  // Called by several threads; must not touch the context but for counting per step.
  using Make =
      std::function<absl::Status(const Labels& labels, LeafScratch& scratch, LeafRow& out)>;

  const VectorSelector& selector;  // Outlives the leaf.
  SelectHints hints;
  size_t steps = 1;            // Of a row.
  DurationMs offset = 0;       // Of the selector.
  bool fixed = false;          // By `@`.
  bool stale_markers = false;  // Whether `make` wants to see them.
  // Whether `make` may be called before Open(), on samples read for another leaf.
  bool shareable = false;
  Make make;
};

// Not thread-safe; its threads are its own affair.
class LeafRows {
 public:
  // Tells the context which times will be read. The context outlives the rows.
  LeafRows(QueryContext& context, LeafPlan plan);
  ~LeafRows();
  LeafRows(const LeafRows&) = delete;
  LeafRows& operator=(const LeafRows&) = delete;

  const LeafPlan& plan() const { return plan_; }
  const std::vector<Matcher>& matchers() const { return context_.MatchersOf(plan_.selector); }

  // Selects the series and returns their labels.
  absl::StatusOr<std::vector<Labels>> Open();
  // Overwrites `row` with that of the next series. REQUIRES: a series remains.
  absl::Status Next(Row& row);
  // See operator.h.
  bool GiveEarly(Operator::RowTaker taker);

 private:
  friend class LeafShares;

  using LeafRowPtr = std::unique_ptr<LeafRow>;
  struct Batch {
    size_t first = 0;
    size_t count = 0;
    std::vector<LeafRow> rows;
    std::vector<absl::Status> statuses;
    // Whose rows are made on the way; null: that leaf is gone.
    std::vector<LeafRows*> takers;
    std::vector<std::vector<LeafRowPtr>> gifts;  // By row and taker.
    Workers::LoopPtr loop;                       // Null once all rows are made.
  };

  void DecideThreads();
  void Advance();
  void Begin(Batch& batch);
  void FindTakers(Batch& batch) const;
  // Makes the rows [first, end) of the batch.
  void MakeSome(Batch& batch, size_t first, size_t end) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status MakeRows(Batch& batch, size_t i, LeafScratch& scratch) const;
  absl::Status HoldScratch(LeafScratch& scratch);
  absl::Status GiveAway(std::vector<LeafRowPtr>& gifts, size_t index);
  absl::Status TakeEarly(LeafRow& made);
  absl::Status HandOut(LeafRow& made, Row& row);
  bool DiscardGiven();
  // `taker` goes: no row of it is made from here on.
  void Forget(const LeafRows& taker);

  QueryContext& context_;
  const LeafPlan plan_;
  LeafGroup* group_ = nullptr;  // Since Open().
  size_t series_ = 0;
  bool threaded_ = false;
  size_t batch_rows_ = 1;
  size_t piece_rows_ = 1;  // That a thread makes at a time.
  size_t planned_ = 0;     // Series given to a batch, or taken from `given_`, or early.
  bool asked_ = false;     // For a row.
  Operator::RowTaker early_;
  Row early_row_;
  std::unique_ptr<Batch> current_;
  size_t next_ = 0;               // Row of current_.
  std::unique_ptr<Batch> ahead_;  // Being made, or to be used again.
  std::deque<LeafRowPtr> given_;  // By another leaf: the rows from planned_ on.
  uint64_t held_ = 0;
  HeldMemory memory_;                       // Of series, their labels, and rows made ahead.
  std::atomic<uint64_t> scratch_bytes_{0};  // What is held of all scratches.

  Mutex mutex_;
  std::vector<std::unique_ptr<LeafScratch>> idle_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace varve::promql
