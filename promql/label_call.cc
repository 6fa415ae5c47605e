// SPDX-License-Identifier: Apache-2.0
//
// Operators about labels and order: label_replace, label_join, the sorts, and the merging of
// series whose labels have become equal.
#include <absl/container/flat_hash_map.h>
#include <fmt/format.h>
#include <re2/re2.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "model/matcher.h"
#include "model/regex_expand.h"
#include "model/status_macros.h"
#include "promql/vector_function.h"

namespace varve::promql {
namespace {

bool IsValidLabelName(std::string_view name) { return !name.empty() && IsValidUtf8(name); }

// The longest value a query may make: nested calls can double it with every level.
constexpr size_t kMadeValueBytesMax = 1 << 20;

// Changes label sets; `keeps_name` per series: the new name was asked for and stays.
class Relabeler : public Operator {
 public:
  Relabeler(QueryContext& context, OperatorPtr input, std::string_view name)
      : context_(context), input_(std::move(input)), name_(name) {}
  ~Relabeler() override { context_.Release(held_); }

  absl::StatusOr<std::vector<Labels>> Open() override {
    ASSIGN_OR_RETURN(std::vector<Labels> labels, input_->Open());
    named_.reserve(labels.size());
    std::string value;
    for (Labels& set : labels) {
      bool named = false;
      value.clear();
      if (ValueBytesMax(set) > kMadeValueBytesMax) {
        return ExecutionError(fmt::format("{}() may make a label value of more than {} bytes",
                                          name_, kMadeValueBytesMax));
      }
      RETURN_IF_ERROR(context_.Check());
      if (MakeValue(set, value)) {
        LabelsBuilder builder(set);
        builder.Set(destination(), value);
        set = builder.Build();
        RETURN_IF_ERROR(memory_.Add(set));
        named = destination() == kMetricName;
        const uint64_t weight = value.size() / kBytesPerSample;
        held_ += weight;
        RETURN_IF_ERROR(context_.Hold(weight));
      }
      named_.push_back(named);
    }
    return labels;
  }

  absl::Status Next(Row& row) override {
    RETURN_IF_ERROR(input_->Next(row));
    if (named_[next_++]) row.drop_name = false;
    return absl::OkStatus();
  }

 protected:
  virtual std::string_view destination() const = 0;
  // MakeValue() appends no more.
  virtual size_t ValueBytesMax(const Labels& labels) const = 0;
  // Appends the new value of the destination to `value`; false if it is to stay as it is.
  virtual bool MakeValue(const Labels& labels, std::string& value) const = 0;

 private:
  // What a sample stands for in the sample limit.
  static constexpr uint64_t kBytesPerSample = 16;

  QueryContext& context_;
  OperatorPtr input_;
  const std::string_view name_;  // Of the function.
  uint64_t held_ = 0;
  HeldMemory memory_{context_};
  std::vector<bool> named_;
  size_t next_ = 0;
};

class LabelReplace : public Relabeler {
 public:
  LabelReplace(QueryContext& context, OperatorPtr input, const LabelReplaceArguments& arguments,
               std::shared_ptr<const re2::RE2> regex)
      : Relabeler(context, std::move(input), "label_replace"),
        destination_(arguments.destination),
        source_(arguments.source),
        regex_(std::move(regex)),
        replacement_(arguments.replacement, *regex_),
        replacement_bytes_(arguments.replacement.size()),
        references_max_(static_cast<size_t>(
            std::count(arguments.replacement.begin(), arguments.replacement.end(), '$'))) {}

 protected:
  std::string_view destination() const override { return destination_; }
  size_t ValueBytesMax(const Labels& labels) const override {
    return replacement_bytes_ + references_max_ * labels.Get(source_).size();
  }
  bool MakeValue(const Labels& labels, std::string& value) const override {
    const std::string_view source = labels.Get(source_);
    std::vector<re2::StringPiece> pieces(static_cast<size_t>(regex_->NumberOfCapturingGroups()) +
                                         1);
    if (!regex_->Match(re2::StringPiece(source.data(), source.size()), 0, source.size(),
                       re2::RE2::ANCHOR_BOTH, pieces.data(), static_cast<int>(pieces.size()))) {
      return false;
    }
    std::vector<std::string_view> groups;
    groups.reserve(pieces.size());
    for (const re2::StringPiece& piece : pieces) groups.emplace_back(piece.data(), piece.size());
    replacement_.Expand(groups, value);
    return true;
  }

