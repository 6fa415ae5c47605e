// SPDX-License-Identifier: Apache-2.0
//
// One request under way: its libcurl handle, what has been received, and what it becomes. A
// redirect is followed by using the handle again, so that it is ours to say which credentials go
// where.
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <curl/curl.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "net/client.h"
#include "net/credentials.h"
#include "net/event_loop.h"

namespace varve {

// Made on any thread, then used on the loop's only.
class Transfer {
 public:
  // `now_nanos` is when the request was started. `user_agent` must outlive the transfer.
  Transfer(uint64_t id, ClientRequest request, HttpClient::DoneCallback done, int64_t now_nanos);
  ~Transfer();
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  // Reads the credential files and checks the request. Any thread, before everything else.
  absl::Status Resolve();

  // The configuration and secret of the token that has to be asked for and set before Begin(), or
  // null.
  const OAuth2Config* token_config() const {
    return config_->oauth2.has_value() ? &*config_->oauth2 : nullptr;
  }
  const std::string& client_secret() const { return credentials_.client_secret; }
  void SetToken(std::string header) {
    credentials_.headers.emplace_back("Authorization", std::move(header));
  }

  // Prepares `easy`, which the transfer uses until Release(), for the first request.
  absl::Status Begin(CURL* easy, const std::string& user_agent);
  // The handle given to Begin(), reset, or null.
  CURL* Release();
  CURL* easy() const { return easy_; }

  // After libcurl finished with CURLE_OK: true if the answer is a redirect to be followed, for
  // which the handle is then prepared. An error ends the transfer.
  absl::StatusOr<bool> FollowRedirect();

  // The result after libcurl finished with `code`.
  absl::StatusOr<ClientResponse> Finish(CURLcode code, int64_t now_nanos);
  // The result of a transfer that is given up because of `status`.
  absl::Status Abort(absl::Status status) const;

  // When to look at the timeouts next, and what is wrong then. kNoDeadline: never.
  static constexpr int64_t kNoDeadline = INT64_MAX;
  int64_t NextDeadline() const;
  absl::Status CheckTimeouts(int64_t now_nanos) const;

  // Set by the client, which calls it exactly once.
  HttpClient::DoneCallback done;
  TimerId timer = kNoTimer;
  Clock* clock = nullptr;  // Tells when bytes arrived.

  uint64_t id() const { return id_; }

 private:
  static size_t OnHeader(char* data, size_t size, size_t count, void* self);
  static size_t OnBody(char* data, size_t size, size_t count, void* self);
  static curl_socket_t OnOpenSocket(void* self, curlsocktype purpose, curl_sockaddr* address);

  absl::Status AcceptHeaderLine(std::string_view line);
  absl::Status AcceptBody(std::string_view bytes);

  absl::Status ParseUrl(const std::string& url);
  absl::Status Configure();
  void ConfigureMethod();
  void ConfigureTls();
  void ConfigureProxy();
  absl::Status ConfigureHeaders();
  absl::Status AppendHeader(curl_slist** list, std::string_view name, std::string_view value);
  bool IsRedirect() const;

  const uint64_t id_;
  ClientRequest request_;
  const std::shared_ptr<const HttpClientConfig> config_;
  ResolvedCredentials credentials_;
  const int64_t start_nanos_;
  const std::string* user_agent_ = nullptr;

  // Of the current hop.
  std::string method_;
  std::string url_;       // As it was asked for.
  std::string curl_url_;  // What libcurl is given: the host may be tls.server_name.
  std::string host_;
  std::string port_;
  std::string scheme_;
  bool send_body_ = true;
  bool send_credentials_ = true;
  int redirects_ = 0;

  CURL* easy_ = nullptr;
  curl_slist* header_list_ = nullptr;
  curl_slist* proxy_header_list_ = nullptr;
  curl_slist* connect_to_ = nullptr;
  char error_[CURL_ERROR_SIZE] = {};
  std::string dialled_address_;

  ClientResponse response_;
  size_t header_bytes_ = 0;
  bool headers_complete_ = false;
  absl::Status failure_;  // Why a callback of ours stopped libcurl.
  int64_t last_byte_nanos_;
};

}  // namespace varve
