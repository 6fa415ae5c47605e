// SPDX-License-Identifier: Apache-2.0
//
// Goal: printing loses nothing.
// Method: parse, print in both forms, parse again: the same tree, field by field, and the same
// text.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "model/check.h"
#include "promql/parser.h"
#include "promql/printer.h"
#include "tests/promql/parser_tree_dump.h"

namespace varve::promql {
namespace {

const ParserOptions kEverything = {
    .experimental_functions = true, .fill_modifiers = true, .extended_range_selectors = true};

// Milliseconds that survive being printed as seconds and read back through a double.
constexpr TimestampMs kExactMsMax = TimestampMs{1} << 48;

bool HasInexactTimestamp(const Expr& expr) {
  const TimeModifiers* time = nullptr;
  if (const auto* selector = TryAs<VectorSelector>(expr)) time = &selector->time;
  if (const auto* matrix = TryAs<MatrixSelector>(expr)) time = &matrix->selector->time;
  if (const auto* subquery = TryAs<Subquery>(expr)) time = &subquery->time;
  if (time && (time->at_ms > kExactMsMax || time->at_ms < -kExactMsMax)) return true;
  for (const Expr* child : Children(expr)) {
    if (HasInexactTimestamp(*child)) return true;
  }
  return false;
}

void CheckSame(const Expr& tree, const std::string& printed) {
  const auto again = Parse(printed, kEverything);
  INVARIANT(again.ok());
  INVARIANT(DumpTree(**again) == DumpTree(tree));
  INVARIANT(ToString(**again) == ToString(tree));
}

void Run(std::string_view text) {
  const auto tree = Parse(text, kEverything);
  if (!tree.ok() || HasInexactTimestamp(**tree)) return;
  CheckSame(**tree, ToString(**tree));
  CheckSame(**tree, ToPrettyString(**tree));
}

}  // namespace
}  // namespace varve::promql

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  varve::promql::Run({reinterpret_cast<const char*>(data), size});
  return 0;
}
