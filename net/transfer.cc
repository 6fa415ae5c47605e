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
#include <cctype>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "model/status_macros.h"
#include "net/error_text.h"
#include "net/proxy.h"

namespace varve {
namespace {

// Bytes received at a time: most scrapes in one piece.
constexpr long kReceiveBytes = 64 << 10;
constexpr long kKeepAliveSeconds = 30;

const std::shared_ptr<const HttpClientConfig>& DefaultConfig() {
  static const auto& config =
      *new std::shared_ptr<const HttpClientConfig>(std::make_shared<const HttpClientConfig>());
  return config;
}

bool EqualsIgnoringCase(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](unsigned char x, unsigned char y) {
    return std::tolower(x) == std::tolower(y);
  });
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

// A part of a URL, or "" if it has none.
std::string UrlPart(CURLU* url, CURLUPart part, unsigned flags) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, flags) != CURLUE_OK) return "";
  std::string result(text);
  curl_free(text);
  return result;
}

using UrlHandle = std::unique_ptr<CURLU, void (*)(CURLU*)>;
UrlHandle NewUrl() { return UrlHandle(curl_url(), curl_url_cleanup); }

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

}  // namespace

Transfer::Transfer(uint64_t id, ClientRequest request, HttpClient::DoneCallback done_callback,
                   int64_t now_nanos)
    : done(std::move(done_callback)),
      id_(id),
      request_(std::move(request)),
      config_(request_.config != nullptr ? request_.config : DefaultConfig()),
      start_nanos_(now_nanos),
      method_(request_.method.empty() ? "GET" : request_.method),
      url_(request_.url),
      last_byte_nanos_(now_nanos) {}

Transfer::~Transfer() {
  curl_slist_free_all(header_list_);
  curl_slist_free_all(proxy_header_list_);
  curl_slist_free_all(connect_to_);
}

absl::Status Transfer::Resolve() {
  absl::Status status = ParseUrl(url_);
  if (status.ok()) {
    absl::StatusOr<ResolvedCredentials> resolved = ResolveCredentials(*config_);
    if (resolved.ok()) {
      credentials_ = *std::move(resolved);
      return absl::OkStatus();
    }
    status = resolved.status();
  }
  return WithRequest(method_, url_, status);
}

absl::Status Transfer::ParseUrl(const std::string& url) {
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
  scheme_ = UrlPart(handle.get(), CURLUPART_SCHEME, 0);
  host_ = UrlPart(handle.get(), CURLUPART_HOST, 0);
  port_ = UrlPart(handle.get(), CURLUPART_PORT, CURLU_DEFAULT_PORT);
  if (scheme_ != "http" && scheme_ != "https") {
    return absl::InvalidArgumentError(fmt::format("unsupported protocol scheme \"{}\"", scheme_));
  }
  curl_url_set(handle.get(), CURLUPART_FRAGMENT, nullptr, 0);
  if (!config_->tls.server_name.empty() && scheme_ == "https") {
    curl_url_set(handle.get(), CURLUPART_HOST, config_->tls.server_name.c_str(), 0);
  }
  curl_url_ = UrlPart(handle.get(), CURLUPART_URL, CURLU_PATH_AS_IS);
  return absl::OkStatus();
}

absl::Status Transfer::Begin(CURL* easy, const std::string& user_agent) {
  easy_ = easy;
  user_agent_ = &user_agent;
  return Configure();
}

CURL* Transfer::Release() {
  if (easy_ != nullptr) curl_easy_reset(easy_);
  return std::exchange(easy_, nullptr);
}

