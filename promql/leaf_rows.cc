// SPDX-License-Identifier: Apache-2.0
//
// Two batches: the consumer takes rows of one while the workers fill the other. Everything that
// decides who reads what happens on the consumer's side, in series order.
#include "promql/leaf_rows.h"

#include <algorithm>
#include <utility>

#include "model/check.h"
#include "model/status_macros.h"
#include "promql/interpolate.h"
#include "promql/selector.h"

namespace varve::promql {
namespace {

// Below, waking a thread costs more than it brings.
constexpr uint64_t kSamplesForThreads = 20'000;
// Rows of a batch, for each thread: a few, so that a long series does not leave the others idle;
// of short series as many as make handing out a batch worth it.
constexpr size_t kRowsPerThread = 8;
constexpr uint64_t kBatchSamplesPerThread = 8'192;
// Of a piece of a batch: taking the next one costs as much as reading some tens of samples.
constexpr uint64_t kPieceSamples = 1'024;
// Steps of all rows of a batch: rows that are made ahead count in no limit.
constexpr size_t kBatchStepsMax = 1 << 20;
// Without threads, short rows of many series are made some at a time, with buffers of their own.
constexpr size_t kRowsAlone = 32;
constexpr size_t kStepsAlone = 1024;
constexpr size_t kSeriesForRowAlone = 64;
// How much of the sample limit given rows may take.
constexpr uint64_t kGivenShare = 8;

// How many samples a series may have in `span`: a guess.
uint64_t ExpectedSamples(DurationMs span) {
  constexpr DurationMs kUsualInterval = 15 * kSecond;
  return static_cast<uint64_t>(std::max<DurationMs>(span, 0) / kUsualInterval) + 1;
}

}  // namespace

LeafRows::LeafRows(QueryContext& context, LeafPlan plan)
    : context_(context),
      plan_(std::move(plan)),
      current_(std::make_unique<Batch>()),
      ahead_(std::make_unique<Batch>()),
      memory_(context) {
  context_.WillRead(plan_.hints.start_ms, plan_.hints.end_ms);
  context_.leaves().Add(*this);
}

LeafRows::~LeafRows() {
  context_.leaves().Remove(*this);
  for (const auto& batch : {&current_, &ahead_}) {
    if ((*batch)->loop != nullptr) context_.workers().Cancel(*(*batch)->loop);
  }
  DiscardGiven();
  context_.Release(held_);
  context_.memory().Release(scratch_bytes_);
}

void LeafRows::Forget(const LeafRows& taker) {
  for (Batch* batch : {current_.get(), ahead_.get()}) {
    const auto it = std::find(batch->takers.begin(), batch->takers.end(), &taker);
    if (it == batch->takers.end()) continue;
    if (batch->loop != nullptr) context_.workers().Finish(*batch->loop);
    *it = nullptr;
  }
}

absl::StatusOr<std::vector<Labels>> LeafRows::Open() {
  group_ = &context_.leaves().GroupOf(*this);
  if (group_->series == nullptr) {
    SelectHints hints = plan_.hints;
    hints.start_ms = group_->start;
    hints.end_ms = group_->end;
    if (group_->leaves.size() > 1) {
      // What one of them will not look at the others may.
      hints.function.clear();
      hints.grouping.clear();
      hints.grouping_only = false;
      hints.presence_only =
          std::all_of(group_->leaves.begin(), group_->leaves.end(),
                      [](const LeafRows* leaf) { return leaf->plan_.hints.presence_only; });
      hints.newest_only =
          std::all_of(group_->leaves.begin(), group_->leaves.end(), [&](const LeafRows* leaf) {
            return leaf->plan_.hints.newest_only && leaf->plan_.hints.end_ms == hints.end_ms;
          });
    }
    ASSIGN_OR_RETURN(group_->series, Select(context_, matchers(), std::move(hints), memory_));
  }
  series_ = group_->series->size();
  DecideThreads();
  if (batch_rows_ > 1) {
    // One batch or two, of its own rows and of those that are given away.
    uint64_t steps = 0;
    for (const LeafRows* leaf : group_->leaves) steps += leaf->plan_.steps;
    RETURN_IF_ERROR(memory_.Add((threaded_ ? 2 : 1) * batch_rows_ * steps * Row::kStepBytes));
  }
  std::vector<Labels> labels;
  labels.reserve(series_);
  for (size_t i = 0; i < series_; ++i) labels.push_back(group_->series->labels(i));
  RETURN_IF_ERROR(memory_.Add(labels));
  // Whoever reads by himself need not wait until all operators are open.
  if (threaded_ && group_->leaves.size() == 1) Begin(*ahead_);
  return labels;
}

void LeafRows::DecideThreads() {
  const size_t threads = context_.workers().threads() + 1;
  if (series_ < 2) return;
  const uint64_t expected =
      group_->series->is_known() ? 1 : ExpectedSamples(group_->end - group_->start);
  if (threads == 1 || expected < kSamplesForThreads / series_) {
    batch_rows_ = std::clamp<size_t>(
        std::min(kStepsAlone / std::max<size_t>(plan_.steps, 1), series_ / kSeriesForRowAlone), 1,
        kRowsAlone);
    return;
  }
  const size_t rows = std::max<size_t>(kRowsPerThread, kBatchSamplesPerThread / expected);
  batch_rows_ = std::min({threads * rows, (series_ + 1) / 2,
                          std::max<size_t>(1, kBatchStepsMax / std::max<size_t>(plan_.steps, 1))});
  threaded_ = batch_rows_ > 1;
  piece_rows_ = std::max<size_t>(1, kPieceSamples / expected);
}

// Known only once the samples are there: every thread may have those of one series too many.
absl::Status LeafRows::HoldScratch(LeafScratch& scratch) {
  const SeriesSamples& samples = scratch.samples;
  const uint64_t bytes =
      samples.times.MemoryBytes() + samples.values.capacity() * sizeof(double) +
      samples.start_times.capacity() * sizeof(TimestampMs) + scratch.windows.MemoryBytes() +
      (samples.histograms.empty()
           ? 0
           : (SampleWeight(samples) - samples.times.size()) * QueryContext::kSampleBytes);
  if (bytes <= scratch.bytes_held) return absl::OkStatus();
  const uint64_t more = bytes - std::exchange(scratch.bytes_held, bytes);
  scratch_bytes_.fetch_add(more, std::memory_order_relaxed);
  return context_.memory().Hold(more);
}

absl::Status LeafRows::MakeRows(Batch& batch, size_t i, LeafScratch& scratch) const {
  const size_t index = batch.first + i;
  SeriesSamples& samples = scratch.samples;
  absl::Status read = group_->series->Read(index, group_->start, group_->end, samples);
  if (!read.ok()) return ExecutionError(MessageOf(read));
  const uint64_t alike = group_->series->Alike(index);
  LeafRow& own = batch.rows[i];
  own.read = alike * (samples.times.size() + samples.histograms.size());
  own.cost = samples.cost;
  if (context_.counts_per_step()) context_.CountReadPerStep(samples, plan_.offset, plan_.fixed);
  if (context_.NeedsResetHints(plan_.selector)) DetectResetHints(samples);
  const Labels& labels = group_->series->labels(index);
  std::vector<LeafRowPtr>& gifts = batch.gifts[i];
  gifts.resize(batch.takers.size());
  for (LeafRowPtr& gift : gifts) {
    if (gift == nullptr) gift = std::make_unique<LeafRow>();
    gift->queryable = 0;
  }
  // Those that want to see the markers come before these are taken out.
  for (const bool markers : {true, false}) {
    if (!markers) RemoveStale(samples);
    if (plan_.stale_markers == markers) RETURN_IF_ERROR(plan_.make(labels, scratch, own));
    for (size_t taker = 0; taker < batch.takers.size(); ++taker) {
      const LeafPlan& plan = batch.takers[taker]->plan_;
      if (plan.stale_markers != markers) continue;
      RETURN_IF_ERROR(plan.make(labels, scratch, *gifts[taker]));
    }
    if (plan_.stale_markers && batch.takers.empty()) break;
  }
  own.queryable *= alike;
  own.row.series = alike;
  return absl::OkStatus();
}

void LeafRows::MakeSome(Batch& batch, size_t first, size_t end) {
  std::unique_ptr<LeafScratch> scratch;
  {
    MutexLock lock(mutex_);
    if (!idle_.empty()) {
      scratch = std::move(idle_.back());
      idle_.pop_back();
    }
  }
  if (scratch == nullptr) scratch = std::make_unique<LeafScratch>();
  const absl::Status status = context_.Check();
  for (size_t i = first; i < end; ++i) {
    LeafRow& out = batch.rows[i];
    out.read = out.held = out.queryable = 0;
    out.cost = ReadCost();
    batch.statuses[i] = status;
    if (status.ok()) batch.statuses[i] = MakeRows(batch, i, *scratch);
    if (batch.statuses[i].ok()) batch.statuses[i] = HoldScratch(*scratch);
  }
  MutexLock lock(mutex_);
  idle_.push_back(std::move(scratch));
}

// Leaves that nobody has read from.
void LeafRows::FindTakers(Batch& batch) const {
  batch.takers.clear();
  if (group_->closed) return;
  for (LeafRows* leaf : group_->leaves) {
    if (leaf != this && !leaf->asked_) batch.takers.push_back(leaf);
  }
}

void LeafRows::Begin(Batch& batch) {
  batch.first = planned_;
  batch.count = std::min(batch_rows_, series_ - planned_);
  planned_ += batch.count;
  FindTakers(batch);
  // Collectors of annotations do not move, so rows are made once.
  if (batch.rows.empty()) batch.rows = std::vector<LeafRow>(batch_rows_);
  batch.gifts.resize(batch_rows_);
  batch.statuses.assign(batch.count, absl::OkStatus());
  if (!threaded_) return MakeSome(batch, 0, batch.count);
  const size_t pieces = (batch.count + piece_rows_ - 1) / piece_rows_;
  batch.loop = context_.workers().Start(pieces, [this, &batch](size_t piece) {
    const size_t first = piece * piece_rows_;
    MakeSome(batch, first, std::min(first + piece_rows_, batch.count));
  });
}

void LeafRows::Advance() {
  if (!threaded_) {
    next_ = 0;
    return Begin(*current_);
  }
  if (ahead_->loop == nullptr) Begin(*ahead_);
  std::swap(current_, ahead_);
  next_ = 0;
  // The next batch is begun before this one is waited for: nobody is idle meanwhile.
  if (planned_ < series_) Begin(*ahead_);
  context_.workers().Finish(*current_->loop, ahead_->loop.get());
  current_->loop.reset();
}

// In series order, so that what fits does not depend on the workers. A leaf that has been read
// from, or that lacks a row in between, takes nothing.
absl::Status LeafRows::GiveAway(std::vector<LeafRowPtr>& gifts, size_t index) {
  for (size_t i = 0; i < gifts.size(); ++i) {
    if (current_->takers[i] == nullptr) continue;
    LeafRows& taker = *current_->takers[i];
    if (taker.asked_ || taker.planned_ + taker.given_.size() != index) continue;
    LeafRow& made = *gifts[i];
    if (taker.early_ && taker.given_.empty()) {
      RETURN_IF_ERROR(taker.TakeEarly(made));
      continue;
    }
    if (group_->closed) continue;
    made.held = made.row.HeldWeight();
    if (!context_.HoldIfRoom(made.held, context_.setup().engine.max_samples / kGivenShare)) {
      group_->closed = true;
      break;
    }
    taker.given_.push_back(std::move(gifts[i]));
  }
  return absl::OkStatus();
}

bool LeafRows::GiveEarly(Operator::RowTaker taker) {
  if (group_->leaves.size() == 1) return false;
  early_ = std::move(taker);
  return true;
}

absl::Status LeafRows::TakeEarly(LeafRow& made) {
  ++planned_;
  RETURN_IF_ERROR(HandOut(made, early_row_));
  const absl::Status status = early_(early_row_);
  std::swap(early_row_, made.row);  // To be used again.
  return status;
}

bool LeafRows::DiscardGiven() {
  const bool any = !given_.empty();
  for (const LeafRowPtr& made : given_) context_.Release(made->held);
  given_.clear();
  return any;
}

absl::Status LeafRows::HandOut(LeafRow& made, Row& row) {
  context_.CountRead(made.read, made.cost);
  context_.CountQueryable(made.queryable);
  context_.annotations().Take(made.annotations);
  std::swap(row, made.row);
  return absl::OkStatus();
}

absl::Status LeafRows::Next(Row& row) {
  asked_ = true;
  if (held_ > 0) context_.Release(std::exchange(held_, 0));
  if (!given_.empty()) {
    const LeafRowPtr made = std::move(given_.front());
    given_.pop_front();
    ++planned_;
    held_ = made->held;
    return HandOut(*made, row);
  }
  if (next_ == current_->count) Advance();
  const size_t i = next_++;
  LeafRow& made = current_->rows[i];
  RETURN_IF_ERROR(current_->statuses[i]);
  held_ = made.held;
  if (held_ > 0) RETURN_IF_ERROR(context_.Hold(held_));
  RETURN_IF_ERROR(GiveAway(current_->gifts[i], current_->first + i));
  return HandOut(made, row);
}

}  // namespace varve::promql
