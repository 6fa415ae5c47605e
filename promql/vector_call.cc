// SPDX-License-Identifier: Apache-2.0
//
// Operators that map rows to rows one by one, and those that make or reduce scalars.
#include <algorithm>
#include <cmath>
#include <utility>

#include "model/check.h"
#include "model/histogram_math.h"
#include "model/status_macros.h"
#include "promql/row_mapper.h"
#include "promql/vector_function.h"

namespace varve::promql {

absl::Status BufferedRows::Read(Operator& input, size_t count) {
  rows_.reserve(rows_.size() + count);
  for (size_t i = 0; i < count; ++i) {
    Row row;
    RETURN_IF_ERROR(input.Next(row));
    RETURN_IF_ERROR(Add(std::move(row)));
  }
  return absl::OkStatus();
}

absl::Status BufferedRows::Add(Row row) {
  const uint64_t weight = row.HeldWeight();
  held_ += weight;
  RETURN_IF_ERROR(context_.Hold(weight));
  RETURN_IF_ERROR(context_.Check());
  rows_.push_back(std::move(row));
  return absl::OkStatus();
}

namespace {

absl::Status ReadScalar(Operator& scalar, Row& row) {
  RETURN_IF_ERROR(scalar.Open().status());
  return scalar.Next(row);
}

class ElementCall : public RowMapper {
 public:
  ElementCall(QueryContext& context, ElementFunction function, OperatorPtr input,
              std::vector<OperatorPtr> scalars)
      : RowMapper(context, std::move(input)), function_(function), scalars_(std::move(scalars)) {}

 protected:
  absl::Status Prepare() override {
    for (OperatorPtr& scalar : scalars_) {
      RETURN_IF_ERROR(ReadScalar(*scalar, params_.emplace_back()));
    }
    return absl::OkStatus();
  }

  void Map(Row& row) override {
    double params[2] = {0, 0};
    for (size_t step = 0; step < row.steps(); ++step) {
      if (!row.Has(step)) continue;
      if (row.HasHistogram(step)) {
        row.Clear(step);
        continue;
      }
      for (size_t i = 0; i < params_.size(); ++i) params[i] = params_[i].value(step);
      row.values()[step] = function_(row.value(step), params);
    }
  }

 private:
  const ElementFunction function_;
  std::vector<OperatorPtr> scalars_;
  std::vector<Row> params_;
};

class ClampCall : public RowMapper {
 public:
  ClampCall(QueryContext& context, OperatorPtr input, OperatorPtr min, OperatorPtr max)
      : RowMapper(context, std::move(input)),
        min_(std::move(min)),
        max_(std::move(max)),
        at_least_(FindElementFunction(FunctionId::kClampMin)),
        at_most_(FindElementFunction(FunctionId::kClampMax)) {}

 protected:
  absl::Status Prepare() override {
    RETURN_IF_ERROR(ReadScalar(*min_, min_row_));
    return ReadScalar(*max_, max_row_);
  }

  void Map(Row& row) override {
    for (size_t step = 0; step < row.steps(); ++step) {
      if (!row.Has(step)) continue;
      const double min = min_row_.value(step);
      const double max = max_row_.value(step);
      if (row.HasHistogram(step) || max < min) {
        row.Clear(step);
        continue;
      }
      const double lowered = at_most_(row.value(step), &max);
      row.values()[step] = at_least_(lowered, &min);
    }
  }

 private:
  OperatorPtr min_;
  OperatorPtr max_;
  const ElementFunction at_least_;
  const ElementFunction at_most_;
  Row min_row_;
  Row max_row_;
};

void NegateRow(Row& row) {
  for (size_t step = 0; step < row.steps(); ++step) {
    if (!row.Has(step)) continue;
    if (row.HasHistogram(step)) {
      row.SetHistogram(
          step, std::make_shared<const Histogram>(MultiplyHistogram(*row.histogram(step), -1)));
    } else {
      row.values()[step] = -row.value(step);
    }
  }
}

class Negate : public RowMapper {
 public:
  using RowMapper::RowMapper;

 protected:
  void Map(Row& row) override { NegateRow(row); }
};

class NegateScalar : public Operator {
 public:
  explicit NegateScalar(OperatorPtr input) : input_(std::move(input)) {}
  absl::StatusOr<std::vector<Labels>> Open() override { return input_->Open(); }
  absl::Status Next(Row& row) override {
    RETURN_IF_ERROR(input_->Next(row));
    NegateRow(row);
    return absl::OkStatus();
  }

