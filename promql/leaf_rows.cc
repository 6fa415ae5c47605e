// SPDX-License-Identifier: Apache-2.0
//
// Two batches: the consumer takes rows of one while the workers fill the other.
#include "promql/leaf_rows.h"

#include <algorithm>
#include <utility>

#include "model/status_macros.h"

namespace varve::promql {
namespace {

// Below, waking a thread costs more than it brings.
constexpr uint64_t kSamplesForThreads = 20'000;
// Rows of a batch, for each thread: a few, so that a long series does not leave the others idle.
constexpr size_t kRowsPerThread = 8;
// Steps of all rows of a batch: rows that are made ahead count in no limit.
constexpr size_t kBatchStepsMax = 1 << 20;

}  // namespace

uint64_t ExpectedSamples(DurationMs span) {
  constexpr DurationMs kUsualInterval = 15 * kSecond;
  return static_cast<uint64_t>(std::max<DurationMs>(span, 0) / kUsualInterval) + 1;
}

LeafRows::LeafRows(QueryContext& context, const Shape& shape, Make make)
    : context_(context),
      series_(shape.series),
      make_(std::move(make)),
      current_(std::make_unique<Batch>()),
      ahead_(std::make_unique<Batch>()) {
  const size_t threads = context.workers().threads() + 1;
  if (threads == 1 || series_ < 2) return;
  if (shape.samples_expected < kSamplesForThreads / series_) return;
  batch_rows_ = std::min({threads * kRowsPerThread, (series_ + 1) / 2,
                          std::max<size_t>(1, kBatchStepsMax / std::max<size_t>(shape.steps, 1))});
}

LeafRows::~LeafRows() {
  for (const auto& batch : {&current_, &ahead_}) {
    if ((*batch)->loop != nullptr) context_.workers().Cancel(*(*batch)->loop);
  }
  context_.Release(held_);
}

void LeafRows::MakeOne(Batch& batch, size_t i) {
  std::unique_ptr<LeafScratch> scratch;
  {
    MutexLock lock(mutex_);
    if (!idle_.empty()) {
      scratch = std::move(idle_.back());
      idle_.pop_back();
    }
  }
  if (scratch == nullptr) scratch = std::make_unique<LeafScratch>();
  LeafRow& out = batch.rows[i];
  out.read = out.held = out.queryable = 0;
  batch.statuses[i] = context_.Check();
  if (batch.statuses[i].ok()) batch.statuses[i] = make_(batch.first + i, *scratch, out);
  MutexLock lock(mutex_);
  idle_.push_back(std::move(scratch));
}

void LeafRows::Begin(Batch& batch) {
  batch.first = planned_;
  batch.count = std::min(batch_rows_, series_ - planned_);
  planned_ += batch.count;
  // Collectors of annotations do not move, so rows are made once.
  if (batch.rows.empty()) batch.rows = std::vector<LeafRow>(batch_rows_);
  batch.statuses.assign(batch.count, absl::OkStatus());
  if (batch_rows_ == 1) return MakeOne(batch, 0);
  batch.loop =
      context_.workers().Start(batch.count, [this, &batch](size_t i) { MakeOne(batch, i); });
}

void LeafRows::Advance() {
  if (ahead_->loop == nullptr) Begin(*ahead_);
  std::swap(current_, ahead_);
  next_ = 0;
  if (current_->loop == nullptr) return;
  // The workers get their next batch before this one is waited for.
  if (planned_ < series_) Begin(*ahead_);
  context_.workers().Finish(*current_->loop);
  current_->loop.reset();
}

absl::Status LeafRows::Next(Row& row) {
  if (next_ == current_->count) Advance();
  LeafRow& made = current_->rows[next_];
  const absl::Status& status = current_->statuses[next_++];
  context_.Release(std::exchange(held_, 0));
  RETURN_IF_ERROR(status);
  context_.CountRead(made.read);
  held_ = made.held;
  RETURN_IF_ERROR(context_.Hold(held_));
  context_.CountQueryable(made.queryable);
  context_.annotations().Take(made.annotations);
  std::swap(row, made.row);
  return absl::OkStatus();
}

}  // namespace varve::promql
