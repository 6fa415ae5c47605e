// SPDX-License-Identifier: Apache-2.0
//
// What of a request can be known before it is sent.
#include "net/prepared_request.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <utility>

#include "model/status_macros.h"
#include "net/error_text.h"
#include "net/header_text.h"
#include "net/proxy.h"

namespace varve {
namespace {

const std::shared_ptr<const HttpClientConfig>& DefaultConfig() {
  static const auto& config =
      *new std::shared_ptr<const HttpClientConfig>(std::make_shared<const HttpClientConfig>());
  return config;
}

bool IsHeaderName(std::string_view name) {
  constexpr std::string_view kPunctuation = "!#$%&'*+-.^_`|~";
  return !name.empty() && std::all_of(name.begin(), name.end(), [&](unsigned char c) {
    return std::isalnum(c) != 0 ||
           kPunctuation.find(static_cast<char>(c)) != std::string_view::npos;
  });
}

bool IsHeaderValue(std::string_view value) {
  return std::none_of(value.begin(), value.end(),
                      [](unsigned char c) { return (c < 0x20 && c != '\t') || c == 0x7f; });
}

void AppendLine(CurlList& list, const std::string& line) {
  list.reset(curl_slist_append(list.release(), line.c_str()));
}

absl::Status AppendHeader(CurlList& list, std::string_view name, std::string_view value) {
  if (!IsHeaderName(name)) {
    return absl::InvalidArgumentError(
        fmt::format("net/http: invalid header field name \"{}\"", name));
  }
  if (!IsHeaderValue(value)) {
    return absl::InvalidArgumentError(
        fmt::format("net/http: invalid header field value for \"{}\"", name));
  }
  // "Name;" is libcurl's way of sending a header without a value; "Name:" would remove it.
  const std::string line =
      value.empty() ? fmt::format("{};", name) : fmt::format("{}: {}", name, value);
  AppendLine(list, line);
  return absl::OkStatus();
}

// A header line as it is sent, of one that libcurl is given; empty for one that is left out.
std::string SentLine(std::string_view line) {
  if (line.back() == ':') return "";
  std::string sent(line);
  if (sent.back() == ';') sent.back() = ':';
  return sent + "\r\n";
}

std::string HostHeader(const HttpHop& hop) {
  const std::string_view default_port = hop.scheme == "https" ? "443" : "80";
  return hop.port == default_port ? hop.host : fmt::format("{}:{}", hop.host, hop.port);
}

// What is behind the host.
std::string TargetOf(const HttpHop& hop) {
  const std::string_view url = hop.curl_url;
  const size_t authority = url.find("://") + 3;
  const size_t end = std::min(url.find_first_of("/?", authority), url.size());
  const std::string_view target = url.substr(end);
  return target.empty() || target.front() == '?' ? fmt::format("/{}", target) : std::string(target);
}

std::string RequestText(const HttpHop& hop, const RequestLists& lists) {
  std::string text = fmt::format("GET {} HTTP/1.1\r\n", TargetOf(hop));
  bool names_host = false;
  for (const curl_slist* item = lists.headers.get(); item != nullptr; item = item->next) {
    const std::string_view line = item->data;
    names_host |= EqualsIgnoringCase(line.substr(0, 5), "host:");
    text += SentLine(line);
  }
  if (!names_host) text.insert(text.find("\r\n") + 2, fmt::format("Host: {}\r\n", HostHeader(hop)));
  return text + "\r\n";
}

}  // namespace

UrlHandle NewUrl() { return UrlHandle(curl_url(), curl_url_cleanup); }

std::string UrlPart(CURLU* url, CURLUPart part, unsigned flags) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, flags) != CURLUE_OK) return "";
  std::string result(text);
  curl_free(text);
  return result;
}

absl::StatusOr<HttpHop> ParseHop(const std::string& url, const HttpClientConfig& config) {
  const UrlHandle handle = NewUrl();
  const CURLUcode code = curl_url_set(handle.get(), CURLUPART_URL, url.c_str(),
                                      CURLU_NON_SUPPORT_SCHEME | CURLU_PATH_AS_IS);
  if (code == CURLUE_BAD_PORT_NUMBER) {
    const size_t colon = url.find_last_of(':');
    return absl::InvalidArgumentError(
        fmt::format("dial tcp: address {}: invalid port",
                    url.substr(colon + 1, url.find_first_of("/?#", colon) - colon - 1)));
  }
  if (code == CURLUE_BAD_SCHEME) {
    return absl::InvalidArgumentError(R"(unsupported protocol scheme "")");
  }
  if (code != CURLUE_OK) {
    return absl::InvalidArgumentError(fmt::format("invalid URL: {}", curl_url_strerror(code)));
  }
  HttpHop hop;
  hop.url = url;
  hop.scheme = UrlPart(handle.get(), CURLUPART_SCHEME, 0);
  hop.host = UrlPart(handle.get(), CURLUPART_HOST, 0);
  hop.port = UrlPart(handle.get(), CURLUPART_PORT, CURLU_DEFAULT_PORT);
  hop.has_user = !UrlPart(handle.get(), CURLUPART_USER, 0).empty();
  if (hop.scheme != "http" && hop.scheme != "https") {
    return absl::InvalidArgumentError(
        fmt::format("unsupported protocol scheme \"{}\"", hop.scheme));
  }
  curl_url_set(handle.get(), CURLUPART_FRAGMENT, nullptr, 0);
  if (!config.tls.server_name.empty() && hop.scheme == "https") {
    curl_url_set(handle.get(), CURLUPART_HOST, config.tls.server_name.c_str(), 0);
  }
  hop.curl_url = UrlPart(handle.get(), CURLUPART_URL, CURLU_PATH_AS_IS);
  hop.proxy = ProxyFor(config.proxy, hop.scheme, hop.host, hop.port,
                       [](const char* name) -> const char* { return std::getenv(name); });
  return hop;
}

