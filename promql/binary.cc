// SPDX-License-Identifier: Apache-2.0
//
// Binary operators between two vectors. The rows of the "one" side are held, those of the "many"
// side (the left one in one-to-one matching) stream past them. Which series match is known from
// the labels; whether a match is ambiguous is a question of each step.
#include "promql/binary.h"

#include <absl/container/flat_hash_map.h>
#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "model/status_macros.h"
#include "promql/label_filter.h"
#include "promql/vector_function.h"

namespace varve::promql {
namespace {

constexpr int32_t kNoSeriesAtStep = -1;
constexpr size_t kFilledMany = static_cast<size_t>(-1);

class VectorBinary : public Operator {
 public:
  VectorBinary(QueryContext& context, const Grid& grid, const Binary& binary, OperatorPtr left,
               OperatorPtr right)
      : context_(context),
        grid_(grid),
        binary_(binary),
        matching_(*binary.matching),
        many_is_left_(matching_.card != Cardinality::kOneToMany),
        drops_name_(binary.return_bool || IsArithmetic(binary.op)),
        // As in Prometheus, group_right swaps the sides but not the fill values.
        fill_many_(matching_.fill_left),
        fill_one_(matching_.fill_right),
        many_(std::move(many_is_left_ ? left : right)),
        one_(std::move(many_is_left_ ? right : left)),
        one_rows_(context),
        many_rows_(context),
        explain_(context.explain()) {}

  absl::StatusOr<std::vector<Labels>> Open() override {
    ASSIGN_OR_RETURN(many_labels_, many_->Open());
    ASSIGN_OR_RETURN(one_labels_, one_->Open());
    RETURN_IF_ERROR(one_rows_.Read(*one_, one_labels_.size()));
    RETURN_IF_ERROR(MakeGroups());
    if (explain_ != nullptr) ExplainUnmatched();
    if (fill_many_.has_value() && !ambiguous_) RETURN_IF_ERROR(BufferMany());
    std::vector<Labels> labels;
    for (size_t many = 0; many < many_labels_.size(); ++many) {
      RETURN_IF_ERROR(PlanMany(many, labels));
    }
    if (fill_many_.has_value()) {
      for (size_t one = 0; one < one_labels_.size(); ++one) {
        RETURN_IF_ERROR(PlanFilledMany(one, labels));
      }
    }
    return labels;
  }

  absl::Status Next(Row& row) override {
    const Output& output = outputs_[next_++];
    row.Reset(grid_.count);
    if (output.many == kFilledMany) return FillMany(output, row);
    while (many_read_ <= output.many) {
      if (many_rows_.rows().empty()) RETURN_IF_ERROR(many_->Next(many_row_));
      ++many_read_;
    }
    const Row& many_row = many_rows_.rows().empty() ? many_row_ : many_rows_.rows()[output.many];
    row.drop_name = many_row.drop_name || (drops_name_ && context_.delayed_name_removal());
    Group& group = groups_[output.group];
    if (ComputeAll(output, group, many_row, row)) return absl::OkStatus();
    for (size_t step = 0; step < grid_.count; ++step) {
      if (!many_row.Has(step)) continue;
      const int32_t one = OneAt(group, step);
      if (one == kNoSeriesAtStep) {
        if (!output.filled_one) continue;
        RETURN_IF_ERROR(Compute(output, step, OperandAt(many_row, step), {*fill_one_, nullptr},
                                many_row, step, row));
      } else if (output.AcceptsOne(one)) {
        const Row& one_row = one_rows_.rows()[static_cast<size_t>(one)];
        RETURN_IF_ERROR(Compute(output, step, OperandAt(many_row, step), OperandAt(one_row, step),
                                many_row, step, row));
      }
    }
    return absl::OkStatus();
  }

 private:
  struct Group {
    Labels key;
    std::vector<size_t> ones;
    std::vector<int32_t> one_at;  // By step, if there are several ones.
    Row matched;                  // Steps with a result, in one-to-one matching.
    Row many_present;             // With fill_many_.
  };

  // One output series: a many-side series with some of the one-side series of its group.
  struct Output {
    size_t many = 0;
    size_t group = 0;
    bool all_ones = false;  // Else only those in `ones`.
    std::vector<int32_t> ones;
    bool filled_one = false;
    size_t unique = 0;  // Which uniqueness_ entry guards it, + 1; 0 = none needed.

    bool AcceptsOne(int32_t one) const {
      if (all_ones) return true;
      for (int32_t accepted : ones) {
        if (accepted == one) return true;
      }
      return false;
    }
  };

