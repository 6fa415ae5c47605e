// SPDX-License-Identifier: Apache-2.0
//
// Goal: answers and errors of queries byte for byte as Prometheus gives them; shorter answers are
// sent with their length, large ones in pieces, and both whole. Method: the real server and engine
// over a storage in memory, targets and rules made up.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <string>

#include "model/percent_encoding.h"
#include "tests/http/api_fixture.h"

namespace varve {
namespace {

TEST_CASE("api: query gives every type of result") {
  ApiFixture fixture;
  CHECK(fixture.Get("/api/v1/query?query=up&time=12.5").body ==
        R"({"status":"success","data":{"resultType":"vector","result":[)"
        R"({"metric":{"__name__":"up","instance":"a","job":"node"},"value":[12.500,"1"]},)"
        R"({"metric":{"__name__":"up","instance":"b","job":"node"},"value":[12.500,"0.5"]}]}})");
  CHECK(fixture.Post("/api/v1/query", "query=1%2B1&time=4").body ==
        R"({"status":"success","data":{"resultType":"scalar","result":[4,"2"]}})");
  CHECK(fixture.Get("/api/v1/query?query=%22a%3Cb%22&time=4").body ==
        R"({"status":"success","data":{"resultType":"string","result":[4,"a\u003cb"]}})");
  CHECK(fixture.Get("/api/v1/query?query=build%5B1m%5D&time=12").body ==
        R"({"status":"success","data":{"resultType":"matrix","result":[)"
        R"({"metric":{"__name__":"build","version":"<1>"},"values":[[10,"1"]]}]}})");
  CHECK(fixture.Get("/api/v1/query?query=missing").body ==
        R"({"status":"success","data":{"resultType":"vector","result":[]}})");
  TestResponse response = fixture.Get("/api/v1/query?query=up");
  CHECK(response.headers["content-type"] == "application/json");
}

TEST_CASE("api: query_range") {
  ApiFixture fixture;
  CHECK(fixture.Get("/api/v1/query_range?query=build&start=10&end=20&step=5").body ==
        R"({"status":"success","data":{"resultType":"matrix","result":[)"
        R"({"metric":{"__name__":"build","version":"<1>"},)"
        R"("values":[[10,"1"],[15,"1"],[20,"1"]]}]}})");
  CHECK(fixture.Get("/api/v1/query_range?query=1&start=0&end=11000&step=1").status == 200);
  CHECK(
      fixture.Get("/api/v1/query_range?query=1&start=0&end=11001&step=1").body ==
      R"({"status":"error","errorType":"bad_data","error":"exceeded maximum resolution of 11,000 )"
      R"J(points per timeseries. Try decreasing the query resolution (?step=XX)"})J");
}

TEST_CASE("api: errors of parameters") {
  ApiFixture fixture;
  struct Case {
    const char* target;
    const char* error;
  };
  const Case cases[] = {
      {"/api/v1/query?query=up&time=x",
       R"(invalid parameter \"time\": Invalid time value for 'time': cannot parse \"x\" to a valid timestamp)"},
      {"/api/v1/query?query=up&timeout=x",
       R"(invalid parameter \"timeout\": cannot parse \"x\" to a valid duration)"},
      {"/api/v1/query?query=up&lookback_delta=x",
       R"(error parsing lookback delta duration: cannot parse \"x\" to a valid duration)"},
      {"/api/v1/query?query=up&limit=-1",
       R"(invalid parameter \"limit\": limit must be non-negative)"},
      {"/api/v1/query?query=up&limit=x",
       R"(invalid parameter \"limit\": strconv.Atoi: parsing \"x\": invalid syntax)"},
      {"/api/v1/query_range?query=up&end=1&step=1",
       R"(invalid parameter \"start\": cannot parse \"\" to a valid timestamp)"},
      {"/api/v1/query_range?query=up&start=2&end=1&step=1",
       R"(invalid parameter \"end\": end timestamp must not be before start time)"},
      {"/api/v1/query_range?query=up&start=1&end=2&step=0",
       R"(invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive integer)"},
      {"/api/v1/series", R"(no match[] parameter provided)"},
      {"/api/v1/series?match[]={x=~\".*\"}",
       R"(invalid parameter \"match[]\": match[] must contain at least one non-empty matcher)"},
      {"/api/v1/metadata?limit=x", R"(limit must be a number)"},
      {"/api/v1/rules?type=x", R"(invalid parameter \"type\": not supported value \"x\")"},
      {"/api/v1/query_exemplars?query=up&start=2&end=1",
       R"(end timestamp must not be before start timestamp)"},
  };
  for (const Case& item : cases) {
    CAPTURE(item.target);
    const TestResponse response = fixture.Get(item.target);
    CHECK(response.status == 400);
    CHECK(response.body ==
          fmt::format(R"({{"status":"error","errorType":"bad_data","error":"{}"}})", item.error));
  }
}

