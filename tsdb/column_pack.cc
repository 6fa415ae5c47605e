// SPDX-License-Identifier: Apache-2.0
//
// Packing and unpacking. Unpacking is what reading sealed data spends its time with: its loops have
// no branches, and words are taken four at a time because each digit waits for the one before.
#include "tsdb/column_pack.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <iterator>
#include <utility>

#ifdef __x86_64__
#include <immintrin.h>
#endif

#include "model/check.h"

namespace varve {

namespace {

using Uint128 = unsigned __int128;

constexpr Uint128 kTwoTo64 = static_cast<Uint128>(1) << 64;

// How many digits of each base go into a word, and how many bytes a number of digits takes.
struct DigitTable {
  std::array<uint8_t, kPackBaseMax + 1> digits{};

  constexpr DigitTable() {
    for (unsigned base = 2; base <= kPackBaseMax; ++base) {
      Uint128 power = 1;
      uint8_t count = 0;
      while (power * base <= kTwoTo64) {
        power *= base;
        ++count;
      }
      digits[base] = count;
    }
  }
};
constexpr DigitTable kDigits;

Uint128 Power(unsigned base, size_t exponent) {
  Uint128 power = 1;
  for (size_t i = 0; i < exponent; ++i) power *= base;
  return power;
}

// Bytes of a word's fraction that tell `digits` digits apart.
size_t WordBytes(unsigned base, size_t digits) {
  const Uint128 power = Power(base, digits);
  size_t bytes = 0;
  for (Uint128 reach = 1; reach < power; reach <<= 8) ++bytes;
  return bytes;
}

uint64_t LowBytes(const PackShape& shape, uint64_t count) {
  return (count * shape.low_bits + 7) / 8;
}

uint64_t Load(const char* bytes) {
  uint64_t word;
  std::memcpy(&word, bytes, sizeof(word));
  return word;
}

// The smallest fraction of `bytes` bytes that holds these digits.
uint64_t DigitWord(const uint64_t* numbers, size_t count, const PackShape& shape, size_t bytes) {
  Uint128 digits = 0;
  for (size_t i = 0; i < count; ++i) digits = digits * shape.base + (numbers[i] >> shape.low_bits);
  const Uint128 power = Power(shape.base, count);
  const Uint128 reach = static_cast<Uint128>(1) << (8 * bytes);
  // digits * reach may need 128 bits, never more: digits < power <= 2^64 and reach <= 2^64.
  return static_cast<uint64_t>((digits * reach + power - 1) / power);
}

void PutLittleEndian(uint64_t word, size_t bytes, std::string& out) {
  char text[sizeof(word)];
  std::memcpy(text, &word, sizeof(word));
  out.append(text, bytes);
}

// Eight numbers of a width begin and end at a byte: with the width known, all places are constants.
template <unsigned kWidth>
void UnpackEights(const char* data, size_t eights, uint64_t* numbers) {
  constexpr uint64_t kMask = (uint64_t{1} << kWidth) - 1;
  for (size_t i = 0; i < eights; ++i, data += kWidth, numbers += 8) {
    for (size_t j = 0; j < 8; ++j) {
      numbers[j] = Load(data + j * kWidth / 8) >> (j * kWidth % 8) & kMask;
    }
  }
}

// Widths whose numbers lie within eight bytes wherever they begin.
constexpr size_t kEightsWidthMax = 57;
using UnpackFunction = void (*)(const char* data, size_t eights, uint64_t* numbers);

template <size_t... kWidths>
constexpr std::array<UnpackFunction, sizeof...(kWidths)> MakeUnpackTable(
    std::index_sequence<kWidths...> /*widths*/) {
  return {&UnpackEights<kWidths>...};
}
constexpr auto kUnpackTable = MakeUnpackTable(std::make_index_sequence<kEightsWidthMax + 1>());

// Widths beyond, number by number.
void UnpackWide(std::string_view bytes, size_t count, unsigned width, uint64_t* numbers) {
  const uint64_t mask = width == 64 ? ~uint64_t{0} : (uint64_t{1} << width) - 1;
  for (size_t i = 0; i < count; ++i) {
    const size_t bit = i * width;
    char around[16] = {};
    std::memcpy(around, bytes.data() + bit / 8, std::min<size_t>(9, bytes.size() - bit / 8));
    const uint64_t high = static_cast<uint8_t>(around[8]);
    const unsigned used = bit % 8;
    numbers[i] = (Load(around) >> used | (high << 1) << (63 - used)) & mask;
  }
}

void UnpackLow(std::string_view bytes, size_t count, unsigned width, uint64_t* numbers) {
  if (width > kEightsWidthMax) return UnpackWide(bytes, count, width, numbers);
  // Loads reach up to eight bytes past the numbers they are for. What is so near to the end is
  // copied to where they may: less than 8 + width bytes, and 80 numbers.
  const size_t eights = bytes.size() < 8 ? 0 : std::min(count / 8, (bytes.size() - 8) / width);
  kUnpackTable[width](bytes.data(), eights, numbers);
  const size_t left = count - eights * 8;
  if (left == 0) return;
  const std::string_view rest = bytes.substr(eights * width);
  char room[3 * 64 + 16] = {};
  uint64_t last[80];
  INVARIANT(rest.size() <= 8 + kEightsWidthMax && left <= std::size(last));
  std::memcpy(room, rest.data(), rest.size());
  kUnpackTable[width](room, (left + 7) / 8, last);
  std::copy_n(last, left, numbers + eights * 8);
}

// Takes the next digit off a word.
[[gnu::always_inline]] inline uint8_t TakeDigit(uint64_t& word, uint64_t base) {
  const Uint128 product = static_cast<Uint128>(word) * base;
  const auto digit = static_cast<uint64_t>(product >> 64);
  word = static_cast<uint64_t>(product);
  return static_cast<uint8_t>(digit);
}

// The digits of `count` numbers, a byte each: they are put to the numbers' low bits many at a time.
void UnpackDigits(std::string_view bytes, size_t count, uint64_t base, uint8_t* out) {
  const size_t digits = kDigits.digits[base];
  const char* data = bytes.data();
  size_t i = 0;
  for (; i + 4 * digits <= count; i += 4 * digits, data += 4 * sizeof(uint64_t)) {
    uint64_t a = Load(data), b = Load(data + 8), c = Load(data + 16), d = Load(data + 24);
    uint8_t* const end = out + i + digits;
    for (uint8_t* at = out + i; at < end; ++at) {
      at[0] = TakeDigit(a, base);
      at[digits] = TakeDigit(b, base);
      at[2 * digits] = TakeDigit(c, base);
      at[3 * digits] = TakeDigit(d, base);
    }
  }
  for (; i < count; i += digits) {
    const size_t left = std::min<size_t>(digits, count - i);
    const size_t size = left == digits ? sizeof(uint64_t) : WordBytes(base, left);
    uint64_t word = 0;
    std::memcpy(reinterpret_cast<char*>(&word) + sizeof(word) - size, data, size);
    data += size;
    for (size_t j = 0; j < left; ++j) out[i + j] = TakeDigit(word, base);
  }
}

// Numbers of `width` low bits, from bytes that may be read 16 beyond their end, and of digits.
void UnpackSmallOnes(const char* data, const uint8_t* digits, size_t count, unsigned width,
                     uint32_t* numbers) {
  const auto mask = (uint32_t{1} << width) - 1;
  for (size_t i = 0; i < count; ++i) {
    numbers[i] = (static_cast<uint32_t>(Load(data + i * width / 8) >> (i * width % 8)) & mask) |
                 static_cast<uint32_t>(digits[i]) << width;
  }
}

#ifdef __x86_64__
// The same eight at a time: the low bits of four of them lie within sixteen bytes, wherever these
// begin. Bytes of a number are moved into its lane, and there to its lowest bit.
[[gnu::target("avx2")]] void UnpackSmallEights(const char* data, const uint8_t* digits,
                                               size_t count, unsigned width, uint32_t* numbers) {
  alignas(32) uint8_t bytes_of[32];
  alignas(32) uint32_t shift_of[8];
  for (unsigned lane = 0; lane < 8; ++lane) {
    const unsigned bit = lane < 4 ? lane * width : 4 * width % 8 + (lane - 4) * width;
    shift_of[lane] = bit % 8;
    for (unsigned byte = 0; byte < 4; ++byte) {
      bytes_of[4 * lane + byte] = static_cast<uint8_t>(bit / 8 + byte);
    }
  }
  const __m256i places = _mm256_load_si256(reinterpret_cast<const __m256i*>(bytes_of));
  const __m256i shifts = _mm256_load_si256(reinterpret_cast<const __m256i*>(shift_of));
  const __m256i mask = _mm256_set1_epi32(static_cast<int>((uint32_t{1} << width) - 1));
  const __m128i above = _mm_cvtsi32_si128(static_cast<int>(width));
  for (size_t i = 0; i < count; i += 8, data += width) {
    const __m128i first = _mm_loadu_si128(reinterpret_cast<const __m128i*>(data));
    const __m128i second = _mm_loadu_si128(reinterpret_cast<const __m128i*>(data + 4 * width / 8));
    const __m256i both = _mm256_inserti128_si256(_mm256_castsi128_si256(first), second, 1);
    const __m256i lanes = _mm256_srlv_epi32(_mm256_shuffle_epi8(both, places), shifts);
    const __m256i high =
        _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(digits + i)));
    _mm256_storeu_si256(
        reinterpret_cast<__m256i*>(numbers + i),
        _mm256_or_si256(_mm256_and_si256(lanes, mask), _mm256_sll_epi32(high, above)));
  }
}
#endif

}  // namespace

