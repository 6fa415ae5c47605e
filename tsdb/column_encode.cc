// SPDX-License-Identifier: Apache-2.0
//
// Writing of rows: samples are cut into segments, segments into blocks, and each column of a block
// is encoded by itself.
#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "model/check.h"
#include "tsdb/coding.h"
#include "tsdb/column.h"
#include "tsdb/column_double.h"
#include "tsdb/column_int.h"
#include "tsdb/column_row.h"
#include "tsdb/format.h"

namespace varve {

namespace {

static_assert(kColumnBlockSamplesMax == kColumnValuesMax);

// Steps above leave no room for products with a block's samples.
constexpr int64_t kUsualStepMax = int64_t{1} << 48;

// A run of one list's samples that share a layout.
struct Run {
  bool histograms = false;
  size_t begin = 0;  // In the list of floats, or of histograms.
  size_t count = 0;
  const Histogram* layout = nullptr;  // Null: floats, or nothing but bare markers.
  bool integer_counts = false;
};

bool SameBitsOf(double a, double b) {
  return std::bit_cast<uint64_t>(a) == std::bit_cast<uint64_t>(b);
}

bool IsBareStaleMarker(const Histogram& histogram) {
  return histogram.IsStale() && histogram.schema == 0 && SameBitsOf(histogram.zero_threshold, 0) &&
         SameBitsOf(histogram.zero_count, 0) && SameBitsOf(histogram.count, 0) &&
         histogram.positive == Buckets{} && histogram.negative == Buckets{} &&
         histogram.custom_bounds.empty();
}

bool SameLayout(const Histogram& a, const Histogram& b) {
  return a.schema == b.schema && SameBitsOf(a.zero_threshold, b.zero_threshold) &&
         a.positive.spans == b.positive.spans && a.negative.spans == b.negative.spans &&
         std::equal(a.custom_bounds.begin(), a.custom_bounds.end(), b.custom_bounds.begin(),
                    b.custom_bounds.end(), SameBitsOf);
}

// Whether the histogram may follow in the run; sets the run's layout if it had none.
bool JoinsRun(const Histogram& histogram, Run& run) {
  if (histogram.integer_counts != run.integer_counts) return false;
  if (IsBareStaleMarker(histogram)) return true;
  if (run.layout == nullptr) run.layout = &histogram;
  return SameLayout(histogram, *run.layout);
}

std::vector<Run> CutIntoRuns(const SeriesSamples& samples) {
  std::vector<Run> runs;
  size_t floats = 0;
  size_t histograms = 0;
  while (floats < samples.times.size() || histograms < samples.histograms.size()) {
    const bool is_float = histograms == samples.histograms.size() ||
                          (floats < samples.times.size() &&
                           samples.times[floats] < samples.histograms[histograms].time);
    if (is_float) {
      if (runs.empty() || runs.back().histograms) runs.push_back({false, floats, 0});
      ++floats;
    } else {
      const Histogram& histogram = *samples.histograms[histograms].histogram;
      if (runs.empty() || !runs.back().histograms || !JoinsRun(histogram, runs.back())) {
        runs.push_back({true, histograms, 0, nullptr, histogram.integer_counts});
        JoinsRun(histogram, runs.back());
      }
      ++histograms;
    }
    ++runs.back().count;
  }
  return runs;
}

// The most common distance of times, as far as a look at some tells.
int64_t UsualStep(absl::Span<const TimestampMs> times) {
  if (times.size() < 2) return 1;
  std::vector<int64_t> steps;
  const size_t stride = (times.size() + 62) / 63;
  for (size_t i = 1; i < times.size(); i += stride) steps.push_back(times[i] - times[i - 1]);
  std::nth_element(steps.begin(), steps.begin() + steps.size() / 2, steps.end());
  const int64_t step = steps[steps.size() / 2];
  return step < kUsualStepMax ? step : 1;
}

bool IsRegular(absl::Span<const TimestampMs> times, int64_t step) {
  for (size_t i = 1; i < times.size(); ++i) {
    if (times[i] - times[i - 1] != step) return false;
  }
  return true;
}

// Samples of a segment, column by column.
struct Columns {
  absl::Span<const TimestampMs> times;
  std::vector<int64_t> starts;               // Empty if there are none.
  std::vector<int64_t> hints;                // Of histograms.
  absl::Span<const double> values;           // Of floats.
  std::vector<const Histogram*> histograms;  // Where counts come from: of markers, a neighbour.
  size_t doubles = 0;
  size_t positive = 0;

