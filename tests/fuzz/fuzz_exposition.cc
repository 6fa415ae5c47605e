// SPDX-License-Identifier: Apache-2.0
//
// Exposition text in both formats. Invariants: reading ends, views stay inside the body, and a line
// read by its hash gives the value it gave when read in full.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "scrape/text_parser.h"

namespace {

void Read(std::string_view body, varve::TextFormat format) {
  varve::TextParser parser(body, format);
  varve::TextParser known(body, format);
  varve::LabelPairs pairs;
  for (;;) {
    const absl::StatusOr<varve::LineKind> kind = parser.Next();
    if (!kind.ok() || *kind == varve::LineKind::kEnd) return;
    const std::string_view text = parser.text();
    if (text.data() < body.data() || text.data() + text.size() > body.data() + body.size()) abort();
    if (*kind == varve::LineKind::kSeries) {
      (void)parser.ReadLabels(pairs);
      if (parser.has_exemplars()) (void)parser.ReadExemplar();
      if (known.AcceptSeries(text.size(), parser.KeyHash())) {
        const double a = parser.value();
        const double b = known.value();
        if (std::memcmp(&a, &b, sizeof(a)) != 0) abort();
        if (known.has_time() != parser.has_time()) abort();
        if (!known.ReadLabels(pairs).ok()) continue;
        continue;
      }
    } else if (known.AcceptLine(text.size(), parser.KeyHash())) {
      known.SetType(parser.type());
      continue;
    }
    (void)known.Next();
  }
}

void ReadStartTimes(std::string_view body) {
  varve::TextParser parser(body, varve::TextFormat::kOpenMetrics, {.start_times = true});
  for (;;) {
    const absl::StatusOr<varve::LineKind> kind = parser.Next();
    if (!kind.ok() || *kind == varve::LineKind::kEnd) return;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  const std::string_view body(reinterpret_cast<const char*>(data), bytes);
  Read(body, varve::TextFormat::kPrometheus);
  Read(body, varve::TextFormat::kOpenMetrics);
  ReadStartTimes(body);
  return 0;
}
