// SPDX-License-Identifier: Apache-2.0
//
// Times and counts are taken around the calls of the operator below.
#include "promql/traced.h"

#include <algorithm>
#include <utility>

#include "model/clock.h"
#include "model/status_macros.h"
#include "promql/printer.h"

namespace varve::promql {
namespace {

class TracedOperator : public Operator {
 public:
  TracedOperator(QueryContext& context, ExplainNode& node, OperatorPtr input)
      : context_(context), node_(node), input_(std::move(input)) {}

  absl::StatusOr<std::vector<Labels>> Open() override {
    const Measure measure(context_, node_);
    ASSIGN_OR_RETURN(std::vector<Labels> labels, input_->Open());
    node_.series += labels.size();
    return labels;
  }

  absl::Status Next(Row& row) override {
    const Measure measure(context_, node_);
    RETURN_IF_ERROR(input_->Next(row));
    Count(row);
    return absl::OkStatus();
  }

  bool GiveEarly(RowTaker taker) override {
    return input_->GiveEarly([this, taker = std::move(taker)](Row& row) {
      Count(row);
      return taker(row);
    });
  }

 private:
  class Measure {
   public:
    Measure(const QueryContext& context, ExplainNode& node)
        : context_(context),
          node_(node),
          begin_(context.setup().clock.MonotonicNanos()),
          read_(context.samples_read()),
          cost_(context.read_cost()) {}
    ~Measure() {
      const int64_t nanos = context_.setup().clock.MonotonicNanos() - begin_;
      node_.seconds += static_cast<double>(nanos) / 1e9;
      node_.samples_read += context_.samples_read() - read_;
      node_.memory_bytes = std::max(node_.memory_bytes, context_.memory().held());
      const ReadCost& now = context_.read_cost();
      node_.cost += {.chunks = now.chunks - cost_.chunks,
                     .bytes = now.bytes - cost_.bytes,
                     .cache_hits = now.cache_hits - cost_.cache_hits,
                     .cache_misses = now.cache_misses - cost_.cache_misses};
    }
    Measure(const Measure&) = delete;
    Measure& operator=(const Measure&) = delete;

   private:
    const QueryContext& context_;
    ExplainNode& node_;
    const int64_t begin_;
    const uint64_t read_;
    const ReadCost cost_;
  };

  void Count(const Row& row) {
    const uint64_t samples = row.CountPresent();
    node_.samples += samples * row.series;
    node_.series += row.series - 1;
    if (samples == 0) ++node_.series_empty;
  }

  QueryContext& context_;
  ExplainNode& node_;
  OperatorPtr input_;
};

}  // namespace

absl::StatusOr<OperatorPtr> PlanTraced(QueryContext& context, const Expr& expr,
                                       const std::function<absl::StatusOr<OperatorPtr>()>& plan) {
  ExplainNode* const above = context.explain();
  if (above == nullptr) return plan();
  ExplainNode& node = *above->children.emplace_back(std::make_unique<ExplainNode>());
  node.expression = ToString(expr);
  context.set_explain(&node);
  absl::StatusOr<OperatorPtr> planned = plan();
  context.set_explain(above);
  RETURN_IF_ERROR(planned.status());
  return OperatorPtr(std::make_unique<TracedOperator>(context, node, *std::move(planned)));
}

}  // namespace varve::promql