  double Double(size_t column, size_t i) const {
    if (histograms.empty()) return values[i];
    const Histogram& histogram = *histograms[i];
    switch (column) {
      case 0:
        return histogram.sum;
      case 1:
        return histogram.count;
      case 2:
        return histogram.zero_count;
      default:
        return column - 3 < positive ? histogram.positive.counts[column - 3]
                                     : histogram.negative.counts[column - 3 - positive];
    }
  }
};

size_t SpanBuckets(const std::vector<Span>& spans) {
  size_t buckets = 0;
  for (const Span& span : spans) buckets += span.length;
  return buckets;
}

bool HasStart(absl::Span<const TimestampMs> starts) {
  return std::any_of(starts.begin(), starts.end(), [](TimestampMs start) { return start != 0; });
}

absl::Span<const TimestampMs> Part(const std::vector<TimestampMs>& starts, const Run& run) {
  if (starts.empty()) return {};
  return absl::MakeConstSpan(starts).subspan(run.begin, run.count);
}

Columns ColumnsOf(const SeriesSamples& samples, const Run& run, const Histogram& layout,
                  absl::Span<const TimestampMs> times) {
  Columns columns;
  columns.times = times;
  const absl::Span<const TimestampMs> starts =
      Part(run.histograms ? samples.histogram_start_times : samples.start_times, run);
  if (HasStart(starts)) columns.starts.assign(starts.begin(), starts.end());
  if (!run.histograms) {
    columns.values = absl::MakeConstSpan(samples.values).subspan(run.begin, run.count);
    columns.doubles = 1;
    return columns;
  }
  columns.positive = SpanBuckets(layout.positive.spans);
  columns.doubles = 3 + columns.positive + SpanBuckets(layout.negative.spans);
  const Histogram* last = &layout;
  for (size_t i = 0; i < run.count; ++i) {
    const Histogram& histogram = *samples.histograms[run.begin + i].histogram;
    const bool marker = IsBareStaleMarker(histogram);
    columns.hints.push_back(static_cast<int64_t>(histogram.reset_hint) +
                            (marker ? kMarkerHint : 0));
    if (!marker) last = &histogram;
    columns.histograms.push_back(last);
  }
  return columns;
}

bool IsConstant(absl::Span<const int64_t> values) {
  return std::all_of(values.begin(), values.end(), [&](int64_t v) { return v == values[0]; });
}

bool IsConstantDouble(const Columns& columns, size_t column) {
  for (size_t i = 1; i < columns.times.size(); ++i) {
    if (!SameBitsOf(columns.Double(column, i), columns.Double(column, 0))) return false;
  }
  return true;
}

// Which columns need no place in blocks.
struct Constants {
  bool starts = false;
  bool hints = false;
  std::vector<bool> doubles;

