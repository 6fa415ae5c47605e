// SPDX-License-Identifier: Apache-2.0
//
// What a client is told about TLS, as Prometheus' `tls_config`.
#pragma once

#include <absl/status/status.h>

#include <string>

#include "net/secret.h"

namespace varve {

enum class TlsVersion { kDefault, kTls10, kTls11, kTls12, kTls13 };

// Each of CA, certificate and key is either given inline (PEM) or as a file, which is read anew for
// every request, so that rotated files take effect on the next connection.
struct TlsConfig {
  std::string ca;
  std::string ca_file;
  std::string cert;
  std::string cert_file;
  Secret key;
  std::string key_file;
  std::string server_name;  // Replaces the URL's host in the handshake and in the name check.
  bool insecure_skip_verify = false;
  TlsVersion min_version = TlsVersion::kDefault;
  TlsVersion max_version = TlsVersion::kDefault;

  // InvalidArgument, in Prometheus' words, if fields contradict each other.
  absl::Status Validate() const;

  friend bool operator==(const TlsConfig&, const TlsConfig&) = default;
};

}  // namespace varve
