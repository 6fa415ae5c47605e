// SPDX-License-Identifier: Apache-2.0
//
// and, or, unless: presence only, so all they keep is one bitmap per match group.
#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>

#include <utility>

#include "model/status_macros.h"
#include "promql/binary.h"
#include "promql/label_filter.h"
#include "promql/vector_function.h"

namespace varve::promql {

Labels MatchKey(const VectorMatching& matching, const Labels& labels) {
  return FilterLabels(labels, [&](std::string_view name) {
    return matching.on ? IsOneOf(name, matching.labels)
                       : name != kMetricName && !IsOneOf(name, matching.labels);
  });
}

namespace {

using Bitmap = std::vector<uint64_t>;

// Which steps each match group has been seen at.
class GroupMasks {
 public:
  GroupMasks(const VectorMatching& matching, size_t steps)
      : matching_(matching), words_((steps + 63) / 64) {}

  absl::StatusOr<std::vector<size_t>> GroupsOf(const std::vector<Labels>& inputs,
                                               HeldMemory& memory) {
    std::vector<size_t> groups;
    groups.reserve(inputs.size());
    for (const Labels& labels : inputs) {
      const auto [it, inserted] = index_.try_emplace(MatchKey(matching_, labels), masks_.size());
      if (inserted) {
        // Some callers have a copy of the masks.
        RETURN_IF_ERROR(memory.Add(2 * (sizeof(Bitmap) + words_ * sizeof(uint64_t))));
        RETURN_IF_ERROR(memory.Add(it->first));
        masks_.emplace_back(words_, 0);
      }
      groups.push_back(it->second);
    }
    return groups;
  }

  // Takes over the groups of `other`, nothing seen.
  void CopyGroups(const GroupMasks& other) {
    masks_.assign(other.masks_.size(), Bitmap(words_, 0));
  }
  // Adds what `other` has seen of `groups` and empties it there.
  void MoveFrom(GroupMasks& other, const std::vector<size_t>& groups) {
    for (size_t group : groups) {
      for (size_t word = 0; word < words_; ++word) {
        masks_[group][word] |= std::exchange(other.masks_[group][word], 0);
      }
    }
  }

  void Remember(const Row& row, size_t group) {
    for (size_t word = 0; word < words_; ++word) masks_[group][word] |= row.present()[word];
  }

  // Keeps the steps at which the group was seen.
  void KeepSeen(Row& row, size_t group) const {
    for (size_t word = 0; word < words_; ++word) row.present()[word] &= masks_[group][word];
  }
  void KeepUnseen(Row& row, size_t group) const {
    for (size_t word = 0; word < words_; ++word) row.present()[word] &= ~masks_[group][word];
  }

 private:
  const VectorMatching& matching_;
  const size_t words_;
  absl::flat_hash_map<Labels, size_t> index_;
  std::vector<Bitmap> masks_;  // By group.
};

void ExplainUnmatched(const std::vector<Labels>& left, const std::vector<size_t>& left_groups,
                      const std::vector<Labels>& right, const std::vector<size_t>& right_groups,
                      ExplainJoin& join) {
  const absl::flat_hash_set<size_t> in_left(left_groups.begin(), left_groups.end());
  const absl::flat_hash_set<size_t> in_right(right_groups.begin(), right_groups.end());
  for (size_t i = 0; i < left.size(); ++i) {
    if (!in_right.contains(left_groups[i])) join.left.Add(left[i]);
  }
  for (size_t i = 0; i < right.size(); ++i) {
    if (!in_left.contains(right_groups[i])) join.right.Add(right[i]);
  }
}

// and, unless.
class SetOperator : public Operator {
 public:
  SetOperator(QueryContext& context, const Grid& grid, const Binary& binary, OperatorPtr left,
              OperatorPtr right)
      : context_(context),
        keep_seen_(binary.op == BinaryOp::kAnd),
        left_(std::move(left)),
        right_(std::move(right)),
        masks_(*binary.matching, grid.count),
        explain_(context.explain()) {}