  bool AllOf(const Columns& columns) const {
    return (columns.starts.empty() || starts) && (columns.hints.empty() || hints) &&
           std::find(doubles.begin(), doubles.end(), false) == doubles.end();
  }
};

Constants PutConstants(const Columns& columns, std::string& head) {
  Constants constants;
  std::vector<bool> bits;
  std::string values;
  if (!columns.starts.empty()) {
    constants.starts = IsConstant(columns.starts);
    bits.push_back(constants.starts);
    if (constants.starts) PutZigZag(values, columns.starts[0]);
  }
  if (!columns.hints.empty()) {
    constants.hints = IsConstant(columns.hints);
    bits.push_back(constants.hints);
    if (constants.hints) PutZigZag(values, columns.hints[0]);
  }
  for (size_t column = 0; column < columns.doubles; ++column) {
    const bool constant = IsConstantDouble(columns, column);
    constants.doubles.push_back(constant);
    bits.push_back(constant);
    if (!constant) continue;
    const double value = columns.Double(column, 0);
    EncodeDoubles({&value, 1}, values);
  }
  std::string bitmap((bits.size() + 7) / 8, 0);
  for (size_t i = 0; i < bits.size(); ++i) {
    if (bits[i]) bitmap[i / 8] |= static_cast<char>(1 << (i % 8));
  }
  head += bitmap + values;
  return constants;
}

void PutTimesColumn(absl::Span<const TimestampMs> times, int64_t step, std::string& out) {
  int64_t offsets[kColumnBlockSamplesMax];
  for (size_t i = 0; i < times.size(); ++i) {
    offsets[i] = WrapSub(WrapSub(times[i], times[0]), static_cast<int64_t>(i) * step);
  }
  EncodeInts({offsets, times.size()}, out);
}

void PutBlock(const Columns& columns, const Constants& constants, size_t begin, size_t count,
              const std::optional<int64_t>& times_step, std::string& out) {
  if (times_step.has_value()) {
    PutTimesColumn(columns.times.subspan(begin, count), *times_step, out);
  }
  if (!columns.starts.empty() && !constants.starts) {
    EncodeInts(absl::MakeConstSpan(columns.starts).subspan(begin, count), out);
  }
  if (!columns.hints.empty() && !constants.hints) {
    EncodeInts(absl::MakeConstSpan(columns.hints).subspan(begin, count), out);
  }
  if (columns.histograms.empty()) {
    if (columns.doubles > 0 && !constants.doubles[0]) {
      EncodeDoubles(columns.values.subspan(begin, count), out);
    }
    return;
  }
  double values[kColumnBlockSamplesMax];
  for (size_t column = 0; column < columns.doubles; ++column) {
    if (constants.doubles[column]) continue;
    for (size_t i = 0; i < count; ++i) values[i] = columns.Double(column, begin + i);
    EncodeDoubles({values, count}, out);
  }
}

void PutChecksum(uint32_t checksum, std::string& out) {
  char bytes[sizeof(checksum)];
  std::memcpy(bytes, &checksum, sizeof(checksum));
  out.append(bytes, sizeof(bytes));
}

// A row in the making.
class RowWriter {
 public:
  RowWriter(absl::Span<const TimestampMs> times, const TimesRef* shared, size_t segments)
      : times_(times), shared_(shared != nullptr), last_(times.front()) {
    head_.push_back(static_cast<char>(shared_ ? kSharedTimesFlag : 0));
    PutZigZag(head_, times.front());
    PutVarint(head_, static_cast<uint64_t>(WrapSub(times.back(), times.front())));
    if (shared_) {
      PutVarint(head_, shared->series);
      PutZigZag(head_, shared->first_time);
      PutVarint(head_, shared->first_index);
    }
    PutVarint(head_, segments);
  }

  // Adds the next samples.
  void AddSegment(uint8_t flags, const Histogram* layout, const Columns& columns) {
    const int64_t step = UsualStep(columns.times);
    const bool regular = !shared_ && IsRegular(columns.times, step);
    if (regular) flags |= kRegularFlag;
    if (!columns.starts.empty()) flags |= kStartsFlag;
    head_.push_back(static_cast<char>(flags));
    if (layout != nullptr) PutColumnLayout(*layout, head_);
    PutVarint(head_, columns.times.size());
    if (!shared_) PutZigZag(head_, step);
    const Constants constants = PutConstants(columns, head_);
    const bool has_times = !shared_ && !regular;
    const bool has_bytes = has_times || !constants.AllOf(columns);
    const size_t block_samples = BlockSamples(columns.doubles);
    for (size_t begin = 0; begin < columns.times.size(); begin += block_samples) {
      const size_t count = std::min(block_samples, columns.times.size() - begin);
      if (!shared_) PutTimes(columns.times.subspan(begin, count), step, regular, begin == 0);
      if (!has_bytes) continue;
      const size_t block_begin = blocks_.size();
      PutBlock(columns, constants, begin, count,
               has_times ? std::optional<int64_t>(step) : std::nullopt, blocks_);
      PutVarint(head_, blocks_.size() - block_begin);
      PutChecksum(ColumnChecksum(std::string_view(blocks_).substr(block_begin)), head_);
    }
  }

