// SPDX-License-Identifier: Apache-2.0
//
// Sorting many label sets gives what comparing two at a time gives.
#include "model/label_order.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace varve {
namespace {

void CheckOrder(const std::vector<Labels>& labels) {
  std::vector<uint32_t> expected(labels.size());
  for (uint32_t i = 0; i < expected.size(); ++i) expected[i] = i;
  std::stable_sort(expected.begin(), expected.end(),
                   [&](uint32_t a, uint32_t b) { return labels[a] < labels[b]; });
  CHECK(OrderOfLabels(labels) == expected);
}

TEST_CASE("label order: none, one, few and many at the edge of what is compared") {
  std::vector<Labels> labels;
  CheckOrder(labels);
  for (int i = 0; i < 20; ++i) {
    labels.push_back(Labels::Of({{"__name__", std::string(1, static_cast<char>('z' - i))}}));
    CheckOrder(labels);
  }
}

TEST_CASE("label order: what begins alike, ends at eight bytes or lacks a label") {
  std::vector<Labels> labels;
  for (const char* value :
       {"1234567", "123456", "12345678", "", "1234567\x01", "\xff", "1", "12"}) {
    for (const char* name : {"a", "abcdefg", "abcdef", "b"}) {
      labels.push_back(Labels::Of({{name, value}}));
      labels.push_back(Labels::Of({{name, value}, {"c", "1"}}));
    }
  }
  labels.insert(labels.end(), 20, Labels());
  labels.insert(labels.end(), 20, labels[3]);  // As many equal ones as are not compared.
  CheckOrder(labels);
}

TEST_CASE("label order: a zero within a text") {
  std::vector<Labels> labels;
  for (int i = 0; i < 20; ++i) {
    labels.push_back(Labels::Of(
        {{"a", std::string(1 + i % 5, '\0') + (i % 2 == 0 ? "x" : "")}, {"b", std::to_string(i)}}));
    labels.push_back(Labels::Of({{"a", std::string("\0y", 2)}}));
  }
  CheckOrder(labels);
}

TEST_CASE("label order: random sets") {
  std::mt19937_64 random(20);
  for (int round = 0; round < 50; ++round) {
    std::vector<Labels> labels;
    const size_t count = random() % 300;
    for (size_t i = 0; i < count; ++i) {
      std::vector<std::pair<std::string, std::string>> pairs;
      for (size_t pair = random() % 5; pair > 0; --pair) {
        const std::string value = std::string(random() % 20, 'v') + std::to_string(random() % 12);
        pairs.emplace_back(std::string(1 + random() % 3, 'n') + "name", value);
      }
      labels.push_back(Labels::FromPairs(std::move(pairs)));
    }
    CheckOrder(labels);
  }
}

}  // namespace
}  // namespace varve
