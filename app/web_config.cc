// SPDX-License-Identifier: Apache-2.0
//
// Files are read here, so that a server starts with what was checked.
#include "app/web_config.h"

#include <fmt/format.h>
#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <algorithm>
#include <array>
#include <memory>

#include "app/yaml_reader.h"
#include "model/labels.h"
#include "model/status_macros.h"
#include "net/credentials.h"

namespace varve {
namespace {

constexpr size_t kBcryptBytesMin = 59;
constexpr int kBcryptCostMin = 4;
constexpr int kBcryptCostMax = 31;

struct HeaderRule {
  std::string_view name;
  std::vector<std::string_view> values;  // Those allowed; none: any.
};

const std::vector<HeaderRule>& HeaderRules() {
  static const auto& rules =
      *new std::vector<HeaderRule>{{"Strict-Transport-Security", {}},
                                   {"X-Content-Type-Options", {"nosniff"}},
                                   {"X-Frame-Options", {"deny", "sameorigin"}},
                                   {"X-XSS-Protection", {}},
                                   {"Content-Security-Policy", {}}};
  return rules;
}

constexpr std::array<std::pair<std::string_view, TlsClientAuth>, 6> kClientAuths = {
    {{"", TlsClientAuth::kNone},
     {"NoClientCert", TlsClientAuth::kNone},
     {"RequestClientCert", TlsClientAuth::kRequest},
     {"RequireAnyClientCert", TlsClientAuth::kRequireAny},
     {"VerifyClientCertIfGiven", TlsClientAuth::kVerifyIfGiven},
     {"RequireAndVerifyClientCert", TlsClientAuth::kRequireAndVerify}}};

TlsVersion ReadServerTlsVersion(FieldReader& fields, std::string_view name, TlsVersion fallback) {
  constexpr std::array<std::pair<std::string_view, TlsVersion>, 4> kVersions = {
      {{"TLS10", TlsVersion::kTls10},
       {"TLS11", TlsVersion::kTls11},
       {"TLS12", TlsVersion::kTls12},
       {"TLS13", TlsVersion::kTls13}}};
  const auto field = fields.Find(name);
  if (!field) return fallback;
  std::string text;
  field->String(text);
  for (const auto& [known, version] : kVersions) {
    if (known == text) return version;
  }
  field->Fail(fmt::format("unknown TLS version: {}", text));
  return fallback;
}

// `name` inline, or the contents of `name_file`.
std::string ReadInlineOrFile(FieldReader& fields, const std::string& name) {
  std::string text;
  std::string path;
  fields.String(name, text);
  fields.Path(name + "_file", path);
  if (path.empty()) return text;
  const auto field = *fields.Find(name + "_file");
  if (!text.empty())
    field.Fail(fmt::format("at most one of {} and {}_file may be set", name, name));
  absl::StatusOr<std::string> contents = ReadCredentialFile(path);
  field.Fail(contents.status());
  return contents.ok() ? *std::move(contents) : "";
}

using Bio = std::unique_ptr<BIO, int (*)(BIO*)>;
Bio OpenPem(const std::string& pem) {
  return Bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), BIO_free);
}

absl::Status CheckKeyPair(const WebConfig& config) {
  const Bio cert_bio = OpenPem(config.cert_pem);
  const std::unique_ptr<X509, void (*)(X509*)> cert(
      PEM_read_bio_X509(cert_bio.get(), nullptr, nullptr, nullptr), X509_free);
  if (cert == nullptr) {
    return absl::InvalidArgumentError(
        "failed to load X509KeyPair: tls: failed to find any PEM data in certificate input");
  }
  const Bio key_bio = OpenPem(config.key_pem.Reveal());
  const std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)> key(
      PEM_read_bio_PrivateKey(key_bio.get(), nullptr, nullptr, nullptr), EVP_PKEY_free);
  if (key == nullptr) {
    return absl::InvalidArgumentError(
        "failed to load X509KeyPair: tls: failed to find any PEM data in key input");
  }
  if (X509_check_private_key(cert.get(), key.get()) == 1) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "failed to load X509KeyPair: tls: private key does not match public key");
}

absl::Status CheckClientAuth(const WebConfig& config) {
  if (!config.client_ca_pem.empty() && config.client_auth == TlsClientAuth::kNone) {
    return absl::InvalidArgumentError(
        "client CA's have been configured without a Client Auth Policy");
  }
  return absl::OkStatus();
}

