// SPDX-License-Identifier: Apache-2.0
//
// The console: one page for every UI route, and its files. Files whose name carries a hash never
// change and may be kept for ever; the rest is asked for again with its ETag.
#include <string>
#include <string_view>

#include "http/api_context.h"
#include "http/assets.h"

namespace varve {
namespace {

constexpr std::string_view kNotBuilt =
    "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Varve</title>\n"
    "<body><h1>The console is not part of this binary</h1>\n"
    "<p>It was built without the web console. <code>./dev build</code> builds both.</p>\n"
    "<p>The API is served below <a href=\"api/v1/status/buildinfo\">api/v1</a>, metrics at "
    "<a href=\"metrics\">metrics</a>.</p></body></html>\n";

constexpr std::string_view kPages[] = {
    "/query",   "/alerts",      "/rules", "/targets", "/service-discovery",
    "/status",  "/config",      "/flags", "/agent",   "/alertmanager-discovery",
    "/explore", "/tsdb-status",
};

const Asset* FindAsset(std::string_view path) {
  const AssetTable table = ConsoleAssets();
  for (size_t i = 0; i < table.count; ++i) {
    if (table.entries[i].path == path) return &table.entries[i];
  }
  return nullptr;
}

struct ContentType {
  std::string_view extension;
  std::string_view type;
};
constexpr ContentType kContentTypes[] = {
    {".html", "text/html; charset=utf-8"},
    {".js", "text/javascript; charset=utf-8"},
    {".css", "text/css; charset=utf-8"},
    {".svg", "image/svg+xml"},
    {".json", "application/json"},
    {".ico", "image/x-icon"},
    {".png", "image/png"},
    {".woff2", "font/woff2"},
    {".woff", "font/woff"},
    {".txt", "text/plain; charset=utf-8"},
};

std::string_view TypeOf(std::string_view path) {
  for (const ContentType& item : kContentTypes) {
    if (path.ends_with(item.extension)) return item.type;
  }
  return "application/octet-stream";
}

void ServeAsset(const Asset& asset, const HttpRequest& request, HttpResponse& response) {
  const std::string etag = "\"" + std::string(asset.etag) + "\"";
  const bool hashed = asset.path.starts_with("/assets/");
  response.SetHeader("ETag", etag);
  response.SetHeader("Cache-Control", hashed ? "public, max-age=31536000, immutable" : "no-cache");
  if (request.Header("If-None-Match") == etag) {
    response.status = 304;
    return;
  }
  response.SetHeader("X-Content-Type-Options", "nosniff");
  response.content_type = TypeOf(asset.path);
  response.body = asset.bytes;
}

void ServePage(const HttpRequest& request, HttpResponse& response) {
  const Asset* index = FindAsset("/index.html");
  if (index != nullptr) return ServeAsset(*index, request, response);
  response.content_type = "text/html; charset=utf-8";
  response.body = kNotBuilt;
}

void ServeFile(const HttpRequest& request, HttpResponse& response) {
  std::string path;
  const Asset* asset =
      UrlDecode(request.path, PlusSign::kLiteral, path) ? FindAsset(path) : nullptr;
  if (asset == nullptr) return response.SetText(404, "404 page not found\n");
  ServeAsset(*asset, request, response);
}

}  // namespace

void AddConsoleRoutes(ApiContext& context, Router& router) {
  const auto redirect = [&context](const HttpRequest& request, HttpResponse& response) {
    std::string target = context.options.route_prefix + "/query";
    if (!request.query.empty()) target += "?" + request.query;
    response.status = 302;
    response.SetHeader("Location", target);
  };
  router.Add("GET", "/", redirect);
  router.Add("GET", "/graph", redirect);
  for (std::string_view page : kPages) router.Add("GET", page, ServePage);
  const AssetTable table = ConsoleAssets();
  for (size_t i = 0; i < table.count; ++i) {
    const std::string_view path = table.entries[i].path;
    if (path != "/index.html" && !path.starts_with("/assets/")) {
      router.Add("GET", path, ServeFile);
    }
  }
  router.Add("GET", "/assets/*", ServeFile);
}

}  // namespace varve
