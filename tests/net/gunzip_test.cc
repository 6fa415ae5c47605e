// SPDX-License-Identifier: Apache-2.0
//
// Gzip in pieces, in several members, broken, and much of it in little.
#include "net/gunzip.h"

#include <doctest/doctest.h>
#include <zlib.h>

#include <string>

namespace varve {
namespace {

std::string Compressed(const std::string& text, int window_bits = 15 + 16) {
  z_stream stream{};
  deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

absl::Status Decode(const std::string& bytes, size_t piece, std::string& text) {
  Gunzip gunzip;
  text.clear();
  for (size_t at = 0; at < bytes.size(); at += piece) {
    absl::Status status =
        gunzip.Add(std::string_view(bytes).substr(at, piece), [&](std::string_view decoded) {
          text += decoded;
          return absl::OkStatus();
        });
    if (!status.ok()) return status;
  }
  return gunzip.Finish();
}

TEST_CASE("gunzip: any pieces, any number of members") {
  std::string text;
  for (int i = 0; i < 30000; ++i) text += std::to_string(i * 7919) + "\n";
  const std::string one = Compressed(text);
  const std::string two = Compressed("first ") + Compressed("") + Compressed("second");
  for (const size_t piece : {size_t{1}, size_t{1000}, one.size()}) {
    std::string decoded;
    CHECK(Decode(one, piece, decoded).ok());
    CHECK(decoded == text);
    CHECK(Decode(two, piece, decoded).ok());
    CHECK(decoded == "first second");
  }
  std::string decoded;
  CHECK(Decode("", 1, decoded).ok());
}

TEST_CASE("gunzip: what is cut short or no gzip") {
  const std::string good = Compressed("some text");
  std::string decoded;
  for (size_t bytes = 1; bytes < good.size(); ++bytes) {
    const absl::Status cut = Decode(good.substr(0, bytes), 5, decoded);
    CHECK(cut.code() == absl::StatusCode::kUnavailable);
    CHECK(cut.message() == "unexpected EOF");
  }
  std::string flipped = good;
  flipped[flipped.size() - 6] ^= 1;  // In the checksum.
  CHECK(Decode(flipped, 100, decoded).code() == absl::StatusCode::kDataLoss);
  CHECK(Decode("plain text", 100, decoded).code() == absl::StatusCode::kDataLoss);
  CHECK(Decode(good + "x", 1, decoded).code() != absl::StatusCode::kOk);
  CHECK(Decode(Compressed("zlib's own", 15), 100, decoded).code() == absl::StatusCode::kDataLoss);
}

TEST_CASE("gunzip: whoever takes it can end it long before the end") {
  const std::string bomb = Compressed(std::string(size_t{64} << 20, '\0'));
  Gunzip gunzip;
  size_t taken = 0;
  const absl::Status status = gunzip.Add(bomb, [&](std::string_view decoded) {
    taken += decoded.size();
    return taken > 1'000'000 ? absl::ResourceExhaustedError("enough") : absl::OkStatus();
  });
  CHECK(status.message() == "enough");
  CHECK(taken < 1'200'000);
}

}  // namespace
}  // namespace varve
