// SPDX-License-Identifier: Apache-2.0
//
// A page names the next one, so they are asked for one after the other. All targets are one group,
// as in Prometheus.
#include "scrape/discovery/vultr.h"

#include <fmt/format.h>

#include <chrono>
#include <utility>

#include "model/mutex.h"
#include "model/percent_encoding.h"
#include "model/status_macros.h"
#include "scrape/discovery/json_view.h"
#include "scrape/discovery/poll.h"
#include "scrape/discovery/target_labels.h"

namespace varve {
namespace {

// Adds a list with commas at both ends, so that one pattern finds any element; no empty one.
void AddList(TargetLabels& labels, std::string_view name, JsonView list) {
  std::string joined;
  list.Each([&joined](JsonView element) {
    if (joined.empty()) joined += ',';
    joined += element.Text();
    joined += ',';
  });
  labels.Add(name, joined);
}

Labels InstanceLabels(JsonView instance, uint16_t port) {
  TargetLabels labels("__meta_vultr_instance_");
  labels.Address(instance["main_ip"].Text(), port);
  const auto add_text = [&](std::string_view name, std::string_view member) {
    labels.Add(name, instance[member].Text());
  };
  const auto add_number = [&](std::string_view name, std::string_view member) {
    labels.Add(name, std::to_string(instance[member].Int()));
  };
  add_text("id", "id");
  add_text("label", "label");
  add_text("os", "os");
  add_number("os_id", "os_id");
  add_text("region", "region");
  add_text("plan", "plan");
  add_text("main_ip", "main_ip");
  add_text("main_ipv6", "v6_main_ip");
  add_text("internal_ip", "internal_ip");
  add_text("hostname", "hostname");
  add_text("server_status", "server_status");
  add_number("vcpu_count", "vcpu_count");
  add_number("ram_mb", "ram");
  add_number("allowed_bandwidth_gb", "allowed_bandwidth");
  add_number("disk_gb", "disk");
  AddList(labels, "features", instance["features"]);
  AddList(labels, "tags", instance["tags"]);
  return std::move(labels).Take();
}

class VultrPages : public PollSource {
 public:
  VultrPages(const VultrSdConfig& config, std::shared_ptr<DiscoveryContext> context)
      : config_(config),
        http_client_(std::make_shared<HttpClientConfig>(config.http_client)),
        context_(std::move(context)) {}

  void Start(Done done) override {
    auto poll = std::make_shared<Poll>();
    poll->done = std::move(done);
    poll->group.source = "Vultr";
    Ask(std::move(poll), "");
  }

  void Cancel() override {
    MutexLock lock(mutex_);
    cancelled_ = true;
    context_->http.Cancel(transfer_);
  }

 private:
  struct Poll {
    Done done;  // Whoever it tells owns this source.
    TargetGroup group;
    int pages = 0;
  };

  void Ask(std::shared_ptr<Poll> poll, std::string_view cursor) ABSL_LOCKS_EXCLUDED(mutex_) {
    ClientRequest request;
    request.url = config_.server + "/v2/instances?per_page=100";
    if (!cursor.empty()) request.url += "&cursor=" + PercentEncoded(cursor);
    request.headers = {{"Accept", "application/json"}};
    request.timeout = std::chrono::milliseconds(config_.refresh_interval);
    request.body_bytes_max = kVultrPageBytesMax;
    request.config = http_client_;
    MutexLock lock(mutex_);
    if (cancelled_) return;
    transfer_ = context_->http.Start(
        std::move(request),
        [this, poll = std::move(poll)](absl::StatusOr<ClientResponse> response) mutable {
          context_->workers.Submit(
              [this, poll = std::move(poll), response = std::move(response)]() mutable {
                Take(std::move(poll), response);
              });
        });
  }

  void Take(std::shared_ptr<Poll> poll, const absl::StatusOr<ClientResponse>& response) {
    const absl::StatusOr<std::string> next = ReadPage(*poll, response);
    if (!next.ok()) return poll->done({.status = next.status()});
    if (!next->empty()) return Ask(std::move(poll), *next);
    PollResult result;
    result.groups.push_back(std::move(poll->group));
    poll->done(std::move(result));
  }

  // Adds the page's targets; the cursor of the next page, or "".
  absl::StatusOr<std::string> ReadPage(Poll& poll,
                                       const absl::StatusOr<ClientResponse>& response) const {
    RETURN_IF_ERROR(response.status());
    RETURN_IF_ERROR(CheckStatus(*response));
    simdjson::dom::parser parser;
    ASSIGN_OR_RETURN(const JsonView page, ParseAnswer(parser, response->body));
    if (!page["instances"].exists()) return absl::UnavailableError("expected a list of instances");
    page["instances"].Each([&](JsonView instance) {
      poll.group.targets.push_back(InstanceLabels(instance, config_.port));
    });
    const std::string_view next = page["meta"]["links"]["next"].Text();
    if (!next.empty() && ++poll.pages == kVultrPagesMax) {
      return absl::ResourceExhaustedError(
          fmt::format("more than {} pages of instances", kVultrPagesMax));
    }
    return std::string(next);
  }

  const VultrSdConfig config_;
  const std::shared_ptr<const HttpClientConfig> http_client_;
  const std::shared_ptr<DiscoveryContext> context_;

  Mutex mutex_;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  TransferId transfer_ ABSL_GUARDED_BY(mutex_) = kNoTransfer;
};

}  // namespace

std::unique_ptr<Discovery> NewVultrDiscovery(const VultrSdConfig& config, const std::string& job,
                                             std::shared_ptr<DiscoveryContext> context,
                                             TargetGroupsCallback callback) {
  auto source = std::make_unique<VultrPages>(config, context);
  return NewPolledDiscovery({.config = job,
                             .mechanism = "vultr",
                             .source = config.server,
                             .interval = config.refresh_interval},
                            std::move(source), std::move(context), std::move(callback));
}

}  // namespace varve
