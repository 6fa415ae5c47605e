// SPDX-License-Identifier: Apache-2.0
//
// The notation of series in test scripts: `name{label="value"} 1+2x3 _ stale {{schema:0 count:1}}`.
#pragma once

#include <absl/status/statusor.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/histogram.h"
#include "model/labels.h"
#include "model/time.h"

namespace varve::script {

// One value of a sequence; neither of both = a gap.
struct SequenceValue {
  std::optional<double> value;
  std::optional<Histogram> histogram;
  bool hint_given = false;  // The histogram's reset hint was written out.
};

struct SeriesLine {
  Labels labels;
  bool start_times = false;  // `series@st offsets`.
  std::vector<SequenceValue> values;
  std::vector<std::optional<DurationMs>> offsets;  // With start_times.
};

// The error for text of a script that is not as it should be.
absl::Status Invalid(std::string_view what, std::string_view text);

// Values a sequence may expand to.
inline constexpr size_t kSequenceValuesMax = 1'000'000;

absl::StatusOr<SeriesLine> ParseSeriesLine(std::string_view line);
absl::StatusOr<std::vector<SequenceValue>> ParseSequence(std::string_view text);
// A duration with an optional sign, or a number of seconds.
absl::StatusOr<DurationMs> ParseScriptDuration(std::string_view text);

}  // namespace varve::script
