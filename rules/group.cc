// SPDX-License-Identifier: Apache-2.0
//
// Every rule's result is one batch, so that the next rule of the group can read it.
#include "rules/group.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <utility>

#include "model/log_line.h"
#include "model/status_macros.h"
#include "promql/printer.h"

namespace varve {
namespace {

double Seconds(int64_t nanos) { return static_cast<double>(nanos) / 1e9; }

}  // namespace

absl::StatusOr<std::unique_ptr<Group>> Group::Create(GroupSettings settings,
                                                     const RuleBackends& backends) {
  std::unique_ptr<Group> group(new Group(std::move(settings), backends));
  const RuleGroupSpec& spec = group->settings_.spec;
  group->hash_ = Labels::Of({{"name", spec.name}, {"file", spec.file}}).Hash();
  RuleGroupStatus status;
  status.name = spec.name;
  status.file = spec.file;
  status.interval = group->settings_.interval;
  status.limit = spec.limit;
  for (const RuleSpec& rule : spec.rules) {
    ASSIGN_OR_RETURN(const promql::ExprPtr expr, promql::Parse(rule.expr, backends.parser));
    std::string query = promql::ToString(*expr);
    group->rules_.push_back(rule.alert.empty() ? NewRecordingRule(rule, std::move(query))
                                               : NewAlertingRule(rule, std::move(query)));
    group->rules_.back()->Describe(status.rules.emplace_back());
  }
  group->stored_.resize(group->rules_.size());
  if (backends.metrics != nullptr) {
    group->metrics_.emplace(backends.metrics->Add(spec.file + ";" + spec.name));
    group->metrics_->interval.Set(static_cast<double>(group->settings_.interval) / 1000);
    group->metrics_->rules.Set(static_cast<double>(spec.rules.size()));
  }
  MutexLock lock(group->mutex_);
  group->status_ = std::move(status);
  return group;
}

TimestampMs Group::SlotAfter(TimestampMs time) const {
  const DurationMs interval = settings_.interval;
  const auto offset = static_cast<DurationMs>(hash_ % static_cast<uint64_t>(interval));
  DurationMs past_slot = (time - offset) % interval;
  if (past_slot < 0) past_slot += interval;
  return time - past_slot + interval;
}

RuleContext Group::Context() const {
  RuleContext context;
  context.query = [this](std::string_view query, TimestampMs time) {
    promql::QueryOptions options;
    options.canceled = [this] { return backends_.stopping.load(); };
    options.origin = {.rule_file = settings_.spec.file, .rule_group = settings_.spec.name};
    return backends_.engine.Instant(backends_.storage, query, time, options);
  };
  context.query_offset = settings_.query_offset;
  context.limit = settings_.spec.limit;
  context.external_labels = settings_.external_labels;
  context.external_url = settings_.external_url;
  return context;
}

void Group::Evaluate(TimestampMs slot, int64_t missed) {
  const int64_t start = backends_.clock.MonotonicNanos();
  uint64_t samples = 0;
  for (size_t i = 0; i < rules_.size(); ++i) {
    if (backends_.stopping) return;
    EvaluateRule(i, slot, samples);
  }
  EndOrphans(slot - settings_.query_offset);
  const double seconds = Seconds(backends_.clock.MonotonicNanos() - start);
  {
    MutexLock lock(mutex_);
    status_.evaluation_seconds = seconds;
    status_.last_evaluation = slot;
  }
  if (!metrics_.has_value()) return;
  metrics_->iterations.Increment(static_cast<double>(missed + 1));
  metrics_->missed.Increment(static_cast<double>(missed));
  metrics_->last_duration.Set(seconds);
  metrics_->last_evaluation.Set(static_cast<double>(slot) / 1000);
  metrics_->last_samples.Set(static_cast<double>(samples));
  backends_.metrics->group_duration().Observe(seconds);
}

void Group::EvaluateRule(size_t index, TimestampMs slot, uint64_t& samples) {
  const int64_t start = backends_.clock.MonotonicNanos();
  Rule& rule = *rules_[index];
  const absl::StatusOr<promql::Vector> vector = rule.Evaluate(Context(), slot);
  absl::Status status = vector.status();
  if (status.ok()) {
    samples += vector->size();
    status = Store(index, *vector, slot - settings_.query_offset);
  }
  const double seconds = Seconds(backends_.clock.MonotonicNanos() - start);
  if (metrics_.has_value()) {
    metrics_->evaluations.Increment();
    if (!vector.ok()) metrics_->failures.Increment();
    backends_.metrics->rule_duration().Observe(seconds);
  }
  MutexLock lock(mutex_);
  RuleStatus& shown = status_.rules[index];
  if (!status.ok() && shown.last_error != MessageOf(status)) {
    spdlog::warn(LogLine("Evaluating rule failed", {{"group", settings_.spec.name},
                                                    {"file", settings_.spec.file},
                                                    {"rule", shown.name},
                                                    {"err", MessageOf(status)}}));
  }
  rule.Describe(shown);
  shown.health = status.ok() ? RuleHealth::kOk : RuleHealth::kError;
  shown.last_error = MessageOf(status);
  shown.evaluation_seconds = seconds;
  shown.last_evaluation = slot;
}

absl::Status Group::Store(size_t index, const promql::Vector& vector, TimestampMs time) {
  const std::unique_ptr<Appender> appender = backends_.appendable.NewAppender();
  absl::Status first_refusal;
  SeriesNames stored;
  for (const promql::VectorSample& sample : vector) {
    const absl::Status status =
        sample.histogram != nullptr
            ? appender->AppendHistogram(kNoSeries, sample.labels, time, *sample.histogram).status()
            : appender->Append(kNoSeries, sample.labels, time, sample.value).status();
    if (status.ok()) {
      stored.insert(sample.labels);
    } else if (first_refusal.ok()) {
      first_refusal = status;
    }
  }
  for (const Labels& labels : stored_[index]) {
    if (stored.contains(labels)) continue;
    // A refusal means that somebody else goes on with the series.
    static_cast<void>(appender->Append(kNoSeries, labels, time, StaleNan()));
  }
  RETURN_IF_ERROR(appender->Commit());
  stored_[index] = std::move(stored);
  return first_refusal;
}

void Group::EndOrphans(TimestampMs time) {
  if (orphans_.empty()) return;
  const absl::Status status = EndSeries(backends_.appendable, orphans_, time);
  if (!status.ok()) {
    spdlog::warn(LogLine("Cannot end the series of removed rules",
                         {{"group", settings_.spec.name}, {"err", MessageOf(status)}}));
  }
  orphans_.clear();
}

void Group::AdoptState(Group& before) {
  std::vector<bool> adopted(before.rules_.size(), false);
  for (size_t i = 0; i < rules_.size(); ++i) {
    const RuleSpec& mine = rules_[i]->spec();
    for (size_t j = 0; j < before.rules_.size(); ++j) {
      const RuleSpec& theirs = before.rules_[j]->spec();
      if (adopted[j] || mine.record != theirs.record || mine.alert != theirs.alert ||
          mine.labels != theirs.labels) {
        continue;
      }
      adopted[j] = true;
      rules_[i]->AdoptState(*before.rules_[j]);
      stored_[i] = std::move(before.stored_[j]);
      break;
    }
  }
  for (size_t j = 0; j < before.rules_.size(); ++j) {
    if (adopted[j]) continue;
    orphans_.insert(orphans_.end(), before.stored_[j].begin(), before.stored_[j].end());
  }
  orphans_.insert(orphans_.end(), before.orphans_.begin(), before.orphans_.end());
}

std::vector<Labels> Group::TakeStoredSeries() {
  std::vector<Labels> series = std::move(orphans_);
  for (SeriesNames& names : stored_) {
    series.insert(series.end(), names.begin(), names.end());
    names.clear();
  }
  return series;
}

RuleGroupStatus Group::Status() const {
  MutexLock lock(mutex_);
  return status_;
}

absl::Status EndSeries(Appendable& appendable, const std::vector<Labels>& series,
                       TimestampMs time) {
  const std::unique_ptr<Appender> appender = appendable.NewAppender();
  for (const Labels& labels : series) {
    static_cast<void>(appender->Append(kNoSeries, labels, time, StaleNan()));
  }
  return appender->Commit();
}

}  // namespace varve
