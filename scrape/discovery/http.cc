// SPDX-License-Identifier: Apache-2.0
//
// A transfer's end posts the answer to the workers; the worker that has read it sets the timer that
// starts the next transfer.
#include "scrape/discovery/http.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <utility>

#include "model/labels.h"
#include "model/log_line.h"
#include "model/mutex.h"
#include "model/status_macros.h"
#include "scrape/discovery/target_groups.h"

namespace varve {
namespace {

constexpr std::string_view kJson = "application/json";

absl::Status CheckAnswer(const ClientResponse& response) {
  if (response.status != 200) {
    return absl::UnavailableError(fmt::format("server returned HTTP status {}", response.reason));
  }
  const std::string_view type = response.Header("content-type");
  if (type.substr(0, type.find(';')) != kJson) {
    return absl::UnavailableError(fmt::format("unsupported content type {}", Quoted(type)));
  }
  return absl::OkStatus();
}

// Outlives the discovery while a transfer or a worker is under way.
class HttpSource : public std::enable_shared_from_this<HttpSource> {
 public:
  HttpSource(HttpSdConfig config, std::shared_ptr<ScrapeContext> context,
             TargetGroupsCallback callback)
      : config_(std::move(config)),
        http_client_(std::make_shared<HttpClientConfig>(config_.http_client)),
        context_(std::move(context)),
        callback_(std::move(callback)) {}

  void Ask() ABSL_LOCKS_EXCLUDED(mutex_) {
    ClientRequest request;
    request.url = config_.url;
    request.headers = {{"Accept", std::string(kJson)},
                       {"X-Prometheus-Refresh-Interval-Seconds",
                        fmt::format("{}", static_cast<double>(config_.refresh_interval) / 1000)}};
    request.timeout = std::chrono::milliseconds(config_.refresh_interval);
    request.body_bytes_max = kTargetListBytesMax;
    request.config = http_client_;
    MutexLock lock(mutex_);
    if (stopped_) return;
    transfer_ = context_->http.Start(
        std::move(request), [self = shared_from_this()](absl::StatusOr<ClientResponse> response) {
          self->context_->workers.Submit(
              [self, response = std::move(response)] { self->Take(response); });
        });
  }

  void Stop() ABSL_LOCKS_EXCLUDED(mutex_) {
    MutexLock lock(mutex_);
    stopped_ = true;
    context_->http.loop().Cancel(timer_);
    context_->http.Cancel(transfer_);
  }

 private:
  void Take(const absl::StatusOr<ClientResponse>& response) ABSL_LOCKS_EXCLUDED(mutex_) {
    MutexLock lock(mutex_);
    if (stopped_) return;
    if (const absl::Status status = Read(response); !status.ok()) {
      context_->metrics.http_discovery_failures.Increment();
      spdlog::error(
          LogLine("Unable to refresh target groups",
                  {{"discovery", "http"}, {"url", config_.url}, {"err", MessageOf(status)}}));
    }
    timer_ = context_->http.loop().RunAfter(std::chrono::milliseconds(config_.refresh_interval),
                                            [self = shared_from_this()] { self->Ask(); });
  }

  absl::Status Read(const absl::StatusOr<ClientResponse>& response)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    RETURN_IF_ERROR(response.status());
    RETURN_IF_ERROR(CheckAnswer(*response));
    ASSIGN_OR_RETURN(std::vector<TargetGroup> groups,
                     ParseTargetGroups(response->body, config_.url, "__meta_url"));
    const size_t count = groups.size();
    DropTargetGroups(config_.url, count, groups_, groups);
    groups_ = count;
    callback_(std::move(groups));
    return absl::OkStatus();
  }

  const HttpSdConfig config_;
  const std::shared_ptr<const HttpClientConfig> http_client_;
  const std::shared_ptr<ScrapeContext> context_;
  const TargetGroupsCallback callback_;

  Mutex mutex_;  // Held during callbacks, so that Stop() waits for them.
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  TimerId timer_ ABSL_GUARDED_BY(mutex_) = kNoTimer;
  TransferId transfer_ ABSL_GUARDED_BY(mutex_) = kNoTransfer;
  size_t groups_ ABSL_GUARDED_BY(mutex_) = 0;
};

class HttpDiscovery : public Discovery {
 public:
  explicit HttpDiscovery(std::shared_ptr<HttpSource> source) : source_(std::move(source)) {
    source_->Ask();
  }
  ~HttpDiscovery() override { source_->Stop(); }

 private:
  const std::shared_ptr<HttpSource> source_;
};

}  // namespace

std::unique_ptr<Discovery> NewHttpDiscovery(const HttpSdConfig& config,
                                            std::shared_ptr<ScrapeContext> context,
                                            TargetGroupsCallback callback) {
  return std::make_unique<HttpDiscovery>(
      std::make_shared<HttpSource>(config, std::move(context), std::move(callback)));
}

}  // namespace varve
