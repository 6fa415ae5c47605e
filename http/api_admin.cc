// SPDX-License-Identifier: Apache-2.0
//
// /admin/tsdb/*: refused unless enabled.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>

#include "http/api_context.h"
#include "model/labels.h"
#include "model/status_macros.h"

namespace varve {

namespace {

void DeleteSeries(ApiContext& context, const HttpRequest& request, HttpResponse& response) {
  if (!request.params.Has("match[]")) {
    return AnswerBadData("no match[] parameter provided", response);
  }
  const absl::StatusOr<TimestampMs> start = TimeParameter(request, "start", kMinTimestamp);
  if (!start.ok()) return AnswerInvalidParameter("start", MessageOf(start.status()), response);
  const absl::StatusOr<TimestampMs> end = TimeParameter(request, "end", kMaxTimestamp);
  if (!end.ok()) return AnswerInvalidParameter("end", MessageOf(end.status()), response);
  const auto matcher_sets = MatchParameters(request);
  if (!matcher_sets.ok()) {
    return AnswerInvalidParameter("match[]", MessageOf(matcher_sets.status()), response);
  }
  const absl::Status status = context.backends.admin->DeleteSeries(*matcher_sets, *start, *end);
  if (!status.ok()) return AnswerInternal(status, response);
  response.status = 204;
}

void CleanTombstones(ApiContext& context, const HttpRequest& /*request*/, HttpResponse& response) {
  const absl::Status status = context.backends.admin->CleanTombstones();
  if (!status.ok()) return AnswerInternal(status, response);
  response.status = 204;
}

void Snapshot(ApiContext& context, const HttpRequest& request, HttpResponse& response) {
  // What the head holds lies in the log, which is part of every snapshot.
  const std::string_view skip_head = request.params.Get("skip_head");
  constexpr std::string_view kBooleans[] = {"",  "1", "t", "T",     "TRUE",  "true", "True",
                                            "0", "f", "F", "FALSE", "false", "False"};
  if (std::find(std::begin(kBooleans), std::end(kBooleans), skip_head) == std::end(kBooleans)) {
    return AnswerInvalidParameter(
        "skip_head",
        fmt::format("unable to parse boolean: strconv.ParseBool: parsing {}: invalid syntax",
                    Quoted(skip_head)),
        response);
  }
  const absl::StatusOr<std::string> name = context.backends.admin->Snapshot();
  if (!name.ok()) return AnswerInternal(name.status(), response);
  AnswerData(response, [&](JsonWriter& json) {
    json.BeginObject();
    json.Member("name", *name);
    json.EndObject();
  });
}

}  // namespace

void AddAdminRoutes(ApiContext& context, Router& router) {
  using Handler = void (*)(ApiContext&, const HttpRequest&, HttpResponse&);
  const std::pair<const char*, Handler> routes[] = {
      {"/api/v1/admin/tsdb/delete_series", DeleteSeries},
      {"/api/v1/admin/tsdb/clean_tombstones", CleanTombstones},
      {"/api/v1/admin/tsdb/snapshot", Snapshot},
  };
  for (const auto& [path, handler] : routes) {
    router.AddAll(
        {"POST", "PUT"}, path,
        [&context, handler = handler](const HttpRequest& request, HttpResponse& response) {
          if (!context.options.enable_admin_api) {
            return AnswerError({ApiErrorType::kUnavailable, "admin APIs disabled"}, response);
          }
          if (context.backends.admin == nullptr) {
            return AnswerError({ApiErrorType::kUnavailable, "there is no storage"}, response);
          }
          handler(context, request, response);
        },
        {.gated = true});
  }
}

}  // namespace varve
