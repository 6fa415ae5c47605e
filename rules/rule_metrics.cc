// SPDX-License-Identifier: Apache-2.0
//
// Names, labels and help texts are Prometheus'.
#include "rules/rule_metrics.h"

namespace varve {
namespace {

prometheus::Family<prometheus::Counter>& CounterFamily(prometheus::Registry& registry,
                                                       const char* name, const char* help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
}

prometheus::Family<prometheus::Gauge>& GaugeFamily(prometheus::Registry& registry, const char* name,
                                                   const char* help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(registry);
}

prometheus::Summary& DurationSummary(prometheus::Registry& registry, const char* name,
                                     const char* help) {
  const prometheus::Summary::Quantiles quantiles = {
      {0.01, 0.001}, {0.05, 0.005}, {0.5, 0.05}, {0.90, 0.01}, {0.99, 0.001}};
  return prometheus::BuildSummary().Name(name).Help(help).Register(registry).Add({}, quantiles);
}

}  // namespace

RuleMetrics::RuleMetrics(prometheus::Registry& registry)
    : evaluations_(CounterFamily(registry, "prometheus_rule_evaluations_total",
                                 "The total number of rule evaluations.")),
      failures_(CounterFamily(registry, "prometheus_rule_evaluation_failures_total",
                              "The total number of rule evaluation failures.")),
      iterations_(CounterFamily(registry, "prometheus_rule_group_iterations_total",
                                "The total number of scheduled rule group evaluations, whether "
                                "executed or missed.")),
      missed_(CounterFamily(registry, "prometheus_rule_group_iterations_missed_total",
                            "The total number of rule group evaluations missed due to slow rule "
                            "group evaluation.")),
      interval_(GaugeFamily(registry, "prometheus_rule_group_interval_seconds",
                            "The interval of a rule group.")),
      last_duration_(GaugeFamily(registry, "prometheus_rule_group_last_duration_seconds",
                                 "The duration of the last rule group evaluation.")),
      last_evaluation_(GaugeFamily(registry,
                                   "prometheus_rule_group_last_evaluation_timestamp_seconds",
                                   "The timestamp of the last rule group evaluation in seconds.")),
      last_samples_(GaugeFamily(registry, "prometheus_rule_group_last_evaluation_samples",
                                "The number of samples returned during the last rule group "
                                "evaluation.")),
      rules_(GaugeFamily(registry, "prometheus_rule_group_rules", "The number of rules.")),
      rule_duration_(DurationSummary(registry, "prometheus_rule_evaluation_duration_seconds",
                                     "The duration for a rule to execute.")),
      group_duration_(DurationSummary(registry, "prometheus_rule_group_duration_seconds",
                                      "The duration of rule group evaluations.")) {}

RuleMetrics::Group RuleMetrics::Add(const std::string& group) {
  const prometheus::Labels labels = {{"rule_group", group}};
  return {.evaluations = evaluations_.Add(labels),
          .failures = failures_.Add(labels),
          .iterations = iterations_.Add(labels),
          .missed = missed_.Add(labels),
          .interval = interval_.Add(labels),
          .last_duration = last_duration_.Add(labels),
          .last_evaluation = last_evaluation_.Add(labels),
          .last_samples = last_samples_.Add(labels),
          .rules = rules_.Add(labels)};
}

void RuleMetrics::Forget(const Group& group) {
  evaluations_.Remove(&group.evaluations);
  failures_.Remove(&group.failures);
  iterations_.Remove(&group.iterations);
  missed_.Remove(&group.missed);
  interval_.Remove(&group.interval);
  last_duration_.Remove(&group.last_duration);
  last_evaluation_.Remove(&group.last_evaluation);
  last_samples_.Remove(&group.last_samples);
  rules_.Remove(&group.rules);
}

}  // namespace varve
