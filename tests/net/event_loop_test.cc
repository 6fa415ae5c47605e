// SPDX-License-Identifier: Apache-2.0
//
// The event loop: order of posts and timers, cancellation, a manual clock, stopping.
#include "net/event_loop.h"

#include <doctest/doctest.h>

#include <future>
#include <memory>
#include <thread>

#include "tests/net/test_server.h"

namespace varve {
namespace {

using testing::Eventually;

std::unique_ptr<EventLoop> OpenLoop() { return EventLoop::Open(RealClock()).value(); }

TEST_CASE("event loop: posts run in order, on its thread") {
  auto loop = OpenLoop();
  std::vector<int> order;
  std::promise<void> done;
  for (int i = 0; i < 100; ++i) {
    loop->Post([&, i] {
      CHECK(loop->OnLoopThread());
      order.push_back(i);
      if (i == 99) done.set_value();
    });
  }
  done.get_future().wait();
  REQUIRE(order.size() == 100);
  for (int i = 0; i < 100; ++i) CHECK(order[i] == i);
  CHECK_FALSE(loop->OnLoopThread());
}

TEST_CASE("event loop: posts from many threads all run") {
  auto loop = OpenLoop();
  int64_t sum = 0;  // The loop's thread only.
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; ++i) loop->Post([&sum] { ++sum; });
    });
  }
  for (auto& thread : threads) thread.join();
  loop->Stop();
  CHECK(sum == 8000);
}

TEST_CASE("event loop: timers fire by time, not by order of setting, and not early") {
  auto loop = OpenLoop();
  const int64_t start = RealClock().MonotonicNanos();
  std::vector<int> order;
  std::promise<int64_t> done;
  // Set on the loop's thread: none fires before all are set.
  loop->Post([&] {
    loop->RunAt(start + 60'000'000, [&] {
      order.push_back(3);
      done.set_value(RealClock().MonotonicNanos());
    });
    loop->RunAt(start + 20'000'000, [&] { order.push_back(1); });
    loop->RunAt(start + 40'000'000, [&] { order.push_back(2); });
  });
  CHECK(done.get_future().get() >= start + 60'000'000);
  loop->Stop();
  CHECK(order == std::vector<int>{1, 2, 3});
}

TEST_CASE("event loop: a cancelled timer never runs, one that ran cannot be cancelled") {
  ManualClock clock(0);
  EventLoop::Options options;
  options.wait_max = std::chrono::milliseconds(2);
  auto loop = EventLoop::Open(clock, options).value();
  std::atomic<int> ran{0};
  const TimerId far = loop->RunAfter(std::chrono::milliseconds(30), [&] { ran += 100; });
  const TimerId near = loop->RunAfter(std::chrono::milliseconds(1), [&] { ran += 1; });
  CHECK(loop->Cancel(far));
  CHECK_FALSE(loop->Cancel(far));
  clock.Advance(1);
  REQUIRE(Eventually([&] { return ran.load() == 1; }));
  CHECK_FALSE(loop->Cancel(near));
  CHECK_FALSE(loop->Cancel(kNoTimer));
  std::promise<void> later;
  loop->RunAfter(std::chrono::milliseconds(60), [&] { later.set_value(); });
  clock.Advance(60);
  later.get_future().wait();
  CHECK(ran.load() == 1);
}

TEST_CASE("event loop: a due timer can cancel another due one") {
  auto loop = OpenLoop();
  std::promise<void> done;
  bool second_ran = false;
  loop->Post([&] {
    const int64_t now = RealClock().MonotonicNanos();
    const auto second = std::make_shared<TimerId>(kNoTimer);
    loop->RunAt(now - 2, [&, second] { CHECK(loop->Cancel(*second)); });
    *second = loop->RunAt(now - 1, [&] { second_ran = true; });
    loop->RunAt(now, [&] { done.set_value(); });
  });
  done.get_future().wait();
  loop->Stop();
  CHECK_FALSE(second_ran);
}

TEST_CASE("event loop: a timer that keeps setting itself to now does not starve posts") {
  auto loop = OpenLoop();
  std::atomic<bool> stop{false};
  std::function<void()> again = [&] {
    if (!stop) loop->RunAt(0, [&] { again(); });
  };
  loop->RunAt(0, [&] { again(); });
  std::promise<void> done;
  loop->Post([&] { done.set_value(); });
  CHECK(done.get_future().wait_for(std::chrono::seconds(20)) == std::future_status::ready);
  stop = true;
  loop->Stop();  // A last call may be on its way, and refers to what is about to go.
}

TEST_CASE("event loop: times are those of the clock it was given") {
  ManualClock clock(0);
  EventLoop::Options options;
  options.wait_max = std::chrono::milliseconds(2);
  auto loop = EventLoop::Open(clock, options).value();
  std::atomic<bool> ran{false};
  loop->RunAfter(std::chrono::hours(10), [&] { ran = true; });
  clock.Advance(9 * kHour);
  std::promise<void> round;
  loop->RunAfter(std::chrono::nanoseconds(0), [&] { round.set_value(); });
  round.get_future().wait();
  CHECK_FALSE(ran.load());
  clock.Advance(kHour);
  CHECK(Eventually([&] { return ran.load(); }));
}

TEST_CASE("event loop: stopping runs what was posted, drops timers, refuses more") {
  auto loop = OpenLoop();
  bool posted_ran = false;
  bool timer_ran = false;
  loop->Post([&] { posted_ran = true; });
  loop->RunAfter(std::chrono::hours(1), [&] { timer_ran = true; });
  loop->Stop();
  loop->Stop();
  CHECK(posted_ran);
  CHECK_FALSE(timer_ran);
  CHECK_FALSE(loop->Post([] {}));
  CHECK(loop->RunAfter(std::chrono::seconds(0), [] {}) == kNoTimer);
}

// Says when it goes, as what a callback holds may do.
struct Going {
  EventLoop* loop = nullptr;
  int* gone = nullptr;
  ~Going() {
    loop->Post([] {});  // Takes the loop's lock.
    ++*gone;
  }
};

TEST_CASE("event loop: what callbacks that never ran hold goes without the loop's lock") {
  auto loop = OpenLoop();
  int gone = 0;
  const auto hold = [&] {
    return [going = std::shared_ptr<Going>(new Going{loop.get(), &gone})] {};
  };
  loop->RunAfter(std::chrono::hours(1), hold());
  loop->Stop();
  CHECK(gone == 1);
}

}  // namespace
}  // namespace varve
