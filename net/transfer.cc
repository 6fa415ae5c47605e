// SPDX-License-Identifier: Apache-2.0
//
// How a request becomes libcurl options, and libcurl's callbacks a response.
#include "net/transfer.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "model/status_macros.h"
#include "net/error_text.h"
#include "net/header_text.h"

namespace varve {
namespace {

constexpr long kKeepAliveSeconds = 30;

std::string AddressText(const sockaddr* address) {
  char text[INET6_ADDRSTRLEN] = {};
  if (address->sa_family == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(address);
    inet_ntop(AF_INET, &v4->sin_addr, text, sizeof text);
    return fmt::format("{}:{}", text, ntohs(v4->sin_port));
  }
  if (address->sa_family == AF_INET6) {
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(address);
    inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof text);
    return fmt::format("[{}]:{}", text, ntohs(v6->sin6_port));
  }
  return "";
}

long TlsVersionOption(const TlsConfig& tls) {
  long option = CURL_SSLVERSION_TLSv1_2;
  switch (tls.min_version) {
    case TlsVersion::kDefault:
    case TlsVersion::kTls12:
      break;
    case TlsVersion::kTls10:
      option = CURL_SSLVERSION_TLSv1_0;
      break;
    case TlsVersion::kTls11:
      option = CURL_SSLVERSION_TLSv1_1;
      break;
    case TlsVersion::kTls13:
      option = CURL_SSLVERSION_TLSv1_3;
      break;
  }
  switch (tls.max_version) {
    case TlsVersion::kDefault:
      break;
    case TlsVersion::kTls10:
      return option | CURL_SSLVERSION_MAX_TLSv1_0;
    case TlsVersion::kTls11:
      return option | CURL_SSLVERSION_MAX_TLSv1_1;
    case TlsVersion::kTls12:
      return option | CURL_SSLVERSION_MAX_TLSv1_2;
    case TlsVersion::kTls13:
      return option | CURL_SSLVERSION_MAX_TLSv1_3;
  }
  return option;
}

void SetBlob(CURL* easy, CURLoption option, const std::string& bytes) {
  curl_blob blob{};
  blob.data = const_cast<char*>(bytes.data());
  blob.len = bytes.size();
  blob.flags = CURL_BLOB_COPY;
  curl_easy_setopt(easy, option, &blob);
}

absl::Status HeadersTooLong() {
  return absl::ResourceExhaustedError(fmt::format(
      "net/http: server response headers exceeded {} bytes; aborted", kResponseHeaderBytesMax));
}

}  // namespace

bool HandleOptions::operator==(const HandleOptions& other) const {
  return connect_timeout == other.connect_timeout && proxy == other.proxy &&
         (config == other.config || *config == *other.config);
}

Transfer::Transfer(uint64_t id, std::shared_ptr<const PreparedRequest> request,
                   uint64_t body_bytes_expected, HttpClient::DoneCallback done_callback,
                   int64_t now_nanos)
    : done(std::move(done_callback)),
      id_(id),
      prepared_(std::move(request)),
      request_(prepared_->request()),
      config_(*prepared_->config()),
      body_bytes_expected_(body_bytes_expected),
      start_nanos_(now_nanos),
      method_(request_.method.empty() ? "GET" : request_.method),
      last_byte_nanos_(now_nanos) {}

void Transfer::Send(std::unique_ptr<PlainConnection> connection) {
  connection_ = std::move(connection);
  connection_->transfer = id_;
  connection_->Send(prepared_->text());
}

absl::Status Transfer::Configure(CurlHandle handle) {
  handle_ = std::move(handle);
  if (!plain()) return ConfigureExchange();
  ConfigureHandle();
  ConfigureRequest();
  curl_easy_setopt(handle_.easy, CURLOPT_CONNECT_ONLY, 1L);
  return absl::OkStatus();
}

