// SPDX-License-Identifier: Apache-2.0
//
// What an HTTP handler receives and gives back: plain values, free of the server's library.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace varve {

// Named values in the order they came; a name may repeat. Names are case-sensitive.
class HttpParams {
 public:
  void Add(std::string name, std::string value);
  // Moves the pairs of `other` behind those here.
  void Append(HttpParams other);

  // The first value of `name`, or "" if there is none.
  std::string_view Get(std::string_view name) const;
  bool Has(std::string_view name) const;
  std::vector<std::string> All(std::string_view name) const;
  const std::vector<std::pair<std::string, std::string>>& pairs() const { return pairs_; }

 private:
  std::vector<std::pair<std::string, std::string>> pairs_;
};

// The most parameters one request may have.
inline constexpr size_t kFormParamsMax = 20000;

// Reads `a=1&b=x%20y+z` into `params`. False if an escape is malformed or there are more than
// kFormParamsMax pairs; pairs before it are kept.
bool ParseUrlEncoded(std::string_view text, HttpParams& params);

// Decodes %XX (and '+' as a blank if `plus_is_blank`) onto the end of `out`; false if an escape is
// malformed.
enum class PlusSign { kLiteral, kBlank };
bool UrlDecode(std::string_view text, PlusSign plus, std::string& out);

struct HttpRequest {
  std::string method;
  std::string path;   // Still escaped, the route prefix cut off: "/api/v1/query".
  std::string query;  // What follows the question mark, still escaped.
  std::string remote_address;
  std::vector<std::pair<std::string, std::string>> headers;
  HttpParams params;                     // Of the URL, then of a form body.
  std::vector<std::string> path_values;  // Decoded, one for each `:name` of the route.
  std::string body;                      // Of a request that is no form.
  // Set once the client has gone away; never null while a handler runs.
  const std::atomic<bool>* cancelled = nullptr;

  // The first header of that name (any case), or "".
  std::string_view Header(std::string_view name) const;
};

// Receives a body piece by piece; false once the client cannot be reached any more.
using BodySink = std::function<bool(std::string_view piece)>;

struct HttpResponse {
  int status = 200;
  std::string content_type;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  // If set, produces the body instead of `body`, once, after the headers have been sent.
  std::function<void(const BodySink& sink)> stream;
  size_t stream_bytes = 0;  // How many bytes it produces; 0 if that is not known before.
  // The body is compressed already, or not worth it.
  bool no_compression = false;

  void SetHeader(std::string name, std::string value);
  void SetText(int new_status, std::string text);
};

using HttpHandler = std::function<void(const HttpRequest& request, HttpResponse& response)>;

}  // namespace varve
