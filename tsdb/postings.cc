// SPDX-License-Identifier: Apache-2.0
//
// Postings: encoding, decoding, building.
#include "tsdb/postings.h"

#include <roaring/roaring.h>
#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <memory>

#include "model/check.h"
#include "tsdb/coding.h"

namespace varve {

namespace {

constexpr char kArray = 1;
constexpr char kMap = 2;

struct FreeBitmap {
  void operator()(roaring_bitmap_t* bitmap) const { roaring_bitmap_free(bitmap); }
};
using Bitmap = std::unique_ptr<roaring_bitmap_t, FreeBitmap>;

absl::Status DamagedPostings() { return absl::DataLossError("damaged postings"); }

uint32_t Checksum(std::string_view bytes) {
  return static_cast<uint32_t>(XXH3_64bits(bytes.data(), bytes.size()));
}

// One bitmap: the lower halves of ids that share their upper half.
void PutBitmap(uint64_t upper, const std::vector<uint32_t>& lower, std::string& out) {
  const Bitmap bitmap(roaring_bitmap_of_ptr(lower.size(), lower.data()));
  INVARIANT(bitmap != nullptr);
  roaring_bitmap_run_optimize(bitmap.get());
  PutVarint(out, upper);
  const size_t size = roaring_bitmap_portable_size_in_bytes(bitmap.get());
  PutVarint(out, size);
  const size_t begin = out.size();
  out.resize(begin + size);
  roaring_bitmap_portable_serialize(bitmap.get(), out.data() + begin);
}

std::string EncodeMap(absl::Span<const uint64_t> ids) {
  std::string body;
  std::vector<uint32_t> lower;
  for (size_t i = 0; i < ids.size(); ++i) {
    lower.push_back(static_cast<uint32_t>(ids[i]));
    if (i + 1 < ids.size() && ids[i + 1] >> 32 == ids[i] >> 32) continue;
    PutBitmap(ids[i] >> 32, lower, body);
    lower.clear();
  }
  std::string out(1, kMap);
  const uint32_t checksum = Checksum(body);
  for (int shift = 0; shift < 32; shift += 8) out.push_back(static_cast<char>(checksum >> shift));
  return out + body;
}

absl::StatusOr<std::vector<uint64_t>> DecodeArray(std::string_view bytes) {
  std::vector<uint64_t> ids;
  ByteReader reader(bytes);
  uint64_t id = 0;
  while (!reader.done()) {
    const uint64_t before = id;
    id += reader.Varint();
    if (id <= before) return DamagedPostings();
    ids.push_back(id);
  }
  if (reader.failed()) return DamagedPostings();
  return ids;
}

absl::StatusOr<std::vector<uint64_t>> DecodeMap(std::string_view bytes) {
  if (bytes.size() < sizeof(uint32_t)) return DamagedPostings();
  uint32_t checksum = 0;
  for (size_t i = 0; i < sizeof(checksum); ++i) {
    checksum |= static_cast<uint32_t>(static_cast<uint8_t>(bytes[i])) << (8 * i);
  }
  bytes.remove_prefix(sizeof(checksum));
  // The library trusts what a bitmap says of its own size.
  if (checksum != Checksum(bytes)) return DamagedPostings();
  std::vector<uint64_t> ids;
  ByteReader reader(bytes);
  std::vector<uint32_t> lower;
  while (!reader.done()) {
    const uint64_t upper = reader.Varint();
    const std::string_view text = reader.Text();
    if (reader.failed()) break;
    const Bitmap bitmap(roaring_bitmap_portable_deserialize_safe(text.data(), text.size()));
    if (bitmap == nullptr) return DamagedPostings();
    lower.resize(roaring_bitmap_get_cardinality(bitmap.get()));
    roaring_bitmap_to_uint32_array(bitmap.get(), lower.data());
    for (const uint32_t half : lower) ids.push_back(upper << 32 | half);
  }
  if (reader.failed()) return DamagedPostings();
  return ids;
}

}  // namespace

std::string EncodePostings(absl::Span<const uint64_t> ids) {
  if (ids.size() > kPostingsArrayMax) return EncodeMap(ids);
  std::string out(1, kArray);
  uint64_t before = 0;
  for (const uint64_t id : ids) PutVarint(out, id - std::exchange(before, id));
  return out;
}

absl::StatusOr<std::vector<uint64_t>> DecodePostings(std::string_view bytes) {
  if (bytes.empty()) return DamagedPostings();
  if (bytes[0] == kArray) return DecodeArray(bytes.substr(1));
  if (bytes[0] == kMap) return DecodeMap(bytes.substr(1));
  return DamagedPostings();
}

std::string PostingsTail(std::string_view name, std::string_view value) {
  std::string tail;
  tail.reserve(name.size() + 1 + value.size());
  tail.append(name);
  tail.push_back(static_cast<char>(0xff));
  tail.append(value);
  return tail;
}

std::optional<std::pair<std::string_view, std::string_view>> SplitPostingsTail(
    std::string_view tail) {
  const size_t end = tail.find(static_cast<char>(0xff));
  if (end == std::string_view::npos) return std::nullopt;
  return std::make_pair(tail.substr(0, end), tail.substr(end + 1));
}

void PostingsBuilder::Append(Ids& ids, uint64_t id) {
  INVARIANT(ids.count == 0 || id > ids.last);
  const size_t before = ids.steps.size();
  PutVarint(ids.steps, id - std::exchange(ids.last, id));
  bytes_ += ids.steps.size() - before;
  ++ids.count;
}

void PostingsBuilder::Add(uint64_t id, const Labels& labels) {
  Append(pairs_[PostingsTail({}, {})], id);
  for (const LabelView& label : labels) {
    tail_.assign(label.name);
    tail_.push_back(static_cast<char>(0xff));
    tail_.append(label.value);
    const auto it = pairs_.find(std::string_view(tail_));
    if (it != pairs_.end()) {
      Append(it->second, id);
    } else {
      bytes_ += sizeof(Pairs::value_type) + tail_.size();
      Append(pairs_[tail_], id);
    }
  }
}

std::string PostingsBuilder::Encode(const Ids& ids) {
  std::vector<uint64_t> numbers;
  numbers.reserve(ids.count);
  ByteReader reader(ids.steps);
  uint64_t id = 0;
  while (!reader.done()) numbers.push_back(id += reader.Varint());
  return EncodePostings(numbers);
}

std::vector<const PostingsBuilder::Pairs::value_type*> PostingsBuilder::Sorted() const {
  std::vector<const Pairs::value_type*> sorted;
  sorted.reserve(pairs_.size());
  for (const auto& pair : pairs_) sorted.push_back(&pair);
  std::sort(sorted.begin(), sorted.end(),
            [](const auto* a, const auto* b) { return a->first < b->first; });
  return sorted;
}

void IntersectIds(std::vector<uint64_t>& ids, absl::Span<const uint64_t> with) {
  auto out = ids.begin();
  if (with.size() / 16 > ids.size()) {  // Few among many: search instead of merging.
    const uint64_t* from = with.data();
    const uint64_t* end = with.data() + with.size();
    for (const uint64_t id : ids) {
      from = std::lower_bound(from, end, id);
      if (from == end) break;
      if (*from == id) *out++ = id;
    }
  } else {
    out = std::set_intersection(ids.begin(), ids.end(), with.begin(), with.end(), ids.begin());
  }
  ids.erase(out, ids.end());
}

void SubtractIds(std::vector<uint64_t>& ids, absl::Span<const uint64_t> without) {
  if (without.empty()) return;
  std::vector<uint64_t> rest;
  rest.reserve(ids.size());
  std::set_difference(ids.begin(), ids.end(), without.begin(), without.end(),
                      std::back_inserter(rest));
  ids = std::move(rest);
}

void SortIds(std::vector<uint64_t>& ids) {
  if (ids.empty()) return;
  const auto [low, high] = std::minmax_element(ids.begin(), ids.end());
  const uint64_t first = *low;
  // Ids are given out in order, so that those of a selection mostly lie near one another.
  const uint64_t words = (*high - first) / 64 + 1;
  if (words <= ids.size()) {
    std::vector<uint64_t> bits(words);
    for (const uint64_t id : ids) bits[(id - first) / 64] |= uint64_t{1} << (id - first) % 64;
    ids.clear();
    for (uint64_t word = 0; word < words; ++word) {
      for (uint64_t left = bits[word]; left != 0; left &= left - 1) {
        ids.push_back(first + word * 64 + static_cast<uint64_t>(std::countr_zero(left)));
      }
    }
    return;
  }
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
}

}  // namespace varve
