// SPDX-License-Identifier: Apache-2.0
//
// The file that --web.config.file names: TLS and authentication of a server, in the format of
// Prometheus' exporters.
#pragma once

#include <absl/status/statusor.h>

#include <string>
#include <utility>
#include <vector>

#include "net/secret.h"
#include "net/tls.h"

namespace varve {

enum class TlsClientAuth { kNone, kRequest, kRequireAny, kVerifyIfGiven, kRequireAndVerify };

struct WebConfig {
  bool tls = false;  // Whether there is TLS at all.
  std::string cert_pem;
  Secret key_pem;
  std::string client_ca_pem;
  TlsClientAuth client_auth = TlsClientAuth::kNone;
  std::vector<std::string> client_allowed_sans;
  TlsVersion min_version = TlsVersion::kTls12;
  TlsVersion max_version = TlsVersion::kTls13;
  bool http2 = true;
  std::vector<std::pair<std::string, std::string>> headers;
  std::vector<std::pair<std::string, Secret>> users;  // With the bcrypt hash of the password.
};

// Reads and checks a file; relative paths in it are against its directory. The certificate and key
// are loaded and have to belong together. An empty file is one without TLS and users.
absl::StatusOr<WebConfig> LoadWebConfig(const std::string& path);

}  // namespace varve
