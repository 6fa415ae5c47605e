// SPDX-License-Identifier: Apache-2.0
//
// Sockets, threads and OpenSSL behind the test server.
#include "tests/net/test_server.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "model/check.h"

namespace varve::testing {
namespace {

std::string Decode(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      out += static_cast<char>(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16));
      i += 2;
    } else {
      out += text[i] == '+' ? ' ' : text[i];
    }
  }
  return out;
}

std::string BioText(BIO* bio) {
  char* data = nullptr;
  const long bytes = BIO_get_mem_data(bio, &data);
  std::string text(data, static_cast<size_t>(bytes));
  BIO_free(bio);
  return text;
}

std::string CertText(X509* cert) {
  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_X509(bio, cert);
  return BioText(bio);
}

X509* NewCert(EVP_PKEY* key, const std::string& common_name, long serial) {
  X509* cert = X509_new();
  X509_set_version(cert, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(cert), serial);
  X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
  X509_gmtime_adj(X509_getm_notAfter(cert), 24 * 3600);
  X509_set_pubkey(cert, key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(common_name.c_str()), -1, -1,
                             0);
  return cert;
}

void AddExtension(X509* cert, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, cert, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  INVARIANT(extension != nullptr);
  X509_add_ext(cert, extension, -1);
  X509_EXTENSION_free(extension);
}

X509* ParseCert(const std::string& pem) {
  BIO* bio = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
  X509* cert = PEM_read_bio_X509(bio, nullptr, nullptr, nullptr);
  BIO_free(bio);
  return cert;
}

SSL_CTX* NewServerContext(const TestServer::Options& options) {
  SSL_CTX* context = SSL_CTX_new(TLS_server_method());
  X509* cert = ParseCert(options.identity.cert_pem);
  BIO* bio = BIO_new_mem_buf(options.identity.key_pem.data(),
                             static_cast<int>(options.identity.key_pem.size()));
  EVP_PKEY* key = PEM_read_bio_PrivateKey(bio, nullptr, nullptr, nullptr);
  BIO_free(bio);
  INVARIANT(SSL_CTX_use_certificate(context, cert) == 1);
  INVARIANT(SSL_CTX_use_PrivateKey(context, key) == 1);
  if (options.tls_version != 0) {
    SSL_CTX_set_min_proto_version(context, options.tls_version);
    SSL_CTX_set_max_proto_version(context, options.tls_version);
  }
  X509_free(cert);
  EVP_PKEY_free(key);
  if (!options.client_ca_pem.empty()) {
    X509* ca = ParseCert(options.client_ca_pem);
    X509_STORE_add_cert(SSL_CTX_get_cert_store(context), ca);
    X509_free(ca);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  }
  return context;
}

}  // namespace

// --------------------------------------------------------------------------------------- request

std::string TestRequest::Header(const std::string& name) const {
  const auto it = headers.find(name);
  return it == headers.end() ? "" : it->second;
}

std::string TestRequest::Path() const { return target.substr(0, target.find('?')); }

bool TestRequest::HasQuery(const std::string& name) const {
  return ("&" + target.substr(std::min(target.find('?'), target.size() - 1) + 1))
             .find("&" + name + "=") != std::string::npos;
}

std::string TestRequest::Query(const std::string& name) const {
  if (!HasQuery(name)) return "";
  const std::string query = "&" + target.substr(target.find('?') + 1);
  const size_t begin = query.find("&" + name + "=") + name.size() + 2;
  return Decode(query.substr(begin, query.find('&', begin) - begin));
}

// ------------------------------------------------------------------------------------ connection

bool TestConnection::Write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ssl_ != nullptr
                                ? SSL_write(ssl_, bytes.data(), static_cast<int>(bytes.size()))
                                : send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (written <= 0) {
      close_ = true;
      return false;
    }
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

void TestConnection::Respond(int status, std::string_view body, std::string_view headers) {
  Write(fmt::format("HTTP/1.1 {} Reason\r\nContent-Length: {}\r\n{}\r\n{}", status, body.size(),
                    headers, body));
}

