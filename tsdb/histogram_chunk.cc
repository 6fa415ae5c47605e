// SPDX-License-Identifier: Apache-2.0
//
// Writing and reading of histogram chunks, and of single histograms.
#include "tsdb/histogram_chunk.h"

#include <bit>
#include <cmath>
#include <utility>

#include "model/check.h"
#include "model/status_macros.h"

namespace varve {

namespace {

constexpr uint8_t kIntegerFlag = 1;
constexpr uint8_t kPackedFlag = 2;
constexpr double kExactIntegerMax = 9007199254740992.0;  // 2^53

uint64_t Bits(double value) { return std::bit_cast<uint64_t>(value); }

bool IsPackable(double count) {
  return count >= 0 && count <= kExactIntegerMax && !std::signbit(count) &&
         static_cast<double>(static_cast<int64_t>(count)) == count;
}

bool AllPackable(const Histogram& histogram) {
  if (!histogram.integer_counts || !IsPackable(histogram.count) ||
      !IsPackable(histogram.zero_count)) {
    return false;
  }
  for (const Buckets* side : {&histogram.positive, &histogram.negative}) {
    for (const double count : side->counts) {
      if (!IsPackable(count)) return false;
    }
  }
  return true;
}

bool IsBareMarker(const Histogram& histogram) {
  return histogram.IsStale() && histogram.schema == 0 && Bits(histogram.zero_threshold) == 0 &&
         Bits(histogram.zero_count) == 0 && Bits(histogram.count) == 0 &&
         histogram.positive == Buckets{} && histogram.negative == Buckets{} &&
         histogram.custom_bounds.empty();
}

bool SameBits(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (Bits(a[i]) != Bits(b[i])) return false;
  }
  return true;
}

size_t BucketCount(const Histogram& layout) {
  size_t count = 0;
  for (const Buckets* side : {&layout.positive, &layout.negative}) {
    for (const Span& span : side->spans) count += span.length;
  }
  return count;
}

void PutSpans(const std::vector<Span>& spans, std::string& out) {
  PutVarint(out, spans.size());
  for (const Span& span : spans) {
    PutZigZag(out, span.offset);
    PutVarint(out, span.length);
  }
}

void PutLayout(const Histogram& histogram, bool packed, std::string& out) {
  out.push_back(static_cast<char>((histogram.integer_counts ? kIntegerFlag : 0) |
                                  (packed ? kPackedFlag : 0)));
  PutZigZag(out, histogram.schema);
  PutDouble(out, histogram.zero_threshold);
  PutVarint(out, histogram.custom_bounds.size());
  for (const double bound : histogram.custom_bounds) PutDouble(out, bound);
  PutSpans(histogram.positive.spans, out);
  PutSpans(histogram.negative.spans, out);
}

bool ReadSpans(ByteReader& reader, Buckets& side) {
  const size_t count = reader.Count(2);
  side.spans.reserve(count);
  uint64_t buckets = 0;
  for (size_t i = 0; i < count; ++i) {
    const int64_t offset = reader.SignedVarint();
    const uint64_t length = reader.Varint();
    if (!FitsSigned(offset, 32) || length > kHistogramBucketsMax) return false;
    buckets += length;
    if (buckets > kHistogramBucketsMax) return false;
    side.spans.push_back({static_cast<int32_t>(offset), static_cast<uint32_t>(length)});
  }
  return !reader.failed();
}

// Counts are left empty.
bool ReadLayout(ByteReader& reader, Histogram& layout, bool& packed) {
  const uint8_t flags = reader.Byte();
  if (flags > (kIntegerFlag | kPackedFlag)) return false;
  layout.integer_counts = (flags & kIntegerFlag) != 0;
  packed = (flags & kPackedFlag) != 0;
  const int64_t schema = reader.SignedVarint();
  if (!FitsSigned(schema, 32)) return false;
  layout.schema = static_cast<int32_t>(schema);
  layout.zero_threshold = reader.Double();
  const size_t bounds = reader.Count(sizeof(double));
  layout.custom_bounds.reserve(bounds);
  for (size_t i = 0; i < bounds; ++i) layout.custom_bounds.push_back(reader.Double());
  return ReadSpans(reader, layout.positive) && ReadSpans(reader, layout.negative) &&
         BucketCount(layout) <= kHistogramBucketsMax;
}

size_t SpanLengths(const Buckets& side) {
  size_t length = 0;
  for (const Span& span : side.spans) length += span.length;
  return length;
}

// Reads a chunk sample by sample, and holds what its writer goes on from.
struct ChunkReader {
  ChunkReader(std::string_view payload, TimestampMs first_time)
      : header(payload), bits(std::string_view()), time(first_time) {
    good = ReadLayout(header, layout, packed);
    bits = BitReader(header.rest());
    if (!good) return;
    positive = SpanLengths(layout.positive);
    const size_t counts = 2 + positive + SpanLengths(layout.negative);
    // Each count of the first sample takes a bit: no more room than bytes to fill it. Chunks of
    // bare markers have a layout without buckets.
    good = counts == 2 || counts <= header.rest().size() * 8;
    if (!good) return;
    count_bits.assign(counts, 0);
    windows.assign(packed ? 0 : counts, {});
    steps.assign(packed ? counts : 0, 0);
  }

