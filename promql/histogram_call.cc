// SPDX-License-Identifier: Apache-2.0
//
// Classic histograms are put together from their `le` series; a group is evaluated as soon as its
// last series has been read.
#include "promql/histogram_call.h"

#include <absl/container/flat_hash_map.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "model/histogram_math.h"
#include "model/status_macros.h"
#include "promql/classic_histogram.h"
#include "promql/label_filter.h"
#include "promql/range_function.h"
#include "promql/row_mapper.h"
#include "promql/vector_function.h"

namespace varve::promql {
namespace {

class HistogramNumberCall : public RowMapper {
 public:
  HistogramNumberCall(QueryContext& context, HistogramNumber function, OperatorPtr input)
      : RowMapper(context, std::move(input)), function_(function) {}

 private:
  void Map(Row& row) override {
    for (size_t step = 0; step < row.steps(); ++step) {
      if (!row.Has(step)) continue;
      if (row.HasHistogram(step)) {
        row.SetFloat(step, function_(*row.histogram(step)));
      } else {
        row.Clear(step);
      }
    }
  }

  const HistogramNumber function_;
};

// Reads the scalars, groups the series, and gives `results_per_group` series for each group.
class HistogramGroups : public Operator {
 public:
  HistogramGroups(QueryContext& context, const Grid& grid, OperatorPtr input,
                  std::vector<OperatorPtr> scalars, HistogramCallPositions positions)
      : context_(context),
        grid_(grid),
        positions_(std::move(positions)),
        input_(std::move(input)),
        scalars_(std::move(scalars)) {}
  ~HistogramGroups() override { context_.Release(held_); }

  absl::StatusOr<std::vector<Labels>> Open() override {
    for (OperatorPtr& scalar : scalars_) {
      RETURN_IF_ERROR(scalar->Open().status());
      RETURN_IF_ERROR(scalar->Next(scalar_rows_.emplace_back()));
    }
    CheckScalars();
    ASSIGN_OR_RETURN(const std::vector<Labels> inputs, input_->Open());
    for (size_t i = 0; i < inputs.size(); ++i) AddInput(i, inputs[i]);
    std::vector<Labels> labels;
    for (const Group& group : groups_) {
      Labels base = group.labels;
      if (!context_.delayed_name_removal()) base = WithoutName(base);
      AppendLabels(base, labels);
    }
    return labels;
  }

  absl::Status Next(Row& row) override {
    if (results_.size() == next_result_) {
      Group& group = groups_[next_group_++];
      while (inputs_read_ <= group.last_input) RETURN_IF_ERROR(ReadInput());
      results_.assign(ResultsPerGroup(), Row());
      next_result_ = 0;
      for (Row& result : results_) {
        result.Reset(grid_.count);
        result.drop_name = context_.delayed_name_removal();
      }
      if (MayHaveResult(group)) {
        SortMembers(group);
        for (size_t step = 0; step < grid_.count; ++step) Evaluate(group, step);
      }
      for (const Member& member : group.members) LetGo(member.input);
    }
    row = std::move(results_[next_result_++]);
    return absl::OkStatus();
  }

 protected:
  virtual size_t ResultsPerGroup() const = 0;
  virtual void CheckScalars() {}
  // The labels of a group's results.
  virtual void AppendLabels(const Labels& base, std::vector<Labels>& labels) const = 0;
  virtual double Classic(size_t result, size_t step, std::vector<ClassicBucket>& buckets,
                         MonotonicityFix& fix) const = 0;
  virtual HistogramEstimate Native(size_t result, size_t step,
                                   const Histogram& histogram) const = 0;
  virtual void NoteNan(const HistogramEstimate& estimate, const std::string& metric) const = 0;

  const Row& scalar(size_t index) const { return scalar_rows_[index]; }
  size_t scalar_count() const { return scalar_rows_.size(); }
  QueryContext& context() const { return context_; }
  const HistogramCallPositions& positions() const { return positions_; }

