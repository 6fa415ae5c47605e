// SPDX-License-Identifier: Apache-2.0
//
// Goal: any bytes give a tree or an error that says where and what.
// Method: the grammar and the search for its errors must agree: what one accepts so does the other,
// so an error always has a text. The first byte picks the feature flags and the entry point.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "model/check.h"
#include "promql/parse_error.h"
#include "promql/parser.h"

namespace varve::promql {
namespace {

void CheckError(const absl::Status& status) {
  constexpr std::string_view kMarker = ": parse error: ";
  const std::string text(status.message());
  const size_t marker = text.find(kMarker);
  INVARIANT(status.code() == absl::StatusCode::kInvalidArgument);
  INVARIANT(marker != std::string::npos && marker >= 3);
  INVARIANT(text.size() > marker + kMarker.size());
}

void Run(uint8_t flags, std::string_view text) {
  if (flags & 8) {
    const auto matchers = ParseMetricSelector(text);
    if (!matchers.ok()) CheckError(matchers.status());
    return;
  }
  const auto tree = Parse(text, {.experimental_functions = (flags & 1) != 0,
                                 .fill_modifiers = (flags & 2) != 0,
                                 .extended_range_selectors = (flags & 4) != 0});
  if (!tree.ok()) return CheckError(tree.status());
  INVARIANT((*tree)->type != ValueType::kNone);
  INVARIANT(FindSyntaxError(Lex(text), GrammarStart::kExpression).message.empty());
}

}  // namespace
}  // namespace varve::promql

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  varve::promql::Run(data[0], {reinterpret_cast<const char*>(data) + 1, size - 1});
  return 0;
}
