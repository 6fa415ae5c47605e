// SPDX-License-Identifier: Apache-2.0
//
// Goal: folding and sealing change where samples lie and nothing else: the same answers before,
// amid and after, whatever stops a pass, and whoever is reading meanwhile.
// Method: a storage that is fed hostile samples is compared with what it said before it folded (or
// with what was fed), also after copies of its directory, made at each step, are opened.
#include "tsdb/fold.h"

#include <doctest/doctest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "tests/tsdb/test_values.h"
#include "tsdb/db.h"
#include "tsdb/lru_cache.h"
#include "tsdb/postings.h"

namespace varve {
namespace {

struct FoldFixture {
  TempDir dir;
  ManualClock clock{kBegin};
  DbOptions options{.path = dir.path(), .retention = 0, .background = false};
  std::mt19937_64 random{7};
  Contents fed;  // Of one series: floats, then histograms.

  static Labels SeriesLabels(int series, const std::string& run) {
    return Labels::Of({{"__name__", "m" + std::to_string(series % 5)},
                       {"run", run},
                       {"series", std::to_string(series)}});
  }

  // Scrapes `series` series every minute for `duration`, each third one a histogram.
  void Feed(Db& db, DurationMs duration, const std::string& run, int series = 12) {
    std::map<int, Histogram> histograms;
    for (DurationMs passed = 0; passed < duration; passed += kMinute) {
      clock.Advance(kMinute + static_cast<DurationMs>(random() % 7) - 3);
      const auto appender = db.NewAppender();
      for (int i = 0; i < series; ++i) {
        const Labels labels = SeriesLabels(i, run);
        std::vector<std::string>& texts = fed[labels.ToString()];
        const TimestampMs start = i % 4 == 0 ? kBegin - 5 : 0;
        if (i % 3 == 2) {
          Histogram& histogram = histograms[i];
          histogram = random() % 20 == 0 || histogram.count == 0 ? RandomHistogram(random)
                                                                 : Grown(histogram, random);
          texts.push_back(SampleText(clock.Now(), histogram, start));
          REQUIRE(appender->AppendHistogram(kNoSeries, labels, clock.Now(), histogram, start).ok());
        } else {
          const double value = i % 3 == 0 ? RandomValue(random) : static_cast<double>(passed / 7);
          texts.push_back(SampleText(clock.Now(), value, start));
          REQUIRE(appender->Append(kNoSeries, labels, clock.Now(), value, start).ok());
        }
      }
      REQUIRE(appender->Commit().ok());
    }
  }

  void MustMaintain(Db& db) {
    const absl::Status status = db.Maintain();
    REQUIRE_MESSAGE(status.ok(), status.ToString());
  }
  void MustSeal(Db& db) {
    const absl::Status status = db.Seal();
    REQUIRE_MESSAGE(status.ok(), status.ToString());
  }

  // Feeds for `hours`, with maintenance every ten minutes.
  void FeedHours(Db& db, int hours, const std::string& run, int series = 12) {
    for (int i = 0; i < hours * 6; ++i) {
      Feed(db, 10 * kMinute, run, series);
      MustMaintain(db);
    }
  }

