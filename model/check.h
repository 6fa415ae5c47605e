// SPDX-License-Identifier: Apache-2.0
//
// INVARIANT(condition): states what only a bug of ours can break. Bad input, bad bytes on disk and
// failing system calls are never INVARIANTs; they are a Status.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace varve::internal {

[[noreturn]] inline void InvariantFailed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "BUG: %s:%d: %s does not hold\n", file, line, condition);
  std::abort();
}

}  // namespace varve::internal

#define INVARIANT(condition)                            \
  (__builtin_expect(static_cast<bool>(condition), true) \
       ? static_cast<void>(0)                           \
       : ::varve::internal::InvariantFailed(#condition, __FILE__, __LINE__))
