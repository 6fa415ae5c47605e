// SPDX-License-Identifier: Apache-2.0
//
// Reading of rows. A block is decoded as a whole into arrays of its own, which stay in the nearest
// cache, and its wanted part is appended: a block that turns out to be damaged leaves no trace.
#include "tsdb/column.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <utility>

#include "model/status_macros.h"
#include "tsdb/column_double.h"
#include "tsdb/column_int.h"
#include "tsdb/column_row.h"

namespace varve {

namespace {

absl::Status BadColumns(std::string_view what) {
  return absl::DataLossError(fmt::format("columns row: {}", what));
}

// Times of one block and what of them is wanted.
struct BlockTimes {
  TimestampMs buffer[kColumnBlockSamplesMax];
  const TimestampMs* times = buffer;
  size_t begin = 0;  // First wanted.
  size_t end = 0;    // Past the last wanted.

  void Want(size_t count, TimestampMs min, TimestampMs max) {
    begin = 0;
    end = count;
    // Mostly all of it.
    if (times[0] < min) {
      begin = static_cast<size_t>(std::lower_bound(times, times + count, min) - times);
    }
    if (times[count - 1] > max) {
      end = static_cast<size_t>(std::upper_bound(times, times + count, max) - times);
    }
  }
  size_t wanted() const { return end > begin ? end - begin : 0; }
};

// Whether times rise from `begin` to `end`, told from signs so that vector instructions do. As all
// lie within [begin, end], no difference of two wraps.
// REQUIRES: begin <= end, and their difference is below 2^63.
bool Rise(const TimestampMs* times, size_t count, TimestampMs begin, TimestampMs end) {
  if (times[0] != begin || times[count - 1] != end) return false;
  int64_t signs = 0;
  for (size_t i = 1; i < count; ++i) {
    signs |= WrapSub(WrapSub(times[i], times[i - 1]), 1);
    signs |= WrapSub(times[i], begin) | WrapSub(end, times[i]);
  }
  return signs >= 0;
}

// Reads or makes the times of a block; returns what is wrong, or nothing.
std::string_view ReadTimes(const ColumnSegment& segment, const ColumnBlock& block,
                           ByteReader& reader, BlockTimes& times) {
  const size_t count = block.samples;
  times.times = times.buffer;
  if (segment.regular) {
    for (size_t i = 0; i < count; ++i) {
      times.buffer[i] = block.begin + static_cast<int64_t>(i) * segment.step;
    }
    return "";
  }
  const std::optional<IntColumn> column = ReadIntColumn(reader, count);
  if (!column.has_value() || !DecodeInts(*column, count, times.buffer)) return "malformed times";
  const auto first = static_cast<uint64_t>(block.begin);
  const auto step = static_cast<uint64_t>(segment.step);
  for (size_t i = 0; i < count; ++i) {
    times.buffer[i] =
        static_cast<int64_t>(static_cast<uint64_t>(times.buffer[i]) + first + i * step);
  }
  if (!Rise(times.buffer, count, block.begin, block.end)) {
    return "times do not rise as its directory says";
  }
  return "";
}

std::string_view TakeSharedTimes(const SharedTimes& shared, uint64_t first_index,
                                 const ColumnBlock& block, BlockTimes& times) {
  const uint64_t begin = first_index + block.first_index;
  const uint64_t end = begin + block.samples;
  for (const SharedTimes::Gap& gap : shared.gaps) {
    if (gap.begin < end && begin < gap.end) return "its shared times are damaged";
  }
  times.times = shared.times.data() + begin;
  return "";
}

// Reads a column of integers that may be constant in its segment.
bool ReadInts(ByteReader& reader, const std::optional<int64_t>& constant, size_t count,
              int64_t* values) {
  if (constant.has_value()) {
    std::fill_n(values, count, *constant);
    return true;
  }
  const std::optional<IntColumn> column = ReadIntColumn(reader, count);
  return column.has_value() && DecodeInts(*column, count, values);
}

bool ReadDoubles(ByteReader& reader, const std::optional<double>& constant, size_t count,
                 double* values) {
  if (constant.has_value()) {
    std::fill_n(values, count, *constant);
    return true;
  }
  const std::optional<DoubleColumn> column = ReadDoubleColumn(reader, count);
  return column.has_value() && DecodeDoubles(*column, count, values);
}

// Appends start times beside `size` samples that are there already.
void AppendStarts(const ColumnSegment& segment, const int64_t* starts, const BlockTimes& times,
                  size_t size, std::vector<TimestampMs>& out) {
  const bool any = segment.has_starts && std::any_of(starts + times.begin, starts + times.end,
                                                     [](int64_t start) { return start != 0; });
  if (!any && out.empty()) return;
  out.resize(size, 0);
  if (any) {
    out.insert(out.end(), starts + times.begin, starts + times.end);
  } else {
    out.resize(size + times.wanted(), 0);
  }
}

class RowReader {
 public:
  RowReader(const ColumnRow& row, const ColumnReadOptions& options, SeriesSamples& samples)
      : row_(row), options_(options), samples_(samples) {}