void UnpackSmall(std::string_view bytes, size_t count, const PackShape& shape, uint32_t* numbers) {
  INVARIANT(count <= kSmallValuesMax && shape.low_bits <= kSmallBitsMax);
  const size_t low = LowBytes(shape, count);
  char padded[kSmallValuesMax * kSmallBitsMax / 8 + 2 * kSmallBitsMax + 16];
  std::memcpy(padded, bytes.data(), low);
  std::memset(padded + low, 0, kSmallBitsMax + 16);
  uint8_t digits[kSmallValuesMax + 8];
  if (shape.base > 1) {
    UnpackDigits(bytes.substr(low), count, shape.base, digits);
  } else {
    std::memset(digits, 0, count);
  }
#ifdef __x86_64__
  static const bool kHasEights = __builtin_cpu_supports("avx2");
  if (kHasEights) return UnpackSmallEights(padded, digits, count, shape.low_bits, numbers);
#endif
  UnpackSmallOnes(padded, digits, count, shape.low_bits, numbers);
}

PackShape ChoosePackShape(uint64_t max) {
  const auto width = static_cast<unsigned>(std::bit_width(max));
  PackShape best{static_cast<uint8_t>(width), 1};
  // Bits per number times 1024; a digit must gain 1/64 bit to be worth its time.
  unsigned best_cost = width * 1024 - 16;
  for (unsigned low = width > 8 ? width - 8 : 0; low < width; ++low) {
    const uint64_t base = (max >> low) + 1;
    if (base > kPackBaseMax) continue;
    const unsigned cost = low * 1024 + 64 * 1024 / kDigits.digits[base];
    if (cost >= best_cost) continue;
    best_cost = cost;
    best = {static_cast<uint8_t>(low), static_cast<uint16_t>(base)};
  }
  return best;
}

