// SPDX-License-Identifier: Apache-2.0
//
// The join of info(). Which info series describes a series can change from step to step, so a
// series may leave in several variants; all of it is worked out in Open().
#include "promql/info.h"

#include <absl/container/flat_hash_map.h>

#include <algorithm>
#include <utility>

#include "model/status_macros.h"
#include "promql/plan.h"
#include "promql/selector.h"
#include "promql/vector_function.h"

namespace varve::promql {
namespace {

constexpr std::string_view kIdentifying[] = {"instance", "job"};

bool IsIdentifying(std::string_view name) {
  return std::find(std::begin(kIdentifying), std::end(kIdentifying), name) !=
         std::end(kIdentifying);
}

Labels IdentifyingLabels(const Labels& labels) {
  return Labels::Of({{kIdentifying[0], labels.Get(kIdentifying[0])},
                     {kIdentifying[1], labels.Get(kIdentifying[1])}});
}

// Collects `@` and `offset` on the way to the first selector of `expr`; false if it has none.
bool FindReferenceTime(const Expr& expr, std::vector<const TimeModifiers*>& path) {
  const TimeModifiers* time = nullptr;
  if (const auto* selector = TryAs<VectorSelector>(expr)) time = &selector->time;
  if (const auto* matrix = TryAs<MatrixSelector>(expr)) time = &matrix->selector->time;
  const auto* subquery = TryAs<Subquery>(expr);
  if (subquery != nullptr) time = &subquery->time;
  if (time != nullptr) path.push_back(time);
  if (time != nullptr && subquery == nullptr) return true;
  for (const Expr* child : Children(expr)) {
    if (FindReferenceTime(*child, path)) return true;
  }
  if (time != nullptr) path.pop_back();
  return false;
}

class InfoOperator : public Operator {
 public:
  struct Parts {
    OperatorPtr base;
    std::unique_ptr<VectorSelector> selector;  // Of the info series.
    OperatorPtr info_times;
    OperatorPtr info_values;
    std::vector<Matcher> name_matchers;
    std::vector<Matcher> data_matchers;
  };

  InfoOperator(QueryContext& context, const Grid& grid, Parts parts)
      : context_(context),
        grid_(grid),
        parts_(std::move(parts)),
        times_(context),
        output_rows_(context) {
    for (const Matcher& matcher : parts_.data_matchers) {
      requires_info_ |= !matcher.MatchesEmpty();
    }
  }

  absl::StatusOr<std::vector<Labels>> Open() override {
    RETURN_IF_ERROR(ReadInfoSeries());
    ASSIGN_OR_RETURN(const std::vector<Labels> base, parts_.base->Open());
    Row row;
    for (const Labels& labels : base) {
      RETURN_IF_ERROR(context_.Check());
      RETURN_IF_ERROR(parts_.base->Next(row));
      RETURN_IF_ERROR(Enrich(labels, row));
    }
    return output_labels_;
  }

  absl::Status Next(Row& row) override {
    row = std::move(output_rows_.rows()[next_++]);
    return absl::OkStatus();
  }

 private:
  // The info series of one identity, those of one metric beside one another.
  using Candidates = std::vector<size_t>;

  absl::Status ReadInfoSeries() {
    ASSIGN_OR_RETURN(info_labels_, parts_.info_times->Open());
    ASSIGN_OR_RETURN(const std::vector<Labels> same, parts_.info_values->Open());
    RETURN_IF_ERROR(times_.Read(*parts_.info_times, info_labels_.size()));
    Row values;
    for (size_t i = 0; i < same.size(); ++i) {
      RETURN_IF_ERROR(parts_.info_values->Next(values));
      for (size_t step = 0; step < grid_.count; ++step) {
        if (values.HasHistogram(step)) {
          return ExecutionError("this should be an info metric, with float samples: " +
                                same[i].ToString());
        }
      }
      candidates_[IdentifyingLabels(info_labels_[i])].push_back(i);
    }
    for (auto& [identity, series] : candidates_) {
      std::stable_sort(series.begin(), series.end(), [&](size_t a, size_t b) {
        return info_labels_[a].Get(kMetricName) < info_labels_[b].Get(kMetricName);
      });
    }
    return absl::OkStatus();
  }

  bool IsInfoSeries(const Labels& labels) const {
    const std::string_view name = labels.Get(kMetricName);
    for (const Matcher& matcher : parts_.name_matchers) {
      if (!matcher.Matches(name)) return false;
    }
    return true;
  }

  absl::Status Enrich(const Labels& labels, const Row& row) {
    const Labels identity = IdentifyingLabels(labels);
    const auto found = candidates_.find(identity);
    const bool plain = IsInfoSeries(labels);
    absl::flat_hash_map<Labels, size_t> variants;
    std::vector<size_t> chosen;
    for (size_t step = 0; step < grid_.count; ++step) {
      if (!row.Has(step)) continue;
      Labels result = labels;
      if (!plain) {
        chosen.clear();
        if (found != candidates_.end() && !identity.empty()) {
          RETURN_IF_ERROR(Choose(found->second, step, chosen));
        }
        if (chosen.empty() && requires_info_) continue;
        ASSIGN_OR_RETURN(result, Join(labels, chosen));
      }
      const auto [it, inserted] = variants.try_emplace(result, output_labels_.size());
      if (inserted) {
        output_labels_.push_back(result);
        Row output;
        output.Reset(grid_.count);
        output.drop_name = row.drop_name;
        RETURN_IF_ERROR(output_rows_.Add(std::move(output)));
      }
      output_rows_.rows()[it->second].CopyFrom(step, row, step);
    }
    return absl::OkStatus();
  }

