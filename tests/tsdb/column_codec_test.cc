// SPDX-License-Identifier: Apache-2.0
//
// Goal: single columns come back as they went in, take what they should, and any bytes are either a
// column or refused.
// Method: every width and base, random columns from a printed seed, tables of series and the
// encodings made for them, random bytes.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "tests/tsdb/test_values.h"
#include "tsdb/column_double.h"
#include "tsdb/column_int.h"
#include "tsdb/column_pack.h"

namespace varve {
namespace {

void CheckPacking(const std::vector<uint64_t>& numbers, const PackShape& shape) {
  REQUIRE(IsPackShape(shape));
  std::string bytes;
  PackNumbers(numbers.data(), numbers.size(), shape, bytes);
  REQUIRE(bytes.size() == PackedBytes(shape, numbers.size()));
  std::vector<uint64_t> again(numbers.size());
  UnpackNumbers(bytes, again.size(), shape, again.data());
  REQUIRE(again == numbers);
  if (BitsOf(shape) > kSmallBitsMax) return;
  std::vector<uint32_t> small(numbers.size() + 7);
  UnpackSmall(bytes, numbers.size(), shape, small.data());
  small.resize(numbers.size());
  REQUIRE(std::equal(small.begin(), small.end(), numbers.begin(), numbers.end()));
}

TEST_CASE("column: steps that are small or just not, from beginnings near and far") {
  std::mt19937_64 random(TestSeed());
  for (const int64_t first : {int64_t{0}, int64_t{-5}, int64_t{1} << 51, (int64_t{1} << 51) + 1,
                              -(int64_t{1} << 51), -(int64_t{1} << 52)}) {
    for (const int64_t least : {int64_t{0}, int64_t{-3}, int64_t{1} << 20, -(int64_t{4096} << 20),
                                -(int64_t{4096} << 21), -(int64_t{1} << 40)}) {
      for (const int64_t scale : {1, 4096, 1 << 18, (1 << 18) + 1}) {
        for (const unsigned bits : {1U, 3U, 21U, 22U, 23U}) {
          const size_t count = random() % 2 == 0 ? 512 : 2 + random() % 510;
          const bool sparse = random() % 2 == 0;
          std::vector<double> values;
          int64_t value = first;
          for (size_t i = 0; i < count; ++i) {
            values.push_back(static_cast<double>(value));
            const bool changes = !sparse || random() % 3 == 0;
            if (changes) value += least + scale * static_cast<int64_t>(random() >> (64 - bits));
            if (std::abs(value) > int64_t{1} << 53) break;
          }
          std::string bytes;
          EncodeDoubles(values, bytes);
          ByteReader reader(bytes);
          const std::optional<DoubleColumn> column = ReadDoubleColumn(reader, values.size());
          REQUIRE(column.has_value());
          std::vector<double> again(values.size());
          REQUIRE(DecodeDoubles(*column, again.size(), again.data()));
          REQUIRE(again == values);
          if (NeverFalls(*column, values.size())) {
            REQUIRE(std::is_sorted(values.begin(), values.end()));
          }
        }
      }
    }
  }
}

TEST_CASE("pack: every width and every base") {
  std::mt19937_64 random(TestSeed());
  for (unsigned width = 0; width <= 64; ++width) {
    for (const size_t count : {1, 2, 7, 8, 9, 63, 64, 511, 512}) {
      std::vector<uint64_t> numbers(count);
      for (uint64_t& number : numbers) number = width == 0 ? 0 : random() >> (64 - width);
      CheckPacking(numbers, {static_cast<uint8_t>(width), 1});
    }
  }
  for (uint16_t base = 2; base <= kPackBaseMax; ++base) {
    for (const unsigned low : {0, 1, 5, 17, 40, 55}) {
      std::vector<uint64_t> numbers(random() % 512 + 1);
      for (uint64_t& number : numbers) {
        const uint64_t digit = random() % 4 == 0 ? base - uint64_t{1} : random() % base;
        number = digit << low | (random() & ((uint64_t{1} << low) - 1));
      }
      CheckPacking(numbers, {static_cast<uint8_t>(low), base});
    }
  }
}

TEST_CASE("pack: the shape chosen holds its bound and wastes little") {
  std::mt19937_64 random(TestSeed());
  for (int round = 0; round < 3000; ++round) {
    const uint64_t max = random() >> (random() % 64);
    CAPTURE(max);
    const PackShape shape = ChoosePackShape(max);
    REQUIRE(IsPackShape(shape));
    REQUIRE((shape.low_bits == 64 ? 0 : max >> shape.low_bits) < shape.base);
    const double bits = static_cast<double>(PackedBytes(shape, 512)) * 8 / 512;
    REQUIRE(bits <= std::log2(static_cast<double>(max) + 1) + 0.2);
    CheckPacking({max, 0, max, max / 2, 1 & max, max, max, max, max}, shape);
  }
}

TEST_CASE("ints: a sparse column's others go where its bits are") {
  std::mt19937_64 random(TestSeed());
  for (size_t count = 1; count <= kSmallValuesMax; ++count) {
    for (const unsigned every : {1U, 2U, 9U, 600U}) {
      std::string bitmap((count + 7) / 8, '\0');
      std::vector<uint32_t> others;
      std::vector<uint32_t> expected(count, 77);
      for (size_t i = 0; i < count; ++i) {
        if (random() % every != 0) continue;
        bitmap[i / 8] = static_cast<char>(bitmap[i / 8] | 1 << i % 8);
        others.push_back(static_cast<uint32_t>(random()));
        expected[i] = others.back();
      }
      others.resize(others.size() + 8);
      IntColumn column;
      column.bitmap = bitmap;
      std::vector<uint32_t> numbers(count + 7);
      SpreadSparse(column, count, others.data(), 77, numbers.data());
      numbers.resize(count);
      REQUIRE(numbers == expected);
    }
  }
}

std::string CheckInts(const std::vector<int64_t>& values) {
  std::string bytes;
  EncodeInts(values, bytes);
  const std::string padded = bytes + "after";
  ByteReader reader(padded);
  const auto column = ReadIntColumn(reader, values.size());
  REQUIRE(column.has_value());
  CHECK(reader.rest() == "after");
  std::vector<int64_t> again(values.size());
  REQUIRE(DecodeInts(*column, again.size(), again.data()));
  REQUIRE(again == values);
  for (size_t size = 0; size < bytes.size(); ++size) {
    ByteReader cut(std::string_view(bytes).substr(0, size));
    REQUIRE_FALSE(ReadIntColumn(cut, values.size()).has_value());
  }
  return EncodingName(*column);
}

TEST_CASE("ints: extremes and random columns") {
  constexpr int64_t kMin = std::numeric_limits<int64_t>::min();
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  CheckInts({kMin, kMax, 0, -1, kMin, kMin, kMax});
  CheckInts({kMax});
  CheckInts({kMin, kMax});
  CheckInts({0, kMax, kMin});
  const uint64_t seed = TestSeed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 400; ++round) {
    const auto shift = static_cast<int>(random() % 64);
    const uint64_t rare = random() % 40 + 1;
    const int64_t scale = random() % 3 == 0 ? 4096 : 1;
    const uint64_t order = random() % 3;
    std::vector<int64_t> values(random() % 512 + 1);
    for (int64_t& value : values) {
      value = static_cast<int64_t>(static_cast<uint64_t>(static_cast<int64_t>(random()) >> shift) *
                                   static_cast<uint64_t>(scale));
      if (random() % rare != 0) value = scale;
    }
    for (uint64_t sum = 0; sum < order; ++sum) {
      for (size_t i = 1; i < values.size(); ++i) values[i] = WrapAdd(values[i], values[i - 1]);
    }
    CheckInts(values);
  }
}

TEST_CASE("ints: each form for what it is made for") {
  std::mt19937_64 random(TestSeed());
  std::vector<int64_t> even, line, curve, counter, rare, half, periodic;
  int64_t sum = 0;
  for (int64_t i = 0; i < 512; ++i) {
    even.push_back(static_cast<int64_t>(random() % 1000));
    line.push_back(i * 15000);
    curve.push_back(i * i * 7);
    counter.push_back(sum += static_cast<int64_t>(random() % 1000));
    rare.push_back(i % 100 == 7 ? 1'000'000 : 5);
    half.push_back(random() % 2 == 0 ? 0 : static_cast<int64_t>(random() % 4001) * 4096);
    periodic.push_back(i * 7919 % 31 * (i % 31 % 3 == 0 ? 977 : 1));
  }
  CHECK(CheckInts(even) == "plain packed");
  CHECK(CheckInts(line) == "delta constant");
  CHECK(CheckInts(curve) == "delta-of-delta constant");
  CHECK(CheckInts(counter) == "delta packed");
  CHECK(CheckInts(rare) == "plain packed");
  CHECK(CheckInts(half) == "plain sparse");
  CHECK(CheckInts(periodic).find("zstd") != std::string::npos);
}

std::string CheckDoubles(const std::vector<double>& values, size_t bytes_max = SIZE_MAX) {
  std::string bytes;
  EncodeDoubles(values, bytes);
  const std::string padded = bytes + "after";
  ByteReader reader(padded);
  const auto column = ReadDoubleColumn(reader, values.size());
  REQUIRE(column.has_value());
  CHECK(reader.rest() == "after");
  CHECK(bytes.size() <= bytes_max);
  std::vector<double> again(values.size());
  std::vector<double> present(values.size());
  REQUIRE(DecodePresence(*column, present.size(), present.data()));
  for (size_t i = 0; i < values.size(); ++i) {
    REQUIRE(IsStaleNan(present[i]) == IsStaleNan(values[i]));
  }
  REQUIRE(DecodeDoubles(*column, again.size(), again.data()));
  for (size_t i = 0; i < values.size(); ++i) REQUIRE(BitsOf(again[i]) == BitsOf(values[i]));
  for (size_t size = 0; size < bytes.size(); ++size) {
    ByteReader cut(std::string_view(bytes).substr(0, size));
    REQUIRE_FALSE(ReadDoubleColumn(cut, values.size()).has_value());
  }
  return EncodingName(*column);
}

TEST_CASE("doubles: each form for what it is made for") {
  std::mt19937_64 random(TestSeed());
  const auto unit = [&] { return static_cast<double>(random() >> 11) * 0x1p-53; };
  std::vector<double> cents, nanoseconds, ratio, wide, pages, steps, repeated;
  double seconds = 12345;
  double level = 3e8;
  double last = unit();
  for (int i = 0; i < 512; ++i) {
    cents.push_back(std::round(unit() * 10000) / 100);
    nanoseconds.push_back(std::round((seconds += unit()) * 1e9) / 1e9);
    ratio.push_back(unit());
    wide.push_back(std::ldexp(unit(), static_cast<int>(random() % 1000) - 500));
    pages.push_back(level += 4096 * static_cast<double>(random() % 100));
    steps.push_back(20 + static_cast<double>(random() % 5) / 2);
    if (random() % 20 == 0) last = unit();
    repeated.push_back(last);
  }
  CHECK(CheckDoubles(cents, 512 * 14 / 8) == "decimal plain packed");
  CHECK(CheckDoubles(nanoseconds, 512 * 31 / 8) == "decimal delta packed");
  CHECK(CheckDoubles(ratio, 512 * 54 / 8) == "binary plain packed");
  CheckDoubles(wide, 512 * 8 + 16);
  CHECK(CheckDoubles(pages, 512 * 7 / 8 + 16) == "integer delta packed");
  CHECK(CheckDoubles(steps, 512 * 5 / 16) == "decimal plain packed");
  CheckDoubles(repeated, 600);
  CHECK(CheckDoubles(std::vector<double>(512, 0.1), 9) == "constant");
  CHECK(CheckDoubles(std::vector<double>(512, 7), 2) == "constant");
  CHECK(CheckDoubles(std::vector<double>(512, -0.0), 9) == "constant");
}

TEST_CASE("doubles: exceptions at every place") {
  for (const double hostile : HostileValues()) {
    for (const size_t place : {0, 1, 100, 510, 511}) {
      std::vector<double> values;
      for (int i = 0; i < 512; ++i) values.push_back(i * 3 + i % 7);
      values[place] = hostile;
      CheckDoubles(values);
      for (size_t i = place; i < 512 && i < place + 5; ++i) values[i] = hostile;
      CheckDoubles(values);
    }
  }
}

TEST_CASE("doubles: random bytes are a column or refused") {
  const uint64_t seed = TestSeed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  size_t columns = 0;
  for (int round = 0; round < 200'000; ++round) {
    std::string bytes(random() % 40, 0);
    for (char& byte : bytes) byte = static_cast<char>(random() >> (random() % 8));
    const size_t count = random() % 20 + 1;
    ByteReader reader(bytes);
    const auto column = ReadDoubleColumn(reader, count);
    double values[kColumnValuesMax];
    if (column.has_value() && DecodeDoubles(*column, count, values)) ++columns;
  }
  CHECK(columns > 1000);
}

}  // namespace
}  // namespace varve
