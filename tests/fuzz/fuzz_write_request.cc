// SPDX-License-Identifier: Apache-2.0
//
// Goal: no request body crashes the remote-write reader; the series it calls valid have labels that
// storage can take.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "model/check.h"
#include "remote/write_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  varve::WriteRequestReader reader({reinterpret_cast<const char*>(data), size});
  varve::WriteSeries series;
  size_t count = 0;
  while (true) {
    const absl::StatusOr<std::optional<std::string_view>> message = reader.Next();
    if (!message.ok() || !message->has_value()) break;
    INVARIANT(++count <= size);
    if (!varve::WriteRequestReader::Read(**message, series).ok()) break;
    // What the short cut takes is what the long way finds.
    std::vector<varve::KnownSample> known;
    if (!series.raw_labels.empty() &&
        varve::WriteRequestReader::ReadSamples((*message)->substr(series.raw_labels.size()),
                                               varve::SeriesRef{1}, known)) {
      INVARIANT(known.size() == series.samples.size());
      INVARIANT(series.histograms.empty() && series.exemplars.empty());
    }
    varve::Labels labels;
    const absl::StatusOr<bool> valid = reader.DecodeLabels(series, labels);
    if (valid.ok() && *valid) {
      INVARIANT(labels.Has(varve::kMetricName));
      const auto back = varve::Labels::FromBytes(labels.bytes());
      INVARIANT(back.ok() && *back == labels);
    }
    for (const varve::TimedHistogram& item : series.histograms) {
      if (item.histogram.Validate().ok()) static_cast<void>(item.histogram.ToString());
    }
  }
  size_t metadata = 0;
  while (true) {
    const absl::StatusOr<std::optional<varve::WriteMetadata>> next = reader.NextMetadata();
    if (!next.ok() || !next->has_value()) break;
    INVARIANT(++metadata <= size);
  }
  return 0;
}