 private:
  const std::string destination_;
  const std::string source_;
  const std::shared_ptr<const re2::RE2> regex_;
  const RegexTemplate replacement_;
  const size_t replacement_bytes_;
  const size_t references_max_;
};

class LabelJoin : public Relabeler {
 public:
  LabelJoin(QueryContext& context, OperatorPtr input, std::string destination,
            std::string separator, std::vector<std::string> sources)
      : Relabeler(context, std::move(input), "label_join"),
        destination_(std::move(destination)),
        separator_(std::move(separator)),
        sources_(std::move(sources)) {}

 protected:
  std::string_view destination() const override { return destination_; }
  size_t ValueBytesMax(const Labels& labels) const override {
    size_t bytes = separator_.size() * sources_.size();
    for (const std::string& source : sources_) bytes += labels.Get(source).size();
    return bytes;
  }
  bool MakeValue(const Labels& labels, std::string& value) const override {
    for (size_t i = 0; i < sources_.size(); ++i) {
      if (i > 0) value += separator_;
      value += labels.Get(sources_[i]);
    }
    return true;
  }

 private:
  const std::string destination_;
  const std::string separator_;
  const std::vector<std::string> sources_;
};

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// Compares with runs of digits as numbers: negative, zero, positive.
int NaturalCompare(std::string_view a, std::string_view b) {
  size_t i = 0;
  size_t j = 0;
  while (i < a.size() && j < b.size()) {
    if (IsDigit(a[i]) && IsDigit(b[j])) {
      size_t i_end = i;
      size_t j_end = j;
      while (i_end < a.size() && IsDigit(a[i_end])) ++i_end;
      while (j_end < b.size() && IsDigit(b[j_end])) ++j_end;
      while (i < i_end - 1 && a[i] == '0') ++i;
      while (j < j_end - 1 && b[j] == '0') ++j;
      if (i_end - i != j_end - j) return i_end - i < j_end - j ? -1 : 1;
      const int digits = a.substr(i, i_end - i).compare(b.substr(j, j_end - j));
      if (digits != 0) return digits;
      i = i_end;
      j = j_end;
    } else {
      if (a[i] != b[j]) {
        return static_cast<unsigned char>(a[i]) < static_cast<unsigned char>(b[j]) ? -1 : 1;
      }
      ++i;
      ++j;
    }
  }
  if (i < a.size()) return 1;
  if (j < b.size()) return -1;
  return a.compare(b);
}

class Sort : public Operator {
 public:
  Sort(QueryContext& context, OperatorPtr input, SortOrder order)
      : input_(std::move(input)), order_(std::move(order)), rows_(context) {}

  absl::StatusOr<std::vector<Labels>> Open() override {
    ASSIGN_OR_RETURN(const std::vector<Labels> labels, input_->Open());
    RETURN_IF_ERROR(rows_.Read(*input_, labels.size()));
    sorted_.reserve(labels.size());
    for (size_t i = 0; i < labels.size(); ++i) {
      const Row& row = rows_.rows()[i];
      if (order_.by_label ? row.Has(0) : row.HasFloat(0)) sorted_.push_back(i);
    }
    std::stable_sort(sorted_.begin(), sorted_.end(), [&](size_t a, size_t b) {
      return order_.by_label ? LabelsBefore(labels[a], labels[b])
                             : ValueBefore(rows_.rows()[a].value(0), rows_.rows()[b].value(0));
    });
    std::vector<Labels> out;
    out.reserve(sorted_.size());
    for (size_t index : sorted_) out.push_back(labels[index]);
    return out;
  }

  absl::Status Next(Row& row) override {
    row = std::move(rows_.rows()[sorted_[next_++]]);
    return absl::OkStatus();
  }

 private:
  bool ValueBefore(double a, double b) const {
    if (std::isnan(a)) return false;
    if (std::isnan(b)) return true;
    return order_.descending ? a > b : a < b;
  }

