// SPDX-License-Identifier: Apache-2.0
//
// All names of a configuration are looked up side by side.
#include "scrape/discovery/dns.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <utility>
#include <vector>

#include "scrape/discovery/poll.h"
#include "scrape/discovery/target_labels.h"

namespace varve {
namespace {

TargetGroup GroupOf(const DnsSdConfig& config, const std::string& name,
                    const std::vector<DnsRecord>& records) {
  TargetGroup group{.source = name};
  for (const DnsRecord& record : records) {
    const bool srv = config.type == DnsRecordType::kSrv;
    TargetLabels labels("__meta_dns_");
    labels.Address(record.value, srv ? record.port : config.port);
    labels.Add("name", name);
    // Names end with the root's dot here.
    const std::string rooted = record.value + ".";
    if (srv) {
      labels.Add("srv_record_target", rooted);
      labels.Add("srv_record_port", std::to_string(record.port));
    } else if (config.type == DnsRecordType::kMx) {
      labels.Add("mx_record_target", rooted);
    } else if (config.type == DnsRecordType::kNs) {
      labels.Add("ns_record_target", rooted);
    }
    group.targets.push_back(std::move(labels).Take());
  }
  return group;
}

// The result of one poll, as it comes; on the loop's thread.
struct DnsPoll {
  PollSource::Done done;
  PollResult result;
  size_t missing;
};

class DnsPollSource : public PollSource {
 public:
  DnsPollSource(DnsSdConfig config, std::shared_ptr<DiscoveryContext> context, DnsOptions options)
      : config_(std::make_shared<DnsSdConfig>(std::move(config))),
        context_(std::move(context)),
        options_(std::move(options)) {}

  void Start(Done done) override {
    const auto poll =
        std::make_shared<DnsPoll>(DnsPoll{std::move(done), {}, config_->names.size()});
    lookups_.clear();
    for (const std::string& name : config_->names) {
      lookups_.push_back(StartDnsLookup(
          context_->http.loop(), options_, name, config_->type,
          [poll, config = config_, name](absl::StatusOr<std::vector<DnsRecord>> records) {
            if (records.ok()) {
              poll->result.groups.push_back(GroupOf(*config, name, *records));
            } else {
              poll->result.status = records.status();
            }
            if (--poll->missing == 0) poll->done(std::move(poll->result));
          }));
    }
  }

  void Cancel() override {
    for (const auto& lookup : lookups_) lookup->Cancel();
  }

 private:
  const std::shared_ptr<const DnsSdConfig> config_;
  const std::shared_ptr<DiscoveryContext> context_;
  const DnsOptions options_;
  std::vector<std::shared_ptr<DnsLookup>> lookups_;
};

}  // namespace

std::unique_ptr<Discovery> NewDnsDiscovery(const DnsSdConfig& config, const std::string& job,
                                           std::shared_ptr<DiscoveryContext> context,
                                           TargetGroupsCallback callback, DnsOptions options) {
  PollOptions poll{.config = job,
                   .mechanism = "dns",
                   .source = fmt::format("{}", fmt::join(config.names, ", ")),
                   .interval = config.refresh_interval};
  auto source = std::make_unique<DnsPollSource>(config, context, std::move(options));
  return NewPolledDiscovery(std::move(poll), std::move(source), std::move(context),
                            std::move(callback));
}

}  // namespace varve
