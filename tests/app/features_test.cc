// SPDX-License-Identifier: Apache-2.0
//
// Features: which names are known, and what they turn on.
#include "app/features.h"

#include <doctest/doctest.h>

namespace varve {
namespace {

TEST_CASE("features: every name of Prometheus is known") {
  CHECK(FeatureKindOf("st-storage") == FeatureKind::kUsed);
  CHECK(FeatureKindOf("use-start-timestamps") == FeatureKind::kUsed);
  CHECK(FeatureKindOf("native-histograms") == FeatureKind::kWithoutEffect);
  CHECK(FeatureKindOf("xor2-encoding") == FeatureKind::kWithoutEffect);
  CHECK(FeatureKindOf("st-storag") == FeatureKind::kUnknown);
  CHECK(FeatureKindOf("") == FeatureKind::kUnknown);
}

TEST_CASE("features: start times are read for either use of them") {
  Flags flags;
  CHECK_FALSE(ConfigOptionsOf(flags).start_times);
  CHECK_FALSE(StoresStartTimes(flags));
  CHECK_FALSE(StartsWithZeros(flags));
  flags.features = {"st-storage"};
  CHECK(ConfigOptionsOf(flags).start_times);
  CHECK(StoresStartTimes(flags));
  CHECK_FALSE(StartsWithZeros(flags));
  flags.features = {"created-timestamp-zero-ingestion"};
  CHECK(ConfigOptionsOf(flags).start_times);
  CHECK_FALSE(StoresStartTimes(flags));
  CHECK(StartsWithZeros(flags));
  flags.features = {"type-and-unit-labels"};
  CHECK(ConfigOptionsOf(flags).type_and_unit_labels);
  CHECK_FALSE(ConfigOptionsOf(flags).start_times);
  flags.features = {"extra-scrape-metrics"};
  CHECK(ConfigOptionsOf(flags).extra_scrape_metrics);
  CHECK_FALSE(ConfigOptionsOf(flags).start_times);
}

}  // namespace
}  // namespace varve
