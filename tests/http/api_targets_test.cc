// SPDX-License-Identifier: Apache-2.0
//
// Goal: answers about targets, discoveries and metadata byte for byte as Prometheus gives them.
// Method: the real server and engine over a storage in memory, targets and rules made up.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <string>

#include "model/percent_encoding.h"
#include "tests/http/api_fixture.h"
#include "tests/remote/write_request.h"

namespace varve {
namespace {

TEST_CASE("api: discoveries and how they are doing") {
  ApiFixture fixture;
  CHECK(fixture.Get("/api/v1/discoveries").body ==
        R"({"status":"success","data":{"discoveries":[{"scrapePool":"node","mechanism":"dns",)"
        R"("source":"a.test","stale":true,"lastError":"no answer",)"
        R"("lastSuccess":"1970-01-01T00:00:01.5Z","failingSince":"1970-01-01T00:00:02.5Z"}]}})");
}

// Goal: a page of many targets is cut by the server, which also says what is on the others.
TEST_CASE("api: a page of targets") {
  ApiFixture fixture;
  const auto add = [&](const std::string& pool, const std::string& instance, TargetHealth health) {
    fixture.scrape.others.push_back({.labels = Labels::Of({{"instance", instance}, {"job", pool}}),
                                     .scrape_pool = pool,
                                     .scrape_url = "http://" + instance + "/m",
                                     .health = health});
  };
  add("node", "n:1", TargetHealth::kUp);
  add("node", "n:2", TargetHealth::kUnknown);
  add("pods", "p:1", TargetHealth::kUp);
  add("pods", "p:2", TargetHealth::kDown);
  struct Page {
    std::vector<std::string> instances;
    std::string total;
    std::string counts;
  };
  const auto page = [&](const std::string& query) {
    const std::string body = fixture.Get("/api/v1/targets?state=active&" + query).body;
    Page found;
    const std::string_view mark = R"("labels":{"instance":")";
    for (size_t at = body.find(mark); at != std::string::npos; at = body.find(mark, at)) {
      at += mark.size();
      found.instances.push_back(body.substr(at, body.find('"', at) - at));
    }
    const auto between = [&](std::string_view begin, std::string_view end) {
      const size_t from = body.find(begin) + begin.size();
      return body.substr(from, body.find(end, from) - from);
    };
    found.total = between(R"("activeTargetsTotal":)", ",");
    found.counts = between(R"("healthCounts":)", R"(,"poolCounts")");
    // What each pool has does not depend on what is asked.
    CHECK(between(R"("poolCounts":)", R"(,"droppedTargets")") ==
          R"({"node":{"up":1,"down":1,"unknown":1},"pods":{"up":1,"down":1,"unknown":0}})");
    return found;
  };
  using Instances = std::vector<std::string>;
  const std::string all = R"({"up":2,"down":2,"unknown":1})";

  const Page first = page("limit=3");
  CHECK(first.instances == Instances{"a:1", "p:2", "n:2"});  // What fails comes first.
  CHECK(first.total == "5");
  CHECK(first.counts == all);
  CHECK(page("limit=3&offset=3").instances == Instances{"n:1", "p:1"});
  CHECK(page("offset=5").instances.empty());
  CHECK(page("offset=5").total == "5");

