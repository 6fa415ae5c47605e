// SPDX-License-Identifier: Apache-2.0
//
// Bytes with units, both ways.
#include "app/byte_size.h"

#include <doctest/doctest.h>

namespace varve {
namespace {

TEST_CASE("byte sizes: units are powers of 1024") {
  struct Case {
    const char* text;
    uint64_t bytes;
    const char* formatted;
  };
  const Case cases[] = {
      {"0", 0, "0B"},
      {"1B", 1, "1B"},
      {"1500B", 1500, "1500B"},
      {"1KB", 1024, "1KiB"},
      {"512MB", 512 << 20, "512MiB"},
      {"512MiB", 512 << 20, "512MiB"},
      {"1.5GB", 3 << 29, "1536MiB"},
      {"1EB", uint64_t{1} << 60, "1EiB"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.text);
    CHECK(ParseByteSize(c.text).value_or(~uint64_t{0}) == c.bytes);
    CHECK(FormatByteSize(c.bytes) == c.formatted);
  }
  for (const char* bad : {"", "5", "MB", "1XB", "1MBB", "-1MB", "8EB", "1 MB"}) {
    CAPTURE(bad);
    CHECK_FALSE(ParseByteSize(bad).ok());
  }
}

}  // namespace
}  // namespace varve
