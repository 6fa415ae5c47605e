// SPDX-License-Identifier: Apache-2.0
//
// /admin/tsdb/*: refused unless enabled. The storage has none of the three operations yet, and says
// so.
#include "http/api_context.h"

namespace varve {

void AddAdminRoutes(ApiContext& context, Router& router) {
  for (const char* path : {"/api/v1/admin/tsdb/delete_series",
                           "/api/v1/admin/tsdb/clean_tombstones", "/api/v1/admin/tsdb/snapshot"}) {
    router.AddAll({"POST", "PUT"}, path,
                  [&context](const HttpRequest&, HttpResponse& response) {
                    const char* reason = context.options.enable_admin_api
                                             ? "not supported by this storage"
                                             : "admin APIs disabled";
                    AnswerError({ApiErrorType::kUnavailable, reason}, response);
                  },
                  {.gated = true});
  }
}

}  // namespace varve
