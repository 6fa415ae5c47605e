// SPDX-License-Identifier: Apache-2.0
//
// Parameters, headers and URL escapes.
#include "http/message.h"

#include <algorithm>
#include <cctype>

namespace varve {
namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool EqualsIgnoringCase(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
    return std::tolower(static_cast<unsigned char>(x)) ==
           std::tolower(static_cast<unsigned char>(y));
  });
}

}  // namespace

void HttpParams::Add(std::string name, std::string value) {
  pairs_.emplace_back(std::move(name), std::move(value));
}

void HttpParams::Append(HttpParams other) {
  for (auto& pair : other.pairs_) pairs_.push_back(std::move(pair));
}

std::string_view HttpParams::Get(std::string_view name) const {
  for (const auto& [key, value] : pairs_) {
    if (key == name) return value;
  }
  return {};
}

bool HttpParams::Has(std::string_view name) const {
  return std::any_of(pairs_.begin(), pairs_.end(),
                     [&](const auto& pair) { return pair.first == name; });
}

std::vector<std::string> HttpParams::All(std::string_view name) const {
  std::vector<std::string> values;
  for (const auto& [key, value] : pairs_) {
    if (key == name) values.push_back(value);
  }
  return values;
}

bool UrlDecode(std::string_view text, PlusSign plus, std::string& out) {
  out.reserve(out.size() + text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '+' && plus == PlusSign::kBlank) {
      out.push_back(' ');
    } else if (c == '%') {
      if (text.size() - i < 3) return false;
      const int high = HexDigit(text[i + 1]);
      const int low = HexDigit(text[i + 2]);
      if (high < 0 || low < 0) return false;
      out.push_back(static_cast<char>(high * 16 + low));
      i += 2;
    } else {
      out.push_back(c);
    }
  }
  return true;
}

bool ParseUrlEncoded(std::string_view text, HttpParams& params) {
  size_t count = 0;
  while (!text.empty()) {
    const size_t end = std::min(text.find('&'), text.size());
    const std::string_view pair = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (pair.empty()) continue;
    if (++count > kFormParamsMax) return false;
    const size_t equals = std::min(pair.find('='), pair.size());
    const std::string_view raw_value =
        equals < pair.size() ? pair.substr(equals + 1) : std::string_view();
    std::string name;
    std::string value;
    if (!UrlDecode(pair.substr(0, equals), PlusSign::kBlank, name) ||
        !UrlDecode(raw_value, PlusSign::kBlank, value)) {
      return false;
    }
    params.Add(std::move(name), std::move(value));
  }
  return true;
}

std::string_view HttpRequest::Header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (EqualsIgnoringCase(key, name)) return value;
  }
  return {};
}

void HttpResponse::SetHeader(std::string name, std::string value) {
  headers.emplace_back(std::move(name), std::move(value));
}

void HttpResponse::SetText(int new_status, std::string text) {
  status = new_status;
  content_type = "text/plain; charset=utf-8";
  body = std::move(text);
}

}  // namespace varve
