// SPDX-License-Identifier: Apache-2.0
//
// Base of operators that change one row at a time and drop the metric name.
#pragma once

#include <absl/status/statusor.h>

#include <utility>
#include <vector>

#include "model/labels.h"
#include "model/status_macros.h"
#include "promql/context.h"
#include "promql/operator.h"
#include "promql/row.h"

namespace varve::promql {

// As many rows as `input` has, in its order. With delayed name removal the rows are marked instead,
// and the name goes at the end of the query. `context` outlives it.
class RowMapper : public Operator {
 public:
  RowMapper(QueryContext& context, OperatorPtr input)
      : context_(context), input_(std::move(input)) {}

  absl::StatusOr<std::vector<Labels>> Open() override {
    RETURN_IF_ERROR(Prepare());
    ASSIGN_OR_RETURN(std::vector<Labels> labels, input_->Open());
    if (!context_.delayed_name_removal()) {
      for (Labels& set : labels) set = WithoutName(set);
    }
    return labels;
  }

  absl::Status Next(Row& row) override {
    RETURN_IF_ERROR(input_->Next(row));
    row.drop_name |= context_.delayed_name_removal();
    Map(row);
    return absl::OkStatus();
  }

 protected:
  // Reads what Map() needs besides the row, before the first.
  virtual absl::Status Prepare() { return absl::OkStatus(); }
  virtual void Map(Row& row) = 0;

 private:
  QueryContext& context_;
  OperatorPtr input_;
};

}  // namespace varve::promql
