// SPDX-License-Identifier: Apache-2.0
//
// The inner expression is evaluated once, over all steps any outer step looks at.
#include "promql/subquery.h"

#include <utility>

#include "model/status_macros.h"

namespace varve::promql {
namespace {

class SubquerySource : public RangeSource {
 public:
  SubquerySource(QueryContext& context, const RangeSpec& spec, const Grid& inner, OperatorPtr input)
      : context_(context), spec_(spec), inner_(inner), input_(std::move(input)) {}
  ~SubquerySource() override { context_.Release(held_); }

  const RangeSpec& spec() const override { return spec_; }

  absl::StatusOr<std::vector<Labels>> Open() override {
    if (input_ == nullptr) return std::vector<Labels>();
    return input_->Open();
  }

  absl::Status Next(RangeSeries& series) override {
    RETURN_IF_ERROR(context_.Check());
    RETURN_IF_ERROR(input_->Next(row_));
    series.samples.Clear();
    series.drop_name = row_.drop_name;
    for (size_t step = 0; step < inner_.count; ++step) {
      if (!row_.Has(step)) continue;
      if (row_.HasHistogram(step)) {
        series.samples.histograms.push_back({inner_.TimeAt(step), Unhinted(row_.histogram(step))});
      } else {
        series.samples.times.push_back(inner_.TimeAt(step));
        series.samples.values.push_back(row_.value(step));
      }
    }
    context_.Release(held_);
    held_ = row_.Weight();
    return context_.Hold(held_);
  }

 private:
  // What a sample knew about its predecessor says nothing about the previous step.
  static HistogramPtr Unhinted(const HistogramPtr& histogram) {
    if (histogram->reset_hint != ResetHint::kReset &&
        histogram->reset_hint != ResetHint::kNotReset) {
      return histogram;
    }
    Histogram copy = *histogram;
    copy.reset_hint = ResetHint::kUnknown;
    return std::make_shared<const Histogram>(std::move(copy));
  }

  QueryContext& context_;
  const RangeSpec spec_;
  const Grid inner_;
  OperatorPtr input_;
  Row row_;
  uint64_t held_ = 0;
};

}  // namespace

absl::StatusOr<Grid> SubqueryGrid(const QueryContext& context, const RangeSpec& spec,
                                  DurationMs step) {
  const TimestampMs after = spec.EndAt(0) - spec.range;
  const TimestampMs last = spec.EndAt(spec.grid.count - 1);
  TimestampMs start = after / step * step;
  if (start <= after) start += step;
  Grid grid;
  grid.start = start;
  grid.step = step;
  grid.count = last < start ? 0 : static_cast<size_t>((last - start) / step) + 1;
  if (grid.count > context.setup().engine.max_samples) {
    return ExecutionError(
        "query processing would load too many samples into memory in query execution");
  }
  return grid;
}

RangeSourcePtr MakeSubquery(QueryContext& context, const RangeSpec& spec, const Grid& inner,
                            OperatorPtr input) {
  return std::make_unique<SubquerySource>(context, spec, inner, std::move(input));
}

}  // namespace varve::promql
