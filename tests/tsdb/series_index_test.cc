// SPDX-License-Identifier: Apache-2.0
//
// The index against a list of label sets that is searched by applying the matchers to each.
#include "tsdb/series_index.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <random>
#include <set>

#include "tests/tsdb/test_values.h"
#include "tsdb/id_set.h"
#include "tsdb/postings.h"

namespace varve {
namespace {

Matcher Match(MatchType type, std::string_view name, std::string_view value) {
  auto matcher = Matcher::Create(type, name, value);
  REQUIRE(matcher.ok());
  return *matcher;
}

TEST_CASE("index: random series and matchers against a plain search") {
  const uint64_t seed = TestSeed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  SeriesIndex index;
  std::map<uint64_t, Labels> series;
  uint64_t next_id = 1;
  const std::vector<std::string> values = {"", "a", "b", "ab", "a.b", "x\ny", "10", "\xc3\xa4"};
  const std::vector<std::string> patterns = {
      ".*",  ".+",     "a|b", "a|",      "a.*", "[ab]+",    "a\\.b|10", "",
      "x.y", "(?i)AB", "^a$", "nothing", "a.+", "[a1][0b]", ".*b",      "(a|1).?.*"};
  for (int step = 0; step < 3000; ++step) {
    if (step % 3 != 2) {
      std::vector<std::pair<std::string, std::string>> pairs;
      pairs.emplace_back("id", std::to_string(random() % 400));
      for (const char* name : {"m", "n", "o"}) {
        pairs.emplace_back(name, values[random() % values.size()]);
      }
      const Labels labels = Labels::FromPairs(pairs);
      const uint64_t found = index.Find(labels);
      const auto known = std::find_if(series.begin(), series.end(),
                                      [&](const auto& entry) { return entry.second == labels; });
      REQUIRE(found == (known == series.end() ? 0 : known->first));
      if (found == 0) {
        index.Add(next_id, labels);
        series.emplace(next_id++, labels);
      }
    } else if (random() % 4 == 0 && !series.empty()) {
      std::vector<uint64_t> gone;
      for (const auto& [id, labels] : series) {
        if (random() % 10 == 0) gone.push_back(id);
      }
      index.Remove(gone);
      for (const uint64_t id : gone) series.erase(id);
    }
    std::vector<Matcher> matchers;
    for (size_t i = random() % 4; i-- > 0;) {
      const auto type = static_cast<MatchType>(random() % 4);
      const std::string name = std::vector<std::string>{"m", "n", "o", "id", "none"}[random() % 5];
      const bool regex = type == MatchType::kRegex || type == MatchType::kNotRegex;
      matchers.push_back(Match(type, name,
                               regex          ? patterns[random() % patterns.size()]
                               : name == "id" ? std::to_string(random() % 400)
                                              : values[random() % values.size()]));
      CAPTURE(matchers.back().ToString());
    }
    std::vector<uint64_t> expected;
    for (const auto& [id, labels] : series) {
      if (MatchesAll(matchers, labels)) expected.push_back(id);
    }
    std::string text;
    for (const Matcher& matcher : matchers) text += matcher.ToString() + " ";
    CAPTURE(text);
    CAPTURE(step);
    REQUIRE(index.Select(matchers) == expected);
  }
  CHECK(index.series() == series.size());
  for (const auto& [id, labels] : series) CHECK(index.LabelsOf(id) == labels);
}

// Goal: what a limit leaves is the beginning of the whole answer, whatever order the index has.
TEST_CASE("index: limited names, values and series are the first of all") {
  std::mt19937_64 random(TestSeed());
  SeriesIndex index;
  std::map<uint64_t, Labels> series;
  for (uint64_t id = 1; id <= 300; ++id) {
    std::vector<std::pair<std::string, std::string>> pairs = {
        {"__name__", std::to_string(random() % 7)}, {"id", std::to_string(random() % 90)}};
    const std::string name(1, static_cast<char>('A' + random() % 40));  // Before and after "_".
    if (random() % 3 != 0) pairs.emplace_back(name, std::to_string(random() % 5));
    series[id] = Labels::FromPairs(pairs);
    index.Add(id, series[id]);
  }
  const auto accepted = [](uint64_t id) { return id % 3 != 0; };
  std::vector<uint64_t> ids;
  std::set<Labels> label_sets;
  for (const auto& [id, labels] : series) {
    if (!accepted(id)) continue;
    ids.push_back(id);
    label_sets.insert(labels);
  }
  REQUIRE(label_sets.size() < ids.size());  // Some ids have the labels of others.
  const auto check = [](const LabelTexts& cut, const LabelTexts& whole, uint64_t limit) {
    CAPTURE(limit);
    const size_t size = std::min<size_t>(limit, whole.texts.size());
    CHECK(cut.texts == std::vector<std::string>(whole.texts.begin(), whole.texts.begin() + size));
    CHECK(cut.truncated == (limit < whole.texts.size()));
    CHECK_FALSE(whole.truncated);
  };
  for (uint64_t limit = 1; limit < 100; ++limit) {
    check(index.Names(accepted, limit), index.Names(accepted, 0), limit);
    check(index.Values("id", accepted, limit), index.Values("id", accepted, 0), limit);
    check(index.NamesOf(ids, limit), index.Names(accepted, 0), limit);
    check(index.ValuesOf("id", ids, limit), index.Values("id", accepted, 0), limit);
    std::set<Labels> found;
    for (const uint64_t id : index.SmallestOf(ids, limit)) found.insert(series[id]);
    REQUIRE(found.size() >= std::min<size_t>(limit, label_sets.size()));
    auto expected = label_sets.begin();
    auto got = found.begin();
    for (uint64_t i = 0; i < limit && expected != label_sets.end(); ++i) {
      CHECK(*got++ == *expected++);
    }
  }
  // All ids of a label set are among them.
  const std::vector<uint64_t> smallest = index.SmallestOf(ids, 1);
  for (const uint64_t id : ids) {
    if (series[id] != *label_sets.begin()) continue;
    CHECK(std::binary_search(smallest.begin(), smallest.end(), id));
  }
}

TEST_CASE("index: the largest of each kind, ties by text") {
  SeriesIndex index;
  for (uint64_t id = 1; id <= 40; ++id) {
    index.Add(id, Labels::Of({{"__name__", id <= 30 ? "many" : "few"},
                              {"a", std::to_string(id)},
                              {"b", std::to_string(id % 4)}}));
  }
  const CardinalityStats stats = index.Cardinality(5);
  std::vector<std::string> pairs;
  for (const NamedCount& pair : stats.series_by_pair) {
    pairs.push_back(pair.name + " " + std::to_string(pair.value));
  }
  CHECK(pairs == std::vector<std::string>{"__name__=many 30", "__name__=few 10", "b=0 10", "b=1 10",
                                          "b=2 10"});
  CHECK(stats.values_by_label.front().name == "a");
  CHECK(stats.values_by_label.front().value == 40);
  CHECK(index.Cardinality(0).series_by_pair.empty());
}

TEST_CASE("index: names and values, with filter and limit") {
  SeriesIndex index;
  index.Add(1, Labels::Of({{"__name__", "up"}, {"job", "b"}}));
  index.Add(2, Labels::Of({{"__name__", "up"}, {"job", "a"}}));
  index.Add(3, Labels::Of({{"__name__", "down"}, {"zone", "z"}}));
  using Texts = std::vector<std::string>;
  const auto all = [](uint64_t) { return true; };
  CHECK(index.Names(all, 0).texts == Texts{"__name__", "job", "zone"});
  CHECK(index.Names([](uint64_t id) { return id == 3; }, 0).texts == Texts{"__name__", "zone"});
  const LabelTexts cut = index.Names(all, 2);
  CHECK(cut.texts == Texts{"__name__", "job"});
  CHECK(cut.truncated);
  CHECK_FALSE(index.Names(all, 3).truncated);
  CHECK(index.Values("job", all, 0).texts == Texts{"a", "b"});
  CHECK(index.Values("none", all, 0).texts.empty());
  CHECK(index.ValuesOf("job", {1}, 0).texts == Texts{"b"});
  CHECK(index.NamesOf({3}, 0).texts == Texts{"__name__", "zone"});
  const CardinalityStats stats = index.Cardinality(1);
  REQUIRE(stats.series_by_metric.size() == 1);
  CHECK(stats.series_by_metric[0].name == "up");
  CHECK(stats.series_by_metric[0].value == 2);
  CHECK(stats.series_by_pair[0].name == "__name__=up");
  CHECK(index.label_pairs() == 5);
  index.Remove({3});
  CHECK(index.Names(all, 0).texts == Texts{"__name__", "job"});
  CHECK(index.label_pairs() == 3);
}

TEST_CASE("index: of two series with the same labels the newer one is found") {
  SeriesIndex index;
  const Labels labels = Labels::Of({{"a", "b"}});
  index.Add(1, labels);
  index.Add(2, labels);
  CHECK(index.Find(labels) == 2);
  CHECK(index.Select({Matcher::Equal("a", "b")}) == std::vector<uint64_t>{1, 2});
  index.Add(3, labels);
  index.Add(4, labels);
  index.Remove({2});
  CHECK(index.Find(labels) == 4);
  index.Remove({4});
  CHECK(index.Find(labels) == 3);
  index.Remove({1});
  CHECK(index.Find(labels) == 3);
  index.Remove({3});
  CHECK(index.Find(labels) == 0);
}

// A series is compared with the one added before it, whose values may be gone by then.
TEST_CASE("index: values that were removed are not taken for those of the next series") {
  SeriesIndex index;
  const Labels first = Labels::Of({{"a", "1"}, {"b", "1"}});
  index.Add(1, first);
  index.Remove(std::vector<uint64_t>{1});
  // The number that "1" had goes to "2".
  const Labels other = Labels::Of({{"a", "2"}, {"b", "2"}});
  index.Add(2, other);
  index.Remove(std::vector<uint64_t>{2});
  index.Add(3, first);
  index.Add(4, Labels::Of({{"a", "1"}, {"b1", ""}, {"c", "1"}}));
  CHECK(index.LabelsOf(3) == first);
  CHECK(index.LabelsOf(4) == Labels::Of({{"a", "1"}, {"c", "1"}}));
  CHECK(index.Select({Matcher::Equal("a", "1")}) == std::vector<uint64_t>{3, 4});
  CHECK(index.Select({Matcher::Equal("a", "2")}).empty());
  CHECK(index.Find(other) == 0);
  CHECK(index.label_pairs() == 3);
}

// Lengths tell where a name ends: the bytes behind them may be the same.
TEST_CASE("index: names that begin like the one before are told apart") {
  SeriesIndex index;
  const std::string long_text(300, 'x');
  const std::vector<Labels> sets = {
      Labels::Of({{"ab", "c"}}),           Labels::Of({{"a", "bc"}}),
      Labels::Of({{"abc", "c"}}),          Labels::Of({{"ab", "cc"}}),
      Labels::Of({{"ab", long_text}}),     Labels::Of({{"ab", long_text + "y"}}),
      Labels::Of({{long_text, "ab"}}),     Labels::Of({{long_text + "y", "ab"}}),
      Labels::Of({{long_text, long_text}})};
  for (size_t i = 0; i < sets.size(); ++i) index.Add(i + 1, sets[i]);
  for (size_t i = 0; i < sets.size(); ++i) {
    CHECK(index.LabelsOf(i + 1) == sets[i]);
    CHECK(index.Find(sets[i]) == i + 1);
  }
}

TEST_CASE("id set: random inserts and removals against a plain set") {
  const uint64_t seed = TestSeed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 50; ++round) {
    IdSet set;
    std::set<uint64_t> plain;
    uint64_t last = 0;
    for (int i = 0; i < 300; ++i) {
      // Mostly rising, near and far; now and then anywhere.
      const uint64_t far = uint64_t{1} << (random() % 40);
      const uint64_t id = random() % 8 == 0 ? 1 + random() % far : last + 1 + random() % far % 1000;
      last = std::max(last, id);
      set.Insert(id);
      plain.insert(id);
      if (random() % 50 == 0) {
        const uint64_t bit = uint64_t{1} << (random() % 10);
        set.RemoveIf([bit](uint64_t member) { return (member & bit) != 0; });
        std::erase_if(plain, [bit](uint64_t member) { return (member & bit) != 0; });
      }
    }
    std::vector<uint64_t> ids;
    set.AppendTo(ids);
    CHECK(ids == std::vector<uint64_t>(plain.begin(), plain.end()));
    CHECK(set.size() == plain.size());
    std::vector<uint64_t> some;
    for (const uint64_t id : plain) some.push_back(id + random() % 2);
    some.erase(std::unique(some.begin(), some.end()), some.end());
    std::vector<uint64_t> common;
    std::set_intersection(some.begin(), some.end(), plain.begin(), plain.end(),
                          std::back_inserter(common));
    set.Intersect(some);
    CHECK(some == common);
    if (!plain.empty()) CHECK(set.AnyOf([&](uint64_t id) { return id == *plain.rbegin(); }));
    CHECK(!set.AnyOf([&](uint64_t id) { return !plain.contains(id); }));
  }
}

TEST_CASE("ids: near and far ones are sorted, each once") {
  const uint64_t seed = TestSeed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  for (const uint64_t spread : {1, 2, 63, 64, 65, 1000, 100'000'000}) {
    for (const size_t size : {0, 1, 2, 64, 1000}) {
      for (const uint64_t first : {uint64_t{0}, uint64_t{77}, UINT64_MAX - 200'000'000}) {
        std::vector<uint64_t> ids;
        for (size_t i = 0; i < size; ++i) ids.push_back(first + random() % spread);
        const std::set<uint64_t> expected(ids.begin(), ids.end());
        SortIds(ids);
        CHECK(ids == std::vector<uint64_t>(expected.begin(), expected.end()));
      }
    }
  }
}

TEST_CASE("id set: ids of series created together take a byte each") {
  IdSet set;
  for (uint64_t id = 1'000'000; id < 1'010'000; ++id) set.Insert(id);
  CHECK(set.MemoryBytes() < 13'000);
  set.RemoveIf([](uint64_t id) { return id != 1'000'007; });
  CHECK(set.MemoryBytes() == 0);
  CHECK(set.size() == 1);
}

}  // namespace
}  // namespace varve
