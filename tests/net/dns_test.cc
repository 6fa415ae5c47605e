// SPDX-License-Identifier: Apache-2.0
//
// Goal: records of each type are found, and what is not there is told from what nobody knows.
// Method: a DNS server of our own.
#include "net/dns.h"

#include <arpa/nameser.h>
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <future>
#include <string>
#include <vector>

#include "model/status_macros.h"
#include "tests/net/dns_server.h"

namespace varve {
namespace {

using testing::DnsServer;
using DnsResult = absl::StatusOr<std::vector<DnsRecord>>;

struct DnsFixture {
  DnsResult Lookup(const std::string& name, DnsRecordType type,
                   std::chrono::milliseconds timeout = std::chrono::seconds(5)) {
    auto promise = std::make_shared<std::promise<DnsResult>>();
    auto result = promise->get_future();
    lookup = StartDnsLookup(*loop, {.servers = server.address(), .timeout = timeout}, name, type,
                            [promise](DnsResult found) { promise->set_value(std::move(found)); });
    DnsResult found = result.get();
    if (found.ok()) std::sort(found->begin(), found->end());
    return found;
  }

  DnsServer server;
  std::unique_ptr<EventLoop> loop = EventLoop::Open(RealClock()).value();
  std::shared_ptr<DnsLookup> lookup;
};

TEST_CASE_FIXTURE(DnsFixture, "dns: records of each type") {
  using List = std::vector<DnsRecord>;
  server.Set("a.test", ns_t_a, {DnsServer::A("10.0.0.1"), DnsServer::A("10.0.0.2")});
  server.Set("a.test", ns_t_aaaa, {DnsServer::Aaaa("fd00::1")});
  server.Set("_x._tcp.test", ns_t_srv,
             {DnsServer::Srv(9100, "n1.test"), DnsServer::Srv(1, "n2.test")});
  server.Set("m.test", ns_t_mx, {DnsServer::Mx(10, "mail.test")});
  server.Set("m.test", ns_t_ns, {DnsServer::Name("ns1.test"), DnsServer::Name("ns2.test")});
  CHECK(*Lookup("a.test", DnsRecordType::kA) == List{{"10.0.0.1"}, {"10.0.0.2"}});
  CHECK(*Lookup("a.test", DnsRecordType::kAaaa) == List{{"fd00::1"}});
  CHECK(*Lookup("_x._tcp.test", DnsRecordType::kSrv) == List{{"n1.test", 9100}, {"n2.test", 1}});
  CHECK(*Lookup("m.test", DnsRecordType::kMx) == List{{"mail.test"}});
  CHECK(*Lookup("m.test", DnsRecordType::kNs) == List{{"ns1.test"}, {"ns2.test"}});
}

TEST_CASE_FIXTURE(DnsFixture, "dns: what is not there is nothing, what fails is an error") {
  server.Set("a.test", ns_t_a, {DnsServer::A("10.0.0.1")});
  CHECK(Lookup("a.test", DnsRecordType::kMx)->empty());
  CHECK(Lookup("none.test", DnsRecordType::kA)->empty());
  constexpr int kServerFailure = 2;
  server.FailWith(kServerFailure);
  const DnsResult failed = Lookup("a.test", DnsRecordType::kA);
  CHECK(absl::IsUnavailable(failed.status()));
  CHECK(MessageOf(failed.status()).starts_with("could not resolve \"a.test\": "));
  server.FailWith(0);
  server.BeSilent(true);
  CHECK(absl::IsUnavailable(
      Lookup("a.test", DnsRecordType::kA, std::chrono::milliseconds(50)).status()));
  CHECK(server.questions() >= 2);
}

TEST_CASE_FIXTURE(DnsFixture, "dns: an answer that is cut short is asked for by TCP") {
  std::vector<std::string> records;
  for (int i = 0; i < 1000; ++i) {
    records.push_back(DnsServer::A(fmt::format("10.1.{}.{}", i / 250, i % 250)));
  }
  server.Set("many.test", ns_t_a, records);
  CHECK(Lookup("many.test", DnsRecordType::kA)->size() == 1000);
  CHECK(server.questions_by_tcp() == 1);
}

TEST_CASE_FIXTURE(DnsFixture, "dns: a look-up that is cancelled ends once") {
  server.BeSilent(true);
  std::promise<DnsResult> promise;
  const auto pending =
      StartDnsLookup(*loop, {.servers = server.address()}, "a.test", DnsRecordType::kA,
                     [&promise](DnsResult found) { promise.set_value(std::move(found)); });
  pending->Cancel();
  pending->Cancel();
  CHECK(absl::IsCancelled(promise.get_future().get().status()));
}

TEST_CASE_FIXTURE(DnsFixture, "dns: servers that are none are an error") {
  std::promise<DnsResult> promise;
  const auto failed =
      StartDnsLookup(*loop, {.servers = "nowhere:x"}, "a.test", DnsRecordType::kA,
                     [&promise](DnsResult found) { promise.set_value(std::move(found)); });
  CHECK_FALSE(promise.get_future().get().ok());
}

}  // namespace
}  // namespace varve