  // Returns false if the bits hold no further sample.
  bool Next() {
    if (count++ > 0) {
      step = WrapAdd(step, TimeCode::Read(bits));
      time = WrapAdd(time, step);
    }
    start = WrapAdd(start, CountCode::Read(bits));
    if (bits.Read(1) == 1) hint = static_cast<ResetHint>(bits.Read(2));
    stale = bits.Read(1) == 1;
    if (stale) return !bits.overrun();
    if (!ReadXor(bits, sum_window, sum_bits)) return false;
    for (size_t i = 0; i < count_bits.size(); ++i) {
      if (packed) {
        steps[i] = WrapAdd(steps[i], CountCode::Read(bits));
        count_bits[i] =
            static_cast<uint64_t>(WrapAdd(static_cast<int64_t>(count_bits[i]), steps[i]));
      } else if (!ReadXor(bits, windows[i], count_bits[i])) {
        return false;
      }
    }
    return !bits.overrun();
  }

  double Count(size_t index) const {
    return packed ? static_cast<double>(static_cast<int64_t>(count_bits[index]))
                  : std::bit_cast<double>(count_bits[index]);
  }

  Histogram Current() const {
    Histogram histogram;
    if (stale) {
      histogram.integer_counts = layout.integer_counts;
      histogram.reset_hint = hint;
      histogram.sum = StaleNan();
      return histogram;
    }
    histogram = layout;
    histogram.reset_hint = hint;
    histogram.sum = std::bit_cast<double>(sum_bits);
    histogram.count = Count(0);
    histogram.zero_count = Count(1);
    histogram.positive.counts.reserve(positive);
    histogram.negative.counts.reserve(count_bits.size() - 2 - positive);
    for (size_t i = 2; i < count_bits.size(); ++i) {
      Buckets& side = i - 2 < positive ? histogram.positive : histogram.negative;
      side.counts.push_back(Count(i));
    }
    return histogram;
  }

  ByteReader header;
  BitReader bits;
  Histogram layout;
  size_t positive = 0;
  bool packed = false;
  bool good = false;
  bool stale = false;
  uint32_t count = 0;
  TimestampMs time;
  int64_t step = 0;
  TimestampMs start = 0;
  ResetHint hint = ResetHint::kUnknown;
  uint64_t sum_bits = 0;
  XorWindow sum_window;
  std::vector<uint64_t> count_bits;
  std::vector<XorWindow> windows;
  std::vector<int64_t> steps;
};

}  // namespace

