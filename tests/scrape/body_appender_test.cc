// SPDX-License-Identifier: Apache-2.0
//
// Goal: a scrape's body becomes the samples Prometheus would store, the second scrape of the same
// lines builds no labels, and what vanishes ends. Method: bodies in, committed samples as text out.
#include "scrape/body_appender.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "model/status_macros.h"
#include "tests/scrape/fake_storage.h"
#include "tests/scrape/proto_writer.h"

namespace varve {
namespace {

using Texts = std::vector<std::string>;

class Scraper {
 public:
  explicit Scraper(ScrapeConfig config = {},
                   const Labels& target = Labels::Of({{"job", "j"}, {"instance", "i"}}))
      : config_(std::move(config)), target_(target) {}

  // Scrapes `body` at `time`; the samples committed, or `error: ...` in front of them.
  Texts Scrape(std::string_view body, TimestampMs time) {
    counts = {};
    BodyAppender appender(config_, config_.histograms, target_, cache, metadata);
    std::unique_ptr<Appender> batch = storage.NewAppender();
    const absl::Status status = appender.AppendBody(body, format, time, *batch, counts);
    if (!status.ok()) {
      batch->Rollback();
      batch = storage.NewAppender();
      appender.AppendFailure(time, *batch);
    }
    CHECK(batch->Commit().ok());
    Texts texts = storage.TakeTexts();
    if (!status.ok()) texts.insert(texts.begin(), "error: " + MessageOf(status));
    return texts;
  }

