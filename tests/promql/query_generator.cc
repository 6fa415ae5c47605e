// SPDX-License-Identifier: Apache-2.0
//
// What the generated series and queries look like.
#include "tests/promql/query_generator.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <limits>

namespace varve::promql {

uint64_t TestSeed() {
  const char* seed = std::getenv("TEST_SEED");
  return seed != nullptr ? std::strtoull(seed, nullptr, 10) : 20261122;
}

int TestRounds(int standard) {
  const char* rounds = std::getenv("TEST_ROUNDS");
  return rounds != nullptr ? std::atoi(rounds) : standard;
}

void QueryGenerator::Fill(MemoryStorage& storage) {
  for (const char* name : {"a_total", "b", "h", "mix"}) {
    for (const char* job : {"x", "y"}) {
      for (const char* inst : {"1", "2", "3"}) {
        if (Chance(85)) FillSeries(storage, name, job, inst);
      }
    }
  }
}

std::string QueryGenerator::Vector(int depth) {
  if (depth == 0 || Chance(15)) return Selector() + Modifiers();
  switch (Below(9)) {
    case 0:
      return RangeCall(depth);
    case 1: {
      static constexpr const char* kNames[] = {
          "abs",           "-",         "ceil", "sgn",   "histogram_count",
          "histogram_sum", "timestamp", "sqrt", "absent"};
      const std::string name = Pick(kNames);
      return fmt::format("{}({})", name, Vector(depth - 1));
    }
    case 2: {
      static constexpr const char* kOps[] = {"sum",   "avg",    "min",   "max",
                                             "count", "stddev", "group", "stdvar"};
      return fmt::format("{}{} ({})", Pick(kOps), Grouping(), Vector(depth - 1));
    }
    case 3: {
      static constexpr const char* kOps[] = {"topk", "bottomk", "quantile", "limit_ratio"};
      // Which of equal values are picked depends on the input's order, which is that of the labels
      // for selectors and not defined once series have been merged.
      if (Chance(20)) return fmt::format("limitk{} (2, {})", Grouping(), Selector());
      const std::string op = Pick(kOps);
      if (op == "topk" || op == "bottomk") {
        return fmt::format("{}{} (2, {}{})", op, Grouping(), Selector(), Modifiers());
      }
      return fmt::format("{}{} (0.4, {})", op, Grouping(), Vector(depth - 1));
    }
    case 4: {
      static constexpr const char* kOps[] = {"+", "-", "*", "/", "%", ">", "<=", "== bool", "!="};
      return fmt::format("({} {} {})", Vector(depth - 1), Pick(kOps), Scalar(depth - 1));
    }
    case 5: {
      static constexpr const char* kOps[] = {"+", "-", "*", "/", ">", ">= bool", "=="};
      static constexpr const char* kMatching[] = {"",
                                                  "on (job, inst)",
                                                  "ignoring (inst)",
                                                  "on (job) group_left ()",
                                                  "on (job) group_right (inst)",
                                                  "ignoring (inst) group_left (inst)"};
      return fmt::format("({} {} {} {})", Vector(depth - 1), Pick(kOps), Pick(kMatching),
                         Vector(depth - 1));
    }
    case 6: {
      static constexpr const char* kOps[] = {"and", "or", "unless", "or on (job)", "and on (inst)"};
      return fmt::format("({} {} {})", Vector(depth - 1), Pick(kOps), Vector(depth - 1));
    }
    case 7:
      return fmt::format("label_replace({}, \"inst\", \"{}\", \"inst\", \"(.)\")",
                         Vector(depth - 1), Chance(50) ? "$1-$1" : "same");
    default:
      return fmt::format("histogram_quantile({}, {})", Chance(50) ? "0.9" : "0.1",
                         Vector(depth - 1));
  }
}

void QueryGenerator::FillSeries(MemoryStorage& storage, const std::string& name, const char* job,
                                const char* inst) {
  const Labels labels = Labels::Of({{kMetricName, name}, {"job", job}, {"inst", inst}});
  double value = static_cast<double>(Below(50));
  Histogram histogram;
  histogram.schema = Chance(20) ? 1 : 0;
  histogram.positive.spans = {{0, 3}};
  histogram.positive.counts = {1, 2, 1};
  histogram.count = 4;
  histogram.sum = 5;
  for (TimestampMs time = 0; time < kTestGrid.TimeAt(kTestGrid.count + 8); time += 15 * kSecond) {
    if (Chance(20)) continue;
    if (Chance(4)) {
      storage.AddFloat(labels, time, StaleNan());
      continue;
    }
    if (name == "h" || (name == "mix" && Chance(50))) {
      if (Chance(5)) histogram.positive.counts = {0, 1, 0}, histogram.count = 1;
      for (double& count : histogram.positive.counts) {
        const double more = static_cast<double>(Below(3));
        count += more;
        histogram.count += more;
      }
      histogram.sum += static_cast<double>(Below(9));
      storage.AddHistogram(labels, time, histogram);
      continue;
    }
    value = name == "a_total" ? (Chance(6) ? 0 : value + static_cast<double>(Below(7))) : Gauge();
    storage.AddFloat(labels, time, value);
  }
}

double QueryGenerator::Gauge() {
  if (Chance(2)) return NormalNan();
  if (Chance(1)) return std::numeric_limits<double>::infinity() * (Chance(50) ? 1 : -1);
  if (Chance(1)) return 1.5e308;
  // Thirds do not add up exactly, so the order of additions shows; quarters make ties.
  return Chance(50) ? static_cast<double>(Below(1000)) / 3 : static_cast<double>(Below(40)) / 4;
}

std::string QueryGenerator::Selector() {
  static constexpr const char* kSelectors[] = {
      "a_total", "b", "h", "mix", "a_total{job=\"x\"}", "b{inst!=\"1\"}", "{__name__=~\"b|mix\"}"};
  return Pick(kSelectors);
}

std::string QueryGenerator::Modifiers() {
  static constexpr const char* kModifiers[] = {" offset 40s", " @ 300", " @ 300 offset -1m",
                                               " offset -20s"};
  return Chance(25) ? Pick(kModifiers) : "";
}

std::string QueryGenerator::Grouping() {
  static constexpr const char* kGroupings[] = {
      "", " by (job)", " without (inst)", " by (inst)", " by (job, inst)", " without (job, none)"};
  return Pick(kGroupings);
}

std::string QueryGenerator::Scalar(int depth) {
  if (depth > 0 && Chance(30)) return fmt::format("scalar({})", Vector(depth - 1));
  static constexpr const char* kScalars[] = {"2", "0", "time()", "-1.5", "NaN"};
  return Pick(kScalars);
}

std::string QueryGenerator::RangeCall(int depth) {
  static constexpr const char* kNames[] = {"rate",
                                           "increase",
                                           "delta",
                                           "irate",
                                           "idelta",
                                           "changes",
                                           "resets",
                                           "deriv",
                                           "sum_over_time",
                                           "avg_over_time",
                                           "min_over_time",
                                           "max_over_time",
                                           "last_over_time",
                                           "first_over_time",
                                           "stddev_over_time",
                                           "count_over_time",
                                           "present_over_time",
                                           "mad_over_time",
                                           "stdvar_over_time",
                                           "quantile_over_time",
                                           "predict_linear",
                                           "ts_of_min_over_time",
                                           "ts_of_first_over_time",
                                           "ts_of_last_over_time",
                                           "ts_of_max_over_time",
                                           "absent_over_time"};
  // Of the third, windows begin where others end.
  static constexpr const char* kRanges[] = {"1m", "2m30s", "4m30s", "5m", "10m"};
  const std::string name = Pick(kNames);
  const char* before = name == "quantile_over_time" ? "0.7, " : "";
  const char* after = name == "predict_linear" ? ", 90" : "";
  if (Chance(30)) {
    // Also such that leave steps out between those of the query.
    return fmt::format("{}({}({})[{}:{}]{}{})", name, before, Vector(depth - 1),
                       Chance(30) ? "30s" : Pick(kRanges), Chance(50) ? "20s" : "1m", Modifiers(),
                       after);
  }
  return fmt::format("{}({}{}[{}]{}{})", name, before, Selector(), Pick(kRanges), Modifiers(),
                     after);
}

// A selector with a matcher that may be carried to what it is joined with.
std::string QueryGenerator::Narrowed() {
  static constexpr const char* kSelectors[] = {"b{job=\"x\"}", "a_total{inst=~\"1|2\"}",
                                               "mix{job!=\"y\",inst=\"2\"}", "h{inst=\"1\"}",
                                               "b{none=\"\"}"};
  return Pick(kSelectors);
}

std::string QueryGenerator::Repeating(int depth) {
  static constexpr const char* kOps[] = {"+", "/", ">", "== bool", "and", "unless", "or"};
  static constexpr const char* kFolds[] = {"sum", "count", "group", "max", "avg", "stdvar"};
  switch (Below(6)) {
    case 0: {
      const std::string part = Vector(depth - 1);
      return fmt::format("({} {} {})", part, Pick(kOps), part);
    }
    case 1: {
      const std::string part = Vector(depth - 1);
      const std::string grouping = Grouping();
      return fmt::format("({}{} ({}) {} {}{} ({}))", Pick(kFolds), grouping, part, Pick(kOps),
                         Pick(kFolds), grouping, part);
    }
    case 2: {
      // One selector in several windows.
      static constexpr const char* kNames[] = {"rate",           "max_over_time",   "sum_over_time",
                                               "last_over_time", "count_over_time", "deriv"};
      static constexpr const char* kRanges[] = {"2m30s", "4m", "5m", "20m"};
      const std::string selector = Selector();
      return fmt::format("({}({}[{}]) {} {}({}[{}]) {} {}{})", Pick(kNames), selector,
                         Pick(kRanges), Pick(kOps), Pick(kNames), selector, Pick(kRanges),
                         Pick(kOps), selector, Modifiers());
    }
    case 3: {
      const std::string part = Vector(depth - 1);
      return fmt::format("(max_over_time(({})[5m:20s]) {} min_over_time(({})[{}:20s]))", part,
                         Pick(kOps), part, Chance(50) ? "5m" : "7m");
    }
    case 4: {
      static constexpr const char* kMatching[] = {"", "on (job, inst)", "ignoring (inst)",
                                                  "on (inst)", "on (none)"};
      static constexpr const char* kSets[] = {"and", "unless", "or"};
      const std::string left = Chance(50) ? Narrowed() : Selector();
      const std::string right =
          Chance(30) ? fmt::format("{}{} ({})", Pick(kFolds), Grouping(), Selector()) : Narrowed();
      return Chance(50) ? fmt::format("({} {} {} {})", left, Pick(kSets), Pick(kMatching), right)
                        : fmt::format("({} {} {} {})", right, Pick(kSets), Pick(kMatching), left);
    }
    default: {
      static constexpr const char* kJoins[] = {"on (job) group_left ()", "on (job, inst)",
                                               "on (inst) group_left ()", "on (job)"};
      const std::string one =
          fmt::format("{} by ({}) ({})", Pick(kFolds), Chance(50) ? "job" : "inst",
                      Chance(50) ? Narrowed() : Selector());
      return fmt::format("({} * {} {})", Chance(50) ? Narrowed() : Selector(), Pick(kJoins), one);
    }
  }
}

std::string SampleText(double value, const Histogram* histogram, int digits) {
  // A NaN's sign and payload say nothing.
  const auto number = [&](double number) {
    return std::isnan(number) ? "NaN" : fmt::format("{:.{}g}", number, digits);
  };
  if (histogram != nullptr) {
    std::string text = fmt::format("H{} {} {} {}", histogram->schema, number(histogram->count),
                                   number(histogram->sum), number(histogram->zero_count));
    for (const Buckets* side : {&histogram->positive, &histogram->negative}) {
      side->ForEach([&](int32_t index, double count) {
        text += fmt::format(" {}:{}", index, number(count));
      });
      text += " |";
    }
    return text;
  }
  return number(value);
}

std::vector<StepTexts> TextsByStep(const Matrix& matrix, int digits) {
  std::vector<StepTexts> by_step(kTestGrid.count);
  for (const MatrixSeries& series : matrix) {
    const std::string labels = series.labels.ToString();
    const auto add = [&](TimestampMs time, double value, const Histogram* histogram) {
      by_step[static_cast<size_t>(time / kTestGrid.step)][labels] =
          SampleText(value, histogram, digits);
    };
    for (const FloatSample& sample : series.floats) add(sample.time, sample.value, nullptr);
    for (const HistogramSample& sample : series.histograms) {
      add(sample.time, 0, sample.histogram.get());
    }
  }
  return by_step;
}

std::string AnswerText(const QueryResult& result) {
  std::string text;
  for (const MatrixSeries& series : std::get<Matrix>(result.value)) {
    text += series.labels.ToString() + ":";
    for (const FloatSample& sample : series.floats) {
      text += fmt::format(" {}={}", sample.time, SampleText(sample.value, nullptr, 17));
    }
    for (const HistogramSample& sample : series.histograms) {
      text += fmt::format(" {}={}", sample.time, SampleText(0, sample.histogram.get(), 17));
    }
    text += "\n";
  }
  for (const std::string& warning : result.annotations.warnings()) text += warning + "\n";
  for (const std::string& info : result.annotations.infos()) text += info + "\n";
  return text;
}

}  // namespace varve::promql