void TestConnection::BeginStream(std::string_view headers) {
  Write(fmt::format("HTTP/1.1 200 OK\r\nConnection: close\r\n{}\r\n", headers));
  Close();
}

void TestConnection::Reset() {
  const linger hard{1, 0};
  setsockopt(fd_, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  Close();
}

void TestConnection::WaitForClose() {
  char byte;
  while (Read(&byte, 1) > 0) {
  }
  Close();
}

size_t TestConnection::Read(char* buffer, size_t bytes) {
  const ssize_t got = ssl_ != nullptr ? SSL_read(ssl_, buffer, static_cast<int>(bytes))
                                      : recv(fd_, buffer, bytes, 0);
  return got > 0 ? static_cast<size_t>(got) : 0;
}

// ------------------------------------------------------------------------------------- authority

TestAuthority::TestAuthority(const std::string& name) {
  key_ = EVP_EC_gen("P-256");
  cert_ = NewCert(key_, name, 1);
  X509_set_issuer_name(cert_, X509_get_subject_name(cert_));
  AddExtension(cert_, cert_, NID_basic_constraints, "critical,CA:TRUE");
  AddExtension(cert_, cert_, NID_subject_key_identifier, "hash");
  X509_sign(cert_, key_, EVP_sha256());
  cert_pem_ = CertText(cert_);
}

TestAuthority::~TestAuthority() {
  X509_free(cert_);
  EVP_PKEY_free(key_);
}

TestAuthority::Identity TestAuthority::Issue(const std::string& common_name,
                                             const std::string& subject_alt_name) {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  X509* cert = NewCert(key, common_name, 2);
  X509_set_issuer_name(cert, X509_get_subject_name(cert_));
  if (!subject_alt_name.empty()) {
    AddExtension(cert, cert_, NID_subject_alt_name, subject_alt_name);
  }
  AddExtension(cert, cert_, NID_authority_key_identifier, "keyid");
  X509_sign(cert, key_, EVP_sha256());
  Identity identity;
  identity.cert_pem = CertText(cert);
  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr);
  identity.key_pem = BioText(bio);
  X509_free(cert);
  EVP_PKEY_free(key);
  return identity;
}

// ---------------------------------------------------------------------------------------- server

