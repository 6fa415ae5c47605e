// SPDX-License-Identifier: Apache-2.0
//
// Checks of an HTTP client configuration, and the reading of the files it names.
#include "net/credentials.h"

#include <absl/strings/escaping.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "model/status_macros.h"
#include "net/header_text.h"

namespace varve {
namespace {

// Headers a configuration may not set, since the client or the protocol decides about them.
constexpr std::array<std::string_view, 15> kReservedHeaders = {
    "accept-encoding",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "user-agent",
    "www-authenticate",
    "x-prometheus-remote-read-version",
    "x-prometheus-remote-write-version",
    "x-prometheus-scrape-timeout-seconds",
};

absl::Status Invalid(std::string_view message) {
  return absl::InvalidArgumentError(std::string(message));
}

absl::StatusOr<std::string> ReadSecretFile(const std::string& path) {
  absl::StatusOr<std::string> contents = ReadCredentialFile(path);
  if (contents.ok()) return contents;
  return absl::Status(contents.status().code(), fmt::format("unable to read file {}: {}", path,
                                                            MessageOf(contents.status())));
}

absl::Status Prefixed(const absl::Status& status, std::string_view what) {
  return absl::Status(status.code(), fmt::format("{}: {}", what, MessageOf(status)));
}

// `inline_text`, or the contents of `file`, or "".
absl::StatusOr<std::string> InlineOrFile(const std::string& inline_text, const std::string& file,
                                         std::string_view what) {
  if (file.empty()) return inline_text;
  absl::StatusOr<std::string> contents = ReadSecretFile(file);
  if (!contents.ok()) return Prefixed(contents.status(), what);
  return contents;
}

absl::Status AppendHeaders(const std::vector<HttpHeaderConfig>& configs,
                           std::vector<std::pair<std::string, std::string>>& out) {
  for (const HttpHeaderConfig& config : configs) {
    for (const std::string& value : config.values) out.emplace_back(config.name, value);
    for (const Secret& secret : config.secrets) out.emplace_back(config.name, secret.Reveal());
    for (const std::string& file : config.files) {
      ASSIGN_OR_RETURN(
          const std::string contents,
          InlineOrFile("", file, fmt::format("unable to read header {}", config.name)));
      out.emplace_back(config.name, Trimmed(contents));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> BasicAuthorization(const BasicAuthConfig& basic) {
  ASSIGN_OR_RETURN(std::string username, InlineOrFile(basic.username, basic.username_file,
                                                      "unable to read basic auth username"));
  ASSIGN_OR_RETURN(std::string password, InlineOrFile(basic.password.Reveal(), basic.password_file,
                                                      "unable to read basic auth password"));
  if (!basic.username_file.empty()) username = Trimmed(username);
  if (!basic.password_file.empty()) password = Trimmed(password);
  return "Basic " + absl::Base64Escape(username + ":" + password);
}

absl::Status ValidateBasicAuth(const BasicAuthConfig& basic) {
  if (!basic.username.empty() && !basic.username_file.empty()) {
    return Invalid("at most one of basic_auth username & username_file must be configured");
  }
  if (!basic.password.empty() && !basic.password_file.empty()) {
    return Invalid("at most one of basic_auth password & password_file must be configured");
  }
  return absl::OkStatus();
}

absl::Status ValidateAuthorization(const AuthorizationConfig& authorization) {
  if (!authorization.credentials.empty() && !authorization.credentials_file.empty()) {
    return Invalid(
        "at most one of authorization credentials & credentials_file must be configured");
  }
  if (LowerCase(Trimmed(authorization.type)) == "basic") {
    return Invalid(R"(authorization type cannot be set to "basic", use "basic_auth" instead)");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status TlsConfig::Validate() const {
  if (!ca.empty() && !ca_file.empty()) {
    return Invalid("at most one of ca and ca_file must be configured");
  }
  if (!cert.empty() && !cert_file.empty()) {
    return Invalid("at most one of cert and cert_file must be configured");
  }
  if (!key.empty() && !key_file.empty()) {
    return Invalid("at most one of key and key_file must be configured");
  }
  const bool has_cert = !cert.empty() || !cert_file.empty();
  const bool has_key = !key.empty() || !key_file.empty();
  if (has_cert && !has_key) {
    return Invalid(
        "exactly one of key or key_file must be configured when a client certificate is "
        "configured");
  }
  if (has_key && !has_cert) {
    return Invalid(
        "exactly one of cert or cert_file must be configured when a client key is configured");
  }
  if (min_version != TlsVersion::kDefault && max_version != TlsVersion::kDefault &&
      min_version > max_version) {
    return Invalid(
        "tls_config.max_version must be greater than or equal to tls_config.min_version");
  }
  return absl::OkStatus();
}

absl::Status ProxyConfig::Validate() const {
  if (proxy_from_environment && !proxy_url.empty()) {
    return Invalid("if proxy_from_environment is configured, proxy_url must not be configured");
  }
  if (proxy_from_environment && !no_proxy.empty()) {
    return Invalid("if proxy_from_environment is configured, no_proxy must not be configured");
  }
  if (!no_proxy.empty() && proxy_url.empty()) {
    return Invalid("if no_proxy is configured, proxy_url must also be configured");
  }
  if (!proxy_connect_headers.empty() && !proxy_from_environment && proxy_url.empty()) {
    return Invalid(
        "if proxy_connect_header is configured, proxy_url or proxy_from_environment must also be "
        "configured");
  }
  return absl::OkStatus();
}

absl::Status OAuth2Config::Validate() const {
  if (client_id.empty()) return Invalid("oauth2 client_id must be configured");
  if (token_url.empty()) return Invalid("oauth2 token_url must be configured");
  if (!client_secret.empty() && !client_secret_file.empty()) {
    return Invalid("at most one of oauth2 client_secret & client_secret_file must be configured");
  }
  RETURN_IF_ERROR(tls.Validate());
  return proxy.Validate();
}

absl::Status HttpClientConfig::Validate() const {
  if (static_cast<int>(basic_auth.has_value()) + static_cast<int>(authorization.has_value()) +
          static_cast<int>(oauth2.has_value()) >
      1) {
    return Invalid("at most one of basic_auth, oauth2 & authorization must be configured");
  }
  if (oauth2) RETURN_IF_ERROR(oauth2->Validate());
  if (basic_auth) RETURN_IF_ERROR(ValidateBasicAuth(*basic_auth));
  if (authorization) RETURN_IF_ERROR(ValidateAuthorization(*authorization));
  RETURN_IF_ERROR(tls.Validate());
  RETURN_IF_ERROR(proxy.Validate());
  for (const HttpHeaderConfig& header : http_headers) {
    if (std::find(kReservedHeaders.begin(), kReservedHeaders.end(), LowerCase(header.name)) !=
        kReservedHeaders.end()) {
      return Invalid(fmt::format("setting header \"{}\" is not allowed", header.name));
    }
  }
  return absl::OkStatus();
}

std::string HttpClientConfig::ToString() const {
  std::string out = "{";
  const auto add = [&out](std::string_view name, std::string_view value) {
    if (value.empty()) return;
    out += fmt::format("{}{}: {}", out.size() > 1 ? ", " : "", name, value);
  };
  if (basic_auth) {
    add("basic_auth.username", basic_auth->username);
    add("basic_auth.username_file", basic_auth->username_file);
    add("basic_auth.password", basic_auth->password.ToString());
    add("basic_auth.password_file", basic_auth->password_file);
  }
  if (authorization) {
    add("authorization.type", authorization->type);
    add("authorization.credentials", authorization->credentials.ToString());
    add("authorization.credentials_file", authorization->credentials_file);
  }
  if (oauth2) {
    add("oauth2.client_id", oauth2->client_id);
    add("oauth2.client_secret", oauth2->client_secret.ToString());
    add("oauth2.client_secret_file", oauth2->client_secret_file);
    add("oauth2.token_url", RedactUrl(oauth2->token_url));
  }
  add("tls.ca", tls.ca.empty() ? "" : "<inline>");
  add("tls.ca_file", tls.ca_file);
  add("tls.cert", tls.cert.empty() ? "" : "<inline>");
  add("tls.cert_file", tls.cert_file);
  add("tls.key", tls.key.ToString());
  add("tls.key_file", tls.key_file);
  add("tls.server_name", tls.server_name);
  if (tls.insecure_skip_verify) add("tls.insecure_skip_verify", "true");
  add("proxy_url", RedactUrl(proxy.proxy_url));
  add("no_proxy", proxy.no_proxy);
  if (!follow_redirects) add("follow_redirects", "false");
  if (!enable_http2) add("enable_http2", "false");
  for (const HttpHeaderConfig& header : http_headers) add("http_headers", header.name);
  return out + "}";
}

absl::StatusOr<ResolvedCredentials> ResolveCredentials(const HttpClientConfig& config) {
  ResolvedCredentials resolved;
  RETURN_IF_ERROR(AppendHeaders(config.http_headers, resolved.headers));
  RETURN_IF_ERROR(
      AppendHeaders(config.proxy.proxy_connect_headers, resolved.proxy_connect_headers));
  if (config.basic_auth) {
    ASSIGN_OR_RETURN(std::string value, BasicAuthorization(*config.basic_auth));
    resolved.headers.emplace_back("Authorization", std::move(value));
  }
  if (config.authorization) {
    const AuthorizationConfig& authorization = *config.authorization;
    ASSIGN_OR_RETURN(
        const std::string credentials,
        InlineOrFile(authorization.credentials.Reveal(), authorization.credentials_file,
                     "unable to read authorization credentials"));
    const std::string_view type = Trimmed(authorization.type);
    resolved.headers.emplace_back(
        "Authorization",
        fmt::format("{} {}", type.empty() ? "Bearer" : type, Trimmed(credentials)));
  }
  if (config.oauth2) {
    ASSIGN_OR_RETURN(std::string secret, InlineOrFile(config.oauth2->client_secret.Reveal(),
                                                      config.oauth2->client_secret_file,
                                                      "unable to read oauth2 client secret"));
    resolved.client_secret = config.oauth2->client_secret_file.empty() ? secret : Trimmed(secret);
  }
  const TlsConfig& tls = config.tls;
  ASSIGN_OR_RETURN(resolved.ca_pem, InlineOrFile(tls.ca, tls.ca_file, "unable to read CA cert"));
  ASSIGN_OR_RETURN(resolved.cert_pem,
                   InlineOrFile(tls.cert, tls.cert_file, "unable to read specified client cert"));
  ASSIGN_OR_RETURN(resolved.key_pem, InlineOrFile(tls.key.Reveal(), tls.key_file,
                                                  "unable to read specified client key"));
  return resolved;
}

absl::StatusOr<std::string> ReadCredentialFile(const std::string& path) {
  const auto failed = [&path](int error) {
    std::string reason = std::strerror(error);
    reason[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(reason[0])));
    return absl::Status(absl::ErrnoToStatusCode(error), fmt::format("open {}: {}", path, reason));
  };
  const std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen(path.c_str(), "re"), std::fclose);
  if (file == nullptr) return failed(errno);
  std::string contents;
  char buffer[4096];
  for (;;) {
    const size_t bytes = std::fread(buffer, 1, sizeof buffer, file.get());
    contents.append(buffer, bytes);
    if (contents.size() > kCredentialFileBytesMax) {
      return absl::ResourceExhaustedError(
          fmt::format("open {}: larger than {} bytes", path, kCredentialFileBytesMax));
    }
    if (bytes < sizeof buffer) break;
  }
  if (std::ferror(file.get()) != 0) return failed(errno);
  return contents;
}

std::string RedactUrl(std::string_view url) {
  const size_t scheme = url.find("://");
  if (scheme == std::string_view::npos) return std::string(url);
  const size_t authority = scheme + 3;
  const std::string_view rest =
      url.substr(authority, url.find_first_of("/?#", authority) - authority);
  const size_t at = rest.rfind('@');
  if (at == std::string_view::npos) return std::string(url);
  const size_t colon = rest.substr(0, at).find(':');
  if (colon == std::string_view::npos) return std::string(url);
  return fmt::format("{}:***{}", url.substr(0, authority + colon), url.substr(authority + at));
}

}  // namespace varve
