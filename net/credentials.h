// SPDX-License-Identifier: Apache-2.0
//
// How a client of ours presents itself and reaches a server: the HTTP client fields of Prometheus'
// configuration (credentials, TLS, proxy, redirects, extra headers). Files are read anew for every
// request.
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "net/secret.h"
#include "net/tls.h"

namespace varve {

// The longest credential, certificate or header file that is read.
inline constexpr size_t kCredentialFileBytesMax = 1 << 20;

struct BasicAuthConfig {
  std::string username;
  std::string username_file;
  Secret password;
  std::string password_file;
  friend bool operator==(const BasicAuthConfig&, const BasicAuthConfig&) = default;
};

// `bearer_token` and `bearer_token_file` are this with the type left at Bearer.
struct AuthorizationConfig {
  std::string type = "Bearer";
  Secret credentials;
  std::string credentials_file;
  friend bool operator==(const AuthorizationConfig&, const AuthorizationConfig&) = default;
};

// One entry of `http_headers`; `secrets` and `files` follow `values` on the wire.
struct HttpHeaderConfig {
  std::string name;
  std::vector<std::string> values;
  std::vector<Secret> secrets;
  std::vector<std::string> files;
  friend bool operator==(const HttpHeaderConfig&, const HttpHeaderConfig&) = default;
};

struct ProxyConfig {
  std::string proxy_url;  // May hold a password: shown only through RedactUrl().
  std::string no_proxy;   // Hosts that are reached directly, see ProxyFor().
  bool proxy_from_environment = false;
  std::vector<HttpHeaderConfig> proxy_connect_headers;

  // InvalidArgument, in Prometheus' words, if fields contradict each other.
  absl::Status Validate() const;

  friend bool operator==(const ProxyConfig&, const ProxyConfig&) = default;
};

// The grant `client_credentials`: a token is asked for at `token_url`, used as bearer token until
// shortly before it expires, and shared by all requests with an equal configuration.
struct OAuth2Config {
  std::string client_id;
  Secret client_secret;
  std::string client_secret_file;
  std::vector<std::string> scopes;
  std::string token_url;
  std::vector<std::pair<std::string, std::string>> endpoint_params;
  TlsConfig tls;
  ProxyConfig proxy;

  absl::Status Validate() const;

  friend bool operator==(const OAuth2Config&, const OAuth2Config&) = default;
};

struct HttpClientConfig {
  std::optional<BasicAuthConfig> basic_auth;
  std::optional<AuthorizationConfig> authorization;
  std::optional<OAuth2Config> oauth2;
  TlsConfig tls;
  ProxyConfig proxy;
  bool follow_redirects = true;
  bool enable_http2 = true;
  std::vector<HttpHeaderConfig> http_headers;

  // InvalidArgument, in Prometheus' words, if fields contradict each other.
  absl::Status Validate() const;

  // One line for logs; secrets are `<secret>`.
  std::string ToString() const;

  friend bool operator==(const HttpClientConfig&, const HttpClientConfig&) = default;
};

// A configuration with every file read: what one request needs.
struct ResolvedCredentials {
  // Authorization among them, if any. Secret: never logged.
  std::vector<std::pair<std::string, std::string>> headers;
  std::vector<std::pair<std::string, std::string>> proxy_connect_headers;
  std::string ca_pem;    // Empty: the system's.
  std::string cert_pem;  // Empty: none.
  std::string key_pem;
  std::string client_secret;  // Of oauth2.
};

// Reads the files of `config`. The errors name the file and are in Prometheus' words
// ("unable to read authorization credentials: unable to read file /x: open /x: no such file ...").
absl::StatusOr<ResolvedCredentials> ResolveCredentials(const HttpClientConfig& config);

// The contents of `path`, at most kCredentialFileBytesMax. NotFound, PermissionDenied or
// ResourceExhausted with "open PATH: reason".
absl::StatusOr<std::string> ReadCredentialFile(const std::string& path);

// `url` with its password replaced by `***`, as Go's HTTP errors print it.
std::string RedactUrl(std::string_view url);

}  // namespace varve
