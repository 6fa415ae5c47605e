// SPDX-License-Identifier: Apache-2.0
//
// Token answers are JSON objects, read with simdjson.
#include "net/oauth2.h"

#include <absl/strings/escaping.h>
#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "model/percent_encoding.h"
#include "model/status_macros.h"

namespace varve {
namespace {

constexpr int64_t kNanosPerSecondOfToken = 1'000'000'000;
constexpr double kTokenSecondsMax = 1e9;

std::string FormText(std::vector<std::pair<std::string, std::string>> fields) {
  std::sort(fields.begin(), fields.end());
  std::string form;
  for (const auto& [name, value] : fields) {
    form +=
        fmt::format("{}{}={}", form.empty() ? "" : "&", QueryEncoded(name), QueryEncoded(value));
  }
  return form;
}

struct TokenFields {
  std::string access_token;
  std::string token_type;
  std::string error;
  double expires_in = 0;
};

// A number, or a text that is one.
double ReadSeconds(simdjson::dom::element value) {
  double number = 0;
  if (value.get(number) == simdjson::SUCCESS) return number;
  std::string_view text;
  if (value.get(text) != simdjson::SUCCESS) return 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

absl::StatusOr<TokenFields> ReadFields(const std::string& body) {
  simdjson::dom::parser parser;
  simdjson::dom::object object;
  if (const auto error = parser.parse(body).get(object); error != simdjson::SUCCESS) {
    return absl::UnavailableError(
        fmt::format("oauth2: cannot parse json: {}", simdjson::error_message(error)));
  }
  TokenFields fields;
  const auto text = [&object](const char* name) -> std::string {
    std::string_view value;
    return object[name].get(value) == simdjson::SUCCESS ? std::string(value) : "";
  };
  fields.access_token = text("access_token");
  fields.token_type = text("token_type");
  fields.error = text("error");
  simdjson::dom::element expires;
  if (object["expires_in"].get(expires) == simdjson::SUCCESS) {
    fields.expires_in = ReadSeconds(expires);
  }
  return fields;
}

std::string AuthorizationType(const std::string& token_type) {
  std::string lower(token_type);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  if (lower.empty() || lower == "bearer") return "Bearer";
  if (lower == "mac") return "MAC";
  if (lower == "basic") return "Basic";
  return token_type;
}

}  // namespace

ClientRequest TokenRequest(const OAuth2Config& config, const std::string& secret,
                           TokenRequestStyle style) {
  ClientRequest request;
  request.method = "POST";
  request.url = config.token_url;
  request.timeout = kTokenTimeout;
  request.body_bytes_max = kTokenBodyBytesMax;
  request.headers.push_back({"Content-Type", "application/x-www-form-urlencoded"});
  std::vector<std::pair<std::string, std::string>> form = {{"grant_type", "client_credentials"}};
  if (!config.scopes.empty()) {
    form.emplace_back("scope", fmt::format("{}", fmt::join(config.scopes, " ")));
  }
  for (const auto& param : config.endpoint_params) {
    std::erase_if(form, [&param](const auto& field) { return field.first == param.first; });
    form.push_back(param);
  }
  if (style == TokenRequestStyle::kForm) {
    form.emplace_back("client_id", config.client_id);
    if (!secret.empty()) form.emplace_back("client_secret", secret);
  } else {
    const std::string pair =
        fmt::format("{}:{}", QueryEncoded(config.client_id), QueryEncoded(secret));
    request.headers.push_back({"Authorization", "Basic " + absl::Base64Escape(pair)});
  }
  request.body = FormText(std::move(form));
  auto client = std::make_shared<HttpClientConfig>();
  client->tls = config.tls;
  client->proxy = config.proxy;
  request.config = std::move(client);
  return request;
}

absl::StatusOr<AccessToken> ParseToken(const ClientResponse& response, int64_t now_nanos) {
  const absl::StatusOr<TokenFields> fields = ReadFields(response.body);
  if (response.status < 200 || response.status > 299 || (fields.ok() && !fields->error.empty())) {
    if (fields.ok() && !fields->error.empty()) {
      return absl::UnavailableError(fmt::format("oauth2: \"{}\"", fields->error));
    }
    return absl::UnavailableError(fmt::format("oauth2: cannot fetch token: {}", response.reason));
  }
  RETURN_IF_ERROR(fields.status());
  if (fields->access_token.empty()) {
    return absl::UnavailableError("oauth2: server response missing access_token");
  }
  AccessToken token;
  token.header = fmt::format("{} {}", AuthorizationType(fields->token_type), fields->access_token);
  token.expiry_nanos = INT64_MAX;
  if (fields->expires_in > 0) {
    const double seconds = std::min(fields->expires_in, kTokenSecondsMax);
    token.expiry_nanos = now_nanos + static_cast<int64_t>(seconds * kNanosPerSecondOfToken) -
                         std::chrono::nanoseconds(kTokenExpiryMargin).count();
  }
  return token;
}

std::shared_ptr<TokenStore::Entry> TokenStore::Get(const OAuth2Config& config,
                                                   const std::string& secret, int64_t now_nanos) {
  for (const std::shared_ptr<Entry>& entry : entries_) {
    if (entry->secret == secret && entry->config == config) return entry;
  }
  std::erase_if(entries_, [now_nanos](const std::shared_ptr<Entry>& entry) {
    return !entry->fetching && (!entry->token || entry->token->expiry_nanos <= now_nanos);
  });
  auto entry = std::make_shared<Entry>();
  entry->config = config;
  entry->secret = secret;
  entries_.push_back(entry);
  return entry;
}

}  // namespace varve
