// SPDX-License-Identifier: Apache-2.0
//
// By name, as Prometheus calls them.
#include "app/features.h"

namespace varve {

promql::EngineFeatures FeaturesOf(const Flags& flags) {
  return {
      .experimental_functions = flags.HasFeature("promql-experimental-functions"),
      .extended_range_selectors = flags.HasFeature("promql-extended-range-selectors"),
      .binop_fill_modifiers = flags.HasFeature("promql-binop-fill-modifiers"),
      .delayed_name_removal = flags.HasFeature("promql-delayed-name-removal"),
      .use_start_timestamps = flags.HasFeature("use-start-timestamps"),
      .type_and_unit_labels = flags.HasFeature("type-and-unit-labels"),
      .per_step_stats = flags.HasFeature("promql-per-step-stats"),
  };
}

promql::ParserOptions ParserOptionsOf(const Flags& flags) {
  const promql::EngineFeatures features = FeaturesOf(flags);
  return {.experimental_functions = features.experimental_functions,
          .fill_modifiers = features.binop_fill_modifiers,
          .extended_range_selectors = features.extended_range_selectors};
}

}  // namespace varve
