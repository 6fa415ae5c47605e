// SPDX-License-Identifier: Apache-2.0
//
// Numbers below a bound, packed: each as some low bits and a digit of a base that need not be a
// power of two, so that a bound of 75 costs 6.27 bits and not 7.
//
//   low      number i's low bits at bit i * low_bits, least significant bit first; zeros fill the
//            last byte
//   digits   with a base above 1: u64 LE words of as many digits as base^digits <= 2^64 allows. A
//            word w holds them as a fraction w / 2^64: its first digit is the whole part of
//            base * w / 2^64, what is left is the fraction that holds the next. The last word has
//            fewer digits and only as many of its high bytes as these need.
#pragma once

#include <bit>
#include <cstdint>
#include <string>
#include <string_view>

namespace varve {

struct PackShape {
  uint8_t low_bits = 0;
  uint16_t base = 1;  // 1 = there are no digits.
  friend bool operator==(const PackShape&, const PackShape&) = default;
};

inline constexpr uint16_t kPackBaseMax = 256;

inline bool IsPackShape(const PackShape& shape) {
  return shape.low_bits <= 64 && shape.base >= 1 && shape.base <= kPackBaseMax &&
         (shape.base == 1 || shape.low_bits < 64);
}

// The smallest shape for numbers up to `max`; plain bits if digits hardly gain.
PackShape ChoosePackShape(uint64_t max);

// What `count` numbers take.
uint64_t PackedBytes(const PackShape& shape, uint64_t count);

// REQUIRES: each number fits the shape.
void PackNumbers(const uint64_t* numbers, size_t count, const PackShape& shape, std::string& out);

// REQUIRES: IsPackShape(shape), bytes.size() == PackedBytes(shape, count). Any bytes give numbers.
void UnpackNumbers(std::string_view bytes, size_t count, const PackShape& shape, uint64_t* numbers);

// The same for at most kSmallValuesMax numbers of at most kSmallBitsMax bits. Behind them up to
// seven more are written, which may be anything.
inline constexpr unsigned kSmallBitsMax = 22;
inline constexpr size_t kSmallValuesMax = 512;
void UnpackSmall(std::string_view bytes, size_t count, const PackShape& shape, uint32_t* numbers);

inline unsigned BitsOf(const PackShape& shape) {
  return shape.low_bits + static_cast<unsigned>(std::bit_width(shape.base - 1U));
}

}  // namespace varve
