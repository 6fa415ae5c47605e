// SPDX-License-Identifier: Apache-2.0
//
// The rows of the operators that read the storage. Series do not depend on one another there, so
// several are read and worked on at a time, some ahead of the consumer; they are handed out in
// order, and what they account for and annotate counts when they are, so that neither answers nor
// limits depend on timing or on the number of threads.
#pragma once

#include <absl/status/status.h>

#include <functional>
#include <memory>
#include <vector>

#include "model/mutex.h"
#include "model/storage.h"
#include "promql/context.h"
#include "promql/row.h"
#include "promql/window_kernel.h"
#include "promql/workers.h"

namespace varve::promql {

// What one series gives.
struct LeafRow {
  Row row;
  uint64_t read = 0;       // Samples read from storage.
  uint64_t held = 0;       // Their weight in the sample limit while the row is made.
  uint64_t queryable = 0;  // Samples looked at, once per step.
  AnnotationCollector annotations;
};

// Buffers a series needs on its way; used again by the next one.
struct LeafScratch {
  SeriesSamples samples;
  FloatWindows windows;
};

// How many samples a series may have in `span`: a guess, for LeafRows.
uint64_t ExpectedSamples(DurationMs span);

// Not thread-safe; its threads are its own affair.
class LeafRows {
 public:
  // Makes the row of series `index`. Called by several threads; must not touch the context but for
  // CountQueryableAt().
  using Make = std::function<absl::Status(size_t index, LeafScratch& scratch, LeafRow& out)>;

  // Rows have `steps` steps; `samples_expected` of a series decides whether threads pay. The
  // context outlives the rows.
  struct Shape {
    size_t series = 0;
    size_t steps = 0;
    uint64_t samples_expected = 0;
  };
  LeafRows(QueryContext& context, const Shape& shape, Make make);
  ~LeafRows();
  LeafRows(const LeafRows&) = delete;
  LeafRows& operator=(const LeafRows&) = delete;

  // Overwrites `row` with that of the next series. REQUIRES: a series remains.
  absl::Status Next(Row& row);

 private:
  struct Batch {
    size_t first = 0;
    size_t count = 0;
    std::vector<LeafRow> rows;
    std::vector<absl::Status> statuses;
    std::unique_ptr<Workers::Loop> loop;  // Null once all rows are made.
  };

  void Advance();
  void Begin(Batch& batch);
  void MakeOne(Batch& batch, size_t i) ABSL_LOCKS_EXCLUDED(mutex_);

  QueryContext& context_;
  const size_t series_;
  const Make make_;
  size_t batch_rows_ = 1;  // 1: without threads.
  size_t planned_ = 0;     // Series given to a batch.
  std::unique_ptr<Batch> current_;
  size_t next_ = 0;               // Row of current_.
  std::unique_ptr<Batch> ahead_;  // Being made, or to be used again.
  uint64_t held_ = 0;

  Mutex mutex_;
  std::vector<std::unique_ptr<LeafScratch>> idle_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace varve::promql
