// SPDX-License-Identifier: Apache-2.0
//
// HTTP client fields: credentials, TLS, proxy, redirects, headers.
#include <fmt/format.h>

#include <array>
#include <utility>

#include "app/config_reader.h"
#include "model/labels.h"

namespace varve {
namespace {

TlsVersion ReadTlsVersion(FieldReader& fields, std::string_view name) {
  const auto field = fields.Find(name);
  std::string text;
  if (field) field->String(text);
  if (text.empty()) return TlsVersion::kDefault;
  if (text == "TLS10") return TlsVersion::kTls10;
  if (text == "TLS11") return TlsVersion::kTls11;
  if (text == "TLS12") return TlsVersion::kTls12;
  if (text == "TLS13") return TlsVersion::kTls13;
  field->Fail(fmt::format("unknown TLS version: {}", text));
  return TlsVersion::kDefault;
}

BasicAuthConfig ReadBasicAuth(const YamlValue& value) {
  FieldReader fields(value, "config.BasicAuth");
  BasicAuthConfig config;
  fields.String("username", config.username);
  fields.Path("username_file", config.username_file);
  fields.SecretText("password", config.password);
  fields.Path("password_file", config.password_file);
  fields.Finish();
  return config;
}

AuthorizationConfig ReadAuthorization(const YamlValue& value) {
  FieldReader fields(value, "config.Authorization");
  AuthorizationConfig config;
  fields.String("type", config.type);
  if (config.type.empty()) config.type = "Bearer";
  fields.SecretText("credentials", config.credentials);
  fields.Path("credentials_file", config.credentials_file);
  fields.Finish();
  return config;
}

// A map from header names to what `read` puts into the header.
template <typename Read>
std::vector<HttpHeaderConfig> ReadHeaderMap(const YamlValue& value, std::string_view type,
                                            const Read& read) {
  FieldReader fields(value, type);
  std::vector<HttpHeaderConfig> headers;
  if (!value.node().IsMap()) return headers;
  for (const auto& pair : value.node()) {
    if (!pair.first.IsScalar()) continue;
    HttpHeaderConfig& header = headers.emplace_back();
    header.name = pair.first.Scalar();
    read(fields, header);
  }
  return headers;
}

std::vector<HttpHeaderConfig> ReadHeaders(const YamlValue& value) {
  return ReadHeaderMap(value, "config.Headers", [](FieldReader& fields, HttpHeaderConfig& header) {
    const auto field = fields.Find(header.name);
    if (!field) return;
    FieldReader parts(*field, "config.Header");
    parts.Strings("values", header.values);
    std::vector<std::string> secrets;
    parts.Strings("secrets", secrets);
    for (std::string& secret : secrets) header.secrets.emplace_back(std::move(secret));
    parts.Strings("files", header.files);
    for (std::string& file : header.files) file = field->document().Resolve(file);
    parts.Finish();
  });
}

// `proxy_connect_header` has lists of values only, all of them secret.
std::vector<HttpHeaderConfig> ReadProxyHeaders(const YamlValue& value) {
  return ReadHeaderMap(value, "config.ProxyHeader",
                       [](FieldReader& fields, HttpHeaderConfig& header) {
                         fields.Each(header.name, [&](const YamlValue& element) {
                           std::string text;
                           element.String(text);
                           header.secrets.emplace_back(std::move(text));
                         });
                       });
}

ProxyConfig ReadProxy(FieldReader& fields, const ProxyConfig& defaults) {
  ProxyConfig config = defaults;
  fields.String("proxy_url", config.proxy_url);
  fields.String("no_proxy", config.no_proxy);
  fields.Bool("proxy_from_environment", config.proxy_from_environment);
  if (const auto field = fields.Find("proxy_connect_header")) {
    config.proxy_connect_headers = ReadProxyHeaders(*field);
  }
  return config;
}

// The fields of a grant other than `client_credentials`, which Varve does not have.
constexpr std::array<std::string_view, 7> kCertificateGrantFields = {"client_certificate_key",
                                                                     "client_certificate_key_file",
                                                                     "client_certificate_key_id",
                                                                     "signature_algorithm",
                                                                     "iss",
                                                                     "audience",
                                                                     "claims"};

OAuth2Config ReadOAuth2(const YamlValue& value) {
  FieldReader fields(value, "config.OAuth2");
  OAuth2Config config;
  fields.String("client_id", config.client_id);
  fields.SecretText("client_secret", config.client_secret);
  fields.Path("client_secret_file", config.client_secret_file);
  fields.Strings("scopes", config.scopes);
  fields.String("token_url", config.token_url);
  if (const auto field = fields.Find("endpoint_params")) field->StringMap(config.endpoint_params);
  std::string grant = "client_credentials";
  fields.String("grant_type", grant);
  if (grant != "client_credentials") {
    fields.Find("grant_type")->Fail(fmt::format("grant_type {} is not supported yet", grant));
  }
  for (const std::string_view name : kCertificateGrantFields) {
    const auto field = fields.Find(name);
    if (field && !field->IsNull()) field->Fail(fmt::format("{} is not supported yet", name));
  }
  if (const auto field = fields.Find("tls_config")) config.tls = ReadTls(*field);
  config.proxy = ReadProxy(fields, {});
  fields.Finish();
  return config;
}

// The older fields for what `authorization` now says.
void ReadBearer(FieldReader& fields, HttpClientConfig& config) {
  Secret token;
  std::string file;
  fields.SecretText("bearer_token", token);
  fields.Path("bearer_token_file", file);
  if (token.empty() && file.empty()) return;
  const YamlValue& value = fields.value();
  if (!token.empty() && !file.empty()) {
    value.Fail("at most one of bearer_token & bearer_token_file must be configured");
  }
  if (config.authorization.has_value()) {
    value.Fail("authorization is not compatible with bearer_token & bearer_token_file");
  }
  if (config.basic_auth.has_value() || config.oauth2.has_value()) {
    value.Fail(
        "at most one of basic_auth, oauth2, bearer_token & bearer_token_file must be configured");
  }
  config.authorization = AuthorizationConfig{.credentials = token, .credentials_file = file};
}

}  // namespace

TlsConfig ReadTls(const YamlValue& value) {
  FieldReader fields(value, "config.TLSConfig");
  TlsConfig config;
  fields.String("ca", config.ca);
  fields.Path("ca_file", config.ca_file);
  fields.String("cert", config.cert);
  fields.Path("cert_file", config.cert_file);
  fields.SecretText("key", config.key);
  fields.Path("key_file", config.key_file);
  fields.String("server_name", config.server_name);
  fields.Bool("insecure_skip_verify", config.insecure_skip_verify);
  config.min_version = ReadTlsVersion(fields, "min_version");
  config.max_version = ReadTlsVersion(fields, "max_version");
  fields.Finish();
  value.Fail(config.Validate());
  return config;
}

HttpClientConfig ReadHttpClient(FieldReader& fields, const HttpClientConfig& defaults) {
  HttpClientConfig config = defaults;
  if (const auto field = fields.Find("basic_auth"); field && !field->IsNull()) {
    config.basic_auth = ReadBasicAuth(*field);
  }
  if (const auto field = fields.Find("authorization"); field && !field->IsNull()) {
    config.authorization = ReadAuthorization(*field);
  }
  if (const auto field = fields.Find("oauth2"); field && !field->IsNull()) {
    config.oauth2 = ReadOAuth2(*field);
  }
  if (const auto field = fields.Find("tls_config")) config.tls = ReadTls(*field);
  fields.Bool("follow_redirects", config.follow_redirects);
  fields.Bool("enable_http2", config.enable_http2);
  config.proxy = ReadProxy(fields, config.proxy);
  if (const auto field = fields.Find("http_headers")) config.http_headers = ReadHeaders(*field);
  ReadBearer(fields, config);
  fields.value().Fail(config.Validate());
  return config;
}

HttpClientConfig ReadHttpClient(FieldReader& fields) { return ReadHttpClient(fields, {}); }

}  // namespace varve
