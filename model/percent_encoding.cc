// SPDX-License-Identifier: Apache-2.0
//
// Escapes of bytes that have a meaning of their own.
#include "model/percent_encoding.h"

namespace varve {
namespace {

constexpr std::string_view kDigits = "0123456789ABCDEF";

bool IsUnreserved(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '_' || c == '.' || c == '~';
}

void AppendEscape(char c, std::string& out) {
  const auto byte = static_cast<unsigned char>(c);
  out += '%';
  out += kDigits[byte >> 4];
  out += kDigits[byte & 15];
}

}  // namespace

std::string PercentEncoded(std::string_view text, std::string_view kept) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    if (IsUnreserved(c) || kept.find(c) != std::string_view::npos) {
      out += c;
    } else {
      AppendEscape(c, out);
    }
  }
  return out;
}

std::string QueryEncoded(std::string_view text) {
  std::string out = PercentEncoded(text, " ");
  for (char& c : out) {
    if (c == ' ') c = '+';
  }
  return out;
}

}  // namespace varve
