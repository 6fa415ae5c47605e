// SPDX-License-Identifier: Apache-2.0
//
// Goal: any bytes are columns or refused; what was decoded comes back from a column of its own.
// Method: the first two bytes say how many values the column claims and of which kind they are.
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "model/check.h"
#include "tsdb/column_double.h"
#include "tsdb/column_int.h"

namespace varve {
namespace {

void RunInts(size_t count, std::string_view bytes) {
  ByteReader reader(bytes);
  const auto column = ReadIntColumn(reader, count);
  int64_t values[kColumnValuesMax];
  if (!column.has_value() || !DecodeInts(*column, count, values)) return;
  INVARIANT(!EncodingName(*column).empty());
  std::string encoded;
  EncodeInts({values, count}, encoded);
  ByteReader again(encoded);
  const auto copy = ReadIntColumn(again, count);
  INVARIANT(copy.has_value() && again.done());
  int64_t copies[kColumnValuesMax];
  INVARIANT(DecodeInts(*copy, count, copies));
  for (size_t i = 0; i < count; ++i) INVARIANT(copies[i] == values[i]);
}

void RunDoubles(size_t count, std::string_view bytes) {
  ByteReader reader(bytes);
  const auto column = ReadDoubleColumn(reader, count);
  double values[kColumnValuesMax];
  if (!column.has_value() || !DecodeDoubles(*column, count, values)) return;
  INVARIANT(!EncodingName(*column).empty());
  std::string encoded;
  EncodeDoubles({values, count}, encoded);
  ByteReader again(encoded);
  const auto copy = ReadDoubleColumn(again, count);
  INVARIANT(copy.has_value() && again.done());
  double copies[kColumnValuesMax];
  INVARIANT(DecodeDoubles(*copy, count, copies));
  for (size_t i = 0; i < count; ++i) {
    INVARIANT(std::bit_cast<uint64_t>(copies[i]) == std::bit_cast<uint64_t>(values[i]));
  }
}

}  // namespace
}  // namespace varve

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const size_t count = 1 + data[0] + (data[1] & 1) * 256;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  if ((data[1] & 2) != 0) {
    varve::RunInts(count, bytes);
  } else {
    varve::RunDoubles(count, bytes);
  }
  return 0;
}
