// SPDX-License-Identifier: Apache-2.0
//
// Goal: any bytes are what one of the smaller decoders of keys and values takes, or DataLoss; what
// is taken encodes to bytes that decode the same.
// Method: the first byte picks the decoder, the rest is what it reads.
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "model/check.h"
#include "model/labels.h"
#include "tsdb/format.h"
#include "tsdb/generation.h"
#include "tsdb/manifest.h"
#include "tsdb/open_store.h"
#include "tsdb/postings.h"
#include "tsdb/retention_clock.h"

namespace varve {
namespace {

// Whether `decoded` is there; it is DataLoss if not.
template <typename T>
bool Taken(const absl::StatusOr<T>& decoded) {
  INVARIANT(decoded.ok() || absl::IsDataLoss(decoded.status()));
  return decoded.ok();
}

void BucketTableBytes(std::string_view bytes) {
  auto table = BucketTable::Decode(bytes);
  if (!Taken(table)) return;
  const auto again = BucketTable::Decode(table->Encode());
  INVARIANT(again.ok() && *again == *table);
  // It goes on being one, whatever times come.
  bool added = false;
  for (const TimestampMs time : {TimestampMs{0}, kStoredTimeMax, -kStoredTimeMax}) {
    const BucketTable::Bucket& bucket = table->FindOrAdd(kDefaultPartition, time, kDay, added);
    INVARIANT(bucket.start <= time && time < bucket.end);
  }
  table->DropGenerationsBefore(0);
  table->DropEmptyBefore(0);
  INVARIANT(BucketTable::Decode(table->Encode()).ok());
}

void PostingsBytes(std::string_view bytes) {
  const auto ids = DecodePostings(bytes);
  if (!Taken(ids)) return;
  for (size_t i = 1; i < ids->size(); ++i) INVARIANT((*ids)[i - 1] < (*ids)[i]);
  const auto again = DecodePostings(EncodePostings(*ids));
  INVARIANT(again.ok() && *again == *ids);
}

void HotChunkBytes(std::string_view bytes) {
  const auto chunk = DecodeHotChunk(bytes);
  if (!Taken(chunk)) return;
  SeriesSamples samples;
  const absl::Status status =
      DecodeChunkSamples(*chunk, 1'700'000'000'000, kMinTimestamp, kMaxTimestamp, samples);
  INVARIANT(status.ok() || absl::IsDataLoss(status));
}

void HotKeyBytes(std::string_view bytes) {
  const auto key = DecodeHotKey(bytes);
  if (!Taken(key)) return;
  const auto again = DecodeHotKey(EncodeHotKey(*key));
  INVARIANT(again.ok() && *again == *key);
}

void HotRangeBytes(std::string_view bytes) {
  const auto range = DecodeHotRange(bytes);
  if (!Taken(range)) return;
  const auto again = DecodeHotRange(EncodeHotRange(*range));
  INVARIANT(again.ok() && again->min == range->min && again->max == range->max &&
            again->begun == range->begun);
}

void ExemplarBytes(std::string_view bytes) {
  if (const auto series = SeriesOfExemplarKey(bytes); Taken(series)) {
    (void)NumberOfExemplarKey(bytes);
  }
  const auto exemplar = DecodeExemplar(bytes);
  if (!Taken(exemplar)) return;
  const auto again = DecodeExemplar(EncodeExemplar(*exemplar));
  INVARIANT(again.ok() && again->labels == exemplar->labels && again->time == exemplar->time);
}

void MetadataBytes(std::string_view bytes) {
  const auto metadata = DecodeMetadata(bytes);
  if (!Taken(metadata)) return;
  const auto again = DecodeMetadata(EncodeMetadata(*metadata));
  INVARIANT(again.ok() && *again == *metadata);
}

void GenerationKeyBytes(std::string_view bytes) {
  (void)Taken(DecodeGenerationPrefix(bytes));
  (void)Taken(DecodeLabelKey(bytes));
  if (const auto key = DecodeColumnKey(bytes); Taken(key))
    INVARIANT(EncodeColumnKey(*key) == bytes);
  if (const auto pair = SplitPostingsTail(bytes)) {
    INVARIANT(PostingsTail(pair->first, pair->second) == bytes);
  }
}

void LabelBytes(std::string_view bytes) {
  const auto labels = Labels::FromBytes(bytes);
  if (!labels.ok()) return;
  const auto again = Labels::FromBytes(labels->bytes());
  INVARIANT(again.ok() && *again == *labels);
}

void SmallValueBytes(std::string_view bytes) {
  (void)Taken(DecodeVarintValue(bytes, "value"));
  (void)Taken(DecodeIdKey(bytes));
  (void)TableNamedIn(bytes);
  if (const auto state = RetentionClock::Decode(bytes)) {
    RetentionClock clock(*state, /*monotonic_ms=*/0);
    (void)clock.Now(1'700'000'000'000, 5);
    INVARIANT(RetentionClock::Decode(clock.Encode(5)).has_value());
  }
}

void ManifestBytes(std::string_view bytes) {
  (void)IsCutOff(bytes);
  for (const auto& [number, name] : FamiliesNamedIn(bytes)) INVARIANT(!name.empty());
}

constexpr std::array kDecoders = {&BucketTableBytes, &PostingsBytes,   &HotChunkBytes,
                                  &HotKeyBytes,      &HotRangeBytes,   &ExemplarBytes,
                                  &LabelBytes,       &SmallValueBytes, &GenerationKeyBytes,
                                  &ManifestBytes,    &MetadataBytes};

}  // namespace
}  // namespace varve

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  varve::kDecoders[data[0] % varve::kDecoders.size()](bytes.substr(1));
  return 0;
}
