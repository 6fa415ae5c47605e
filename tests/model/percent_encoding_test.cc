// SPDX-License-Identifier: Apache-2.0
//
// What stays as it is in a URL, and how the rest is written.
#include "model/percent_encoding.h"

#include <doctest/doctest.h>

namespace varve {
namespace {

TEST_CASE("percent encoding: what is plain, kept and escaped") {
  CHECK(PercentEncoded("") == "");
  CHECK(PercentEncoded("azAZ09-_.~") == "azAZ09-_.~");
  CHECK(PercentEncoded("a b/c+%\xff\n") == "a%20b%2Fc%2B%25%FF%0A");
  CHECK(PercentEncoded("/a b:1", "/:") == "/a%20b:1");
  CHECK(QueryEncoded("a b+c=\xc3\xa9") == "a+b%2Bc%3D%C3%A9");
}

}  // namespace
}  // namespace varve