absl::Status Transfer::Configure() {
  const auto set = [this](CURLoption option, auto value) {
    curl_easy_setopt(easy_, option, value);
  };
  set(CURLOPT_URL, curl_url_.c_str());
  set(CURLOPT_PATH_AS_IS, 1L);
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_NOSIGNAL, 1L);
  // Without it, giving up on a transfer whose name is being looked up would wait for the look-up.
  set(CURLOPT_QUICK_EXIT, 1L);
  set(CURLOPT_TCP_KEEPALIVE, 1L);
  set(CURLOPT_TCP_KEEPIDLE, kKeepAliveSeconds);
  set(CURLOPT_TCP_KEEPINTVL, kKeepAliveSeconds);
  set(CURLOPT_BUFFERSIZE, kReceiveBytes);
  set(CURLOPT_PRIVATE, static_cast<void*>(this));
  set(CURLOPT_ERRORBUFFER, error_);
  set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  set(CURLOPT_HEADERFUNCTION, &Transfer::OnHeader);
  set(CURLOPT_HEADERDATA, static_cast<void*>(this));
  set(CURLOPT_WRITEFUNCTION, &Transfer::OnBody);
  set(CURLOPT_WRITEDATA, static_cast<void*>(this));
  set(CURLOPT_OPENSOCKETFUNCTION, &Transfer::OnOpenSocket);
  set(CURLOPT_OPENSOCKETDATA, static_cast<void*>(this));
  set(CURLOPT_CONNECTTIMEOUT_MS,
      static_cast<long>(
          std::chrono::duration_cast<std::chrono::milliseconds>(request_.connect_timeout).count()));
  set(CURLOPT_ACCEPT_ENCODING, request_.accept_gzip ? "gzip" : nullptr);
  set(CURLOPT_HTTP_VERSION,
      static_cast<long>(config_->enable_http2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
  if (!request_.unix_socket.empty()) set(CURLOPT_UNIX_SOCKET_PATH, request_.unix_socket.c_str());
  ConfigureMethod();
  ConfigureTls();
  ConfigureProxy();
  return ConfigureHeaders();
}

void Transfer::ConfigureMethod() {
  const bool has_body =
      send_body_ && (!request_.body.empty() || method_ == "POST" || method_ == "PUT");
  if (has_body) {
    curl_easy_setopt(easy_, CURLOPT_POST, 1L);
    curl_easy_setopt(easy_, CURLOPT_POSTFIELDSIZE_LARGE,
                     static_cast<curl_off_t>(request_.body.size()));
    curl_easy_setopt(easy_, CURLOPT_POSTFIELDS, request_.body.data());
    if (method_ != "POST") curl_easy_setopt(easy_, CURLOPT_CUSTOMREQUEST, method_.c_str());
    return;
  }
  curl_easy_setopt(easy_, CURLOPT_HTTPGET, 1L);
  curl_easy_setopt(easy_, CURLOPT_CUSTOMREQUEST, nullptr);
  if (method_ == "HEAD") {
    curl_easy_setopt(easy_, CURLOPT_NOBODY, 1L);
  } else if (method_ != "GET") {
    curl_easy_setopt(easy_, CURLOPT_CUSTOMREQUEST, method_.c_str());
  }
}

// Certificates go in as bytes, not as paths: libcurl keeps what it read from a path for a day, and
// compares bytes when it looks for a connection to reuse, so a rotated file takes effect at once.
void Transfer::ConfigureTls() {
  const TlsConfig& tls = config_->tls;
  curl_easy_setopt(easy_, CURLOPT_SSLVERSION, TlsVersionOption(tls));
  curl_easy_setopt(easy_, CURLOPT_SSL_VERIFYPEER, tls.insecure_skip_verify ? 0L : 1L);
  curl_easy_setopt(easy_, CURLOPT_SSL_VERIFYHOST, tls.insecure_skip_verify ? 0L : 2L);
  if (!credentials_.ca_pem.empty()) {
    curl_easy_setopt(easy_, CURLOPT_CAPATH, nullptr);
    curl_easy_setopt(easy_, CURLOPT_CAINFO, nullptr);
    SetBlob(easy_, CURLOPT_CAINFO_BLOB, credentials_.ca_pem);
  }
  if (send_credentials_ && !credentials_.cert_pem.empty()) {
    SetBlob(easy_, CURLOPT_SSLCERT_BLOB, credentials_.cert_pem);
    SetBlob(easy_, CURLOPT_SSLKEY_BLOB, credentials_.key_pem);
  } else {
    curl_easy_setopt(easy_, CURLOPT_SSLCERT_BLOB, nullptr);
    curl_easy_setopt(easy_, CURLOPT_SSLKEY_BLOB, nullptr);
  }
  // libcurl takes the name to check from the URL, so the URL holds server_name, and the connection
  // is sent back to the host that was asked for.
  curl_slist_free_all(std::exchange(connect_to_, nullptr));
  if (!tls.server_name.empty() && scheme_ == "https") {
    connect_to_ = curl_slist_append(
        nullptr, fmt::format("{}:{}:{}:{}", tls.server_name, port_, host_, port_).c_str());
  }
  curl_easy_setopt(easy_, CURLOPT_CONNECT_TO, connect_to_);
}

void Transfer::ConfigureProxy() {
  const std::string proxy =
      ProxyFor(config_->proxy, scheme_, host_, port_,
               [](const char* name) -> const char* { return std::getenv(name); });
  // An empty name, unlike none, keeps libcurl from looking into the environment.
  curl_easy_setopt(easy_, CURLOPT_PROXY, proxy.c_str());
  curl_easy_setopt(easy_, CURLOPT_NOPROXY, "");
}

absl::Status Transfer::AppendHeader(curl_slist** list, std::string_view name,
                                    std::string_view value) {
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
  *list = curl_slist_append(*list, line.c_str());
  return absl::OkStatus();
}

absl::Status Transfer::ConfigureHeaders() {
  curl_slist_free_all(std::exchange(header_list_, nullptr));
  curl_slist_free_all(std::exchange(proxy_header_list_, nullptr));
  const auto given = [this](std::string_view name) {
    return std::any_of(
        request_.headers.begin(), request_.headers.end(),
        [name](const HttpHeader& header) { return EqualsIgnoringCase(header.name, name); });
  };
  const auto is_secret = [](std::string_view name) {
    return EqualsIgnoringCase(name, "authorization") || EqualsIgnoringCase(name, "cookie");
  };
  for (const HttpHeader& header : request_.headers) {
    if (!send_credentials_ && is_secret(header.name)) continue;
    RETURN_IF_ERROR(AppendHeader(&header_list_, header.name, header.value));
  }
  // What the configuration adds may be secret under any name.
  if (send_credentials_) {
    for (const auto& [name, value] : credentials_.headers) {
      if (!given(name)) RETURN_IF_ERROR(AppendHeader(&header_list_, name, value));
    }
  }
  if (!given("user-agent")) {
    RETURN_IF_ERROR(AppendHeader(&header_list_, "User-Agent", *user_agent_));
  }
  if (!given("accept")) header_list_ = curl_slist_append(header_list_, "Accept:");
  if (!given("content-type")) header_list_ = curl_slist_append(header_list_, "Content-Type:");
  header_list_ = curl_slist_append(header_list_, "Expect:");
  if (connect_to_ != nullptr && !given("host")) {
    const bool default_port = port_ == "443";
    RETURN_IF_ERROR(AppendHeader(&header_list_, "Host",
                                 default_port ? host_ : fmt::format("{}:{}", host_, port_)));
  }
  curl_easy_setopt(easy_, CURLOPT_HTTPHEADER, header_list_);
  // For a tunnel only: a proxy that is asked for the page itself would hand them on.
  if (scheme_ == "https") {
    for (const auto& [name, value] : credentials_.proxy_connect_headers) {
      RETURN_IF_ERROR(AppendHeader(&proxy_header_list_, name, value));
    }
  }
  curl_easy_setopt(easy_, CURLOPT_HEADEROPT, static_cast<long>(CURLHEADER_SEPARATE));
  curl_easy_setopt(easy_, CURLOPT_PROXYHEADER, proxy_header_list_);
  return absl::OkStatus();
}

// ------------------------------------------------------------------------------------- receiving

size_t Transfer::OnHeader(char* data, size_t size, size_t count, void* self) {
  auto* transfer = static_cast<Transfer*>(self);
  transfer->last_byte_nanos_ = transfer->clock->MonotonicNanos();
  const size_t bytes = size * count;
  transfer->failure_ = transfer->AcceptHeaderLine(std::string_view(data, bytes));
  return transfer->failure_.ok() ? bytes : 0;
}

size_t Transfer::OnBody(char* data, size_t size, size_t count, void* self) {
  auto* transfer = static_cast<Transfer*>(self);
  transfer->last_byte_nanos_ = transfer->clock->MonotonicNanos();
  const size_t bytes = size * count;
  transfer->failure_ = transfer->AcceptBody(std::string_view(data, bytes));
  if (transfer->failure_.ok()) return bytes;
  return bytes == 0 ? 1 : 0;  // Any other number than `bytes` ends the transfer.
}

curl_socket_t Transfer::OnOpenSocket(void* self, curlsocktype /*purpose*/, curl_sockaddr* address) {
  auto* transfer = static_cast<Transfer*>(self);
  // With several addresses it is the first whose failure is told.
  if (transfer->dialled_address_.empty()) {
    transfer->dialled_address_ = AddressText(&address->addr);
  }
  return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

absl::Status Transfer::AcceptHeaderLine(std::string_view line) {
  header_bytes_ += line.size();
  if (header_bytes_ > kResponseHeaderBytesMax) {
    return absl::ResourceExhaustedError(fmt::format(
        "net/http: server response headers exceeded {} bytes; aborted", kResponseHeaderBytesMax));
  }
  while (!line.empty() && (line.back() == '\r' || line.back() == '\n')) line.remove_suffix(1);
  // A status line begins an answer; an earlier one was informational (1xx).
  if (line.substr(0, 5) == "HTTP/" && !headers_complete_) {
    response_.headers.clear();
    const size_t space = line.find(' ');
    const std::string_view rest =
        space == std::string_view::npos ? std::string_view() : line.substr(space + 1);
    response_.status = std::atoi(std::string(rest.substr(0, 3)).c_str());
    response_.reason = rest;
    if (rest.size() <= 4) {
      response_.reason = fmt::format("{} {}", response_.status, ReasonPhrase(response_.status));
    }
    return absl::OkStatus();
  }
  if (line.empty()) {
    if (headers_complete_ || response_.status < 200) return absl::OkStatus();
    headers_complete_ = true;
    if (request_.on_headers && !IsRedirect()) request_.on_headers(response_);
    return absl::OkStatus();
  }
  const size_t colon = line.find(':');
  if (headers_complete_ || colon == std::string_view::npos) return absl::OkStatus();
  HttpHeader header;
  header.name = line.substr(0, colon);
  std::transform(header.name.begin(), header.name.end(), header.name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  std::string_view value = line.substr(colon + 1);
  while (!value.empty() && (value.front() == ' ' || value.front() == '\t')) value.remove_prefix(1);
  while (!value.empty() && (value.back() == ' ' || value.back() == '\t')) value.remove_suffix(1);
  header.value = value;
  response_.headers.push_back(std::move(header));
  return absl::OkStatus();
}

absl::Status Transfer::AcceptBody(std::string_view bytes) {
  const bool success = response_.status >= 200 && response_.status < 300;
  if (request_.on_data && success) return request_.on_data(bytes);
  if (response_.body.size() + bytes.size() > request_.body_bytes_max) {
    return absl::ResourceExhaustedError("body size limit exceeded");
  }
  if (response_.body.empty() && success) {
    response_.body.reserve(std::min(request_.body_bytes_expected, request_.body_bytes_max));
  }
  response_.body.append(bytes);
  return absl::OkStatus();
}

// --------------------------------------------------------------------------------------- results

bool Transfer::IsRedirect() const {
  switch (response_.status) {
    case 301:
    case 302:
    case 303:
    case 307:
    case 308:
      return config_->follow_redirects && !response_.Header("location").empty();
    default:
      return false;
  }
}

absl::StatusOr<bool> Transfer::FollowRedirect() {
  if (!IsRedirect()) return false;
  if (++redirects_ > kRedirectsMax) {
    return WithRequest(
        method_, url_,
        absl::UnavailableError(fmt::format("stopped after {} redirects", kRedirectsMax)));
  }
  const UrlHandle url = NewUrl();
  const std::string location(response_.Header("location"));
  if (curl_url_set(url.get(), CURLUPART_URL, url_.c_str(), CURLU_PATH_AS_IS) != CURLUE_OK ||
      curl_url_set(url.get(), CURLUPART_URL, location.c_str(),
                   CURLU_NON_SUPPORT_SCHEME | CURLU_PATH_AS_IS) != CURLUE_OK) {
    return WithRequest(
        method_, url_,
        absl::UnavailableError(fmt::format("failed to parse Location header \"{}\"", location)));
  }
  const std::string before = fmt::format("{}://{}:{}", scheme_, host_, port_);
  if (response_.status <= 303 && method_ != "HEAD") {
    if (method_ != "GET") method_ = "GET";
    send_body_ = false;
  }
  url_ = UrlPart(url.get(), CURLUPART_URL, 0);
  absl::Status status = ParseUrl(url_);
  if (status.ok()) {
    // Once the credentials have been left behind they stay behind, even on the way back.
    if (fmt::format("{}://{}:{}", scheme_, host_, port_) != before) send_credentials_ = false;
    response_ = ClientResponse();
    headers_complete_ = false;
    header_bytes_ = 0;
    dialled_address_.clear();
    status = Configure();
  }
  if (!status.ok()) return WithRequest(method_, url_, status);
  return true;
}

absl::StatusOr<ClientResponse> Transfer::Finish(CURLcode code, int64_t now_nanos) {
  if (!failure_.ok()) return std::move(failure_);
  if (code != CURLE_OK) {
    TransferFailure failure;
    failure.code = code;
    failure.detail = error_;
    failure.address = request_.unix_socket.empty() ? dialled_address_ : request_.unix_socket;
    failure.network = request_.unix_socket.empty() ? "tcp" : "unix";
    failure.host = host_;
    long os_errno = 0;
    curl_easy_getinfo(easy_, CURLINFO_OS_ERRNO, &os_errno);
    failure.os_errno = static_cast<int>(os_errno);
    absl::Status status = StatusOfFailure(failure);
    // Once there is an answer, Go's caller reads the body itself: its errors do not name the URL.
    return headers_complete_ ? status : WithRequest(method_, url_, status);
  }
  curl_off_t connect_us = 0;
  curl_off_t first_byte_us = 0;
  curl_easy_getinfo(easy_, CURLINFO_APPCONNECT_TIME_T, &connect_us);
  if (connect_us == 0) curl_easy_getinfo(easy_, CURLINFO_CONNECT_TIME_T, &connect_us);
  curl_easy_getinfo(easy_, CURLINFO_STARTTRANSFER_TIME_T, &first_byte_us);
  response_.connect_time = std::chrono::microseconds(connect_us);
  response_.first_byte_time = std::chrono::microseconds(first_byte_us);
  response_.total_time = std::chrono::nanoseconds(now_nanos - start_nanos_);
  response_.url = RedactUrl(url_);
  return std::move(response_);
}

absl::Status Transfer::Abort(absl::Status status) const {
  return headers_complete_ ? status : WithRequest(method_, url_, status);
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
