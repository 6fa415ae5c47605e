// SPDX-License-Identifier: Apache-2.0
//
// Blocking sockets with a receive timeout.
#include "tests/http/test_client.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

#include <cstdlib>

namespace varve {
namespace {

constexpr int kTimeoutSeconds = 20;

std::string Lower(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

}  // namespace

TestConnection::TestConnection(const std::string& address) {
  const size_t colon = address.rfind(':');
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(std::atoi(address.c_str() + colon + 1)));
  inet_pton(AF_INET, address.substr(0, colon).c_str(), &to.sin_addr);
  fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const timeval timeout{.tv_sec = kTimeoutSeconds, .tv_usec = 0};
  setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
  if (connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof(to)) != 0) Close();
}

TestConnection::~TestConnection() { Close(); }

void TestConnection::Close() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

bool TestConnection::Send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

bool TestConnection::Fill() {
  char piece[16 << 10];
  const ssize_t got = recv(fd_, piece, sizeof(piece), 0);
  if (got <= 0) return false;
  received_.append(piece, static_cast<size_t>(got));
  return true;
}

bool TestConnection::ReadUntil(std::string_view mark, std::string& out) {
  size_t at;
  while ((at = received_.find(mark)) == std::string::npos) {
    if (!Fill()) return false;
  }
  out = received_.substr(0, at);
  received_.erase(0, at + mark.size());
  return true;
}

bool TestConnection::ReadBytes(size_t count, std::string& out) {
  while (received_.size() < count) {
    if (!Fill()) return false;
  }
  out.append(received_, 0, count);
  received_.erase(0, count);
  return true;
}

TestResponse TestConnection::Receive(bool head) {
  TestResponse response;
  std::string text;
  if (!ReadUntil("\r\n\r\n", text)) return response;
  size_t line = text.find("\r\n");
  const int status = std::atoi(text.c_str() + text.find(' '));
  while (line != std::string::npos) {
    const size_t begin = line + 2;
    line = text.find("\r\n", begin);
    const std::string header = text.substr(begin, line - begin);
    const size_t colon = header.find(": ");
    if (colon == std::string::npos) continue;
    std::string& value = response.headers[Lower(header.substr(0, colon))];
    if (!value.empty()) value += ", ";
    value += header.substr(colon + 2);
  }
  if (!head && response.headers.contains("transfer-encoding")) {
    while (true) {
      std::string size_line;
      if (!ReadUntil("\r\n", size_line)) return response;
      const size_t size = std::strtoul(size_line.c_str(), nullptr, 16);
      std::string end;
      if (!ReadBytes(size, response.body) || !ReadBytes(2, end)) return response;
      if (size == 0) break;
    }
  } else if (!head && response.headers.contains("content-length")) {
    const size_t size = std::strtoul(response.headers["content-length"].c_str(), nullptr, 10);
    if (!ReadBytes(size, response.body)) return response;
  }
  response.status = status;
  return response;
}

bool TestConnection::WaitClosed() {
  char ignored[1024];
  while (true) {
    const ssize_t got = recv(fd_, ignored, sizeof(ignored), 0);
    if (got == 0) return true;
    if (got < 0) return errno == ECONNRESET;
  }
}

TestResponse TestRequest(const std::string& address, std::string_view method,
                         std::string_view target, std::string_view headers, std::string_view body) {
  TestConnection connection(address);
  const std::string length = body.empty() ? "" : fmt::format("Content-Length: {}\r\n", body.size());
  connection.Send(
      fmt::format("{} {} HTTP/1.1\r\nHost: test\r\n{}{}\r\n", method, target, headers, length));
  connection.Send(body);
  return connection.Receive(method == "HEAD");
}

TestResponse TestGet(const std::string& address, std::string_view target,
                     std::string_view headers) {
  return TestRequest(address, "GET", target, headers);
}

TestResponse TestPostForm(const std::string& address, std::string_view target,
                          std::string_view form) {
  return TestRequest(address, "POST", target, "Content-Type: application/x-www-form-urlencoded\r\n",
                     form);
}

std::string Gunzip(std::string_view bytes) {
  z_stream stream{};
  if (inflateInit2(&stream, 15 + 16) != Z_OK) return "";
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  std::string out;
  int result = Z_OK;
  while (result == Z_OK) {
    char piece[64 << 10];
    stream.next_out = reinterpret_cast<Bytef*>(piece);
    stream.avail_out = sizeof(piece);
    result = inflate(&stream, Z_NO_FLUSH);
    out.append(piece, sizeof(piece) - stream.avail_out);
  }
  inflateEnd(&stream);
  return result == Z_STREAM_END ? out : "";
}

}  // namespace varve
