// SPDX-License-Identifier: Apache-2.0
//
// One request per poll.
#include "scrape/discovery/http.h"

#include <fmt/format.h>

#include <chrono>
#include <utility>

#include "model/labels.h"
#include "model/status_macros.h"
#include "scrape/discovery/poll.h"
#include "scrape/discovery/target_groups.h"

namespace varve {
namespace {

constexpr std::string_view kJson = "application/json";

absl::StatusOr<std::vector<TargetGroup>> ReadTargetList(const std::string& url,
                                                        const ClientResponse& response) {
  const std::string_view type = response.Header("content-type");
  if (type.substr(0, type.find(';')) != kJson) {
    return absl::UnavailableError(fmt::format("unsupported content type {}", Quoted(type)));
  }
  return ParseTargetGroups(response.body, url, "__meta_url");
}

}  // namespace

std::unique_ptr<Discovery> NewHttpDiscovery(const HttpSdConfig& config, const std::string& job,
                                            std::shared_ptr<DiscoveryContext> context,
                                            TargetGroupsCallback callback) {
  ClientRequest request;
  request.url = config.url;
  request.headers = {{"Accept", std::string(kJson)},
                     {"X-Prometheus-Refresh-Interval-Seconds",
                      fmt::format("{}", static_cast<double>(config.refresh_interval) / 1000)}};
  request.timeout = std::chrono::milliseconds(config.refresh_interval);
  request.body_bytes_max = kTargetListBytesMax;
  request.config = std::make_shared<HttpClientConfig>(config.http_client);
  auto read = [url = config.url](const std::vector<ClientResponse>& answers) {
    return ReadTargetList(url, answers[0]);
  };
  auto source = NewHttpPollSource({std::move(request)}, std::move(read), context);
  return NewPolledDiscovery({.config = job,
                             .mechanism = "http",
                             .source = RedactUrl(config.url),
                             .interval = config.refresh_interval},
                            std::move(source), std::move(context), std::move(callback));
}

}  // namespace varve
