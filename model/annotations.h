// SPDX-License-Identifier: Apache-2.0
//
// What a query has to tell beside its answer: warnings (the answer may be wrong) and infos (the
// query may be meant otherwise). Texts are complete, prefix and position included:
// `PromQL warning: quantile value should be between 0 and 1, got 2 (1:10)`.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace varve {

// Texts of each class the API shows; the rest is counted.
inline constexpr size_t kAnnotationsMax = 10;

// Deduplicated, in order of first appearance. Not thread-safe.
class Annotations {
 public:
  void AddWarning(std::string text) { Add(std::move(text), warnings_); }
  void AddInfo(std::string text) { Add(std::move(text), infos_); }
  void Merge(const Annotations& other);

  const std::vector<std::string>& warnings() const { return warnings_; }
  const std::vector<std::string>& infos() const { return infos_; }
  bool empty() const { return warnings_.empty() && infos_.empty(); }

  // At most kAnnotationsMax texts, then `N more warning annotations omitted` (or info).
  std::vector<std::string> ShownWarnings() const;
  std::vector<std::string> ShownInfos() const;

 private:
  static void Add(std::string text, std::vector<std::string>& texts);

  std::vector<std::string> warnings_;
  std::vector<std::string> infos_;
};

}  // namespace varve
