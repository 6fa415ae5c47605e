// SPDX-License-Identifier: Apache-2.0
//
// Through which proxy a request goes: Go's rules, since configurations are written for them.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "net/credentials.h"

namespace varve {

// The proxy's URL for a request to `host` and `port` (IPv6 with or without brackets) by `scheme`
// ("http" or "https"), or "" to go there directly.
//
// With `proxy_from_environment` the proxy is in HTTP_PROXY or HTTPS_PROXY and the exceptions in
// NO_PROXY, each also in lower case; `get_env` returns null for what is not set. Exceptions are
// separated by commas: `*`, an address, a range in CIDR notation, a domain with its subdomains, or
// `.domain` for the subdomains alone; each but a range may end with a port. Where exceptions count,
// loopback addresses and `localhost` are always among them.
std::string ProxyFor(const ProxyConfig& config, std::string_view scheme, std::string_view host,
                     std::string_view port, const std::function<const char*(const char*)>& get_env);

}  // namespace varve