TEST_CASE("api: a query that does not parse is an invalid parameter") {
  ApiFixture fixture;
  const TestResponse response = fixture.Get("/api/v1/query?query=sum(");
  CHECK(response.status == 400);
  CHECK(response.body ==
        R"({"status":"error","errorType":"bad_data","error":"invalid parameter \"query\": )"
        R"(1:5: parse error: unclosed left parenthesis"})");
}

TEST_CASE("api: statistics when asked for") {
  ApiFixture fixture;
  const std::string with = fixture.Get("/api/v1/query?query=up&stats=true").body;
  CHECK(with.find("warnings") == std::string::npos);
  CHECK(with.find(R"("stats":{"timings":{"evalTotalTime":)") != std::string::npos);
  CHECK(with.find(R"("samples":{"totalQueryableSamples":2)") != std::string::npos);
  CHECK(fixture.Get("/api/v1/query?query=up").body.find("stats") == std::string::npos);
}

TEST_CASE("api: other values for statistics are deprecated") {
  ApiFixture fixture;
  const std::string body = fixture.Get("/api/v1/query?query=up&stats=1").body;
  CHECK(body.find("\"stats\":{") != std::string::npos);
  CHECK(body.find(R"("warnings":["value \"1\" for parameter \"stats\" is deprecated and will be )"
                  R"(rejected in the next major release, use \"true\" or \"all\""])") !=
        std::string::npos);
  CHECK(fixture.Get("/api/v1/query?query=up&stats=all").body.find("warnings") == std::string::npos);
}

TEST_CASE("api: a query without time is out of it") {
  ApiFixture fixture;
  for (const char* timeout : {"0", "-1"}) {
    const TestResponse response =
        fixture.Get(fmt::format("/api/v1/query?query=up&timeout={}", timeout));
    CHECK(response.status == 503);
    CHECK(response.body ==
          R"({"status":"error","errorType":"timeout","error":"query timed out in query queue"})");
  }
}

