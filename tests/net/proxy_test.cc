// SPDX-License-Identifier: Apache-2.0
//
// Goal: the choice of a proxy is Go's. Method: a table of hosts and exceptions.
#include "net/proxy.h"

#include <doctest/doctest.h>

#include <map>
#include <string>
#include <vector>

namespace varve {
namespace {

constexpr std::string_view kProxy = "http://proxy:3128";

TEST_CASE("proxy: exceptions") {
  struct Case {
    const char* exceptions;
    const char* host;
    const char* port;
    bool proxied;
  };
  const std::vector<Case> cases = {
      {"", "127.0.0.1", "80", true},  // Without exceptions there is none.
      {"x", "127.0.0.1", "80", false},
      {"x", "127.8.9.1", "80", false},
      {"x", "localhost", "80", false},
      {"x", "[::1]", "80", false},
      {"x", "a.test", "80", true},
      {"*", "a.test", "80", false},
      {"a.test", "a.test", "80", false},
      {"a.test", "A.TEST", "80", false},
      {"a.test", "b.a.test", "80", false},
      {"a.test", "ba.test", "80", true},
      {".a.test", "b.a.test", "80", false},
      {".a.test", "a.test", "80", true},
      {"*.a.test", "b.a.test", "80", false},
      {"x, a.test ,y", "a.test", "80", false},
      {"a.test:81", "a.test", "80", true},
      {"a.test:81", "a.test", "81", false},
      {"10.0.0.0/8", "10.255.0.1", "80", false},
      {"10.0.0.0/8", "11.0.0.1", "80", true},
      {"10.0.0.0/8", "10.test", "80", true},
      {"10.0.0.0/33", "10.0.0.1", "80", true},
      {"10.0.0.0/x", "10.0.0.1", "80", true},
      {"10.0.0.1", "10.0.0.1", "80", false},
      {"10.0.0.1", "10.0.0.2", "80", true},
      {"10.0.0.1:81", "10.0.0.1", "80", true},
      {"fd00::/16", "[fd00::5]", "80", false},
      {"fd00::/16", "[fe00::5]", "80", true},
      {"fd00::5", "[fd00:0::5]", "80", false},
      {"[fd00::5]:81", "[fd00::5]", "81", false},
      {"[fd00::5]:81", "[fd00::5]", "80", true},
      {",,", "a.test", "80", true},
      {":80", "a.test", "80", true},
  };
  for (const Case& c : cases) {
    CAPTURE(c.exceptions);
    CAPTURE(c.host);
    const ProxyConfig config{.proxy_url = std::string(kProxy), .no_proxy = c.exceptions};
    const std::string proxy = ProxyFor(config, "http", c.host, c.port,
                                       [](const char*) -> const char* { return "http://wrong"; });
    CHECK((proxy == kProxy) == c.proxied);
    CHECK((proxy.empty() || proxy == kProxy));
  }
}

TEST_CASE("proxy: from the environment, only when told to") {
  std::map<std::string, std::string> environment = {
      {"HTTP_PROXY", "http://a"}, {"https_proxy", "http://b"}, {"no_proxy", "c.test"}};
  const auto get = [&](const char* name) -> const char* {
    const auto found = environment.find(name);
    return found == environment.end() ? nullptr : found->second.c_str();
  };
  CHECK(ProxyFor({}, "http", "h", "80", get).empty());
  const ProxyConfig config{.proxy_from_environment = true};
  CHECK(ProxyFor(config, "http", "h", "80", get) == "http://a");
  CHECK(ProxyFor(config, "https", "h", "443", get) == "http://b");
  CHECK(ProxyFor(config, "http", "c.test", "80", get).empty());
  CHECK(ProxyFor(config, "http", "127.0.0.1", "80", get).empty());
  environment.clear();
  CHECK(ProxyFor(config, "http", "h", "80", get).empty());
}

}  // namespace
}  // namespace varve
