// SPDX-License-Identifier: Apache-2.0
//
// One request under way: what it goes over, what has been received, and what it becomes. A request
// that has PreparedRequest::text() goes over a plain connection, which libcurl has dialled; any
// other is libcurl's. Redirects are followed here, so that it is ours to say which credentials go
// where.
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <curl/curl.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "net/body_pool.h"
#include "net/client.h"
#include "net/content_decoder.h"
#include "net/credentials.h"
#include "net/event_loop.h"
#include "net/http1_reader.h"
#include "net/plain_connection.h"
#include "net/prepared_request.h"
#include "net/received_body.h"

namespace varve {

// What a handle's options follow from, for a request that shares_options() and was not redirected.
struct HandleOptions {
  std::shared_ptr<const HttpClientConfig> config;
  std::chrono::nanoseconds connect_timeout{0};
  std::string proxy;
  bool operator==(const HandleOptions& other) const;
};

// A libcurl handle, and the options it was left with; none if it was reset.
struct CurlHandle {
  CURL* easy = nullptr;
  std::optional<HandleOptions> left_with;
};

// Made on any thread, then used on the loop's only.
class Transfer final : public Http1Reader::Sink {
 public:
  // `now_nanos` is when the request was started.
  Transfer(uint64_t id, std::shared_ptr<const PreparedRequest> request,
           uint64_t body_bytes_expected, HttpClient::DoneCallback done, int64_t now_nanos);
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  // The configuration and secret of the token that has to be asked for and set before Configure(),
  // or null.
  const OAuth2Config* token_config() const {
    return config_.oauth2.has_value() ? &*config_.oauth2 : nullptr;
  }
  const std::string& client_secret() const { return prepared_->credentials().client_secret; }
  void SetToken(std::string header) { token_ = std::move(header); }

  // Whether the request that is to go out next goes over a plain connection.
  bool plain() const { return !prepared_->text().empty() && !redirected_.has_value(); }
  const std::string& peer() const { return prepared_->peer(); }
  // Sends it over a connection to peer(), whose answer comes by Http1Reader::Sink.
  void Send(std::unique_ptr<PlainConnection> connection);
  PlainConnection* connection() const { return connection_.get(); }
  std::unique_ptr<PlainConnection> ReleaseConnection() { return std::move(connection_); }

  // Prepares a handle, which the transfer uses until Release(): to dial peer(), if plain(), else
  // for the request.
  absl::Status Configure(CurlHandle handle);
  // The handle given to Configure(), for another transfer, if there is one.
  CurlHandle Release();
  CURL* easy() const { return handle_.easy; }
  bool dialling() const { return easy() != nullptr && plain(); }

  // After an answer: true if it is a redirect to be followed, with nothing to go over yet. An error
  // ends the transfer.
  absl::StatusOr<bool> FollowRedirect();

  // The result, after libcurl or the plain connection ended with `code`.
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
  BodyPool* bodies = nullptr;

  uint64_t id() const { return id_; }

 private:
  static size_t OnCurlHeader(char* data, size_t size, size_t count, void* self);
  static size_t OnCurlBody(char* data, size_t size, size_t count, void* self);
  static curl_socket_t OnOpenSocket(void* self, curlsocktype purpose, curl_sockaddr* address);

  void OnHeadLine(std::string_view line) override;
  bool OnBody(std::string_view bytes) override;
  absl::Span<char> BodyRoom(size_t bytes) override;
  void OnBodyWritten(size_t bytes) override;

  void NoteBytes();
  void AcceptStatusLine(std::string_view line);
  absl::Status AcceptBody(std::string_view bytes);
  absl::Status AcceptDecoded(std::string_view bytes);
  bool Succeeded() const { return response_.status >= 200 && response_.status < 300; }
  // Before the body's first byte.
  void BeginBody();
  absl::StatusOr<ClientResponse> FinishFailed(CURLcode code);

  absl::Status ConfigureExchange();
  void ConfigureHandle();
  void ConfigureRequest();
  void ConfigureMethod();
  void ConfigureTls();
  bool IsRedirect() const;

  const HttpHop& hop() const { return redirected_.has_value() ? *redirected_ : prepared_->hop(); }

  const uint64_t id_;
  const std::shared_ptr<const PreparedRequest> prepared_;
  const ClientRequest& request_;    // Of prepared_,
  const HttpClientConfig& config_;  // and this too.
  const uint64_t body_bytes_expected_;
  const int64_t start_nanos_;
  std::string token_;

  // Of the current hop.
  std::string method_;
  std::optional<HttpHop> redirected_;
  const RequestLists* lists_ = &prepared_->lists();
  RequestLists own_lists_;
  bool send_body_ = true;
  bool send_credentials_ = true;
  int redirects_ = 0;

  // What it goes over: one of the two.
  CurlHandle handle_;
  std::unique_ptr<PlainConnection> connection_;
  char error_[CURL_ERROR_SIZE] = {};
  std::string dialled_address_;

  ClientResponse response_;  // Its body is in body_ until it is complete.
  ReceivedBody body_;
  size_t header_bytes_ = 0;  // Of libcurl: a plain connection counts them itself.
  bool headers_complete_ = false;
  std::unique_ptr<ContentDecoder> decoder_;  // If the body is encoded.
  absl::Status failure_;                     // Why a callback of ours stopped libcurl.
  int64_t last_byte_nanos_;
};

}  // namespace varve
