// SPDX-License-Identifier: Apache-2.0
//
// Timer callbacks run on the event loop and do little; everything that parses, appends or may wait
// for a file is a job of the workers.
#include "scrape/target_loop.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "model/clock.h"
#include "model/log_line.h"
#include "model/sample.h"
#include "model/status_macros.h"
#include "scrape/scrape_request.h"

namespace varve {
namespace {

constexpr DurationMs kPassedSlotMax = 500;

// In the order of the report's refs.
constexpr std::string_view kReportMetrics[] = {
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
    "scrape_timeout_seconds",
    "scrape_sample_limit",
    "scrape_body_size_bytes",
};
constexpr size_t kReportMetricsAlways = 5;

// Whether a line may become another series under `b` than it was under `a`.
bool LinesDiffer(const ScrapeConfig& a, const ScrapeConfig& b) {
  return !(a.metric_relabel_rules == b.metric_relabel_rules && a.honor_labels == b.honor_labels &&
           a.legacy_names == b.legacy_names && a.limits == b.limits);
}

}  // namespace

std::shared_ptr<const PoolSettings> PoolSettings::Create(ScrapeConfig config) {
  auto settings = std::make_shared<PoolSettings>();
  settings->http = std::make_shared<const HttpClientConfig>(config.http_client);
  settings->accept = AcceptHeader(config);
  const HttpClientConfig& http = config.http_client;
  settings->reads_files = http.basic_auth.has_value() || http.authorization.has_value() ||
                          http.oauth2.has_value() || !http.http_headers.empty() ||
                          !(http.tls == TlsConfig());
  if (!config.scrape_failure_log_file.empty()) {
    absl::StatusOr<std::shared_ptr<FailureLog>> log =
        FailureLog::Open(config.scrape_failure_log_file);
    if (log.ok()) {
      settings->failure_log = *std::move(log);
    } else {
      spdlog::error(LogLine("Opening the scrape failure log failed",
                            {{"scrape_pool", config.job_name}, {"err", MessageOf(log.status())}}));
    }
  }
  settings->config = std::move(config);
  return settings;
}

TargetLoop::TargetLoop(std::shared_ptr<ScrapeContext> context,
                       std::shared_ptr<ScrapeMetrics::Pool> metrics,
                       std::shared_ptr<const PoolSettings> settings,
                       std::shared_ptr<const Target> target)
    : context_(std::move(context)),
      metrics_(std::move(metrics)),
      hash_(target->Hash()),
      metadata_(context_->metadata),
      settings_(std::move(settings)),
      target_(std::move(target)) {}

TargetLoop::~TargetLoop() {
  MutexLock lock(scrape_mutex_);
  metrics_->metadata_entries.Decrement(static_cast<double>(metadata_counted_));
}

// How long ago the slot of a new target may have been for it to be scraped at once. It is not left
// waiting for one that has only just passed, or has passed since the process started: so the last
// of many is scraped within an interval, however long it took to get here. But no more than a third
// of them come at once.
DurationMs TargetLoop::PassedSlotMax(TimestampMs now, DurationMs interval) const {
  const DurationMs passed = std::min(interval / 20, kPassedSlotMax);
  const DurationMs since_start = now - context_->start_time;
  if (since_start < 0 || since_start >= interval) return passed;
  return std::max(passed, std::min(since_start, interval / 3));
}

void TargetLoop::Start() {
  MutexLock lock(mutex_);
  if (!stopped_) Schedule();
}

// Sets the timer of the next slot: an interval after the last, unless more than that has passed,
// the interval has changed or the clock was set. A slot that passed while a scrape was under way is
// not lost: scrapes that run into a timeout as long as the interval would else be every second one.
void TargetLoop::Schedule() {
  const TimestampMs now = context_->clock.Now();
  const DurationMs interval = target_->interval;
  const TimestampMs next = slot_ + interval;
  if (slot_interval_ == interval && next > now - interval && next <= now + 2 * interval) {
    slot_ = next;
  } else {
    const DurationMs passed = slot_interval_ == 0 ? PassedSlotMax(now, interval) : 0;
    slot_ = NextSlotNanos((now - passed) * kNanosPerMs, interval,
                          SlotGrid(interval, context_->targets), hash_, context_->offset_seed) /
            kNanosPerMs;
  }
  slot_interval_ = interval;
  timer_ = context_->http.loop().RunAfter(
      std::chrono::milliseconds(std::max<DurationMs>(0, slot_ - now)),
      [self = shared_from_this()] { self->OnSlot(); });
}

void TargetLoop::OnSlot() {
  Scrape scrape;
  {
    MutexLock lock(mutex_);
    if (stopped_) return;
    timer_ = kNoTimer;
    scrape = BeginScrape();
  }
  if (!scrape.forced_error.empty() || scrape.settings->reads_files) {
    context_->workers.Submit([self = shared_from_this(), scrape = std::move(scrape)]() mutable {
      if (scrape.forced_error.empty()) {
        self->Fetch(std::move(scrape));
      } else {
        FinishedScrape finished{.loop = self,
                                .scrape = scrape,
                                .response = absl::ResourceExhaustedError(scrape.forced_error),
                                .end_nanos = scrape.start_nanos};
        Finish({&finished, 1});
      }
    });
    return;
  }
  // Behind the timers that are due now: the last of many targets of one slot is as punctual as the
  // first.
  context_->http.loop().Post([self = shared_from_this(), scrape = std::move(scrape)]() mutable {
    self->Fetch(std::move(scrape));
  });
}

TargetLoop::Scrape TargetLoop::BeginScrape() {
  Scrape scrape;
  scrape.settings = settings_;
  scrape.target = target_;
  scrape.forced_error = forced_error_;
  scrape.unlearn = std::exchange(unlearn_, false);
  const auto last_bytes = static_cast<uint64_t>(std::max<int64_t>(0, history_.body_bytes));
  scrape.body_bytes_expected = last_bytes + last_bytes / 8;
  scrape.time = ScrapeTime(context_->clock.Now());
  scrape.start_nanos = context_->clock.MonotonicNanos();
  if (last_start_nanos_ != 0) {
    const auto nanos = static_cast<double>(scrape.start_nanos - last_start_nanos_);
    context_->metrics.ObserveInterval(target_->interval, nanos / kNanosPerSecond);
  }
  last_start_nanos_ = scrape.start_nanos;
  return scrape;
}

// Times a little off their slot are moved onto it: equal distances compress to almost nothing.
TimestampMs TargetLoop::ScrapeTime(TimestampMs now) {
  if (!context_->adjust_timestamps) return now;
  const DurationMs tolerance =
      std::min<DurationMs>(slot_interval_ / 100, context_->timestamp_tolerance);
  const DurationMs off = now > slot_ ? now - slot_ : slot_ - now;
  return off <= tolerance ? slot_ : now;
}

// What a target was asked last is asked again, unless it depends on files.
absl::StatusOr<std::shared_ptr<const PreparedRequest>> TargetLoop::Prepare(const Scrape& scrape) {
  if (!scrape.settings->reads_files) {
    MutexLock lock(mutex_);
    if (prepared_.settings == scrape.settings && prepared_.target == scrape.target) {
      return prepared_.request;
    }
  }
  ClientRequest request =
      ScrapeRequest(scrape.settings->config, *scrape.target, scrape.settings->accept);
  request.config = scrape.settings->http;
  ASSIGN_OR_RETURN(std::shared_ptr<const PreparedRequest> prepared,
                   context_->http.Prepare(std::move(request)));
  if (!scrape.settings->reads_files) {
    MutexLock lock(mutex_);
    prepared_ = {scrape.settings, scrape.target, prepared};
  }
  return prepared;
}

void TargetLoop::Fetch(Scrape scrape) {
  context_->finished.Expect();
  absl::StatusOr<std::shared_ptr<const PreparedRequest>> request = Prepare(scrape);
  const uint64_t body_bytes_expected = scrape.body_bytes_expected;
  auto done = [self = shared_from_this(),
               scrape = std::move(scrape)](absl::StatusOr<ClientResponse> response) mutable {
    self->context_->finished.Add(
        self->context_,
        {.loop = self, .scrape = std::move(scrape), .response = std::move(response)});
  };
  const TransferId transfer =
      context_->http.Start(std::move(request), body_bytes_expected, std::move(done));
  MutexLock lock(mutex_);
  transfer_ = transfer;
  if (stopped_) context_->http.Cancel(transfer);
}

void TargetLoop::Finish(absl::Span<FinishedScrape> finished) {
  std::vector<Report> reports(finished.size());
  std::vector<std::unique_ptr<Appender>> appenders(finished.size());
  std::vector<Appender*> to_commit;
  for (size_t i = 0; i < finished.size(); ++i) {
    appenders[i] = finished[i].loop->AppendScrape(finished[i], reports[i]);
    if (appenders[i] != nullptr) to_commit.push_back(appenders[i].get());
    absl::StatusOr<ClientResponse>& response = finished[i].response;
    if (response.ok()) finished[i].loop->context_->http.Recycle(std::move(response->body));
  }
  if (to_commit.empty()) return;
  Appendable& storage = finished.front().loop->context_->storage;
  const std::vector<absl::Status> committed = storage.CommitAll(to_commit);
  size_t next = 0;
  for (size_t i = 0; i < finished.size(); ++i) {
    if (appenders[i] == nullptr) continue;
    finished[i].loop->Conclude(finished[i].scrape, reports[i], committed[next++]);
  }
}

std::unique_ptr<Appender> TargetLoop::AppendScrape(const FinishedScrape& finished, Report& report) {
  MutexLock scrape_lock(scrape_mutex_);
  if (stopped()) return nullptr;
  const Scrape& scrape = finished.scrape;
  const absl::StatusOr<ClientResponse>& response = finished.response;
  const int64_t begin_nanos = context_->clock.MonotonicNanos();
  const ScrapeConfig& config = scrape.settings->config;
  if (scrape.unlearn) cache_.Unlearn();
  std::unique_ptr<Appender> appender = context_->storage.NewAppender();
  BodyAppender body(config, scrape.target->histograms, scrape.target->public_labels, cache_,
                    metadata_);
  absl::Status status = response.status();
  if (status.ok()) {
    report.body_bytes = static_cast<int64_t>(response->body.size());
    const absl::StatusOr<ExpositionFormat> format = AnswerFormat(config, *response);
    status = format.status();
    if (status.ok()) {
      status = body.AppendBody(response->body, *format, scrape.time, *appender, report.counts);
    }
    CountRejects(report.counts, status);
  } else if (config.limits.body_size_bytes > 0 && absl::IsResourceExhausted(status) &&
             scrape.forced_error.empty()) {
    report.body_bytes = -1;
    context_->metrics.body_size_limit_exceeded.Increment();
  }
  if (!status.ok()) {
    report.error = MessageOf(status);
    appender->Rollback();
    appender = context_->storage.NewAppender();
    body.AppendFailure(scrape.time, *appender);
  }
  // Without the wait between answer and worker.
  const int64_t appending_nanos = context_->clock.MonotonicNanos() - begin_nanos;
  report.seconds = static_cast<double>(finished.end_nanos - scrape.start_nanos + appending_nanos) /
                   kNanosPerSecond;
  AppendReport(scrape, report, *appender);
  if (report.error.empty()) AppendMetadata(*appender);
  const size_t metadata = metadata_.size();
  if (metadata != metadata_counted_) {
    metrics_->metadata_entries.Increment(static_cast<double>(metadata) -
                                         static_cast<double>(metadata_counted_));
    metadata_counted_ = metadata;
  }
  return appender;
}

void TargetLoop::Conclude(const Scrape& scrape, Report& report, const absl::Status& committed) {
  if (committed.ok()) {
    if (report.error.empty()) metadata_.ForgetChanges();
  } else {
    spdlog::warn(LogLine("Scrape commit failed", {{"scrape_pool", scrape.settings->config.job_name},
                                                  {"target", scrape.target->url},
                                                  {"err", MessageOf(committed)}}));
    if (report.error.empty()) report.error = MessageOf(committed);
  }
  OfferLimit(scrape, report);
  MutexLock lock(mutex_);
  Record(scrape, report);
  if (!stopped_) Schedule();
}

// A steady scrape has none.
void TargetLoop::AppendMetadata(Appender& appender) {
  for (const MetricFamilyPtr& family : metadata_.Changes()) {
    // What storage refuses it counts, and is shown all the same while the target is there.
    (void)appender.AppendMetadata(family->name, family->metadata);
  }
}

void TargetLoop::CountRejects(const AppendCounts& counts, const absl::Status& status) {
  ScrapeMetrics& metrics = context_->metrics;
  if (counts.out_of_order > 0) metrics.out_of_order.Increment(counts.out_of_order);
  if (counts.out_of_bounds > 0) metrics.out_of_bounds.Increment(counts.out_of_bounds);
  if (counts.duplicate_timestamp > 0) {
    metrics.duplicate_timestamps.Increment(counts.duplicate_timestamp);
  }
  if (counts.sample_limit_exceeded) metrics.sample_limit_exceeded.Increment();
  if (counts.bucket_limit_exceeded) metrics.bucket_limit_exceeded.Increment();
  if (counts.label_limit_exceeded && !status.ok()) metrics.label_limit_exceeded.Increment();
}

void TargetLoop::AppendReport(const Scrape& scrape, const Report& report, Appender& appender) {
  const ScrapeConfig& config = scrape.settings->config;
  const double values[kReportSeriesMax] = {
      report.error.empty() ? 1.0 : 0.0,
      report.seconds,
      static_cast<double>(report.counts.scraped),
      static_cast<double>(report.counts.post_relabel),
      static_cast<double>(report.counts.series_added),
      static_cast<double>(scrape.target->timeout) / kSecond,
      static_cast<double>(config.limits.samples),
      static_cast<double>(report.body_bytes),
  };
  const size_t count = config.extra_scrape_metrics ? kReportSeriesMax : kReportMetricsAlways;
  for (size_t i = 0; i < count; ++i) {
    AppendReportSample(*scrape.target, i, kReportMetrics[i], scrape.time, values[i], appender);
  }
}

void TargetLoop::AppendReportSample(const Target& target, size_t index, std::string_view metric,
                                    TimestampMs time, double value, Appender& appender) {
  SeriesRef& ref = report_refs_[index];
  absl::StatusOr<SeriesRef> stored = absl::NotFoundError("");
  if (ref != kNoSeries) stored = appender.Append(ref, Labels(), time, value);
  if (absl::IsNotFound(stored.status())) {
    LabelsBuilder builder(target.public_labels);
    for (const LabelView& label : target.public_labels) {
      if (label.name == kMetricName) builder.Set("exported___name__", label.value);
    }
    builder.Set(kMetricName, metric);
    stored = appender.Append(kNoSeries, builder.Build(), time, value);
  }
  if (stored.ok()) ref = *stored;
}

void TargetLoop::Record(const Scrape& scrape, const Report& report) {
  transfer_ = kNoTransfer;
  last_scrape_ = scrape.time;
  last_seconds_ = report.seconds;
  RecordHistory(scrape, report);
  if (!report.error.empty() && scrape.settings->failure_log != nullptr) {
    scrape.settings->failure_log->Write(scrape.time, scrape.settings->config.job_name,
                                        scrape.target->url, report.error);
  }
  if (report.error != last_error_ && !report.error.empty()) {
    spdlog::debug(LogLine("Scrape failed", {{"scrape_pool", scrape.settings->config.job_name},
                                            {"target", scrape.target->url},
                                            {"err", report.error}}));
  }
  last_error_ = report.error;
  health_ = report.error.empty() ? TargetHealth::kUp : TargetHealth::kDown;
}

void TargetLoop::RecordHistory(const Scrape& scrape, const Report& report) {
  const AppendCounts& counts = report.counts;
  ++history_.scrapes;
  history_.body_bytes = report.body_bytes;
  history_.samples = counts.scraped;
  history_.samples_after_relabelling = counts.post_relabel;
  history_.series_added = counts.series_added;
  history_.limits = scrape.settings->config.limits;
  if (report.error.empty()) {
    history_.dropped_by_relabelling += counts.scraped - counts.post_relabel;
    history_.dropped_out_of_order += counts.out_of_order;
    history_.dropped_duplicate += counts.duplicate_timestamp;
    history_.dropped_out_of_bounds += counts.out_of_bounds;
    return;
  }
  ++history_.failed;
  history_.dropped_with_failed_scrapes += counts.scraped;
  std::vector<ScrapeFailures>& failures = history_.failures;
  const std::string error = report.error.substr(0, kFailureBytesMax);
  if (!last_error_.empty() && !failures.empty() && failures.front().error == error) {
    failures.front().last = scrape.time;
    ++failures.front().count;
    return;
  }
  if (failures.size() == kFailuresKept) failures.pop_back();
  failures.insert(failures.begin(), {scrape.time, scrape.time, 1, error});
}

// There are no limits unless they are set, as in Prometheus. Who has targets that one would be good
// for is told which.
void TargetLoop::OfferLimit(const Scrape& scrape, const Report& report) const {
  const uint64_t samples = report.counts.post_relabel;
  if (samples <= context_->unlimited_samples_max) return;
  if (scrape.settings->config.limits.samples > 0) return;
  if (scrape.settings->limit_offered.exchange(true)) return;
  spdlog::warn(LogLine("A target exposes very many samples, and its job has no sample_limit",
                       {{"scrape_pool", scrape.settings->config.job_name},
                        {"target", scrape.target->url},
                        {"samples", std::to_string(samples)},
                        {"hint", fmt::format("sample_limit: {}", 2 * samples)}}));
}

void TargetLoop::Stop(bool end_series) {
  MutexLock lock(mutex_);
  stopped_ = true;
  if (timer_ != kNoTimer) context_->http.loop().Cancel(timer_);
  if (transfer_ != kNoTransfer) context_->http.Cancel(transfer_);
  timer_ = kNoTimer;
  if (!end_series) return;
  const TimestampMs now = context_->clock.Now();
  const DurationMs interval = target_->interval;
  const TimestampMs end = slot_ > now ? slot_ : slot_ + interval;
  const DurationMs delay = end + interval + interval / 10 - now;
  context_->http.loop().RunAfter(
      std::chrono::milliseconds(delay), [self = shared_from_this(), end] {
        self->context_->workers.Submit([self, end] { self->EndSeries(end); });
      });
}

void TargetLoop::EndSeries(TimestampMs time) {
  MutexLock scrape_lock(scrape_mutex_);
  const std::unique_ptr<Appender> appender = context_->storage.NewAppender();
  cache_.Fail([&](SeriesRef ref) { (void)appender->Append(ref, Labels(), time, StaleNan()); });
  for (const SeriesRef ref : report_refs_) {
    if (ref != kNoSeries) (void)appender->Append(ref, Labels(), time, StaleNan());
  }
  const absl::Status committed = appender->Commit();
  if (!committed.ok()) {
    spdlog::warn(LogLine("Stale commit failed", {{"err", MessageOf(committed)}}));
  }
}

void TargetLoop::Change(std::shared_ptr<const PoolSettings> settings,
                        std::shared_ptr<const Target> target) {
  MutexLock lock(mutex_);
  const bool reschedule = target->interval != target_->interval;
  unlearn_ = unlearn_ || LinesDiffer(settings_->config, settings->config);
  settings_ = std::move(settings);
  target_ = std::move(target);
  // Without a timer a scrape is under way, whose end schedules with the new interval.
  if (reschedule && !stopped_ && timer_ != kNoTimer && context_->http.loop().Cancel(timer_)) {
    Schedule();
  }
}

void TargetLoop::SetForcedError(std::string error) {
  MutexLock lock(mutex_);
  forced_error_ = std::move(error);
}

bool TargetLoop::stopped() const {
  MutexLock lock(mutex_);
  return stopped_;
}

std::shared_ptr<const Target> TargetLoop::target() const {
  MutexLock lock(mutex_);
  return target_;
}

ActiveTarget TargetLoop::Snapshot() const {
  MutexLock lock(mutex_);
  return {.discovered_labels = target_->discovered_labels,
          .labels = target_->public_labels,
          .scrape_url = target_->url,
          .last_error = last_error_,
          .last_scrape = last_scrape_,
          .last_scrape_duration_seconds = last_seconds_,
          .health = health_,
          .interval = target_->interval,
          .timeout = target_->timeout,
          .history = history_};
}

}  // namespace varve
