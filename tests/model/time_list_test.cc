// SPDX-License-Identifier: Apache-2.0
//
// Lists of times that are filled again and again.
#include "model/time_list.h"

#include <doctest/doctest.h>

#include <map>
#include <memory>
#include <random>
#include <utility>
#include <vector>

namespace varve {
namespace {

using Times = std::vector<TimestampMs>;

Times Content(const TimeList& list) { return {list.begin(), list.end()}; }

TEST_CASE("time list: what is the same again keeps its stamp, what is not gets another") {
  TimeList list{1, 2, 3};
  const uint64_t first = list.stamp();
  CHECK(first != 0);
  list.Clear();
  CHECK(list.empty());
  list.push_back(1);
  list.Append({2, 3});
  CHECK(list.stamp() == first);
  list.push_back(4);  // Nothing that was known has changed.
  CHECK(list.stamp() == first);
  list.Clear();
  list.Append({1, 2, 4});
  CHECK(list.stamp() != first);
  CHECK(Content(list) == Times{1, 2, 4});
  const uint64_t second = list.stamp();
  list.Set(1, 2);
  CHECK(list.stamp() == second);
  list.Set(1, 3);
  CHECK(list.stamp() != second);
}

TEST_CASE("time list: copies have stamps of their own, a moved list has left") {
  TimeList list{1, 2};
  TimeList copy = list;
  CHECK(copy == list);
  CHECK(copy.stamp() != list.stamp());
  const uint64_t stamp = list.stamp();
  TimeList moved = std::move(list);
  CHECK(moved.stamp() == stamp);
  list.Clear();  // NOLINT(bugprone-use-after-move): it may be used again.
  list.Append({5, 6});
  CHECK(list.stamp() != stamp);
  CHECK(Content(moved) == Times{1, 2});
}

TEST_CASE("time list: lists that come by turns are kept, up to sixteen") {
  for (const int targets : {16, 17}) {
    TimeList list;
    std::vector<std::shared_ptr<const Times>> sources;
    for (int i = 0; i < targets; ++i) {
      sources.push_back(std::make_shared<Times>(Times{i * 10, i * 10 + 1}));
    }
    const auto fill = [&](int i) {
      list.Clear();
      list.AppendFrom(sources[static_cast<size_t>(i)], 0, *sources[static_cast<size_t>(i)]);
      list.push_back(1000 + i);
      return list.stamp();
    };
    std::vector<uint64_t> stamps;
    for (int i = 0; i < targets; ++i) stamps.push_back(fill(i));
    bool same = true;
    for (int i = 0; i < targets; ++i) same &= fill(i) == stamps[static_cast<size_t>(i)];
    CHECK(same == (targets == 16));
  }
}

TEST_CASE("time list: random fillings hold what was put in, and equal stamps mean equal times") {
  std::mt19937_64 random(7);
  std::vector<std::shared_ptr<const Times>> sources;
  for (int i = 0; i < 4; ++i) {
    auto times = std::make_shared<Times>();
    for (int64_t t = 0; t < 100; ++t) times->push_back(t * 10 + static_cast<int64_t>(random() % 2));
    sources.push_back(times);
  }
  TimeList list;
  std::map<std::pair<uint64_t, size_t>, Times> seen;
  for (int round = 0; round < 5'000; ++round) {
    list.Clear();
    Times expected;
    for (size_t pieces = random() % 5; pieces > 0; --pieces) {
      const auto& source = sources[random() % sources.size()];
      const size_t from = random() % 4 * 25;
      const absl::Span<const TimestampMs> times =
          absl::MakeConstSpan(*source).subspan(from, random() % 2 == 0 ? 25 : random() % 26);
      expected.insert(expected.end(), times.begin(), times.end());
      if (random() % 3 == 0) {
        list.Append(times);
      } else {
        list.AppendFrom(source, from, times);
      }
      if (random() % 16 == 0 && !expected.empty()) {
        expected.resize(random() % (expected.size() + 1));
        list.Truncate(expected.size());
      }
      if (random() % 16 == 0 && !expected.empty()) {
        const size_t at = random() % expected.size();
        list.Set(at, expected[at] = static_cast<int64_t>(random() % 1000));
      }
    }
    REQUIRE(Content(list) == expected);
    if (expected.empty()) continue;
    const auto [it, is_new] = seen.try_emplace({list.stamp(), list.size()}, expected);
    REQUIRE((is_new || it->second == expected));
  }
  CHECK(seen.size() < 5'000);
}

}  // namespace
}  // namespace varve
