// SPDX-License-Identifier: Apache-2.0
//
// Goal: targets are asked for formats as Prometheus asks, and what they say they answer in decides
// how it is read.
#include "scrape/scrape_request.h"

#include <doctest/doctest.h>

#include <optional>
#include <string>

#include "model/status_macros.h"

namespace varve {
namespace {

constexpr std::string_view kProto =
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";

TEST_CASE("scrape request: the Accept header") {
  ScrapeConfig config;
  config.protocols = {ScrapeProtocol::kOpenMetricsText1_0_0, ScrapeProtocol::kOpenMetricsText0_0_1,
                      ScrapeProtocol::kPrometheusText1_0_0, ScrapeProtocol::kPrometheusText0_0_4};
  CHECK(AcceptHeader(config) ==
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
        "application/openmetrics-text;version=0.0.1;q=0.5,"
        "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,"
        "*/*;q=0.2");
  config.protocols.insert(config.protocols.begin(), ScrapeProtocol::kPrometheusProto);
  config.escaping_scheme = "underscores";
  CHECK(AcceptHeader(config) ==
        std::string(kProto) +
            ";q=0.6,application/openmetrics-text;version=1.0.0;escaping=underscores;q=0.5,"
            "application/openmetrics-text;version=0.0.1;q=0.4,"
            "text/plain;version=1.0.0;escaping=underscores;q=0.3,text/plain;version=0.0.4;q=0.2,"
            "*/*;q=0.1");
  config.protocols = {ScrapeProtocol::kPrometheusText0_0_4};
  CHECK(AcceptHeader(config) == "text/plain;version=0.0.4;q=0.6,*/*;q=0.5");
}

// The format of an answer, or nothing.
std::optional<ExpositionFormat> FormatOfAnswer(const ScrapeConfig& config,
                                               const std::string& content_type) {
  ClientResponse response;
  response.status = 200;
  if (!content_type.empty()) response.headers.push_back({"content-type", content_type});
  const auto format = AnswerFormat(config, response);
  return format.ok() ? std::optional(*format) : std::nullopt;
}

TEST_CASE("scrape request: the format of an answer") {
  ScrapeConfig config;
  using Format = ExpositionFormat;
  CHECK(FormatOfAnswer(config, "text/plain") == Format::kPrometheusText);
  CHECK(FormatOfAnswer(config, "Text/Plain ; version=0.0.4") == Format::kPrometheusText);
  CHECK(FormatOfAnswer(config, "application/openmetrics-text; version=1.0.0") ==
        Format::kOpenMetricsText);
  CHECK(FormatOfAnswer(config, std::string(kProto)) == Format::kProtobuf);
  CHECK(FormatOfAnswer(config, "") == std::nullopt);
  CHECK(FormatOfAnswer(config, "text/html") == std::nullopt);
  config.fallback_protocol = {ScrapeProtocol::kPrometheusProto};
  CHECK(FormatOfAnswer(config, "") == Format::kProtobuf);
  CHECK(FormatOfAnswer(config, "text/html") == Format::kProtobuf);
  CHECK(FormatOfAnswer(config, "text/plain") == Format::kPrometheusText);
  config.fallback_protocol = {ScrapeProtocol::kOpenMetricsText0_0_1};
  CHECK(FormatOfAnswer(config, "text/html") == Format::kOpenMetricsText);
  config.fallback_protocol = {ScrapeProtocol::kPrometheusText1_0_0};
  CHECK(FormatOfAnswer(config, "text/html") == Format::kPrometheusText);
}

}  // namespace
}  // namespace varve
