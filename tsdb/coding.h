// SPDX-License-Identifier: Apache-2.0
//
// Bytes of keys and values: fixed-width and variable-length integers into a string, and a reader
// that never runs past its end. Keys use big endian, so that byte order is numeric order; signed
// times in keys have their sign bit flipped for the same reason.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace varve {

inline uint64_t ZigZag(int64_t value) {
  return (static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63);
}
inline int64_t UnZigZag(uint64_t value) {
  return static_cast<int64_t>((value >> 1) ^ (~(value & 1) + 1));
}

// Differences and sums of times that wrap instead of overflowing: hostile input has them.
inline int64_t WrapSub(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) - static_cast<uint64_t>(b));
}
inline int64_t WrapAdd(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
}

inline constexpr size_t kVarintBytesMax = 10;

inline void PutVarint(std::string& out, uint64_t value) {
  char bytes[kVarintBytesMax];
  size_t size = 0;
  while (value >= 0x80) {
    bytes[size++] = static_cast<char>(value | 0x80);
    value >>= 7;
  }
  bytes[size++] = static_cast<char>(value);
  out.append(bytes, size);
}
inline void PutZigZag(std::string& out, int64_t value) { PutVarint(out, ZigZag(value)); }

template <typename T>
void PutBigEndian(std::string& out, T value) {
  // Shifted to the top of a word, whose bytes are then turned around: no loop.
  const uint64_t word = __builtin_bswap64(static_cast<uint64_t>(value) << (64 - 8 * sizeof(T)));
  char bytes[sizeof(word)];
  std::memcpy(bytes, &word, sizeof(word));
  out.append(bytes, sizeof(T));
}
inline void PutTime(std::string& out, int64_t time) {
  PutBigEndian<uint64_t>(out, static_cast<uint64_t>(time) ^ (uint64_t{1} << 63));
}
inline void PutDouble(std::string& out, double value) {  // Little endian, as machines have it.
  const auto bits = std::bit_cast<uint64_t>(value);
  char bytes[sizeof(bits)];
  std::memcpy(bytes, &bits, sizeof(bits));
  out.append(bytes, sizeof(bits));
}
inline void PutText(std::string& out, std::string_view text) {
  PutVarint(out, text.size());
  out.append(text);
}

static_assert(std::endian::native == std::endian::little, "doubles are stored as they lie");

// Reads what the functions above wrote. After the first read past the end (or of a varint longer
// than 64 bits) failed() stays true and every read returns zeros.
class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : rest_(bytes) {}

  bool failed() const { return failed_; }
  bool done() const { return rest_.empty(); }
  std::string_view rest() const { return rest_; }

  uint64_t Varint() {
    if (!rest_.empty() && static_cast<uint8_t>(rest_[0]) < 0x80) [[likely]] {
      const auto byte = static_cast<uint8_t>(rest_[0]);
      rest_.remove_prefix(1);
      return byte;
    }
    return LongVarint();
  }
  int64_t SignedVarint() { return UnZigZag(Varint()); }

  template <typename T>
  T BigEndian() {
    const std::string_view bytes = Bytes(sizeof(T));
    T value = 0;
    for (const char byte : bytes) {
      value = static_cast<T>((static_cast<uint64_t>(value) << 8) | static_cast<uint8_t>(byte));
    }
    return value;
  }
  int64_t Time() { return static_cast<int64_t>(BigEndian<uint64_t>() ^ (uint64_t{1} << 63)); }
  uint8_t Byte() { return BigEndian<uint8_t>(); }
  double Double() {
    const std::string_view bytes = Bytes(sizeof(uint64_t));
    uint64_t bits = 0;
    if (!bytes.empty()) std::memcpy(&bits, bytes.data(), sizeof(bits));
    return std::bit_cast<double>(bits);
  }
  std::string_view Bytes(size_t size) {
    if (size > rest_.size()) {
      Fail();
      return {};
    }
    const std::string_view bytes = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return bytes;
  }
  std::string_view Text() { return Bytes(Varint()); }

  // A number of elements that take at least `element_bytes` each; fails if they cannot be there.
  size_t Count(size_t element_bytes) {
    const uint64_t count = Varint();
    if (count > rest_.size() / element_bytes) return Fail();
    return count;
  }

 private:
  uint64_t LongVarint() {
    uint64_t value = 0;
    for (size_t i = 0; i < rest_.size() && i < kVarintBytesMax; ++i) {
      const auto byte = static_cast<uint8_t>(rest_[i]);
      if (i == kVarintBytesMax - 1 && byte > 1) break;
      value |= static_cast<uint64_t>(byte & 0x7f) << (7 * i);
      if (byte < 0x80) {
        rest_.remove_prefix(i + 1);
        return value;
      }
    }
    return Fail();
  }
  uint64_t Fail() {
    failed_ = true;
    rest_ = {};
    return 0;
  }

  std::string_view rest_;
  bool failed_ = false;
};

}  // namespace varve