void ReadTlsServer(const YamlValue& value, WebConfig& config) {
  FieldReader fields(value, "web.TLSConfig");
  config.cert_pem = ReadInlineOrFile(fields, "cert");
  config.key_pem = Secret(ReadInlineOrFile(fields, "key"));
  config.client_ca_pem = ReadInlineOrFile(fields, "client_ca");
  std::string auth;
  fields.String("client_auth_type", auth);
  bool known = false;
  for (const auto& [name, type] : kClientAuths) {
    if (name != auth) continue;
    config.client_auth = type;
    known = true;
  }
  if (!known) {
    fields.Find("client_auth_type")->Fail(fmt::format("invalid ClientAuth: {}", auth));
  }
  fields.Strings("client_allowed_sans", config.client_allowed_sans);
  config.min_version = ReadServerTlsVersion(fields, "min_version", config.min_version);
  config.max_version = ReadServerTlsVersion(fields, "max_version", config.max_version);
  std::vector<std::string> names;
  fields.Strings("cipher_suites", names);
  fields.Strings("curve_preferences", names);
  bool prefer = true;
  fields.Bool("prefer_server_cipher_suites", prefer);
  fields.Finish();
  if (!value.document().error().ok()) return;
  const bool nothing = config.cert_pem.empty() && config.key_pem.empty() &&
                       config.client_ca_pem.empty() && config.client_auth == TlsClientAuth::kNone;
  if (nothing) return;
  config.tls = true;
  if (config.cert_pem.empty()) return value.Fail("missing one of cert or cert_file");
  if (config.key_pem.empty()) return value.Fail("missing one of key or key_file");
  value.Fail(CheckKeyPair(config));
  value.Fail(CheckClientAuth(config));
}

void ReadHttpServer(const YamlValue& value, WebConfig& config) {
  FieldReader fields(value, "web.HTTPConfig");
  fields.Bool("http2", config.http2);
  if (const auto field = fields.Find("headers")) {
    field->StringMap(config.headers);
    for (const auto& header : config.headers) {
      const auto& rules = HeaderRules();
      const auto rule = std::find_if(rules.begin(), rules.end(), [&header](const HeaderRule& each) {
        return each.name == header.first;
      });
      if (rule == rules.end()) {
        return field->Fail(
            fmt::format("HTTP header {} can not be configured", Quoted(header.first)));
      }
      const auto& allowed = rule->values;
      const bool valid = header.second.empty() || allowed.empty() ||
                         std::find(allowed.begin(), allowed.end(), header.second) != allowed.end();
      if (valid) continue;
      std::string list;
      for (const std::string_view each : allowed) {
        list += fmt::format("{}{}", list.empty() ? "" : " ", Quoted(each));
      }
      return field->Fail(fmt::format("invalid value for {}. Expected one of: [{}], but got: {}",
                                     header.first, list, Quoted(header.second)));
    }
  }
  fields.Finish();
}

// "$2b$10$...": version, cost, and 53 characters of salt and hash.
absl::Status CheckBcrypt(std::string_view hash) {
  const auto invalid = [](std::string_view text) {
    return absl::InvalidArgumentError(fmt::format("crypto/bcrypt: {}", text));
  };
  if (hash.size() < kBcryptBytesMin) {
    return invalid("hashedSecret too short to be a bcrypted password");
  }
  const bool form = hash.starts_with("$2") && hash[3] == '$' && hash[6] == '$' && hash[4] >= '0' &&
                    hash[4] <= '9' && hash[5] >= '0' && hash[5] <= '9';
  if (!form) return invalid("hashedSecret is not of the form of a bcrypted password");
  const int cost = (hash[4] - '0') * 10 + (hash[5] - '0');
  if (cost < kBcryptCostMin || cost > kBcryptCostMax) {
    return invalid(fmt::format("cost {} is outside allowed range ({},{})", cost, kBcryptCostMin,
                               kBcryptCostMax));
  }
  return absl::OkStatus();
}

void ReadUsers(const YamlValue& value, WebConfig& config) {
  std::vector<std::pair<std::string, std::string>> users;
  value.StringMap(users);
  for (auto& [name, hash] : users) {
    value.Fail(CheckBcrypt(hash));
    config.users.emplace_back(std::move(name), Secret(std::move(hash)));
  }
}

void CheckRateLimit(const YamlValue& value) {
  FieldReader fields(value, "web.RateLimiterConfig");
  DurationMs interval = 0;
  int64_t burst = 0;
  fields.Duration("interval", interval);
  fields.Int("burst", burst);
  fields.Finish();
}

}  // namespace

absl::StatusOr<WebConfig> LoadWebConfig(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadCredentialFile(path));
  const size_t slash = path.rfind('/');
  YamlDocument document(
      text, path, slash == std::string::npos ? "" : path.substr(0, std::max<size_t>(slash, 1)));
  RETURN_IF_ERROR(document.error());
  WebConfig config;
  FieldReader fields(YamlValue(document, document.root(), "", document.root().IsNull() ? 0 : 1),
                     "web.Config");
  // Unknown fields first: they are mistakes whatever the files hold.
  const auto tls = fields.Find("tls_server_config");
  const auto http = fields.Find("http_server_config");
  const auto users = fields.Find("basic_auth_users");
  const auto limit = fields.Find("rate_limit");
  fields.Finish();
  if (tls) ReadTlsServer(*tls, config);
  if (http) ReadHttpServer(*http, config);
  if (users) ReadUsers(*users, config);
  if (limit) CheckRateLimit(*limit);
  RETURN_IF_ERROR(document.error());
  return config;
}

}  // namespace varve