 private:
  OperatorPtr input_;
};

class EvalTimestamp : public RowMapper {
 public:
  EvalTimestamp(QueryContext& context, const Grid& grid, OperatorPtr input)
      : RowMapper(context, std::move(input)), grid_(grid) {}

 protected:
  void Map(Row& row) override {
    for (size_t step = 0; step < row.steps(); ++step) {
      if (row.Has(step)) row.SetFloat(step, static_cast<double>(grid_.TimeAt(step)) / 1000);
    }
  }

 private:
  const Grid grid_;
};

class DropName : public RowMapper {
 public:
  using RowMapper::RowMapper;

 protected:
  void Map(Row&) override {}
};

class Nothing : public RowMapper {
 public:
  using RowMapper::RowMapper;

 protected:
  void Map(Row& row) override { row.Reset(row.steps()); }
};

// A scalar whose value at each step a function of the step gives.
template <typename ValueAt>
class GridScalar : public Operator {
 public:
  GridScalar(const Grid& grid, ValueAt value_at) : grid_(grid), value_at_(value_at) {}
  absl::StatusOr<std::vector<Labels>> Open() override { return std::vector<Labels>(1); }
  absl::Status Next(Row& row) override {
    row.Reset(grid_.count);
    for (size_t step = 0; step < grid_.count; ++step) row.SetFloat(step, value_at_(step));
    return absl::OkStatus();
  }

 private:
  const Grid grid_;
  const ValueAt value_at_;
};

template <typename ValueAt>
OperatorPtr MakeGridScalar(const Grid& grid, ValueAt value_at) {
  return std::make_unique<GridScalar<ValueAt>>(grid, value_at);
}

class ScalarOfVector : public Operator {
 public:
  ScalarOfVector(const Grid& grid, OperatorPtr input) : grid_(grid), input_(std::move(input)) {}

  absl::StatusOr<std::vector<Labels>> Open() override {
    ASSIGN_OR_RETURN(const std::vector<Labels> inputs, input_->Open());
    inputs_ = inputs.size();
    return std::vector<Labels>(1);
  }

  absl::Status Next(Row& row) override {
    row.Reset(grid_.count);
    std::vector<uint32_t> floats(grid_.count, 0);
    for (size_t step = 0; step < grid_.count; ++step) row.SetFloat(step, NormalNan());
    Row input;
    for (size_t i = 0; i < inputs_; ++i) {
      RETURN_IF_ERROR(input_->Next(input));
      for (size_t step = 0; step < grid_.count; ++step) {
        if (!input.HasFloat(step)) continue;
        row.values()[step] = ++floats[step] == 1 ? input.value(step) : NormalNan();
      }
    }
    return absl::OkStatus();
  }

 private:
  const Grid grid_;
  OperatorPtr input_;
  size_t inputs_ = 0;
};

class ScalarPick : public Operator {
 public:
  ScalarPick(OperatorPtr a, OperatorPtr b, bool larger)
      : a_(std::move(a)),
        b_(std::move(b)),
        pick_(FindElementFunction(larger ? FunctionId::kClampMin : FunctionId::kClampMax)) {}

  absl::StatusOr<std::vector<Labels>> Open() override {
    RETURN_IF_ERROR(b_->Open().status());
    return a_->Open();
  }
  absl::Status Next(Row& row) override {
    RETURN_IF_ERROR(a_->Next(row));
    Row other;
    RETURN_IF_ERROR(b_->Next(other));
    for (size_t step = 0; step < row.steps(); ++step) {
      const double param = other.value(step);
      row.values()[step] = pick_(row.value(step), &param);
    }
    return absl::OkStatus();
  }

 private:
  OperatorPtr a_;
  OperatorPtr b_;
  const ElementFunction pick_;
};

class Absent : public Operator {
 public:
  Absent(const Grid& grid, OperatorPtr input, Labels labels)
      : grid_(grid), input_(std::move(input)), labels_(std::move(labels)) {}

  absl::StatusOr<std::vector<Labels>> Open() override {
    ASSIGN_OR_RETURN(const std::vector<Labels> inputs, input_->Open());
    inputs_ = inputs.size();
    return std::vector<Labels>{labels_};
  }

