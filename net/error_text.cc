// SPDX-License-Identifier: Apache-2.0
//
// The table from libcurl's codes to texts and status codes.
#include "net/error_text.h"

#include <absl/strings/cord.h>
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <utility>

#include "model/labels.h"
#include "model/status_macros.h"
#include "net/client.h"
#include "net/credentials.h"

namespace varve {
namespace {

constexpr char kConnectionRefusedPayload[] = "varve/connection-refused";

std::string ErrnoText(int error) {
  switch (error) {
    case ECONNREFUSED:
      return "connection refused";
    case ECONNRESET:
      return "connection reset by peer";
    case EADDRNOTAVAIL:
      return "cannot assign requested address";
    default: {
      std::string text = std::strerror(error);
      text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
      return text;
    }
  }
}

bool Contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

absl::Status DialError(const TransferFailure& failure) {
  const std::string reason =
      failure.os_errno != 0 ? ErrnoText(failure.os_errno) : std::string("connection failed");
  const std::string_view call =
      failure.os_errno == EMFILE || failure.os_errno == ENFILE ? "socket" : "connect";
  absl::Status status = absl::UnavailableError(
      fmt::format("dial {} {}: {}: {}", failure.network, failure.address, call, reason));
  if (failure.os_errno == ECONNREFUSED) {
    status.SetPayload(kConnectionRefusedPayload, absl::Cord("1"));
  }
  return status;
}

// OpenSSL's reason, as libcurl gives it after a colon, in the words of Go's crypto/x509.
std::string VerificationText(const TransferFailure& failure) {
  const std::string_view detail = failure.detail;
  if (Contains(detail, "no alternative certificate subject name matches") ||
      Contains(detail, "does not match target host name")) {
    return fmt::format("x509: certificate is not valid for {}", failure.host);
  }
  if (Contains(detail, "expired")) return "x509: certificate has expired or is not yet valid";
  if (Contains(detail, "not yet valid")) return "x509: certificate has expired or is not yet valid";
  if (Contains(detail, "self-signed certificate") || Contains(detail, "self signed certificate") ||
      Contains(detail, "unable to get local issuer certificate")) {
    return "x509: certificate signed by unknown authority";
  }
  return fmt::format("x509: {}", detail);
}

absl::Status TlsError(const TransferFailure& failure) {
  if (Contains(failure.detail, "wrong version number") ||
      Contains(failure.detail, "packet length too long")) {
    return absl::UnavailableError("http: server gave HTTP response to HTTPS client");
  }
  return absl::UnavailableError(fmt::format("tls: {}", failure.detail));
}

absl::Status BrokenConnection(const TransferFailure& failure, std::string_view operation) {
  const std::string reason =
      failure.os_errno != 0 ? ErrnoText(failure.os_errno) : std::string("connection reset by peer");
  return absl::UnavailableError(
      fmt::format("{} {}: {}: {}", operation, failure.network, operation, reason));
}

}  // namespace

absl::Status StatusOfFailure(const TransferFailure& failure) {
  switch (failure.code) {
    case CURLE_COULDNT_RESOLVE_HOST:
      return absl::UnavailableError(fmt::format("dial tcp: lookup {}: no such host", failure.host));
    case CURLE_COULDNT_RESOLVE_PROXY:
      return absl::UnavailableError(
          "proxyconnect tcp: dial tcp: lookup of the proxy: no such host");
    case CURLE_COULDNT_CONNECT:
      return DialError(failure);
    case CURLE_OPERATION_TIMEDOUT:
      if (failure.address.empty()) {
        return absl::DeadlineExceededError(
            fmt::format("dial tcp: lookup {}: i/o timeout", failure.host));
      }
      return absl::DeadlineExceededError(
          fmt::format("dial {} {}: i/o timeout", failure.network, failure.address));
    case CURLE_GOT_NOTHING:
      return absl::UnavailableError("EOF");
    case CURLE_PARTIAL_FILE:
      return absl::UnavailableError("unexpected EOF");
    case CURLE_RECV_ERROR:
      return BrokenConnection(failure, "read");
    case CURLE_SEND_ERROR:
      return BrokenConnection(failure, "write");
    case CURLE_PEER_FAILED_VERIFICATION:
      return absl::UnauthenticatedError(
          fmt::format("tls: failed to verify certificate: {}", VerificationText(failure)));
    case CURLE_SSL_CONNECT_ERROR:
      return TlsError(failure);
    case CURLE_SSL_CACERT_BADFILE:
      return absl::InvalidArgumentError("unable to use specified CA cert");
    case CURLE_SSL_CERTPROBLEM:
      return absl::InvalidArgumentError("unable to use specified client cert and key");
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_UNSUPPORTED_PROTOCOL:  // A scheme was checked before: this is "HTTP/0.9".
      return absl::UnavailableError(
          "net/http: HTTP/1.x transport connection broken: malformed HTTP response");
    default:
      return absl::UnavailableError(fmt::format(
          "{}", failure.detail.empty() ? std::string_view(curl_easy_strerror(failure.code))
                                       : failure.detail));
  }
}

absl::Status WithRequest(std::string_view method, std::string_view url,
                         const absl::Status& status) {
  std::string operation(method.empty() ? "GET" : method);
  std::transform(operation.begin() + 1, operation.end(), operation.begin() + 1,
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  absl::Status result(status.code(), fmt::format("{} {}: {}", operation, Quoted(RedactUrl(url)),
                                                 MessageOf(status)));
  status.ForEachPayload([&result](absl::string_view type, const absl::Cord& payload) {
    result.SetPayload(type, payload);
  });
  return result;
}

std::string_view ReasonPhrase(int status) {
  struct Phrase {
    int status;
    std::string_view text;
  };
  static constexpr Phrase kPhrases[] = {
      {200, "OK"},
      {201, "Created"},
      {202, "Accepted"},
      {204, "No Content"},
      {206, "Partial Content"},
      {301, "Moved Permanently"},
      {302, "Found"},
      {303, "See Other"},
      {304, "Not Modified"},
      {307, "Temporary Redirect"},
      {308, "Permanent Redirect"},
      {400, "Bad Request"},
      {401, "Unauthorized"},
      {403, "Forbidden"},
      {404, "Not Found"},
      {405, "Method Not Allowed"},
      {406, "Not Acceptable"},
      {408, "Request Timeout"},
      {409, "Conflict"},
      {410, "Gone"},
      {413, "Request Entity Too Large"},
      {415, "Unsupported Media Type"},
      {422, "Unprocessable Entity"},
      {429, "Too Many Requests"},
      {500, "Internal Server Error"},
      {501, "Not Implemented"},
      {502, "Bad Gateway"},
      {503, "Service Unavailable"},
      {504, "Gateway Timeout"},
  };
  for (const Phrase& phrase : kPhrases) {
    if (phrase.status == status) return phrase.text;
  }
  return "";
}

bool IsConnectionRefused(const absl::Status& status) {
  return status.GetPayload(kConnectionRefusedPayload).has_value();
}

}  // namespace varve