 private:
  // A row is needed by one or two groups: its own, and that of its classic histogram.
  struct HeldRow {
    Row row;
    int uses = 0;
    uint64_t weight = 0;
  };
  struct Member {
    size_t input = 0;
    bool classic = false;  // Else its histograms belong to this group.
    double upper = 0;
  };
  struct Group {
    Labels labels;
    std::string metric;  // As annotations name it: "" without delayed name removal.
    std::vector<Member> members;
    size_t last_input = 0;
  };

  Group& GroupFor(const Labels& labels, size_t input) {
    const auto [it, inserted] = index_.try_emplace(labels, groups_.size());
    if (inserted) {
      Group group;
      group.labels = labels;
      if (context_.delayed_name_removal()) group.metric = labels.Get(kMetricName);
      groups_.push_back(std::move(group));
    }
    groups_[it->second].last_input = input;
    return groups_[it->second];
  }

  // A series' floats are a bucket of the group without `le`; its histograms stand for themselves.
  void AddInput(size_t input, const Labels& labels) {
    held_rows_.emplace_back();
    bad_bucket_.emplace_back();
    const std::string_view le = labels.Get(kBucketLabel);
    const std::optional<double> upper = ParseFloat(le);
    GroupFor(labels, input).members.push_back({input, false, 0});
    if (!upper.has_value()) {
      std::string text = "bucket label \"le\" is missing or has a malformed value of " + Quoted(le);
      if (context_.delayed_name_removal()) {
        text += " for metric name " + Quoted(labels.Get(kMetricName));
      }
      bad_bucket_.back() = std::move(text);
      return;
    }
    const Labels group =
        FilterLabels(labels, [](std::string_view name) { return name != kBucketLabel; });
    GroupFor(group, input).members.push_back({input, true, *upper});
  }

  absl::Status ReadInput() {
    const size_t input = inputs_read_++;
    HeldRow& held = held_rows_[input];
    RETURN_IF_ERROR(context_.Check());
    RETURN_IF_ERROR(input_->Next(held.row));
    if (!bad_bucket_[input].empty()) {
      for (size_t step = 0; step < grid_.count; ++step) {
        if (!held.row.HasFloat(step)) continue;
        context_.annotations().Warn(bad_bucket_[input], positions_.vector);
        break;
      }
    }
    held.uses = bad_bucket_[input].empty() ? 2 : 1;
    held.weight = held.row.Weight();
    held_ += held.weight;
    return context_.Hold(held.weight);
  }

  void LetGo(size_t input) {
    HeldRow& held = held_rows_[input];
    if (--held.uses > 0) return;
    context_.Release(held.weight);
    held_ -= held.weight;
    held = HeldRow();
  }

  bool MayHaveResult(const Group& group) const {
    for (const Member& member : group.members) {
      if (member.classic || held_rows_[member.input].row.has_histograms()) return true;
    }
    return false;
  }

  // By their bounds, so that buckets need not be sorted at each step: series come in the order of
  // the bounds' texts.
  static void SortMembers(Group& group) {
    std::vector<Member>& members = group.members;
    if (std::any_of(members.begin(), members.end(),
                    [](const Member& member) { return std::isnan(member.upper); })) {
      return;
    }
    std::stable_sort(members.begin(), members.end(),
                     [](const Member& a, const Member& b) { return a.upper < b.upper; });
  }

  void Evaluate(const Group& group, size_t step) {
    buckets_.clear();
    const Histogram* native = nullptr;
    for (const Member& member : group.members) {
      const Row& row = held_rows_[member.input].row;
      if (!row.Has(step)) continue;
      if (row.HasHistogram(step)) {
        if (!member.classic) native = row.histogram(step).get();
      } else if (member.classic) {
        buckets_.push_back({member.upper, row.value(step)});
      }
    }
    if (native != nullptr && !buckets_.empty()) {
      std::string text = "vector contains a mix of classic and native histograms";
      if (!group.metric.empty()) text += " for metric name " + Quoted(group.metric);
      context_.annotations().Warn(std::move(text), positions_.vector);
      return;
    }
    if (native != nullptr) {
      for (size_t result = 0; result < results_.size(); ++result) {
        const HistogramEstimate estimate = Native(result, step, *native);
        if (estimate.nan_result || estimate.nan_skewed) NoteNan(estimate, group.metric);
        results_[result].SetFloat(step, estimate.value);
      }
    } else if (!buckets_.empty()) {
      EvaluateClassic(group, step);
    }
  }

