// SPDX-License-Identifier: Apache-2.0
//
// Label sets: encoding, order, text, and the builder.

#include "model/labels.h"

#include <doctest/doctest.h>

#include <iterator>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace varve {
namespace {

TEST_CASE("labels: sorted, empty values dropped, the last of equal names stays") {
  const Labels labels = Labels::FromPairs({{"b", "2"}, {"a", "1"}, {"c", ""}, {"b", "3"}});
  CHECK(labels.ToBracedString() == R"({a="1", b="3"})");
  CHECK(labels.size() == 2);
  CHECK(labels.Get("b") == "3");
  CHECK(labels.Get("c") == "");
  CHECK_FALSE(labels.Has("c"));
}

TEST_CASE("labels: the bytes are the documented encoding") {
  CHECK(Labels::Of({{"a", "xy"}}).bytes() == std::string("\x01"
                                                         "a\x02xy"));
  const std::string long_value(300, 'v');
  const Labels labels = Labels::Of({{"a", long_value}});
  CHECK(labels.bytes().substr(2, 4) == std::string("\xFF\x2C\x01\x00", 4));
  CHECK(labels.Get("a") == long_value);
}

TEST_CASE("labels: bytes read back, damaged bytes are refused") {
  const std::string long_value(255, 'v');
  const Labels labels = Labels::Of({{"a", "1"}, {"b", long_value}, {"c", "3"}});
  const auto read = Labels::FromBytes(labels.bytes());
  REQUIRE(read.ok());
  CHECK(*read == labels);
  int accepted = 0;
  for (size_t cut = 1; cut < labels.bytes().size(); ++cut) {
    accepted += Labels::FromBytes(labels.bytes().substr(0, cut)).ok();
  }
  CHECK(accepted == 2);  // Only the cuts between whole labels.
  CHECK_FALSE(Labels::FromBytes("\x01"
                                "b\x01"
                                "1\x01"
                                "a\x01"
                                "1")
                  .ok());
  CHECK_FALSE(Labels::FromBytes(std::string("\x01"
                                            "a\x00",
                                            3))
                  .ok());
}

TEST_CASE("labels: ordered by name, then value; a prefix first") {
  const Labels a = Labels::Of({{"a", "1"}});
  const Labels ab = Labels::Of({{"a", "1"}, {"b", "1"}});
  const Labels a2 = Labels::Of({{"a", "2"}});
  const Labels b = Labels::Of({{"b", "0"}});
  CHECK(a < ab);
  CHECK(ab < a2);
  CHECK(a2 < b);
  CHECK(Labels() < a);
  // Longer texts do not sort behind shorter ones just for their length byte.
  CHECK(Labels::Of({{"a", "aaa"}}) < Labels::Of({{"a", "b"}}));
}

TEST_CASE("labels: the order is that of the pairs, whatever their lengths") {
  std::mt19937 random(7);
  const auto below = [&](size_t bound) {
    return std::uniform_int_distribution<size_t>(0, bound - 1)(random);
  };
  // Lengths around those where words of bytes end and where the encoding of a length grows.
  const auto text = [&] {
    static constexpr size_t kLengths[] = {1, 2, 7, 8, 9, 254, 255, 256, 300};
    std::string value(kLengths[below(std::size(kLengths))], 'a');
    if (below(2) == 0) value[below(value.size())] = below(2) == 0 ? '\xff' : 'b';
    return value;
  };
  size_t differ = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::vector<std::pair<std::string, std::string>> a;
    const size_t count = below(4);
    for (size_t i = 0; i < count; ++i) a.emplace_back("l" + std::to_string(i), text());
    auto b = a;
    if (!b.empty() && below(2) == 0) b[below(b.size())].second = text();
    if (!b.empty() && below(4) == 0) b.pop_back();
    if (below(4) == 0) b.emplace_back("m" + text(), text());
    const auto wanted = a <=> b;
    CHECK((Labels::FromPairs(a) <=> Labels::FromPairs(b)) == wanted);
    differ += wanted != 0;
  }
  CHECK(differ > 5'000);
}

TEST_CASE("labels: the hash is XXH64 of the encoding") {
  // limit_ratio depends on the value: computed with the xxhash command on the same bytes.
  CHECK(Labels().Hash() == 0xef46db3751d8e999ULL);
}

TEST_CASE("labels: text as Prometheus prints it") {
  CHECK(Labels::Of({{"__name__", "up"}}).ToString() == "up");
  CHECK(Labels::Of({{"__name__", "up"}, {"job", "a\"b\n"}}).ToString() == R"(up{job="a\"b\n"})");
  CHECK(Labels::Of({{"__name__", "a.b"}, {"x.y", "z"}}).ToString() ==
        R"({__name__="a.b", "x.y"="z"})");
  CHECK(Labels().ToString() == "{}");
}

TEST_CASE("labels builder: sets, deletes, keeps") {
  LabelsBuilder builder(Labels::Of({{"a", "1"}, {"b", "2"}, {"c", "3"}}));
  builder.Set("b", "");
  builder.Set("d", "4");
  builder.Set("a", "9");
  CHECK(builder.Build().ToBracedString() == R"({a="9", c="3", d="4"})");
  builder.Keep({"d", "x"});
  CHECK(builder.Build() == Labels::Of({{"d", "4"}}));
  CHECK(builder.Get("a") == "");
}

TEST_CASE("label and metric names, UTF-8") {
  CHECK(IsLegacyLabelName("_a1"));
  CHECK_FALSE(IsLegacyLabelName("a:b"));
  CHECK_FALSE(IsLegacyLabelName("1a"));
  CHECK_FALSE(IsLegacyLabelName(""));
  CHECK(IsLegacyMetricName(":a:b"));
  CHECK_FALSE(IsLegacyMetricName("a.b"));
  CHECK(IsValidUtf8("gr\xC3\xBC\xC3\x9F"));
  CHECK_FALSE(IsValidUtf8("\xC0\x80"));          // Overlong.
  CHECK_FALSE(IsValidUtf8("\xED\xA0\x80"));      // A surrogate.
  CHECK_FALSE(IsValidUtf8("\xF4\x90\x80\x80"));  // Past U+10FFFF.
  CHECK_FALSE(IsValidUtf8("\xC3"));
}

TEST_CASE("quoting as Go does") {
  CHECK(Quoted("a\tb\\\"\x01\x7F") == R"("a\tb\\\"\x01\x7f")");
  CHECK(Quoted("\xFF") == R"("\xff")");
  CHECK(Quoted("\xC3\xBC") == "\"\xC3\xBC\"");
}

}  // namespace
}  // namespace varve
