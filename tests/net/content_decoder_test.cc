// SPDX-License-Identifier: Apache-2.0
//
// Both encodings in pieces, in several members, broken, and much of it in little.
#include "net/content_decoder.h"

#include <doctest/doctest.h>
#include <zstd.h>

#include <string>

#include "tests/net/deflated.h"

namespace varve {
namespace {

using testing::Deflated;
using testing::kZlibBits;

std::string Encoded(std::string_view encoding, const std::string& text) {
  if (encoding == "gzip") return Deflated(text);
  std::string out(ZSTD_compressBound(text.size()), '\0');
  ZSTD_CCtx* const context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
  out.resize(ZSTD_compress2(context, out.data(), out.size(), text.data(), text.size()));
  ZSTD_freeCCtx(context);
  return out;
}

absl::Status Decode(std::string_view encoding, const std::string& bytes, size_t piece,
                    std::string& text) {
  const auto decoder = ContentDecoder::Create(encoding);
  text.clear();
  for (size_t at = 0; at < bytes.size(); at += piece) {
    absl::Status status =
        decoder->Add(std::string_view(bytes).substr(at, piece), [&](std::string_view decoded) {
          text += decoded;
          return absl::OkStatus();
        });
    if (!status.ok()) return status;
  }
  return decoder->Finish();
}

TEST_CASE("content decoder: any pieces, any number of members") {
  std::string text;
  for (int i = 0; i < 30000; ++i) text += std::to_string(i * 7919) + "\n";
  for (const char* encoding : {"gzip", "zstd"}) {
    CAPTURE(encoding);
    const std::string one = Encoded(encoding, text);
    const std::string three =
        Encoded(encoding, "first ") + Encoded(encoding, "") + Encoded(encoding, "third");
    for (const size_t piece : {size_t{1}, size_t{1000}, one.size()}) {
      std::string decoded;
      CHECK(Decode(encoding, one, piece, decoded).ok());
      CHECK(decoded == text);
      CHECK(Decode(encoding, three, piece, decoded).ok());
      CHECK(decoded == "first third");
    }
    std::string decoded;
    CHECK(Decode(encoding, "", 1, decoded).ok());
  }
}

TEST_CASE("content decoder: what is cut short or something else") {
  for (const char* encoding : {"gzip", "zstd"}) {
    CAPTURE(encoding);
    const std::string good = Encoded(encoding, "some text, and some text");
    std::string decoded;
    for (size_t bytes = 1; bytes < good.size(); ++bytes) {
      const absl::Status cut = Decode(encoding, good.substr(0, bytes), 5, decoded);
      CHECK(cut.code() == absl::StatusCode::kUnavailable);
      CHECK(cut.message() == "unexpected EOF");
    }
    std::string flipped = good;
    flipped[flipped.size() - (encoding[0] == 'g' ? 6 : 2)] ^= 1;  // In the checksum.
    const auto lost = absl::StatusCode::kDataLoss;
    CHECK(Decode(encoding, flipped, 100, decoded).code() == lost);
    CHECK(Decode(encoding, "plain text", 100, decoded).code() == lost);
    CHECK_FALSE(Decode(encoding, good + "x", 1, decoded).ok());
  }
  std::string decoded;
  CHECK(Decode("gzip", Deflated("zlib's own", kZlibBits), 100, decoded).code() ==
        absl::StatusCode::kDataLoss);
  CHECK(ContentDecoder::Create("identity") == nullptr);
  CHECK(ContentDecoder::Create("") == nullptr);
}

TEST_CASE("content decoder: whoever takes it can end it long before the end") {
  const std::string zeros(size_t{64} << 20, '\0');
  for (const char* encoding : {"gzip", "zstd"}) {
    CAPTURE(encoding);
    const auto decoder = ContentDecoder::Create(encoding);
    size_t taken = 0;
    const absl::Status status =
        decoder->Add(Encoded(encoding, zeros), [&](std::string_view decoded) {
          taken += decoded.size();
          return taken > 1'000'000 ? absl::ResourceExhaustedError("enough") : absl::OkStatus();
        });
    CHECK(status.message() == "enough");
    CHECK(taken < 1'200'000);
  }
}

TEST_CASE("content decoder: a zstd frame says how much memory it takes, and 8 MiB is the most") {
  const auto frame = [](int window_log) {
    ZSTD_CCtx* const context = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, window_log);
    ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0);
    std::string out(1000, '\0');
    ZSTD_outBuffer written{out.data(), out.size(), 0};
    ZSTD_inBuffer text{"text", 4, 0};
    // Without its end known, the frame keeps the window that was asked for.
    ZSTD_compressStream2(context, &written, &text, ZSTD_e_flush);
    ZSTD_compressStream2(context, &written, &text, ZSTD_e_end);
    ZSTD_freeCCtx(context);
    return out.substr(0, written.pos);
  };
  std::string decoded;
  CHECK(Decode("zstd", frame(23), 100, decoded).ok());
  CHECK(decoded == "text");
  CHECK(Decode("zstd", frame(24), 100, decoded).code() == absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace varve