  void EvaluateClassic(const Group& group, size_t step) {
    for (size_t result = 0; result < results_.size(); ++result) {
      MonotonicityFix fix;
      const bool last = result + 1 == results_.size();
      if (!last) result_buckets_ = buckets_;
      std::vector<ClassicBucket>& buckets = last ? buckets_ : result_buckets_;
      results_[result].SetFloat(step, Classic(result, step, buckets, fix));
      if (!fix.forced) continue;
      const TimestampMs time = grid_.TimeAt(step);
      context_.annotations().AddMonotonicity(
          {group.metric, fix.bucket_min, fix.bucket_max, fix.diff_max, 1, time, time},
          positions_.vector);
    }
  }

  QueryContext& context_;
  const Grid grid_;
  const HistogramCallPositions positions_;
  OperatorPtr input_;
  std::vector<OperatorPtr> scalars_;
  std::vector<Row> scalar_rows_;
  absl::flat_hash_map<Labels, size_t> index_;
  std::vector<Group> groups_;
  std::vector<HeldRow> held_rows_;  // By input.
  uint64_t held_ = 0;
  std::vector<std::string> bad_bucket_;        // By input: what is wrong with its `le`.
  std::vector<ClassicBucket> buckets_;         // Of a step.
  std::vector<ClassicBucket> result_buckets_;  // The same, for all but the last to change.
  std::vector<Row> results_;
  size_t next_result_ = 0;
  size_t next_group_ = 0;
  size_t inputs_read_ = 0;
};

void NoteQuantileNan(QueryContext& context, const HistogramEstimate& estimate,
                     const std::string& metric, int position) {
  std::string text = "input to histogram_quantile has NaN observations, result is ";
  text += estimate.nan_result ? "NaN" : "skewed higher";
  if (!metric.empty()) text += " for metric name " + Quoted(metric);
  context.annotations().Info(std::move(text), position);
}

class HistogramQuantileCall : public HistogramGroups {
 public:
  using HistogramGroups::HistogramGroups;

 protected:
  size_t ResultsPerGroup() const override { return 1; }
  void CheckScalars() override {
    for (double quantile : scalar(0).values()) {
      WarnInvalidQuantile(context().annotations(), quantile, positions().scalars[0]);
    }
  }
  void AppendLabels(const Labels& base, std::vector<Labels>& labels) const override {
    labels.push_back(base);
  }
  double Classic(size_t, size_t step, std::vector<ClassicBucket>& buckets,
                 MonotonicityFix& fix) const override {
    return BucketQuantile(scalar(0).value(step), buckets, fix);
  }
  HistogramEstimate Native(size_t, size_t step, const Histogram& histogram) const override {
    return HistogramQuantile(scalar(0).value(step), histogram);
  }
  void NoteNan(const HistogramEstimate& estimate, const std::string& metric) const override {
    NoteQuantileNan(context(), estimate, metric, positions().vector);
  }
};

class HistogramFractionCall : public HistogramGroups {
 public:
  using HistogramGroups::HistogramGroups;

 protected:
  size_t ResultsPerGroup() const override { return 1; }
  void AppendLabels(const Labels& base, std::vector<Labels>& labels) const override {
    labels.push_back(base);
  }
  double Classic(size_t, size_t step, std::vector<ClassicBucket>& buckets,
                 MonotonicityFix&) const override {
    return BucketFraction(scalar(0).value(step), scalar(1).value(step), buckets);
  }
  HistogramEstimate Native(size_t, size_t step, const Histogram& histogram) const override {
    return HistogramFraction(scalar(0).value(step), scalar(1).value(step), histogram);
  }
  void NoteNan(const HistogramEstimate&, const std::string& metric) const override {
    std::string text =
        "input to histogram_fraction has NaN observations, which are excluded from all fractions";
    if (!metric.empty()) text += " for metric name " + Quoted(metric);
    context().annotations().Info(std::move(text), positions().vector);
  }
};

// A quantile as a label value: `0.5`, `1.0`.
std::string QuantileText(double quantile) {
  std::string text = FormatGeneral(quantile);
  if (text.find_first_of(".eNI") == std::string::npos) text += ".0";
  return text;
}

class HistogramQuantilesCall : public HistogramGroups {
 public:
  HistogramQuantilesCall(QueryContext& context, const Grid& grid, OperatorPtr input,
                         std::string label, std::vector<OperatorPtr> quantiles,
                         HistogramCallPositions positions)
      : HistogramGroups(context, grid, std::move(input), std::move(quantiles),
                        std::move(positions)),
        label_(std::move(label)) {}

