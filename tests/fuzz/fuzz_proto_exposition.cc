// SPDX-License-Identifier: Apache-2.0
//
// Protobuf exposition, plain and with classic histograms converted, and the same conversion of
// text. Invariants: reading ends, histograms given by the conversion are valid.
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "scrape/classic_histograms.h"
#include "scrape/proto_parser.h"
#include "scrape/text_parser.h"

namespace {

void ReadAll(varve::ExpositionReader& reader) {
  varve::LabelPairs pairs;
  std::vector<varve::Exemplar> exemplars;
  for (;;) {
    const absl::StatusOr<varve::LineKind> kind = reader.Next();
    if (!kind.ok() || *kind == varve::LineKind::kEnd) return;
    (void)reader.KeyHash();
    if (*kind != varve::LineKind::kSeries) continue;
    (void)reader.ReadLabels(pairs);
    exemplars.clear();
    (void)reader.ReadExemplars(exemplars);
    const varve::Histogram* const histogram = reader.histogram();
    if (histogram == nullptr) continue;
    if (!histogram->Validate().ok() && histogram->HasCustomBuckets() &&
        !histogram->custom_bounds.empty()) {
      abort();
    }
  }
}

void ReadConverted(varve::ExpositionReader& inner, bool keep_classic) {
  varve::ClassicHistogramReader reader(inner, keep_classic);
  ReadAll(reader);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  const std::string_view body(reinterpret_cast<const char*>(data), bytes);
  for (const bool native : {false, true}) {
    varve::ProtoParser proto(body,
                             {.native_histograms = native, .always_classic_histograms = true});
    ReadAll(proto);
    varve::ProtoParser converted(
        body, {.native_histograms = native, .always_classic_histograms = native});
    ReadConverted(converted, native);
    varve::TextParser text(
        body, native ? varve::TextFormat::kOpenMetrics : varve::TextFormat::kPrometheus);
    ReadConverted(text, native);
  }
  return 0;
}
