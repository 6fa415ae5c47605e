// SPDX-License-Identifier: Apache-2.0
//
// Postings of generations: sets of series ids as bytes, and the builder that collects them while a
// generation is written.
//
//   kind       u8       1 array: the ids as varints, each the difference to the one before
//                       2 map: checksum u32 LE (low half of XXH3 of the rest), then per upper half
//                         of the ids: varint upper half, varint size, a Roaring bitmap of the lower
//                         halves in its portable form
//
// Sets of up to kPostingsArrayMax ids are arrays: a map takes 40 bytes at least.
#pragma once

#include <absl/container/flat_hash_map.h>
#include <absl/status/statusor.h>
#include <absl/types/span.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/labels.h"
#include "model/string_map.h"

namespace varve {

inline constexpr size_t kPostingsArrayMax = 16;

// REQUIRES: ids rise.
std::string EncodePostings(absl::Span<const uint64_t> ids);
// The ids, rising. DataLoss if the bytes are no set.
absl::StatusOr<std::vector<uint64_t>> DecodePostings(std::string_view bytes);

// The label pair as the tail of a key: name, 0xFF, value. The set of all series has the pair of two
// empty texts.
std::string PostingsTail(std::string_view name, std::string_view value);
// The value of the pair, a view into `tail`; nothing if it has no 0xFF.
std::optional<std::pair<std::string_view, std::string_view>> SplitPostingsTail(
    std::string_view tail);

// Collects the label pairs of series and who has them, in a byte or two each.
class PostingsBuilder {
 public:
  // REQUIRES: ids rise.
  void Add(uint64_t id, const Labels& labels);
  // What has been collected takes about this.
  uint64_t bytes() const { return bytes_; }

  // Calls visit(tail, encoded set) for all pairs in the order of their keys, until it fails.
  template <typename Visitor>
  absl::Status Visit(Visitor visit) const {
    for (const auto* entry : Sorted()) {
      absl::Status status = visit(std::string_view(entry->first), Encode(entry->second));
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }

 private:
  struct Ids {
    uint64_t last = 0;
    uint64_t count = 0;
    std::string steps;  // Varints.
  };
  using Pairs = StringMap<Ids>;

  void Append(Ids& ids, uint64_t id);
  static std::string Encode(const Ids& ids);
  std::vector<const Pairs::value_type*> Sorted() const;

  Pairs pairs_;
  std::string tail_;
  uint64_t bytes_ = 0;
};

// Set operations on rising ids; the first set is changed in place.
void IntersectIds(std::vector<uint64_t>& ids, absl::Span<const uint64_t> with);
void SubtractIds(std::vector<uint64_t>& ids, absl::Span<const uint64_t> without);
// Sorts and removes duplicates.
void SortIds(std::vector<uint64_t>& ids);

}  // namespace varve