TEST_CASE("api: a query of 100 kB by POST") {
  ApiFixture fixture;
  // As Grafana writes a variable with everything selected.
  std::string query = "up{instance=~\"a";
  for (int i = 0; query.size() < 100'000; ++i) query += fmt::format("|instance-{}", i);
  query += "\"}";
  const TestResponse response =
      fixture.Post("/api/v1/query", "time=12&query=" + PercentEncoded(query));
  CHECK(response.body ==
        R"({"status":"success","data":{"resultType":"vector","result":[)"
        R"({"metric":{"__name__":"up","instance":"a","job":"node"},"value":[12,"1"]}]}})");
}

TEST_CASE("api: formatted and parsed queries") {
  ApiFixture fixture;
  CHECK(fixture.Get("/api/v1/format_query?query=sum(up)by(job)").body ==
        R"J({"status":"success","data":"sum by (job) (up)"})J");
  CHECK(fixture.Post("/api/v1/format_query", "query=sum(").status == 400);
  CHECK(fixture.Get("/api/v1/parse_query?query=-1").body ==
        R"({"status":"success","data":{"type":"numberLiteral","val":"-1"}})");
  CHECK(fixture.Get("/api/v1/parse_query?query=rate(x{a=\"b\"}[5m]%20offset%201m)").body ==
        R"({"status":"success","data":{"args":[{"anchored":false,"matchers":[)"
        R"({"name":"a","type":"=","value":"b"},{"name":"__name__","type":"=","value":"x"}],)"
        R"("name":"x","offset":60000,"offsetExpr":null,"range":300000,"rangeExpr":null,)"
        R"("smoothed":false,"startOrEnd":null,"timestamp":null,"type":"matrixSelector"}],)"
        R"("func":{"argTypes":["matrix"],"name":"rate","returnType":"vector","variadic":0},)"
        R"("type":"call"}})");
}

TEST_CASE("api: every kind of node of a parsed query") {
  ApiFixture fixture;
  const auto parsed = [&](std::string_view query) {
    const std::string body = fixture.Get("/api/v1/parse_query?query=" + PercentEncoded(query)).body;
    constexpr std::string_view kBefore = R"({"status":"success","data":)";
    REQUIRE(body.starts_with(kBefore));
    return body.substr(kBefore.size(), body.size() - kBefore.size() - 1);
  };
  const auto selector = [](std::string_view name) {
    return fmt::format(
        R"({{"anchored":false,"matchers":[{{"name":"__name__","type":"=","value":"{0}"}}],)"
        R"("name":"{0}","offset":0,"offsetExpr":null,"smoothed":false,"startOrEnd":null,)"
        R"("timestamp":null,"type":"vectorSelector"}})",
        name);
  };
  const std::string step =
      R"({"lhs":null,"op":"step","rhs":null,"type":"durationExpr","wrapped":false})";
  const std::string a = selector("a");
  const std::string b = selector("b");
  CHECK(parsed("a") == a);
  CHECK(parsed("(a)") == R"({"expr":)" + a + R"(,"type":"parenExpr"})");
  CHECK(parsed("-a") == R"({"expr":)" + a + R"(,"op":"-","type":"unaryExpr"})");
  CHECK(parsed("\"<\"") == R"({"type":"stringLiteral","val":"\u003c"})");
  CHECK(parsed("5m") == R"({"type":"numberLiteral","val":"300"})");
  CHECK(parsed("topk without (x) (2, a)") ==
        R"({"expr":)" + a + R"(,"grouping":["x"],"op":"topk","param":)" +
            R"({"type":"numberLiteral","val":"2"},"type":"aggregation","without":true})");
  CHECK(parsed("sum(a)") == R"({"expr":)" + a + R"(,"grouping":[],"op":"sum","param":null,)" +
                                R"("type":"aggregation","without":false})");
  const auto binary = [&](std::string_view matching, std::string_view op, bool returns_bool) {
    return fmt::format(
        R"({{"bool":{},"lhs":{},"matching":{},"op":"{}","rhs":{},"type":"binaryExpr"}})",
        returns_bool, a, matching, op, b);
  };
  CHECK(parsed("a == bool on (x) b") ==
        binary(R"({"card":"one-to-one","fillValues":{"lhs":null,"rhs":null},"include":[],)"
               R"("labels":["x"],"on":true})",
               "==", true));
  CHECK(parsed("a * ignoring (x) group_left (y) b") ==
        binary(R"({"card":"many-to-one","fillValues":{"lhs":null,"rhs":null},"include":["y"],)"
               R"("labels":["x"],"on":false})",
               "*", false));
  CHECK(parsed("a and b") ==
        binary(R"({"card":"many-to-many","fillValues":{"lhs":null,"rhs":null},"include":[],)"
               R"("labels":[],"on":false})",
               "and", false));
  CHECK(parsed("1 + 5m").find(R"("matching":null)") != std::string::npos);
  CHECK(parsed("a[step()] @ start()") ==
        R"({"anchored":false,"matchers":[{"name":"__name__","type":"=","value":"a"}],"name":"a",)"
        R"("offset":0,"offsetExpr":null,"range":0,"rangeExpr":)" +
            step + R"(,"smoothed":false,"startOrEnd":"start","timestamp":null,)" +
            R"("type":"matrixSelector"})");
  CHECK(parsed("a[1h:(step() * 2)] @ 1.5 offset -1m") ==
        R"({"expr":)" + a +
            R"(,"offset":-60000,"offsetExpr":null,"range":3600000,"rangeExpr":null,)" +
            R"("startOrEnd":null,"step":0,"stepExpr":{"lhs":)" + step +
            R"(,"op":"*","rhs":{"type":"numberLiteral","val":"2"},"type":"durationExpr",)" +
            R"("wrapped":true},"timestamp":1500,"type":"subquery"})");
  CHECK(parsed("time()") ==
        R"({"args":[],"func":{"argTypes":[],"name":"time","returnType":"scalar","variadic":0},)"
        R"("type":"call"})");
  CHECK(parsed("hour(a)").find(R"("argTypes":["vector"],"name":"hour","returnType":"vector",)"
                               R"("variadic":1)") != std::string::npos);
  CHECK(parsed("label_join(a, \"b\", \"c\")").find(R"("variadic":-1)") != std::string::npos);
}

TEST_CASE("api: exemplars are an empty success, also for Grafana's milliseconds") {
  ApiFixture fixture;
  CHECK(fixture.Get("/api/v1/query_exemplars?query=test&start=1700000000000&end=1700003600000")
            .body == R"({"status":"success","data":[]})");
  CHECK(fixture.Get("/api/v1/query_exemplars?query=1").status == 204);
}

// Each series has a sample, and a value at every step of the 300 s from it on.
class QueryFixture {
 public:
  explicit QueryFixture(int series) {
    for (int i = 0; i < series; ++i) storage_.Add({{"n", fmt::format("{:03}", i)}}, 1, 1);
    api_.AddRoutes(router_);
    auto opened = HttpServer::Open({.addresses = {"127.0.0.1:0"}}, router_);
    REQUIRE_MESSAGE(opened.ok(), opened.status().ToString());
    server_ = std::move(*opened);
    api_.Attach({.storage = &storage_, .engine = &engine_});
    server_->SetReady();
  }

  TestResponse Get(std::string_view headers = "") {
    return TestGet(server_->addresses()[0],
                   "/api/v1/query_range?query=%7Bn!%3D%22%22%7D&start=0.001&end=297&step=0.027",
                   headers);
  }

 private:
  static ApiOptions Options(Clock& clock) {
    ApiOptions options;
    options.clock = &clock;
    return options;
  }

  ManualClock clock_{20'000};
  FakeStorage storage_;
  promql::Engine engine_{{.worker_threads = 3}, clock_};
  Api api_{Options(clock_)};
  Router router_;
  std::unique_ptr<HttpServer> server_;
};

size_t Count(std::string_view text, std::string_view of) {
  size_t count = 0;
  for (size_t at = 0; (at = text.find(of, at)) != std::string_view::npos; ++at) ++count;
  return count;
}

TEST_CASE("api: answers of up to 8 MiB have a length, longer ones come in pieces") {
  // Eleven thousand values of some 17 bytes each.
  for (const int series : {1, 44, 45}) {
    CAPTURE(series);
    QueryFixture fixture(series);
    TestResponse response = fixture.Get();
    REQUIRE(response.status == 200);
    if (series <= 44) {
      CHECK(response.headers["content-length"] == std::to_string(response.body.size()));
      CHECK(response.headers.count("transfer-encoding") == 0);
    } else {
      CHECK(response.headers["transfer-encoding"] == "chunked");
    }
    CHECK(Count(response.body, R"("metric":{"n":")") == static_cast<size_t>(series));
    // Several threads write parts of it: in order, with commas between and around nothing else.
    size_t at = response.body.find(R"([{"metric":{"n":"000"},)");
    for (int i = 1; i < series && at != std::string::npos; ++i) {
      at = response.body.find(fmt::format(R"("1"]]}},{{"metric":{{"n":"{:03}"}})", i), at);
    }
    CHECK(at != std::string::npos);
    CHECK(Count(response.body, R"(,"1"])") == 11'000u * static_cast<size_t>(series));
    CHECK(response.body.ends_with(R"("1"]]}]}})"));
    if (series == 44) continue;
    CHECK(Gunzip(fixture.Get("Accept-Encoding: gzip\r\n").body) == response.body);
  }
}

}  // namespace
}  // namespace varve
