// SPDX-License-Identifier: Apache-2.0
//
// prometheus_rule_*, by group (`FILE;GROUP`).
#pragma once

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>
#include <prometheus/summary.h>

#include <string>

namespace varve {

// Thread-safe. Forget() ends a group's series; a group of that name may come again.
class RuleMetrics {
 public:
  explicit RuleMetrics(prometheus::Registry& registry);

  // The series of one group; they live until Forget().
  struct Group {
    prometheus::Counter& evaluations;
    prometheus::Counter& failures;
    prometheus::Counter& iterations;
    prometheus::Counter& missed;
    prometheus::Gauge& interval;
    prometheus::Gauge& last_duration;
    prometheus::Gauge& last_evaluation;
    prometheus::Gauge& last_samples;
    prometheus::Gauge& rules;
  };
  Group Add(const std::string& group);
  void Forget(const Group& group);

  prometheus::Summary& rule_duration() { return rule_duration_; }
  prometheus::Summary& group_duration() { return group_duration_; }

 private:
  prometheus::Family<prometheus::Counter>& evaluations_;
  prometheus::Family<prometheus::Counter>& failures_;
  prometheus::Family<prometheus::Counter>& iterations_;
  prometheus::Family<prometheus::Counter>& missed_;
  prometheus::Family<prometheus::Gauge>& interval_;
  prometheus::Family<prometheus::Gauge>& last_duration_;
  prometheus::Family<prometheus::Gauge>& last_evaluation_;
  prometheus::Family<prometheus::Gauge>& last_samples_;
  prometheus::Family<prometheus::Gauge>& rules_;
  prometheus::Summary& rule_duration_;
  prometheus::Summary& group_duration_;
};

}  // namespace varve