  absl::Status Read() {
    RETURN_IF_ERROR(CheckSharedTimes());
    Reserve();
    for (const ColumnSegment& segment : row_.segments) {
      for (const ColumnBlock& unlocated : segment.blocks) {
        const ColumnBlock block = Locate(unlocated);
        if (Overlaps(block)) RETURN_IF_ERROR(ReadBlock(segment, block));
      }
    }
    return absl::OkStatus();
  }

 private:
  bool Overlaps(const ColumnBlock& block) const {
    return block.end >= options_.min && block.begin <= options_.max;
  }

  // The directory does not know the range of a block whose times are shared.
  ColumnBlock Locate(const ColumnBlock& unlocated) const {
    ColumnBlock block = unlocated;
    if (!row_.times.has_value()) return block;
    const uint64_t first = row_.times->first_index + block.first_index;
    block.begin = options_.times->times[first];
    block.end = options_.times->times[first + block.samples - 1];
    for (const SharedTimes::Gap& gap : options_.times->gaps) {
      if (gap.begin >= first + block.samples || gap.end <= first) continue;
      block.begin = row_.min;
      block.end = row_.max;
    }
    return block;
  }

  absl::Status CheckSharedTimes() const {
    if (!row_.times.has_value()) return absl::OkStatus();
    if (options_.times == nullptr) return BadColumns("its times row is missing");
    const std::vector<TimestampMs>& times = options_.times->times;
    const uint64_t begin = row_.times->first_index;
    if (begin > times.size() || row_.samples > times.size() - begin) {
      return BadColumns("its times row is too short");
    }
    const uint64_t last = begin + row_.samples - 1;
    const auto is_lost = [&](uint64_t index) {
      return std::any_of(options_.times->gaps.begin(), options_.times->gaps.end(),
                         [&](auto& gap) { return gap.begin <= index && index < gap.end; });
    };
    if ((times[begin] != row_.min && !is_lost(begin)) ||
        (times[last] != row_.max && !is_lost(last))) {
      return BadColumns("its times row is another series'");
    }
    return absl::OkStatus();
  }

  // One growth for all blocks; appending row after row still doubles.
  void Reserve() {
    uint64_t floats = 0;
    for (const ColumnSegment& segment : row_.segments) {
      if (segment.histograms || segment.times_only) continue;
      for (const ColumnBlock& block : segment.blocks) {
        if (Overlaps(Locate(block))) floats += block.samples;
      }
    }
    const size_t needed = samples_.values.size() + floats;
    if (needed <= samples_.values.capacity()) return;
    const size_t room = std::max(needed, samples_.values.capacity() * 2);
    samples_.values.reserve(room);
  }

  absl::Status ReadBlock(const ColumnSegment& segment, const ColumnBlock& block) {
    const std::string_view wrong = ReadIntact(segment, block);
    if (wrong.empty()) return absl::OkStatus();
    ColumnDamage damage{
        block.begin, block.end, block.samples,
        fmt::format("columns block of times {} to {}: {}", block.begin, block.end, wrong)};
    if (options_.damage == nullptr) return absl::DataLossError(damage.what);
    options_.damage->push_back(std::move(damage));
    return absl::OkStatus();
  }