OpenHistogramChunk::OpenHistogramChunk(const Histogram& first)
    : packed_(IsBareMarker(first) ? first.integer_counts : AllPackable(first)) {
  layout_ = first;
  layout_.positive.counts.clear();
  layout_.negative.counts.clear();
  PutLayout(first, packed_, header_);
  const size_t counts = 2 + BucketCount(layout_);
  count_bits_.assign(counts, 0);
  windows_.assign(packed_ ? 0 : counts, {});
  steps_.assign(packed_ ? counts : 0, 0);
}

bool OpenHistogramChunk::Fits(const Histogram& histogram) const {
  if (count_ >= kChunkSamplesMax || position_ / 8 >= kHistogramChunkBytesMax ||
      histogram.integer_counts != layout_.integer_counts) {
    return false;
  }
  if (IsBareMarker(histogram)) return true;
  return histogram.schema == layout_.schema &&
         Bits(histogram.zero_threshold) == Bits(layout_.zero_threshold) &&
         histogram.positive.spans == layout_.positive.spans &&
         histogram.negative.spans == layout_.negative.spans &&
         SameBits(histogram.custom_bounds, layout_.custom_bounds) &&
         (!packed_ || AllPackable(histogram));
}

void OpenHistogramChunk::PutCounts(const Histogram& histogram, BitBuffer& out) {
  size_t index = 0;
  const auto put = [&](double count) {
    if (packed_) {
      const auto integer = static_cast<int64_t>(count);
      const int64_t step = WrapSub(integer, static_cast<int64_t>(count_bits_[index]));
      CountCode::Put(out, WrapSub(step, steps_[index]));
      steps_[index] = step;
      count_bits_[index] = static_cast<uint64_t>(integer);
    } else {
      PutXor(out, windows_[index], count_bits_[index], Bits(count));
      count_bits_[index] = Bits(count);
    }
    ++index;
  };
  put(histogram.count);
  put(histogram.zero_count);
  for (const double count : histogram.positive.counts) put(count);
  for (const double count : histogram.negative.counts) put(count);
  INVARIANT(index == count_bits_.size());
}

void OpenHistogramChunk::Append(TimestampMs time, const Histogram& histogram, TimestampMs start) {
  INVARIANT(count_ == 0 || Fits(histogram));
  constexpr size_t kFixedBitsMax =
      TimeCode::kBitsMax + CountCode::kBitsMax + 1 + 2 + 1 + kXorBitsMax;
  const size_t bits_max = kFixedBitsMax + count_bits_.size() * kXorBitsMax;
  const size_t needed = BitBytes(position_ + bits_max) + kBitSlackBytes;
  if (bits_.size() < needed) bits_.resize(needed);
  BitBuffer out{reinterpret_cast<uint8_t*>(bits_.data()), position_};
  if (count_ == 0) {
    first_time_ = time;
  } else {
    const int64_t step = WrapSub(time, last_time_);
    TimeCode::Put(out, WrapSub(step, last_step_));
    last_step_ = step;
  }
  CountCode::Put(out, WrapSub(start, last_start_));
  last_start_ = start;
  if (histogram.reset_hint == last_.reset_hint) {
    out.Put(0, 1);
  } else {
    out.Put(4 | static_cast<uint64_t>(histogram.reset_hint), 3);
  }
  if (IsBareMarker(histogram)) {
    out.Put(1, 1);
  } else {
    out.Put(0, 1);
    PutXor(out, sum_window_, sum_bits_, Bits(histogram.sum));
    sum_bits_ = Bits(histogram.sum);
    PutCounts(histogram, out);
  }
  position_ = out.position;
  last_ = histogram;
  last_time_ = time;
  ++count_;
}

