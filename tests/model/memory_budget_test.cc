// SPDX-License-Identifier: Apache-2.0
//
// The memory budget against a made-up process and a clock that stands still.
#include "model/memory_budget.h"

#include <doctest/doctest.h>

#include <thread>
#include <vector>

namespace varve {
namespace {

struct Process {
  uint64_t resident = 0;
  uint64_t freed = 0;  // Resident bytes the allocator would give back.
  int releases = 0;
  ManualClock clock{0};
  MemoryBudget budget;

  explicit Process(uint64_t limit)
      : budget({.limit = limit,
                .resident = [this] { return resident; },
                .release_freed =
                    [this] {
                      ++releases;
                      resident -= freed;
                      freed = 0;
                    },
                .clock = &clock}) {}
};

TEST_CASE("memory budget: queries end at the limit, one byte past it is refused and not added") {
  MemoryBudget budget(1000);
  budget.Set(MemoryPart::kHead, 400);
  CHECK(budget.ChargeQuery(600));
  CHECK(budget.used() == 1000);
  CHECK(!budget.ChargeQuery(1));
  CHECK(budget.Of(MemoryPart::kQueries) == 600);
  CHECK(budget.refused(MemoryUse::kQuery) == 1);
  budget.Subtract(MemoryPart::kQueries, 1);
  CHECK(budget.ChargeQuery(1));
}

TEST_CASE("memory budget: the order in which uses are refused, at each limit and one past it") {
  MemoryBudget budget(1000);
  const auto allowed = [&](uint64_t bytes) {
    budget.Set(MemoryPart::kHead, bytes);
    std::vector<bool> uses;
    for (const MemoryUse use :
         {MemoryUse::kQuery, MemoryUse::kNewSeries, MemoryUse::kKnownSeries}) {
      uses.push_back(budget.Allows(use));
    }
    return uses;
  };
  CHECK(allowed(1000) == std::vector<bool>{true, true, true});
  CHECK(allowed(1001) == std::vector<bool>{false, true, true});
  CHECK(allowed(1100) == std::vector<bool>{false, true, true});
  CHECK(allowed(1101) == std::vector<bool>{false, false, true});
  CHECK(allowed(1250) == std::vector<bool>{false, false, true});
  CHECK(allowed(1251) == std::vector<bool>{false, false, false});
  CHECK(budget.refused(MemoryUse::kQuery) == 5);
  CHECK(budget.refused(MemoryUse::kNewSeries) == 3);
  CHECK(budget.refused(MemoryUse::kKnownSeries) == 1);
}

TEST_CASE("memory budget: samples of known series are not refused for what queries take") {
  Process process(1000);
  REQUIRE(process.budget.ChargeQuery(300));
  const auto allows_known = [&](uint64_t resident) {
    process.resident = resident;
    process.budget.Refresh();
    return process.budget.Allows(MemoryUse::kKnownSeries);
  };
  CHECK(allows_known(1550));
  CHECK_FALSE(process.budget.Allows(MemoryUse::kNewSeries));
  CHECK_FALSE(allows_known(1551));
  // Given back since the process was read.
  CHECK(allows_known(1550));
  process.budget.Subtract(MemoryPart::kQueries, 300);
  CHECK(process.budget.Allows(MemoryUse::kKnownSeries));
  CHECK_FALSE(allows_known(1251));
}

TEST_CASE("memory budget: without a limit everything is counted and nothing refused") {
  MemoryBudget budget;
  CHECK(budget.ChargeQuery(uint64_t{1} << 50));
  CHECK(budget.Allows(MemoryUse::kKnownSeries));
  CHECK(budget.Of(MemoryPart::kQueries) == uint64_t{1} << 50);
}

TEST_CASE("memory budget: what the process takes counts if it is more than the parts say") {
  Process process(1000);
  process.budget.Set(MemoryPart::kHead, 100);
  process.resident = 900;
  process.budget.Refresh();
  CHECK(process.budget.used() == 900);
  // Until the next reading the process grows and shrinks with the parts.
  CHECK(process.budget.ChargeQuery(100));
  CHECK(process.budget.used() == 1000);
  process.resident = 1000;
  CHECK(!process.budget.ChargeQuery(1));
  process.budget.Subtract(MemoryPart::kQueries, 100);
  CHECK(process.budget.used() == 900);
  // It takes less than the parts say, which count then.
  process.resident = 50;
  process.budget.Refresh();
  CHECK(process.budget.used() == 100);
}

TEST_CASE("memory budget: an old reading does not decide about a query") {
  Process process(1000);
  process.resident = 5000;
  process.budget.Refresh();
  process.clock.Advance(kSecond);
  process.resident = 500;
  CHECK(process.budget.ChargeQuery(500));
  process.budget.Subtract(MemoryPart::kQueries, 500);
  process.resident = 5000;
  CHECK(process.budget.ChargeQuery(400));  // The reading of a moment ago.
  process.clock.Advance(kSecond);
  CHECK(!process.budget.ChargeQuery(1));
}

TEST_CASE("memory budget: caches shrink before a query is refused, and fill again later") {
  MemoryBudget budget(1000);
  std::vector<bool> calls;
  auto cache = budget.OnShortage([&](bool shrink) {
    calls.push_back(shrink);
    if (shrink) budget.Set(MemoryPart::kBlockCache, 100);
  });
  budget.Set(MemoryPart::kBlockCache, 800);
  CHECK(budget.ChargeQuery(800));
  CHECK(calls == std::vector<bool>{true});
  CHECK(budget.refused(MemoryUse::kQuery) == 0);
  CHECK(budget.shrinks() == 1);
  budget.Refresh();
  CHECK(calls.size() == 1);  // No room yet.
  budget.Subtract(MemoryPart::kQueries, 800);
  budget.Refresh();
  CHECK(calls == std::vector<bool>{true, false});
  cache.reset();
  CHECK(!budget.ChargeQuery(1000));
  CHECK(calls.size() == 2);
}

TEST_CASE("memory budget: freed memory goes back to the system before a query is refused") {
  Process process(1000);
  process.clock.Advance(kSecond);
  process.resident = 1200;
  process.freed = 900;
  CHECK(process.budget.ChargeQuery(700));
  CHECK(process.releases == 1);
  CHECK(process.budget.resident() == 300);
  // Not again at once: that costs too much.
  process.resident = 700 + 62;
  process.freed = 62;
  CHECK(!process.budget.ChargeQuery(300));
  CHECK(process.releases == 1);
  process.clock.Advance(kSecond);
  CHECK(process.budget.ChargeQuery(300));
  CHECK(process.releases == 2);
}

TEST_CASE("memory budget: what a large query freed goes back at once") {
  Process process(1000);
  REQUIRE(process.budget.ChargeQuery(900));
  process.resident = 1001;
  CHECK(!process.budget.ChargeQuery(900));
  CHECK(process.releases == 1);
  process.budget.Subtract(MemoryPart::kQueries, 900);
  process.clock.Advance(kSecond / 5);  // Read anew, but soon after it was given back.
  process.freed = 900;
  CHECK(process.budget.ChargeQuery(800));
  CHECK(process.releases == 2);
  CHECK(process.budget.refused(MemoryUse::kQuery) == 1);
}

TEST_CASE("memory budget: a charge goes with its owner, once") {
  MemoryBudget budget(1000);
  REQUIRE(budget.ChargeQuery(300));
  {
    MemoryCharge charge(budget, 300);
    MemoryCharge moved = std::move(charge);
    CHECK(moved.bytes() == 300);
    MemoryCharge assigned;
    assigned = std::move(moved);
    CHECK(budget.Of(MemoryPart::kQueries) == 300);
  }
  CHECK(budget.Of(MemoryPart::kQueries) == 0);
}

TEST_CASE("memory budget: many threads never pass the limit, and leave nothing behind") {
  MemoryBudget budget(10'000);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&budget] {
      for (int i = 0; i < 2000; ++i) {
        if (!budget.ChargeQuery(3000)) continue;
        CHECK(budget.Of(MemoryPart::kQueries) >= 3000);
        budget.Subtract(MemoryPart::kQueries, 3000);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(budget.Of(MemoryPart::kQueries) == 0);
}

}  // namespace
}  // namespace varve
