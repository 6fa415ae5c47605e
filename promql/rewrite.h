// SPDX-License-Identifier: Apache-2.0
//
// What a look at the whole tree finds out, so that the plan does less work for the same answer
// (docs/queries.md).
#pragma once

#include <absl/container/flat_hash_map.h>

#include <cstddef>
#include <optional>
#include <vector>

#include "model/matcher.h"
#include "promql/ast.h"

namespace varve::promql {

// The value of a scalar that is made of numbers only.
std::optional<double> ConstantValue(const Expr& expr);

// Parts of `expr` that occur several times: equal ones have the same number, from 1 on. Leaves,
// which share what they read (leaf_rows.h), and parts whose annotations count how often something
// happened are left out. Looks at the smallest parts first, up to kRepeatedTextMax bytes of their
// texts together.
inline constexpr size_t kRepeatedTextMax = 256 << 10;
absl::flat_hash_map<const Expr*, size_t> RepeatedParts(const Expr& expr);

// Matchers that selectors may have besides their own because of what they are joined with: series
// that do not match them would find no partner. Only where leaving them out can hide neither an
// error nor an annotation. The lists are complete: the selector's own matchers come first.
absl::flat_hash_map<const VectorSelector*, std::vector<Matcher>> CarriedMatchers(const Expr& expr);

}  // namespace varve::promql
