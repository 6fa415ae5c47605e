// SPDX-License-Identifier: Apache-2.0
//
// Bursts of answers.
#include "scrape/finished_scrapes.h"

#include <utility>
#include <vector>

#include "scrape/context.h"
#include "scrape/target_loop.h"

namespace varve {
namespace {

void HandOver(ScrapeContext& context, std::vector<FinishedScrape> scrapes) {
  if (scrapes.empty()) return;
  context.workers.Submit(
      [scrapes = std::move(scrapes)]() mutable { TargetLoop::Finish(std::move(scrapes)); },
      ScrapeWorkers::Length::kQuick);
}

}  // namespace

struct FinishedScrapes::Batch {
  std::vector<FinishedScrape> scrapes;
  size_t bytes = 0;
};

void FinishedScrapes::Add(const std::shared_ptr<ScrapeContext>& context, FinishedScrape finished) {
  if (!context->http.loop().OnLoopThread()) return;  // The loop is stopping: nobody waits for it.
  std::shared_ptr<Batch> batch = open_.lock();
  if (batch == nullptr) {
    batch = std::make_shared<Batch>();
    open_ = batch;
    context->http.loop().RunWhenIdle(
        [context, batch] { HandOver(*context, std::exchange(batch->scrapes, {})); });
  }
  const size_t bytes = finished.response.ok() ? finished.response->body.size() : 0;
  // A large answer takes its time, for which small ones need not wait.
  if (batch->scrapes.size() == kScrapesMax || batch->bytes + bytes > kBytesMax) {
    HandOver(*context, std::exchange(batch->scrapes, {}));
    batch->bytes = 0;
  }
  batch->bytes += bytes;
  batch->scrapes.push_back(std::move(finished));
}

}  // namespace varve
