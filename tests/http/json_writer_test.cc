// SPDX-License-Identifier: Apache-2.0
//
// Goal: JSON byte for byte as Prometheus writes it.
#include "http/json_writer.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>

namespace varve {
namespace {

template <typename Write>
std::string Written(Write write) {
  JsonWriter json;
  write(json);
  return json.Take();
}

TEST_CASE("json: structure and commas") {
  CHECK(Written([](JsonWriter& json) {
          json.BeginObject();
          json.Member("a", int64_t{1});
          json.Key("b");
          json.BeginArray();
          json.Bool(true);
          json.Null();
          json.BeginObject();
          json.EndObject();
          json.EndArray();
          json.Member("c", 1.5);
          json.TextKey("d\"<");
          json.Uint(2);
          json.EndObject();
        }) == R"({"a":1,"b":[true,null,{}],"c":1.5,"d\"\u003c":2})");
}

TEST_CASE("json: texts are escaped for HTML, labels are not") {
  const auto text = [](std::string_view value) {
    return Written([&](JsonWriter& json) { json.String(value); });
  };
  const auto label = [](std::string_view value) {
    return Written([&](JsonWriter& json) { json.LabelString(value); });
  };
  CHECK(text("a<b>&c") == R"("a\u003cb\u003e\u0026c")");
  CHECK(label("a<b>&c") == R"("a<b>&c")");
  CHECK(text("\"\\\n\r\t\x01\x7f") == "\"\\\"\\\\\\n\\r\\t\\u0001\x7f\"");
  CHECK(text("h\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x99\x82") ==
        "\"h\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x99\x82\"");
  CHECK(text("\xE2\x80\xA8\xE2\x80\xA9") == R"("\u2028\u2029")");
  CHECK(text("x\xFFy\xC3") == R"("x\ufffdy\ufffd")");
}

TEST_CASE("json: timestamps have three digits of fraction or none") {
  const auto time = [](TimestampMs value) {
    return Written([&](JsonWriter& json) { json.Timestamp(value); });
  };
  CHECK(time(0) == "0");
  CHECK(time(1000) == "1");
  CHECK(time(1100) == "1.100");
  CHECK(time(1001) == "1.001");
  CHECK(time(-1) == "-0.001");
  CHECK(time(-2500) == "-2.500");
  CHECK(time(std::numeric_limits<int64_t>::min()) == "-9223372036854775.808");
}

TEST_CASE("json: sample values") {
  const auto value = [](double number) {
    return Written([&](JsonWriter& json) { json.FloatString(number); });
  };
  CHECK(value(0.1) == R"("0.1")");
  CHECK(value(1e21) == R"("1e+21")");
  CHECK(value(1e-7) == R"("1e-07")");
  CHECK(value(123456789) == R"("123456789")");
  CHECK(value(std::numeric_limits<double>::quiet_NaN()) == R"("NaN")");
  CHECK(value(std::numeric_limits<double>::infinity()) == R"("+Inf")");
  CHECK(value(-std::numeric_limits<double>::infinity()) == R"("-Inf")");
}

TEST_CASE("json: a histogram with its boundary rules, empty buckets left out") {
  Histogram histogram;
  histogram.schema = 0;
  histogram.count = 6;
  histogram.sum = 12.5;
  histogram.zero_threshold = 0.5;
  histogram.zero_count = 1;
  histogram.positive = {.spans = {{.offset = 0, .length = 3}}, .counts = {2, 0, 1}};
  histogram.negative = {.spans = {{.offset = 0, .length = 1}}, .counts = {2}};
  CHECK(Written([&](JsonWriter& json) { json.HistogramPair(1500, histogram); }) ==
        R"([1.500,{"count":"6","sum":"12.5","buckets":[[1,"-1","-0.5","2"],)"
        R"([3,"-0.5","0.5","1"],[0,"0.5","1","2"],[0,"2","4","1"]]}])");
}

TEST_CASE("json: times") {
  CHECK(Written([](JsonWriter& json) { json.Time(0); }) == R"("0001-01-01T00:00:00Z")");
  CHECK(Written([](JsonWriter& json) { json.Time(1500); }) == R"("1970-01-01T00:00:01.5Z")");
}

TEST_CASE("json: label sets of any length and with any byte are what their texts are") {
  const auto check = [](const std::string& value) {
    const Labels labels = Labels::Of({{"__name__", "up"}, {"b", value}, {"c", "d"}});
    JsonWriter set;
    set.BeginArray();
    set.LabelSet(labels);
    set.LabelSet(Labels());
    JsonWriter texts;
    texts.LabelString(value);
    CHECK(set.Take() == R"([{"__name__":"up","b":)" + texts.Take() + R"(,"c":"d"},{})");
  };
  for (size_t size = 1; size <= 20; ++size) {
    check(std::string(size, 'x'));
    for (size_t at = 0; at < size; ++at) {
      for (const char c : {'"', '\\', '\n', '\x1f', ' ', '<', '!', '[', '\x7f', '\xff', '\0'}) {
        std::string value(size, 'y');
        value[at] = c;
        check(value);
      }
      if (at + 1 == size) continue;
      std::string value(size, 'z');
      check(value.replace(at, 2, "\xC3\xA9"));
    }
  }
  // The longest set that is written at once takes 1,024 bytes, and those around it.
  for (size_t size = 990; size <= 1030; ++size) check(std::string(size, 'x'));
}

TEST_CASE("json: pieces are the whole text") {
  std::vector<std::string> pieces;
  JsonWriter in_pieces(pieces);
  JsonWriter whole;
  for (JsonWriter* json : {&in_pieces, &whole}) {
    json->BeginArray();
    for (int i = 0; i < 60'000; ++i) json->FloatPair(i, i);
    json->EndArray();
  }
  in_pieces.Finish();
  CHECK(pieces.size() > 2);
  std::string text;
  for (const std::string& piece : pieces) text += piece;
  CHECK(text == whole.Take());
}

TEST_CASE("json: a sink gets everything in pieces until it refuses") {
  std::string all;
  size_t pieces = 0;
  const BodySink sink = [&](std::string_view piece) {
    all += piece;
    return ++pieces < 3;
  };
  JsonWriter json(sink);
  json.BeginArray();
  while (json.alive()) json.FloatPair(1000, 1);
  json.EndArray();
  json.Finish();
  CHECK(pieces == 3);
  CHECK(all.starts_with(R"([[1,"1"],[1,"1"],)"));
}

TEST_CASE("json: pairs are what their parts are") {
  for (TimestampMs time :
       {TimestampMs{0}, TimestampMs{5}, TimestampMs{1'790'000'000'000},
        TimestampMs{1'790'000'000'120}, TimestampMs{-1}, kMinTimestamp, kMaxTimestamp}) {
    for (double value : {0.0, -0.0, 1.0, -7.0, 0.1, 1e15, 9007199254740991.0, 9007199254740992.0,
                         -9007199254740993.0, 1e21, 1e300, 5e-324, 1e-7, double{NAN},
                         double{INFINITY}, -double{INFINITY}}) {
      JsonWriter pair;
      JsonWriter parts;
      pair.BeginArray();
      parts.BeginArray();
      for (int i = 0; i < 2; ++i) {
        pair.FloatPair(time, value);
        parts.BeginArray();
        parts.Timestamp(time);
        parts.FloatString(value);
        parts.EndArray();
      }
      pair.EndArray();
      parts.EndArray();
      CHECK(pair.Take() == parts.Take());
    }
  }
}

TEST_CASE("json: values that come again are written as before") {
  std::vector<FloatSample> samples;
  std::string expected = "[";
  TimestampMs time = 0;
  // Texts of all lengths, so many that they are put together in several pieces.
  for (int round = 0; round < 40; ++round) {
    for (const double value : {0.0, -0.0, 1.0 / 3, 1e20 / 3, 1e300, 5e-324, double{NAN}, 7.0}) {
      for (int i = 0; i < 3; ++i, time += 1000) {
        samples.push_back({time, value});
        JsonWriter pair;
        pair.FloatPair(time, value);
        expected += (expected.size() > 1 ? "," : "") + pair.Take();
      }
    }
  }
  JsonWriter pairs;
  pairs.FloatPairs(samples);
  CHECK(pairs.Take() == expected + "]");
}

}  // namespace
}  // namespace varve
