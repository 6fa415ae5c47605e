// SPDX-License-Identifier: Apache-2.0
//
// Goal: any bytes are a log record or DataLoss; a record encodes to one that decodes the same.
// Method: the payload alone is fuzzed: it is compressed here, else nothing would get past zstd.
// Inputs whose first byte is odd are given to the decoder as they are, of the others its second bit
// says whether the record may have metadata.
#include <zstd.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "model/check.h"
#include "tsdb/coding.h"
#include "tsdb/log_record.h"

namespace varve {
namespace {

std::string Compressed(std::string_view payload, char version) {
  std::string record(1, version);
  PutVarint(record, payload.size());
  std::string frame(ZSTD_compressBound(payload.size()), '\0');
  frame.resize(
      ZSTD_compress(frame.data(), frame.size(), payload.data(), payload.size(), /*level=*/1));
  return record + frame;
}

void Run(std::string_view bytes) {
  const auto record = DecodeLogRecord(bytes);
  if (!record.ok()) {
    INVARIANT(absl::IsDataLoss(record.status()));
    return;
  }
  LogRecordEncoder encoder;
  const auto encoded = encoder.Encode(*record);
  INVARIANT(encoded.ok());
  const auto again = DecodeLogRecord(*encoded);
  INVARIANT(again.ok());
  INVARIANT(again->series == record->series);
  INVARIANT(again->floats.size() == record->floats.size());
  for (size_t i = 0; i < record->floats.size(); ++i) {
    INVARIANT(again->floats[i].id == record->floats[i].id);
    INVARIANT(again->floats[i].time == record->floats[i].time);
  }
  INVARIANT(again->histograms.size() == record->histograms.size());
  for (size_t i = 0; i < record->histograms.size(); ++i) {
    INVARIANT(again->histograms[i].histogram == record->histograms[i].histogram);
  }
  INVARIANT(again->exemplars.size() == record->exemplars.size());
  INVARIANT(again->metadata == record->metadata);
}

}  // namespace
}  // namespace varve

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  varve::Run((data[0] & 1) != 0 ? std::string(bytes)
                                : varve::Compressed(bytes, (data[0] & 2) != 0 ? 2 : 1));
  return 0;
}
