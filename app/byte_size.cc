// SPDX-License-Identifier: Apache-2.0
//
// Bytes with units.
#include "app/byte_size.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <optional>

#include "model/time.h"

namespace varve {
namespace {

constexpr std::array<std::string_view, 7> kUnits = {"", "K", "M", "G", "T", "P", "E"};

}  // namespace

absl::StatusOr<uint64_t> ParseByteSize(std::string_view text) {
  if (text == "0") return uint64_t{0};
  const size_t unit_at = text.find_first_not_of("0123456789.");
  const std::string_view unit =
      unit_at == std::string_view::npos ? std::string_view() : text.substr(unit_at);
  const std::optional<double> number = ParseFloat(text.substr(0, unit_at));
  for (size_t i = 0; i < kUnits.size(); ++i) {
    const bool matches =
        i == 0 ? unit == "B"
               : unit.starts_with(kUnits[i]) && (unit.substr(1) == "B" || unit.substr(1) == "iB");
    if (!matches || !number) continue;
    const double bytes = std::ldexp(*number, static_cast<int>(10 * i));
    if (bytes >= 0x1p63) return absl::InvalidArgumentError("units: value out of range");
    return static_cast<uint64_t>(bytes);
  }
  return absl::InvalidArgumentError(fmt::format("units: unknown unit {} in {}", unit, text));
}

std::string FormatByteSize(uint64_t bytes) {
  size_t unit = 0;
  while (bytes != 0 && bytes % 1024 == 0 && unit + 1 < kUnits.size()) {
    bytes /= 1024;
    ++unit;
  }
  return fmt::format("{}{}", bytes, unit == 0 ? "B" : fmt::format("{}iB", kUnits[unit]));
}

}  // namespace varve
