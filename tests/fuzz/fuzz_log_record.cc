// SPDX-License-Identifier: Apache-2.0
//
// Goal: any bytes are a log record or DataLoss; a record encodes to one that decodes the same.
// Method: frames are compressed here, else nothing would get past zstd. The first byte says what
// the others are: 1 a record as it is, 0 and 2 the frame of an old version, 4 floats, 6 the frame
// of a record without floats.
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

std::string Compressed(std::string record, std::string_view payload) {
  PutVarint(record, payload.size());
  std::string frame(ZSTD_compressBound(payload.size()), '\0');
  frame.resize(
      ZSTD_compress(frame.data(), frame.size(), payload.data(), payload.size(), /*level=*/1));
  return record + frame;
}

std::string RecordOf(uint8_t kind, std::string_view bytes) {
  if ((kind & 1) != 0) return std::string(bytes);
  switch (kind & 6) {
    case 0:
      return Compressed("\x01", bytes);
    case 2:
      return Compressed("\x02", bytes);
    case 4:
      return std::string("\x03\x00", 2) + std::string(bytes);
    default:
      return Compressed(std::string("\x03\x01\x00", 3), bytes);
  }
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
  varve::Run(varve::RecordOf(data[0], bytes));
  return 0;
}