  int32_t OneAt(const Group& group, size_t step) const {
    if (group.ones.empty()) return kNoSeriesAtStep;
    if (group.ones.size() > 1) return group.one_at[step];
    return one_rows_.rows()[group.ones[0]].Has(step) ? static_cast<int32_t>(group.ones[0])
                                                     : kNoSeriesAtStep;
  }

  absl::Status MakeGroups() {
    group_of_many_.reserve(many_labels_.size());
    for (const Labels& labels : many_labels_) {
      ASSIGN_OR_RETURN(const size_t index, GroupOf(labels));
      group_of_many_.push_back(index);
    }
    for (size_t one = 0; one < one_labels_.size(); ++one) {
      ASSIGN_OR_RETURN(const size_t index, GroupOf(one_labels_[one]));
      group_of_one_.push_back(index);
      groups_[index].ones.push_back(one);
    }
    std::optional<Ambiguity> first;
    for (Group& group : groups_) {
      if (group.ones.size() > 1) RETURN_IF_ERROR(MergeOnes(group, first));
    }
    return first.has_value() ? Duplicate(*first) : absl::OkStatus();
  }

  absl::StatusOr<size_t> GroupOf(const Labels& labels) {
    const auto [it, inserted] =
        group_index_.try_emplace(MatchKey(matching_, labels), groups_.size());
    if (inserted) {
      RETURN_IF_ERROR(memory_.Add(it->first, 2));
      // `matched`, `one_at` and `many_present` as far as they are used.
      RETURN_IF_ERROR(memory_.Add(sizeof(Group) + grid_.count * Row::kStepBytes));
      groups_.emplace_back().key = it->first;
      if (matching_.card == Cardinality::kOneToOne) groups_.back().matched.Reset(grid_.count);
    }
    return it->second;
  }

  void ExplainUnmatched() {
    ExplainJoin& join = explain_->join.emplace();
    std::vector<bool> has_many(groups_.size(), false);
    for (size_t many = 0; many < many_labels_.size(); ++many) {
      const size_t group = group_of_many_[many];
      has_many[group] = true;
      if (groups_[group].ones.empty()) {
        (many_is_left_ ? join.left : join.right).Add(many_labels_[many]);
      }
    }
    for (size_t one = 0; one < one_labels_.size(); ++one) {
      if (has_many[group_of_one_[one]]) continue;
      (many_is_left_ ? join.right : join.left).Add(one_labels_[one]);
    }
  }

  // Two series of the one side that meet at a step, the later of them as `second`.
  struct Ambiguity {
    const Group* group = nullptr;
    size_t step = 0;
    size_t first = 0;
    size_t second = 0;
  };

  // Several series on the one side are fine as long as they do not meet at a step at which the
  // other side has anything at all. Of all groups' meetings, `first` gets the one that evaluation
  // step by step, series by series comes upon first.
  absl::Status MergeOnes(Group& group, std::optional<Ambiguity>& first) {
    group.one_at.assign(grid_.count, kNoSeriesAtStep);
    for (size_t one : group.ones) {
      const Row& row = one_rows_.rows()[one];
      for (size_t step = 0; step < grid_.count; ++step) {
        if (!row.Has(step)) continue;
        int32_t& at = group.one_at[step];
        if (at == kNoSeriesAtStep) {
          at = static_cast<int32_t>(one);
          continue;
        }
        RETURN_IF_ERROR(BufferMany());
        if (!many_present_.Has(step) && !fill_many_.has_value()) continue;
        if (!first.has_value() || std::pair(step, one) < std::pair(first->step, first->second)) {
          first = Ambiguity{&group, step, static_cast<size_t>(at), one};
        }
      }
    }
    return absl::OkStatus();
  }

  absl::Status Duplicate(const Ambiguity& found) const {
    size_t a = found.first;
    size_t b = found.second;
    if (one_labels_[b] < one_labels_[a]) std::swap(a, b);
    return ExecutionError(fmt::format(
        "found duplicate series for the match group {} on the {} hand-side of the operation: "
        "[{}, {}];many-to-many matching not allowed: matching labels must be unique on one side",
        found.group->key.ToBracedString(), many_is_left_ ? "right" : "left",
        one_labels_[a].ToBracedString(), one_labels_[b].ToBracedString()));
  }

  absl::Status BufferMany() {
    if (ambiguous_) return absl::OkStatus();
    ambiguous_ = true;
    RETURN_IF_ERROR(many_rows_.Read(*many_, many_labels_.size()));
    many_present_.Reset(grid_.count);
    for (size_t many = 0; many < many_labels_.size(); ++many) {
      const Row& row = many_rows_.rows()[many];
      for (size_t word = 0; word < row.present().size(); ++word) {
        many_present_.present()[word] |= row.present()[word];
      }
      if (!fill_many_.has_value()) continue;
      Group& group = groups_[group_of_many_[many]];
      if (group.many_present.steps() == 0) group.many_present.Reset(grid_.count);
      for (size_t word = 0; word < row.present().size(); ++word) {
        group.many_present.present()[word] |= row.present()[word];
      }
    }
    return absl::OkStatus();
  }

