// SPDX-License-Identifier: Apache-2.0
//
// Grouping, the aggregations that fold series into groups, and count_values.
#include "promql/aggregate.h"

#include <absl/container/flat_hash_map.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <utility>

#include "model/status_macros.h"
#include "model/string_map.h"
#include "promql/label_filter.h"
#include "promql/range_function.h"
#include "promql/vector_function.h"

namespace varve::promql {

Grouping GroupSeries(const std::vector<Labels>& inputs, const std::vector<std::string>& names,
                     bool without) {
  Grouping grouping;
  grouping.group_of.reserve(inputs.size());
  StringMap<size_t> index;  // By the canonical bytes of the group's labels.
  std::string key;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (i > 0 && inputs[i] == inputs[i - 1]) {
      const size_t group = grouping.group_of.back();
      grouping.last_input[group] = i;
      grouping.group_of.push_back(group);
      continue;
    }
    FilterLabelBytes(
        inputs[i],
        [&](std::string_view name) {
          return without ? name != kMetricName && !IsOneOf(name, names) : IsOneOf(name, names);
        },
        key);
    const auto found = index.find(key);
    const size_t group = found == index.end() ? grouping.labels.size() : found->second;
    if (found == index.end()) {
      index.emplace(key, group);
      grouping.labels.push_back(Labels::OfBytes(key));
      grouping.last_input.push_back(i);
    }
    grouping.last_input[group] = i;
    grouping.group_of.push_back(group);
  }
  return grouping;
}

namespace {

// What a group takes for a step, at most, and how many rows that weighs up.
constexpr uint64_t kFoldStepBytes = 32;
constexpr size_t kRowsPerEarlyGroup = 4;

class FoldOperator : public Operator {
 public:
  FoldOperator(QueryContext& context, const Grid& grid, const Aggregate& aggregate,
               OperatorPtr input, OperatorPtr param)
      : context_(context),
        grid_(grid),
        aggregate_(aggregate),
        input_(std::move(input)),
        param_(std::move(param)) {}

  absl::StatusOr<std::vector<Labels>> Open() override {
    if (param_ != nullptr) {
      RETURN_IF_ERROR(param_->Open().status());
      RETURN_IF_ERROR(param_->Next(param_row_));
      WarnInvalidParams();
    }
    ASSIGN_OR_RETURN(const std::vector<Labels> inputs, input_->Open());
    grouping_ = GroupSeries(inputs, aggregate_.grouping, aggregate_.without);
    RETURN_IF_ERROR(memory_.Add(grouping_.labels, 2));
    groups_.resize(grouping_.labels.size());
    TryFoldEarly();
    return grouping_.labels;
  }

  absl::Status Next(Row& row) override {
    const size_t index = emitted_++;
    // The sample limit counts a group from when its first input would be asked for.
    for (; inputs_held_ <= grouping_.last_input[index]; ++inputs_held_) {
      Group& group = groups_[grouping_.group_of[inputs_held_]];
      if (!std::exchange(group.held, true)) RETURN_IF_ERROR(context_.Hold(grid_.count));
      if (inputs_held_ < inputs_folded_) continue;
      RETURN_IF_ERROR(input_->Next(scratch_));
      RETURN_IF_ERROR(Add(scratch_));
    }
    row.Reset(grid_.count);
    row.drop_name = groups_[index].drop_name;
    RETURN_IF_ERROR(groups_[index].fold->Finish(row));
    groups_[index].fold.reset();
    context_.Release(grid_.count);
    return absl::OkStatus();
  }

 private:
  struct Group {
    std::unique_ptr<Fold> fold;  // Null before its first input and after it was emitted.
    bool held = false;
    bool drop_name = false;
  };

  // All groups may be begun before any is asked for where they are few beside the rows that would
  // be kept otherwise, and take no more memory with each row.
  void TryFoldEarly() {
    if (aggregate_.op == AggregateOp::kQuantile) return;
    if (groups_.size() > grouping_.group_of.size() / kRowsPerEarlyGroup) return;
    const uint64_t bytes = groups_.size() * grid_.count * kFoldStepBytes;
    if (!early_memory_.emplace(context_).Add(bytes).ok() ||
        !input_->GiveEarly([this](Row& row) { return Add(row); })) {
      early_memory_.reset();
    }
  }