  bool LabelsBefore(const Labels& a, const Labels& b) const {
    for (const std::string& name : order_.names) {
      const std::string_view left = a.Get(name);
      const std::string_view right = b.Get(name);
      if (left == right) continue;
      const int order = NaturalCompare(left, right);
      if (order != 0) return order_.descending ? order > 0 : order < 0;
    }
    return order_.descending ? b < a : a < b;
  }

  OperatorPtr input_;
  const SortOrder order_;
  BufferedRows rows_;
  std::vector<size_t> sorted_;
  size_t next_ = 0;
};

// Rows pass through unless labels repeat; then all are read, and equals merged.
class Merge : public Operator {
 public:
  Merge(QueryContext& context, OperatorPtr input) : input_(std::move(input)), rows_(context) {}

  absl::StatusOr<std::vector<Labels>> Open() override {
    ASSIGN_OR_RETURN(std::vector<Labels> labels, input_->Open());
    absl::flat_hash_map<Labels, size_t> index;
    std::vector<size_t> output_of;
    std::vector<Labels> merged;
    output_of.reserve(labels.size());
    for (const Labels& set : labels) {
      const auto [it, inserted] = index.try_emplace(set, merged.size());
      if (inserted) merged.push_back(set);
      output_of.push_back(it->second);
    }
    if (merged.size() == labels.size()) return labels;
    merging_ = true;
    Row row;
    for (size_t output : output_of) {
      RETURN_IF_ERROR(input_->Next(row));
      // Outputs are numbered in the order in which they come first.
      if (output == rows_.rows().size()) {
        RETURN_IF_ERROR(rows_.Add(std::exchange(row, Row())));
        continue;
      }
      Row& into = rows_.rows()[output];
      if (row.Empty()) continue;
      into.drop_name |= row.drop_name;
      for (size_t step = 0; step < row.steps(); ++step) {
        if (!row.Has(step)) continue;
        if (into.Has(step)) {
          return ExecutionError("vector cannot contain metrics with the same labelset");
        }
        into.CopyFrom(step, row, step);
      }
    }
    return merged;
  }

  absl::Status Next(Row& row) override {
    if (!merging_) return input_->Next(row);
    row = std::move(rows_.rows()[next_++]);
    return absl::OkStatus();
  }

 private:
  OperatorPtr input_;
  BufferedRows rows_;
  bool merging_ = false;
  size_t next_ = 0;
};

}  // namespace

OperatorPtr MakeSort(QueryContext& context, OperatorPtr input, SortOrder order) {
  return std::make_unique<Sort>(context, std::move(input), std::move(order));
}

absl::StatusOr<OperatorPtr> MakeLabelReplace(QueryContext& context, OperatorPtr input,
                                             const LabelReplaceArguments& arguments) {
  auto regex = CompileAnchored(arguments.regex);
  if (!regex.ok()) {
    return ExecutionError("invalid regular expression in label_replace(): " + arguments.regex);
  }
  if (!IsValidLabelName(arguments.destination)) {
    return ExecutionError("invalid destination label name in label_replace(): " +
                          arguments.destination);
  }
  return MakeMerge(context, std::make_unique<LabelReplace>(context, std::move(input), arguments,
                                                           std::move(*regex)));
}

absl::StatusOr<OperatorPtr> MakeLabelJoin(QueryContext& context, OperatorPtr input,
                                          std::string destination, std::string separator,
                                          std::vector<std::string> sources) {
  for (const std::string& source : sources) {
    if (!IsValidLabelName(source)) {
      return ExecutionError("invalid source label name in label_join(): " + source);
    }
  }
  if (!IsValidLabelName(destination)) {
    return ExecutionError("invalid destination label name in label_join(): " + destination);
  }
  return MakeMerge(context,
                   std::make_unique<LabelJoin>(context, std::move(input), std::move(destination),
                                               std::move(separator), std::move(sources)));
}

OperatorPtr MakeMerge(QueryContext& context, OperatorPtr input) {
  return std::make_unique<Merge>(context, std::move(input));
}

}  // namespace varve::promql
