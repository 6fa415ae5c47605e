// SPDX-License-Identifier: Apache-2.0
//
// Goal: answers and errors of the API byte for byte as Prometheus gives them.
// Method: the real server and engine over a storage in memory, targets and rules made up.
#include <doctest/doctest.h>

#include <string>

#include "tests/http/api_fixture.h"
#include "tests/remote/write_request.h"

namespace varve {
namespace {

TEST_CASE("api: series, labels and label values") {
  ApiFixture fixture;
  CHECK(fixture.Get("/api/v1/labels").body ==
        R"({"status":"success","data":["__name__","instance","job","version"]})");
  CHECK(fixture.Post("/api/v1/labels", "match[]=up").body ==
        R"({"status":"success","data":["__name__","instance","job"]})");
  CHECK(fixture.Get("/api/v1/label/__name__/values").body ==
        R"({"status":"success","data":["build","up"]})");
  CHECK(fixture.Get("/api/v1/label/version/values").body ==
        R"({"status":"success","data":["\u003c1\u003e"]})");
  CHECK(fixture.Get("/api/v1/label/U__ver_73_ion/values").body ==
        R"({"status":"success","data":["\u003c1\u003e"]})");
  CHECK(fixture.Get("/api/v1/label/nope/values").body == R"({"status":"success","data":[]})");
  CHECK(fixture.Get("/api/v1/label/instance/values?limit=1").body ==
        R"({"status":"success","data":["a"],"warnings":["results truncated due to limit"]})");
  CHECK(fixture.Get("/api/v1/label/a%FFb/values").status == 400);
  CHECK(fixture.Get("/api/v1/series?match[]=build&match[]={version!=\"\"}").body ==
        R"({"status":"success","data":[{"__name__":"build","version":"<1>"}]})");
  CHECK(fixture.Get("/api/v1/series?match[]=up&limit=1").body ==
        R"({"status":"success","data":[{"__name__":"up","instance":"a","job":"node"}],)"
        R"("warnings":["results truncated due to limit"]})");
  CHECK(fixture.Get("/api/v1/series?match[]=up&start=11&end=12").body ==
        R"({"status":"success","data":[]})");
  // What the storage could not read is said.
  fixture.storage.AddWarning("storage: damaged");
  for (const char* path : {"labels", "label/version/values", "series?match[]=build"}) {
    const std::string body = fixture.Get(std::string("/api/v1/") + path).body;
    CHECK_MESSAGE(body.ends_with(R"(,"warnings":["storage: damaged"]})"), body);
  }
}

TEST_CASE("api: rules and alerts") {
  ApiFixture fixture;
  const std::string recording =
      R"J({"name":"job:up","query":"sum(up)","health":"ok","evaluationTime":0.25,)J"
      R"("lastEvaluation":"1970-01-01T00:00:02Z","type":"recording"})";
  const std::string alert =
      R"({"labels":{"alertname":"Down"},"annotations":{"summary":"down"},"state":"firing",)"
      R"("activeAt":"1970-01-01T00:00:01Z","value":"0e+00"})";
  const std::string alerting =
      R"({"state":"firing","name":"Down","query":"up \u003c 1","duration":90,"keepFiringFor":0,)"
      R"("labels":{},"annotations":{"summary":"down"},"alerts":[)" +
      alert +
      R"(],"health":"err","lastError":"it broke","evaluationTime":0,)"
      R"("lastEvaluation":"0001-01-01T00:00:00Z","type":"alerting"})";
  const auto group = [](const std::string& rules) {
    return R"({"name":"g","file":"r.yml","rules":[)" + rules +
           R"(],"interval":30,"limit":0,"evaluationTime":0.5,)"
           R"("lastEvaluation":"1970-01-01T00:00:02Z"})";
  };
  const std::string empty =
      R"({"name":"h","file":"r.yml","rules":[],"interval":60,"limit":0,"evaluationTime":0,)"
      R"("lastEvaluation":"0001-01-01T00:00:00Z"})";
  const auto answer = [](const std::string& groups) {
    return R"({"status":"success","data":{"groups":[)" + groups + "]}}";
  };
  CHECK(fixture.Get("/api/v1/rules").body ==
        answer(group(recording + "," + alerting) + "," + empty));
  CHECK(fixture.Get("/api/v1/rules?type=record").body == answer(group(recording)));
  CHECK(fixture.Get("/api/v1/rules?type=alert").body == answer(group(alerting)));
  CHECK(fixture.Get("/api/v1/rules?rule_name[]=job:up").body == answer(group(recording)));
  CHECK(fixture.Get("/api/v1/rules?rule_group[]=h").body == answer(empty));
  CHECK(fixture.Get("/api/v1/rules?file[]=other.yml").body == answer(""));
  CHECK(fixture.Get("/api/v1/rules?type=alert&exclude_alerts=true").body.find("activeAt") ==
        std::string::npos);
  CHECK(fixture.Get("/api/v1/alerts").body ==
        R"({"status":"success","data":{"alerts":[)" + alert + "]}}");

  // Pages: the token names the next group.
  const std::string page = fixture.Get("/api/v1/rules?group_limit=1").body;
  const size_t at = page.find(R"("groupNextToken":")");
  REQUIRE(at != std::string::npos);
  const std::string token = page.substr(at + 18, 64);
  CHECK(fixture.Get("/api/v1/rules?group_limit=1&group_next_token=" + token).body == answer(empty));
  CHECK(fixture.Get("/api/v1/rules?group_next_token=" + token).status == 400);
  CHECK(fixture.Get("/api/v1/rules?group_limit=1&group_next_token=x").status == 400);
}

TEST_CASE("api: status") {
  ApiFixture fixture;
  CHECK(fixture.Get("/api/v1/status/config").body ==
        R"({"status":"success","data":{"yaml":"global: {}\n"}})");
  CHECK(fixture.Get("/api/v1/status/flags").body ==
        R"({"status":"success","data":{"config.file":"prometheus.yml",)"
        R"("web.page-title":"a \u003cb\u003e"}})");
  CHECK(fixture.Get("/api/v1/status/buildinfo").body ==
        R"({"status":"success","data":{"version":"3.14.0","revision":"abc","branch":"",)"
        R"("buildUser":"","buildDate":"","goVersion":""}})");
  CHECK(fixture.Get("/version").body.starts_with(R"({"version":"3.14.0")"));
  CHECK(fixture.Get("/api/v1/status/runtimeinfo").body.find(R"("storageRetention":"15d")") !=
        std::string::npos);
  CHECK(fixture.Get("/api/v1/status/tsdb")
            .body.starts_with(R"({"status":"success","data":{"headStats":{"numSeries":3,)"));
  CHECK(fixture.Get("/api/v1/status/tsdb?limit=0").status == 400);
  CHECK(fixture.Get("/api/v1/status/tsdb?limit=10000").status == 200);
  CHECK(fixture.Get("/api/v1/status/tsdb?limit=10001").status == 400);
  CHECK(fixture.Get("/api/v1/status/walreplay").status == 200);
  CHECK(fixture.Get("/api/v1/notifications").body == R"({"status":"success","data":[]})");
}

TEST_CASE("api: health, lifecycle and metrics") {
  ApiFixture fixture;
  CHECK(fixture.Get("/-/healthy").body == "Prometheus Server is Healthy.\n");
  CHECK(fixture.Get("/-/ready").body == "Prometheus Server is Ready.\n");
  CHECK(TestRequest(fixture.address(), "HEAD", "/-/ready").status == 200);
  CHECK(TestRequest(fixture.address(), "POST", "/-/reload").status == 200);
  fixture.reload_status = absl::InvalidArgumentError("a.yml: 3:1: wrong");
  TestResponse reload = TestRequest(fixture.address(), "PUT", "/-/reload");
  CHECK(reload.status == 500);
  CHECK(reload.body == "failed to reload config: a.yml: 3:1: wrong\n");
  CHECK(fixture.Get("/-/reload").status == 405);
  CHECK(fixture.Get("/-/reload").body == "Only POST or PUT requests allowed.");
  CHECK(TestRequest(fixture.address(), "POST", "/-/quit").body ==
        "Requesting termination... Goodbye!");
  CHECK(fixture.quits == 1);
  TestResponse metrics = fixture.Get("/metrics");
  CHECK(metrics.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8");
  CHECK(metrics.body.find("prometheus_http_requests_total{code=\"200\",handler=\"/-/ready\"} 2") !=
        std::string::npos);

  ApiFixture without(false);
  CHECK(TestRequest(without.address(), "POST", "/-/reload").status == 403);
  CHECK(without.Get("/-/quit").body == "Lifecycle API is not enabled.");
  CHECK(TestRequest(without.address(), "POST", "/api/v1/write", "", "x").body ==
        "remote write receiver needs to be enabled with --web.enable-remote-write-receiver\n");
}

TEST_CASE("api: remote write through the server") {
  ApiFixture fixture;
  WriteRequestBuilder request;
  request.Series({{"__name__", "pushed"}}).Sample(7, 15'000);
  const std::string headers =
      "Content-Encoding: snappy\r\nContent-Type: application/x-protobuf\r\n";
  CHECK(TestRequest(fixture.address(), "POST", "/api/v1/write", headers, request.Compressed())
            .status == 204);
  CHECK(fixture.Get("/api/v1/query?query=pushed").body.find(R"([20,"7"])") != std::string::npos);
  CHECK(TestRequest(fixture.address(), "POST", "/api/v1/write", headers, "garbage").status == 400);
}

TEST_CASE("api: administration is refused unless enabled") {
  ApiFixture fixture(/*lifecycle=*/false);
  for (const char* path : {"delete_series?match[]=up", "clean_tombstones", "snapshot"}) {
    CAPTURE(path);
    const TestResponse response =
        TestRequest(fixture.address(), "POST", std::string("/api/v1/admin/tsdb/") + path);
    CHECK(response.status == 500);
    CHECK(response.body ==
          R"({"status":"error","errorType":"unavailable","error":"admin APIs disabled"})");
  }
}

TEST_CASE("api: series are deleted, tombstones cleaned, snapshots named") {
  ApiFixture fixture;
  const auto request = [&](std::string_view method, const std::string& target) {
    return TestRequest(fixture.address(), method, "/api/v1/admin/tsdb/" + target);
  };
  CHECK(request("POST", "delete_series").body ==
        R"({"status":"error","errorType":"bad_data","error":"no match[] parameter provided"})");
  for (const char* bad : {"delete_series?match[]=x{", "delete_series?match[]={a=\"\"}",
                          "delete_series?match[]=up&start=x", "delete_series?match[]=up&end=x",
                          "snapshot?skip_head=maybe"}) {
    CAPTURE(bad);
    CHECK(request("POST", bad).status == 400);
  }
  CHECK(request("POST", "delete_series?match[]=up&start=11").status == 204);
  CHECK(fixture.storage.Dump().find("up{instance=\"a\", job=\"node\"} 1@10000") !=
        std::string::npos);
  CHECK(request("PUT", "delete_series?match[]=up{instance=\"a\"}&match[]=build&end=10").status ==
        204);
  CHECK(fixture.storage.Dump().find("1@10000") == std::string::npos);
  CHECK(fixture.storage.Dump().find("0.5@10000") != std::string::npos);
  const TestResponse cleaned = request("POST", "clean_tombstones");
  CHECK(cleaned.status == 204);
  CHECK(cleaned.body.empty());
  CHECK(fixture.storage.cleanings() == 1);
  CHECK(request("PUT", "snapshot?skip_head=true").body ==
        R"({"status":"success","data":{"name":"20231114T221320Z-0123456789abcdef"}})");
}

TEST_CASE("api: federation") {
  ApiFixture fixture;
  const TestResponse response = fixture.Get("/federate?match[]=up&match[]=build");
  CHECK(response.body ==
        "# TYPE build untyped\n"
        "build{cluster=\"east\",version=\"<1>\",instance=\"\"} 1 10000\n"
        "# TYPE up untyped\n"
        "up{cluster=\"east\",instance=\"a\",job=\"node\"} 1 10000\n"
        "up{cluster=\"east\",instance=\"b\",job=\"node\"} 0.5 10000\n");
  CHECK(fixture.Get("/federate").body.empty());
  CHECK(fixture.Get("/federate?match[]=x{").status == 400);
}

TEST_CASE("api: console pages and redirects") {
  ApiFixture fixture;
  TestResponse root = fixture.Get("/");
  CHECK(root.status == 302);
  CHECK(root.headers["location"] == "/query");
  CHECK(fixture.Get("/graph?g0.expr=up").headers["location"] == "/query?g0.expr=up");
  for (const char* page : {"/query", "/targets", "/rules", "/alerts", "/status"}) {
    CAPTURE(page);
    TestResponse response = fixture.Get(page);
    CHECK(response.status == 200);
    CHECK(response.headers["content-type"] == "text/html; charset=utf-8");
  }
  CHECK(fixture.Get("/assets/none.js").status == 404);
  CHECK(fixture.Get("/api/v1/none").status == 404);
}

}  // namespace
}  // namespace varve