  absl::StatusOr<std::vector<Labels>> Open() override {
    ASSIGN_OR_RETURN(std::vector<Labels> left, left_->Open());
    ASSIGN_OR_RETURN(const std::vector<Labels> right, right_->Open());
    ASSIGN_OR_RETURN(left_group_, masks_.GroupsOf(left, memory_));
    ASSIGN_OR_RETURN(const std::vector<size_t> right_group, masks_.GroupsOf(right, memory_));
    if (explain_ != nullptr) {
      ExplainUnmatched(left, left_group_, right, right_group, explain_->join.emplace());
    }
    Row row;
    for (size_t group : right_group) {
      RETURN_IF_ERROR(context_.Check());
      RETURN_IF_ERROR(right_->Next(row));
      masks_.Remember(row, group);
    }
    return left;
  }

  absl::Status Next(Row& row) override {
    const size_t group = left_group_[next_++];
    RETURN_IF_ERROR(left_->Next(row));
    if (keep_seen_) {
      masks_.KeepSeen(row, group);
    } else {
      masks_.KeepUnseen(row, group);
    }
    return absl::OkStatus();
  }

 private:
  QueryContext& context_;
  HeldMemory memory_{context_};
  const bool keep_seen_;
  OperatorPtr left_;
  OperatorPtr right_;
  GroupMasks masks_;
  std::vector<size_t> left_group_;
  size_t next_ = 0;
  ExplainNode* const explain_;  // Null unless the query is to be explained.
};

// or: what an input shows hides the same groups of the inputs after it, not its own.
class UnionOperator : public Operator {
 public:
  UnionOperator(QueryContext& context, const Grid& grid, const Binary& binary,
                std::vector<OperatorPtr> inputs)
      : context_(context),
        inputs_(std::move(inputs)),
        earlier_(*binary.matching, grid.count),
        current_(*binary.matching, grid.count) {}

  absl::StatusOr<std::vector<Labels>> Open() override {
    std::vector<Labels> all;
    for (OperatorPtr& input : inputs_) {
      ASSIGN_OR_RETURN(const std::vector<Labels> labels, input->Open());
      ASSIGN_OR_RETURN(std::vector<size_t> groups, earlier_.GroupsOf(labels, memory_));
      groups_.push_back(std::move(groups));
      RETURN_IF_ERROR(memory_.Add(labels));
      all.insert(all.end(), labels.begin(), labels.end());
    }
    current_.CopyGroups(earlier_);
    return all;
  }

  absl::Status Next(Row& row) override {
    while (next_ == groups_[input_].size()) {
      earlier_.MoveFrom(current_, groups_[input_]);
      ++input_;
      next_ = 0;
    }
    const size_t group = groups_[input_][next_++];
    RETURN_IF_ERROR(context_.Check());
    RETURN_IF_ERROR(inputs_[input_]->Next(row));
    earlier_.KeepUnseen(row, group);
    current_.Remember(row, group);
    return absl::OkStatus();
  }

 private:
  QueryContext& context_;
  HeldMemory memory_{context_};
  std::vector<OperatorPtr> inputs_;
  std::vector<std::vector<size_t>> groups_;  // By input and series.
  GroupMasks earlier_;                       // What the inputs before this one showed.
  GroupMasks current_;                       // What this one has shown so far.
  size_t input_ = 0;
  size_t next_ = 0;
};

}  // namespace

OperatorPtr MakeSetOperator(QueryContext& context, const Grid& grid, const Binary& binary,
                            OperatorPtr left, OperatorPtr right) {
  return std::make_unique<SetOperator>(context, grid, binary, std::move(left), std::move(right));
}

OperatorPtr MakeUnion(QueryContext& context, const Grid& grid, const Binary& binary,
                      std::vector<OperatorPtr> inputs) {
  // Two inputs may have a series in common, at different steps.
  return MakeMerge(context,
                   std::make_unique<UnionOperator>(context, grid, binary, std::move(inputs)));
}

}  // namespace varve::promql
