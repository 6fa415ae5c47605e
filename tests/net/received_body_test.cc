// SPDX-License-Identifier: Apache-2.0
//
// Bodies that come by pieces and into room, with and without something in it before.
#include "net/received_body.h"

#include <doctest/doctest.h>

namespace varve {
namespace {

void Write(ReceivedBody& body, std::string_view bytes, size_t room) {
  const absl::Span<char> into = body.Room(room);
  REQUIRE(into.size() == room);
  std::memcpy(into.data(), bytes.data(), bytes.size());
  body.Wrote(bytes.size());
}

TEST_CASE("received body: nothing of what the room held is left") {
  for (const char* const held : {"", "old", "an earlier body, longer than all that comes"}) {
    CAPTURE(held);
    ReceivedBody body{std::string(held)};
    CHECK(body.size() == 0);
    body.Append("ab");
    Write(body, "cde", 3);
    Write(body, "f", 40);
    body.Append("ghi");
    Write(body, "", 5);
    CHECK(body.size() == 9);
    CHECK(body.Take() == "abcdefghi");
    CHECK(body.size() == 0);
    CHECK(body.Take().empty());
  }
  CHECK(ReceivedBody(std::string("never touched")).Take().empty());
}

TEST_CASE("received body: room is used where it is") {
  std::string room(100, 'x');
  const char* const at = room.data();
  ReceivedBody body(std::move(room));
  Write(body, "abc", 50);
  body.Append("def");
  const std::string taken = body.Take();
  CHECK(taken == "abcdef");
  CHECK(taken.data() == at);
}

}  // namespace
}  // namespace varve