  std::string_view ReadIntact(const ColumnSegment& segment, const ColumnBlock& block) {
    if (segment.times_only) return "holds nothing but times";
    if (!IsIntact(block)) return "checksum mismatch";
    ByteReader reader(block.bytes);
    const std::string_view wrong =
        row_.times.has_value()
            ? TakeSharedTimes(*options_.times, row_.times->first_index, block, times_)
            : ReadTimes(segment, block, reader, times_);
    if (!wrong.empty()) return wrong;
    times_.Want(block.samples, FirstWanted(segment), options_.max);
    if (times_.wanted() == 0) return "";
    if (segment.has_starts && !ReadInts(reader, segment.start, block.samples, starts_)) {
      return "malformed start timestamps";
    }
    return segment.histograms ? ReadHistograms(segment, block, reader)
                              : ReadFloats(segment, block, reader);
  }

  // Nothing twice: what follows must be past what is there.
  TimestampMs FirstWanted(const ColumnSegment& segment) const {
    TimestampMs last = kMinTimestamp;
    if (segment.histograms) {
      if (samples_.histograms.empty()) return options_.min;
      last = samples_.histograms.back().time;
    } else {
      if (samples_.times.empty()) return options_.min;
      last = samples_.times.back();
    }
    return std::max(options_.min, last == kMaxTimestamp ? last : last + 1);
  }

  std::string_view ReadFloats(const ColumnSegment& segment, const ColumnBlock& block,
                              ByteReader& reader) {
    const std::optional<double>& constant = segment.constants[0];
    if (constant.has_value()) {
      if (!reader.done()) return "bytes behind its columns";
      AppendFloats(segment, block, *constant);
      return "";
    }
    const std::optional<DoubleColumn> column = ReadDoubleColumn(reader, block.samples);
    if (!column.has_value()) return "malformed values";
    if (!reader.done()) return "bytes behind its columns";
    const size_t size = samples_.values.size();
    const bool all_wanted = times_.wanted() == block.samples;
    double* values = values_;
    if (all_wanted) {  // In place.
      samples_.values.resize(size + block.samples);
      values = samples_.values.data() + size;
    }
    if (!(options_.values ? DecodeDoubles(*column, block.samples, values)
                          : DecodePresence(*column, block.samples, values))) {
      samples_.values.resize(size);
      return "malformed values";
    }
    if (!all_wanted) {
      samples_.values.insert(samples_.values.end(), values_ + times_.begin, values_ + times_.end);
    }
    samples_.Know(times_.wanted(), AreNumbers(*column),
                  options_.values && NeverFalls(*column, block.samples), /*same=*/false);
    AppendTimes(segment, block);
    return "";
  }

  void AppendFloats(const ColumnSegment& segment, const ColumnBlock& block, double value) {
    samples_.values.resize(samples_.values.size() + times_.wanted(), value);
    samples_.Know(times_.wanted(), value == value, value == value, /*same=*/true);
    AppendTimes(segment, block);
  }

  // Of the floats that were appended last.
  void AppendTimes(const ColumnSegment& segment, const ColumnBlock& block) {
    const size_t size = samples_.times.size();
    const absl::Span<const TimestampMs> times(times_.times + times_.begin, times_.wanted());
    if (row_.times.has_value()) {
      samples_.times.AppendFrom(options_.times,
                                row_.times->first_index + block.first_index + times_.begin, times);
    } else {
      samples_.times.Append(times);
    }
    AppendStarts(segment, starts_, times_, size, samples_.start_times);
  }