  std::string Finish() const {
    std::string checked;
    PutText(checked, head_);
    std::string row(1, static_cast<char>(kColumnVersion));
    PutChecksum(ColumnChecksum(checked), row);
    return row + checked + blocks_;
  }

 private:
  void PutTimes(absl::Span<const TimestampMs> times, int64_t step, bool regular, bool first) {
    if (!regular || first) {
      PutZigZag(head_, WrapSub(times.front(), first ? last_ : WrapAdd(last_, step)));
    }
    if (!regular) {
      const int64_t extent = step * static_cast<int64_t>(times.size() - 1);
      PutZigZag(head_, WrapSub(WrapSub(times.back(), times.front()), extent));
    }
    last_ = times.back();
  }

  absl::Span<const TimestampMs> times_;
  bool shared_;
  TimestampMs last_;
  std::string head_;
  std::string blocks_;
};

void CheckTimes(absl::Span<const TimestampMs> times) {
  INVARIANT(!times.empty() && times.size() <= kColumnRowSamplesMax);
  INVARIANT(times.front() >= -kStoredTimeMax && times.back() <= kStoredTimeMax);
  for (size_t i = 1; i < times.size(); ++i) INVARIANT(times[i] > times[i - 1]);
}

}  // namespace

std::vector<TimestampMs> TimesOf(const SeriesSamples& samples) {
  std::vector<TimestampMs> times;
  times.reserve(samples.times.size() + samples.histograms.size());
  times.assign(samples.times.begin(), samples.times.end());
  if (samples.histograms.empty()) return times;
  for (const HistogramSample& sample : samples.histograms) times.push_back(sample.time);
  std::inplace_merge(times.begin(), times.begin() + static_cast<ptrdiff_t>(samples.times.size()),
                     times.end());
  return times;
}

std::optional<uint64_t> FindTimes(absl::Span<const TimestampMs> row,
                                  absl::Span<const TimestampMs> times) {
  if (times.empty() || times.size() > row.size()) return std::nullopt;
  const auto first = std::lower_bound(row.begin(), row.end(), times.front());
  const auto left = static_cast<size_t>(row.end() - first);
  if (left < times.size() || !std::equal(times.begin(), times.end(), first)) return std::nullopt;
  return static_cast<uint64_t>(first - row.begin());
}

std::string EncodeColumns(const SeriesSamples& samples, const TimesRef* shared) {
  INVARIANT(samples.times.size() == samples.values.size());
  const std::vector<TimestampMs> merged =
      samples.histograms.empty() ? std::vector<TimestampMs>() : TimesOf(samples);
  const absl::Span<const TimestampMs> times =
      samples.histograms.empty() ? absl::MakeConstSpan(samples.times) : absl::MakeConstSpan(merged);
  CheckTimes(times);
  const std::vector<Run> runs = CutIntoRuns(samples);
  RowWriter writer(times, shared, runs.size());
  size_t done = 0;
  for (const Run& run : runs) {
    Histogram layout;
    if (run.layout != nullptr) {
      layout = *run.layout;
    } else {
      layout.integer_counts = run.integer_counts;
    }
    const Columns columns = ColumnsOf(samples, run, layout, times.subspan(done, run.count));
    const auto flags = static_cast<uint8_t>((run.histograms ? kHistogramsFlag : 0) |
                                            (run.integer_counts ? kIntegerCountsFlag : 0));
    writer.AddSegment(flags, run.histograms ? &layout : nullptr, columns);
    done += run.count;
  }
  return writer.Finish();
}

std::string EncodeTimes(absl::Span<const TimestampMs> times) {
  CheckTimes(times);
  RowWriter writer(times, nullptr, 1);
  Columns columns;
  columns.times = times;
  writer.AddSegment(kTimesOnlyFlag, nullptr, columns);
  return writer.Finish();
}

}  // namespace varve