uint64_t PackedBytes(const PackShape& shape, uint64_t count) {
  uint64_t bytes = LowBytes(shape, count);
  if (shape.base > 1) {
    const uint64_t digits = kDigits.digits[shape.base];
    bytes += count / digits * sizeof(uint64_t) + WordBytes(shape.base, count % digits);
  }
  return bytes;
}

void PackNumbers(const uint64_t* numbers, size_t count, const PackShape& shape, std::string& out) {
  const unsigned width = shape.low_bits;
  if (width > 0) {
    const uint64_t mask = width == 64 ? ~uint64_t{0} : (uint64_t{1} << width) - 1;
    const size_t begin = out.size();
    Uint128 pending = 0;
    unsigned bits = 0;
    for (size_t i = 0; i < count; ++i) {
      pending |= static_cast<Uint128>(numbers[i] & mask) << bits;
      bits += width;
      if (bits >= 64) {
        PutLittleEndian(static_cast<uint64_t>(pending), sizeof(uint64_t), out);
        pending >>= 64;
        bits -= 64;
      }
    }
    PutLittleEndian(static_cast<uint64_t>(pending), (bits + 7) / 8, out);
    INVARIANT(out.size() - begin == LowBytes(shape, count));
  }
  if (shape.base == 1) return;
  const size_t digits = kDigits.digits[shape.base];
  for (size_t i = 0; i < count; i += digits) {
    const size_t taken = std::min(digits, count - i);
    const size_t bytes = taken == digits ? sizeof(uint64_t) : WordBytes(shape.base, taken);
    PutLittleEndian(DigitWord(numbers + i, taken, shape, bytes), bytes, out);
  }
}

void UnpackNumbers(std::string_view bytes, size_t count, const PackShape& shape,
                   uint64_t* numbers) {
  const size_t low = LowBytes(shape, count);
  if (shape.low_bits > 0) {
    UnpackLow(bytes.substr(0, low), count, shape.low_bits, numbers);
  } else {
    std::memset(numbers, 0, count * sizeof(*numbers));
  }
  if (shape.base == 1) return;
  // Whole words at a time.
  constexpr size_t kDigitsMax = 512;
  uint8_t digits[kDigitsMax];
  const size_t some = kDigitsMax / kDigits.digits[shape.base] * kDigits.digits[shape.base];
  for (size_t i = 0; i < count; i += some) {
    const size_t now = std::min(some, count - i);
    const size_t word = i / kDigits.digits[shape.base] * sizeof(uint64_t);
    UnpackDigits(bytes.substr(low + word), now, shape.base, digits);
    for (size_t j = 0; j < now; ++j) {
      numbers[i + j] |= static_cast<uint64_t>(digits[j]) << shape.low_bits;
    }
  }
}

}  // namespace varve
