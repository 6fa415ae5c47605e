// SPDX-License-Identifier: Apache-2.0
//
// A scrape as HTTP: what is asked for, and in which format an answer is to be read.
#pragma once

#include <absl/status/statusor.h>

#include <string>

#include "net/client.h"
#include "scrape/config.h"
#include "scrape/exposition.h"
#include "scrape/target.h"

namespace varve {

// The most bytes of a body, where the configuration sets no limit.
inline constexpr uint64_t kScrapeBodyBytesMax = uint64_t{256} << 20;

// The Accept header: the configured protocols, in their order.
std::string AcceptHeader(const ScrapeConfig& config);

ClientRequest ScrapeRequest(const ScrapeConfig& config, const Target& target,
                            const std::string& accept);

// The format of a successful answer; an error, in Prometheus' words, for another status than 200,
// and for a content type that is not an exposition format unless the configuration names a
// fallback.
absl::StatusOr<ExpositionFormat> AnswerFormat(const ScrapeConfig& config,
                                              const ClientResponse& response);

}  // namespace varve
