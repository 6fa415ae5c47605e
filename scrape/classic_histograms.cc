// SPDX-License-Identifier: Apache-2.0
//
// A group ends with the first entry that does not belong to it. That entry waits until the group's
// samples have been given.
#include "scrape/classic_histograms.h"

#include <xxhash.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "model/histogram_math.h"
#include "model/labels.h"
#include "model/sample.h"
#include "model/status_macros.h"
#include "scrape/text_parser.h"

namespace varve {
namespace {

constexpr double kExactCountMax = 9007199254740992.0;  // 2^53

uint64_t HashPairs(const LabelPairs& pairs) {
  uint64_t hash = 0;
  for (const auto& [name, value] : pairs) {
    hash = XXH3_64bits_withSeed(name.data(), name.size(), hash);
    hash = XXH3_64bits_withSeed(value.data(), value.size(), hash + 1);
  }
  return hash;
}

bool IsCount(double value) {
  return value >= 0 && value <= kExactCountMax && value == std::floor(value);
}

}  // namespace

absl::StatusOr<LineKind> ClassicHistogramReader::Next() {
  for (;;) {
    if (!ready_.empty()) {
      shown_ = std::move(ready_.front());
      ready_.pop_front();
      Show(*shown_);
      return LineKind::kSeries;
    }
    shown_.reset();
    RETURN_IF_ERROR(inner_status_);
    if (waiting_.has_value()) {
      const LineKind kind = *waiting_;
      waiting_.reset();
      TakeInner(kind);
      return kind;
    }
    const absl::StatusOr<LineKind> kind = inner_.Next();
    if (!kind.ok() || *kind != LineKind::kSeries) {
      EndGroup();
      if (kind.ok()) {
        waiting_ = *kind;
      } else {
        inner_status_ = kind.status();
      }
      continue;
    }
    LabelPairs whole;
    double bound = 0;
    ASSIGN_OR_RETURN(const Part part, PartOf(whole, bound));
    if (collecting_ && (part == Part::kNone || whole != whole_)) EndGroup();
    if (part == Part::kNone) {
      waiting_ = LineKind::kSeries;
      continue;
    }
    RETURN_IF_ERROR(Collect(part, std::move(whole), bound));
    if (keep_classic_) waiting_ = LineKind::kSeries;
  }
}

absl::StatusOr<ClassicHistogramReader::Part> ClassicHistogramReader::PartOf(LabelPairs& pairs,
                                                                            double& bound) {
  if (inner_.type() != MetricType::kHistogram) return Part::kNone;
  RETURN_IF_ERROR(inner_.ReadLabels(pairs));
  const auto name = FindPair(pairs, kMetricName);
  if (name == pairs.end()) return Part::kNone;
  if (inner_.histogram() != nullptr) {
    native_whole_ = pairs;
    return Part::kNone;
  }
  const auto strip = [&](std::string_view suffix) {
    if (!name->second.ends_with(suffix) || name->second.size() == suffix.size()) return false;
    name->second.resize(name->second.size() - suffix.size());
    return true;
  };
  Part part = Part::kNone;
  if (strip("_bucket")) {
    const auto le = FindPair(pairs, kBucketLabel);
    if (le == pairs.end()) return Part::kNone;
    const char* const end = le->second.data() + le->second.size();
    if (ReadSampleValue(le->second.data(), end, bound) != end || std::isnan(bound)) {
      return Part::kNone;
    }
    pairs.erase(le);
    part = Part::kBucket;
  } else if (strip("_sum")) {
    part = Part::kSum;
  } else if (strip("_count")) {
    part = Part::kCount;
  }
  return part != Part::kNone && pairs == native_whole_ ? Part::kNone : part;
}

absl::Status ClassicHistogramReader::Collect(Part part, LabelPairs whole, double bound) {
  if (!collecting_) {
    collecting_ = true;
    whole_ = std::move(whole);
    buckets_.clear();
    parts_.clear();
    sum_ = 0;
    count_.reset();
    contradictory_ = false;
  }
  const double value = inner_.value();
  Held& held = parts_.emplace_back();
  held.key_hash = inner_.KeyHash();
  held.key_bytes = inner_.KeyBytes();
  held.value = value;
  held.has_time = inner_.has_time();
  held.time = inner_.time();
  held.start_time = inner_.start_time();
  RETURN_IF_ERROR(inner_.ReadLabels(held.pairs));
  RETURN_IF_ERROR(inner_.ReadExemplars(held.exemplars));
  if (part == Part::kBucket) {
    AddBucket(bound, value);
  } else if (part == Part::kSum) {
    sum_ = value;
  } else {
    contradictory_ = contradictory_ || !(value >= 0);
    count_ = value;
  }
  return absl::OkStatus();
}

void ClassicHistogramReader::AddBucket(double bound, double count) {
  contradictory_ = contradictory_ || !(count >= 0);
  const auto at =
      std::lower_bound(buckets_.begin(), buckets_.end(), bound,
                       [](const Bucket& bucket, double wanted) { return bucket.bound < wanted; });
  if (at != buckets_.end() && at->bound == bound) return;  // The first one counts.
  buckets_.insert(at, {bound, count});
}

void ClassicHistogramReader::EndGroup() {
  if (!std::exchange(collecting_, false)) return;
  std::optional<Histogram> histogram = Convert();
  if (!histogram.has_value()) {
    if (keep_classic_) return;
    for (Held& part : parts_) ready_.push_back(std::move(part));
    return;
  }
  Held& held = ready_.emplace_back();
  held.histogram = std::move(histogram);
  held.pairs = whole_;
  held.key_hash = HashPairs(whole_);
  for (const auto& [name, value] : whole_) {
    held.key_bytes += static_cast<uint32_t>(name.size() + value.size());
  }
  held.key_bytes &= (1u << 24) - 1;
  for (Held& part : parts_) {
    held.has_time = part.has_time;
    held.time = part.time;
    if (held.start_time == 0) held.start_time = part.start_time;
    for (Exemplar& exemplar : part.exemplars) {
      // As of every histogram, only those whose time says which are new.
      if (exemplar.has_time) held.exemplars.push_back(std::move(exemplar));
    }
  }
  std::stable_sort(held.exemplars.begin(), held.exemplars.end(),
                   [](const Exemplar& a, const Exemplar& b) { return a.time < b.time; });
}

std::optional<Histogram> ClassicHistogramReader::Convert() {
  if (contradictory_ || (buckets_.empty() && !count_.has_value())) return std::nullopt;
  const double count = count_.value_or(buckets_.empty() ? 0 : buckets_.back().count);
  if (buckets_.empty() || !std::isinf(buckets_.back().bound) || buckets_.back().bound < 0) {
    buckets_.push_back({INFINITY, count});
  }
  if (std::isinf(buckets_.front().bound) && buckets_.front().bound < 0) return std::nullopt;
  if (buckets_.back().count != count) return std::nullopt;
  Histogram histogram;
  histogram.schema = kCustomBucketsSchema;
  histogram.count = count;
  histogram.sum = sum_;
  bool integers = IsCount(count);
  double below = 0;
  for (const Bucket& bucket : buckets_) {
    if (bucket.count < below) return std::nullopt;
    integers = integers && IsCount(bucket.count);
    if (std::isfinite(bucket.bound)) histogram.custom_bounds.push_back(bucket.bound);
    histogram.positive.counts.push_back(bucket.count - below);
    below = bucket.count;
  }
  histogram.positive.spans.push_back({0, static_cast<uint32_t>(buckets_.size())});
  histogram = CompactHistogram(histogram);
  histogram.integer_counts = integers;
  if (!histogram.Validate().ok()) return std::nullopt;
  return histogram;
}

// The inner entry becomes the current one.
void ClassicHistogramReader::TakeInner(LineKind kind) {
  type_ = inner_.type();
  if (kind == LineKind::kSeries) {
    value_ = inner_.value();
    histogram_ = inner_.histogram();
    has_time_ = inner_.has_time();
    time_ = inner_.time();
    start_time_ = inner_.start_time();
    has_exemplars_ = inner_.has_exemplars();
    return;
  }
  native_whole_.clear();
  metric_ = inner_.metric();
  help_ = inner_.help();
}

void ClassicHistogramReader::Show(const Held& held) {
  value_ = held.value;
  histogram_ = held.histogram.has_value() ? &*held.histogram : nullptr;
  has_time_ = held.has_time;
  time_ = held.time;
  start_time_ = held.start_time;
  has_exemplars_ = !held.exemplars.empty();
}

uint64_t ClassicHistogramReader::KeyHash() const {
  return shown_.has_value() ? shown_->key_hash : inner_.KeyHash();
}

uint32_t ClassicHistogramReader::KeyBytes() const {
  return shown_.has_value() ? shown_->key_bytes : inner_.KeyBytes();
}

absl::Status ClassicHistogramReader::ReadExemplars(std::vector<Exemplar>& exemplars) const {
  if (!shown_.has_value()) return inner_.ReadExemplars(exemplars);
  exemplars.insert(exemplars.end(), shown_->exemplars.begin(), shown_->exemplars.end());
  return absl::OkStatus();
}

absl::Status ClassicHistogramReader::ReadLabels(LabelPairs& pairs) {
  if (!shown_.has_value()) return inner_.ReadLabels(pairs);
  pairs = shown_->pairs;
  return absl::OkStatus();
}

}  // namespace varve
