// SPDX-License-Identifier: Apache-2.0
//
// Bursts of answers.
#include "scrape/finished_scrapes.h"

#include <absl/types/span.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "scrape/context.h"
#include "scrape/target_loop.h"

namespace varve {

struct FinishedScrapes::Batch {
  std::vector<FinishedScrape> scrapes;
  size_t bytes = 0;
  TimerId timer = kNoTimer;
};

void FinishedScrapes::HandOver(ScrapeContext& context, Batch& batch) {
  if (batch.scrapes.empty()) return;
  batch.bytes = 0;
  context.workers.Submit(
      [scrapes = std::exchange(batch.scrapes, {})]() mutable {
        for (absl::Span<FinishedScrape> left = absl::MakeSpan(scrapes); !left.empty();
             left.remove_prefix(std::min(left.size(), kCommittedMax))) {
          TargetLoop::Finish(left.subspan(0, kCommittedMax));
        }
      },
      ScrapeWorkers::Length::kQuick);
}

void FinishedScrapes::Add(const std::shared_ptr<ScrapeContext>& context, FinishedScrape finished) {
  const bool last = --expected_ == 0;
  EventLoop& loop = context->http.loop();
  if (!loop.OnLoopThread()) return;  // The loop is stopping: nobody waits for it.
  finished.end_nanos = context->clock.MonotonicNanos();
  std::shared_ptr<Batch> batch = open_.lock();
  if (batch == nullptr) {
    batch = std::make_shared<Batch>();
    open_ = batch;
    if (!last)
      batch->timer = loop.RunAfter(kWaitMax, [context, batch] { HandOver(*context, *batch); });
  }
  const size_t bytes = finished.response.ok() ? finished.response->body.size() : 0;
  // A large answer takes its time, for which small ones need not wait.
  if (batch->scrapes.size() == kScrapesMax || batch->bytes + bytes > kBytesMax) {
    HandOver(*context, *batch);
  }
  batch->bytes += bytes;
  batch->scrapes.push_back(std::move(finished));
  if (!last) return;
  HandOver(*context, *batch);
  if (batch->timer != kNoTimer) loop.Cancel(batch->timer);
}

}  // namespace varve
