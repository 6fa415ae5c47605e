// SPDX-License-Identifier: Apache-2.0
//
// Loops of the workers, and that queries do not show how many there are.
#include "promql/workers.h"

#include <doctest/doctest.h>
#include <sched.h>

#include <atomic>
#include <thread>
#include <vector>

#include "model/clock.h"
#include "model/mutex.h"
#include "model/status_macros.h"
#include "promql/engine.h"
#include "promql/placement.h"
#include "tests/memory_storage.h"
#include "tests/promql/query_generator.h"

namespace varve::promql {
namespace {

TEST_CASE("workers: every piece is done once, whoever does it") {
  for (size_t threads : {0, 1, 3}) {
    CAPTURE(threads);
    Workers workers(threads);
    for (size_t count : {0, 1, 7, 1000}) {
      std::vector<std::atomic<int>> done(count);
      std::vector<std::atomic<int>> other(count);
      const auto first = workers.Start(count, [&](size_t i) { ++done[i]; });
      const auto second = workers.Start(count, [&](size_t i) { ++other[i]; });
      workers.Finish(*second);
      for (const std::atomic<int>& piece : other) CHECK(piece == 1);
      workers.Finish(*first);
      for (const std::atomic<int>& piece : done) CHECK(piece == 1);
      const auto waited_for = workers.Start(count, [&](size_t i) { ++done[i]; });
      const auto meanwhile = workers.Start(count, [&](size_t i) { ++other[i]; });
      workers.Finish(*waited_for, meanwhile.get());
      for (const std::atomic<int>& piece : done) CHECK(piece == 2);
      workers.Finish(*meanwhile);
      for (const std::atomic<int>& piece : other) CHECK(piece == 2);
    }
  }
}

TEST_CASE("workers: a canceled loop runs no further piece") {
  Workers workers(2);
  std::atomic<size_t> started{0};
  const auto loop = workers.Start(1'000'000, [&](size_t) { ++started; });
  workers.Cancel(*loop);
  const size_t at_cancel = started;
  CHECK(at_cancel < 1'000'000);
  const auto next = workers.Start(100, [](size_t) {});
  workers.Finish(*next);
  CHECK(started == at_cancel);
}

cpu_set_t AllowedProcessors() {
  cpu_set_t allowed;
  REQUIRE(sched_getaffinity(0, sizeof(allowed), &allowed) == 0);
  return allowed;
}

TEST_CASE("placement: a thread that is woken begins elsewhere, and may then run where it might") {
  const cpu_set_t allowed = AllowedProcessors();
  const bool alone = CPU_COUNT(&allowed) == 1;
  Mutex mutex;
  CondVar changed;
  Placement* placement = nullptr;  // Of the thread that waits, once it does.
  bool woken = false;
  int begun_on = -1;
  bool free_again = false;
  std::thread sleeper([&] {
    Placement own;
    MutexLock lock(mutex);
    placement = &own;
    changed.NotifyAll();
    while (!woken) changed.Wait(mutex);
    begun_on = sched_getcpu();
    own.Anywhere();
    const cpu_set_t now = AllowedProcessors();
    free_again = CPU_EQUAL(&now, &allowed) != 0;
  });
  int here = -1;
  {
    MutexLock lock(mutex);
    while (placement == nullptr) changed.Wait(mutex);
    // The waker stays where it is until it has woken the other.
    here = sched_getcpu();
    cpu_set_t only_here;
    CPU_ZERO(&only_here);
    CPU_SET(here, &only_here);
    CHECK(sched_setaffinity(0, sizeof(only_here), &only_here) == 0);
    placement->AwayFromCaller();
    woken = true;
    changed.NotifyAll();
    CHECK(sched_setaffinity(0, sizeof(allowed), &allowed) == 0);
  }
  sleeper.join();
  CHECK(alone == (begun_on == here));
  CHECK(free_again);
}

// All of a result but the times it took.
std::string ResultText(const absl::StatusOr<QueryResult>& result) {
  if (!result.ok()) return MessageOf(result.status());
  const QueryStats& stats = result->stats;
  return AnswerText(*result) + std::to_string(stats.samples_read) + " " +
         std::to_string(stats.total_queryable_samples) + " " + std::to_string(stats.peak_samples);
}

TEST_CASE("engine: neither answers nor annotations nor counts depend on the number of workers") {
  const uint64_t seed = TestSeed();
  MESSAGE("TEST_SEED=" << seed);
  QueryGenerator generator(seed);
  EngineOptions options;
  options.features.experimental_functions = true;
  options.worker_threads = 0;
  Engine alone(options, RealClock());
  options.worker_threads = 3;
  Engine helped(options, RealClock());
  for (int round = 0; round < TestRounds(4); ++round) {
    MemoryStorage storage;
    generator.Fill(storage);
    for (int i = 0; i < 30; ++i) {
      const std::string query = i % 3 == 0   ? generator.RangeCall(1)
                                : i % 3 == 1 ? generator.Vector(2)
                                             : generator.Repeating(2);
      CAPTURE(query);
      // So many steps that reading is worth threads.
      const TimestampMs end = 9000 * kTestGrid.step;
      const std::string wanted = ResultText(alone.Range(storage, query, 0, end, kTestGrid.step));
      CHECK(ResultText(helped.Range(storage, query, 0, end, kTestGrid.step)) == wanted);
    }
  }
}

}  // namespace
}  // namespace varve::promql
