// SPDX-License-Identifier: Apache-2.0
//
// Envelope and parameters, in Prometheus' words.
#include "http/api_context.h"

#include <fmt/format.h>

#include <charconv>
#include <utility>

#include "model/status_macros.h"

namespace varve {
namespace {

struct ErrorTypeInfo {
  std::string_view text;
  int status;
};

ErrorTypeInfo InfoOf(ApiErrorType type) {
  switch (type) {
    case ApiErrorType::kBadData:
      return {"bad_data", 400};
    case ApiErrorType::kExecution:
      return {"execution", 422};
    case ApiErrorType::kCanceled:
      return {"canceled", 499};
    case ApiErrorType::kTimeout:
      return {"timeout", 503};
    case ApiErrorType::kInternal:
      return {"internal", 500};
    case ApiErrorType::kUnavailable:
      return {"unavailable", 500};
    case ApiErrorType::kNotFound:
      return {"not_found", 404};
  }
  return {"internal", 500};
}

void WriteTexts(JsonWriter& json, std::string_view key, const std::vector<std::string>& texts) {
  if (texts.empty()) return;
  json.Key(key);
  json.BeginArray();
  for (const std::string& text : texts) json.String(text);
  json.EndArray();
}

bool MatchesEverything(const std::vector<Matcher>& matchers) {
  for (const Matcher& matcher : matchers) {
    if (!matcher.MatchesEmpty()) return false;
  }
  return true;
}

}  // namespace

void AnswerError(const ApiError& error, HttpResponse& response) {
  const ErrorTypeInfo info = InfoOf(error.type);
  JsonWriter json;
  json.BeginObject();
  json.Member("status", "error");
  json.Member("errorType", info.text);
  json.Member("error", error.message);
  json.EndObject();
  response.status = info.status;
  response.content_type = "application/json";
  response.body = json.Take();
}

void AnswerBadData(std::string message, HttpResponse& response) {
  AnswerError({ApiErrorType::kBadData, std::move(message)}, response);
}

void AnswerInvalidParameter(std::string_view name, std::string_view message,
                            HttpResponse& response) {
  AnswerBadData(fmt::format("invalid parameter \"{}\": {}", name, message), response);
}

void AnswerQueryError(const absl::Status& status, HttpResponse& response) {
  const std::string message = MessageOf(status);
  switch (promql::QueryErrorTypeOf(status)) {
    case promql::QueryErrorType::kBadData:
      return AnswerInvalidParameter("query", message, response);
    case promql::QueryErrorType::kExecution:
      return AnswerError({ApiErrorType::kExecution, message}, response);
    case promql::QueryErrorType::kTimeout:
      return AnswerError({ApiErrorType::kTimeout, message}, response);
    case promql::QueryErrorType::kCanceled:
      return AnswerError({ApiErrorType::kCanceled, message}, response);
    case promql::QueryErrorType::kUnavailable:
      return AnswerError({ApiErrorType::kUnavailable, message}, response);
    case promql::QueryErrorType::kInternal:
      return AnswerError({ApiErrorType::kInternal, message}, response);
  }
}

void AnswerInternal(const absl::Status& status, HttpResponse& response) {
  AnswerError({ApiErrorType::kInternal, MessageOf(status)}, response);
}

void BeginEnvelope(JsonWriter& json) {
  json.BeginObject();
  json.Member("status", "success");
  json.Key("data");
}

void EndEnvelope(JsonWriter& json, const Annotations& annotations) {
  WriteTexts(json, "warnings", annotations.ShownWarnings());
  WriteTexts(json, "infos", annotations.ShownInfos());
  json.EndObject();
}

void AnswerData(HttpResponse& response, const std::function<void(JsonWriter&)>& write_data,
                const Annotations& annotations) {
  JsonWriter json;
  BeginEnvelope(json);
  write_data(json);
  EndEnvelope(json, annotations);
  response.content_type = "application/json";
  response.body = json.Take();
}

absl::StatusOr<TimestampMs> TimeParameter(const HttpRequest& request, std::string_view name,
                                          TimestampMs fallback) {
  const std::string_view text = request.params.Get(name);
  if (text.empty()) return fallback;
  absl::StatusOr<TimestampMs> time = ParseApiTime(text);
  if (!time.ok()) {
    return absl::InvalidArgumentError(
        fmt::format("Invalid time value for '{}': {}", name, MessageOf(time.status())));
  }
  return time;
}

absl::StatusOr<int64_t> ParseInteger(std::string_view text) {
  int64_t value = 0;
  std::string_view digits = text;
  if (digits.starts_with('+')) digits.remove_prefix(1);
  const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  const bool whole = result.ptr == digits.data() + digits.size() && !digits.empty() &&
                     !(text.starts_with('+') && digits.starts_with('-'));
  if (result.ec == std::errc::result_out_of_range && whole) {
    return absl::InvalidArgumentError(
        fmt::format("strconv.Atoi: parsing {}: value out of range", Quoted(text)));
  }
  if (result.ec != std::errc() || !whole) {
    return absl::InvalidArgumentError(
        fmt::format("strconv.Atoi: parsing {}: invalid syntax", Quoted(text)));
  }
  return value;
}

absl::StatusOr<uint64_t> LimitParameter(const HttpRequest& request) {
  const std::string_view text = request.params.Get("limit");
  if (text.empty()) return 0;
  ASSIGN_OR_RETURN(const int64_t limit, ParseInteger(text));
  if (limit < 0) return absl::InvalidArgumentError("limit must be non-negative");
  return static_cast<uint64_t>(limit);
}

absl::StatusOr<std::vector<std::vector<Matcher>>> MatchParameters(const HttpRequest& request) {
  std::vector<std::vector<Matcher>> sets;
  for (const std::string& text : request.params.All("match[]")) {
    ASSIGN_OR_RETURN(std::vector<Matcher> matchers, promql::ParseMetricSelector(text));
    if (MatchesEverything(matchers)) {
      return absl::InvalidArgumentError("match[] must contain at least one non-empty matcher");
    }
    sets.push_back(std::move(matchers));
  }
  return sets;
}

}  // namespace varve
