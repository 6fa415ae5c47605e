// SPDX-License-Identifier: Apache-2.0
//
// Choosing the smallest form of an integer column. A sorted sample of 64 residuals says which order
// of difference, and which of the dearer forms are worth working out; the forms that are left are
// worked out to the byte.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <numeric>
#include <utility>
#include <vector>

#include "model/check.h"
#include "tsdb/column_int.h"
#include "tsdb/zstd_frames.h"

namespace varve {

namespace {

constexpr size_t kSampleMax = 64;
constexpr size_t kPatchesMax = 40;
constexpr uint8_t kScaledBit = 16;
constexpr uint8_t kPatchedBit = 32;
// zstd reads at a tenth of the speed: it must save an eighth.
constexpr size_t kZstdGain = 8;
constexpr size_t kZstdBytesMin = 48;

size_t VarintBytes(uint64_t value) { return (std::bit_width(value | 1) + 6) / 7; }
size_t ZigZagBytes(uint64_t value) { return VarintBytes(ZigZag(static_cast<int64_t>(value))); }

// Residuals in signed order with their wrapped values.
struct Residuals {
  std::array<uint64_t, kColumnValuesMax> numbers;
  size_t count = 0;
  absl::Span<const uint64_t> span() const { return {numbers.data(), count}; }
};

bool Less(uint64_t a, uint64_t b) { return static_cast<int64_t>(a) < static_cast<int64_t>(b); }

// What a sample says of residuals.
struct Sample {
  std::array<uint64_t, kSampleMax> sorted;
  size_t count = 0;
  uint64_t common = 0;
  double common_share = 0;
  uint64_t core_spread = 0;  // Of the middle nine tenths.
  uint64_t equal_pairs = 0;
  double bits = 0;  // Per residual, estimated.
};

Sample TakeSample(absl::Span<const uint64_t> residuals) {
  Sample sample;
  const size_t step = (residuals.size() + kSampleMax - 1) / kSampleMax;
  for (size_t i = 0; i < residuals.size(); i += step) sample.sorted[sample.count++] = residuals[i];
  std::sort(sample.sorted.begin(), sample.sorted.begin() + sample.count, Less);
  size_t longest = 0;
  for (size_t i = 0; i < sample.count;) {
    size_t end = i + 1;
    while (end < sample.count && sample.sorted[end] == sample.sorted[i]) ++end;
    const size_t run = end - i;
    sample.equal_pairs += run * (run - 1) / 2;
    if (run > longest) {
      longest = run;
      sample.common = sample.sorted[i];
    }
    i = end;
  }
  const size_t cut = sample.count / 20;
  sample.core_spread = sample.sorted[sample.count - 1 - cut] - sample.sorted[cut];
  sample.common_share = static_cast<double>(longest) / static_cast<double>(sample.count);
  const double packed = std::log2(static_cast<double>(sample.core_spread) + 1);
  sample.bits = std::min(packed, 1 + (1 - sample.common_share) * packed);
  return sample;
}

// Residuals replaced by patches.
struct Patch {
  size_t place = 0;
  uint64_t residual = 0;
};

struct CorePlan {
  uint64_t min = 0;
  uint64_t scale = 1;
  PackShape shape;
  std::vector<Patch> patches;
  size_t bytes = 0;
};

struct Window {
  uint64_t min = 0;
  uint64_t max = 0;
};

Window FullWindow(absl::Span<const uint64_t> residuals) {
  int64_t min = static_cast<int64_t>(residuals[0]);
  int64_t max = min;
  for (const uint64_t residual : residuals) {
    const auto value = static_cast<int64_t>(residual);
    min = std::min(min, value);
    max = std::max(max, value);
  }
  return {static_cast<uint64_t>(min), static_cast<uint64_t>(max)};
}

// The window worth packing when some residuals lie far out: the farthest from the median leave one
// by one, and the cheapest state wins.
Window NarrowWindow(absl::Span<const uint64_t> residuals) {
  std::vector<uint64_t> sorted(residuals.begin(), residuals.end());
  std::sort(sorted.begin(), sorted.end(), Less);
  const uint64_t median = sorted[sorted.size() / 2];
  size_t low = 0;
  size_t high = sorted.size() - 1;
  const size_t most = std::min(kPatchesMax + sorted.size() / 8, sorted.size() - 1);
  const auto count = static_cast<double>(sorted.size());
  double patch_bits = 0;
  double best_cost = std::numeric_limits<double>::infinity();
  Window best;
  for (size_t removed = 0; removed <= most; ++removed) {
    const uint64_t spread = sorted[high] - sorted[low];
    const double cost = count * std::log2(static_cast<double>(spread) + 1) + patch_bits;
    if (cost < best_cost) {
      best_cost = cost;
      best = {sorted[low], sorted[high]};
    }
    const bool drop_low = median - sorted[low] > sorted[high] - median;
    const uint64_t dropped = drop_low ? sorted[low++] : sorted[high--];
    patch_bits += 8 * (1.1 + static_cast<double>(ZigZagBytes(dropped)));
    if (low > high) break;
  }
  return best;
}

bool Inside(uint64_t residual, const Window& window) {
  return residual - window.min <= window.max - window.min;
}

uint64_t ScaleOf(absl::Span<const uint64_t> residuals, const Window& window) {
  uint64_t scale = 0;
  for (const uint64_t residual : residuals) {
    if (!Inside(residual, window)) continue;
    const uint64_t number = residual - window.min;
    if (scale != 0 && number % scale == 0) continue;
    scale = std::gcd(scale, number);
    if (scale == 1) break;
  }
  return std::max<uint64_t>(scale, 1);
}

CorePlan PlanCore(absl::Span<const uint64_t> residuals, const Window& window) {
  CorePlan plan;
  plan.min = window.min;
  plan.scale = ScaleOf(residuals, window);
  plan.shape = ChoosePackShape((window.max - window.min) / plan.scale);
  plan.bytes = ZigZagBytes(plan.min) + 1 + VarintBytes(plan.shape.base) +
               PackedBytes(plan.shape, residuals.size());
  if (plan.scale > 1) plan.bytes += VarintBytes(plan.scale);
  size_t last = 0;
  for (size_t i = 0; i < residuals.size(); ++i) {
    if (Inside(residuals[i], window)) continue;
    plan.bytes += VarintBytes(i - last) + ZigZagBytes(residuals[i]);
    plan.patches.push_back({i, residuals[i]});
    last = i;
  }
  if (!plan.patches.empty()) plan.bytes += VarintBytes(plan.patches.size());
  return plan;
}

CorePlan PlanCore(absl::Span<const uint64_t> residuals, const Sample& sample) {
  const Window full = FullWindow(residuals);
  CorePlan plan = PlanCore(residuals, full);
  if ((full.max - full.min) / 2 > sample.core_spread || sample.common_share > 0.8) {
    const Window narrow = NarrowWindow(residuals);
    if (narrow.min != full.min || narrow.max != full.max) {
      CorePlan patched = PlanCore(residuals, narrow);
      if (patched.bytes < plan.bytes) plan = std::move(patched);
    }
  }
  return plan;
}

uint8_t FlagsOf(const CorePlan& plan) {
  return static_cast<uint8_t>((plan.scale > 1 ? kScaledBit : 0) |
                              (plan.patches.empty() ? 0 : kPatchedBit));
}

void PutZigZagNumber(std::string& out, uint64_t number) {
  PutZigZag(out, static_cast<int64_t>(number));
}

void PutCore(absl::Span<const uint64_t> residuals, const CorePlan& plan, std::string& out) {
  PutZigZagNumber(out, plan.min);
  if (plan.scale > 1) PutVarint(out, plan.scale);
  out.push_back(static_cast<char>(plan.shape.low_bits));
  PutVarint(out, plan.shape.base);
  std::array<uint64_t, kColumnValuesMax> numbers;
  for (size_t i = 0; i < residuals.size(); ++i) numbers[i] = residuals[i] - plan.min;
  if (plan.scale > 1) {
    for (size_t i = 0; i < residuals.size(); ++i) numbers[i] /= plan.scale;
  }
  if (!plan.patches.empty()) {
    PutVarint(out, plan.patches.size());
    size_t last = 0;
    for (const Patch& patch : plan.patches) {
      PutVarint(out, patch.place - last);
      PutZigZagNumber(out, patch.residual);
      numbers[patch.place] = 0;
      last = patch.place;
    }
  }
  PackNumbers(numbers.data(), residuals.size(), plan.shape, out);
}

struct SparsePlan {
  uint64_t common = 0;
  Residuals others;
  CorePlan core;
  size_t bytes = 0;
};

SparsePlan PlanSparse(absl::Span<const uint64_t> residuals, uint64_t common) {
  SparsePlan plan;
  plan.common = common;
  for (const uint64_t residual : residuals) {
    if (residual != common) plan.others.numbers[plan.others.count++] = residual;
  }
  INVARIANT(plan.others.count > 0);
  plan.core = PlanCore(plan.others.span(), TakeSample(plan.others.span()));
  plan.bytes = ZigZagBytes(common) + (residuals.size() + 7) / 8 + plan.core.bytes;
  return plan;
}

void PutSparse(absl::Span<const uint64_t> residuals, const SparsePlan& plan, std::string& out) {
  PutZigZagNumber(out, plan.common);
  std::array<char, (kColumnValuesMax + 7) / 8> bitmap{};
  for (size_t i = 0; i < residuals.size(); ++i) {
    if (residuals[i] != plan.common) bitmap[i / 8] |= static_cast<char>(1 << (i % 8));
  }
  out.append(bitmap.data(), (residuals.size() + 7) / 8);
  PutCore(plan.others.span(), plan.core, out);
}

// What zstd needs: all residuals as planes of bytes.
struct PlanesPlan {
  uint64_t min = 0;
  uint64_t scale = 1;
  uint8_t width = 8;
  std::string frame;
};

// Whether residuals repeat more than evenly spread ones would: only then zstd gains on packing.
bool Repeats(const Sample& sample, const CorePlan& core) {
  const double pairs = static_cast<double>(sample.count * (sample.count - 1)) / 2;
  const double spread = static_cast<double>(sample.core_spread / core.scale) + 1;
  return static_cast<double>(sample.equal_pairs) > 4 + 1.5 * pairs / spread;
}

// Returns whether a frame of less than `limit` bytes came out.
bool PlanPlanes(absl::Span<const uint64_t> residuals, size_t limit, PlanesPlan& plan) {
  const Window window = FullWindow(residuals);
  plan.min = window.min;
  plan.scale = ScaleOf(residuals, window);
  const uint64_t max = (window.max - window.min) / plan.scale;
  plan.width = static_cast<uint8_t>(std::bit_ceil((std::bit_width(max | 1) + 7u) / 8));
  std::string planes(plan.width * residuals.size(), 0);
  for (size_t i = 0; i < residuals.size(); ++i) {
    const uint64_t number = (residuals[i] - plan.min) / plan.scale;
    for (size_t plane = 0; plane < plan.width; ++plane) {
      planes[plane * residuals.size() + i] = static_cast<char>(number >> (8 * plane));
    }
  }
  return CompressColumn(planes, limit, plan.frame);
}

void PutHeader(size_t order, IntPacking packing, uint8_t flags, const uint64_t* seeds,
               std::string& out) {
  out.push_back(static_cast<char>(order | static_cast<unsigned>(packing) << 2 | flags));
  for (size_t i = 0; i < order; ++i) PutZigZagNumber(out, seeds[i]);
}

void PutResiduals(size_t order, const Residuals& residuals, const Sample& sample,
                  const uint64_t* seeds, std::string& out) {
  const absl::Span<const uint64_t> all = residuals.span();
  const CorePlan core = PlanCore(all, sample);
  size_t best = core.bytes;
  std::optional<SparsePlan> sparse;
  if (sample.common_share >= 0.25) {
    SparsePlan plan = PlanSparse(all, sample.common);
    if (plan.bytes < best) {
      best = plan.bytes;
      sparse = std::move(plan);
    }
  }
  PlanesPlan planes;
  if (best >= kZstdBytesMin && Repeats(sample, core) &&
      PlanPlanes(all, best - best / kZstdGain, planes)) {
    PutHeader(order, IntPacking::kZstd, planes.scale > 1 ? kScaledBit : 0, seeds, out);
    PutZigZagNumber(out, planes.min);
    if (planes.scale > 1) PutVarint(out, planes.scale);
    out.push_back(static_cast<char>(planes.width));
    PutText(out, planes.frame);
  } else if (sparse.has_value()) {
    PutHeader(order, IntPacking::kSparse, FlagsOf(sparse->core), seeds, out);
    PutSparse(all, *sparse, out);
  } else {
    PutHeader(order, IntPacking::kPacked, FlagsOf(core), seeds, out);
    PutCore(all, core, out);
  }
}

bool AllEqual(absl::Span<const uint64_t> numbers) {
  for (const uint64_t number : numbers) {
    if (number != numbers[0]) return false;
  }
  return true;
}

}  // namespace

void EncodeInts(absl::Span<const int64_t> values, std::string& out) {
  INVARIANT(!values.empty() && values.size() <= kColumnValuesMax);
  std::array<Residuals, 3> orders;
  orders[0].count = values.size();
  for (size_t i = 0; i < values.size(); ++i) {
    orders[0].numbers[i] = static_cast<uint64_t>(values[i]);
  }
  uint64_t seeds[2] = {orders[0].numbers[0], 0};
  for (size_t order = 0; order < orders.size(); ++order) {
    Residuals& residuals = orders[order];
    if (order > 0) {
      const Residuals& before = orders[order - 1];
      residuals.count = before.count - 1;
      for (size_t i = 0; i < residuals.count; ++i) {
        residuals.numbers[i] = before.numbers[i + 1] - before.numbers[i];
      }
      if (order == 1) seeds[1] = residuals.numbers[0];
    }
    if (AllEqual(residuals.span())) {  // The only form a single residual needs.
      PutHeader(order, IntPacking::kConstant, 0, seeds, out);
      return PutZigZagNumber(out, residuals.numbers[0]);
    }
  }
  std::array<Sample, 3> samples;
  size_t best = 0;
  for (size_t order = 0; order < orders.size(); ++order) {
    samples[order] = TakeSample(orders[order].span());
    // A higher order costs a pass when read.
    if (samples[order].bits < samples[best].bits - 0.1) best = order;
  }
  PutResiduals(best, orders[best], samples[best], seeds, out);
}

}  // namespace varve
