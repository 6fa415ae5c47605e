// SPDX-License-Identifier: Apache-2.0
//
// Goal: classic histograms become native ones with custom buckets, whichever format they come in,
// and what contradicts itself stays as it is. Method: a body in, a dump of the series out.
#include "scrape/classic_histograms.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <string>
#include <vector>

#include "model/labels.h"
#include "model/status_macros.h"
#include "scrape/proto_parser.h"
#include "scrape/text_parser.h"
#include "tests/scrape/proto_writer.h"

namespace varve {
namespace {

using Entries = std::vector<std::string>;

Entries ConvertedDump(ExpositionReader& inner, bool keep_classic) {
  ClassicHistogramReader reader(inner, keep_classic);
  Entries entries;
  for (;;) {
    const absl::StatusOr<LineKind> kind = reader.Next();
    if (!kind.ok()) {
      entries.push_back(MessageOf(kind.status()));
      return entries;
    }
    if (*kind == LineKind::kEnd) return entries;
    if (*kind != LineKind::kSeries) {
      entries.push_back("# " + reader.metric());
      continue;
    }
    LabelPairs pairs;
    REQUIRE(reader.ReadLabels(pairs).ok());
    std::string entry = Labels::FromPairs(pairs).ToString() + " ";
    entry += reader.histogram() != nullptr
                 ? fmt::format("{}{}", reader.histogram()->ToString(),
                               reader.histogram()->integer_counts ? "i" : "f")
                 : FormatFloat(reader.value());
    if (reader.has_time()) entry += fmt::format("@{}", reader.time());
    std::vector<Exemplar> exemplars;
    REQUIRE(reader.ReadExemplars(exemplars).ok());
    for (const Exemplar& exemplar : exemplars) {
      entry += fmt::format(" #{}@{}", exemplar.labels.ToString(), exemplar.time);
    }
    entries.push_back(entry);
  }
}

Entries Converted(std::string_view body, bool keep_classic = false,
                  TextFormat format = TextFormat::kPrometheus) {
  TextParser text(body, format);
  return ConvertedDump(text, keep_classic);
}

constexpr std::string_view kTwo =
    "# TYPE h histogram\n"
    "h_bucket{a=\"1\",le=\"1\"} 1\nh_bucket{a=\"1\",le=\"2\"} 1\nh_bucket{a=\"1\",le=\"+Inf\"} 3\n"
    "h_sum{a=\"1\"} 9\nh_count{a=\"1\"} 3\n"
    "h_bucket{a=\"2\",le=\"1\"} 4 77\nh_sum{a=\"2\"} 2 77\nh_count{a=\"2\"} 4 77\n"
    "# TYPE g gauge\ng_bucket{le=\"1\"} 1\ng 2\n";

TEST_CASE("classic histograms: a group becomes one sample") {
  const std::string first = R"(h{a="1"} {count:3, sum:9, [-Inf,1]:1, (2,+Inf]:2}i)";
  const std::string second = R"(h{a="2"} {count:4, sum:2, [-Inf,1]:4}i@77)";
  CHECK(Converted(kTwo) == Entries{"# h", first, second, "# g", R"(g_bucket{le="1"} 1)", "g 2"});
  CHECK(Converted(kTwo, true) ==
        Entries{"# h", R"(h_bucket{a="1", le="1.0"} 1)", R"(h_bucket{a="1", le="2.0"} 1)",
                R"(h_bucket{a="1", le="+Inf"} 3)", R"(h_sum{a="1"} 9)", R"(h_count{a="1"} 3)",
                first, R"(h_bucket{a="2", le="1.0"} 4@77)", R"(h_sum{a="2"} 2@77)",
                R"(h_count{a="2"} 4@77)", second, "# g", R"(g_bucket{le="1"} 1)", "g 2"});
}

TEST_CASE("classic histograms: what is missing, out of order or no integer") {
  const auto one = [](std::string_view lines) {
    return Converted(std::string("# TYPE h histogram\n").append(lines)).at(1);
  };
  CHECK(one("h_bucket{le=\"2\"} 3\nh_bucket{le=\"1\"} 1\nh_count 5\n") ==
        "h {count:5, sum:0, [-Inf,1]:1, (1,2]:2, (2,+Inf]:2}i");
  CHECK(one("h_bucket{le=\"1\"} 0.5\nh_count 5\nh_sum 1\n") ==
        "h {count:5, sum:1, [-Inf,1]:0.5, (1,+Inf]:4.5}f");
  CHECK(one("h_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\n") ==
        "h {count:2, sum:0, [-Inf,1]:1, (1,+Inf]:1}i");
  CHECK(one("h_bucket{le=\"1\"} 1\nh_bucket{le=\"1\"} 9\nh_count 1\n") ==
        "h {count:1, sum:0, [-Inf,1]:1}i");
  CHECK(one("h_count 2\nh_sum 3\n") == "h {count:2, sum:3, [-Inf,+Inf]:2}i");
  CHECK(one("h_sum 3\n") == "h_sum 3");
  CHECK(one("h 3\n") == "h 3");
  CHECK(one("h_bucket{x=\"y\"} 3\n") == R"(h_bucket{x="y"} 3)");
  CHECK(one("h_bucket{le=\"x\"} 3\n") == R"(h_bucket{le="x"} 3)");
}

TEST_CASE("classic histograms: what contradicts itself stays classic") {
  const auto stays = [](std::string_view lines, size_t series) {
    const Entries entries = Converted(std::string("# TYPE h histogram\n").append(lines));
    CHECK(entries.size() == series + 1);
    for (const std::string& entry : entries) CHECK(entry.find("count:") == std::string::npos);
  };
  stays("h_bucket{le=\"1\"} 3\nh_bucket{le=\"2\"} 1\nh_count 5\nh_sum 1\n", 4);
  stays("h_bucket{le=\"+Inf\"} 3\nh_count 5\n", 2);
  stays("h_bucket{le=\"1\"} 7\nh_count 5\n", 2);
  stays("h_bucket{le=\"1\"} -1\nh_count 5\n", 2);
  stays("h_bucket{le=\"1\"} NaN\nh_count 5\n", 2);
  stays("h_bucket{le=\"-Inf\"} 1\nh_count 5\n", 2);
  stays("h_count -5\n", 1);
  // Kept classic series are not said twice.
  CHECK(Converted("# TYPE h histogram\nh_count -5\n", true) == Entries{"# h", "h_count -5"});
}

TEST_CASE("classic histograms: an error comes after what was read before it") {
  CHECK(Converted("# TYPE h histogram\nh_count 2\n&\n").size() == 3);
  CHECK(Converted("# TYPE h histogram\nh_count 2\n&\n")[1] == "h {count:2, sum:0, [-Inf,+Inf]:2}i");
}

TEST_CASE("classic histograms: exemplars with a time go along, in its order") {
  CHECK(
      Converted("# TYPE h histogram\n"
                "h_bucket{le=\"1\"} 1 # {id=\"late\"} 1 20\n"
                "h_bucket{le=\"2\"} 2 # {id=\"timeless\"} 2\n"
                "h_bucket{le=\"+Inf\"} 3 # {id=\"early\"} 3 10\nh_count 3\nh_sum 6\n# EOF\n",
                false, TextFormat::kOpenMetrics)[1] ==
      R"(h {count:3, sum:6, [-Inf,1]:1, (1,2]:1, (2,+Inf]:1}i #{id="early"}@10000 #{id="late"}@20000)");
}

TEST_CASE("classic histograms: a native histogram's classic part is not converted") {
  std::string histogram;
  protozero::pbf_writer out(histogram);
  out.add_uint64(1, 2);
  out.add_uint64(7, 2);
  out.add_double(6, 0.5);
  out.add_message(3, testing::ProtoBucket(1, 2));
  const std::string body = testing::ProtoBody(
      {testing::ProtoFamily("h", 4, {testing::ProtoMetric({{"a", "1"}}, 7, histogram)})});
  ProtoParser both(body, {.native_histograms = true, .always_classic_histograms = true});
  CHECK(ConvertedDump(both, true) ==
        Entries{"# h", "# h", R"(h{a="1"} {count:2, sum:0, [-0.5,0.5]:2}i)", R"(h_count{a="1"} 2)",
                R"(h_sum{a="1"} 0)", R"(h_bucket{a="1", le="1.0"} 2)",
                R"(h_bucket{a="1", le="+Inf"} 2)"});
  ProtoParser classic(body, {.native_histograms = false});
  CHECK(ConvertedDump(classic, false) ==
        Entries{"# h", "# h", R"(h{a="1"} {count:2, sum:0, [-Inf,1]:2}i)"});
}

}  // namespace
}  // namespace varve