  // The labels of many ∘ one.
  Labels ResultLabels(const Labels& many, const Labels& one) const {
    const bool drops_now = drops_name_ && !context_.delayed_name_removal();
    Labels base = FilterLabels(many, [&](std::string_view name) {
      if (drops_now && (name == kMetricName || name == kTypeLabel || name == kUnitLabel)) {
        return false;
      }
      return matching_.card != Cardinality::kOneToOne ||
             IsOneOf(name, matching_.labels) == matching_.on;
    });
    if (matching_.include.empty()) return base;
    LabelsBuilder builder(base);
    for (const std::string& name : matching_.include) builder.Set(name, one.Get(name));
    return builder.Build();
  }

  absl::Status PlanMany(size_t many, std::vector<Labels>& labels) {
    const size_t group_index = group_of_many_[many];
    const Group& group = groups_[group_index];
    if (group.ones.empty() && !fill_one_.has_value()) return absl::OkStatus();
    Output output;
    output.many = many;
    output.group = group_index;
    if (matching_.include.empty()) {
      output.all_ones = true;
      output.filled_one = fill_one_.has_value();
      return AddOutput(std::move(output), ResultLabels(many_labels_[many], group.key), labels);
    }
    RETURN_IF_ERROR(context_.Check());
    // The included labels tell the ones apart.
    absl::flat_hash_map<Labels, size_t> index;
    std::vector<std::pair<Labels, Output>> variants;
    const auto variant = [&](Labels set) -> Output& {
      const auto [it, inserted] = index.try_emplace(set, variants.size());
      if (inserted) variants.emplace_back(std::move(set), output);
      return variants[it->second].second;
    };
    for (size_t one : group.ones) {
      variant(ResultLabels(many_labels_[many], one_labels_[one]))
          .ones.push_back(static_cast<int32_t>(one));
    }
    if (fill_one_.has_value()) {
      variant(ResultLabels(many_labels_[many], group.key)).filled_one = true;
    }
    for (auto& [set, planned] : variants) {
      RETURN_IF_ERROR(AddOutput(std::move(planned), std::move(set), labels));
    }
    return absl::OkStatus();
  }

  absl::Status PlanFilledMany(size_t one, std::vector<Labels>& labels) {
    Output output;
    output.many = kFilledMany;
    output.group = group_of_one_[one];
    output.ones.push_back(static_cast<int32_t>(one));
    Labels set = ResultLabels(groups_[output.group].key, one_labels_[one]);
    RETURN_IF_ERROR(HoldOutput(output, set));
    outputs_.push_back(std::move(output));
    labels.push_back(std::move(set));
    return absl::OkStatus();
  }

  absl::Status HoldOutput(const Output& output, const Labels& set) {
    RETURN_IF_ERROR(memory_.Add(sizeof(Output) + output.ones.capacity() * sizeof(int32_t)));
    return memory_.Add(set, matching_.card == Cardinality::kOneToOne ? 1 : 2);
  }

  // Two outputs of one group with the same labels must not meet at a step.
  absl::Status AddOutput(Output output, Labels set, std::vector<Labels>& labels) {
    RETURN_IF_ERROR(HoldOutput(output, set));
    if (matching_.card != Cardinality::kOneToOne) {
      const auto [it, inserted] = unique_index_.try_emplace({output.group, set}, outputs_.size());
      if (!inserted) {
        Output& first = outputs_[it->second];
        if (first.unique == 0) {
          RETURN_IF_ERROR(memory_.Add(grid_.count * Row::kStepBytes));
          uniqueness_.emplace_back().Reset(grid_.count);
          first.unique = uniqueness_.size();
        }
        output.unique = first.unique;
      }
    }
    outputs_.push_back(std::move(output));
    labels.push_back(std::move(set));
    return absl::OkStatus();
  }

  absl::Status ClaimMatch(const Output& output, size_t step) {
    if (matching_.card == Cardinality::kOneToOne) {
      Row& matched = groups_[output.group].matched;
      if (matched.Has(step)) {
        return ExecutionError(
            "multiple matches for labels: many-to-one matching must be explicit "
            "(group_left/group_right)");
      }
      matched.SetFloat(step, 0);
    } else if (output.unique != 0) {
      Row& seen = uniqueness_[output.unique - 1];
      if (seen.Has(step)) {
        return ExecutionError(
            "multiple matches for labels: grouping labels must ensure unique matches");
      }
      seen.SetFloat(step, 0);
    }
    return absl::OkStatus();
  }

