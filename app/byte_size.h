// SPDX-License-Identifier: Apache-2.0
//
// Numbers of bytes as flags and configuration write them: `512MB`, `1.5GiB`. All units are powers
// of 1024, as in Prometheus.
#pragma once

#include <absl/status/statusor.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace varve {

// InvalidArgument for what is no number with a unit; `0` needs none.
absl::StatusOr<uint64_t> ParseByteSize(std::string_view text);

// In the largest unit that divides it: `512MiB`.
std::string FormatByteSize(uint64_t bytes);

}  // namespace varve