  absl::Status Next(Row& row) override {
    row.Reset(grid_.count);
    for (size_t step = 0; step < grid_.count; ++step) row.SetFloat(step, 1);
    Row input;
    for (size_t i = 0; i < inputs_; ++i) {
      RETURN_IF_ERROR(input_->Next(input));
      for (size_t word = 0; word < row.present().size(); ++word) {
        row.present()[word] &= ~input.present()[word];
      }
    }
    return absl::OkStatus();
  }

 private:
  const Grid grid_;
  OperatorPtr input_;
  const Labels labels_;
  size_t inputs_ = 0;
};

class StepInvariant : public Operator {
 public:
  StepInvariant(QueryContext& context, const Grid& grid, OperatorPtr input)
      : context_(context), grid_(grid), input_(std::move(input)) {}

  absl::StatusOr<std::vector<Labels>> Open() override {
    const uint64_t before = context_.queryable_samples();
    ASSIGN_OR_RETURN(std::vector<Labels> labels, input_->Open());
    CountForOtherSteps(context_.queryable_samples() - before);
    return labels;
  }

  absl::Status Next(Row& row) override {
    const uint64_t before = context_.queryable_samples();
    RETURN_IF_ERROR(input_->Next(one_));
    CountForOtherSteps(context_.queryable_samples() - before);
    row.Reset(grid_.count);
    row.drop_name = one_.drop_name;
    if (!one_.Has(0)) return absl::OkStatus();
    for (size_t step = 0; step < grid_.count; ++step) row.CopyFrom(step, one_, 0);
    return absl::OkStatus();
  }

 private:
  // Every step looks at what was looked at once.
  void CountForOtherSteps(uint64_t queryable) {
    if (queryable == 0) return;
    context_.CountQueryable(queryable * (grid_.count - 1));
    if (!context_.counts_per_step()) return;
    for (size_t step = 1; step < grid_.count; ++step) {
      context_.CountQueryableAt(grid_.TimeAt(step), queryable);
    }
  }

  QueryContext& context_;
  const Grid grid_;
  OperatorPtr input_;
  Row one_;
};

}  // namespace

OperatorPtr MakeElementCall(QueryContext& context, ElementFunction function, OperatorPtr input,
                            std::vector<OperatorPtr> scalars) {
  INVARIANT(scalars.size() <= 2);
  return std::make_unique<ElementCall>(context, function, std::move(input), std::move(scalars));
}

OperatorPtr MakeClamp(QueryContext& context, OperatorPtr input, OperatorPtr min, OperatorPtr max) {
  return std::make_unique<ClampCall>(context, std::move(input), std::move(min), std::move(max));
}

OperatorPtr MakeNegate(QueryContext& context, OperatorPtr input, bool is_scalar) {
  if (is_scalar) return std::make_unique<NegateScalar>(std::move(input));
  return std::make_unique<Negate>(context, std::move(input));
}

OperatorPtr MakeEvalTimestamp(QueryContext& context, const Grid& grid, OperatorPtr input) {
  return std::make_unique<EvalTimestamp>(context, grid, std::move(input));
}

OperatorPtr MakeDropName(QueryContext& context, OperatorPtr input) {
  return std::make_unique<DropName>(context, std::move(input));
}

OperatorPtr MakeNothing(QueryContext& context, OperatorPtr input) {
  return std::make_unique<Nothing>(context, std::move(input));
}

OperatorPtr MakeConstant(const Grid& grid, double value) {
  return MakeGridScalar(grid, [value](size_t) { return value; });
}

OperatorPtr MakeTime(const Grid& grid) {
  return MakeGridScalar(
      grid, [grid](size_t step) { return static_cast<double>(grid.TimeAt(step)) / 1000; });
}

OperatorPtr MakeScalar(const Grid& grid, OperatorPtr input) {
  return std::make_unique<ScalarOfVector>(grid, std::move(input));
}

OperatorPtr MakeScalarPick(OperatorPtr a, OperatorPtr b, bool larger) {
  return std::make_unique<ScalarPick>(std::move(a), std::move(b), larger);
}

OperatorPtr MakeAbsent(const Grid& grid, OperatorPtr input, Labels labels) {
  return std::make_unique<Absent>(grid, std::move(input), std::move(labels));
}

OperatorPtr MakeStepInvariant(QueryContext& context, const Grid& grid, OperatorPtr input) {
  return std::make_unique<StepInvariant>(context, grid, std::move(input));
}

}  // namespace varve::promql
