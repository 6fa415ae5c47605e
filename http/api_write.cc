// SPDX-License-Identifier: Apache-2.0
//
// What others push: /write. Snappy bodies arrive as they are; gzip ones decompressed.
#include "http/api_context.h"
#include "remote/write.h"

namespace varve {
namespace {

void Write(const ApiContext& context, const HttpRequest& request, HttpResponse& response) {
  if (!context.options.enable_remote_write_receiver || context.backends.write == nullptr) {
    return response.SetText(404,
                            "remote write receiver needs to be enabled with "
                            "--web.enable-remote-write-receiver\n");
  }
  const WriteAnswer answer = context.backends.write->Write(
      request.Header("Content-Type"), request.Header("Content-Encoding"), request.body);
  if (answer.status == 204) {
    response.status = 204;
    return;
  }
  response.SetText(answer.status, answer.message + "\n");
}

void Otlp(const ApiContext&, const HttpRequest&, HttpResponse& response) {
  response.SetText(404,
                   "otlp write receiver needs to be enabled with "
                   "--web.enable-otlp-receiver\n");
}

}  // namespace

void AddWriteRoutes(ApiContext& context, Router& router) {
  router.Add("POST", "/api/v1/write",
             [&context](const HttpRequest& request, HttpResponse& response) {
               Write(context, request, response);
             },
             {.gated = true, .body_bytes_max = kWriteBodyBytesMax});
  router.Add("POST", "/api/v1/otlp/v1/metrics",
             [&context](const HttpRequest& request, HttpResponse& response) {
               Otlp(context, request, response);
             },
             {.gated = true, .body_bytes_max = kWriteBodyBytesMax});
}

}  // namespace varve
