// SPDX-License-Identifier: Apache-2.0
//
// One thread polls both sockets. Answers longer than a datagram are cut, and whole over TCP.
#include "tests/net/dns_server.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <stdexcept>

namespace varve::testing {
namespace {

constexpr size_t kHeaderBytes = 12;
constexpr size_t kDatagramBytesMax = 512;
constexpr int kPollMillis = 20;

std::string Number16(unsigned number) {
  return {static_cast<char>(number >> 8), static_cast<char>(number & 0xff)};
}

unsigned ReadNumber16(const std::string& bytes, size_t at) {
  return static_cast<unsigned>(static_cast<uint8_t>(bytes[at])) << 8 |
         static_cast<uint8_t>(bytes[at + 1]);
}

// Listens on 127.0.0.1; `port` 0 is replaced by the one the system chose.
int Bind(int type, int& port) {
  const int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  socklen_t bytes = sizeof address;
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), bytes) != 0) {
    close(fd);
    return -1;
  }
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &bytes);
  port = ntohs(address.sin_port);
  return fd;
}

}  // namespace

DnsServer::DnsServer() {
  // The port that is free for UDP may be taken for TCP.
  while (tcp_fd_ < 0) {
    if (udp_fd_ >= 0) close(udp_fd_);
    port_ = 0;
    udp_fd_ = Bind(SOCK_DGRAM, port_);
    if (udp_fd_ < 0) throw std::runtime_error("no port for a DNS server");
    tcp_fd_ = Bind(SOCK_STREAM, port_);
  }
  listen(tcp_fd_, 16);
  thread_ = std::thread([this] { Serve(); });
}

DnsServer::~DnsServer() {
  stopping_ = true;
  thread_.join();
  close(udp_fd_);
  close(tcp_fd_);
}

std::string DnsServer::address() const { return fmt::format("127.0.0.1:{}", port_); }

std::string DnsServer::A(const std::string& address) {
  std::string data(4, '\0');
  inet_pton(AF_INET, address.c_str(), data.data());
  return data;
}

std::string DnsServer::Aaaa(const std::string& address) {
  std::string data(16, '\0');
  inet_pton(AF_INET6, address.c_str(), data.data());
  return data;
}

std::string DnsServer::Name(std::string_view name) {
  std::string data;
  while (!name.empty()) {
    const size_t dot = std::min(name.find('.'), name.size());
    data += static_cast<char>(dot);
    data += name.substr(0, dot);
    name.remove_prefix(std::min(dot + 1, name.size()));
  }
  return data + '\0';
}

std::string DnsServer::Srv(uint16_t port, std::string_view target) {
  return Number16(1) + Number16(2) + Number16(port) + Name(target);
}

std::string DnsServer::Mx(uint16_t preference, std::string_view target) {
  return Number16(preference) + Name(target);
}

void DnsServer::Set(const std::string& name, uint16_t type, std::vector<std::string> records) {
  MutexLock lock(mutex_);
  records_[{name, type}] = std::move(records);
}

void DnsServer::Forget(const std::string& name) {
  MutexLock lock(mutex_);
  std::erase_if(records_, [&name](const auto& entry) { return entry.first.first == name; });
}

std::string DnsServer::Answer(const std::string& question, bool tcp) {
  std::string name;
  size_t at = kHeaderBytes;
  while (at < question.size() && question[at] != 0) {
    const auto bytes = static_cast<size_t>(question[at]);
    name += (name.empty() ? "" : ".") + question.substr(at + 1, bytes);
    at += 1 + bytes;
  }
  const unsigned type = ReadNumber16(question, at + 1);
  const std::string asked = question.substr(kHeaderBytes, at + 5 - kHeaderBytes);

  MutexLock lock(mutex_);
  const auto found = records_.find({name, static_cast<uint16_t>(type)});
  bool exists = false;
  for (const auto& [key, records] : records_) exists = exists || key.first == name;
  constexpr int kNoSuchName = 3;
  const int code = failure_ != 0 ? failure_.load() : exists ? 0 : kNoSuchName;
  std::string data;
  size_t count = 0;
  if (code == 0 && found != records_.end()) {
    for (const std::string& record : found->second) {
      data += std::string("\xc0\x0c", 2) + Number16(type) + Number16(1) + std::string(4, '\0') +
              Number16(static_cast<unsigned>(record.size())) + record;
      ++count;
    }
  }
  // Who asks for larger datagrams gets none, so that TCP is used.
  const bool cut = !tcp && kHeaderBytes + asked.size() + data.size() > kDatagramBytesMax;
  if (cut) {
    data.clear();
    count = 0;
  }
  const unsigned flags = 0x8180 | (cut ? 0x0200 : 0) | static_cast<unsigned>(code);
  return question.substr(0, 2) + Number16(flags) + Number16(1) +
         Number16(static_cast<unsigned>(count)) + Number16(0) + Number16(0) + asked + data;
}

void DnsServer::Serve() {
  while (!stopping_) {
    std::array<pollfd, 2> ready = {{{.fd = udp_fd_, .events = POLLIN, .revents = 0},
                                    {.fd = tcp_fd_, .events = POLLIN, .revents = 0}}};
    if (poll(ready.data(), ready.size(), kPollMillis) <= 0) continue;
    if (ready[1].revents != 0) ServeTcp(accept(tcp_fd_, nullptr, nullptr));
    if (ready[0].revents == 0) continue;
    std::string question(4096, '\0');
    sockaddr_in from{};
    socklen_t bytes = sizeof from;
    const ssize_t got = recvfrom(udp_fd_, question.data(), question.size(), 0,
                                 reinterpret_cast<sockaddr*>(&from), &bytes);
    if (got < static_cast<ssize_t>(kHeaderBytes)) continue;
    ++questions_;
    if (silent_) continue;
    question.resize(static_cast<size_t>(got));
    const std::string answer = Answer(question, false);
    sendto(udp_fd_, answer.data(), answer.size(), 0, reinterpret_cast<sockaddr*>(&from), bytes);
  }
}

void DnsServer::ServeTcp(int fd) {
  std::string question(4096, '\0');
  size_t got = 0;
  while (got < 2 || got < 2 + ReadNumber16(question, 0)) {
    const ssize_t bytes = read(fd, question.data() + got, question.size() - got);
    if (bytes <= 0) break;
    got += static_cast<size_t>(bytes);
  }
  if (got > 2 + kHeaderBytes) {
    ++by_tcp_;
    const std::string answer = Answer(question.substr(2, got - 2), true);
    const std::string framed = Number16(static_cast<unsigned>(answer.size())) + answer;
    [[maybe_unused]] const ssize_t written = write(fd, framed.data(), framed.size());
  }
  close(fd);
}

}  // namespace varve::testing