  ScrapeConfig config_;
  const Labels target_;
  FakeStorage storage;
  MetadataPool pool;
  SeriesCache cache;
  TargetMetadataStore metadata{pool};
  AppendCounts counts;
  ExpositionFormat format = ExpositionFormat::kPrometheusText;
};

std::string S(std::string_view metric, std::string_view labels = "") {
  return fmt::format(R"({}{{{}instance="i", job="j"}})", metric, labels);
}

TEST_CASE("body appender: a steady scrape builds labels once") {
  Scraper scraper;
  const std::string body = "# HELP a help\n# TYPE a counter\na{x=\"1\"} 1\na{x=\"2\"} 2\nb 3\n";
  const Texts first = scraper.Scrape(body, 1000);
  CHECK(first == Texts{R"(a{instance="i", job="j", x="1"} 1@1000)",
                       R"(a{instance="i", job="j", x="2"} 2@1000)", S("b") + " 3@1000"});
  CHECK(scraper.counts.series_added == 3);
  const uint64_t built = scraper.storage.label_appends();
  for (TimestampMs time = 2000; time < 6000; time += 1000) {
    CHECK(scraper.Scrape(body, time).size() == 3);
    CHECK(scraper.counts.scraped == 3);
    CHECK(scraper.counts.post_relabel == 3);
    CHECK(scraper.counts.series_added == 0);
  }
  CHECK(scraper.storage.label_appends() == built);
  // A storage that has forgotten the refs is told the labels again.
  scraper.storage.ForgetSeries();
  CHECK(scraper.Scrape(body, 7000).size() == 3);
  CHECK(scraper.storage.label_appends() == built + 3);
}

TEST_CASE("body appender: past the limit of series the known ones go on") {
  Scraper scraper;
  CHECK(scraper.Scrape("a 1\n", 1000).size() == 1);
  scraper.storage.set_series_max(1);
  CHECK(scraper.Scrape("b 1\na 2\n", 2000) == Texts{S("a") + " 2@2000"});
  CHECK(scraper.counts.series_added == 0);
  CHECK(scraper.counts.post_relabel == 2);
  scraper.storage.set_series_max(2);
  CHECK(scraper.Scrape("b 2\na 3\n", 3000) == Texts{S("b") + " 2@3000", S("a") + " 3@3000"});
}

TEST_CASE("body appender: lines may come, go and change places") {
  Scraper scraper;
  CHECK(scraper.Scrape("a 1\nb 1\nc 1\n", 1000).size() == 3);
  CHECK(scraper.Scrape("c 2\na 2\nb 2\n", 2000) ==
        Texts{S("c") + " 2@2000", S("a") + " 2@2000", S("b") + " 2@2000"});
  CHECK(scraper.Scrape("c 3\nnew 3\nb 3\n", 3000) == Texts{S("c") + " 3@3000", S("new") + " 3@3000",
                                                           S("b") + " 3@3000",
                                                           S("a") + " stale@3000"});
  CHECK(scraper.counts.series_added == 1);
  CHECK(scraper.Scrape("c 4\nnew 4\nb 4\n", 4000).size() == 3);
  CHECK(scraper.Scrape("", 5000) ==
        Texts{S("c") + " stale@5000", S("new") + " stale@5000", S("b") + " stale@5000"});
  CHECK(scraper.Scrape("", 6000) == Texts{});
  CHECK(scraper.Scrape("b 7\n", 7000) == Texts{S("b") + " 7@7000"});
  CHECK(scraper.counts.series_added == 1);
}

TEST_CASE("body appender: random scrapes against a plain model") {
  // Method: each scrape exposes a random subset of series in random order; the model is the set of
  // the last scrape. Invariant: every exposed series is stored, exactly the vanished ones end.
  uint64_t state = 42;
  const auto random = [&state](uint64_t below) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (state >> 33) % below;
  };
  Scraper scraper;
  std::vector<int> last;
  for (int round = 1; round < 300; ++round) {
    std::vector<int> now;
    for (int i = 0; i < 30; ++i) {
      if (random(4) > 0) now.push_back(i);
    }
    if (random(3) == 0) {
      for (size_t i = now.size(); i > 1; --i) std::swap(now[i - 1], now[random(i)]);
    }
    if (random(5) == 0) now = last;
    std::string body;
    Texts expected;
    for (const int i : now) {
      body += fmt::format("m{} {}\n", i, round);
      expected.push_back(fmt::format("{} {}@{}", S(fmt::format("m{}", i)), round, round));
    }
    const bool fails = random(10) == 0;
    for (const int i : last) {
      if (!fails && std::find(now.begin(), now.end(), i) != now.end()) continue;
      expected.push_back(fmt::format("{} stale@{}", S(fmt::format("m{}", i)), round));
    }
    if (fails) {
      std::erase_if(expected, [](const auto& text) { return text.find("stale") == text.npos; });
      body += "broken\n";
      now.clear();
    }
    Texts stored = scraper.Scrape(body, round);
    if (fails) {
      REQUIRE(stored[0].starts_with("error:"));
      stored.erase(stored.begin());
    }
    std::sort(stored.begin(), stored.end());
    std::sort(expected.begin(), expected.end());
    CHECK(stored == expected);
    last = now;
  }
}

TEST_CASE("body appender: a malformed line fails the scrape and ends its series") {
  Scraper scraper;
  CHECK(scraper.Scrape("a 1\n", 1000).size() == 1);
  CHECK(scraper.Scrape("a 2\n7&-\n", 2000) ==
        Texts{"error: expected a valid start token, got \"7&-\" (\"INVALID\") while parsing: "
              "\"7&-\" (line 2)",
              S("a") + " stale@2000"});
  CHECK(scraper.Scrape("7&-\n", 3000).size() == 1);  // Ended already.
  CHECK(scraper.Scrape("a 4\n", 4000) == Texts{S("a") + " 4@4000"});
}

TEST_CASE("body appender: clashing labels") {
  const Labels target = Labels::Of({{"job", "j"}, {"a", "t"}});
  Scraper plain({}, target);
  CHECK(plain.Scrape("m{a=\"x\"} 1\n", 1) == Texts{R"(m{a="t", exported_a="x", job="j"} 1@1)"});
  CHECK(plain.Scrape("m{a=\"x\",exported_a=\"y\"} 1\n", 2)[0] ==
        R"(m{a="t", exported_a="y", exported_exported_a="x", job="j"} 1@2)");
  CHECK(plain.Scrape("m{a=\"\"} 1\n", 3)[0] == R"(m{a="t", job="j"} 1@3)");
  ScrapeConfig config;
  config.honor_labels = true;
  Scraper honoring(config, target);
  CHECK(honoring.Scrape("m{a=\"x\"} 1\n", 1) == Texts{R"(m{a="x", job="j"} 1@1)"});
  CHECK(honoring.Scrape("m{a=\"\"} 1\n", 2)[0] == R"(m{job="j"} 1@2)");
}

TEST_CASE("body appender: timestamps of the target") {
  Scraper honoring;
  CHECK(honoring.Scrape("a 1 500\nb 1\n", 1000) == Texts{S("a") + " 1@500", S("b") + " 1@1000"});
  // Series with times of their own are not ended.
  CHECK(honoring.Scrape("", 2000) == Texts{S("b") + " stale@2000"});
  ScrapeConfig config;
  config.track_timestamps_staleness = true;
  Scraper tracking(config);
  CHECK(tracking.Scrape("a 1 500\n", 1000).size() == 1);
  CHECK(tracking.Scrape("", 2000) == Texts{S("a") + " stale@2000"});
  config = {};
  config.honor_timestamps = false;
  Scraper ignoring(config);
  CHECK(ignoring.Scrape("a 1 500\n", 1000) == Texts{S("a") + " 1@1000"});
  CHECK(ignoring.Scrape("", 2000) == Texts{S("a") + " stale@2000"});
}

TEST_CASE("body appender: metric relabelling") {
  ScrapeConfig config;
  config.metric_relabel_rules.push_back(*RelabelRule::Create(
      {.source_labels = {"__name__"}, .regex = "drop_.*", .action = RelabelAction::kDrop}));
  config.metric_relabel_rules.push_back(
      *RelabelRule::Create({.regex = "instance", .action = RelabelAction::kLabelDrop}));
  Scraper scraper(config);
  for (const TimestampMs time : {1, 2}) {
    CHECK(scraper.Scrape("drop_a 1\nb 2\n", time) ==
          Texts{fmt::format(R"(b{{job="j"}} 2@{})", time)});
    CHECK(scraper.counts.scraped == 2);
    CHECK(scraper.counts.post_relabel == 1);
  }
  config.metric_relabel_rules = {
      *RelabelRule::Create({.target_label = "__name__", .replacement = ""})};
  Scraper nameless(config);
  CHECK(nameless.Scrape("a 1\n", 1)[0] == "error: missing metric name (__name__ label)");
}

TEST_CASE("body appender: duplicates in one scrape") {
  Scraper scraper;
  CHECK(scraper.Scrape("a 1\na 2\nb 1\n", 1000) == Texts{S("a") + " 1@1000", S("b") + " 1@1000"});
  CHECK(scraper.counts.duplicate_timestamp == 1);
  CHECK(scraper.Scrape("a 1\na 2\nb 1\n", 2000).size() == 2);
  // Two texts of one series: while one is there, the series has not ended.
  Scraper twice;
  CHECK(twice.Scrape("a{x=\"1\",y=\"2\"} 1\n", 1000).size() == 1);
  CHECK(twice.Scrape("a{y=\"2\",x=\"1\"} 2\n", 2000) ==
        Texts{R"(a{instance="i", job="j", x="1", y="2"} 2@2000)"});
  CHECK(twice.Scrape("a{x=\"1\",x=\"2\"} 1\n", 3000)[0] ==
        "error: label name \"x\" is not unique: invalid sample");
}

TEST_CASE("body appender: limits, at and one past") {
  ScrapeConfig config;
  config.limits.samples = 2;
  Scraper samples(config);
  CHECK(samples.Scrape("a 1\nb 1\n", 1000).size() == 2);
  CHECK(samples.Scrape("a 1\nb 1\nc 1\n", 2000) ==
        Texts{"error: sample limit exceeded", S("a") + " stale@2000", S("b") + " stale@2000"});
  CHECK(samples.counts.scraped == 3);
  CHECK(samples.counts.post_relabel == 3);
  config = {};
  config.limits.labels = 4;  // Name, job and instance among them.
  Scraper labels(config);
  CHECK(labels.Scrape("a{x=\"1\"} 1\n", 1000).size() == 1);
  CHECK(labels.Scrape("a{x=\"1\",y=\"1\"} 1\n", 2000)[0] ==
        "error: label_limit exceeded (metric: a, number of labels: 5, limit: 4)");
  CHECK(labels.counts.label_limit_exceeded);
  config = {};
  config.limits.label_name_bytes = 8;
  Scraper names(config);
  CHECK(names.Scrape("a{l23456789=\"1\"} 1\n", 1000)[0] ==
        "error: label_name_length_limit exceeded (metric: a, label name: l23456789, length: 9, "
        "limit: 8)");
  config = {};
  config.limits.label_value_bytes = 3;
  Scraper values(config);
  CHECK(values.Scrape("a{x=\"123\"} 1\n", 1000).size() == 1);
  CHECK(values.Scrape("a{x=\"1234\"} 1\n", 2000)[0] ==
        "error: label_value_length_limit exceeded (metric: a, label name: x, value: \"1234\", "
        "length: 4, limit: 3)");
}

TEST_CASE("body appender: names under the legacy scheme") {
  ScrapeConfig config;
  Scraper utf8(config);
  CHECK(utf8.Scrape("{\"a.b\"} 1\n", 1).size() == 1);
  config.legacy_names = true;
  Scraper legacy(config);
  CHECK(legacy.Scrape("{\"a.b\"} 1\n", 1)[0] ==
        "error: invalid metric name or label names: {__name__=\"a.b\", instance=\"i\", job=\"j\"}");
}

TEST_CASE("body appender: metadata follows the exposition") {
  Scraper scraper;
  scraper.Scrape("# HELP a one\n# TYPE a counter\na 1\n", 1);
  auto families = scraper.metadata.Families();
  REQUIRE(families.size() == 1);
  CHECK(families[0]->name == "a");
  CHECK(families[0]->metadata == MetricMetadata{MetricType::kCounter, "one", ""});
  scraper.Scrape("# HELP a two\n# TYPE a counter\na 1\n", 2);
  CHECK(scraper.metadata.Families("a")[0]->metadata.help == "two");
  CHECK(scraper.metadata.Families("b").empty());
  // Gone from the exposition, it stays for some scrapes.
  for (uint32_t i = 0; i < kMetadataScrapesMax; ++i) {
    scraper.Scrape("a 1\n", 3 + i);
    CHECK(scraper.metadata.size() == 1);
  }
  scraper.Scrape("a 1\n", 100);
  CHECK(scraper.metadata.size() == 0);
}

std::string NativeBody(uint64_t per_bucket, int buckets, int schema = 8) {
  std::string histogram;
  protozero::pbf_writer out(histogram);
  out.add_uint64(1, per_bucket * static_cast<uint64_t>(buckets));
  out.add_double(2, 1);
  out.add_sint32(5, schema);
  out.add_message(12, testing::ProtoSpan(1, static_cast<uint32_t>(buckets)));
  std::vector<int64_t> deltas(static_cast<size_t>(buckets), 0);
  deltas[0] = static_cast<int64_t>(per_bucket);
  out.add_packed_sint64(13, deltas.begin(), deltas.end());
  out.add_message(16, testing::ProtoExemplar({{"id", "x"}}, 0.5, 1234));
  out.add_message(16, testing::ProtoExemplar({{"id", "timeless"}}, 0.5));
  return testing::ProtoBody(
      {testing::ProtoFamily("h", 4, {testing::ProtoMetric({}, 7, histogram)})});
}

TEST_CASE("body appender: native histograms from protobuf, steady and gone") {
  ScrapeConfig config;
  config.histograms.native = true;
  Scraper scraper(config);
  scraper.format = ExpositionFormat::kProtobuf;
  CHECK(scraper.Scrape(NativeBody(2, 1), 1000) ==
        Texts{S("h") + " {count:2, sum:1, (1,1.0027112750502025]:2}i8@1000"});
  CHECK(scraper.storage.TakeExemplars() == Texts{S("h") + R"( {id="x"} 0.5@1234)"});
  CHECK(scraper.counts.scraped == 1);
  CHECK(scraper.counts.series_added == 1);
  const uint64_t built = scraper.storage.label_appends();
  CHECK(scraper.Scrape(NativeBody(3, 1), 2000).size() == 1);
  CHECK(scraper.storage.label_appends() == built);
  CHECK(scraper.metadata.Families().size() == 1);
  CHECK(scraper.Scrape("", 3000) == Texts{S("h") + " stale@3000"});
}

TEST_CASE("body appender: limits of native histograms, at and one past") {
  ScrapeConfig config;
  config.histograms.native = true;
  config.native_histogram_bucket_limit = 4;
  Scraper scraper(config);
  scraper.format = ExpositionFormat::kProtobuf;
  CHECK(scraper.Scrape(NativeBody(1, 4), 1000)[0].ends_with("i8@1000"));
  // Buckets 1..5 of schema 8 are 1..3 of schema 7.
  const Texts reduced = scraper.Scrape(NativeBody(1, 5), 2000);
  REQUIRE(reduced.size() == 1);
  CHECK(reduced[0] == S("h") +
                          " {count:5, sum:1, (1,1.0054299011128027]:2, "
                          "(1.0054299011128027,1.0108892860517005]:2, "
                          "(1.0108892860517005,1.0163783149109529]:1}i7@2000");
  // Where the resolution cannot go lower the scrape fails: six powers of 2^16 never fit in four.
  scraper.config_.native_histogram_bucket_limit = 1;
  const Texts failed = scraper.Scrape(NativeBody(1, 6, -4), 3000);
  CHECK(failed[0] == "error: histogram bucket limit exceeded");
  CHECK(scraper.counts.bucket_limit_exceeded);
  CHECK(scraper.counts.scraped == 1);
  // A factor of 1.1 between bounds allows schema 2, of 65536 and more -4.
  scraper.config_.native_histogram_bucket_limit = 0;
  scraper.config_.native_histogram_min_bucket_factor = 1.1;
  CHECK(scraper.Scrape(NativeBody(1, 2), 4000)[0].ends_with("i2@4000"));
  scraper.config_.native_histogram_min_bucket_factor = 1e9;
  CHECK(scraper.Scrape(NativeBody(1, 2), 5000)[0].ends_with("i-4@5000"));
}

TEST_CASE("body appender: classic histograms are converted, steady and gone") {
  ScrapeConfig config;
  config.histograms.convert_classic = true;
  Scraper scraper(config);
  const auto body = [](int count) {
    return fmt::format(
        "# TYPE h histogram\nh_bucket{{le=\"1\"}} 1\nh_bucket{{le=\"+Inf\"}} {}\nh_sum 3\n"
        "h_count {}\n# TYPE g gauge\ng 1\n",
        count, count);
  };
  CHECK(scraper.Scrape(body(2), 1000) ==
        Texts{S("h") + " {count:2, sum:3, [-Inf,1]:1, (1,+Inf]:1}i-53@1000", S("g") + " 1@1000"});
  const uint64_t built = scraper.storage.label_appends();
  CHECK(scraper.Scrape(body(3), 2000).size() == 2);
  CHECK(scraper.storage.label_appends() == built);
  CHECK(scraper.Scrape("g 1\n", 3000) == Texts{S("g") + " 1@3000", S("h") + " stale@3000"});
  scraper.config_.native_histogram_bucket_limit = 2;
  CHECK(scraper.Scrape(body(2), 4000).size() == 2);
  scraper.config_.native_histogram_bucket_limit = 1;
  CHECK(scraper.Scrape(body(2), 5000)[0] == "error: histogram bucket limit exceeded");
}

TEST_CASE("body appender: start times of OpenMetrics text") {
  ScrapeConfig config;
  Scraper scraper(config);
  scraper.format = ExpositionFormat::kOpenMetricsText;
  const std::string body =
      "# TYPE c counter\nc_total{a=\"1\"} 3\nc_created{a=\"1\"} 0.5\n# TYPE g gauge\ng 2\n# EOF\n";
  const std::string total = R"(c_total{a="1", instance="i", job="j"} 3@)";
  const std::string created = R"(c_created{a="1", instance="i", job="j"} 0.5@)";
  CHECK(scraper.Scrape(body, 1000) == Texts{total + "1000", created + "1000", S("g") + " 2@1000"});
  scraper.config_.start_times = true;
  CHECK(scraper.Scrape(body, 2000) ==
        Texts{total + "2000 since 500", S("g") + " 2@2000",
              created.substr(0, created.find(' ')) + R"( instance="i", job="j"} stale@2000)"});
  CHECK(scraper.counts.scraped == 2);
  const uint64_t built = scraper.storage.label_appends();
  CHECK(scraper.Scrape(body, 3000) == Texts{total + "3000 since 500", S("g") + " 2@3000"});
  CHECK(scraper.storage.label_appends() == built);
  scraper.storage.ForgetSeries();
  CHECK(scraper.Scrape(body, 4000) == Texts{total + "4000 since 500", S("g") + " 2@4000"});
  scraper.config_.histograms.convert_classic = true;
  const Texts converted = scraper.Scrape(
      "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\nh_created 4\n# EOF\n",
      5000);
  CHECK(converted[0] == S("h") + " {count:1, sum:1, [-Inf,+Inf]:1}i-53@5000 since 4000");
}

TEST_CASE("body appender: start times of protobuf") {
  std::string counter;
  {
    protozero::pbf_writer out(counter);
    out.add_double(1, 3);
    out.add_message(3, testing::ProtoTimestamp(500));
  }
  const std::string body =
      testing::ProtoBody({testing::ProtoFamily("c", 0, {testing::ProtoMetric({}, 3, counter)})});
  Scraper scraper;
  scraper.format = ExpositionFormat::kProtobuf;
  CHECK(scraper.Scrape(body, 1000) == Texts{S("c") + " 3@1000"});
  scraper.config_.start_times = true;
  CHECK(scraper.Scrape(body, 2000) == Texts{S("c") + " 3@2000 since 500"});
}

TEST_CASE("body appender: a series whose type changes is another with types as labels") {
  ScrapeConfig config;
  config.type_and_unit_labels = true;
  Scraper scraper(config);
  const std::string typed = R"(a{__type__="TYPE", instance="i", job="j"} )";
  const auto of = [&](std::string_view type) {
    return std::string(typed).replace(typed.find("TYPE"), 4, type);
  };
  CHECK(scraper.Scrape("# TYPE a counter\na 1\nb 2\n", 1000) ==
        Texts{of("counter") + "1@1000", S("b") + " 2@1000"});
  const uint64_t built = scraper.storage.label_appends();
  CHECK(scraper.Scrape("# TYPE a counter\na 2\nb 2\n", 2000) ==
        Texts{of("counter") + "2@2000", S("b") + " 2@2000"});
  CHECK(scraper.storage.label_appends() == built);
  CHECK(scraper.Scrape("# TYPE a gauge\na 2\nb 2\n", 3000) ==
        Texts{of("gauge") + "2@3000", S("b") + " 2@3000", of("counter") + "stale@3000"});
  scraper.storage.ForgetSeries();
  CHECK(scraper.Scrape("# TYPE a gauge\na 3\nb 2\n", 4000) ==
        Texts{of("gauge") + "3@4000", S("b") + " 2@4000"});
  scraper.config_.histograms.convert_classic = true;
  CHECK(scraper.Scrape("# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\n", 5000)[0]
            .starts_with(R"(h{__type__="histogram", instance="i", job="j"} {count:1)"));
}

TEST_CASE("body appender: storage forgets some of the series that wait for one another") {
  Scraper scraper;
  const std::string body = "# TYPE s summary\ns{quantile=\"1\"} 1\na 1\nb 1\n";
  CHECK(scraper.Scrape(body, 1000).size() == 3);
  scraper.storage.ForgetSeries();
  const Texts again = {S("s", "").insert(2, ""), S("a") + " 1@2000", S("b") + " 1@2000"};
  const Texts stored = scraper.Scrape(body, 2000);
  REQUIRE(stored.size() == 3);
  CHECK(stored[0] == R"(s{instance="i", job="j", quantile="1.0"} 1@2000)");
  CHECK(stored[1] == again[1]);
  CHECK(stored[2] == again[2]);
  // Refused ones are counted, the others go on.
  CHECK(scraper.Scrape("a 1\nb 1\n", 1500).size() == 0);
  CHECK(scraper.counts.out_of_order >= 2);
}

}  // namespace
}  // namespace varve
