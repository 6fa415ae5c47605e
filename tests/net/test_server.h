// SPDX-License-Identifier: Apache-2.0
//
// An HTTP/1.1 server for tests, on plain sockets and sharing no code with the client: a thread per
// connection, a handler that may answer with any bytes at all, and optionally TLS.
#pragma once

#include <openssl/ssl.h>

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "model/mutex.h"

namespace varve::testing {

struct TestRequest {
  std::string method;
  std::string target;                          // As on the request line: "/path?query".
  std::map<std::string, std::string> headers;  // Names in lower case.
  std::string body;

  std::string Header(const std::string& name) const;
  std::string Path() const;                          // Without the query.
  std::string Query(const std::string& name) const;  // Percent-decoded; "" if absent.
  bool HasQuery(const std::string& name) const;
};

// What a handler answers through. Writes fail silently once the client has gone.
class TestConnection {
 public:
  explicit TestConnection(int fd, SSL* ssl) : fd_(fd), ssl_(ssl) {}

  bool Write(std::string_view bytes);
  // A whole answer with Content-Length; `headers` are lines that end in \r\n.
  void Respond(int status, std::string_view body, std::string_view headers = "");
  // The head of an answer that ends with the connection.
  void BeginStream(std::string_view headers = "");
  // Ends the connection after the handler returns.
  void Close() { close_ = true; }
  // Ends it with a TCP reset.
  void Reset();
  // Returns when the client has closed the connection or the server stops.
  void WaitForClose();

 private:
  friend class TestServer;
  size_t Read(char* buffer, size_t bytes);

  int fd_;
  SSL* ssl_;
  bool close_ = false;
};

// A certificate authority that exists only in memory.
class TestAuthority {
 public:
  explicit TestAuthority(const std::string& name);
  ~TestAuthority();

  struct Identity {
    std::string cert_pem;
    std::string key_pem;
  };
  // `subject_alt_name` as OpenSSL writes it: "DNS:a.test,IP:127.0.0.1".
  Identity Issue(const std::string& common_name, const std::string& subject_alt_name);
  const std::string& cert_pem() const { return cert_pem_; }

 private:
  X509* cert_ = nullptr;
  EVP_PKEY* key_ = nullptr;
  std::string cert_pem_;
};

class TestServer {
 public:
  using Handler = std::function<void(TestConnection&, const TestRequest&)>;

  struct Options {
    int port = 0;                      // 0: one the system chooses.
    std::string unix_socket;           // Listens there instead of on 127.0.0.1.
    TestAuthority::Identity identity;  // Non-empty: TLS.
    std::string client_ca_pem;         // Non-empty: a client certificate is required.
    int tls_version = 0;               // The only one spoken, as OpenSSL numbers them; 0: any.
  };

  explicit TestServer(Handler handler) : TestServer(std::move(handler), Options()) {}
  TestServer(Handler handler, Options options);
  ~TestServer();

  int port() const { return port_; }
  std::string Url(std::string_view path) const;
  int connections() const { return connections_.load(); }
  int requests() const { return requests_.load(); }
  // Whether a client has said, in a TLS handshake, that it speaks HTTP/2. (This server does not.)
  bool was_offered_http2() const { return offered_http2_.load(); }

 private:
  void AcceptLoop();
  void Serve(int fd);
  static int OnProtocols(SSL* ssl, const unsigned char** out, unsigned char* out_bytes,
                         const unsigned char* in, unsigned in_bytes, void* self);

  const Handler handler_;
  const Options options_;
  SSL_CTX* tls_ = nullptr;
  int listen_fd_ = -1;
  int port_ = 0;
  std::atomic<bool> stopping_{false};
  std::atomic<int> connections_{0};
  std::atomic<int> requests_{0};
  std::atomic<bool> offered_http2_{false};
  std::thread acceptor_;

  Mutex mutex_;
  std::vector<std::thread> threads_ ABSL_GUARDED_BY(mutex_);
  std::vector<int> open_fds_ ABSL_GUARDED_BY(mutex_);
};

// A port of 127.0.0.1 on which nothing listens, held so that no other process gets it.
class ClosedPort {
 public:
  ClosedPort();
  ~ClosedPort();
  ClosedPort(const ClosedPort&) = delete;
  ClosedPort& operator=(const ClosedPort&) = delete;
  int port() const { return port_; }

 private:
  const int fd_;
  int port_ = 0;
};

// A directory of its own, removed with everything in it.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  const std::string& path() const { return path_; }
  std::string Write(const std::string& name, std::string_view contents) const;

 private:
  std::string path_;
};

// Waits until `condition` holds, or gives up after 20 s and returns false.
bool Eventually(const std::function<bool()>& condition);

}  // namespace varve::testing
