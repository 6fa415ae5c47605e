// SPDX-License-Identifier: Apache-2.0
//
// Content negotiation as Prometheus does it.
#include "scrape/scrape_request.h"

#include <fmt/format.h>

#include <chrono>

#include "model/labels.h"

namespace varve {
namespace {

// q of the first protocol, in tenths; each further one has a tenth less.
constexpr int kFirstWeight = 6;

std::string_view MediaType(ScrapeProtocol protocol) {
  switch (protocol) {
    case ScrapeProtocol::kPrometheusProto:
      return "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;"
             "encoding=delimited";
    case ScrapeProtocol::kOpenMetricsText1_0_0:
      return "application/openmetrics-text;version=1.0.0";
    case ScrapeProtocol::kOpenMetricsText0_0_1:
      return "application/openmetrics-text;version=0.0.1";
    case ScrapeProtocol::kPrometheusText1_0_0:
      return "text/plain;version=1.0.0";
    case ScrapeProtocol::kPrometheusText0_0_4:
      return "text/plain;version=0.0.4";
  }
  return "";
}

ExpositionFormat FormatOf(ScrapeProtocol protocol) {
  switch (protocol) {
    case ScrapeProtocol::kPrometheusProto:
      return ExpositionFormat::kProtobuf;
    case ScrapeProtocol::kOpenMetricsText1_0_0:
    case ScrapeProtocol::kOpenMetricsText0_0_1:
      return ExpositionFormat::kOpenMetricsText;
    case ScrapeProtocol::kPrometheusText1_0_0:
    case ScrapeProtocol::kPrometheusText0_0_4:
      break;
  }
  return ExpositionFormat::kPrometheusText;
}

// `type/subtype` of a Content-Type, in lower case.
std::string MediaTypeOf(std::string_view content_type) {
  std::string type(content_type.substr(0, content_type.find(';')));
  const size_t start = type.find_first_not_of(" \t");
  const size_t stop = type.find_last_not_of(" \t");
  if (start == std::string::npos) return "";
  type = type.substr(start, stop - start + 1);
  for (char& c : type) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  return type;
}

}  // namespace

std::string AcceptHeader(const ScrapeConfig& config) {
  std::string header;
  int weight = kFirstWeight;
  for (const ScrapeProtocol protocol : config.protocols) {
    const std::string_view type = MediaType(protocol);
    header += type;
    if (type.ends_with("=1.0.0")) header += fmt::format(";escaping={}", config.escaping_scheme);
    header += fmt::format(";q=0.{},", weight--);
  }
  return header + fmt::format("*/*;q=0.{}", weight);
}

ClientRequest ScrapeRequest(const ScrapeConfig& config, const Target& target,
                            const std::string& accept) {
  ClientRequest request;
  request.url = target.url;
  request.unix_socket = target.unix_socket;
  request.headers.push_back({"Accept", accept});
  request.headers.push_back({"X-Prometheus-Scrape-Timeout-Seconds",
                             FormatFloat(static_cast<double>(target.timeout) / kSecond)});
  request.timeout = std::chrono::milliseconds(target.timeout);
  request.accept_gzip = config.enable_compression;
  const uint64_t limit = config.limits.body_size_bytes;
  request.body_bytes_max = limit > 0 ? limit - 1 : kScrapeBodyBytesMax;
  return request;
}

absl::StatusOr<ExpositionFormat> AnswerFormat(const ScrapeConfig& config,
                                              const ClientResponse& response) {
  if (response.status != 200) {
    return absl::UnavailableError(fmt::format("server returned HTTP status {}", response.reason));
  }
  const std::string_view content_type = response.Header("content-type");
  const std::string type = MediaTypeOf(content_type);
  if (type == "application/openmetrics-text") return ExpositionFormat::kOpenMetricsText;
  if (type == "text/plain") return ExpositionFormat::kPrometheusText;
  if (type == "application/vnd.google.protobuf") return ExpositionFormat::kProtobuf;
  if (!config.fallback_protocol.empty()) return FormatOf(config.fallback_protocol[0]);
  if (content_type.empty()) {
    return absl::InvalidArgumentError(
        "non-compliant scrape target sending blank Content-Type and no fallback_scrape_protocol "
        "specified for target");
  }
  return absl::InvalidArgumentError(
      fmt::format("received unsupported Content-Type {} and no fallback_scrape_protocol specified "
                  "for target",
                  Quoted(content_type)));
}

}  // namespace varve
