// SPDX-License-Identifier: Apache-2.0
//
// Annotations: deduplicated, capped.

#include "model/annotations.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "model/appendable.h"

namespace varve {
namespace {

TEST_CASE("annotations: each text once, the eleventh is counted") {
  Annotations annotations;
  for (int i = 0; i < 12; ++i) {
    annotations.AddWarning(fmt::format("w{}", i));
    annotations.AddWarning("w0");
  }
  Annotations other;
  other.AddInfo("i");
  annotations.Merge(other);
  annotations.Merge(other);
  CHECK(annotations.warnings().size() == 12);
  const auto shown = annotations.ShownWarnings();
  REQUIRE(shown.size() == 11);
  CHECK(shown.back() == "2 more warning annotations omitted");
  CHECK(annotations.ShownInfos() == std::vector<std::string>{"i"});
}

TEST_CASE("append errors travel in a status") {
  const absl::Status status = AppendErrorStatus(AppendError::kDuplicateTimestamp);
  CHECK(status.message() == "duplicate sample for timestamp");
  CHECK(AppendErrorOf(status) == AppendError::kDuplicateTimestamp);
  CHECK(AppendErrorOf(absl::InternalError("x")) == AppendError::kNone);
  CHECK(AppendErrorStatus(AppendError::kLimit, "series limit 5 reached").message() ==
        "series limit 5 reached");
}

}  // namespace
}  // namespace varve