  std::string_view ReadHistograms(const ColumnSegment& segment, const ColumnBlock& block,
                                  ByteReader& reader) {
    const size_t count = block.samples;
    int64_t hints[kColumnBlockSamplesMax];
    if (!ReadInts(reader, segment.hint, count, hints)) return "malformed hints";
    for (size_t i = 0; i < count; ++i) {
      if (hints[i] < 0 || hints[i] >= 2 * kMarkerHint) return "unknown hint";
    }
    counts_.resize(segment.doubles * count);
    for (size_t column = 0; column < segment.doubles; ++column) {
      if (!ReadDoubles(reader, segment.constants[column], count, counts_.data() + column * count)) {
        return "malformed counts";
      }
    }
    if (!reader.done()) return "bytes behind its columns";
    const size_t size = samples_.histograms.size();
    for (size_t i = times_.begin; i < times_.end; ++i) {
      samples_.histograms.push_back({times_.times[i], MakeHistogram(segment, count, i, hints[i])});
    }
    AppendStarts(segment, starts_, times_, size, samples_.histogram_start_times);
    return "";
  }

  std::shared_ptr<const Histogram> MakeHistogram(const ColumnSegment& segment, size_t count,
                                                 size_t i, int64_t hint) const {
    auto histogram = std::make_shared<Histogram>();
    if (hint >= kMarkerHint) {
      histogram->integer_counts = segment.layout.integer_counts;
      histogram->reset_hint = static_cast<ResetHint>(hint - kMarkerHint);
      histogram->sum = StaleNan();
      return histogram;
    }
    *histogram = segment.layout;
    histogram->reset_hint = static_cast<ResetHint>(hint);
    const double* at = counts_.data() + i;
    histogram->sum = at[0];
    histogram->count = at[count];
    histogram->zero_count = at[2 * count];
    histogram->positive.counts.reserve(segment.positive);
    histogram->negative.counts.reserve(segment.doubles - 3 - segment.positive);
    for (size_t column = 3; column < segment.doubles; ++column) {
      Buckets& side = column - 3 < segment.positive ? histogram->positive : histogram->negative;
      side.counts.push_back(at[column * count]);
    }
    return histogram;
  }

