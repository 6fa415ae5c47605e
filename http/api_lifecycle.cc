// SPDX-License-Identifier: Apache-2.0
//
// Health, reload, quit and /metrics.
#include <fmt/format.h>
#include <prometheus/text_serializer.h>

#include "http/api_context.h"
#include "model/status_macros.h"

namespace varve {
namespace {

void Reload(const ApiContext& context, const HttpRequest&, HttpResponse& response) {
  const absl::Status status = context.options.reload ? context.options.reload() : absl::OkStatus();
  if (status.ok()) return response.SetText(200, "");
  response.SetText(500, fmt::format("failed to reload config: {}\n", MessageOf(status)));
}

void Quit(const ApiContext& context, const HttpRequest&, HttpResponse& response) {
  response.SetText(200, "Requesting termination... Goodbye!");
  if (context.options.quit) context.options.quit();
}

void Metrics(const ApiContext& context, const HttpRequest&, HttpResponse& response) {
  std::vector<prometheus::MetricFamily> families;
  for (prometheus::Collectable* collectable : context.options.collectables) {
    std::vector<prometheus::MetricFamily> more = collectable->Collect();
    families.insert(families.end(), std::make_move_iterator(more.begin()),
                    std::make_move_iterator(more.end()));
  }
  response.content_type = "text/plain; version=0.0.4; charset=utf-8";
  response.body = prometheus::TextSerializer().Serialize(families);
}

}  // namespace

void AddLifecycleRoutes(ApiContext& context, Router& router) {
  router.Add("GET", "/-/healthy", [](const HttpRequest&, HttpResponse& response) {
    response.SetText(200, "Prometheus Server is Healthy.\n");
  });
  router.Add("GET", "/-/ready",
             [](const HttpRequest&, HttpResponse& response) {
               response.SetText(200, "Prometheus Server is Ready.\n");
             },
             {.gated = true});
  const auto add_lifecycle = [&](std::string_view path, auto handler) {
    router.AddAll({"POST", "PUT"}, path,
                  [&context, handler](const HttpRequest& request, HttpResponse& response) {
                    if (!context.options.enable_lifecycle) {
                      return response.SetText(403, "Lifecycle API is not enabled.");
                    }
                    handler(context, request, response);
                  });
    router.Add("GET", path, [&context](const HttpRequest&, HttpResponse& response) {
      if (!context.options.enable_lifecycle) {
        return response.SetText(403, "Lifecycle API is not enabled.");
      }
      response.SetText(405, "Only POST or PUT requests allowed.");
    });
  };
  add_lifecycle("/-/reload", Reload);
  add_lifecycle("/-/quit", Quit);
  router.Add("GET", "/metrics", [&context](const HttpRequest& request, HttpResponse& response) {
    Metrics(context, request, response);
  });
}

}  // namespace varve
