// SPDX-License-Identifier: Apache-2.0
//
// Addresses compare as 16 bytes, IPv4 ones as mapped.
#include "net/proxy.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cstdint>
#include <optional>

#include "net/header_text.h"

namespace varve {
namespace {

using AddressBytes = std::array<uint8_t, 16>;
constexpr int kMappedBits = 96;  // What stands before an IPv4 address.

std::string WithoutBrackets(std::string_view host) {
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  return std::string(host);
}

std::optional<AddressBytes> ParseAddress(std::string_view host) {
  const std::string text = WithoutBrackets(host);
  AddressBytes bytes{};
  if (inet_pton(AF_INET6, text.c_str(), bytes.data()) == 1) return bytes;
  bytes[10] = bytes[11] = 0xff;
  if (inet_pton(AF_INET, text.c_str(), bytes.data() + kMappedBits / 8) == 1) return bytes;
  return std::nullopt;
}

bool IsLoopback(std::string_view host) {
  if (host == "localhost") return true;
  const std::optional<AddressBytes> address = ParseAddress(host);
  if (!address) return false;
  const AddressBytes v6 = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  const bool mapped = std::all_of(address->begin(), address->begin() + 10,
                                  [](uint8_t byte) { return byte == 0; }) &&
                      (*address)[10] == 0xff && (*address)[11] == 0xff;
  return *address == v6 || (mapped && (*address)[12] == 127);
}

// Whether `host` is in `range`, an address and the number of its leading bits that count.
bool IsInRange(std::string_view host, std::string_view range) {
  const size_t slash = range.find('/');
  const std::string_view base_text = range.substr(0, slash);
  const std::string_view bits_text = range.substr(slash + 1);
  const std::optional<AddressBytes> base = ParseAddress(base_text);
  const std::optional<AddressBytes> address = ParseAddress(host);
  int bits = -1;
  const char* const end = bits_text.data() + bits_text.size();
  if (std::from_chars(bits_text.data(), end, bits).ptr != end || !base || !address) return false;
  if (base_text.find(':') == std::string_view::npos) bits += kMappedBits;
  if (bits < 0 || bits > 128) return false;
  for (int i = 0; i < bits; ++i) {
    const auto mask = static_cast<uint8_t>(0x80 >> (i % 8));
    if (((*base)[i / 8] & mask) != ((*address)[i / 8] & mask)) return false;
  }
  return true;
}

// Splits `host:port` and `[v6]:port`; the port is "" if there is none.
void SplitPort(std::string_view text, std::string_view& host, std::string_view& port) {
  host = text;
  port = {};
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || text.ends_with(']')) return;
  const bool bare_v6 = text.find(':') != colon && text[colon - 1] != ']';
  if (bare_v6) return;
  host = text.substr(0, colon);
  port = text.substr(colon + 1);
}

bool Matches(std::string_view exception, std::string_view host, std::string_view port) {
  if (exception == "*") return true;
  if (exception.find('/') != std::string_view::npos) return IsInRange(host, exception);
  std::string_view name;
  std::string_view wanted_port;
  SplitPort(exception, name, wanted_port);
  if (!wanted_port.empty() && wanted_port != port) return false;
  if (const auto address = ParseAddress(name)) return address == ParseAddress(host);
  if (name.starts_with("*.")) name.remove_prefix(1);
  if (name.empty()) return false;
  if (name.starts_with('.')) return host.ends_with(name);
  return host == name || (host.ends_with(name) && host[host.size() - name.size() - 1] == '.');
}

bool IsException(std::string_view exceptions, std::string_view host, std::string_view port) {
  if (IsLoopback(host)) return true;
  while (!exceptions.empty()) {
    const size_t comma = exceptions.find(',');
    const std::string exception = LowerCase(Trimmed(exceptions.substr(0, comma)));
    if (!exception.empty() && Matches(exception, host, port)) return true;
    if (comma == std::string_view::npos) break;
    exceptions.remove_prefix(comma + 1);
  }
  return false;
}

}  // namespace

std::string ProxyFor(const ProxyConfig& config, std::string_view scheme, std::string_view host,
                     std::string_view port,
                     const std::function<const char*(const char*)>& get_env) {
  std::string proxy = config.proxy_url;
  std::string exceptions = config.no_proxy;
  if (config.proxy_from_environment) {
    const auto either = [&](const char* upper, const char* lower) -> std::string {
      const char* value = get_env(upper);
      if (value == nullptr || *value == '\0') value = get_env(lower);
      return value == nullptr ? "" : value;
    };
    proxy = scheme == "https" ? either("HTTPS_PROXY", "https_proxy")
                              : either("HTTP_PROXY", "http_proxy");
    exceptions = either("NO_PROXY", "no_proxy");
  } else if (exceptions.empty()) {
    return proxy;
  }
  return IsException(exceptions, LowerCase(Trimmed(WithoutBrackets(host))), port) ? "" : proxy;
}

}  // namespace varve
