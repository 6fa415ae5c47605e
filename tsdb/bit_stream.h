// SPDX-License-Identifier: Apache-2.0
//
// Bits, most significant first: the codes that XOR chunks and histogram chunks are made of. A
// writer is made over a caller's bytes, so that a million open chunks carry no writer each; codes
// go to a BitBuffer, or to a BitRegister if they are few.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "tsdb/coding.h"

namespace varve {

inline uint64_t LoadBigEndian64(const void* bytes) {
  uint64_t value;
  std::memcpy(&value, bytes, sizeof(value));
  return __builtin_bswap64(value);
}
inline void StoreBigEndian64(void* bytes, uint64_t value) {
  value = __builtin_bswap64(value);
  std::memcpy(bytes, &value, sizeof(value));
}

// Bytes that must be writable past the last bit written.
inline constexpr uint32_t kBitSlackBytes = 9;

constexpr size_t BitBytes(size_t bits) { return (bits + 7) / 8; }

// Bits at the end of others in memory.
struct BitBuffer {
  uint8_t* data;
  uint32_t position;  // Of the next bit.

  // Appends the low `count` bits of `value`, and clears those after them up to the slack's end.
  // REQUIRES: count <= 64; kBitSlackBytes of room behind the byte of `position`.
  void Put(uint64_t value, unsigned count) {
    if (count == 0) return;
    uint8_t* at = data + position / 8;
    const unsigned used = position % 8;
    const uint64_t keep = used == 0 ? 0 : LoadBigEndian64(at) & ~(~uint64_t{0} >> used);
    const uint64_t left = value << (64 - count);  // Aligned to the top; drops higher bits.
    StoreBigEndian64(at, keep | (left >> used));
    at[8] = used == 0 ? 0 : static_cast<uint8_t>(left << (8 - used));
    position += count;
  }
};

// At most 128 bits, composed without memory.
class BitRegister {
 public:
  // As BitBuffer's. REQUIRES: 0 < count <= 64, and not more than 128 in all.
  void Put(uint64_t value, unsigned count) {
    bits_ = bits_ << count | (value & ~uint64_t{0} >> (64 - count));
    size_ += count;
  }
  unsigned size() const { return size_; }
  static constexpr size_t kBytes = 16;
  // Writes kBytes that begin with the bits, then zeros. REQUIRES: size() > 0.
  void Store(uint8_t* bytes) const {
    const unsigned __int128 left = bits_ << (128 - size_);
    StoreBigEndian64(bytes, static_cast<uint64_t>(left >> 64));
    StoreBigEndian64(bytes + 8, static_cast<uint64_t>(left));
  }

 private:
  unsigned __int128 bits_ = 0;
  unsigned size_ = 0;
};

// Reads bits of `bytes`. After reading past the end overrun() is true; the bits there are zeros.
class BitReader {
 public:
  explicit BitReader(std::string_view bytes)
      : data_(reinterpret_cast<const uint8_t*>(bytes.data())), bits_(bytes.size() * 8) {}

  bool overrun() const { return position_ > bits_; }
  uint64_t position() const { return position_; }

  // The next bits, at least 57 of them, from the top of the word; zeros past the end.
  uint64_t Peek() const {
    const uint64_t byte = position_ / 8;
    const uint64_t size = bits_ / 8;
    if (byte + 8 <= size) [[likely]] {
      return LoadBigEndian64(data_ + byte) << (position_ % 8);
    }
    return PeekTail(byte, size) << (position_ % 8);
  }
  void Skip(unsigned count) { position_ += count; }

  // REQUIRES: count <= 64.
  uint64_t Read(unsigned count) {
    if (count == 0) return 0;
    if (count <= 57) {
      const uint64_t value = Peek() >> (64 - count);
      position_ += count;
      return value;
    }
    const uint64_t high = Peek() >> 32;
    position_ += 32;
    const unsigned rest = count - 32;
    const uint64_t low = Peek() >> (64 - rest);
    position_ += rest;
    return (high << rest) | low;
  }

 private:
  // The bytes from `byte` on, where fewer than eight are left. A chunk that compresses well is
  // little more than such a tail.
  uint64_t PeekTail(uint64_t byte, uint64_t size) const {
    if (byte >= size) return 0;
    if (size >= 8) return LoadBigEndian64(data_ + size - 8) << (8 * (byte + 8 - size));
    uint64_t word = 0;
    for (uint64_t i = byte; i < size; ++i) {
      word |= static_cast<uint64_t>(data_[i]) << (56 - 8 * (i - byte));
    }
    return word;
  }

  const uint8_t* data_;
  uint64_t bits_;
  uint64_t position_ = 0;
};

// The same for bytes that kBitSlackBytes readable ones follow, or more if the caller reads further
// past the end than into the last byte: nothing need be checked.
class PaddedBitReader {
 public:
  explicit PaddedBitReader(const uint8_t* data) : data_(data) {}

  uint64_t position() const { return position_; }
  uint64_t Peek() const { return LoadBigEndian64(data_ + position_ / 8) << (position_ % 8); }
  void Skip(unsigned count) { position_ += count; }
  // REQUIRES: 0 < count <= 64.
  uint64_t Read(unsigned count) {
    const uint8_t* at = data_ + position_ / 8;
    const unsigned used = position_ % 8;
    const uint64_t word = LoadBigEndian64(at) << used | static_cast<uint64_t>(at[8]) >> (8 - used);
    position_ += count;
    return word >> (64 - count);
  }

