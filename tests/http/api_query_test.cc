// SPDX-License-Identifier: Apache-2.0
//
// Goal: how answers of queries are sent: shorter ones with their length, large ones in pieces, and
// both whole.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <memory>
#include <string>

#include "http/api.h"
#include "http/server.h"
#include "promql/engine.h"
#include "tests/http/fake_storage.h"
#include "tests/http/test_client.h"

namespace varve {
namespace {

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
