// SPDX-License-Identifier: Apache-2.0
//
// Which handler answers a method and a path.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "http/message.h"

namespace varve {

// The largest form body (that of Go's form parser).
inline constexpr size_t kFormBytesMax = 10 << 20;

struct RouteOptions {
  // Answers 503 until the server is ready.
  bool gated = false;
  // A longer body answers 413.
  size_t body_bytes_max = kFormBytesMax;
};

// Fill it before the server starts; reading is thread-safe then.
class Router {
 public:
  struct Route {
    std::string method;
    std::vector<std::string> segments;
    std::string pattern;
    RouteOptions options;
    HttpHandler handler;
  };

  // `pattern` is a path whose segments are literal, `:name` (one segment, decoded into
  // path_values) or, last, `*` (the rest, not decoded). Routes added earlier win.
  // GET also answers HEAD.
  void Add(std::string_view method, std::string_view pattern, HttpHandler handler,
           RouteOptions options = {});
  // The same handler for several methods.
  void AddAll(const std::vector<std::string>& methods, std::string_view pattern,
              HttpHandler handler, RouteOptions options = {});

  // The route of `request`, whose path_values are filled in, or null. `*path_known` says whether
  // the path has a route for another method.
  const Route* Find(HttpRequest& request, bool* path_known) const;

 private:
  std::vector<Route> routes_;
};

}  // namespace varve
