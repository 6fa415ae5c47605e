// SPDX-License-Identifier: Apache-2.0
//
// A channel of c-ares per look-up, touched on the loop's thread only. It says which sockets to
// watch and how long; the loop says what happened.
#include "net/dns.h"

#include <ares.h>
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <fmt/format.h>
#include <netdb.h>
#include <sys/epoll.h>
#include <sys/time.h>

#include <array>
#include <set>
#include <utility>

namespace varve {
namespace {

constexpr int kAttempts = 2;
// The most addresses of one name that are taken.
constexpr int kAddressesMax = 4096;
constexpr int kEdnsBytes = 4096;

// Thread-safe: it happens once.
int InitialiseAres() {
  static const int kResult = ares_library_init(ARES_LIB_INIT_ALL);
  return kResult;
}

int TypeNumber(DnsRecordType type) {
  switch (type) {
    case DnsRecordType::kSrv:
      return ns_t_srv;
    case DnsRecordType::kA:
      return ns_t_a;
    case DnsRecordType::kAaaa:
      return ns_t_aaaa;
    case DnsRecordType::kMx:
      return ns_t_mx;
    case DnsRecordType::kNs:
      return ns_t_ns;
  }
  return ns_t_a;
}

std::string AddressOf(int family, const void* bytes) {
  char text[INET6_ADDRSTRLEN] = {};
  inet_ntop(family, bytes, text, sizeof text);
  return text;
}

// Readers of an answer return one of c-ares' codes.
int ReadA(const unsigned char* answer, int bytes, std::vector<DnsRecord>& records) {
  std::vector<ares_addrttl> found(kAddressesMax);
  int count = kAddressesMax;
  const int code = ares_parse_a_reply(answer, bytes, nullptr, found.data(), &count);
  for (int i = 0; code == ARES_SUCCESS && i < count; ++i) {
    records.push_back({.value = AddressOf(AF_INET, &found[i].ipaddr)});
  }
  return code;
}

int ReadAaaa(const unsigned char* answer, int bytes, std::vector<DnsRecord>& records) {
  std::vector<ares_addr6ttl> found(kAddressesMax);
  int count = kAddressesMax;
  const int code = ares_parse_aaaa_reply(answer, bytes, nullptr, found.data(), &count);
  for (int i = 0; code == ARES_SUCCESS && i < count; ++i) {
    records.push_back({.value = AddressOf(AF_INET6, &found[i].ip6addr)});
  }
  return code;
}

int ReadSrv(const unsigned char* answer, int bytes, std::vector<DnsRecord>& records) {
  ares_srv_reply* found = nullptr;
  const int code = ares_parse_srv_reply(answer, bytes, &found);
  for (const ares_srv_reply* each = found; each != nullptr; each = each->next) {
    records.push_back({.value = each->host, .port = each->port});
  }
  if (found != nullptr) ares_free_data(found);
  return code;
}

int ReadMx(const unsigned char* answer, int bytes, std::vector<DnsRecord>& records) {
  ares_mx_reply* found = nullptr;
  const int code = ares_parse_mx_reply(answer, bytes, &found);
  for (const ares_mx_reply* each = found; each != nullptr; each = each->next) {
    records.push_back({.value = each->host});
  }
  if (found != nullptr) ares_free_data(found);
  return code;
}

int ReadNs(const unsigned char* answer, int bytes, std::vector<DnsRecord>& records) {
  hostent* found = nullptr;
  const int code = ares_parse_ns_reply(answer, bytes, &found);
  if (code != ARES_SUCCESS) return code;
  for (char** name = found->h_aliases; *name != nullptr; ++name) {
    records.push_back({.value = *name});
  }
  ares_free_hostent(found);
  return code;
}

int ReadAnswer(DnsRecordType type, const unsigned char* answer, int bytes,
               std::vector<DnsRecord>& records) {
  switch (type) {
    case DnsRecordType::kSrv:
      return ReadSrv(answer, bytes, records);
    case DnsRecordType::kA:
      return ReadA(answer, bytes, records);
    case DnsRecordType::kAaaa:
      return ReadAaaa(answer, bytes, records);
    case DnsRecordType::kMx:
      return ReadMx(answer, bytes, records);
    case DnsRecordType::kNs:
      return ReadNs(answer, bytes, records);
  }
  return ARES_EBADQUERY;
}

// Keeps itself alive until it has ended, which a loop that stops does not do for it: cancel first.
class AresLookup : public DnsLookup,
                   public FdHandler,
                   public std::enable_shared_from_this<AresLookup> {
 public:
  AresLookup(EventLoop& loop, DnsOptions options, std::string name, DnsRecordType type, Done done)
      : loop_(loop),
        options_(std::move(options)),
        name_(std::move(name)),
        type_(type),
        done_(std::move(done)) {}
  void Post() {
    loop_.Post([self = shared_from_this()] { self->Begin(); });
  }
  void Cancel() override {
    loop_.Post([self = shared_from_this()] {
      self->End(absl::CancelledError("the look-up was cancelled"));
    });
  }

 private:
  void Begin() {
    if (!done_) return;
    int code = InitialiseAres();
    if (code == ARES_SUCCESS) code = OpenChannel();
    if (code != ARES_SUCCESS) return End(ErrorOf(code));
    keep_ = shared_from_this();
    ares_search(channel_, name_.c_str(), ns_c_in, TypeNumber(type_), &AresLookup::OnAnswer, this);
    Settle();
  }

  int OpenChannel() {
    ares_options given{};
    given.flags = ARES_FLAG_EDNS;
    given.ednspsz = kEdnsBytes;
    given.timeout = static_cast<int>(options_.timeout.count());
    given.tries = kAttempts;
    given.sock_state_cb = &AresLookup::OnSocket;
    given.sock_state_cb_data = this;
    int code = ares_init_options(&channel_, &given,
                                 ARES_OPT_FLAGS | ARES_OPT_EDNSPSZ | ARES_OPT_TIMEOUTMS |
                                     ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB);
    if (code == ARES_SUCCESS && !options_.servers.empty()) {
      code = ares_set_servers_ports_csv(channel_, options_.servers.c_str());
    }
    return code;
  }

  static void OnSocket(void* self, ares_socket_t fd, int readable, int writable) {
    auto* lookup = static_cast<AresLookup*>(self);
    if (readable == 0 && writable == 0) {
      if (lookup->watched_.erase(fd) > 0) lookup->loop_.UnwatchFd(fd);
      return;
    }
    const uint32_t events =
        (readable != 0 ? uint32_t{EPOLLIN} : 0) | (writable != 0 ? uint32_t{EPOLLOUT} : 0);
    if (lookup->loop_.WatchFd(fd, events, *lookup).ok()) lookup->watched_.insert(fd);
  }

  static void OnAnswer(void* self, int code, int /*timeouts*/, unsigned char* answer, int bytes) {
    auto* lookup = static_cast<AresLookup*>(self);
    std::vector<DnsRecord> records;
    if (code == ARES_SUCCESS) code = ReadAnswer(lookup->type_, answer, bytes, records);
    if (code == ARES_ENODATA || code == ARES_ENOTFOUND) {
      records.clear();
      code = ARES_SUCCESS;
    }
    if (code == ARES_SUCCESS) {
      lookup->result_ = std::move(records);
    } else {
      lookup->result_ = lookup->ErrorOf(code);
    }
    lookup->answered_ = true;
  }

  void OnReady(int fd, uint32_t events) override {
    const auto self = shared_from_this();
    const bool failed = (events & (EPOLLERR | EPOLLHUP)) != 0;
    const bool readable = failed || (events & EPOLLIN) != 0;
    const bool writable = failed || (events & EPOLLOUT) != 0;
    ares_process_fd(channel_, readable ? fd : ARES_SOCKET_BAD, writable ? fd : ARES_SOCKET_BAD);
    Settle();
  }

  // After every call into c-ares: ends, or waits for what it waits for.
  void Settle() {
    loop_.Cancel(std::exchange(timer_, kNoTimer));
    if (answered_) return End(std::move(result_));
    timeval wait{};
    if (ares_timeout(channel_, nullptr, &wait) == nullptr) return;
    timer_ = loop_.RunAfter(
        std::chrono::seconds(wait.tv_sec) + std::chrono::microseconds(wait.tv_usec + 1000),
        [self = shared_from_this()] {
          if (self->channel_ == nullptr) return;
          ares_process_fd(self->channel_, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
          self->Settle();
        });
  }

  void End(absl::StatusOr<std::vector<DnsRecord>> result) {
    const auto self = shared_from_this();
    loop_.Cancel(std::exchange(timer_, kNoTimer));
    // Closes the sockets, and calls OnAnswer() if there was no answer yet.
    if (channel_ != nullptr) ares_destroy(std::exchange(channel_, nullptr));
    keep_.reset();
    if (Done done = std::exchange(done_, nullptr)) done(std::move(result));
  }

  absl::Status ErrorOf(int code) const {
    return absl::UnavailableError(
        fmt::format("could not resolve \"{}\": {}", name_, ares_strerror(code)));
  }

  EventLoop& loop_;
  const DnsOptions options_;
  const std::string name_;
  const DnsRecordType type_;

  // The loop thread's own.
  Done done_;
  ares_channel channel_ = nullptr;
  std::set<ares_socket_t> watched_;
  TimerId timer_ = kNoTimer;
  bool answered_ = false;
  absl::StatusOr<std::vector<DnsRecord>> result_ = std::vector<DnsRecord>();
  std::shared_ptr<AresLookup> keep_;
};

}  // namespace

std::string_view DnsRecordTypeText(DnsRecordType type) {
  switch (type) {
    case DnsRecordType::kSrv:
      return "SRV";
    case DnsRecordType::kA:
      return "A";
    case DnsRecordType::kAaaa:
      return "AAAA";
    case DnsRecordType::kMx:
      return "MX";
    case DnsRecordType::kNs:
      return "NS";
  }
  return "";
}

std::shared_ptr<DnsLookup> StartDnsLookup(EventLoop& loop, const DnsOptions& options,
                                          std::string name, DnsRecordType type,
                                          DnsLookup::Done done) {
  auto lookup = std::make_shared<AresLookup>(loop, options, std::move(name), type, std::move(done));
  lookup->Post();
  return lookup;
}

}  // namespace varve
