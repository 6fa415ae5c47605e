// SPDX-License-Identifier: Apache-2.0
//
// Goal: no form body crashes the parser, and what it reads survives being written again.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "http/message.h"
#include "model/check.h"
#include "model/percent_encoding.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  varve::HttpParams params;
  const bool good = varve::ParseUrlEncoded(text, params);
  std::string again;
  for (const auto& [name, value] : params.pairs()) {
    if (!again.empty()) again += "&";
    again += varve::PercentEncoded(name) + "=" + varve::PercentEncoded(value);
  }
  varve::HttpParams reread;
  INVARIANT(varve::ParseUrlEncoded(again, reread));
  INVARIANT(reread.pairs() == params.pairs());
  INVARIANT(!good || params.pairs().size() <= text.size());
  return 0;
}
