// SPDX-License-Identifier: Apache-2.0
//
// A DNS server for tests, over UDP and TCP on one port of 127.0.0.1: what it knows is told to it.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "model/mutex.h"

namespace varve::testing {

class DnsServer {
 public:
  DnsServer();
  ~DnsServer();
  DnsServer(const DnsServer&) = delete;
  DnsServer& operator=(const DnsServer&) = delete;

  // "127.0.0.1:PORT"
  std::string address() const;

  // Record data in wire format.
  static std::string A(const std::string& address);
  static std::string Aaaa(const std::string& address);
  static std::string Name(std::string_view name);
  static std::string Srv(uint16_t port, std::string_view target);
  static std::string Mx(uint16_t preference, std::string_view target);

  // Answers questions of (name, type) with the records from now on; types are numbers of DNS. Names
  // that are not known do not exist.
  void Set(const std::string& name, uint16_t type, std::vector<std::string> records);
  void Forget(const std::string& name);
  // Answers every question with this code instead, unless it is 0.
  void FailWith(int code) { failure_ = code; }
  // Does not answer at all.
  void BeSilent(bool silent) { silent_ = silent; }
  int questions() const { return questions_.load(); }
  int questions_by_tcp() const { return by_tcp_.load(); }

 private:
  void Serve();
  void ServeTcp(int fd);
  std::string Answer(const std::string& question, bool tcp);

  int udp_fd_ = -1;
  int tcp_fd_ = -1;
  int port_ = 0;
  std::atomic<bool> stopping_{false};
  std::atomic<bool> silent_{false};
  std::atomic<int> failure_{0};
  std::atomic<int> questions_{0};
  std::atomic<int> by_tcp_{0};

  Mutex mutex_;
  std::map<std::pair<std::string, uint16_t>, std::vector<std::string>> records_
      ABSL_GUARDED_BY(mutex_);
  std::thread thread_;  // Last: it uses the others.
};

}  // namespace varve::testing