  absl::Status Compute(const Output& output, size_t step, const Operand& many, const Operand& one,
                       const Row& many_row, size_t many_step, Row& row) {
    const Operand& left = many_is_left_ ? many : one;
    const Operand& right = many_is_left_ ? one : many;
    ElementResult result = ApplyBinary(context_, binary_, left, right);
    if (!result.valid) return absl::OkStatus();
    // An ambiguous match is an error also where a comparison filters it away.
    RETURN_IF_ERROR(ClaimMatch(output, step));
    if (binary_.return_bool) {
      row.SetFloat(step, result.keep ? 1 : 0);
    } else if (!result.keep) {
      return absl::OkStatus();
    } else if (result.histogram != nullptr) {
      row.SetHistogram(step, std::move(result.histogram));
    } else if (result.left_histogram) {
      if (many_is_left_) {
        row.CopyFrom(step, many_row, many_step);
      } else {
        row.SetHistogram(step, std::make_shared<const Histogram>(*left.histogram));
      }
    } else {
      row.SetFloat(step, result.value);
    }
    return absl::OkStatus();
  }

  // The usual case at one go: arithmetic of two series of floats, at none of whose steps the
  // group had a match before. False, with nothing done, if it is not that.
  bool ComputeAll(const Output& output, Group& group, const Row& many_row, Row& row) {
    if (!IsArithmetic(binary_.op)) return false;
    if (group.ones.size() != 1 || output.filled_one || output.unique != 0) return false;
    if (!output.AcceptsOne(static_cast<int32_t>(group.ones[0]))) return false;
    const Row& one_row = one_rows_.rows()[group.ones[0]];
    if (many_row.has_histograms() || one_row.has_histograms()) return false;
    std::vector<uint64_t> present = many_row.present();
    for (size_t word = 0; word < present.size(); ++word) present[word] &= one_row.present()[word];
    if (matching_.card == Cardinality::kOneToOne) {
      std::vector<uint64_t>& matched = group.matched.present();
      for (size_t word = 0; word < present.size(); ++word) {
        if ((matched[word] & present[word]) != 0) return false;
      }
      for (size_t word = 0; word < present.size(); ++word) matched[word] |= present[word];
    }
    row.present() = std::move(present);
    const Row& left = many_is_left_ ? many_row : one_row;
    const Row& right = many_is_left_ ? one_row : many_row;
    ApplyToAll(binary_.op, left.values(), right.values(), absl::MakeSpan(row.values()));
    return true;
  }

  absl::Status FillMany(const Output& output, Row& row) {
    const Group& group = groups_[output.group];
    const size_t one = static_cast<size_t>(output.ones[0]);
    const Row& one_row = one_rows_.rows()[one];
    row.drop_name = drops_name_ && context_.delayed_name_removal();
    for (size_t step = 0; step < grid_.count; ++step) {
      if (!one_row.Has(step)) continue;
      if (group.many_present.steps() != 0 && group.many_present.Has(step)) continue;
      RETURN_IF_ERROR(Compute(output, step, {*fill_many_, nullptr}, OperandAt(one_row, step),
                              one_row, step, row));
    }
    return absl::OkStatus();
  }

  QueryContext& context_;
  const Grid grid_;
  const Binary& binary_;
  const VectorMatching& matching_;
  const bool many_is_left_;
  const bool drops_name_;
  const std::optional<double> fill_many_;
  const std::optional<double> fill_one_;
  OperatorPtr many_;
  OperatorPtr one_;

  std::vector<Labels> many_labels_;
  std::vector<Labels> one_labels_;
  std::vector<size_t> group_of_many_;
  std::vector<size_t> group_of_one_;
  absl::flat_hash_map<Labels, size_t> group_index_;
  std::vector<Group> groups_;
  absl::flat_hash_map<std::pair<size_t, Labels>, size_t> unique_index_;
  std::vector<Row> uniqueness_;
  std::vector<Output> outputs_;

  HeldMemory memory_{context_};  // Of groups and outputs.
  BufferedRows one_rows_;
  BufferedRows many_rows_;  // Empty unless ambiguous_.
  bool ambiguous_ = false;  // The many side had to be read at once.
  Row many_present_;
  Row many_row_;
  size_t many_read_ = 0;
  size_t next_ = 0;
  ExplainNode* const explain_;  // Null unless the query is to be explained.
};

}  // namespace

OperatorPtr MakeVectorBinary(QueryContext& context, const Grid& grid, const Binary& binary,
                             OperatorPtr left, OperatorPtr right) {
  return MakeMerge(context, std::make_unique<VectorBinary>(context, grid, binary, std::move(left),
                                                           std::move(right)));
}

}  // namespace varve::promql
