// SPDX-License-Identifier: Apache-2.0
//
// Scrapes whose answers have come and wait for a worker. Targets share slots, so answers come in
// bursts: a burst is handed over when the event loop has nothing else to do, as one job with one
// commit, instead of waking a worker and writing the log for each.
#pragma once

#include <cstddef>
#include <memory>

namespace varve {

struct FinishedScrape;  // target_loop.h
struct ScrapeContext;

// Not thread-safe: the event loop's own.
class FinishedScrapes {
 public:
  // No more are handed over as one, nor with longer answers but for a single one.
  static constexpr size_t kScrapesMax = 16;
  static constexpr size_t kBytesMax = 4 << 20;

  // Called on the thread of `context`'s event loop, or by whom a loop that is stopping refuses.
  void Add(const std::shared_ptr<ScrapeContext>& context, FinishedScrape finished);

 private:
  struct Batch;
  // Owned by the callback that hands it over, so that a loop that stops drops it.
  std::weak_ptr<Batch> open_;
};

}  // namespace varve
