// SPDX-License-Identifier: Apache-2.0
//
// A poll's end posts its result to the workers; the worker that has handed it on sets the timer
// that starts the next poll.
#include "scrape/discovery/poll.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <set>
#include <utility>

#include "model/mutex.h"
#include "model/status_macros.h"

namespace varve {
namespace {

// Outlives the discovery while a poll or a worker is under way.
class Poller : public std::enable_shared_from_this<Poller> {
 public:
  Poller(PollOptions options, std::unique_ptr<PollSource> source,
         std::shared_ptr<DiscoveryContext> context, TargetGroupsCallback callback)
      : interval_(options.interval),
        source_(std::move(source)),
        context_(std::move(context)),
        callback_(std::move(callback)),
        health_(context_->healths.Add(std::move(options.config), std::move(options.mechanism),
                                      std::move(options.source))) {}

  void Ask() ABSL_LOCKS_EXCLUDED(mutex_) {
    MutexLock lock(mutex_);
    if (stopped_) return;
    source_->Start([self = shared_from_this()](PollResult result) {
      self->context_->workers.Submit(
          [self, result = std::move(result)]() mutable { self->Take(std::move(result)); });
    });
  }

  void Stop() ABSL_LOCKS_EXCLUDED(mutex_) {
    MutexLock lock(mutex_);
    stopped_ = true;
    context_->http.loop().Cancel(timer_);
    source_->Cancel();
    health_.reset();
  }

 private:
  void Take(PollResult result) ABSL_LOCKS_EXCLUDED(mutex_) {
    MutexLock lock(mutex_);
    if (stopped_) return;
    std::set<std::string> sources;
    for (const TargetGroup& group : result.groups) sources.insert(group.source);
    if (result.status.ok()) {
      for (const std::string& gone : sources_) {
        if (!sources.contains(gone)) result.groups.push_back({.source = gone});
      }
      sources_ = std::move(sources);
      health_->Succeeded();
    } else {
      sources_.merge(sources);
      health_->Failed(result.status);
    }
    if (result.status.ok() || !result.groups.empty()) callback_(std::move(result.groups));
    timer_ = context_->http.loop().RunAfter(std::chrono::milliseconds(interval_),
                                            [self = shared_from_this()] { self->Ask(); });
  }

  const DurationMs interval_;
  const std::unique_ptr<PollSource> source_;
  const std::shared_ptr<DiscoveryContext> context_;
  const TargetGroupsCallback callback_;

  Mutex mutex_;  // Held during callbacks, so that Stop() waits for them.
  std::shared_ptr<DiscoveryHealth> health_ ABSL_GUARDED_BY(mutex_);  // Null once stopped.
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  TimerId timer_ ABSL_GUARDED_BY(mutex_) = kNoTimer;
  std::set<std::string> sources_ ABSL_GUARDED_BY(mutex_);  // Those that have been named.
};

class PolledDiscovery : public Discovery {
 public:
  explicit PolledDiscovery(std::shared_ptr<Poller> poller) : poller_(std::move(poller)) {
    poller_->Ask();
  }
  ~PolledDiscovery() override { poller_->Stop(); }

 private:
  const std::shared_ptr<Poller> poller_;
};

// The answers of one poll, as they come.
struct HttpPoll {
  HttpPoll(size_t requests, PollSource::Done done_callback)
      : done(std::move(done_callback)), answers(requests), missing(requests) {}

  PollSource::Done done;
  std::vector<ClientResponse> answers;
  size_t missing;
  absl::Status status;  // The first failure.
};

class HttpPollSource : public PollSource {
 public:
  HttpPollSource(std::vector<ClientRequest> requests, ReadAnswers read,
                 std::shared_ptr<DiscoveryContext> context)
      : requests_(std::move(requests)),
        read_(std::make_shared<ReadAnswers>(std::move(read))),
        context_(std::move(context)) {}

  void Start(Done done) override {
    // Answers come on the loop's thread, one after the other.
    const auto poll = std::make_shared<HttpPoll>(requests_.size(), std::move(done));
    transfers_.clear();
    for (size_t i = 0; i < requests_.size(); ++i) {
      transfers_.push_back(context_->http.Start(
          requests_[i],
          [poll, i, read = read_, context = context_](absl::StatusOr<ClientResponse> response) {
            absl::Status status =
                response.ok() ? CheckStatus(*response) : absl::Status(response.status());
            if (response.ok()) poll->answers[i] = *std::move(response);
            if (poll->status.ok()) poll->status = std::move(status);
            if (--poll->missing == 0)
              context->workers.Submit([poll, read] { Finish(*poll, *read); });
          }));
    }
  }

  void Cancel() override {
    for (const TransferId transfer : transfers_) context_->http.Cancel(transfer);
  }

 private:
  static void Finish(HttpPoll& poll, const ReadAnswers& read) {
    if (!poll.status.ok()) return poll.done({.status = poll.status});
    absl::StatusOr<std::vector<TargetGroup>> groups = read(poll.answers);
    if (!groups.ok()) return poll.done({.status = groups.status()});
    poll.done({.groups = *std::move(groups)});
  }

  const std::vector<ClientRequest> requests_;
  const std::shared_ptr<const ReadAnswers> read_;
  const std::shared_ptr<DiscoveryContext> context_;
  std::vector<TransferId> transfers_;
};

}  // namespace

absl::Status CheckStatus(const ClientResponse& response) {
  if (response.status == 200) return absl::OkStatus();
  return absl::UnavailableError(fmt::format("server returned HTTP status {}", response.reason));
}

std::unique_ptr<Discovery> NewPolledDiscovery(PollOptions options,
                                              std::unique_ptr<PollSource> source,
                                              std::shared_ptr<DiscoveryContext> context,
                                              TargetGroupsCallback callback) {
  return std::make_unique<PolledDiscovery>(std::make_shared<Poller>(
      std::move(options), std::move(source), std::move(context), std::move(callback)));
}

std::unique_ptr<PollSource> NewHttpPollSource(std::vector<ClientRequest> requests, ReadAnswers read,
                                              std::shared_ptr<DiscoveryContext> context) {
  return std::make_unique<HttpPollSource>(std::move(requests), std::move(read), std::move(context));
}

}  // namespace varve
