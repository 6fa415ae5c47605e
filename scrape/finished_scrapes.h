// SPDX-License-Identifier: Apache-2.0
//
// Scrapes whose answers have come and wait for a worker. Targets share slots, so answers come in
// bursts: those that come within a few milliseconds are handed over as one job with few commits,
// instead of waking a worker and writing the log for each.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace varve {

struct FinishedScrape;  // target_loop.h
struct ScrapeContext;

class FinishedScrapes {
 public:
  // No more are handed over as one, nor with longer answers but for a single one.
  static constexpr size_t kScrapesMax = 16;
  static constexpr size_t kBytesMax = 4 << 20;
  // Committed as one: each is looked at when it is read and again when it is applied, and should be
  // in the processor's cache still.
  static constexpr size_t kCommittedMax = 4;
  // How long an answer waits for others, if others have been asked for.
  static constexpr std::chrono::milliseconds kWaitMax{5};

  // A scrape is asked for; Add() will be called for it. Thread-safe.
  void Expect() { ++expected_; }
  // Called on the thread of `context`'s event loop, or by whom a loop that is stopping refuses.
  void Add(const std::shared_ptr<ScrapeContext>& context, FinishedScrape finished);

 private:
  struct Batch;
  static void HandOver(ScrapeContext& context, Batch& batch);

  std::atomic<uint64_t> expected_{0};
  // The event loop's own. Owned by the timer that hands it over, so that a loop that stops drops
  // it.
  std::weak_ptr<Batch> open_;
};

}  // namespace varve
