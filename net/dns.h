// SPDX-License-Identifier: Apache-2.0
//
// Look-ups of DNS records on an event loop, with c-ares: names are completed by the system's search
// list, its servers are asked in turn, over TCP if an answer is cut short.
#pragma once

#include <absl/functional/any_invocable.h>
#include <absl/status/statusor.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "net/event_loop.h"

namespace varve {

enum class DnsRecordType { kSrv, kA, kAaaa, kMx, kNs };
// "SRV", "A", "AAAA", "MX", "NS".
std::string_view DnsRecordTypeText(DnsRecordType type);

struct DnsRecord {
  std::string value;  // An address, or a name without its last dot.
  uint16_t port = 0;  // SRV only.
  friend auto operator<=>(const DnsRecord&, const DnsRecord&) = default;
};

struct DnsOptions {
  std::string servers;  // "127.0.0.1:5353,[::1]:53"; empty: those of /etc/resolv.conf.
  std::chrono::milliseconds timeout{2000};  // Of one attempt; the second gets twice that.
};

// A look-up under way.
class DnsLookup {
 public:
  // An empty list if the name exists without such records, or is known not to exist; Unavailable if
  // no server could tell.
  using Done = absl::AnyInvocable<void(absl::StatusOr<std::vector<DnsRecord>>)>;

  virtual ~DnsLookup() = default;
  // Ends the look-up with Cancelled, unless it has ended. Any thread.
  virtual void Cancel() = 0;
};

// Starts a look-up. `done` is called once, on the loop's thread, not from inside. Every
// look-up has to be cancelled before the loop is stopped. The system's resolver configuration is
// read anew. Any thread.
std::shared_ptr<DnsLookup> StartDnsLookup(EventLoop& loop, const DnsOptions& options,
                                          std::string name, DnsRecordType type,
                                          DnsLookup::Done done);

}  // namespace varve
