// SPDX-License-Identifier: Apache-2.0
//
// Goal: any bytes decode to samples or to DataLoss, whole and in parts; what was decoded goes into
// a row again, and comes out of it the same. Method: the input is a row but for its version and its
// head's checksum, which are put right here: otherwise nothing would get past them.
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "model/check.h"
#include "tsdb/column.h"
#include "tsdb/column_row.h"
#include "tsdb/format.h"

namespace varve {
namespace {

// A row of many buckets that never change is short, and long once decoded.
constexpr uint64_t kHistogramsMax = 64;
constexpr uint64_t kFloatsMax = 20000;

std::string RepairedRow(std::string_view bytes) {
  ByteReader reader(bytes);
  reader.Text();
  std::string row(1, static_cast<char>(kColumnVersion));
  const uint32_t checksum = ColumnChecksum(bytes.substr(0, bytes.size() - reader.rest().size()));
  char text[sizeof(checksum)];
  std::memcpy(text, &checksum, sizeof(checksum));
  return row.append(text, sizeof(text)).append(bytes);
}

bool Equal(const SeriesSamples& a, const SeriesSamples& b) {
  if (a.times != b.times || a.histograms.size() != b.histograms.size()) return false;
  for (size_t i = 0; i < a.values.size(); ++i) {
    if (std::bit_cast<uint64_t>(a.values[i]) != std::bit_cast<uint64_t>(b.values[i])) return false;
  }
  for (size_t i = 0; i < a.histograms.size(); ++i) {
    if (a.histograms[i].time != b.histograms[i].time ||
        !(*a.histograms[i].histogram == *b.histograms[i].histogram)) {
      return false;
    }
  }
  return a.start_times == b.start_times && a.histogram_start_times == b.histogram_start_times;
}

void Run(std::string_view bytes) {
  const std::string row = RepairedRow(bytes);
  const auto summary = SummarizeColumns(row);
  INVARIANT(summary.ok() || absl::IsDataLoss(summary.status()));
  std::vector<ColumnDamage> damage;
  std::vector<ColumnUse> uses;
  INVARIANT(VerifyColumns(row, damage).ok() == summary.ok());
  INVARIANT(AddColumnUses(row, uses).ok() == summary.ok());
  if (!summary.ok() || summary->histogram_samples > kHistogramsMax ||
      summary->float_samples > kFloatsMax) {
    return;
  }
  const auto times = std::make_shared<SharedTimes>();
  if (DecodeTimes(row, *times).ok()) return;
  times->times.resize(40000);
  for (size_t i = 0; i < times->times.size(); ++i) times->times[i] = static_cast<int64_t>(i);
  SeriesSamples samples;
  damage.clear();
  const absl::Status status = DecodeColumns(row, {.times = times, .damage = &damage}, samples);
  INVARIANT(status.ok() || absl::IsDataLoss(status));
  SeriesSamples part;
  DecodeColumns(row, {.min = summary->min_time + 1, .max = 1'000'000, .times = times}, part)
      .IgnoreError();
  const std::vector<TimestampMs> all = TimesOf(samples);
  if (all.empty() || all.front() < -kStoredTimeMax || all.back() > kStoredTimeMax) return;
  SeriesSamples again;
  INVARIANT(DecodeColumns(EncodeColumns(samples), {}, again).ok());
  INVARIANT(Equal(samples, again));
}

}  // namespace
}  // namespace varve

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  varve::Run({reinterpret_cast<const char*>(data), size});
  return 0;
}