 private:
  const uint8_t* data_;
  uint64_t position_ = 0;
};

inline int64_t SignExtend(uint64_t value, unsigned bits) {
  return static_cast<int64_t>(value << (64 - bits)) >> (64 - bits);
}
inline bool FitsSigned(int64_t value, unsigned bits) {
  return SignExtend(static_cast<uint64_t>(value), bits) == value;
}

// A signed number in a prefix code: `0` for zero, else k ones, a zero (but for the last width) and
// as many bits, two's complement, as the k-th width.
template <unsigned... kWidths>
struct PrefixCode {
  static constexpr unsigned kCount = sizeof...(kWidths);
  static constexpr unsigned kWidth[kCount] = {kWidths...};
  // The longest code, in bits, and the longest that is put at once.
  static constexpr unsigned kBitsMax = kCount + kWidth[kCount - 1];
  static constexpr unsigned kShortBitsMax = kCount + kWidth[kCount - 2];
  static_assert(kCount >= 2 && kShortBitsMax <= 64);

  // Whether the code of `value` has at most kShortBitsMax bits.
  static bool IsShort(int64_t value) { return FitsSigned(value, kWidth[kCount - 2]); }

  template <typename Bits>
  static void Put(Bits& out, int64_t value) {
    if (value == 0) return out.Put(0, 1);
    for (unsigned i = 0; i + 1 < kCount; ++i) {
      const unsigned width = kWidth[i];
      if (!FitsSigned(value, width)) continue;
      const uint64_t prefix = (uint64_t{2} << (i + 1)) - 2;
      const uint64_t low = static_cast<uint64_t>(value) & ~(~uint64_t{0} << width);
      return out.Put(prefix << width | low, i + 2 + width);
    }
    out.Put((uint64_t{1} << kCount) - 1, kCount);
    out.Put(static_cast<uint64_t>(value), kWidth[kCount - 1]);
  }

  template <typename Reader>
  static int64_t Read(Reader& reader) {
    const uint64_t word = reader.Peek();
    if (word >> 63 == 0) {
      reader.Skip(1);
      return 0;
    }
    const auto ones = static_cast<unsigned>(std::countl_one(word));
    if (ones >= kCount) {
      reader.Skip(kCount);
      return SignExtend(reader.Read(kWidth[kCount - 1]), kWidth[kCount - 1]);
    }
    reader.Skip(ones + 1);
    return SignExtend(reader.Read(kWidth[ones - 1]), kWidth[ones - 1]);
  }
};

// Differences between the steps of two samples: mostly nothing, or some milliseconds of jitter.
using TimeCode = PrefixCode<7, 12, 20, 64>;
// Differences of counts and start times.
using CountCode = PrefixCode<4, 8, 12, 20, 32, 64>;

// The window of meaningful bits that the value before used.
struct XorWindow {
  uint8_t leading = 0;
  uint8_t significant = 0;  // 0 = none yet.
};

inline constexpr unsigned kXorBitsMax = 2 + 5 + 6 + 64;

// `0` the same bits; `10` the changed bits lie in the window before; `11` a window of its own: 5
// bits of leading zeros (at most 31), 6 of length (64 as 0).
struct XorCode {
  uint64_t header;
  unsigned header_bits;
  uint64_t meaningful;
  unsigned meaningful_bits;
};

// The code of bits some of which `changed`; `window` is then the one it uses.
inline XorCode XorCodeOf(uint64_t changed, XorWindow& window) {
  const auto leading = static_cast<uint8_t>(std::min(std::countl_zero(changed), 31));
  const auto trailing = static_cast<uint8_t>(std::countr_zero(changed));
  const unsigned window_trailing = 64u - window.leading - window.significant;
  if (window.significant != 0 && leading >= window.leading && trailing >= window_trailing) {
    return {2, 2, changed >> window_trailing, window.significant};
  }
  window.leading = leading;
  window.significant = static_cast<uint8_t>(64 - leading - trailing);
  return {uint64_t{3} << 11 | uint64_t{leading} << 6 | (window.significant & 63u), 13,
          changed >> trailing, window.significant};
}

template <typename Bits>
inline void PutXor(Bits& out, XorWindow& window, uint64_t before, uint64_t bits) {
  if (before == bits) return out.Put(0, 1);
  const XorCode code = XorCodeOf(before ^ bits, window);
  out.Put(code.header, code.header_bits);
  out.Put(code.meaningful, code.meaningful_bits);
}

// Reads a code of which `word` is the beginning: the next bits, at least 56 of them. Returns false
// if they are no code (a window past the word).
template <typename Reader>
inline bool ReadXorOf(uint64_t word, Reader& reader, XorWindow& window, uint64_t& bits) {
  if (word >> 63 == 0) {
    reader.Skip(1);
    return true;
  }
  unsigned header = 2;
  if (word >> 62 == 3) {
    header = 13;
    window.leading = static_cast<uint8_t>((word >> 57) & 31);
    const auto significant = static_cast<uint8_t>((word >> 51) & 63);
    window.significant = significant == 0 ? 64 : significant;
  }
  const unsigned size = window.significant;
  if (size == 0 || window.leading + size > 64) return false;
  uint64_t changed = 0;
  if (header + size <= 56) [[likely]] {
    changed = word << header >> (64 - size);
    reader.Skip(header + size);
  } else {
    reader.Skip(header);
    changed = reader.Read(size);
  }
  bits ^= changed << (64 - window.leading - size);
  return true;
}

template <typename Reader>
inline bool ReadXor(Reader& reader, XorWindow& window, uint64_t& bits) {
  return ReadXorOf(reader.Peek(), reader, window, bits);
}

}  // namespace varve
