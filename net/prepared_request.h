// SPDX-License-Identifier: Apache-2.0
//
// A request made ready to be sent, once or again and again: its URL taken apart, its credential
// files read, its header lines built.
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <curl/curl.h>

#include <memory>
#include <string>

#include "net/client.h"
#include "net/credentials.h"

namespace varve {

struct FreeCurlList {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using CurlList = std::unique_ptr<curl_slist, FreeCurlList>;

// Where a request goes.
struct HttpHop {
  std::string url;       // As it was asked for.
  std::string curl_url;  // What libcurl is given: the host may be tls.server_name.
  std::string scheme;    // "http" or "https"
  std::string host;
  std::string port;
  std::string proxy;      // Empty: none.
  bool has_user = false;  // The URL brings credentials.
};
// InvalidArgument, in Go's words, for a URL that is none.
absl::StatusOr<HttpHop> ParseHop(const std::string& url, const HttpClientConfig& config);

// A part of a URL, or "" if it has none.
std::string UrlPart(CURLU* url, CURLUPart part, unsigned flags);
using UrlHandle = std::unique_ptr<CURLU, void (*)(CURLU*)>;
UrlHandle NewUrl();

// What libcurl is given as lists.
struct RequestLists {
  CurlList headers;
  CurlList proxy_headers;
  CurlList connect_to;
};

// What decides about header lines beside the request.
struct HeaderContext {
  const HttpHop& hop;
  const ResolvedCredentials& credentials;
  std::string_view token;  // The value of an Authorization header, if not empty.
  bool send_credentials;   // Not once a redirect has left the host they are for.
  std::string_view user_agent;
};
// InvalidArgument for a header that is none.
absl::StatusOr<RequestLists> BuildLists(const ClientRequest& request,
                                        const HttpClientConfig& config,
                                        const HeaderContext& context);

// Immutable, thread-safe.
class PreparedRequest {
 public:
  // Reads the credential files; errors name method and URL. `user_agent` must outlive it.
  static absl::StatusOr<std::shared_ptr<const PreparedRequest>> Create(
      ClientRequest request, const std::string& user_agent);

  const ClientRequest& request() const { return request_; }
  const std::shared_ptr<const HttpClientConfig>& config() const { return config_; }
  const ResolvedCredentials& credentials() const { return credentials_; }
  const HttpHop& hop() const { return hop_; }
  const std::string& user_agent() const { return user_agent_; }
  // Without a token: null if there has to be one.
  const RequestLists& lists() const { return lists_; }
  // Whether but for the proxy all of libcurl's options follow from the configuration and
  // connect_timeout.
  bool shares_options() const { return shares_options_; }
  // The request as HTTP/1.1 spells it, if it can go over a PlainConnection; else empty. Its peer.
  const std::string& text() const { return text_; }
  const std::string& peer() const { return peer_; }

 private:
  PreparedRequest(ClientRequest request, const std::string& user_agent);

  const ClientRequest request_;
  const std::shared_ptr<const HttpClientConfig> config_;
  const std::string& user_agent_;
  ResolvedCredentials credentials_;
  HttpHop hop_;
  RequestLists lists_;
  bool shares_options_ = false;
  std::string text_;
  std::string peer_;
};

}  // namespace varve