TestServer::TestServer(Handler handler, Options options)
    : handler_(std::move(handler)), options_(std::move(options)) {
  signal(SIGPIPE, SIG_IGN);  // SSL_write has no MSG_NOSIGNAL.
  if (!options_.identity.cert_pem.empty()) {
    tls_ = NewServerContext(options_);
    SSL_CTX_set_alpn_select_cb(tls_, &TestServer::OnProtocols, this);
  }
  if (options_.unix_socket.empty()) {
    listen_fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<uint16_t>(options_.port));
    const int reuse = 1;
    setsockopt(listen_fd_, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof reuse);
    INVARIANT(bind(listen_fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    socklen_t size = sizeof address;
    getsockname(listen_fd_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
  } else {
    listen_fd_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, options_.unix_socket.c_str(), sizeof address.sun_path - 1);
    INVARIANT(bind(listen_fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  }
  INVARIANT(listen(listen_fd_, 1024) == 0);
  acceptor_ = std::thread([this] { AcceptLoop(); });
}

TestServer::~TestServer() {
  stopping_ = true;
  shutdown(listen_fd_, SHUT_RDWR);
  acceptor_.join();
  std::vector<std::thread> threads;
  {
    MutexLock lock(mutex_);
    for (const int fd : open_fds_) shutdown(fd, SHUT_RDWR);
    threads.swap(threads_);
  }
  for (std::thread& thread : threads) thread.join();
  close(listen_fd_);
  SSL_CTX_free(tls_);
}

std::string TestServer::Url(std::string_view path) const {
  return fmt::format("{}://127.0.0.1:{}{}", tls_ != nullptr ? "https" : "http", port_, path);
}

int TestServer::OnProtocols(SSL* /*ssl*/, const unsigned char** out, unsigned char* out_bytes,
                            const unsigned char* in, unsigned in_bytes, void* self) {
  int result = SSL_TLSEXT_ERR_NOACK;
  // Each name stands behind its length.
  for (unsigned at = 0; at < in_bytes; at += 1 + in[at]) {
    const std::string_view name(reinterpret_cast<const char*>(in) + at + 1, in[at]);
    if (name == "h2") static_cast<TestServer*>(self)->offered_http2_ = true;
    if (name != "http/1.1") continue;
    *out = in + at + 1;
    *out_bytes = in[at];
    result = SSL_TLSEXT_ERR_OK;
  }
  return result;
}

void TestServer::AcceptLoop() {
  while (!stopping_) {
    const int fd = accept4(listen_fd_, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) continue;
    connections_.fetch_add(1);
    MutexLock lock(mutex_);
    if (stopping_) {
      close(fd);
      return;
    }
    open_fds_.push_back(fd);
    threads_.emplace_back([this, fd] { Serve(fd); });
  }
}

void TestServer::Serve(int fd) {
  SSL* ssl = nullptr;
  bool ready = true;
  if (tls_ != nullptr) {
    ssl = SSL_new(tls_);
    SSL_set_fd(ssl, fd);
    ready = SSL_accept(ssl) == 1;
  }
  TestConnection connection(fd, ssl);
  std::string input;
  char buffer[4096];
  while (ready && !connection.close_) {
    if (!input.empty() && input[0] == 0x16) {  // A TLS handshake on a plain port.
      connection.Respond(400, "Client sent an HTTPS request to an HTTP server.");
      break;
    }
    const size_t head_end = input.find("\r\n\r\n");
    if (head_end == std::string::npos) {
      const size_t bytes = connection.Read(buffer, sizeof buffer);
      if (bytes == 0) break;
      input.append(buffer, bytes);
      continue;
    }
    TestRequest request;
    const std::string head = input.substr(0, head_end + 2);
    input.erase(0, head_end + 4);
    size_t line_end = head.find("\r\n");
    const std::string line = head.substr(0, line_end);
    request.method = line.substr(0, line.find(' '));
    request.target = line.substr(line.find(' ') + 1, line.rfind(' ') - line.find(' ') - 1);
    while (line_end + 2 < head.size()) {
      const size_t begin = line_end + 2;
      line_end = head.find("\r\n", begin);
      const std::string header = head.substr(begin, line_end - begin);
      const size_t colon = header.find(':');
      std::string name = header.substr(0, colon);
      std::transform(name.begin(), name.end(), name.begin(), ::tolower);
      size_t value = colon + 1;
      while (value < header.size() && header[value] == ' ') ++value;
      request.headers[name] = header.substr(value);
    }
    const size_t length = std::strtoull(request.Header("content-length").c_str(), nullptr, 10);
    while (input.size() < length) {
      const size_t bytes = connection.Read(buffer, sizeof buffer);
      if (bytes == 0) break;
      input.append(buffer, bytes);
    }
    request.body = input.substr(0, length);
    input.erase(0, length);
    requests_.fetch_add(1);
    handler_(connection, request);
  }
  if (ssl != nullptr) {
    if (ready) SSL_shutdown(ssl);
    SSL_free(ssl);
  }
  ERR_clear_error();
  MutexLock lock(mutex_);
  open_fds_.erase(std::find(open_fds_.begin(), open_fds_.end(), fd));
  close(fd);
}

// --------------------------------------------------------------------------------------- helpers

ClosedPort::ClosedPort() : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  INVARIANT(bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  socklen_t size = sizeof address;
  getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size);
  port_ = ntohs(address.sin_port);
}

ClosedPort::~ClosedPort() { close(fd_); }

TempDir::TempDir() {
  std::string pattern = (std::filesystem::temp_directory_path() / "varve-test-XXXXXX").string();
  INVARIANT(mkdtemp(pattern.data()) != nullptr);
  path_ = pattern;
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string TempDir::Write(const std::string& name, std::string_view contents) const {
  const std::string path = path_ + "/" + name;
  std::ofstream(path, std::ios::binary | std::ios::trunc) << contents;
  return path;
}

bool Eventually(const std::function<bool()>& condition) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

}  // namespace varve::testing
