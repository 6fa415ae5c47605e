// SPDX-License-Identifier: Apache-2.0
//
// Access tokens by OAuth 2's grant `client_credentials` (RFC 6749, 4.4): the request for one, what
// is made of the answer, and the tokens a client has.
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "net/client.h"
#include "net/credentials.h"

namespace varve {

// A token is not used any more when it has this long to live.
inline constexpr std::chrono::seconds kTokenExpiryMargin{10};
inline constexpr std::chrono::seconds kTokenTimeout{30};
inline constexpr uint64_t kTokenBodyBytesMax = 1 << 20;

struct AccessToken {
  std::string header;        // "Bearer abc", for Authorization. Secret.
  int64_t expiry_nanos = 0;  // Monotonic; INT64_MAX: never.
};

// How client_id and client_secret are sent. Servers must take the former; some know the latter
// only.
enum class TokenRequestStyle { kHeader, kForm };

ClientRequest TokenRequest(const OAuth2Config& config, const std::string& secret,
                           TokenRequestStyle style);
// The token of an answer that came at `now_nanos`. Errors are worded as Go's oauth2 package does.
absl::StatusOr<AccessToken> ParseToken(const ClientResponse& response, int64_t now_nanos);

// The tokens of one client, by configuration and secret, and who waits for one. Not thread-safe.
class TokenStore {
 public:
  struct Entry {
    OAuth2Config config;
    std::string secret;
    TokenRequestStyle style = TokenRequestStyle::kHeader;  // The one that worked, or is tried next.
    bool style_known = false;
    bool fetching = false;
    std::optional<AccessToken> token;
    std::vector<uint64_t> waiting;  // Transfers.
  };

  // The entry for a configuration, made if there is none; entries whose token is of no use any more
  // go then.
  std::shared_ptr<Entry> Get(const OAuth2Config& config, const std::string& secret,
                             int64_t now_nanos);

 private:
  std::vector<std::shared_ptr<Entry>> entries_;
};

}  // namespace varve