absl::StatusOr<RequestLists> BuildLists(const ClientRequest& request,
                                        const HttpClientConfig& config,
                                        const HeaderContext& context) {
  RequestLists lists;
  const HttpHop& hop = context.hop;
  const bool secure = hop.scheme == "https";
  // libcurl takes the name to check from the URL, so the URL holds server_name, and the connection
  // is sent back to the host that was asked for.
  const std::string& server_name = config.tls.server_name;
  if (secure && !server_name.empty()) {
    AppendLine(lists.connect_to,
               fmt::format("{}:{}:{}:{}", server_name, hop.port, hop.host, hop.port));
  }
  const auto given = [&request](std::string_view name) {
    return std::any_of(
        request.headers.begin(), request.headers.end(),
        [name](const HttpHeader& header) { return EqualsIgnoringCase(header.name, name); });
  };
  const auto is_secret = [](std::string_view name) {
    return EqualsIgnoringCase(name, "authorization") || EqualsIgnoringCase(name, "cookie");
  };
  for (const HttpHeader& header : request.headers) {
    if (!context.send_credentials && is_secret(header.name)) continue;
    RETURN_IF_ERROR(AppendHeader(lists.headers, header.name, header.value));
  }
  // What the configuration adds may be secret under any name.
  if (context.send_credentials) {
    for (const auto& [name, value] : context.credentials.headers) {
      if (!given(name)) RETURN_IF_ERROR(AppendHeader(lists.headers, name, value));
    }
  }
  if (context.send_credentials && !context.token.empty() && !given("authorization")) {
    RETURN_IF_ERROR(AppendHeader(lists.headers, "Authorization", context.token));
  }
  if (!given("user-agent")) {
    RETURN_IF_ERROR(AppendHeader(lists.headers, "User-Agent", context.user_agent));
  }
  // Decoded by Transfer.
  if (request.accept_gzip && !given("accept-encoding")) {
    AppendLine(lists.headers, "Accept-Encoding: gzip");
  }
  if (!given("accept")) AppendLine(lists.headers, "Accept:");
  if (!given("content-type")) AppendLine(lists.headers, "Content-Type:");
  AppendLine(lists.headers, "Expect:");
  if (lists.connect_to != nullptr && !given("host")) {
    RETURN_IF_ERROR(AppendHeader(lists.headers, "Host", HostHeader(hop)));
  }
  // For a tunnel only: a proxy that is asked for the page itself would hand them on.
  if (secure) {
    for (const auto& [name, value] : context.credentials.proxy_connect_headers) {
      RETURN_IF_ERROR(AppendHeader(lists.proxy_headers, name, value));
    }
  }
  return lists;
}

PreparedRequest::PreparedRequest(ClientRequest request, const std::string& user_agent)
    : request_(std::move(request)),
      config_(request_.config != nullptr ? request_.config : DefaultConfig()),
      user_agent_(user_agent) {}

absl::StatusOr<std::shared_ptr<const PreparedRequest>> PreparedRequest::Create(
    ClientRequest request, const std::string& user_agent) {
  const std::shared_ptr<PreparedRequest> prepared(
      new PreparedRequest(std::move(request), user_agent));
  const ClientRequest& asked = prepared->request_;
  const HttpClientConfig& config = *prepared->config_;
  const auto failed = [&](const absl::Status& status) {
    return WithRequest(asked.method.empty() ? "GET" : asked.method, asked.url, status);
  };
  absl::StatusOr<HttpHop> hop = ParseHop(asked.url, config);
  if (!hop.ok()) return failed(hop.status());
  prepared->hop_ = *std::move(hop);
  absl::StatusOr<ResolvedCredentials> credentials = ResolveCredentials(config);
  if (!credentials.ok()) return failed(credentials.status());
  prepared->credentials_ = *std::move(credentials);
  if (!config.oauth2.has_value()) {
    absl::StatusOr<RequestLists> lists =
        BuildLists(asked, config, {prepared->hop_, prepared->credentials_, "", true, user_agent});
    if (!lists.ok()) return failed(lists.status());
    prepared->lists_ = *std::move(lists);
  }
  const ResolvedCredentials& read = prepared->credentials_;
  prepared->shares_options_ = (asked.method.empty() || asked.method == "GET") &&
                              asked.body.empty() && asked.unix_socket.empty() &&
                              read.ca_pem.empty() && read.cert_pem.empty() &&
                              prepared->lists_.connect_to == nullptr;
  const HttpHop& target = prepared->hop_;
  const bool direct = prepared->shares_options_ && target.scheme == "http" &&
                      target.proxy.empty() && !target.has_user && !config.oauth2.has_value();
  if (direct) {
    prepared->text_ = RequestText(target, prepared->lists_);
    prepared->peer_ = fmt::format("{}:{}", target.host, target.port);
  }
  return std::shared_ptr<const PreparedRequest>(prepared);
}

}  // namespace varve
