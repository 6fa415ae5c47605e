// SPDX-License-Identifier: Apache-2.0
//
// Room is used again, the last given back first, and no more is kept than allowed.
#include "net/body_pool.h"

#include <doctest/doctest.h>

#include <utility>

#include "net/received_body.h"

namespace varve {
namespace {

TEST_CASE("body pool: what was given back last is taken first") {
  BodyPool pool;
  std::string first = pool.Take(1000);
  std::string second = pool.Take(1000);
  CHECK(first.capacity() >= 1000);
  first = "text of the first";
  const char* const first_room = first.data();
  const char* const second_room = second.data();
  pool.Return(std::move(second));
  pool.Return(std::move(first));
  std::string again = pool.Take(1000);
  CHECK(again.data() == first_room);
  CHECK(ReceivedBody(std::move(again)).Take().empty());
  CHECK(pool.Take(10).data() == second_room);
  CHECK(pool.Take(2000).capacity() >= 2000);
}

TEST_CASE("body pool: the bytes it keeps, exactly and one more") {
  const auto kept = [](size_t bytes) {
    BodyPool pool;
    std::string body = pool.Take(bytes);
    const size_t capacity = body.capacity();
    const char* const room = body.data();
    pool.Return(std::move(body));
    return pool.Take(1).data() == room && capacity == bytes;
  };
  CHECK(kept(BodyPool::kBytesMax));
  CHECK_FALSE(kept(BodyPool::kBytesMax + 1));
}

}  // namespace
}  // namespace varve