  // The series with the newest sample of each info metric.
  absl::Status Choose(const Candidates& candidates, size_t step,
                      std::vector<size_t>& chosen) const {
    std::string_view metric;
    bool first = true;
    for (size_t index : candidates) {
      const Row& times = times_.rows()[index];
      if (!times.Has(step)) continue;
      const std::string_view name = info_labels_[index].Get(kMetricName);
      if (first || name != metric) {
        chosen.push_back(index);
        metric = name;
        first = false;
        continue;
      }
      const double newest = times_.rows()[chosen.back()].value(step);
      if (times.value(step) == newest) {
        return ExecutionError("found duplicate series for info metric: existing " +
                              info_labels_[chosen.back()].ToString() + ", new " +
                              info_labels_[index].ToString());
      }
      if (times.value(step) > newest) chosen.back() = index;
    }
    return absl::OkStatus();
  }

  absl::StatusOr<Labels> Join(const Labels& labels, const std::vector<size_t>& chosen) const {
    LabelsBuilder builder(labels);
    std::vector<LabelView> added;
    for (size_t index : chosen) {
      for (const LabelView& label : info_labels_[index]) {
        if (label.name == kMetricName || IsIdentifying(label.name) || labels.Has(label.name) ||
            !Wanted(label.name)) {
          continue;
        }
        for (const LabelView& other : added) {
          if (other.name == label.name && other.value != label.value) {
            return ExecutionError("conflicting label: " + std::string(label.name));
          }
        }
        added.push_back(label);
        builder.Set(label.name, label.value);
      }
    }
    return builder.Build();
  }

  bool Wanted(std::string_view name) const {
    if (parts_.data_matchers.empty()) return true;
    for (const Matcher& matcher : parts_.data_matchers) {
      if (matcher.name() == name) return true;
    }
    return false;
  }

  QueryContext& context_;
  const Grid grid_;
  Parts parts_;
  bool requires_info_ = false;
  std::vector<Labels> info_labels_;
  BufferedRows times_;
  absl::flat_hash_map<Labels, Candidates> candidates_;
  std::vector<Labels> output_labels_;
  BufferedRows output_rows_;
  size_t next_ = 0;
};

// When the info series are looked at: when v's own samples are.
absl::StatusOr<TimeModifiers> ReferenceTime(const QueryContext& context, const Expr& expr) {
  TimeModifiers reference;
  std::vector<const TimeModifiers*> path;
  FindReferenceTime(expr, path);
  for (const TimeModifiers* time : path) {
    ASSIGN_OR_RETURN(const ResolvedTime resolved, ResolveTime(*time, context));
    if (resolved.fixed) {
      reference.at = AtModifier::kTimestamp;
      reference.at_ms = resolved.fixed_time;
      reference.offset_ms = 0;
    }
    reference.offset_ms += resolved.offset;
  }
  return reference;
}

}  // namespace

absl::StatusOr<OperatorPtr> MakeInfo(QueryContext& context, const Grid& grid, const Call& call) {
  InfoOperator::Parts parts;
  parts.selector = std::make_unique<VectorSelector>();
  bool positive_name = false;
  if (call.args.size() > 1) {
    for (const Matcher& matcher : As<VectorSelector>(Unparen(*call.args[1])).matchers) {
      if (matcher.name() == kMetricName) {
        positive_name |= matcher.type() == MatchType::kEqual || matcher.type() == MatchType::kRegex;
        parts.name_matchers.push_back(matcher);
      } else {
        parts.data_matchers.push_back(matcher);
      }
    }
  }
  if (parts.name_matchers.empty()) {
    parts.name_matchers.push_back(Matcher::Equal(kMetricName, "target_info"));
  } else if (!positive_name) {
    ASSIGN_OR_RETURN(Matcher any_info, Matcher::Create(MatchType::kRegex, kMetricName, ".+_info"));
    parts.name_matchers.push_back(std::move(any_info));
  }
  parts.selector->matchers = parts.name_matchers;
  parts.selector->matchers.insert(parts.selector->matchers.end(), parts.data_matchers.begin(),
                                  parts.data_matchers.end());
  ASSIGN_OR_RETURN(parts.selector->time, ReferenceTime(context, *call.args[0]));
  ASSIGN_OR_RETURN(parts.info_times,
                   MakeSelector(context, grid, *parts.selector, SelectedPart::kTimestamp, {}));
  ASSIGN_OR_RETURN(parts.info_values,
                   MakeSelector(context, grid, *parts.selector, SelectedPart::kValue, {}));
  ASSIGN_OR_RETURN(parts.base, Plan(context, grid, *call.args[0]));
  return MakeMerge(context, std::make_unique<InfoOperator>(context, grid, std::move(parts)));
}

}  // namespace varve::promql
