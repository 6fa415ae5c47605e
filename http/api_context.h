// SPDX-License-Identifier: Apache-2.0
//
// What the API's handlers share: options and backends, reading parameters, and Prometheus' response
// envelope with its error types.
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "http/api.h"
#include "http/json_writer.h"
#include "model/annotations.h"
#include "model/matcher.h"

namespace varve {

struct ApiContext {
  ApiOptions options;
  ApiBackends backends;  // Set before any gated handler runs.
};

enum class ApiErrorType {
  kBadData,
  kExecution,
  kCanceled,
  kTimeout,
  kInternal,
  kUnavailable,
  kNotFound,
};

struct ApiError {
  ApiErrorType type = ApiErrorType::kBadData;
  std::string message;
};

// Answers with the error envelope and the status of its type.
void AnswerError(const ApiError& error, HttpResponse& response);
void AnswerBadData(std::string message, HttpResponse& response);
// `invalid parameter "NAME": MESSAGE`.
void AnswerInvalidParameter(std::string_view name, std::string_view message,
                            HttpResponse& response);
// The engine's failure with its type; a query that does not parse is an invalid parameter "query".
void AnswerQueryError(const absl::Status& status, HttpResponse& response);
void AnswerInternal(const absl::Status& status, HttpResponse& response);

// Answers with the success envelope around what `write_data` writes (exactly one value).
void AnswerData(HttpResponse& response, const std::function<void(JsonWriter&)>& write_data,
                const Annotations& annotations = {});

// Parts of the success envelope, for answers that stream.
void BeginEnvelope(JsonWriter& json);
void EndEnvelope(JsonWriter& json, const Annotations& annotations);

inline constexpr std::string_view kTruncatedWarning = "results truncated due to limit";

// The parameter `name` as a time, `fallback` if it is absent. InvalidArgument
// `Invalid time value for 'NAME': cannot parse ...`.
absl::StatusOr<TimestampMs> TimeParameter(const HttpRequest& request, std::string_view name,
                                          TimestampMs fallback);

// `limit`; 0 if absent. InvalidArgument for what is no number or negative.
absl::StatusOr<uint64_t> LimitParameter(const HttpRequest& request);

// All `match[]` parameters. InvalidArgument for what does not parse or matches everything.
absl::StatusOr<std::vector<std::vector<Matcher>>> MatchParameters(const HttpRequest& request);

// Reads a whole number as Go's strconv.Atoi does; InvalidArgument
// `strconv.Atoi: parsing "x": invalid syntax`.
absl::StatusOr<int64_t> ParseInteger(std::string_view text);

// Routes by subject, each in its own source.
void AddQueryRoutes(ApiContext& context, Router& router);
void AddLabelRoutes(ApiContext& context, Router& router);
void AddParseRoutes(ApiContext& context, Router& router);
void AddTargetRoutes(ApiContext& context, Router& router);
void AddRelabelRoutes(ApiContext& context, Router& router);
void AddRuleRoutes(ApiContext& context, Router& router);
void AddStatusRoutes(ApiContext& context, Router& router);
void AddLifecycleRoutes(ApiContext& context, Router& router);
void AddWriteRoutes(ApiContext& context, Router& router);
void AddFederateRoute(ApiContext& context, Router& router);
void AddAdminRoutes(ApiContext& context, Router& router);
void AddConsoleRoutes(ApiContext& context, Router& router);

}  // namespace varve