  const ColumnRow& row_;
  const ColumnReadOptions& options_;
  SeriesSamples& samples_;
  BlockTimes times_;
  int64_t starts_[kColumnBlockSamplesMax];
  double values_[kColumnBlockSamplesMax];
  std::vector<double> counts_;  // Column by column.
};

void AddUse(std::string encoding, uint64_t samples, uint64_t bytes, std::vector<ColumnUse>& uses) {
  const auto at = std::lower_bound(
      uses.begin(), uses.end(), encoding,
      [](const ColumnUse& use, const std::string& name) { return use.encoding < name; });
  if (at != uses.end() && at->encoding == encoding) {
    ++at->columns;
    at->samples += samples;
    at->bytes += bytes;
  } else {
    uses.insert(at, {std::move(encoding), 1, samples, bytes});
  }
}

// Adds the next column of a block; returns false if there is none.
bool AddIntUse(std::string_view what, ByteReader& reader, size_t count,
               std::vector<ColumnUse>& uses) {
  const size_t before = reader.rest().size();
  const std::optional<IntColumn> column = ReadIntColumn(reader, count);
  if (!column.has_value()) return false;
  AddUse(fmt::format("{} {}", what, EncodingName(*column)), count, before - reader.rest().size(),
         uses);
  return true;
}

bool AddDoubleUse(std::string_view what, ByteReader& reader, size_t count,
                  std::vector<ColumnUse>& uses) {
  const size_t before = reader.rest().size();
  const std::optional<DoubleColumn> column = ReadDoubleColumn(reader, count);
  if (!column.has_value()) return false;
  AddUse(fmt::format("{} {}", what, EncodingName(*column)), count, before - reader.rest().size(),
         uses);
  return true;
}

void AddBlockUses(const ColumnRow& row, const ColumnSegment& segment, const ColumnBlock& block,
                  std::vector<ColumnUse>& uses) {
  ByteReader reader(block.bytes);
  const size_t count = block.samples;
  if (row.times.has_value()) {
    AddUse("times shared", count, 0, uses);
  } else if (segment.regular) {
    AddUse("times regular", count, 0, uses);
  } else if (!AddIntUse("times", reader, count, uses)) {
    return;
  }
  if (segment.has_starts) {
    if (segment.start.has_value()) {
      AddUse("starts constant in segment", count, 0, uses);
    } else if (!AddIntUse("starts", reader, count, uses)) {
      return;
    }
  }
  if (segment.histograms) {
    if (segment.hint.has_value()) {
      AddUse("hints constant in segment", count, 0, uses);
    } else if (!AddIntUse("hints", reader, count, uses)) {
      return;
    }
  }
  const std::string_view what = segment.histograms ? "histograms" : "values";
  for (const std::optional<double>& constant : segment.constants) {
    if (constant.has_value()) {
      AddUse(fmt::format("{} constant in segment", what), count, 0, uses);
    } else if (!AddDoubleUse(what, reader, count, uses)) {
      return;
    }
  }
}

}  // namespace

absl::Status DecodeColumnRow(const ColumnRow& row, const ColumnReadOptions& options,
                             SeriesSamples& samples) {
  return RowReader(row, options, samples).Read();
}

absl::Status DecodeColumns(std::string_view row, const ColumnReadOptions& options,
                           SeriesSamples& samples) {
  ASSIGN_OR_RETURN(const ColumnRow parsed, ParseColumnRow(row));
  return DecodeColumnRow(parsed, options, samples);
}

absl::Status DecodeTimes(std::string_view row, SharedTimes& times,
                         std::vector<ColumnDamage>* damage) {
  ASSIGN_OR_RETURN(const ColumnRow parsed, ParseColumnRow(row));
  times.times.clear();
  times.gaps.clear();
  if (parsed.times.has_value() || parsed.segments.size() != 1 || !parsed.segments[0].times_only) {
    return BadColumns("holds more than times");
  }
  const ColumnSegment& segment = parsed.segments[0];
  times.times.reserve(segment.samples);
  BlockTimes block_times;
  for (const ColumnBlock& block : segment.blocks) {
    ByteReader reader(block.bytes);
    const std::string_view wrong =
        IsIntact(block) ? ReadTimes(segment, block, reader, block_times) : "checksum mismatch";
    if (!wrong.empty()) {
      times.gaps.push_back({times.times.size(), times.times.size() + block.samples});
      times.times.resize(times.times.size() + block.samples, block.begin);
      if (damage != nullptr) {
        damage->push_back(
            {block.begin, block.end, block.samples,
             fmt::format("block of shared times {} to {}: {}", block.begin, block.end, wrong)});
      }
      continue;
    }
    times.times.insert(times.times.end(), block_times.buffer, block_times.buffer + block.samples);
  }
  return absl::OkStatus();
}

absl::StatusOr<ColumnSummary> SummarizeColumns(std::string_view row) {
  ASSIGN_OR_RETURN(const ColumnRow parsed, ParseColumnRow(row));
  ColumnSummary summary;
  summary.min_time = parsed.min;
  summary.max_time = parsed.max;
  summary.times = parsed.times;
  for (const ColumnSegment& segment : parsed.segments) {
    (segment.histograms ? summary.histogram_samples : summary.float_samples) += segment.samples;
    summary.blocks += segment.blocks.size();
  }
  return summary;
}

absl::Status VerifyColumns(std::string_view row, std::vector<ColumnDamage>& damage) {
  ASSIGN_OR_RETURN(const ColumnRow parsed, ParseColumnRow(row));
  for (const ColumnSegment& segment : parsed.segments) {
    for (const ColumnBlock& block : segment.blocks) {
      if (IsIntact(block)) continue;
      damage.push_back({block.begin, block.end, block.samples,
                        fmt::format("columns block of times {} to {}: checksum mismatch",
                                    block.begin, block.end)});
    }
  }
  return absl::OkStatus();
}

absl::Status AddColumnUses(std::string_view row, std::vector<ColumnUse>& uses) {
  ASSIGN_OR_RETURN(const ColumnRow parsed, ParseColumnRow(row));
  AddUse("directory", parsed.samples, parsed.head_bytes, uses);
  for (const ColumnSegment& segment : parsed.segments) {
    for (const ColumnBlock& block : segment.blocks) {
      if (IsIntact(block)) AddBlockUses(parsed, segment, block, uses);
    }
  }
  return absl::OkStatus();
}

}  // namespace varve