CurlHandle Transfer::Release() {
  if (handle_.easy != nullptr && !handle_.left_with.has_value()) curl_easy_reset(handle_.easy);
  return std::exchange(handle_, {});
}

absl::Status Transfer::ConfigureExchange() {
  if (config_.oauth2.has_value() || redirected_.has_value()) {
    ASSIGN_OR_RETURN(own_lists_, BuildLists(request_, config_,
                                            {hop(), prepared_->credentials(), token_,
                                             send_credentials_, prepared_->user_agent()}));
    lists_ = &own_lists_;
  }
  if (prepared_->shares_options() && !redirected_.has_value()) {
    HandleOptions options{prepared_->config(), request_.connect_timeout, hop().proxy};
    if (handle_.left_with != options) {
      ConfigureHandle();
      handle_.left_with = std::move(options);
    }
  } else {
    ConfigureHandle();
  }
  ConfigureRequest();
  return absl::OkStatus();
}

// What every request like this one needs.
void Transfer::ConfigureHandle() {
  if (handle_.left_with.has_value()) curl_easy_reset(handle_.easy);
  handle_.left_with.reset();
  const auto set = [this](CURLoption option, auto value) {
    curl_easy_setopt(handle_.easy, option, value);
  };
  set(CURLOPT_PATH_AS_IS, 1L);
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_NOSIGNAL, 1L);
  // Without it, giving up on a transfer whose name is being looked up would wait for the look-up.
  set(CURLOPT_QUICK_EXIT, 1L);
  set(CURLOPT_TCP_KEEPALIVE, 1L);
  set(CURLOPT_TCP_KEEPIDLE, kKeepAliveSeconds);
  set(CURLOPT_TCP_KEEPINTVL, kKeepAliveSeconds);
  set(CURLOPT_BUFFERSIZE, static_cast<long>(kReceiveBytes));
  set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  set(CURLOPT_HEADERFUNCTION, &Transfer::OnCurlHeader);
  set(CURLOPT_WRITEFUNCTION, &Transfer::OnCurlBody);
  set(CURLOPT_OPENSOCKETFUNCTION, &Transfer::OnOpenSocket);
  set(CURLOPT_CONNECTTIMEOUT_MS,
      static_cast<long>(
          std::chrono::duration_cast<std::chrono::milliseconds>(request_.connect_timeout).count()));
  set(CURLOPT_HTTP_VERSION,
      static_cast<long>(config_.enable_http2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
  if (!request_.unix_socket.empty()) set(CURLOPT_UNIX_SOCKET_PATH, request_.unix_socket.c_str());
  // An empty name, unlike none, keeps libcurl from looking into the environment.
  set(CURLOPT_PROXY, hop().proxy.c_str());
  set(CURLOPT_NOPROXY, "");
  set(CURLOPT_HEADEROPT, static_cast<long>(CURLHEADER_SEPARATE));
  ConfigureMethod();
  ConfigureTls();
}

// What differs between requests that are otherwise alike.
void Transfer::ConfigureRequest() {
  const auto set = [this](CURLoption option, auto value) {
    curl_easy_setopt(handle_.easy, option, value);
  };
  set(CURLOPT_URL, hop().curl_url.c_str());
  set(CURLOPT_HTTPHEADER, lists_->headers.get());
  set(CURLOPT_PROXYHEADER, lists_->proxy_headers.get());
  set(CURLOPT_CONNECT_TO, lists_->connect_to.get());
  set(CURLOPT_PRIVATE, static_cast<void*>(this));
  set(CURLOPT_ERRORBUFFER, error_);
  set(CURLOPT_HEADERDATA, static_cast<void*>(this));
  set(CURLOPT_WRITEDATA, static_cast<void*>(this));
  set(CURLOPT_OPENSOCKETDATA, static_cast<void*>(this));
}

void Transfer::ConfigureMethod() {
  const bool has_body =
      send_body_ && (!request_.body.empty() || method_ == "POST" || method_ == "PUT");
  if (has_body) {
    curl_easy_setopt(handle_.easy, CURLOPT_POST, 1L);
    curl_easy_setopt(handle_.easy, CURLOPT_POSTFIELDSIZE_LARGE,
                     static_cast<curl_off_t>(request_.body.size()));
    curl_easy_setopt(handle_.easy, CURLOPT_POSTFIELDS, request_.body.data());
    if (method_ != "POST") curl_easy_setopt(handle_.easy, CURLOPT_CUSTOMREQUEST, method_.c_str());
    return;
  }
  curl_easy_setopt(handle_.easy, CURLOPT_HTTPGET, 1L);
  curl_easy_setopt(handle_.easy, CURLOPT_CUSTOMREQUEST, nullptr);
  if (method_ == "HEAD") {
    curl_easy_setopt(handle_.easy, CURLOPT_NOBODY, 1L);
  } else if (method_ != "GET") {
    curl_easy_setopt(handle_.easy, CURLOPT_CUSTOMREQUEST, method_.c_str());
  }
}

// Certificates go in as bytes, not as paths: libcurl keeps what it read from a path for a day, and
// compares bytes when it looks for a connection to reuse, so a rotated file takes effect at once.
void Transfer::ConfigureTls() {
  const TlsConfig& tls = config_.tls;
  const ResolvedCredentials& credentials = prepared_->credentials();
  curl_easy_setopt(handle_.easy, CURLOPT_SSLVERSION, TlsVersionOption(tls));
  curl_easy_setopt(handle_.easy, CURLOPT_SSL_VERIFYPEER, tls.insecure_skip_verify ? 0L : 1L);
  curl_easy_setopt(handle_.easy, CURLOPT_SSL_VERIFYHOST, tls.insecure_skip_verify ? 0L : 2L);
  if (!credentials.ca_pem.empty()) {
    curl_easy_setopt(handle_.easy, CURLOPT_CAPATH, nullptr);
    curl_easy_setopt(handle_.easy, CURLOPT_CAINFO, nullptr);
    SetBlob(handle_.easy, CURLOPT_CAINFO_BLOB, credentials.ca_pem);
  }
  if (send_credentials_ && !credentials.cert_pem.empty()) {
    SetBlob(handle_.easy, CURLOPT_SSLCERT_BLOB, credentials.cert_pem);
    SetBlob(handle_.easy, CURLOPT_SSLKEY_BLOB, credentials.key_pem);
  } else {
    curl_easy_setopt(handle_.easy, CURLOPT_SSLCERT_BLOB, nullptr);
    curl_easy_setopt(handle_.easy, CURLOPT_SSLKEY_BLOB, nullptr);
  }
}

// ------------------------------------------------------------------------------------- receiving

void Transfer::NoteBytes() {
  if (request_.idle_timeout.count() > 0) last_byte_nanos_ = clock->MonotonicNanos();
}

size_t Transfer::OnCurlHeader(char* data, size_t size, size_t count, void* self) {
  auto* const transfer = static_cast<Transfer*>(self);
  std::string_view line(data, size * count);
  transfer->header_bytes_ += line.size();
  if (transfer->header_bytes_ > kResponseHeaderBytesMax) {
    transfer->failure_ = HeadersTooLong();
    return 0;
  }
  while (!line.empty() && (line.back() == '\r' || line.back() == '\n')) line.remove_suffix(1);
  transfer->OnHeadLine(line);
  return size * count;
}

size_t Transfer::OnCurlBody(char* data, size_t size, size_t count, void* self) {
  const size_t bytes = size * count;
  if (bytes == 0) return 0;
  // Any other number than `bytes` ends the transfer.
  return static_cast<Transfer*>(self)->OnBody(std::string_view(data, bytes)) ? bytes : 0;
}

bool Transfer::OnBody(std::string_view bytes) {
  NoteBytes();
  failure_ = AcceptBody(bytes);
  return failure_.ok();
}

curl_socket_t Transfer::OnOpenSocket(void* self, curlsocktype /*purpose*/, curl_sockaddr* address) {
  auto* transfer = static_cast<Transfer*>(self);
  // With several addresses it is the first whose failure is told.
  if (transfer->dialled_address_.empty()) {
    transfer->dialled_address_ = AddressText(&address->addr);
  }
  return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

void Transfer::OnHeadLine(std::string_view line) {
  NoteBytes();
  if (line.substr(0, 5) == "HTTP/" && !headers_complete_) return AcceptStatusLine(line);
  if (line.empty()) {
    if (headers_complete_ || response_.status < 200) return;
    headers_complete_ = true;
    if (request_.accept_gzip) {
      decoder_ = ContentDecoder::Create(response_.Header("content-encoding"));
    }
    if (request_.on_headers && !IsRedirect()) request_.on_headers(response_);
    return;
  }
  const size_t colon = line.find(':');
  if (headers_complete_ || colon == std::string_view::npos) return;
  HttpHeader& header = response_.headers.emplace_back();
  header.name = LowerCase(line.substr(0, colon));
  header.value = Trimmed(line.substr(colon + 1));
}

// A status line begins an answer; an earlier one was informational (1xx).
void Transfer::AcceptStatusLine(std::string_view line) {
  response_.headers.clear();
  const size_t space = line.find(' ');
  const std::string_view rest = space == std::string_view::npos ? "" : line.substr(space + 1);
  response_.status = std::atoi(std::string(rest.substr(0, 3)).c_str());
  response_.reason = rest;
  if (rest.size() <= 4) {
    response_.reason = fmt::format("{} {}", response_.status, ReasonPhrase(response_.status));
  }
}

absl::Status Transfer::AcceptBody(std::string_view bytes) {
  if (decoder_ == nullptr) return AcceptDecoded(bytes);
  return decoder_->Add(bytes, [this](std::string_view decoded) { return AcceptDecoded(decoded); });
}

void Transfer::BeginBody() {
  if (!Succeeded() || body_bytes_expected_ == 0) return;
  body_ = ReceivedBody(bodies->Take(std::min(body_bytes_expected_, request_.body_bytes_max)));
}

absl::Status Transfer::AcceptDecoded(std::string_view bytes) {
  if (request_.on_data && Succeeded()) return request_.on_data(bytes);
  if (body_.size() + bytes.size() > request_.body_bytes_max) {
    return absl::ResourceExhaustedError("body size limit exceeded");
  }
  if (body_.size() == 0) BeginBody();
  body_.Append(bytes);
  return absl::OkStatus();
}

absl::Span<char> Transfer::BodyRoom(size_t bytes) {
  // What is too much is refused where all else is.
  if (decoder_ != nullptr || request_.on_data || body_.size() + bytes > request_.body_bytes_max) {
    return {};
  }
  if (body_.size() == 0) BeginBody();
  return body_.Room(bytes);
}

void Transfer::OnBodyWritten(size_t bytes) {
  NoteBytes();
  body_.Wrote(bytes);
}

// --------------------------------------------------------------------------------------- results

bool Transfer::IsRedirect() const {
  switch (response_.status) {
    case 301:
    case 302:
    case 303:
    case 307:
    case 308:
      return config_.follow_redirects && !response_.Header("location").empty();
    default:
      return false;
  }
}

absl::StatusOr<bool> Transfer::FollowRedirect() {
  if (!IsRedirect()) return false;
  if (++redirects_ > kRedirectsMax) {
    return WithRequest(
        method_, hop().url,
        absl::UnavailableError(fmt::format("stopped after {} redirects", kRedirectsMax)));
  }
  const UrlHandle url = NewUrl();
  const std::string location(response_.Header("location"));
  if (curl_url_set(url.get(), CURLUPART_URL, hop().url.c_str(), CURLU_PATH_AS_IS) != CURLUE_OK ||
      curl_url_set(url.get(), CURLUPART_URL, location.c_str(),
                   CURLU_NON_SUPPORT_SCHEME | CURLU_PATH_AS_IS) != CURLUE_OK) {
    return WithRequest(
        method_, hop().url,
        absl::UnavailableError(fmt::format("failed to parse Location header \"{}\"", location)));
  }
  if (response_.status <= 303 && method_ != "HEAD") {
    if (method_ != "GET") method_ = "GET";
    send_body_ = false;
  }
  const std::string next_url = UrlPart(url.get(), CURLUPART_URL, 0);
  absl::StatusOr<HttpHop> next = ParseHop(next_url, config_);
  if (!next.ok()) return WithRequest(method_, next_url, next.status());
  // Once the credentials have been left behind they stay behind, even on the way back.
  if (next->scheme != hop().scheme || next->host != hop().host || next->port != hop().port) {
    send_credentials_ = false;
  }
  redirected_ = *std::move(next);
  response_ = ClientResponse();
  body_.Take();
  headers_complete_ = false;
  decoder_.reset();
  header_bytes_ = 0;
  dialled_address_.clear();
  return true;
}

absl::StatusOr<ClientResponse> Transfer::Finish(CURLcode code, int64_t now_nanos) {
  if (!failure_.ok()) return std::move(failure_);
  if (code == CURLE_OK && decoder_ != nullptr) failure_ = decoder_->Finish();
  if (!failure_.ok()) return std::move(failure_);
  if (code != CURLE_OK) return FinishFailed(code);
  response_.total_time = std::chrono::nanoseconds(now_nanos - start_nanos_);
  response_.url = RedactUrl(hop().url);
  response_.body = body_.Take();
  return std::move(response_);
}

absl::StatusOr<ClientResponse> Transfer::FinishFailed(CURLcode code) {
  if (code == CURLE_FILESIZE_EXCEEDED) return HeadersTooLong();
  TransferFailure failure;
  failure.code = code;
  failure.detail = error_;
  failure.address = request_.unix_socket.empty() ? dialled_address_ : request_.unix_socket;
  failure.network = request_.unix_socket.empty() ? "tcp" : "unix";
  failure.host = hop().host;
  if (connection_ != nullptr) {
    failure.os_errno = connection_->os_errno();
  } else {
    long os_errno = 0;
    curl_easy_getinfo(handle_.easy, CURLINFO_OS_ERRNO, &os_errno);
    failure.os_errno = static_cast<int>(os_errno);
  }
  absl::Status status = StatusOfFailure(failure);
  // Once there is an answer, Go's caller reads the body itself: its errors do not name the URL.
  return headers_complete_ ? status : WithRequest(method_, hop().url, status);
}

absl::Status Transfer::Abort(absl::Status status) const {
  return headers_complete_ ? status : WithRequest(method_, hop().url, status);
}

int64_t Transfer::NextDeadline() const {
  int64_t next = kNoDeadline;
  if (request_.timeout.count() > 0) next = start_nanos_ + request_.timeout.count();
  if (request_.idle_timeout.count() > 0) {
    next = std::min(next, last_byte_nanos_ + static_cast<int64_t>(request_.idle_timeout.count()));
  }
  return next;
}

absl::Status Transfer::CheckTimeouts(int64_t now_nanos) const {
  if (now_nanos < NextDeadline()) return absl::OkStatus();
  if (request_.timeout.count() > 0 && now_nanos >= start_nanos_ + request_.timeout.count()) {
    return absl::DeadlineExceededError("context deadline exceeded");
  }
  return absl::DeadlineExceededError(fmt::format(
      "no data for {} s", std::chrono::duration<double>(request_.idle_timeout).count()));
}

}  // namespace varve