 protected:
  size_t ResultsPerGroup() const override { return scalar_count(); }
  void CheckScalars() override {
    for (size_t i = 0; i < scalar_count(); ++i) {
      for (double quantile : scalar(i).values()) {
        WarnInvalidQuantile(context().annotations(), quantile, positions().scalars[i]);
      }
    }
  }
  void AppendLabels(const Labels& base, std::vector<Labels>& labels) const override {
    for (size_t i = 0; i < scalar_count(); ++i) {
      LabelsBuilder builder(base);
      builder.Set(label_, QuantileText(scalar(i).value(0)));
      labels.push_back(builder.Build());
    }
  }
  double Classic(size_t result, size_t step, std::vector<ClassicBucket>& buckets,
                 MonotonicityFix& fix) const override {
    return BucketQuantile(scalar(result).value(step), buckets, fix);
  }
  HistogramEstimate Native(size_t result, size_t step, const Histogram& histogram) const override {
    return HistogramQuantile(scalar(result).value(step), histogram);
  }
  void NoteNan(const HistogramEstimate& estimate, const std::string& metric) const override {
    NoteQuantileNan(context(), estimate, metric, positions().vector);
  }

 private:
  const std::string label_;
};

template <typename... Operators>
std::vector<OperatorPtr> Scalars(Operators... scalars) {
  std::vector<OperatorPtr> all;
  (all.push_back(std::move(scalars)), ...);
  return all;
}

}  // namespace

HistogramNumber FindHistogramNumber(FunctionId id) {
  switch (id) {
    case FunctionId::kHistogramCount:
      return [](const Histogram& histogram) { return histogram.count; };
    case FunctionId::kHistogramSum:
      return [](const Histogram& histogram) { return histogram.sum; };
    case FunctionId::kHistogramAvg:
      return [](const Histogram& histogram) { return histogram.sum / histogram.count; };
    case FunctionId::kHistogramStddev:
      return [](const Histogram& histogram) { return std::sqrt(HistogramVariance(histogram)); };
    case FunctionId::kHistogramStdvar:
      return HistogramVariance;
    default:
      return nullptr;
  }
}

OperatorPtr MakeHistogramNumber(QueryContext& context, HistogramNumber function,
                                OperatorPtr input) {
  return std::make_unique<HistogramNumberCall>(context, function, std::move(input));
}

OperatorPtr MakeHistogramQuantile(QueryContext& context, const Grid& grid, OperatorPtr input,
                                  OperatorPtr quantile, HistogramCallPositions positions) {
  return std::make_unique<HistogramQuantileCall>(
      context, grid, std::move(input), Scalars(std::move(quantile)), std::move(positions));
}

OperatorPtr MakeHistogramFraction(QueryContext& context, const Grid& grid, OperatorPtr input,
                                  OperatorPtr lower, OperatorPtr upper,
                                  HistogramCallPositions positions) {
  return std::make_unique<HistogramFractionCall>(context, grid, std::move(input),
                                                 Scalars(std::move(lower), std::move(upper)),
                                                 std::move(positions));
}

absl::StatusOr<OperatorPtr> MakeHistogramQuantiles(QueryContext& context, const Grid& grid,
                                                   OperatorPtr input, std::string label,
                                                   std::vector<OperatorPtr> quantiles,
                                                   HistogramCallPositions positions) {
  if (label.empty() || !IsValidUtf8(label)) {
    return ExecutionError("invalid label name " + Quoted(label));
  }
  return OperatorPtr(
      std::make_unique<HistogramQuantilesCall>(context, grid, std::move(input), std::move(label),
                                               std::move(quantiles), std::move(positions)));
}

}  // namespace varve::promql
