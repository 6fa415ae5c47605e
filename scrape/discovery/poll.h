// SPDX-License-Identifier: Apache-2.0
//
// Discoveries that ask a backend again and again. While it fails, hangs included, the targets it
// named last stay, and it is asked again after the same interval.
#pragma once

#include <absl/functional/any_invocable.h>
#include <absl/status/status.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "scrape/discovery/context.h"
#include "scrape/discovery/discovery.h"

namespace varve {

struct PollResult {
  std::vector<TargetGroup> groups;
  // If not OK: sources that are not among `groups` have not been heard of, rather than gone.
  absl::Status status;
};

// Asks once per Start(). One at a time.
class PollSource {
 public:
  using Done = absl::AnyInvocable<void(PollResult)>;

  virtual ~PollSource() = default;
  // `done` is called once, on any thread but not from inside, and within a time of the source's
  // own; never if the context's workers have stopped.
  virtual void Start(Done done) = 0;
  // Ends asking. `done` may still be called.
  virtual void Cancel() = 0;
};

struct PollOptions {
  std::string config;  // The job.
  std::string mechanism;
  std::string source;  // For DiscoveryStatus.
  DurationMs interval = 0;
};

std::unique_ptr<Discovery> NewPolledDiscovery(PollOptions options,
                                              std::unique_ptr<PollSource> source,
                                              std::shared_ptr<DiscoveryContext> context,
                                              TargetGroupsCallback callback);

// Unavailable, with the status, unless it is 200.
absl::Status CheckStatus(const ClientResponse& response);

// Asks by HTTP: all `requests` at once, and gives `read` their answers in order, all of status 200.
// `read` runs on the context's workers.
using ReadAnswers = std::function<absl::StatusOr<std::vector<TargetGroup>>(
    const std::vector<ClientResponse>& answers)>;
std::unique_ptr<PollSource> NewHttpPollSource(std::vector<ClientRequest> requests, ReadAnswers read,
                                              std::shared_ptr<DiscoveryContext> context);

}  // namespace varve
