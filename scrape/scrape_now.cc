// SPDX-License-Identifier: Apache-2.0
//
// The preview goes the way of every scrape, to an appender that only remembers.
#include "scrape/scrape_now.h"

#include <chrono>

#include "model/status_macros.h"
#include "scrape/metadata_store.h"
#include "scrape/scrape_request.h"
#include "scrape/series_cache.h"

namespace varve {
namespace {

class RememberingAppender : public Appender {
 public:
  RememberingAppender(size_t samples_max, ScrapePreview& preview)
      : samples_max_(samples_max), preview_(preview) {}

  absl::StatusOr<SeriesRef> Append(SeriesRef, const Labels& labels, TimestampMs time, double value,
                                   TimestampMs) override {
    return Remember({labels, time, value, std::nullopt});
  }
  absl::StatusOr<SeriesRef> AppendHistogram(SeriesRef, const Labels& labels, TimestampMs time,
                                            const Histogram& histogram, TimestampMs) override {
    RETURN_IF_ERROR(histogram.Validate());
    return Remember({labels, time, 0, histogram});
  }
  absl::Status AppendExemplar(SeriesRef, const Labels&, const Exemplar&) override {
    return absl::OkStatus();
  }
  absl::Status AppendMetadata(std::string_view, const MetricMetadata&) override {
    return absl::OkStatus();
  }
  absl::Status Commit() override { return absl::OkStatus(); }
  void Rollback() override {}

 private:
  SeriesRef Remember(PreviewSample sample) {
    if (preview_.samples.size() < samples_max_) {
      preview_.samples.push_back(std::move(sample));
    } else {
      preview_.truncated = true;
    }
    return SeriesRef{++last_};
  }

  const size_t samples_max_;
  ScrapePreview& preview_;
  uint64_t last_ = 0;
};

}  // namespace

ScrapePreview PreviewScrape(const ScrapeConfig& config, const Target& target,
                            const absl::StatusOr<ClientResponse>& response, TimestampMs time,
                            size_t samples_max) {
  ScrapePreview preview;
  absl::Status status = response.status();
  if (status.ok()) {
    preview.seconds = std::chrono::duration<double>(response->total_time).count();
    preview.body_bytes = static_cast<int64_t>(response->body.size());
    preview.content_type = std::string(response->Header("content-type"));
    const absl::StatusOr<ExpositionFormat> format = AnswerFormat(config, *response);
    status = format.status();
    if (status.ok()) {
      MetadataPool pool;
      TargetMetadataStore metadata(pool);
      SeriesCache cache;
      RememberingAppender appender(samples_max, preview);
      BodyAppender body(config, target.histograms, target.public_labels, cache, metadata);
      status = body.AppendBody(response->body, *format, time, appender, preview.counts);
    }
  }
  if (!status.ok()) preview.error = MessageOf(status);
  return preview;
}

}  // namespace varve
