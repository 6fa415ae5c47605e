// SPDX-License-Identifier: Apache-2.0
//
// Goal: protobuf bodies give the entries Prometheus reads from them, and no bytes do harm. Method:
// a body in, a dump of entries out; bodies made of random metrics against what they were made of.
#include "scrape/proto_parser.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "model/labels.h"
#include "model/status_macros.h"
#include "tests/scrape/proto_writer.h"

namespace varve {
namespace {

using testing::ProtoBody;
using testing::ProtoBucket;
using testing::ProtoExemplar;
using testing::ProtoFamily;
using testing::ProtoMetric;
using testing::ProtoSpan;
using testing::ProtoTimestamp;
using Entries = std::vector<std::string>;

std::string SeriesText(ExpositionReader& reader) {
  LabelPairs pairs;
  const absl::Status status = reader.ReadLabels(pairs);
  if (!status.ok()) return MessageOf(status);
  std::string text = Labels::FromPairs(pairs).ToString() + " ";
  text +=
      reader.histogram() != nullptr
          ? fmt::format("{}{}{}", reader.histogram()->ToString(),
                        reader.histogram()->integer_counts ? "i" : "f", reader.histogram()->schema)
          : FormatFloat(reader.value());
  if (reader.has_time()) text += fmt::format("@{}", reader.time());
  if (reader.start_time() != 0) text += fmt::format(" st={}", reader.start_time());
  std::vector<Exemplar> exemplars;
  CHECK(reader.ReadExemplars(exemplars).ok());
  for (const Exemplar& exemplar : exemplars) {
    CHECK(reader.has_exemplars());
    text += fmt::format(" #{} {}", exemplar.labels.ToString(), exemplar.value);
    if (exemplar.has_time) text += fmt::format("@{}", exemplar.time);
  }
  return text;
}

Entries ProtoDump(std::string_view body, ProtoParserOptions options = {}) {
  ProtoParser parser(body, options);
  Entries entries;
  std::map<std::pair<uint64_t, uint32_t>, std::string> keys;
  for (;;) {
    const absl::StatusOr<LineKind> kind = parser.Next();
    if (!kind.ok()) {
      entries.push_back(MessageOf(kind.status()));
      return entries;
    }
    if (*kind == LineKind::kEnd) return entries;
    if (*kind == LineKind::kHelp)
      entries.push_back("HELP " + parser.metric() + " " + parser.help());
    if (*kind == LineKind::kUnit)
      entries.push_back("UNIT " + parser.metric() + " " + parser.unit());
    if (*kind == LineKind::kType) {
      entries.push_back(fmt::format("TYPE {} {}", parser.metric(), MetricTypeText(parser.type())));
    }
    if (*kind == LineKind::kSeries) entries.push_back(SeriesText(parser));
    std::string named = entries.back();
    if (*kind == LineKind::kSeries) named.resize(std::min(named.find("} "), named.find(' ')));
    const auto [known, added] = keys.try_emplace({parser.KeyHash(), parser.KeyBytes()}, named);
    CHECK_MESSAGE((added || known->second == named), named);
  }
}

// Series only.
Entries ProtoSeries(std::string_view body, ProtoParserOptions options = {}) {
  Entries entries = ProtoDump(body, options);
  std::erase_if(entries, [](const std::string& entry) {
    return entry.starts_with("HELP ") || entry.starts_with("TYPE ") || entry.starts_with("UNIT ");
  });
  return entries;
}

std::string Number(double value) {
  std::string bytes;
  protozero::pbf_writer(bytes).add_double(1, value);
  return bytes;
}

std::string Counter(double value, const std::string& exemplar, int64_t created) {
  std::string bytes;
  protozero::pbf_writer out(bytes);
  out.add_double(1, value);
  if (!exemplar.empty()) out.add_message(2, exemplar);
  if (created != 0) out.add_message(3, ProtoTimestamp(created));
  return bytes;
}

TEST_CASE("proto parser: every type") {
  std::string summary;
  {
    protozero::pbf_writer out(summary);
    out.add_uint64(1, 7);
    out.add_double(2, 3.5);
    std::string quantile;
    protozero::pbf_writer inner(quantile);
    inner.add_double(1, 0.5);
    inner.add_double(2, 0.25);
    out.add_message(3, quantile);
    out.add_message(4, ProtoTimestamp(9));
  }
  std::string histogram;
  {
    protozero::pbf_writer out(histogram);
    out.add_uint64(1, 3);
    out.add_double(2, 1.5);
    out.add_message(3, ProtoBucket(1, 2, ProtoExemplar({{"id", "x"}}, 0.5)));
  }
  const std::string body = ProtoBody({
      ProtoFamily(
          "c_bytes_total", 0,
          {ProtoMetric({{"a", "1"}}, 3, Counter(2, ProtoExemplar({{"t", "1"}}, 1, 1500), 77)),
           ProtoMetric({{"a", "2"}}, 3, Counter(3, "", 0), 5000)},
          "bytes read", "bytes"),
      ProtoFamily("g", 1, {ProtoMetric({}, 2, Number(-1))}),
      ProtoFamily("u", 3, {ProtoMetric({}, 5, Number(4))}),
      ProtoFamily("s", 2, {ProtoMetric({{"x", "y"}}, 4, summary)}),
      ProtoFamily("h", 4, {ProtoMetric({}, 7, histogram)}),
      ProtoFamily("empty", 4, {ProtoMetric({}, 7, "")}),
  });
  CHECK(ProtoDump(body) == Entries{"HELP c_bytes_total bytes read",
                                   "TYPE c_bytes_total counter",
                                   "UNIT c_bytes_total bytes",
                                   R"(c_bytes_total{a="1"} 2 st=77 #{t="1"} 1@1500)",
                                   R"(c_bytes_total{a="2"} 3@5000)",
                                   "HELP g ",
                                   "TYPE g gauge",
                                   "g -1",
                                   "HELP u ",
                                   "TYPE u unknown",
                                   "u 4",
                                   "HELP s ",
                                   "TYPE s summary",
                                   R"(s_count{x="y"} 7 st=9)",
                                   R"(s_sum{x="y"} 3.5 st=9)",
                                   R"(s{quantile="0.5", x="y"} 0.25 st=9)",
                                   "HELP h ",
                                   "TYPE h histogram",
                                   "h_count 3",
                                   "h_sum 1.5",
                                   R"(h_bucket{le="1.0"} 2 #{id="x"} 0.5)",
                                   R"(h_bucket{le="+Inf"} 3)",
                                   "HELP empty ",
                                   "TYPE empty histogram",
                                   "empty_count 0",
                                   "empty_sum 0",
                                   R"(empty_bucket{le="+Inf"} 0)"});
}

// Three observations: one in the zero bucket, two around 1; with a classic bucket.
std::string Native(bool packed, bool floats, bool with_classic) {
  std::string bytes;
  protozero::pbf_writer out(bytes);
  out.add_double(2, 1.5);
  out.add_sint32(5, 3);
  out.add_double(6, 0.001);
  if (floats) {
    out.add_double(4, 4.5);
    out.add_double(8, 1.5);
    out.add_message(12, ProtoSpan(0, 2));
    const std::vector<double> counts = {1, 2};
    out.add_packed_double(14, counts.begin(), counts.end());
  } else {
    out.add_uint64(1, 4);
    out.add_uint64(7, 1);
    out.add_message(12, ProtoSpan(0, 2));
    const std::vector<int64_t> deltas = {1, 1};
    if (packed) {
      out.add_packed_sint64(13, deltas.begin(), deltas.end());
    } else {
      for (const int64_t delta : deltas) out.add_sint64(13, delta);
    }
  }
  if (with_classic) {
    out.add_message(3, ProtoBucket(1, 2, ProtoExemplar({{"id", "x"}}, 0.5, 100)));
    out.add_message(3, ProtoBucket(std::numeric_limits<double>::infinity(), 4,
                                   ProtoExemplar({{"id", "timeless"}}, 9)));
  }
  return bytes;
}

TEST_CASE("proto parser: native histograms, integer and float, packed or not") {
  const std::string integer =
      "h {count:4, sum:1.5, [-0.001,0.001]:1, (0.9170040432046711,1]:1, "
      "(1,1.0905077326652577]:2}i3";
  const auto body = [](const std::string& histogram, int type = 4) {
    return ProtoBody({ProtoFamily("h", type, {ProtoMetric({}, 7, histogram)})});
  };
  CHECK(ProtoSeries(body(Native(true, false, false)))[0] == integer);
  CHECK(ProtoSeries(body(Native(false, false, false))) == Entries{integer});
  CHECK(ProtoSeries(body(Native(true, true, false))) ==
        Entries{"h {count:4.5, sum:1.5, [-0.001,0.001]:1.5, (0.9170040432046711,1]:1, "
                "(1,1.0905077326652577]:2}f3"});
  // Classic buckets beside: left out, added, or alone.
  const std::string both = body(Native(true, false, true));
  const std::string exemplar = R"( #{id="x"} 0.5@100)";
  CHECK(ProtoSeries(both) == Entries{integer + exemplar});
  const Entries classic = {"h_count 4", "h_sum 1.5", R"(h_bucket{le="1.0"} 2)" + exemplar,
                           R"(h_bucket{le="+Inf"} 4 #{id="timeless"} 9)"};
  CHECK(ProtoSeries(both, {.native_histograms = false}) == classic);
  Entries all = classic;
  all.insert(all.begin(), integer + exemplar);
  CHECK(ProtoSeries(both, {.always_classic_histograms = true}) == all);
  CHECK(ProtoSeries(body(Native(true, false, false)), {.always_classic_histograms = true}) ==
        Entries{integer});
  // A gauge histogram says that it may fall.
  const std::string kept = body(Native(true, false, false), 5);
  ProtoParser parser(kept, {});
  absl::StatusOr<LineKind> kind = parser.Next();
  while (kind.ok() && *kind != LineKind::kSeries) kind = parser.Next();
  REQUIRE(kind.ok());
  CHECK(parser.histogram()->reset_hint == ResetHint::kGauge);
}

TEST_CASE("proto parser: type and unit as labels") {
  const auto body = [](int type, uint32_t field, std::string_view unit) {
    return ProtoBody({ProtoFamily("m_bytes", type,
                                  {ProtoMetric({{"__type__", "x"}}, field, Number(1))}, "", unit)});
  };
  const ProtoParserOptions options = {.metadata_labels = true};
  CHECK(ProtoSeries(body(1, 2, "bytes"), options) ==
        Entries{R"(m_bytes{__type__="gauge", __unit__="bytes"} 1)"});
  CHECK(ProtoSeries(body(1, 2, ""), options) == Entries{R"(m_bytes{__type__="gauge"} 1)"});
  CHECK(ProtoSeries(body(3, 5, ""), options) == Entries{R"(m_bytes{__type__="x"} 1)"});
  CHECK(ProtoSeries(body(1, 2, "bytes")) == Entries{R"(m_bytes{__type__="x"} 1)"});
  // Another type is another series.
  const auto key = [&](const std::string& one) {
    ProtoParser parser(one, options);
    absl::StatusOr<LineKind> kind = parser.Next();
    while (kind.ok() && *kind != LineKind::kSeries) kind = parser.Next();
    return parser.KeyHash();
  };
  CHECK(key(body(1, 2, "bytes")) == key(body(1, 2, "bytes")));
  CHECK(key(body(1, 2, "bytes")) != key(body(1, 2, "")));
  CHECK(key(body(1, 2, "")) != key(body(3, 5, "")));
}

TEST_CASE("proto parser: what is refused") {
  const std::string good = ProtoFamily("g", 1, {ProtoMetric({}, 2, Number(1))});
  CHECK(ProtoDump(ProtoBody({ProtoFamily("", 1, {})})).back() == "invalid metric name: ");
  CHECK(
      ProtoDump(ProtoBody({ProtoFamily("\xff", 1, {})})).back().starts_with("invalid metric name"));
  CHECK(ProtoDump(ProtoBody({ProtoFamily("g", 1, {}, "\xff")})).back() ==
        R"(invalid help for metric "g": "\xff")");
  CHECK(ProtoDump(ProtoBody({ProtoFamily("g", 6, {})})).back() ==
        R"(unknown metric type for metric "g": 6)");
  CHECK(ProtoDump(ProtoBody({ProtoFamily("g_s", 1, {}, "", "bytes")})).back() ==
        R"(unit "bytes" not a suffix of metric "g_s")");
  CHECK(ProtoDump(ProtoBody({ProtoFamily("g_s_total", 0, {}, "", "bytes")})).back() ==
        R"(unit "bytes" not a suffix of counter "g_s_total")");
  CHECK(ProtoDump(ProtoBody({ProtoFamily("g", 1, {ProtoMetric({{"a", "\xff"}}, 2, Number(1))})}))
            .back()
            .starts_with("invalid UTF-8 in label"));
  std::string body = ProtoBody({good});
  for (size_t cut = 1; cut < body.size(); ++cut) {
    CHECK(
        ProtoDump(std::string_view(body).substr(0, cut)).back().starts_with("malformed protobuf"));
  }
  CHECK(ProtoDump("").empty());
  CHECK(ProtoDump(std::string(11, '\xff')).back().starts_with("malformed protobuf"));
}

TEST_CASE("proto parser: random metrics are read as they were written") {
  uint64_t state = 7;
  const auto random = [&state](uint64_t below) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (state >> 33) % below;
  };
  for (int round = 0; round < 200; ++round) {
    Entries expected;
    std::vector<std::string> families;
    for (uint64_t f = 0; f < random(6); ++f) {
      const std::string name = fmt::format("m{}", f);
      std::vector<std::string> metrics;
      const bool is_counter = random(2) == 0;
      for (uint64_t m = 0; m < random(5); ++m) {
        testing::ProtoLabels labels;
        for (uint64_t l = 0; l < random(4); ++l) {
          labels.emplace_back(fmt::format("l{}", l), fmt::format("{}.{}", m, random(1000)));
        }
        const double value = static_cast<double>(random(100000)) / 8;
        const auto time = static_cast<int64_t>(random(3) * 1000);
        metrics.push_back(ProtoMetric(labels, is_counter ? 3 : 2, Number(value), time));
        LabelPairs pairs(labels.begin(), labels.end());
        pairs.emplace_back("__name__", name);
        expected.push_back(Labels::FromPairs(pairs).ToString() + " " + FormatFloat(value) +
                           (time == 0 ? "" : fmt::format("@{}", time)));
      }
      families.push_back(ProtoFamily(name, is_counter ? 0 : 1, metrics));
    }
    CHECK(ProtoSeries(ProtoBody(families)) == expected);
  }
}

}  // namespace
}  // namespace varve
