// SPDX-License-Identifier: Apache-2.0
//
// getaddrinfo, bind and listen, with the texts Go gives.
#include "http/listen.h"

#include <absl/status/status.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "model/status_macros.h"

namespace varve {
namespace {

constexpr int kBacklog = 1024;

struct AddrInfoDeleter {
  void operator()(addrinfo* list) const { freeaddrinfo(list); }
};
using AddrInfoList = std::unique_ptr<addrinfo, AddrInfoDeleter>;

struct HostPort {
  std::string host;
  std::string port;
};

absl::StatusOr<HostPort> SplitAddress(std::string_view address) {
  const size_t colon = address.rfind(':');
  if (colon == std::string_view::npos) {
    return absl::InvalidArgumentError(
        fmt::format("listen tcp: address {}: missing port in address", address));
  }
  std::string_view host = address.substr(0, colon);
  const std::string_view port = address.substr(colon + 1);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return absl::InvalidArgumentError(
        fmt::format("listen tcp: address {}: too many colons in address", address));
  }
  return HostPort{std::string(host), std::string(port)};
}

std::string SystemText(int error) {
  std::string text = std::strerror(error);
  if (!text.empty()) text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  return text;
}

std::string AddressText(const sockaddr_storage& address, socklen_t length) {
  char host[NI_MAXHOST];
  char port[NI_MAXSERV];
  if (getnameinfo(reinterpret_cast<const sockaddr*>(&address), length, host, sizeof(host), port,
                  sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
    return "";
  }
  return address.ss_family == AF_INET6 ? fmt::format("[{}]:{}", host, port)
                                       : fmt::format("{}:{}", host, port);
}

absl::StatusOr<AddrInfoList> Resolve(std::string_view address, const HostPort& parts) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(parts.host.empty() ? nullptr : parts.host.c_str(),
                                parts.port.c_str(), &hints, &found);
  if (error != 0) {
    return absl::InvalidArgumentError(
        fmt::format("listen tcp: lookup {}: {}", address, gai_strerror(error)));
  }
  return AddrInfoList(found);
}

// Without a host, IPv6's any-address first: it takes IPv4 clients as well.
std::vector<const addrinfo*> InOrder(const addrinfo& list, const HostPort& parts) {
  std::vector<const addrinfo*> ordered;
  for (const addrinfo* at = &list; at != nullptr; at = at->ai_next) ordered.push_back(at);
  if (parts.host.empty()) {
    std::stable_partition(ordered.begin(), ordered.end(),
                          [](const addrinfo* at) { return at->ai_family == AF_INET6; });
  }
  return ordered;
}

// Returns 0, or the errno of the step that failed, named in `step`.
int BindOne(const addrinfo& candidate, Socket& socket_out, const char*& step) {
  step = "socket";
  Socket socket(::socket(candidate.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (socket.fd() < 0) return errno;
  const int on = 1;
  setsockopt(socket.fd(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (candidate.ai_family == AF_INET6) {
    // ":9090" and "[::]:9090" serve IPv4 clients too.
    const int off = 0;
    setsockopt(socket.fd(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
  }
  step = "bind";
  if (bind(socket.fd(), candidate.ai_addr, candidate.ai_addrlen) != 0) return errno;
  step = "listen";
  if (listen(socket.fd(), kBacklog) != 0) return errno;
  socket_out = std::move(socket);
  return 0;
}

}  // namespace

Socket& Socket::operator=(Socket&& other) noexcept {
  if (this != &other) {
    if (fd_ >= 0) close(fd_);
    fd_ = other.Release();
  }
  return *this;
}

Socket::~Socket() {
  if (fd_ >= 0) close(fd_);
}

int Socket::Release() { return std::exchange(fd_, -1); }

absl::StatusOr<ListenSocket> Listen(std::string_view address) {
  ASSIGN_OR_RETURN(const HostPort parts, SplitAddress(address));
  ASSIGN_OR_RETURN(const AddrInfoList candidates, Resolve(address, parts));

  int error = 0;
  const char* step = "";
  for (const addrinfo* candidate : InOrder(*candidates, parts)) {
    ListenSocket listening;
    error = BindOne(*candidate, listening.socket, step);
    // Another family would hide that the port is taken.
    if (error == EADDRINUSE || error == EACCES) break;
    if (error != 0) continue;
    sockaddr_storage bound{};
    socklen_t length = sizeof(bound);
    getsockname(listening.socket.fd(), reinterpret_cast<sockaddr*>(&bound), &length);
    listening.address = AddressText(bound, length);
    return listening;
  }
  return absl::UnavailableError(
      fmt::format("listen tcp {}: {}: {}", address, step, SystemText(error)));
}

std::string PeerAddress(int fd) {
  sockaddr_storage peer{};
  socklen_t length = sizeof(peer);
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &length) != 0) return "";
  return AddressText(peer, length);
}

}  // namespace varve
