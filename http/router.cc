// SPDX-License-Identifier: Apache-2.0
//
// Routes are few (about eighty), so finding one is a walk over the list.
#include "http/router.h"

namespace varve {
namespace {

std::vector<std::string_view> Split(std::string_view path) {
  std::vector<std::string_view> segments;
  if (!path.empty() && path.front() == '/') path.remove_prefix(1);
  while (true) {
    const size_t slash = path.find('/');
    segments.push_back(path.substr(0, slash));
    if (slash == std::string_view::npos) return segments;
    path.remove_prefix(slash + 1);
  }
}

bool Matches(const Router::Route& route, const std::vector<std::string_view>& path,
             std::vector<std::string>& values) {
  values.clear();
  for (size_t i = 0; i < route.segments.size(); ++i) {
    const std::string& segment = route.segments[i];
    if (segment == "*") return true;
    if (i >= path.size()) return false;
    if (!segment.empty() && segment.front() == ':') {
      std::string value;
      if (path[i].empty() || !UrlDecode(path[i], PlusSign::kLiteral, value)) return false;
      values.push_back(std::move(value));
    } else if (segment != path[i]) {
      return false;
    }
  }
  return route.segments.size() == path.size();
}

}  // namespace

void Router::Add(std::string_view method, std::string_view pattern, HttpHandler handler,
                 RouteOptions options) {
  Route route{.method = std::string(method),
              .segments = {},
              .pattern = std::string(pattern),
              .options = options,
              .handler = std::move(handler)};
  for (std::string_view segment : Split(pattern)) route.segments.emplace_back(segment);
  routes_.push_back(std::move(route));
}

void Router::AddAll(const std::vector<std::string>& methods, std::string_view pattern,
                    HttpHandler handler, RouteOptions options) {
  for (const std::string& method : methods) Add(method, pattern, handler, options);
}

const Router::Route* Router::Find(HttpRequest& request, bool* path_known) const {
  *path_known = false;
  const std::vector<std::string_view> path = Split(request.path);
  const std::string_view asked = request.method;
  const std::string_view method = asked == "HEAD" ? std::string_view("GET") : asked;
  std::vector<std::string> values;
  for (const Route& route : routes_) {
    if (!Matches(route, path, values)) continue;
    if (route.method == method) {
      request.path_values = std::move(values);
      return &route;
    }
    *path_known = true;
  }
  return nullptr;
}

}  // namespace varve
