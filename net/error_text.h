// SPDX-License-Identifier: Apache-2.0
//
// libcurl's results as statuses worded like Go's http.Client, whose texts users of Prometheus know.
#pragma once

#include <absl/status/status.h>
#include <curl/curl.h>

#include <string>
#include <string_view>

namespace varve {

// What is known about a transfer that libcurl ended with an error.
struct TransferFailure {
  CURLcode code = CURLE_OK;
  std::string_view detail;   // libcurl's own message; may be empty.
  std::string_view address;  // The first address dialled, "127.0.0.1:80"; empty on reuse.
  std::string_view network = "tcp";
  std::string_view host;
  int os_errno = 0;
};

// The error without the `Get "url": ` in front.
absl::Status StatusOfFailure(const TransferFailure& failure);

// `Get "http://x": message`; passwords in the URL are left out. Keeps code and payloads.
absl::Status WithRequest(std::string_view method, std::string_view url, const absl::Status& status);

// "Not Found" of 404; "" for a code without a registered phrase.
std::string_view ReasonPhrase(int status);

}  // namespace varve
