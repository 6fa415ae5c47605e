// SPDX-License-Identifier: Apache-2.0
//
// A plain HTTP/1.1 client on blocking sockets, for tests that need to see every byte.
#pragma once

#include <map>
#include <string>
#include <string_view>

namespace varve {

struct TestResponse {
  int status = 0;                              // 0: the connection ended without an answer.
  std::map<std::string, std::string> headers;  // Names in lower case.
  std::string body;                            // Chunks joined, not decompressed.
};

// One connection. Every read gives up after 20 seconds.
class TestConnection {
 public:
  // `address` is "127.0.0.1:PORT".
  explicit TestConnection(const std::string& address);
  ~TestConnection();
  TestConnection(const TestConnection&) = delete;
  TestConnection& operator=(const TestConnection&) = delete;

  bool connected() const { return fd_ >= 0; }
  bool Send(std::string_view bytes);
  // Reads one response. `head` = to a HEAD request, which has no body.
  TestResponse Receive(bool head = false);
  // Whether the peer closes within 20 seconds.
  bool WaitClosed();
  void Close();

 private:
  bool Fill();
  bool ReadUntil(std::string_view mark, std::string& out);
  bool ReadBytes(size_t count, std::string& out);

  int fd_ = -1;
  std::string received_;
};

// A request of its own connection. `headers` are whole lines with their CRLF.
TestResponse TestRequest(const std::string& address, std::string_view method,
                         std::string_view target, std::string_view headers = "",
                         std::string_view body = "");
TestResponse TestGet(const std::string& address, std::string_view target,
                     std::string_view headers = "");
TestResponse TestPostForm(const std::string& address, std::string_view target,
                          std::string_view form);

// Decompresses gzip; "" if it is none.
std::string Gunzip(std::string_view bytes);

}  // namespace varve