  const Page up = page("health=up");
  CHECK(up.instances == Instances{"n:1", "p:1"});
  CHECK(up.total == "2");
  CHECK(up.counts == all);
  const Page pods = page("health=up&search=PODS");
  CHECK(pods.instances == Instances{"p:1"});
  CHECK(pods.counts == R"({"up":1,"down":1,"unknown":0})");
  // Every word has to be there, in any order and wherever.
  CHECK(page("search=refused%20node").instances == Instances{"a:1"});
  CHECK(page("search=%20/m%20%20instance=%22n:").instances == Instances{"n:2", "n:1"});
  CHECK(page("search=node%20pods").instances.empty());
  CHECK(page("search=node%20pods").counts == R"({"up":0,"down":0,"unknown":0})");
}

// Goal: each rule of a pool shows what it makes of labels; after one that drops them there are
// none.
TEST_CASE("api: relabelling step by step") {
  ApiFixture fixture;
  const auto steps = [&](const std::string& labels) {
    return fixture
        .Get("/api/v1/targets/relabel_steps?scrapePool=node&labels=" + PercentEncoded(labels))
        .body;
  };
  const std::string first =
      R"x({"status":"success","data":{"steps":[{"rule":{"sourceLabels":["__address__"],)x"
      R"x("separator":";","regex":"(.*)","targetLabel":"instance","replacement":"$1",)x"
      R"x("action":"replace"},"output":)x";
  const std::string second =
      R"x({"rule":{"sourceLabels":["env","job"],"separator":";","regex":"dev;.*",)x"
      R"x("replacement":"$1","action":"drop"},"output":)x";
  const std::string third =
      R"x({"rule":{"sourceLabels":["instance"],"separator":";","regex":"(.*)","modulus":8,)x"
      R"x("targetLabel":"shard","replacement":"$1","action":"hashmod"},"output":)x";
  const std::string kept = R"({"__address__":"a:1","env":"prod","instance":"a:1"})";
  CHECK(steps(R"({"__address__":"a:1","env":"prod"})") ==
        first + kept + R"(,"keep":true},)" + second + kept + R"(,"keep":true},)" + third +
            R"({"__address__":"a:1","env":"prod","instance":"a:1","shard":"0"},"keep":true}]}})");
  CHECK(steps(R"({"__address__":"a:1","env":"dev"})") ==
        first + R"({"__address__":"a:1","env":"dev","instance":"a:1"},"keep":true},)" + second +
            R"({},"keep":false},)" + third + R"({},"keep":false}]}})");

  const std::string long_labels =
      fmt::format(R"({{"__address__":"a:1","long":"{}"}})", std::string(20'000, 'x'));
  CHECK(fixture
            .Post("/api/v1/targets/relabel_steps",
                  "scrapePool=node&labels=" + PercentEncoded(long_labels))
            .status == 200);

  const auto error = [&](const std::string& query) {
    const TestResponse answer = fixture.Get("/api/v1/targets/relabel_steps?" + query);
    CHECK(answer.status == 400);
    return answer.body;
  };
  CHECK(error("labels={}").find("no scrapePool parameter provided") != std::string::npos);
  CHECK(error("scrapePool=node").find("no labels parameter provided") != std::string::npos);
  CHECK(error("scrapePool=other&labels={}")
            .find("error retrieving scrape config: scrape pool not found") != std::string::npos);
  for (const char* labels : {"{", "[]", "{%22a%22:1}"}) {
    CHECK(error(std::string("scrapePool=node&labels=") + labels).find("error parsing labels: ") !=
          std::string::npos);
  }
}

TEST_CASE("api: targets and metadata") {
  ApiFixture fixture;
  const std::string active =
      R"({"discoveredLabels":{"__address__":"a:1"},"labels":{"instance":"a:1","job":"node"},)"
      R"("scrapePool":"node","scrapeUrl":"http://a:1/metrics?x=\u003cy\u003e",)"
      R"("globalUrl":"http://a:1/metrics","lastError":"connection refused",)"
      R"("lastScrape":"1970-01-01T00:00:01.5Z","lastScrapeDuration":0.25,"health":"down",)"
      R"("scrapeInterval":"15s","scrapeTimeout":"10s"})";
  const std::string dropped = R"({"discoveredLabels":{"__address__":"b:1"},"scrapePool":"node"})";
  const auto page = [&](const std::string& query) {
    return fixture.Get("/api/v1/targets?state=active&" + query).body;
  };
  const std::string found = R"({"status":"success","data":{"activeTargets":[)" + active +
                            R"(],"activeTargetsTotal":1,)"
                            R"("healthCounts":{"up":0,"down":1,"unknown":0},)"
                            R"("poolCounts":{"node":{"up":0,"down":1,"unknown":0}},)"
                            R"("droppedTargets":[],"droppedTargetCounts":{"node":3}}})";
  CHECK(page("search=NODE") == found);
  CHECK(page("search=refused&health=down&limit=1") == found);
  CHECK(page("offset=1").find(R"("activeTargets":[],"activeTargetsTotal":1)") != std::string::npos);
  CHECK(page("limit=0").find(R"("activeTargets":[],"activeTargetsTotal":1)") != std::string::npos);
  CHECK(fixture.Get("/api/v1/targets?limit=-1").status == 400);
  CHECK(fixture.Get("/api/v1/targets?offset=x").status == 400);
  CHECK(fixture.Get("/api/v1/targets?health=ill").status == 400);
  CHECK(
      page("details=true")
          .find(
              R"("history":{"scrapes":3,"failedScrapes":2,"failures":[{"first":"1970-01-01T00:00:01Z",)"
              R"("last":"1970-01-01T00:00:01.5Z","count":2,"error":"connection refused"}],)"
              R"("droppedSamples":{"relabelling":0,"outOfOrder":4,"duplicateTimestamp":0,)"
              R"("outOfBounds":0,"failedScrapes":0},"lastScrape":{"bodyBytes":-1,"samples":0,)"
              R"("samplesAfterRelabelling":0,"seriesAdded":0},"limits":{"bodySize":null,"samples":7,)"
              R"("labels":null,"labelNameLength":null,"labelValueLength":null}}})") !=
      std::string::npos);
  CHECK(fixture.Get("/api/v1/targets").body == R"({"status":"success","data":{"activeTargets":[)" +
                                                   active + R"(],"droppedTargets":[)" + dropped +
                                                   R"(],"droppedTargetCounts":{"node":3}}})");
  CHECK(fixture.Get("/api/v1/targets?state=Active").body ==
        R"({"status":"success","data":{"activeTargets":[)" + active +
            R"(],"droppedTargets":[],"droppedTargetCounts":null}})");
  CHECK(fixture.Get("/api/v1/targets?state=dropped").body ==
        R"({"status":"success","data":{"activeTargets":[],"droppedTargets":[)" + dropped +
            R"(],"droppedTargetCounts":{"node":3}}})");
  CHECK(fixture.Post("/api/v1/targets/scrape?scrapePool=node&scrapeUrl=u&limit=1", "").body ==
        R"({"status":"success","data":{"error":"u","duration":0,"bodyBytes":0,"contentType":"",)"
        R"("samplesScraped":0,"samplesAfterRelabelling":0,"duplicateSamples":0,"truncated":true,)"
        R"("samples":[{"metric":{"__name__":"up"},"value":[1.500,"1"]}]}})");
  CHECK(fixture.Post("/api/v1/targets/scrape?scrapePool=nope&scrapeUrl=u", "").status == 400);
  CHECK(fixture.Post("/api/v1/targets/scrape?scrapePool=node&limit=100001", "").status == 400);
  CHECK(fixture.Post("/api/v1/targets/scrape?scrapePool=node&limit=100000", "").status == 200);
  CHECK(
      fixture.Get("/api/v1/metadata").body ==
      R"({"status":"success","data":{"up":[{"type":"gauge","help":"Is it \u003cup\u003e?","unit":""}]}})");
  CHECK(fixture.Get("/api/v1/metadata?limit=0").body == R"({"status":"success","data":{}})");
  CHECK(fixture.Get("/api/v1/targets/metadata").body ==
        R"({"status":"success","data":[{"target":{"job":"node"},"metric":"up","type":"gauge",)"
        R"("help":"Is it \u003cup\u003e?","unit":""}]})");
  CHECK(fixture.Get("/api/v1/targets/metadata?metric=up").body ==
        R"({"status":"success","data":[{"target":{"job":"node"},"type":"gauge",)"
        R"("help":"Is it \u003cup\u003e?","unit":""}]})");
  CHECK(fixture.Get("/api/v1/scrape_pools").body ==
        R"({"status":"success","data":{"scrapePools":["node","pods"]}})");
  CHECK(fixture.Get("/api/v1/scrape_pools/config?scrapePool=node").body ==
        R"({"status":"success","data":{"yaml":"job_name: node\n"}})");
  const auto config_error = [&](const std::string& query) {
    const TestResponse answer = fixture.Get("/api/v1/scrape_pools/config" + query);
    CHECK(answer.status == 400);
    return answer.body;
  };
  CHECK(config_error("").find("no scrapePool parameter provided") != std::string::npos);
  CHECK(
      config_error("?scrapePool=x").find("error retrieving scrape config: scrape pool not found") !=
      std::string::npos);
  CHECK(fixture.Get("/api/v1/alertmanagers").body ==
        R"({"status":"success","data":{"activeAlertmanagers":[],"droppedAlertmanagers":[]}})");
}

TEST_CASE("api: metadata that no target gives comes from the storage") {
  ApiFixture fixture;
  WriteRequestBuilder request;
  request.Metadata("up", 1, "another up").Metadata("z", 3, "stored", "s").Metadata("a", 2, "");
  CHECK(fixture.write->Write("application/x-protobuf", "snappy", request.Compressed()).status ==
        204);
  const auto data = [&](const std::string& query) {
    const std::string body = fixture.Get("/api/v1/metadata" + query).body;
    const std::string_view begin = R"({"status":"success","data":)";
    REQUIRE(body.starts_with(begin));
    return body.substr(begin.size(), body.size() - begin.size() - 1);
  };
  const std::string a = R"("a":[{"type":"gauge","help":"","unit":""}])";
  const std::string up = R"("up":[{"type":"gauge","help":"Is it \u003cup\u003e?","unit":""}])";
  const std::string z = R"("z":[{"type":"histogram","help":"stored","unit":"s"}])";
  CHECK(data("") == "{" + a + "," + up + "," + z + "}");
  CHECK(data("?metric=z") == "{" + up + "," + z + "}");  // The target of the test knows only `up`.
  CHECK(data("?limit=0") == "{}");
  CHECK(data("?limit=1") == "{" + up + "}");
  CHECK(data("?limit=2") == "{" + a + "," + up + "}");
  CHECK(data("?limit=3&limit_per_metric=1") == "{" + a + "," + up + "," + z + "}");
}

}  // namespace
}  // namespace varve
