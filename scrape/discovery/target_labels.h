// SPDX-License-Identifier: Apache-2.0
//
// The labels of a discovered target, put together.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/labels.h"

namespace varve {

// `text` with every character that a label name may not have replaced by `_`.
std::string SanitizedLabelName(std::string_view text);

// "host:port", IPv6 addresses in brackets.
std::string JoinHostPort(std::string_view host, int64_t port);

class TargetLabels {
 public:
  // `prefix` begins the names of all labels but the address.
  explicit TargetLabels(std::string_view prefix) : prefix_(prefix) {}

  // Texts that are too long for a label are left out.
  void Add(std::string_view name, std::string_view value);
  // `name` with what `key` becomes as a label name behind it.
  void AddKeyed(std::string_view name, std::string_view key, std::string_view value);
  // Those of `other`, whose prefix is the same.
  void AddAll(const TargetLabels& other);
  void Address(std::string_view host, int64_t port);
  void Address(std::string address);

  // Of names that were added several times the last value counts; empty values are none.
  Labels Take() &&;

 private:
  std::string prefix_;
  std::vector<std::pair<std::string, std::string>> pairs_;
};

}  // namespace varve
