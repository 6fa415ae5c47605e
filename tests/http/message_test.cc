// SPDX-License-Identifier: Apache-2.0
//
// Goal: parameters and escapes as browsers and Go's clients send them.
#include "http/message.h"

#include <doctest/doctest.h>

#include <string>

#include "http/gzip.h"
#include "http/router.h"
#include "model/percent_encoding.h"
#include "tests/http/test_client.h"

namespace varve {
namespace {

TEST_CASE("form: pairs in order, names repeat, blanks and escapes") {
  HttpParams params;
  REQUIRE(ParseUrlEncoded("a=1&b=x%20y+z&a=2&&c&d=&e=%3D%26", params));
  CHECK(params.Get("a") == "1");
  CHECK(params.All("a") == std::vector<std::string>{"1", "2"});
  CHECK(params.Get("b") == "x y z");
  CHECK(params.Has("c"));
  CHECK(params.Get("c").empty());
  CHECK(params.Get("e") == "=&");
  CHECK_FALSE(params.Has("f"));
  CHECK(params.pairs().size() == 6);
}

TEST_CASE("form: malformed escapes and too many pairs are refused") {
  for (const char* bad : {"a=%", "a=%4", "a=%4g", "%zz=1"}) {
    CAPTURE(bad);
    HttpParams params;
    CHECK_FALSE(ParseUrlEncoded(bad, params));
  }
  std::string many;
  for (size_t i = 0; i < kFormParamsMax; ++i) many += "a&";
  HttpParams at_limit;
  CHECK(ParseUrlEncoded(many, at_limit));
  CHECK(at_limit.pairs().size() == kFormParamsMax);
  HttpParams past_limit;
  CHECK_FALSE(ParseUrlEncoded(many + "a", past_limit));
}

TEST_CASE("url: encoding and decoding are each other's inverse") {
  std::string all;
  for (int i = 0; i < 256; ++i) all.push_back(static_cast<char>(i));
  std::string back;
  REQUIRE(UrlDecode(PercentEncoded(all), PlusSign::kBlank, back));
  CHECK(back == all);
  std::string plus;
  REQUIRE(UrlDecode("a+b", PlusSign::kLiteral, plus));
  CHECK(plus == "a+b");
}

TEST_CASE("headers: found in any case") {
  HttpRequest request;
  request.headers = {{"Content-TYPE", "text/plain"}};
  CHECK(request.Header("content-type") == "text/plain");
  CHECK(request.Header("accept").empty());
}

TEST_CASE("router: earlier routes win, rests match the rest") {
  Router router;
  const HttpHandler none = [](const HttpRequest&, HttpResponse&) {};
  router.Add("GET", "/a/:x", none);
  router.Add("GET", "/a/b", none);
  router.Add("GET", "/files/*", none);
  router.Add("POST", "/p", none);
  const auto find = [&](std::string_view method, std::string_view path) -> std::string {
    HttpRequest request;
    request.method = method;
    request.path = path;
    bool known = false;
    const Router::Route* route = router.Find(request, &known);
    return route != nullptr ? route->pattern : known ? "known" : "none";
  };
  CHECK(find("GET", "/a/b") == "/a/:x");
  CHECK(find("HEAD", "/a/b") == "/a/:x");
  CHECK(find("GET", "/a/") == "none");
  CHECK(find("GET", "/a/b/c") == "none");
  CHECK(find("GET", "/files/x/y") == "/files/*");
  CHECK(find("GET", "/p") == "known");
  CHECK(find("POST", "/p") == "/p");
}

TEST_CASE("gzip: what is accepted, and pieces come back whole") {
  CHECK(AcceptsGzip("gzip"));
  CHECK(AcceptsGzip("br, deflate;q=0.5, gzip;q=0.1"));
  CHECK(AcceptsGzip("*"));
  CHECK_FALSE(AcceptsGzip(""));
  CHECK_FALSE(AcceptsGzip("br"));
  CHECK_FALSE(AcceptsGzip("gzip;q=0"));
  CHECK_FALSE(AcceptsGzip("gzip; q=0.0, br"));
  std::string packed;
  std::string plain;
  GzipStream gzip;
  for (int i = 0; i < 5000; ++i) {
    const std::string piece = "piece " + std::to_string(i * 7919) + ";";
    plain += piece;
    gzip.Add(piece, packed);
  }
  gzip.Finish(packed);
  CHECK(Gunzip(packed) == plain);
}

}  // namespace
}  // namespace varve
