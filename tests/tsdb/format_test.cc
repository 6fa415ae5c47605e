// SPDX-License-Identifier: Apache-2.0
//
// Keys order as their parts do; values come back as they went; damaged bytes are DataLoss.
#include "tsdb/format.h"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <zstd.h>

#include <algorithm>

#include "tests/tsdb/test_values.h"
#include "tsdb/head_row.h"
#include "tsdb/log_record.h"
#include "tsdb/xor_chunk.h"

namespace varve {
namespace {

TEST_CASE("hot keys sort by partition, bucket, series and time") {
  std::vector<HotKey> keys;
  for (const PartitionId partition : {0, 1}) {
    for (const TimestampMs bucket : {-kDay, TimestampMs{0}, kDay}) {
      for (const uint64_t series : {uint64_t{1}, uint64_t{255}, uint64_t{256}, ~uint64_t{0}}) {
        for (const TimestampMs time : {TimestampMs{-1}, TimestampMs{0}, TimestampMs{1} << 40}) {
          keys.push_back({partition, bucket, series, time});
        }
      }
    }
  }
  std::vector<std::string> encoded;
  for (const HotKey& key : keys) {
    encoded.push_back(EncodeHotKey(key));
    CHECK(encoded.back().size() == kHotKeyBytes);
    const auto decoded = DecodeHotKey(encoded.back());
    REQUIRE(decoded.ok());
    CHECK(*decoded == key);
  }
  CHECK(std::is_sorted(encoded.begin(), encoded.end()));
  CHECK_FALSE(DecodeHotKey(encoded[0].substr(1)).ok());
  CHECK_FALSE(DecodeHotKey(encoded[0] + "x").ok());
}

TEST_CASE("family names carry numbers") {
  CHECK(NumberedFamily(kLogFamilyPrefix, 17) == "log.17");
  CHECK(FamilyNumber(kLogFamilyPrefix, "log.17") == 17);
  CHECK_FALSE(FamilyNumber(kLogFamilyPrefix, "log.").has_value());
  CHECK_FALSE(FamilyNumber(kLogFamilyPrefix, "log.1x").has_value());
  CHECK_FALSE(FamilyNumber(kLogFamilyPrefix, "hot.1").has_value());
}

TEST_CASE("bucket table: buckets never overlap, whatever their sizes") {
  BucketTable table;
  bool added = false;
  CHECK(table.Find(0, 5) == nullptr);
  const BucketTable::Bucket day = table.FindOrAdd(0, kDay + 5, kDay, added);
  CHECK(added);
  CHECK(day.start == kDay);
  CHECK(day.end == 2 * kDay);
  // A longer size fits between neighbours.
  const BucketTable::Bucket week = table.FindOrAdd(0, 3 * kDay, 7 * kDay, added);
  CHECK(week.start == 2 * kDay);
  CHECK(week.end == 7 * kDay);
  const BucketTable::Bucket before = table.FindOrAdd(0, 100, 7 * kDay, added);
  CHECK(before.start == 0);
  CHECK(before.end == kDay);
  const BucketTable::Bucket negative = table.FindOrAdd(0, -1, kDay, added);
  CHECK(negative.start == -kDay);
  CHECK(negative.end == 0);
  CHECK(table.FindOrAdd(0, kDay + 7, kHour, added).start == kDay);
  CHECK_FALSE(added);
  table.FindOrAdd(1, 5, kDay, added);
  CHECK(added);
  CHECK(table.buckets().size() == 5);

  table.set_hot_folded_below(9);
  BucketTable::Bucket* bucket = table.FindStart(0, kDay);
  REQUIRE(bucket != nullptr);
  CHECK(table.FindStart(0, kDay + 1) == nullptr);
  bucket->sealed = true;
  bucket->generations = {{.number = 3,
                          .min_time = kDay,
                          .max_time = kDay + 7,
                          .series = 2,
                          .samples = 300,
                          .bytes = 5000},
                         {.number = 4,
                          .min_time = kDay + 5,
                          .max_time = kDay + 9,
                          .series = 1,
                          .samples = 1,
                          .bytes = 50}};

  const auto decoded = BucketTable::Decode(table.Encode());
  REQUIRE(decoded.ok());
  CHECK(*decoded == table);
  const std::string bytes = table.Encode();
  for (size_t size = 0; size < bytes.size(); ++size) {
    CHECK_FALSE(BucketTable::Decode(bytes.substr(0, size)).ok());
  }
  CHECK(table.DropEmptyBefore(2 * kDay) == 3);
  CHECK(table.buckets().front().start == kDay);
  CHECK(table.DropGenerationsBefore(2 * kDay - 1) == 0);
  CHECK(table.DropGenerationsBefore(2 * kDay) == 2);
  CHECK(table.DropEmptyBefore(2 * kDay) == 1);
}

TEST_CASE("bucket table: one from before folding is read") {
  // Version 1; one bucket of partition 0 from 0 to 24 h without generations.
  const std::string bytes = std::string("\x01\x01\x00\x00", 4) +
                            std::string("\x80\xf0\xb2\x52", 4) + std::string("\x00", 1);
  const auto table = BucketTable::Decode(bytes);
  REQUIRE(table.ok());
  REQUIRE(table->buckets().size() == 1);
  CHECK(table->buckets()[0] == BucketTable::Bucket{.start = 0, .end = kDay});
  CHECK(table->hot_folded_below() == 0);
}

TEST_CASE("hot ranges widen to whole steps") {
  HotRange range;
  CHECK(WidenHotRange(range, 5, 7));
  CHECK(range.min == 0);
  CHECK(range.max == kHotRangeRounding);
  CHECK_FALSE(WidenHotRange(range, 100, 200));
  CHECK(WidenHotRange(range, -1, 200));
  const auto decoded = DecodeHotRange(EncodeHotRange(range));
  REQUIRE(decoded.ok());
  CHECK(*decoded == range);
}

std::string Hex(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes) text += fmt::format("{:02x}", static_cast<uint8_t>(byte));
  return text;
}

TEST_CASE("the example of docs/format.md") {
  OpenXorChunk chunk;
  for (int i = 0; i < 3; ++i) chunk.Append(1'700'000'000'000 + i * 15'000, 1, 0);
  CHECK(Hex(EncodeHotKey({0, 1'699'920'000'000, 7, chunk.first_time})) ==
        "00008000018bcb20b40000000000000000078000018bcfe56800");
  CHECK(Hex(EncodeHotChunk({ChunkEncoding::kXor, chunk.count, chunk.last_time, chunk.payload()})) ==
        "0100038000018bcfe5dd303ff0000000000000e03a9800");
}

LogRecord RandomRecord(std::mt19937_64& random) {
  LogRecord record;
  for (size_t i = random() % 5; i-- > 0;) {
    record.series.push_back({random(), Labels::Of({{"a", std::to_string(random())}}).bytes()});
  }
  const bool starts = random() % 2 == 0;
  const bool one_time = random() % 2 == 0;
  const bool in_order = random() % 2 == 0;
  for (size_t i = random() % 200; i-- > 0;) {
    const auto time = one_time ? 5 : static_cast<TimestampMs>(random() % 1'000'000'000'000);
    const uint64_t id = in_order && !record.floats.empty() ? record.floats.back().id + 1
                                                           : random() >> (random() % 64);
    const auto thousandths =
        static_cast<int64_t>(random() >> (random() % 64)) * (id % 2 == 0 ? 1 : -1);
    const double value =
        random() % 2 == 0 ? RandomValue(random) : static_cast<double>(thousandths) / 1000;
    record.floats.push_back({id, time, value, starts && random() % 2 == 0 ? time - 5000 : 0});
  }
  for (size_t i = random() % 5; i-- > 0;) {
    record.histograms.push_back(
        {random(), static_cast<TimestampMs>(random() % 100000), 17, RandomHistogram(random)});
  }
  for (size_t i = random() % 3; i-- > 0;) {
    record.exemplars.push_back(
        {random(), {Labels::Of({{"t", "x"}}), RandomValue(random), 12, true}});
  }
  for (size_t i = random() % 3; i-- > 0;) {
    record.metadata.push_back({"m" + std::to_string(random()),
                               {static_cast<MetricType>(random() % 8), "help\n", "unit"}});
  }
  return record;
}

TEST_CASE("log records come back as they went, and damaged ones are refused") {
  const uint64_t seed = TestSeed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  LogRecordEncoder encoder;
  for (int round = 0; round < 100; ++round) {
    const LogRecord record = RandomRecord(random);
    const auto encoded = encoder.Encode(record);
    REQUIRE(encoded.ok());
    const auto decoded = DecodeLogRecord(*encoded);
    REQUIRE(decoded.ok());
    CHECK(decoded->series == record.series);
    REQUIRE(decoded->floats.size() == record.floats.size());
    for (size_t i = 0; i < record.floats.size(); ++i) {
      CHECK(decoded->floats[i].id == record.floats[i].id);
      CHECK(SampleText(decoded->floats[i].time, decoded->floats[i].value,
                       decoded->floats[i].start_time) ==
            SampleText(record.floats[i].time, record.floats[i].value, record.floats[i].start_time));
    }
    REQUIRE(decoded->histograms.size() == record.histograms.size());
    for (size_t i = 0; i < record.histograms.size(); ++i) {
      CHECK(decoded->histograms[i].histogram == record.histograms[i].histogram);
      CHECK(decoded->histograms[i].start_time == 17);
    }
    REQUIRE(decoded->exemplars.size() == record.exemplars.size());
    for (size_t i = 0; i < record.exemplars.size(); ++i) {
      CHECK(decoded->exemplars[i].id == record.exemplars[i].id);
      CHECK(BitsOf(decoded->exemplars[i].exemplar.value) ==
            BitsOf(record.exemplars[i].exemplar.value));
    }
    CHECK(decoded->metadata == record.metadata);
    std::string bytes(*encoded);
    CHECK(bytes[0] == 3);
    for (const char version : {0, 1, 2, 4}) {
      bytes[0] = version;
      CHECK_FALSE(DecodeLogRecord(bytes).ok());
    }
    bytes = *encoded;
    for (size_t size = 0; size < bytes.size(); size += 1 + bytes.size() / 20) {
      CHECK_FALSE(DecodeLogRecord(bytes.substr(0, size)).ok());
    }
  }
}

TEST_CASE("log records of versions 1 and 2") {
  // Base 0, no series, one float (id 1, time 0, value 1.0, no start), no histograms and exemplars;
  // in version 2 no metadata either.
  const std::string_view payload(
      "\x00\x00\x01\x02\x00\x00\x00\x00\x00\x00\x00\xf0\x3f\x00\x00\x00\x00", 17);
  for (const char version : {1, 2}) {
    const std::string_view read = payload.substr(0, 15 + static_cast<size_t>(version));
    std::string bytes = {version, static_cast<char>(read.size())};
    std::string frame(ZSTD_compressBound(read.size()), '\0');
    frame.resize(ZSTD_compress(frame.data(), frame.size(), read.data(), read.size(), 1));
    const auto record = DecodeLogRecord(bytes + frame);
    REQUIRE(record.ok());
    REQUIRE(record->floats.size() == 1);
    CHECK(record->floats[0].id == 1);
    CHECK(record->floats[0].value == 1);
    CHECK(record->metadata.empty());
    bytes[0] = static_cast<char>(version ^ 3);
    CHECK_FALSE(DecodeLogRecord(bytes + frame).ok());
  }
}

TEST_CASE("a log record's bytes") {
  LogRecord record;
  record.floats = {{7, 1000, 1.0, 0}, {8, 1000, 0.0, 0}, {12, 1000, 258.0, 0}};
  LogRecordEncoder encoder;
  // Version, 3 floats, base 1000, no flags, ids (7 and one more; 3 past the next), sizes 2, 0
  // and 3.
  CHECK(Hex(*encoder.Encode(record)) ==
        "030003d00f000e010600"
        "0203"
        "3ff0"
        "407020");
  record.floats[1] = {8, 998, 0.0, 400};
  CHECK(Hex(*encoder.Encode(record)) ==
        "030003d00f030e010600"
        "000300"
        "0203"
        "3ff0"
        "407020"
        "00ad0900");
  record.floats = {{7, 1000, 11.47, 0}, {8, 1000, -0.001, 0}, {9, 1000, 1.0 / 3, 0}};
  CHECK(Hex(*encoder.Encode(record)) ==
        "030003d00f000e02"
        "9a08"
        "9c5901"
        "3fd5555555555555");
  CHECK(Hex(*encoder.Encode(LogRecord())) == "030000");
  // More ids than floats, a value of nine bytes, an unknown flag.
  for (const std::string_view damaged : {std::string_view("\x03\x00\x01\x00\x00\x02\x01\x00", 8),
                                         std::string_view("\x03\x00\x01\x00\x00\x02\x00\x0f"
                                                          "123456789",
                                                          17),
                                         std::string_view("\x03\x00\x01\x00\x04\x02\x00\x00", 8)}) {
    CHECK(absl::IsDataLoss(DecodeLogRecord(damaged).status()));
  }
}

TEST_CASE("metadata rows come back as they went, and damaged ones are refused") {
  for (uint8_t type = 0; type < 8; ++type) {
    const MetricMetadata metadata{static_cast<MetricType>(type), "help \xff", "seconds"};
    const std::string row = EncodeMetadata(metadata);
    const auto decoded = DecodeMetadata(row);
    REQUIRE(decoded.ok());
    CHECK(*decoded == metadata);
    for (size_t size = 0; size < row.size(); ++size) {
      CHECK(absl::IsDataLoss(DecodeMetadata(row.substr(0, size)).status()));
    }
    CHECK(absl::IsDataLoss(DecodeMetadata(row + "x").status()));
  }
  CHECK(Hex(EncodeMetadata({MetricType::kCounter, "hi", "s"})) ==
        "0101017302"
        "6869");
  CHECK(absl::IsDataLoss(DecodeMetadata(std::string("\x01\x08\x00\x00", 4)).status()));
  CHECK(absl::IsDataLoss(DecodeMetadata(std::string("\x02\x01\x00\x00", 4)).status()));
}

HeadRowEntry RandomEntry(uint64_t id, std::mt19937_64& random, const std::string& payload) {
  HeadRowEntry entry{.id = id, .kind = static_cast<OpenChunkKind>(random() % 4)};
  entry.has_samples = entry.kind != OpenChunkKind::kNone || random() % 2 == 0;
  if (!entry.has_samples) return entry;
  // Few values, and 0 among them: fields are often those of an entry before.
  const auto few = [&random] { return random() % 3; };
  entry.last_is_histogram = entry.kind == OpenChunkKind::kHistogram;
  entry.min_time = static_cast<TimestampMs>(few()) * 1000;
  entry.last_time = static_cast<TimestampMs>(few()) * 500;
  entry.last_value = RandomValue(random);
  entry.hot_epoch = few();
  if (entry.kind == OpenChunkKind::kNone) return entry;
  entry.count = static_cast<uint8_t>(1 + few());
  entry.limit = static_cast<uint8_t>(118 + few());
  entry.first_time = -static_cast<TimestampMs>(few());
  entry.payload = std::string_view(payload).substr(0, few() * 8);
  if (entry.kind == OpenChunkKind::kHistogram) return entry;
  entry.last_step = static_cast<int64_t>(few());
  if (entry.kind == OpenChunkKind::kXorWithStarts) {
    entry.last_start = static_cast<int64_t>(few());
  } else if (random() % 2 == 0) {
    entry.steady_since = static_cast<TimestampMs>(few());
  }
  entry.window.leading = static_cast<uint8_t>(few());
  entry.window.significant = static_cast<uint8_t>(few());
  entry.bits = static_cast<uint16_t>(entry.payload.size() * 8);
  return entry;
}

TEST_CASE("head rows: fields that entries have in common") {
  const uint64_t seed = TestSeed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  const std::string payload = "sixteen bytes...";
  for (int round = 0; round < 50; ++round) {
    std::vector<HeadRowEntry> entries;
    HeadRowWriter writer(kHeadRowSeries, 7, static_cast<TimestampMs>(random() % 2000));
    for (uint64_t id = kHeadRowSeries; id < 2 * kHeadRowSeries; id += 1 + random() % 50) {
      entries.push_back(RandomEntry(id, random, payload));
      writer.Add(entries.back());
    }
    const std::string bytes = writer.Finish();
    const auto row = DecodeHeadRow(kHeadRowSeries, bytes);
    REQUIRE(row.ok());
    REQUIRE(row->entries.size() == entries.size());
    for (size_t i = 0; i < entries.size(); ++i) {
      CAPTURE(i);
      const HeadRowEntry& wrote = entries[i];
      const HeadRowEntry& read = row->entries[i];
      CHECK(read.id == wrote.id);
      CHECK(read.kind == wrote.kind);
      CHECK(read.has_samples == wrote.has_samples);
      CHECK(read.last_is_histogram == wrote.last_is_histogram);
      CHECK(read.min_time == wrote.min_time);
      CHECK(read.last_time == wrote.last_time);
      CHECK(BitsOf(read.last_value) == BitsOf(wrote.last_value));
      CHECK(read.hot_epoch == wrote.hot_epoch);
      CHECK(read.count == wrote.count);
      CHECK(read.limit == wrote.limit);
      CHECK(read.first_time == wrote.first_time);
      CHECK(read.last_step == wrote.last_step);
      CHECK(read.last_start == wrote.last_start);
      CHECK(read.steady_since == wrote.steady_since);
      CHECK(read.window.leading == wrote.window.leading);
      CHECK(read.window.significant == wrote.window.significant);
      CHECK(read.bits == wrote.bits);
      CHECK(read.payload == wrote.payload);
    }
  }
}

TEST_CASE("a head row of version 1") {
  // Sequence 9, base 0, one entry: the first id, nothing in memory but a last sample: 2.0 at 3, the
  // oldest at 1, epoch 4.
  const std::string bytes("\x01\x09\x00\x01\x00\x10\x02\x06\x00\x00\x00\x00\x00\x00\x00\x40\x04",
                          17);
  const auto row = DecodeHeadRow(kHeadRowSeries, bytes);
  REQUIRE(row.ok());
  REQUIRE(row->entries.size() == 1);
  CHECK(row->entries[0].id == kHeadRowSeries);
  CHECK(row->entries[0].min_time == 1);
  CHECK(row->entries[0].last_time == 3);
  CHECK(row->entries[0].last_value == 2);
  CHECK(row->entries[0].hot_epoch == 4);
}

TEST_CASE("a head row of version 2") {
  HeadRowWriter writer(kHeadRowSeries, 9, 0);
  // What is not known to be steady is written as before.
  writer.Add({.id = kHeadRowSeries,
              .kind = OpenChunkKind::kXor,
              .has_samples = true,
              .count = 3,
              .last_step = 7,
              .bits = 8,
              .payload = "x"});
  std::string bytes = writer.Finish();
  bytes[0] = 2;
  const auto row = DecodeHeadRow(kHeadRowSeries, bytes);
  REQUIRE(row.ok());
  REQUIRE(row->entries.size() == 1);
  CHECK(row->entries[0].last_step == 7);
  CHECK(row->entries[0].steady_since == kMaxTimestamp);
  CHECK(row->entries[0].payload == "x");
}

TEST_CASE("head rows come back as they went") {
  OpenXorChunk chunk;
  for (int i = 0; i < 7; ++i) chunk.Append(1000 + i * 15000, i * 1.5, 0);
  HeadRowWriter writer(2 * kHeadRowSeries, 99, 50'000);
  CHECK(writer.empty());
  writer.Add({.id = 2 * kHeadRowSeries});
  writer.Add({.id = 2 * kHeadRowSeries + 5,
              .kind = OpenChunkKind::kXor,
              .has_samples = true,
              .min_time = -7,
              .last_time = chunk.last_time,
              .last_value = chunk.last_value,
              .hot_epoch = 3,
              .count = chunk.count,
              .limit = 50,
              .first_time = chunk.first_time,
              .last_step = chunk.last_step,
              .steady_since = chunk.steady_since,
              .window = chunk.window,
              .bits = chunk.bits,
              .payload = chunk.payload()});
  const std::string bytes = writer.Finish();
  const auto row = DecodeHeadRow(2 * kHeadRowSeries, bytes);
  REQUIRE(row.ok());
  CHECK(row->sequence == 99);
  REQUIRE(row->entries.size() == 2);
  CHECK_FALSE(row->entries[0].has_samples);
  const HeadRowEntry& entry = row->entries[1];
  CHECK(entry.id == 2 * kHeadRowSeries + 5);
  CHECK(entry.min_time == -7);
  CHECK(entry.last_time == chunk.last_time);
  CHECK(entry.last_value == chunk.last_value);
  CHECK(entry.hot_epoch == 3);
  CHECK(entry.count == 7);
  CHECK(entry.limit == 50);
  CHECK(entry.first_time == 1000);
  CHECK(entry.last_step == 15000);
  CHECK(entry.steady_since == 1000);
  CHECK(entry.payload == chunk.payload());
  for (size_t size = 0; size < bytes.size(); ++size) {
    CHECK_FALSE(DecodeHeadRow(2 * kHeadRowSeries, bytes.substr(0, size)).ok());
  }
}

}  // namespace
}  // namespace varve
