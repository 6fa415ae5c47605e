// SPDX-License-Identifier: Apache-2.0
//
// Goal: requests of real senders are stored whole, wrong ones leave nothing behind and get the
// status that tells the sender whether to try again.
#include "remote/write.h"

#include <doctest/doctest.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>
#include <snappy.h>

#include <string>

#include "model/clock.h"
#include "remote/write_reader.h"
#include "tests/http/fake_storage.h"
#include "tests/remote/write_request.h"

namespace varve {
namespace {

struct Fixture {
  FakeStorage storage;
  std::unique_ptr<WriteReceiver> receiver = WriteReceiver::Create(storage, RealClock(), nullptr);

  WriteAnswer Write(const std::string& body, std::string_view type = "application/x-protobuf",
                    std::string_view encoding = "snappy") {
    return receiver->Write(type, encoding, body);
  }
};

TEST_CASE("write: samples of several series") {
  Fixture fixture;
  WriteRequestBuilder request;
  request.Series({{"__name__", "up"}, {"job", "a"}}).Sample(1, 1000).Sample(0, 2000);
  request.Series({{"__name__", "up"}, {"job", "b"}}).Sample(2.5, 1000);
  const WriteAnswer answer = fixture.Write(request.Compressed());
  CHECK(answer.status == 204);
  CHECK(answer.samples == 3);
  CHECK(fixture.storage.Dump() == "up{job=\"a\"} 1@1000 0@2000\nup{job=\"b\"} 2.5@1000\n");

  // The same series again: whatever was remembered of them still names the same ones.
  WriteRequestBuilder again;
  again.Series({{"__name__", "up"}, {"job", "b"}}).Sample(3, 3000);
  again.Series({{"__name__", "up"}, {"job", "a"}}).Sample(4, 3000);
  CHECK(fixture.Write(again.Compressed()).status == 204);
  CHECK(fixture.storage.Dump() ==
        "up{job=\"a\"} 1@1000 0@2000 4@3000\nup{job=\"b\"} 2.5@1000 3@3000\n");
}

TEST_CASE("write: series that storage has forgotten are found again by their labels") {
  Fixture fixture;
  for (int time = 1; time <= 3; ++time) {
    WriteRequestBuilder request;
    request.Series({{"__name__", "x"}, {"job", "a"}}).Sample(time, time * 1000);
    request.Series({{"__name__", "y"}}).Sample(time, time * 1000);
    CHECK(fixture.Write(request.Compressed()).samples == 2);
    fixture.storage.ForgetRefs();
    // Other series take their places among the refs.
    fixture.storage.Add({{"__name__", "z"}}, time * 1000, 0);
  }
  CHECK(fixture.storage.Dump() ==
        "x{job=\"a\"} 1@1000 2@2000 3@3000\ny 1@1000 2@2000 3@3000\nz 0@1000 0@2000 0@3000\n");
}

TEST_CASE("write: a series whose labels begin with those of another one is its own") {
  Fixture fixture;
  for (int time = 1; time <= 2; ++time) {
    WriteRequestBuilder request;
    request.Series({{"__name__", "x"}}).Sample(time, time * 1000);
    request.Series({{"__name__", "x"}, {"a", "1"}}).Sample(time * 10, time * 1000);
    CHECK(fixture.Write(request.Compressed()).samples == 2);
    // The next one expects the short labels first.
    WriteRequestBuilder other;
    other.Series({{"__name__", "x"}, {"b", "1"}}).Sample(time * 100, time * 1000);
    CHECK(fixture.Write(other.Compressed()).samples == 1);
  }
  CHECK(fixture.storage.Dump() ==
        "x 1@1000 2@2000\nx{a=\"1\"} 10@1000 20@2000\nx{b=\"1\"} 100@1000 200@2000\n");
}

TEST_CASE("write: a forgotten series brings several samples") {
  Fixture fixture;
  WriteRequestBuilder first;
  first.Series({{"__name__", "x"}}).Sample(1, 1000);
  first.Series({{"__name__", "y"}}).Sample(1, 1000);
  CHECK(fixture.Write(first.Compressed()).status == 204);
  fixture.storage.ForgetRefs();
  WriteRequestBuilder again;
  again.Series({{"__name__", "x"}}).Sample(2, 2000).Sample(3, 3000);
  again.Series({{"__name__", "y"}}).Sample(2, 2000).Sample(3, 3000);
  const WriteAnswer answer = fixture.Write(again.Compressed());
  CHECK(answer.status == 204);
  CHECK(answer.samples == 4);
  CHECK(fixture.storage.Dump() == "x 1@1000 2@2000 3@3000\ny 1@1000 2@2000 3@3000\n");

  WriteRequestBuilder refused;
  refused.Series({{"__name__", "x"}}).Sample(4, 4000);
  refused.Series({{"__name__", "y"}}).Sample(4, 4000).Sample(0, 500);
  CHECK(fixture.Write(refused.Compressed()).status == 400);
  CHECK(fixture.storage.Dump() == "x 1@1000 2@2000 3@3000\ny 1@1000 2@2000 3@3000\n");
}

TEST_CASE("write: past the limit of series the known ones go on") {
  Fixture fixture;
  fixture.storage.set_series_max(1);
  WriteRequestBuilder request;
  request.Series({{"__name__", "new"}, {"n", "0"}}).Sample(1, 1000);
  CHECK(fixture.Write(request.Compressed()).status == 204);
  WriteRequestBuilder mixed;
  mixed.Series({{"__name__", "new"}, {"n", "1"}}).Sample(1, 2000);
  mixed.Series({{"__name__", "new"}, {"n", "0"}}).Sample(2, 2000);
  mixed.Series({{"__name__", "new"}, {"n", "2"}}).Sample(1, 2000);
  const WriteAnswer answer = fixture.Write(mixed.Compressed());
  CHECK(answer.status == 400);
  CHECK(answer.message == "2 series refused: the memory limit is reached");
  CHECK(answer.samples == 1);
  CHECK(fixture.storage.Dump() == "new{n=\"0\"} 1@1000 2@2000\n");
}

TEST_CASE("write: staleness markers and special values keep their bits") {
  Fixture fixture;
  WriteRequestBuilder request;
  request.Series({{"__name__", "x"}}).Sample(NormalNan(), 1000).Sample(StaleNan(), 2000);
  CHECK(fixture.Write(request.Compressed()).status == 204);
  CHECK(fixture.storage.Dump() == "x NaN@1000 stale@2000\n");
}

// `name type help unit`, a line each.
std::string MetadataText(const FakeStorage& storage) {
  std::string text;
  for (const MetricFamilyPtr& family : storage.Metadata("")) {
    const MetricMetadata& metadata = family->metadata;
    text += family->name + " " + std::string(MetricTypeText(metadata.type)) + " " + metadata.help +
            " " + metadata.unit + "\n";
  }
  return text;
}

TEST_CASE("write: metadata, with samples and alone") {
  Fixture fixture;
  WriteRequestBuilder request;
  request.Metadata("a", 1, "help a", "bytes");
  request.Series({{"__name__", "a"}}).Sample(1, 1000);
  // One without a name costs only itself, a type that is none is unknown.
  request.Metadata("", 2, "nobody's").Metadata("b", 8, "").Metadata("c", -1, "");
  request.Series({{"__name__", "b"}}).Sample(2, 1000);
  const WriteAnswer answer = fixture.Write(request.Compressed());
  CHECK(answer.status == 204);
  CHECK(answer.samples == 2);
  CHECK(fixture.storage.Dump() == "a 1@1000\nb 2@1000\n");
  CHECK(MetadataText(fixture.storage) == "a counter help a bytes\nb unknown  \nc unknown  \n");

  // Known series take the short cut; the metadata behind them is still read.
  WriteRequestBuilder known;
  known.Series({{"__name__", "a"}}).Sample(1, 2000);
  known.Series({{"__name__", "b"}}).Sample(2, 2000);
  known.Metadata("a", 7, "other");
  CHECK(fixture.Write(known.Compressed()).samples == 2);

  WriteRequestBuilder alone;
  for (int32_t type = 0; type < 8; ++type) {
    alone.Metadata(std::string(1, static_cast<char>('b' + type)), type, "");
  }
  CHECK(fixture.Write(alone.Compressed()).status == 204);
  CHECK(MetadataText(fixture.storage) ==
        "a stateset other \nb unknown  \nc counter  \nd gauge  \ne histogram  \n"
        "f gaugehistogram  \ng summary  \nh info  \ni stateset  \n");
}

TEST_CASE("write: metadata of a request that fails is not kept") {
  Fixture fixture;
  WriteRequestBuilder good;
  good.Series({{"__name__", "a"}}).Sample(1, 2000);
  CHECK(fixture.Write(good.Compressed()).status == 204);
  WriteRequestBuilder request;
  request.Metadata("a", 1, "").Series({{"__name__", "a"}}).Sample(1, 1000);
  CHECK(fixture.Write(request.Compressed()).status == 400);
  // Bytes that are no metadata.
  WriteRequestBuilder damaged;
  damaged.Series({{"__name__", "b"}}).Sample(1, 1000).Metadata("b", 1, "help");
  std::string message = damaged.Message();
  message[message.size() - 5] = 100;  // Longer than its message.
  std::string body;
  snappy::Compress(message.data(), message.size(), &body);
  const WriteAnswer answer = fixture.Write(body);
  CHECK(answer.status == 400);
  CHECK(answer.message.find("malformed protobuf") != std::string::npos);
  fixture.storage.FailCommits();
  WriteRequestBuilder alone;
  alone.Metadata("a", 1, "");
  CHECK(fixture.Write(alone.Compressed()).status == 500);
  CHECK(MetadataText(fixture.storage).empty());
  CHECK(fixture.storage.Dump() == "a 1@2000\n");
}

TEST_CASE("write: unsorted labels are sorted, empty values dropped, long values kept") {
  Fixture fixture;
  const std::string value(300, 'v');
  WriteRequestBuilder request;
  request.Series({{"zone", "z"}, {"__name__", "up"}, {"empty", ""}, {"long", value}})
      .Sample(1, 1000);
  CHECK(fixture.Write(request.Compressed()).status == 204);
  CHECK(fixture.storage.Dump() == "up{long=\"" + value + "\", zone=\"z\"} 1@1000\n");
}

TEST_CASE("write: series with labels that cannot be stored are skipped and counted") {
  prometheus::Registry registry;
  FakeStorage storage;
  const auto receiver = WriteReceiver::Create(storage, RealClock(), &registry);
  WriteRequestBuilder request;
  request.Series({{"job", "nameless"}}).Sample(1, 1000);
  request.Series({{"__name__", "twice"}, {"a", "1"}, {"a", "2"}}).Sample(1, 1000);
  request.Series({{"__name__", "bad\xFF"}}).Sample(1, 1000).Sample(2, 2000);
  request.Series({{"__name__", "good"}}).Sample(1, 1000);
  CHECK(receiver->Write("", "", request.Compressed()).status == 204);
  CHECK(storage.Dump() == "good 1@1000\n");
  const std::string text = prometheus::TextSerializer().Serialize(registry.Collect());
  CHECK(text.find("prometheus_api_remote_write_invalid_labels_samples_total 4") !=
        std::string::npos);
}

TEST_CASE("write: a histogram in integers") {
  Fixture fixture;
  Histogram histogram;
  histogram.schema = 0;
  histogram.count = 6;
  histogram.sum = 10;
  histogram.zero_threshold = 0.001;
  histogram.zero_count = 1;
  histogram.positive = {.spans = {{.offset = 0, .length = 2}, {.offset = 1, .length = 1}},
                        .counts = {2, 1, 2}};
  WriteRequestBuilder request;
  request.Series({{"__name__", "h"}}).AddHistogram(histogram, 1000);
  const WriteAnswer answer = fixture.Write(request.Compressed());
  CHECK(answer.status == 204);
  CHECK(answer.histograms == 1);
  CHECK(fixture.storage.Dump() == "h " + histogram.ToString() + "@1000\n");
}

TEST_CASE("write: a histogram finer than storage keeps loses resolution") {
  Fixture fixture;
  Histogram fine;
  fine.schema = 10;
  fine.count = 10;
  fine.sum = 10;
  // Buckets 1..4 of schema 10 are bucket 1 of schema 8, 5 and 6 are bucket 2.
  fine.positive = {.spans = {{.offset = 1, .length = 6}}, .counts = {1, 1, 1, 1, 2, 4}};
  WriteRequestBuilder request;
  request.Series({{"__name__", "h"}}).AddHistogram(fine, 1000);
  CHECK(fixture.Write(request.Compressed()).status == 204);
  Histogram coarse = fine;
  coarse.schema = 8;
  coarse.positive = {.spans = {{.offset = 1, .length = 2}}, .counts = {4, 6}};
  CHECK(fixture.storage.Dump() == "h " + coarse.ToString() + "@1000\n");
}

TEST_CASE("write: a histogram that contradicts itself is refused") {
  Fixture fixture;
  Histogram wrong;
  wrong.count = 1;
  wrong.positive = {.spans = {{.offset = 0, .length = 5}}, .counts = {1}};
  WriteRequestBuilder request;
  request.Series({{"__name__", "good"}}).Sample(1, 1000);
  request.Series({{"__name__", "h"}}).AddHistogram(wrong, 1000);
  CHECK(fixture.Write(request.Compressed()).status == 400);
  CHECK(fixture.storage.Dump().empty());
}

TEST_CASE("write: one sample out of order refuses the request") {
  Fixture fixture;
  WriteRequestBuilder first;
  first.Series({{"__name__", "x"}}).Sample(1, 2000);
  CHECK(fixture.Write(first.Compressed()).status == 204);
  WriteRequestBuilder second;
  second.Series({{"__name__", "y"}}).Sample(1, 3000);
  second.Series({{"__name__", "x"}}).Sample(1, 1000);
  const WriteAnswer answer = fixture.Write(second.Compressed());
  CHECK(answer.status == 400);
  CHECK(answer.message == "out of order sample");
  CHECK(fixture.storage.Dump() == "x 1@2000\n");
}

TEST_CASE("write: a failing storage asks the sender to try again") {
  Fixture fixture;
  fixture.storage.FailCommits();
  WriteRequestBuilder request;
  request.Series({{"__name__", "x"}}).Sample(1, 1000);
  const WriteAnswer answer = fixture.Write(request.Compressed());
  CHECK(answer.status == 500);
  CHECK(answer.message == "the disk is full");
}

TEST_CASE("write: types and encodings") {
  Fixture fixture;
  WriteRequestBuilder request;
  request.Series({{"__name__", "x"}}).Sample(1, 1000);
  const std::string body = request.Compressed();
  CHECK(fixture.Write(body, "application/json").status == 415);
  CHECK(fixture.Write(body, "application/x-protobuf;proto=io.prometheus.write.v2.Request").status ==
        415);
  CHECK(fixture.Write(body, "application/x-protobuf", "gzip").status == 415);
  CHECK(fixture.Write(body, "application/x-protobuf; proto=prometheus.WriteRequest").status == 204);
  CHECK(fixture.Write("", "", "").status == 400);
  CHECK(fixture.Write("no snappy at all", "", "").status == 400);
}

TEST_CASE("write: the declared size is checked before memory is taken") {
  Fixture fixture;
  // A snappy header that declares 4 GiB - 1, and nothing behind it.
  CHECK(fixture.Write("\xFF\xFF\xFF\xFF\x0F").status == 413);
  // At the limit the bytes themselves are looked at.
  std::string at_limit;
  for (size_t rest = kWriteDecodedBytesMax; rest > 0; rest >>= 7) {
    at_limit.push_back(static_cast<char>((rest & 0x7F) | (rest >= 128 ? 0x80 : 0)));
  }
  CHECK(fixture.Write(at_limit).status == 400);
}

TEST_CASE("write: malformed messages leave nothing") {
  Fixture fixture;
  WriteRequestBuilder request;
  request.Series({{"__name__", "x"}}).Sample(1, 1000);
  const std::string message = request.Message();
  // Cut off anywhere but between two fields of the request it is no message.
  for (size_t size = 1; size < message.size(); ++size) {
    CAPTURE(size);
    std::string body;
    snappy::Compress(message.data(), size, &body);
    CHECK(fixture.Write(body).status == 400);
  }
  CHECK(fixture.storage.Dump().empty());
}

TEST_CASE("write: labels at the limit and one past it") {
  for (const size_t count : {kWriteLabelsMax, kWriteLabelsMax + 1}) {
    Fixture fixture;
    std::vector<std::string> names;
    for (size_t i = 0; i + 1 < count; ++i) names.push_back("l" + std::to_string(i));
    LabelList labels = {{"__name__", "x"}};
    for (const std::string& name : names) labels.emplace_back(name, "v");
    WriteRequestBuilder request;
    request.Series(labels).Sample(1, 1000);
    CHECK(fixture.Write(request.Compressed()).status == (count == kWriteLabelsMax ? 204 : 400));
  }
}

}  // namespace
}  // namespace varve
