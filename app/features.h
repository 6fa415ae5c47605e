// SPDX-License-Identifier: Apache-2.0
//
// What --enable-feature means for each part.
#pragma once

#include <string_view>

#include "app/config.h"
#include "app/flags.h"
#include "promql/engine.h"
#include "promql/parser.h"

namespace varve {

promql::EngineFeatures FeaturesOf(const Flags& flags);
promql::ParserOptions ParserOptionsOf(const Flags& flags);
ConfigOptions ConfigOptionsOf(const Flags& flags);
bool StoresStartTimes(const Flags& flags);
bool StartsWithZeros(const Flags& flags);  // A series gets a zero at its start time.

// kWithoutEffect: one of Prometheus that is always on here, or not available.
enum class FeatureKind { kUsed, kWithoutEffect, kUnknown };
FeatureKind FeatureKindOf(std::string_view name);
// Says of each feature named what becomes of it.
void LogFeatures(const Flags& flags);

}  // namespace varve