  static std::vector<std::string> Texts(const absl::StatusOr<LabelTexts>& texts) {
    REQUIRE(texts.ok());
    return texts->texts;
  }
};

TEST_CASE_FIXTURE(FoldFixture, "fold: the same answers from columns as from chunks") {
  auto db = MustOpen(options, clock);
  Feed(*db, 5 * kHour, "a");
  CHECK(db->Stored().generations == 0);
  const Contents before = ReadAll(*db);
  REQUIRE(before == fed);
  const TimestampMs middle = kBegin + 2 * kHour;
  const Contents part = ReadAll(*db, middle, middle + 30 * kMinute);
  const std::vector<Matcher> matchers = {*Matcher::Create(MatchType::kRegex, "__name__", "m[12]"),
                                         *Matcher::Create(MatchType::kNotEqual, "series", "6")};
  const Contents matched = ReadAll(*db, middle, middle + kHour, matchers);
  CHECK(matched.size() == 4);

  MustSeal(*db);
  const StoredStats stored = db->Stored();
  CHECK(stored.hot_families == 1);
  CHECK(stored.generations == stored.buckets);
  CHECK(stored.generation_samples == 12 * 5 * 60);
  CHECK(ReadAll(*db) == before);
  CHECK(ReadAll(*db, middle, middle + 30 * kMinute) == part);
  CHECK(ReadAll(*db, middle, middle + kHour, matchers) == matched);

  Feed(*db, kHour, "a");
  CHECK(ReadAll(*db) == fed);
  db.reset();
  db = MustOpen(options, clock);
  CHECK(db->Counters().corruptions == 0);
  CHECK(ReadAll(*db) == fed);
  MustSeal(*db);
  CHECK(ReadAll(*db) == fed);
  CHECK(db->Stored().generations == db->Stored().buckets);
}

TEST_CASE_FIXTURE(FoldFixture, "fold: a pass that is stopped at any step is done again") {
  auto db = MustOpen(options, clock);
  Feed(*db, 2 * kHour, "a");
  std::vector<std::string> steps;
  size_t fail_at = 0;
  std::map<std::string, int> seen;
  std::vector<std::unique_ptr<TempDir>> copies;
  db.reset();
  options.at_step = [&](std::string_view step) -> absl::Status {
    steps.emplace_back(step);
    if (++seen[steps.back()] == 2 || seen.size() > copies.size()) {
      copies.push_back(std::make_unique<TempDir>());
      std::filesystem::copy(dir.path(), copies.back()->path(),
                            std::filesystem::copy_options::recursive);
    }
    return steps.size() == fail_at ? absl::UnavailableError("stopped by the test")
                                   : absl::OkStatus();
  };
  db = MustOpen(options, clock);
  for (int round = 0; round < 3; ++round) {
    // Each round stops one step later, until a whole pass gets through.
    for (fail_at = 1;; ++fail_at) {
      CAPTURE(fail_at);
      steps.clear();
      const absl::Status status = db->Seal();
      CHECK(ReadAll(*db) == fed);
      if (steps.size() < fail_at) {
        REQUIRE(status.ok());
        break;
      }
      CHECK_FALSE(status.ok());
      REQUIRE(fail_at < 200);
    }
    CHECK(db->Stored().hot_families == 1);
    CHECK(db->Stored().generations == db->Stored().buckets);
    Feed(*db, 20 * kMinute, "a");
  }
  CHECK(seen.contains("tables taken in"));
  CHECK(seen.contains("dropping a hot family"));
  CHECK(seen.contains("checkpoint recorded"));
  CHECK(seen.contains("begin merge"));
  CHECK(db->Counters().corruptions == 0);
  db.reset();
  options.at_step = nullptr;

  // What a kill would have left at each kind of step: nothing fed until then is lost.
  for (const std::unique_ptr<TempDir>& copy : copies) {
    DbOptions copied = options;
    copied.path = copy->path();
    auto reopened = MustOpen(copied, clock);
    CHECK(reopened->Counters().corruptions == 0);
    const Contents found = ReadAll(*reopened);
    CHECK(found.size() == fed.size());
    for (const auto& [labels, texts] : found) {
      const std::vector<std::string>& all = fed[labels];
      REQUIRE(texts.size() <= all.size());
      CHECK(texts.size() >= 120);
      CHECK(std::equal(texts.begin(), texts.end(), all.begin()));
    }
    MustSeal(*reopened);
    CHECK(ReadAll(*reopened) == found);
    CHECK(reopened->Stored().generations == reopened->Stored().buckets);
    const std::filesystem::path scratch = copied.path + "/varve/folding";
    CHECK(std::filesystem::is_empty(scratch));
  }
}

TEST_CASE_FIXTURE(FoldFixture, "fold: a damaged block costs what lies in it, once") {
  auto db = MustOpen(options, clock);
  Feed(*db, 5 * kHour, "a", 60);
  REQUIRE(db->Close().ok());
  db.reset();
  std::filesystem::path largest;
  for (const auto& file : std::filesystem::directory_iterator(dir.path() + "/varve")) {
    if (file.path().extension() != ".sst") continue;
    if (largest.empty() || file.file_size() > std::filesystem::file_size(largest)) {
      largest = file.path();
    }
  }
  REQUIRE(std::filesystem::file_size(largest) > 100'000);
  {
    std::fstream stream(largest, std::ios::in | std::ios::out | std::ios::binary);
    const auto middle = static_cast<std::streamoff>(std::filesystem::file_size(largest) / 2);
    stream.seekg(middle);
    const int byte = stream.get();
    stream.seekp(middle);
    stream.put(static_cast<char>(byte ^ 1));
  }
  db = MustOpen(options, clock);
  MustSeal(*db);
  CHECK(db->Counters().corruptions > 0);
  const uint64_t samples = db->Stored().generation_samples;
  CHECK(samples < 60 * 300);
  CHECK(samples > 60 * 300 / 2);
  // What is left is what was fed, and nothing is damaged any more.
  const Contents found = ReadAll(*db);
  for (const auto& [labels, texts] : found) {
    const std::vector<std::string>& all = fed[labels];
    const std::set<std::string> known(all.begin(), all.end());
    for (const std::string& text : texts) CHECK(known.contains(text));
  }
  db.reset();
  db = MustOpen(options, clock);
  CHECK(db->Counters().corruptions == 0);
  CHECK(ReadAll(*db) == found);
}

TEST_CASE_FIXTURE(FoldFixture, "fold: late samples make further generations") {
  auto db = MustOpen(options, clock);
  FeedHours(*db, 3, "a");
  // A series that starts half an hour behind the others, after their samples were folded.
  MustSeal(*db);
  const Labels late = Labels::Of({{"late", "yes"}});
  const TimestampMs begin = clock.Now() - 30 * kMinute;
  for (int i = 0; i < 20; ++i) {
    MustAppend(*db, late, begin + i * kMinute, i);
    fed[late.ToString()].push_back(SampleText(begin + i * kMinute, i, 0));
  }
  CHECK(ReadAll(*db) == fed);
  const uint64_t generations = db->Stored().generations;
  clock.Advance(kHour);
  FeedHours(*db, 3, "a");
  CHECK(db->Stored().generations > generations);
  CHECK(ReadAll(*db) == fed);
  MustSeal(*db);
  CHECK(ReadAll(*db) == fed);
  CHECK(db->Stored().generations == db->Stored().buckets);
}

TEST_CASE_FIXTURE(FoldFixture, "seal: a bucket that has closed becomes one generation by itself") {
  options.bucket_size = 6 * kHour;
  auto db = MustOpen(options, clock);
  uint64_t generations_max = 0;
  for (int i = 0; i < 40; ++i) {
    FeedHours(*db, 1, "a", 3);
    generations_max = std::max(generations_max, db->Stored().generations);
  }
  const StoredStats stored = db->Stored();
  CHECK(stored.buckets >= 7);
  CHECK(stored.merges >= 5);
  // All but the last two buckets have one; a fold every two hours makes three of each of those.
  CHECK(stored.generations <= stored.buckets + 4);
  CHECK(generations_max <= stored.buckets + 4);
  CHECK(stored.hot_families <= 2);
  CHECK(ReadAll(*db) == fed);
}

TEST_CASE_FIXTURE(FoldFixture, "seal: what a series may go on with is not forgotten") {
  auto db = MustOpen(options, clock);
  const Labels labels = Labels::Of({{"a", "b"}});
  MustAppend(*db, labels, clock.Now(), 1);
  for (int i = 0; i < 3; ++i) {
    MustSeal(*db);
    CHECK(db->Head().series == 1);
    CHECK(TryAppend(*db, labels, clock.Now() - kMinute, 1) == AppendError::kOutOfOrder);
    CHECK(TryAppend(*db, labels, clock.Now(), 2) == AppendError::kDuplicateTimestamp);
  }
  CHECK(ReadAll(*db).begin()->second == std::vector<std::string>{SampleText(kBegin, 1, 0)});
}

TEST_CASE("merging takes runs of generations of like size") {
  const auto first = [](std::vector<uint64_t> sizes) {
    std::vector<BucketTable::Generation> generations;
    for (const uint64_t size : sizes) {
      generations.push_back({.number = static_cast<uint32_t>(generations.size()), .bytes = size});
    }
    return FirstToMerge(generations);
  };
  CHECK(first({}) == 0);
  CHECK(first({9}) == 1);
  CHECK(first({1, 1, 1, 1, 1}) == 5);
  CHECK(first({1, 1, 1, 1, 1, 1}) == 0);
  // A large one waits until as much has come behind it.
  CHECK(first({100, 1, 1, 1, 1, 1}) == 6);
  CHECK(first({100, 1, 1, 1, 1, 1, 1}) == 1);
  CHECK(first({6, 1, 1, 1, 1, 1, 1}) == 0);
  // However many come, few stay, and none is merged often.
  std::vector<BucketTable::Generation> live;
  uint64_t rewritten = 0;
  for (uint32_t number = 0; number < 1000; ++number) {
    live.push_back({.number = number, .bytes = 10});
    const size_t at = FirstToMerge(live);
    if (at == live.size()) continue;
    uint64_t bytes = 0;
    for (size_t i = at; i < live.size(); ++i) bytes += live[i].bytes;
    rewritten += bytes;
    live.resize(at);
    live.push_back({.number = number, .bytes = bytes});
    CHECK(live.size() < 24);
  }
  CHECK(rewritten < 10 * 1000 * 10);
}

TEST_CASE_FIXTURE(FoldFixture, "exemplars of series that left memory are found") {
  options.exemplars_max = 10;
  auto db = MustOpen(options, clock);
  const auto add = [&](const Labels& labels, double value) {
    const auto appender = db->NewAppender();
    REQUIRE(appender->AppendExemplar(kNoSeries, labels, {Labels(), value, clock.Now(), true}).ok());
    REQUIRE(appender->Commit().ok());
  };
  const auto found = [&](std::string_view run) {
    std::vector<std::pair<Labels, std::vector<double>>> result;
    const auto selected = db->SelectExemplars(
        kMinTimestamp, kMaxTimestamp, {{Matcher::Equal("run", run)}, {Matcher::Equal("x", "y")}});
    REQUIRE(selected.ok());
    for (const SeriesExemplars& series : *selected) {
      result.emplace_back(series.series, std::vector<double>());
      for (const Exemplar& one : series.exemplars) result.back().second.push_back(one.value);
    }
    return result;
  };
  const Labels first = SeriesLabels(1, "a");
  Feed(*db, 10 * kMinute, "a");
  add(first, 1);
  add(SeriesLabels(3, "a"), 2);
  FeedHours(*db, 8, "b");
  MustSeal(*db);
  MustMaintain(*db);
  REQUIRE(db->Head().series == 12);
  using Found = std::vector<std::pair<Labels, std::vector<double>>>;
  CHECK(found("a") == Found{{first, {1}}, {SeriesLabels(3, "a"), {2}}});
  CHECK(found("b").empty());
  Feed(*db, 10 * kMinute, "a");  // Under new ids.
  add(first, 3);
  CHECK(found("a") == Found{{first, {1, 3}}, {SeriesLabels(3, "a"), {2}}});
  db.reset();
  db = MustOpen(options, clock);
  CHECK(found("a") == Found{{first, {1, 3}}, {SeriesLabels(3, "a"), {2}}});
}

TEST_CASE_FIXTURE(FoldFixture, "series that ended leave memory, not the answers") {
  auto db = MustOpen(options, clock);
  for (const char* run : {"a", "b", "c", "d", "e"}) FeedHours(*db, 2, run);
  FeedHours(*db, 3, "f");
  MustSeal(*db);
  MustMaintain(*db);
  CHECK(db->Head().series == 12);
  CHECK(ReadAll(*db) == fed);
  auto querier = *db->OpenQuerier(kMinTimestamp, kMaxTimestamp);
  const std::vector<std::string> runs = {"a", "b", "c", "d", "e", "f"};
  CHECK(Texts(querier->LabelValues("run", {}, 0)) == runs);
  CHECK(Texts(querier->LabelNames({}, 0)) == std::vector<std::string>{"__name__", "run", "series"});
  CHECK(Texts(querier->LabelValues(
            "series", {{Matcher::Equal("run", "b"), Matcher::Equal("__name__", "m1")}}, 0)) ==
        std::vector<std::string>{"1", "11", "6"});
  CHECK(Texts(querier->LabelNames({{Matcher::Equal("run", "nothing")}}, 0)).empty());
  const auto limited = querier->LabelValues("run", {}, 2);
  REQUIRE(limited.ok());
  CHECK(limited->truncated);
  CHECK(limited->texts == std::vector<std::string>{"a", "b"});
  CHECK_FALSE(querier->LabelValues("run", {}, 6)->truncated);
  const auto names = querier->LabelNames({}, 2);
  REQUIRE(names.ok());
  CHECK(names->truncated);
  CHECK(names->texts == std::vector<std::string>{"__name__", "run"});
  // Series of memory and of generations together, the smallest first.
  {
    const auto all = querier->Select({}, {});
    REQUIRE(all.ok());
    for (uint64_t limit = 1; limit <= (*all)->size(); ++limit) {
      const auto some = querier->Select({}, {.limit = limit});
      REQUIRE(some.ok());
      REQUIRE((*some)->size() == limit);
      for (size_t i = 0; i < limit; ++i) CHECK((*some)->labels(i) == (*all)->labels(i));
    }
  }
  querier.reset();  // It keeps the files open.

  // A label set that comes back is one series, whatever ids it had.
  const uint64_t created = db->Counters().series_created;
  Feed(*db, 10 * kMinute, "a");
  CHECK(db->Counters().series_created == created + 12);
  CHECK(ReadAll(*db) == fed);
  MustSeal(*db);
  CHECK(ReadAll(*db) == fed);
  db.reset();
  db = MustOpen(options, clock);
  CHECK(ReadAll(*db) == fed);
  const Contents run_a = ReadAll(*db, kMinTimestamp, kMaxTimestamp, {Matcher::Equal("run", "a")});
  CHECK(run_a.size() == 12);
}

TEST_CASE_FIXTURE(FoldFixture, "matchers on stored series") {
  auto db = MustOpen(options, clock);
  std::vector<Labels> series;
  for (int i = 0; i < 60; ++i) {
    std::vector<std::pair<std::string, std::string>> pairs = {{"i", std::to_string(i)}};
    if (i % 2 == 0) pairs.emplace_back("even", "yes");
    if (i % 3 == 0) pairs.emplace_back("third", i % 6 == 0 ? "a.b" : "axb");
    series.push_back(Labels::FromPairs(pairs));
    MustAppend(*db, series.back(), clock.Now(), i);
  }
  MustSeal(*db);
  clock.Advance(5 * kHour);
  MustAppend(*db, Labels::Of({{"other", "x"}}), clock.Now(), 1);
  MustMaintain(*db);
  REQUIRE(db->Head().series == 1);
  const auto check = [&](const std::vector<Matcher>& matchers) {
    std::set<std::string> expected;
    for (const Labels& labels : series) {
      if (MatchesAll(matchers, labels)) expected.insert(labels.ToString());
    }
    std::set<std::string> found;
    for (const auto& [labels, texts] : ReadAll(*db, kBegin, kBegin, matchers)) {
      if (!texts.empty()) found.insert(labels);
    }
    CHECK(found == expected);
    return expected.size();
  };
  const auto make = [](MatchType type, std::string_view name, std::string_view value) {
    return *Matcher::Create(type, name, value);
  };
  CHECK(check({}) == 60);
  CHECK(check({Matcher::Equal("even", "yes")}) == 30);
  CHECK(check({Matcher::Equal("even", "")}) == 30);
  CHECK(check({Matcher::Equal("nothing", "x")}) == 0);
  CHECK(check({make(MatchType::kNotEqual, "even", "yes"), Matcher::Equal("third", "axb")}) == 10);
  CHECK(check({make(MatchType::kRegex, "third", "a\\.b|axb")}) == 20);
  CHECK(check({make(MatchType::kRegex, "third", "a.b|")}) == 60);
  CHECK(check({make(MatchType::kRegex, "i", "1|2|33|")}) == 3);
  CHECK(check({make(MatchType::kRegex, "i", "1.")}) == 10);
  CHECK(check({make(MatchType::kNotRegex, "i", "1.|2.")}) == 40);
  CHECK(check({make(MatchType::kNotRegex, "third", "")}) == 20);
  CHECK(check({make(MatchType::kRegex, "even", ".+"), make(MatchType::kNotRegex, "third", ".*x.*"),
               make(MatchType::kNotEqual, "i", "0")}) == 29);
}

TEST_CASE_FIXTURE(FoldFixture,
                  "a series set reads what it pinned, through folds, seals and retention") {
  options.retention = 6 * kHour;
  auto db = MustOpen(options, clock);
  FeedHours(*db, 3, "a");
  const Contents before = fed;
  const auto querier = *db->OpenQuerier(kMinTimestamp, kMaxTimestamp);
  std::shared_ptr<SeriesSet> set = *querier->Select({Matcher::Equal("run", "a")}, {});
  const auto check = [&] {
    REQUIRE(set->size() == before.size());
    SeriesSamples samples;
    for (size_t i = 0; i < set->size(); ++i) {
      REQUIRE(set->Read(i, kMinTimestamp, kMaxTimestamp, samples).ok());
      CHECK(SampleTexts(samples) == before.at(set->labels(i).ToString()));
    }
  };
  check();
  Feed(*db, 30 * kMinute, "a");
  MustSeal(*db);
  check();
  FeedHours(*db, 3, "b");
  MustSeal(*db);
  check();
  FeedHours(*db, 12, "b");
  CHECK(db->Counters().buckets_dropped_by_retention > 0);
  CHECK(ReadAll(*db, kMinTimestamp, kMaxTimestamp, {Matcher::Equal("run", "a")}).empty());
  check();

  // Once it is gone, so are the files.
  const auto table_bytes = [&] {
    uint64_t bytes = 0;
    for (const auto& file : std::filesystem::directory_iterator(dir.path() + "/varve")) {
      if (file.path().extension() == ".sst") bytes += file.file_size();
    }
    return bytes;
  };
  MustMaintain(*db);
  const uint64_t pinned = table_bytes();
  set.reset();
  MustMaintain(*db);
  CHECK(table_bytes() < pinned);
}

TEST_CASE_FIXTURE(FoldFixture, "readers see every sample while chunks move to columns") {
  options.hot_epoch = 10 * kMinute;
  options.bucket_size = kHour;
  auto db = MustOpen(options, clock);
  const Labels labels = Labels::Of({{"a", "b"}});
  std::atomic<int> committed = 0;
  std::atomic<bool> stop = false;
  std::atomic<int> wrong = 0;
  std::thread reader([&] {
    SeriesSamples samples;
    while (!stop) {
      const int least = committed;
      const auto set = *(*db->OpenQuerier(kMinTimestamp, kMaxTimestamp))->Select({}, {});
      if (set->size() == 0) {
        wrong += least > 0 ? 1 : 0;
        continue;
      }
      if (!set->Read(0, kMinTimestamp, kMaxTimestamp, samples).ok()) ++wrong;
      bool right = static_cast<int>(samples.values.size()) >= least;
      for (size_t i = 0; i < samples.values.size(); ++i) {
        right = right && samples.values[i] == static_cast<double>(i);
      }
      wrong += right ? 0 : 1;
    }
  });
  std::thread folder([&] {
    while (!stop) {
      wrong += db->Maintain().ok() ? 0 : 1;
      wrong += db->Seal().ok() ? 0 : 1;
    }
  });
  for (int i = 0; i < 3000; ++i) {
    clock.Advance(5 * kSecond);
    MustAppend(*db, labels, clock.Now(), i);
    committed = i + 1;
  }
  stop = true;
  reader.join();
  folder.join();
  CHECK(wrong == 0);
  CHECK(db->Stored().folds > 0);
  CHECK(ReadAll(*db).begin()->second.size() == 3000);
}

TEST_CASE("postings: any set comes back, damage is found") {
  std::mt19937_64 random(TestSeed());
  for (int round = 0; round < 200; ++round) {
    std::set<uint64_t> ids;
    const size_t count = round < 40 ? static_cast<size_t>(round) : random() % 3000;
    const uint64_t spread = uint64_t{1} << (1 + random() % 63);
    for (size_t i = 0; i < count; ++i) ids.insert(1 + random() % spread);
    const std::vector<uint64_t> sorted(ids.begin(), ids.end());
    const std::string bytes = EncodePostings(sorted);
    const auto decoded = DecodePostings(bytes);
    REQUIRE(decoded.ok());
    CHECK(*decoded == sorted);
    if (sorted.size() > kPostingsArrayMax) {
      std::string damaged = bytes;
      damaged[random() % damaged.size()] ^= 1;
      const auto found = DecodePostings(damaged);
      CHECK((!found.ok() || *found != sorted));
    }
  }
  CHECK_FALSE(DecodePostings("").ok());
  CHECK_FALSE(DecodePostings(std::string("\x01\x00", 2)).ok());
  CHECK_FALSE(DecodePostings("\x03").ok());
  // A step to the largest id, and one past it.
  const std::string largest = "\x01" + EncodeVarintValue(~uint64_t{0});
  CHECK(DecodePostings(largest).ok());
  CHECK_FALSE(DecodePostings(largest + "\x01").ok());
}

TEST_CASE("caches keep within their bounds, the least recently used go first") {
  LruCache<int> cache(10'000);
  for (int i = 0; i < 100; ++i) {
    cache.Add(std::to_string(i), std::make_shared<const int>(i), 800);
    if (cache.Find("0") == nullptr) FAIL("the entry in use was dropped");
    CHECK(cache.bytes() <= 10'000);
  }
  REQUIRE(cache.Find("99") != nullptr);
  CHECK(*cache.Find("99") == 99);
  CHECK(cache.Find("50") == nullptr);
  cache.Add("large", std::make_shared<const int>(1), 5000);
  CHECK(cache.Find("large") == nullptr);
  cache.SetBytesMax(2000);
  CHECK(cache.bytes() <= 2000);
  CHECK(cache.bytes() > 0);
  CHECK(cache.Find("99") != nullptr);
  cache.SetBytesMax(10'000);
  for (int i = 0; i < 8; ++i) {
    cache.Add("again" + std::to_string(i), std::make_shared<const int>(i), 800);
  }
  CHECK(cache.bytes() > 5000);
}

TEST_CASE_FIXTURE(FoldFixture, "a staleness marker lets a series leave memory early") {
  auto db = MustOpen(options, clock);
  const Labels ended = Labels::Of({{"a", "ended"}});
  const Labels silent = Labels::Of({{"a", "silent"}});
  MustAppend(*db, ended, kBegin, 1);
  MustAppend(*db, ended, kBegin + kMinute, StaleNan());
  MustAppend(*db, silent, kBegin + kMinute, 1);
  const auto chunks_after = [&](DurationMs after) {
    clock.Set(kBegin + kMinute + after);
    MustAppend(*db, Labels::Of({{"a", "other"}}), kBegin + kMinute + after, 1);
    REQUIRE(db->Maintain().ok());
    return db->Head().chunks;
  };
  CHECK(chunks_after(10 * kMinute) == 3);
  CHECK(chunks_after(10 * kMinute + 1) == 2);
  CHECK(chunks_after(kHour) == 2);
  CHECK(chunks_after(kHour + 1) == 1);
}

// All series are replaced every hour: those in memory stay a small multiple of those that are
// alive.
TEST_CASE_FIXTURE(FoldFixture, "churn: series that have ended do not pile up in memory") {
  constexpr int kSeries = 12'000;
  const int hours = TestRounds(12);
  auto db = MustOpen(options, clock);
  uint64_t most = 0;
  for (int hour = 0; hour < hours; ++hour) {
    std::vector<SeriesRef> refs(kSeries, kNoSeries);
    for (int quarter = 0; quarter < 4; ++quarter) {
      const TimestampMs now = kBegin + hour * kHour + quarter * 15 * kMinute;
      clock.Set(now);
      const auto appender = db->NewAppender();
      for (int i = 0; i < kSeries; ++i) {
        const Labels labels =
            refs[i] != kNoSeries
                ? Labels()
                : Labels::Of(
                      {{"__name__", "m"}, {"i", std::to_string(i)}, {"pod", std::to_string(hour)}});
        const auto ref = appender->Append(refs[i], labels, now, quarter);
        REQUIRE(ref.ok());
        refs[i] = *ref;
      }
      REQUIRE(appender->Commit().ok());
      REQUIRE(db->Maintain().ok());
      most = std::max(most, db->Head().series);
    }
  }
  CHECK(most <= 4 * kSeries);
  CHECK(db->Counters().series_created == static_cast<uint64_t>(hours) * kSeries);
  const auto querier = db->OpenQuerier(kMinTimestamp, kMaxTimestamp);
  const auto set = (*querier)->Select({Matcher::Equal("i", "17")}, {});
  CHECK((*set)->size() == static_cast<size_t>(hours));
}

}  // namespace
}  // namespace varve
