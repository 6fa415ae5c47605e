// SPDX-License-Identifier: Apache-2.0
//
// A string that must not be shown: it has no implicit conversion and prints as `<secret>`.
#pragma once

#include <string>
#include <string_view>
#include <utility>

namespace varve {

class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string value) : value_(std::move(value)) {}

  bool empty() const { return value_.empty(); }
  // The text itself: for the wire, never for a message.
  const std::string& Reveal() const { return value_; }
  std::string_view ToString() const { return value_.empty() ? "" : "<secret>"; }

  friend bool operator==(const Secret&, const Secret&) = default;

 private:
  std::string value_;
};

}  // namespace varve
