// SPDX-License-Identifier: Apache-2.0
//
// What --enable-feature means for the query language.
#pragma once

#include "app/flags.h"
#include "promql/engine.h"
#include "promql/parser.h"

namespace varve {

promql::EngineFeatures FeaturesOf(const Flags& flags);
promql::ParserOptions ParserOptionsOf(const Flags& flags);

}  // namespace varve
