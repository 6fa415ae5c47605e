// SPDX-License-Identifier: Apache-2.0
//
// Goal: no rule file crashes the loader, and every refusal names the file.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "model/check.h"
#include "model/status_macros.h"
#include "rules/rule_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto groups = varve::ParseRuleFile(text, "r.yml", {});
  if (groups.ok()) {
    for (const varve::RuleGroupSpec& group : *groups) INVARIANT(!group.name.empty());
    return 0;
  }
  INVARIANT(varve::MessageOf(groups.status()).starts_with("r.yml: "));
  return 0;
}
