// SPDX-License-Identifier: Apache-2.0
//
// Names are made whole when they are added.
#include "scrape/discovery/target_labels.h"

#include <fmt/format.h>

#include <utility>

#include "scrape/target.h"

namespace varve {

std::string SanitizedLabelName(std::string_view text) {
  std::string name(text);
  for (char& c : name) {
    const bool kept = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!kept) c = '_';
  }
  return name;
}

std::string JoinHostPort(std::string_view host, int64_t port) {
  if (host.find(':') != std::string_view::npos) return fmt::format("[{}]:{}", host, port);
  return fmt::format("{}:{}", host, port);
}

void TargetLabels::Add(std::string_view name, std::string_view value) {
  if (prefix_.size() + name.size() > kLabelTextBytesMax || value.size() > kLabelTextBytesMax)
    return;
  pairs_.emplace_back(fmt::format("{}{}", prefix_, name), std::string(value));
}

void TargetLabels::AddKeyed(std::string_view name, std::string_view key, std::string_view value) {
  Add(fmt::format("{}{}", name, SanitizedLabelName(key)), value);
}

void TargetLabels::AddAll(const TargetLabels& other) {
  pairs_.insert(pairs_.end(), other.pairs_.begin(), other.pairs_.end());
}

void TargetLabels::Address(std::string_view host, int64_t port) {
  Address(JoinHostPort(host, port));
}

void TargetLabels::Address(std::string address) {
  pairs_.emplace_back(std::string(kAddressLabel), std::move(address));
}

Labels TargetLabels::Take() && { return Labels::FromPairs(std::move(pairs_)); }

}  // namespace varve
