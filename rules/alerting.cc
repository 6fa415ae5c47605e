// SPDX-License-Identifier: Apache-2.0
//
// Alerting rules: every element of the query's result is an alert, pending until the condition has
// held for `for`, firing until it is gone for `keep_firing_for`.
#include <absl/container/flat_hash_map.h>
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "model/status_macros.h"
#include "rules/rule.h"
#include "rules/template.h"

namespace varve {
namespace {

// A resolved alert is remembered this long, so that it can still be told as resolved.
constexpr DurationMs kResolvedRetention = 15 * kMinute;

struct ActiveAlert {
  AlertState state = AlertState::kPending;
  Labels annotations;
  double value = 0;
  TimestampMs active_at = 0;
  std::optional<TimestampMs> resolved_at;
  std::optional<TimestampMs> keep_firing_since;
};

class AlertingRule : public Rule {
 public:
  AlertingRule(RuleSpec spec, std::string query)
      : Rule(std::move(spec)), query_(std::move(query)) {}

  absl::StatusOr<promql::Vector> Evaluate(const RuleContext& context, TimestampMs time) override {
    ASSIGN_OR_RETURN(promql::QueryResult result,
                     context.query(spec_.expr, time - context.query_offset));
    ASSIGN_OR_RETURN(promql::Vector vector, VectorOf(std::move(result)));
    ASSIGN_OR_RETURN(const Found found, Alerts(context, vector, time));
    evaluated_ = true;
    for (const auto& [labels, alert] : found) Merge(labels, alert);
    promql::Vector series;
    size_t active_count = 0;
    for (auto it = active_.begin(); it != active_.end();) {
      auto current = it++;
      if (!found.contains(current->first) && !StaysActive(current->second, time)) {
        if (Forgettable(current->second, time)) active_.erase(current);
        continue;
      }
      ++active_count;
      ActiveAlert& alert = current->second;
      if (alert.state == AlertState::kPending && time - alert.active_at >= spec_.for_ms) {
        alert.state = AlertState::kFiring;
      }
      AppendSeries(current->first, alert, time, series);
    }
    if (context.limit > 0 && active_count > context.limit) {
      active_.clear();
      return absl::FailedPreconditionError(
          fmt::format("exceeded limit of {} with {} alerts", context.limit, active_count));
    }
    return series;
  }

  void Describe(RuleStatus& status) const override {
    status.is_alert = true;
    status.name = spec_.alert;
    status.query = query_;
    status.labels = LabelsOf(spec_.labels);
    status.annotations = LabelsOf(spec_.annotations);
    status.for_ms = spec_.for_ms;
    status.keep_firing_for_ms = spec_.keep_firing_for_ms;
    status.state = evaluated_ ? AlertState::kInactive : AlertState::kUnknown;
    status.alerts.clear();
    for (const auto& [labels, alert] : active_) {
      if (alert.state == AlertState::kInactive) continue;
      status.state = std::max(status.state, alert.state);
      status.alerts.push_back({.labels = labels,
                               .annotations = alert.annotations,
                               .state = alert.state,
                               .active_at = alert.active_at,
                               .keep_firing_since = alert.keep_firing_since,
                               .value = alert.value});
    }
    std::sort(status.alerts.begin(), status.alerts.end(),
              [](const AlertStatus& a, const AlertStatus& b) { return a.labels < b.labels; });
  }

  void AdoptState(Rule& before) override {
    auto* alerting = dynamic_cast<AlertingRule*>(&before);
    if (alerting == nullptr) return;
    active_ = std::move(alerting->active_);
    evaluated_ = alerting->evaluated_;
  }

 private:
  using Found = absl::flat_hash_map<Labels, ActiveAlert>;

  static Labels LabelsOf(const std::map<std::string, std::string>& texts) {
    return Labels::FromPairs({texts.begin(), texts.end()});
  }

  absl::StatusOr<Found> Alerts(const RuleContext& context, const promql::Vector& vector,
                               TimestampMs time) const {
    Found found;
    LabelsBuilder builder;
    for (const promql::VectorSample& sample : vector) {
      const AlertTemplateData data{.labels = sample.labels,
                                   .external_labels = context.external_labels,
                                   .external_url = context.external_url,
                                   .value = sample.value};
      builder.Reset(sample.labels);
      builder.Delete(kMetricName);
      for (const auto& [name, text] : spec_.labels) builder.Set(name, ExpandTemplate(text, data));
      builder.Set("alertname", spec_.alert);
      ActiveAlert alert;
      std::vector<std::pair<std::string, std::string>> annotations;
      for (const auto& [name, text] : spec_.annotations) {
        annotations.emplace_back(name, ExpandTemplate(text, data));
      }
      alert.annotations = Labels::FromPairs(std::move(annotations));
      alert.value = sample.value;
      alert.active_at = time;
      if (!found.emplace(builder.Build(), std::move(alert)).second) {
        return absl::FailedPreconditionError(
            "vector contains metrics with the same labelset after applying alert labels");
      }
    }
    return found;
  }

  void Merge(const Labels& labels, const ActiveAlert& alert) {
    const auto before = active_.find(labels);
    if (before == active_.end() || before->second.state == AlertState::kInactive) {
      active_[labels] = alert;
      return;
    }
    before->second.value = alert.value;
    before->second.annotations = alert.annotations;
    before->second.keep_firing_since.reset();
  }

  // Of an alert whose condition is gone: whether keep_firing_for still holds it. Otherwise it is
  // resolved.
  bool StaysActive(ActiveAlert& alert, TimestampMs time) const {
    if (alert.state == AlertState::kFiring && spec_.keep_firing_for_ms > 0) {
      if (!alert.keep_firing_since.has_value()) alert.keep_firing_since = time;
      if (time - *alert.keep_firing_since < spec_.keep_firing_for_ms) return true;
    }
    if (alert.state == AlertState::kFiring) {
      alert.state = AlertState::kInactive;
      alert.resolved_at = time;
    }
    return false;
  }

  static bool Forgettable(const ActiveAlert& alert, TimestampMs time) {
    return alert.state == AlertState::kPending ||
           (alert.resolved_at.has_value() && time - *alert.resolved_at > kResolvedRetention);
  }

  void AppendSeries(const Labels& labels, const ActiveAlert& alert, TimestampMs time,
                    promql::Vector& series) const {
    LabelsBuilder builder(labels);
    builder.Set(kMetricName, "ALERTS");
    builder.Set("alertstate", AlertStateText(alert.state));
    series.push_back({.labels = builder.Build(), .time = time, .value = 1});
    builder.Set(kMetricName, "ALERTS_FOR_STATE");
    builder.Delete("alertstate");
    series.push_back({.labels = builder.Build(),
                      .time = time,
                      .value = static_cast<double>(alert.active_at / 1000)});
  }

  const std::string query_;
  absl::flat_hash_map<Labels, ActiveAlert> active_;
  bool evaluated_ = false;
};

}  // namespace

std::unique_ptr<Rule> NewAlertingRule(RuleSpec spec, std::string query) {
  return std::make_unique<AlertingRule>(std::move(spec), std::move(query));
}

}  // namespace varve
