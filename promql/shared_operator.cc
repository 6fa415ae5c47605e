// SPDX-License-Identifier: Apache-2.0
//
// One source, several readers, each at a row of its own.
#include "promql/shared_operator.h"

#include <algorithm>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "model/status_macros.h"
#include "promql/context.h"

namespace varve::promql {

class SharedSource {
 public:
  SharedSource(QueryContext& context, OperatorPtr input)
      : context_(context), input_(std::move(input)) {}
  ~SharedSource() {
    for (const Kept& kept : kept_) context_.Release(kept.held);
  }
  SharedSource(const SharedSource&) = delete;
  SharedSource& operator=(const SharedSource&) = delete;

  size_t Attach() {
    positions_.push_back(0);
    return positions_.size() - 1;
  }

  absl::StatusOr<std::vector<Labels>> Open() {
    if (labels_.has_value()) {
      context_.CountQueryable(queryable_at_open_);
      return *labels_;
    }
    const uint64_t before = context_.queryable_samples();
    ASSIGN_OR_RETURN(std::vector<Labels> labels, input_->Open());
    queryable_at_open_ = context_.queryable_samples() - before;
    if (positions_.size() > 1) {
      RETURN_IF_ERROR(memory_.Add(labels, positions_.size()));
      labels_ = labels;
    }
    return labels;
  }

  absl::Status Next(size_t reader, Row& row) {
    const size_t index = positions_[reader]++;
    const bool last =
        std::all_of(positions_.begin(), positions_.end(), [&](size_t at) { return at > index; });
    if (index == first_ + kept_.size()) return Compute(last, row);
    Kept& kept = kept_[index - first_];
    context_.CountQueryable(kept.queryable);
    if (!last) {
      row = kept.row;
      return absl::OkStatus();
    }
    // Whoever has had this row has had those before it.
    row = std::move(kept.row);
    context_.Release(kept.held);
    kept_.pop_front();
    ++first_;
    return absl::OkStatus();
  }

 private:
  struct Kept {
    Row row;
    uint64_t held = 0;
    uint64_t queryable = 0;  // What computing it looked at: counts for every reader.
  };

  absl::Status Compute(bool last, Row& row) {
    const uint64_t before = context_.queryable_samples();
    RETURN_IF_ERROR(input_->Next(row));
    if (last) {
      ++first_;
      return absl::OkStatus();
    }
    Kept& kept = kept_.emplace_back();
    kept.queryable = context_.queryable_samples() - before;
    kept.row = row;
    kept.held = row.HeldWeight();
    return context_.Hold(kept.held);
  }

  QueryContext& context_;
  const OperatorPtr input_;
  HeldMemory memory_{context_};                // Of labels.
  std::vector<size_t> positions_;              // The next row of each reader.
  std::optional<std::vector<Labels>> labels_;  // Once opened, if there are several readers.
  uint64_t queryable_at_open_ = 0;
  size_t first_ = 0;  // Row of kept_.front().
  std::deque<Kept> kept_;
};

namespace {

class SharedReader : public Operator {
 public:
  explicit SharedReader(std::shared_ptr<SharedSource> source)
      : source_(std::move(source)), reader_(source_->Attach()) {}

  absl::StatusOr<std::vector<Labels>> Open() override { return source_->Open(); }
  absl::Status Next(Row& row) override { return source_->Next(reader_, row); }

 private:
  const std::shared_ptr<SharedSource> source_;
  const size_t reader_;
};

}  // namespace

absl::StatusOr<OperatorPtr> SharedOperators::Plan(
    QueryContext& context, size_t part, const Grid& grid,
    const std::function<absl::StatusOr<OperatorPtr>()>& plan) {
  const Key key{part, grid.start, grid.step, grid.count,
                grid.uneven == nullptr ? std::vector<TimestampMs>() : *grid.uneven};
  std::shared_ptr<SharedSource> source = sources_[key].lock();
  if (source == nullptr) {
    ASSIGN_OR_RETURN(OperatorPtr input, plan());
    source = std::make_shared<SharedSource>(context, std::move(input));
    sources_[key] = source;
  }
  return OperatorPtr(std::make_unique<SharedReader>(std::move(source)));
}

}  // namespace varve::promql
