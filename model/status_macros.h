// SPDX-License-Identifier: Apache-2.0
//
// RETURN_IF_ERROR(status) and ASSIGN_OR_RETURN(lhs, status_or): leave the function early with the
// error. Both evaluate their argument once. `lhs` may be a declaration.
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <string>
#include <utility>

namespace varve {

// The message as a string of ours: absl::string_view is a type of its own in Debian's Abseil.
inline std::string MessageOf(const absl::Status& status) {
  return std::string(status.message().data(), status.message().size());
}

}  // namespace varve

#define RETURN_IF_ERROR(expression)                   \
  do {                                                \
    absl::Status status_of_expression = (expression); \
    if (!status_of_expression.ok()) [[unlikely]] {    \
      return status_of_expression;                    \
    }                                                 \
  } while (false)

#define VARVE_CONCAT_INNER(a, b) a##b
#define VARVE_CONCAT(a, b) VARVE_CONCAT_INNER(a, b)

#define ASSIGN_OR_RETURN(lhs, expression) \
  VARVE_ASSIGN_OR_RETURN(VARVE_CONCAT(status_or_, __LINE__), lhs, expression)

#define VARVE_ASSIGN_OR_RETURN(status_or, lhs, expression) \
  auto status_or = (expression);                           \
  if (!status_or.ok()) [[unlikely]] {                      \
    return std::move(status_or).status();                  \
  }                                                        \
  lhs = std::move(status_or).value()