absl::StatusOr<std::unique_ptr<OpenHistogramChunk>> OpenHistogramChunk::Restore(
    std::string_view payload, uint32_t count, TimestampMs first_time) {
  ChunkReader reader(payload, first_time);
  if (!reader.good || count == 0 || count > kChunkSamplesMax) {
    return absl::DataLossError("histogram chunk without a layout");
  }
  for (uint32_t i = 0; i < count; ++i) {
    if (!reader.Next()) return absl::DataLossError("histogram chunk ends amid a sample");
  }
  auto chunk = std::unique_ptr<OpenHistogramChunk>(new OpenHistogramChunk);
  chunk->header_ = payload.substr(0, payload.size() - reader.header.rest().size());
  chunk->bits_ = reader.header.rest();
  chunk->position_ = static_cast<uint32_t>(reader.bits.position());
  chunk->count_ = count;
  chunk->packed_ = reader.packed;
  chunk->first_time_ = first_time;
  chunk->last_time_ = reader.time;
  chunk->last_step_ = reader.step;
  chunk->last_start_ = reader.start;
  chunk->last_ = reader.Current();
  chunk->layout_ = std::move(reader.layout);
  chunk->sum_bits_ = reader.sum_bits;
  chunk->sum_window_ = reader.sum_window;
  chunk->count_bits_ = std::move(reader.count_bits);
  chunk->windows_ = std::move(reader.windows);
  chunk->steps_ = std::move(reader.steps);
  return chunk;
}

size_t OpenHistogramChunk::MemoryBytes() const {
  return sizeof(*this) + header_.capacity() + bits_.capacity() + layout_.MemoryBytes() +
         last_.MemoryBytes() + count_bits_.capacity() * sizeof(uint64_t) +
         windows_.capacity() * sizeof(XorWindow) + steps_.capacity() * sizeof(int64_t);
}

absl::Status DecodeHistogramChunk(std::string_view payload, uint32_t count, TimestampMs first_time,
                                  TimestampMs min, TimestampMs max, SeriesSamples& samples) {
  ChunkReader reader(payload, first_time);
  if (!reader.good || count == 0 || count > kChunkSamplesMax) {
    return absl::DataLossError("histogram chunk without a layout");
  }
  if (!samples.histograms.empty() && samples.histograms.back().time >= min) {
    if (samples.histograms.back().time == kMaxTimestamp) return absl::OkStatus();
    min = samples.histograms.back().time + 1;
  }
  for (uint32_t i = 0; i < count; ++i) {
    if (!reader.Next()) return absl::DataLossError("histogram chunk ends amid a sample");
    if (reader.time > max) break;
    if (reader.time < min) continue;
    const size_t size = samples.histograms.size();
    samples.histograms.push_back(
        {reader.time, std::make_shared<const Histogram>(reader.Current())});
    if (reader.start != 0 || !samples.histogram_start_times.empty()) {
      samples.histogram_start_times.resize(size, 0);
      samples.histogram_start_times.push_back(reader.start);
    }
    if (reader.time == kMaxTimestamp) break;
    min = reader.time + 1;
  }
  return absl::OkStatus();
}

void PutHistogram(const Histogram& histogram, std::string& out) {
  PutLayout(histogram, false, out);
  out.push_back(static_cast<char>(histogram.reset_hint));
  PutDouble(out, histogram.sum);
  PutDouble(out, histogram.count);
  PutDouble(out, histogram.zero_count);
  for (const double count : histogram.positive.counts) PutDouble(out, count);
  for (const double count : histogram.negative.counts) PutDouble(out, count);
}

std::optional<Histogram> ReadHistogram(ByteReader& reader) {
  Histogram histogram;
  bool packed = false;
  if (!ReadLayout(reader, histogram, packed)) return std::nullopt;
  const uint8_t hint = reader.Byte();
  if (hint > static_cast<uint8_t>(ResetHint::kGauge)) return std::nullopt;
  histogram.reset_hint = static_cast<ResetHint>(hint);
  histogram.sum = reader.Double();
  histogram.count = reader.Double();
  histogram.zero_count = reader.Double();
  for (Buckets* side : {&histogram.positive, &histogram.negative}) {
    const size_t counts = SpanLengths(*side);
    if (counts * sizeof(double) > reader.rest().size()) return std::nullopt;
    side->counts.reserve(counts);
    for (size_t i = 0; i < counts; ++i) side->counts.push_back(reader.Double());
  }
  if (reader.failed()) return std::nullopt;
  return histogram;
}

}  // namespace varve