  // Folds the next input.
  absl::Status Add(const Row& row) {
    Group& group = groups_[grouping_.group_of[inputs_folded_++]];
    if (group.fold == nullptr) group.fold = NewFold(context_, grid_, aggregate_, &param_row_);
    if (row.drop_name && !row.Empty()) group.drop_name = true;
    return group.fold->Add(row);
  }

  // One warning for what is above, below and no number, not one per step.
  void WarnInvalidParams() {
    double max = -std::numeric_limits<double>::infinity();
    double min = std::numeric_limits<double>::infinity();
    bool nan = false;
    for (double value : param_row_.values()) {
      max = std::max(max, value);
      min = std::min(min, value);
      nan |= std::isnan(value);
    }
    const int position = aggregate_.param->position.start;
    if (nan) WarnInvalidQuantile(context_.annotations(), NormalNan(), position);
    if (max > 1) WarnInvalidQuantile(context_.annotations(), max, position);
    if (min < 0) WarnInvalidQuantile(context_.annotations(), min, position);
  }

  QueryContext& context_;
  const Grid grid_;
  const Aggregate& aggregate_;
  OperatorPtr input_;
  OperatorPtr param_;
  Row param_row_;
  HeldMemory memory_{context_};
  Grouping grouping_;
  std::vector<Group> groups_;
  std::optional<HeldMemory> early_memory_;  // Of groups begun early.
  Row scratch_;
  size_t inputs_held_ = 0;    // Whose groups count in the sample limit.
  size_t inputs_folded_ = 0;  // As many, or more of them early.
  size_t emitted_ = 0;
};

// Labels depend on values here, so Open() does all the work.
class CountValues : public Operator {
 public:
  CountValues(QueryContext& context, const Grid& grid, const Aggregate& aggregate,
              OperatorPtr input, std::string label)
      : grid_(grid),
        aggregate_(aggregate),
        input_(std::move(input)),
        label_(std::move(label)),
        memory_(context),
        rows_(context) {}

  absl::StatusOr<std::vector<Labels>> Open() override {
    ASSIGN_OR_RETURN(const std::vector<Labels> inputs, input_->Open());
    std::vector<std::string> names = aggregate_.grouping;
    if (!aggregate_.without) names.push_back(label_);
    Grouping grouping = GroupSeries(inputs, names, aggregate_.without);
    absl::flat_hash_map<Labels, size_t> index;
    std::vector<Labels> labels;
    Row scratch;
    for (size_t i = 0; i < inputs.size(); ++i) {
      RETURN_IF_ERROR(input_->Next(scratch));
      LabelsBuilder builder(grouping.labels[grouping.group_of[i]]);
      for (size_t step = 0; step < grid_.count; ++step) {
        if (!scratch.Has(step)) continue;
        builder.Set(label_, scratch.HasHistogram(step) ? scratch.histogram(step)->ToString()
                                                       : FormatFloat(scratch.value(step)));
        const auto [it, inserted] = index.try_emplace(builder.Build(), labels.size());
        if (inserted) {
          RETURN_IF_ERROR(memory_.Add(it->first, 2));
          labels.push_back(it->first);
          Row row;
          row.Reset(grid_.count);
          RETURN_IF_ERROR(rows_.Add(std::move(row)));
        }
        Row& row = rows_.rows()[it->second];
        row.SetFloat(step, row.Has(step) ? row.value(step) + 1 : 1);
        row.drop_name |= scratch.drop_name;
      }
    }
    return labels;
  }

  absl::Status Next(Row& row) override {
    row = std::move(rows_.rows()[next_++]);
    return absl::OkStatus();
  }

 private:
  const Grid grid_;
  const Aggregate& aggregate_;
  OperatorPtr input_;
  const std::string label_;
  HeldMemory memory_;  // Of labels.
  BufferedRows rows_;
  size_t next_ = 0;
};

}  // namespace

OperatorPtr MakeFold(QueryContext& context, const Grid& grid, const Aggregate& aggregate,
                     OperatorPtr input, OperatorPtr param) {
  return std::make_unique<FoldOperator>(context, grid, aggregate, std::move(input),
                                        std::move(param));
}

absl::StatusOr<OperatorPtr> MakeCountValues(QueryContext& context, const Grid& grid,
                                            const Aggregate& aggregate, OperatorPtr input,
                                            std::string label) {
  if (label.empty() || !IsValidUtf8(label)) {
    return ExecutionError("invalid label name " + Quoted(label));
  }
  return OperatorPtr(
      std::make_unique<CountValues>(context, grid, aggregate, std::move(input), std::move(label)));
}

}  // namespace varve::promql
