// SPDX-License-Identifier: Apache-2.0
//
// Configuration files. Invariant: reading ends with a configuration or an error that names the
// file, and what a configuration shows of itself is never refused as YAML.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "app/config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  const std::string_view text(reinterpret_cast<const char*>(data), bytes);
  const absl::StatusOr<varve::Config> config = varve::ParseConfig(text, "fuzzed");
  if (!config.ok()) {
    const std::string message(config.status().message());
    if (message.find("fuzzed") == std::string::npos) abort();
  }
  return 0;
}
