// SPDX-License-Identifier: Apache-2.0
//
// The routes together.
#include "http/api.h"

#include <utility>

#include "http/api_context.h"
#include "model/check.h"

namespace varve {

struct Api::Impl {
  ApiContext context;
};

Api::Api(ApiOptions options) : impl_(std::make_unique<Impl>()) {
  impl_->context.options = std::move(options);
}

Api::~Api() = default;

void Api::AddRoutes(Router& router) {
  ApiContext& context = impl_->context;
  AddQueryRoutes(context, router);
  AddLabelRoutes(context, router);
  AddParseRoutes(context, router);
  AddTargetRoutes(context, router);
  AddRelabelRoutes(context, router);
  AddRuleRoutes(context, router);
  AddStatusRoutes(context, router);
  AddWriteRoutes(context, router);
  AddFederateRoute(context, router);
  AddLifecycleRoutes(context, router);
  AddAdminRoutes(context, router);
  AddConsoleRoutes(context, router);
}

void Api::Attach(ApiBackends backends) {
  INVARIANT(backends.storage != nullptr && backends.engine != nullptr);
  impl_->context.backends = std::move(backends);
}

}  // namespace varve
