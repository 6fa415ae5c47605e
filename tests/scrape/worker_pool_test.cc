// SPDX-License-Identifier: Apache-2.0
//
// Goal: every job runs, quick ones wait for no job of unknown length, and a burst is shared.
// Method: jobs that block until they are released, a count of those that run.
#include "scrape/worker_pool.h"

#include <doctest/doctest.h>

#include <atomic>
#include <future>

#include "tests/net/test_server.h"

namespace varve {
namespace {

using testing::Eventually;
using Length = ScrapeWorkers::Length;

TEST_CASE("scrape workers: every job runs once, however they come") {
  std::atomic<int> ran = 0;
  ScrapeWorkers workers(3);
  for (int i = 0; i < 5000; ++i) {
    CHECK(workers.Submit([&] { ++ran; }, i % 3 == 0 ? Length::kUnknown : Length::kQuick));
    if (i % 100 == 0) CHECK(Eventually([&] { return ran == i + 1; }));
  }
  CHECK(Eventually([&] { return ran == 5000; }));
  workers.Stop();
  CHECK_FALSE(workers.Submit([&] { ++ran; }));
  CHECK(ran == 5000);
}

TEST_CASE("scrape workers: a job that takes long holds nobody up") {
  std::promise<void> release;
  std::shared_future<void> released = release.get_future().share();
  std::atomic<int> ran = 0;
  ScrapeWorkers workers(2);
  CHECK(workers.Submit([&] { ++ran; }));
  CHECK(Eventually([&] { return ran == 1; }));
  // In either order: queued in front of a quick job, and begun before it comes.
  CHECK(workers.Submit([released] { released.wait(); }));
  CHECK(workers.Submit([&] { ++ran; }, Length::kQuick));
  CHECK(Eventually([&] { return ran == 2; }));
  CHECK(workers.Submit([&] { ++ran; }, Length::kQuick));
  CHECK(Eventually([&] { return ran == 3; }));
  release.set_value();
}

TEST_CASE("scrape workers: a burst wakes a second thread, a few jobs do not") {
  std::promise<void> release;
  std::shared_future<void> released = release.get_future().share();
  std::atomic<size_t> began = 0;
  ScrapeWorkers workers(2);
  CHECK(workers.Submit([&] { ++began; }, Length::kQuick));
  CHECK(Eventually([&] { return began == 1; }));
  const auto blocks = [&began, released] {
    ++began;
    released.wait();
  };
  CHECK(workers.Submit(blocks, Length::kQuick));
  CHECK(Eventually([&] { return began == 2; }));
  for (size_t i = 0; i < ScrapeWorkers::kQuickBacklog + 1; ++i) {
    CHECK(workers.Submit(blocks, Length::kQuick));
  }
  CHECK(Eventually([&] { return began == 3; }));
  release.set_value();
  CHECK(Eventually([&] { return began == ScrapeWorkers::kQuickBacklog + 3; }));
}

}  // namespace
}  // namespace varve
