// SPDX-License-Identifier: Apache-2.0
//
// and, or, unless: presence only, so all they keep is one bitmap per match group.
#include <absl/container/flat_hash_map.h>

#include <utility>

#include "model/status_macros.h"
#include "promql/binary.h"
#include "promql/vector_function.h"

namespace varve::promql {

Labels MatchKey(const VectorMatching& matching, const Labels& labels) {
  LabelsBuilder builder(labels);
  if (matching.on) {
    builder.Keep(matching.labels);
  } else {
    for (const std::string& name : matching.labels) builder.Delete(name);
    builder.Delete(kMetricName);
  }
  return builder.Build();
}

namespace {

using Bitmap = std::vector<uint64_t>;

class SetOperator : public Operator {
 public:
  SetOperator(QueryContext& context, const Grid& grid, const Binary& binary, OperatorPtr left,
              OperatorPtr right)
      : context_(context),
        grid_(grid),
        binary_(binary),
        left_(std::move(left)),
        right_(std::move(right)) {}

  absl::StatusOr<std::vector<Labels>> Open() override {
    ASSIGN_OR_RETURN(std::vector<Labels> left, left_->Open());
    ASSIGN_OR_RETURN(const std::vector<Labels> right, right_->Open());
    absl::flat_hash_map<Labels, size_t> index;
    const auto groups_of = [&](const std::vector<Labels>& inputs) {
      std::vector<size_t> groups;
      groups.reserve(inputs.size());
      for (const Labels& labels : inputs) {
        groups.push_back(
            index.try_emplace(MatchKey(*binary_.matching, labels), index.size()).first->second);
      }
      return groups;
    };
    left_group_ = groups_of(left);
    right_group_ = groups_of(right);
    masks_.assign(index.size(), Bitmap((grid_.count + 63) / 64, 0));
    if (binary_.op == BinaryOp::kOr) {
      left.insert(left.end(), right.begin(), right.end());
      return left;
    }
    Row row;
    for (size_t group : right_group_) {
      RETURN_IF_ERROR(context_.Check());
      RETURN_IF_ERROR(right_->Next(row));
      Remember(row, group);
    }
    return left;
  }

  absl::Status Next(Row& row) override {
    const size_t index = next_++;
    if (index >= left_group_.size()) {
      RETURN_IF_ERROR(right_->Next(row));
      Filter(row, right_group_[index - left_group_.size()], false);
      return absl::OkStatus();
    }
    RETURN_IF_ERROR(left_->Next(row));
    if (binary_.op == BinaryOp::kOr) {
      Remember(row, left_group_[index]);
    } else {
      Filter(row, left_group_[index], binary_.op == BinaryOp::kAnd);
    }
    return absl::OkStatus();
  }

 private:
  void Remember(const Row& row, size_t group) {
    for (size_t word = 0; word < row.present().size(); ++word) {
      masks_[group][word] |= row.present()[word];
    }
  }

  // Keeps the steps at which the group was (or was not) seen.
  void Filter(Row& row, size_t group, bool seen) const {
    for (size_t word = 0; word < row.present().size(); ++word) {
      const uint64_t mask = masks_[group][word];
      row.present()[word] &= seen ? mask : ~mask;
    }
  }

  QueryContext& context_;
  const Grid grid_;
  const Binary& binary_;
  OperatorPtr left_;
  OperatorPtr right_;
  std::vector<size_t> left_group_;
  std::vector<size_t> right_group_;
  std::vector<Bitmap> masks_;  // By group.
  size_t next_ = 0;
};

}  // namespace

OperatorPtr MakeSetOperator(QueryContext& context, const Grid& grid, const Binary& binary,
                            OperatorPtr left, OperatorPtr right) {
  OperatorPtr result = std::make_unique<SetOperator>(context, grid, binary, std::move(left),
                                                     std::move(right));
  // Only `or` can give the same labels from both sides.
  if (binary.op == BinaryOp::kOr) return MakeMerge(context, std::move(result));
  return result;
}

}  // namespace varve::promql
