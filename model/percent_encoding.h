// SPDX-License-Identifier: Apache-2.0
//
// Text as part of a URL or of a form (RFC 3986, section 2).
#pragma once

#include <string>
#include <string_view>

namespace varve {

// Bytes other than letters, digits, "-_.~" and those of `kept` as %XX, in capitals.
std::string PercentEncoded(std::string_view text, std::string_view kept = "");

// The same for a name or value of a query or form: a blank is "+".
std::string QueryEncoded(std::string_view text);

}  // namespace varve
