// SPDX-License-Identifier: Apache-2.0
//
// Between cpp-httplib, which reads requests and writes responses, and our routes. Of its server
// only process_request() is used: its own accept loop blocks a thread per idle connection, waits
// with select(), and ends on any failed accept.
#include "http/server.h"

#include <fmt/format.h>
#include <httplib.h>
#include <prometheus/counter.h>
#include <prometheus/histogram.h>
#include <re2/re2.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <charconv>
#include <ctime>
#include <exception>
#include <optional>
#include <utility>

#include "http/connections.h"
#include "http/gzip.h"
#include "http/listen.h"
#include "http/server_metrics.h"
#include "http/socket_stream.h"
#include "model/log_line.h"
#include "model/status_macros.h"

namespace varve {
namespace {

// Smaller bodies fit one packet as they are.
constexpr size_t kCompressedBytesMin = 1024;
// A streamed body is handed to the client in pieces of about this size.
constexpr size_t kStreamPieceBytes = 64 << 10;

// Memory taken for a body on its announcement alone.
constexpr size_t kBodyReserveBytesMax = 1 << 20;

// The request a worker is serving, for the handlers that cpp-httplib calls back on this thread.
struct Exchange {
  Connection& connection;
  SocketStream& stream;
  std::string accept_encoding;
  std::string origin;
  bool http_1_0 = false;
  bool client_closes = false;  // The client asked for the connection to be closed.
  bool body_pending = false;   // The request announced a body that nobody has read yet.
  bool bad_length = false;     // Where its body ends cannot be told.
  // What was answered, for the metrics. Null if there was no route.
  const Router::Route* route = nullptr;
  int status = 0;
};
thread_local Exchange* current_exchange = nullptr;

bool CompressibleType(std::string_view type) {
  return type.starts_with("text/") || type.starts_with("application/json") ||
         type.starts_with("application/javascript") || type.starts_with("image/svg") ||
         type.starts_with("application/manifest") || type.starts_with("application/yaml");
}

std::string HttpDate() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  char text[64];
  const size_t length = std::strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &utc);
  return std::string(text, length);
}

// Whether the headers say where the body ends: one length of digits, or chunks, not both.
bool HasGoodLength(const httplib::Request& request) {
  const size_t lengths = request.get_header_value_count("Content-Length");
  if (request.has_header("Transfer-Encoding")) {
    return lengths == 0 && request.get_header_value("Transfer-Encoding") == "chunked";
  }
  if (lengths == 0) return true;
  const std::string length = request.get_header_value("Content-Length");
  return lengths == 1 && !length.empty() && length.size() <= 18 &&
         length.find_first_not_of("0123456789") == std::string::npos;
}

bool IsForm(std::string_view content_type) {
  return content_type.starts_with("application/x-www-form-urlencoded");
}

class ServerImpl : public HttpServer, private httplib::Server {
 public:
  ServerImpl(const HttpServerOptions& options, const Router& router)
      : options_(options),
        router_(router),
        stream_limits_{.header_bytes_max = kRequestHeaderBytesMax,
                       .read_timeout = options.read_timeout,
                       .write_timeout = options.write_timeout} {}
  ~ServerImpl() override { Stop(); }

  absl::Status Start();

  const std::vector<std::string>& addresses() const override { return addresses_; }
  void SetReady() override { ready_ = true; }
  void Stop() override {
    stopping_ = true;
    if (connections_ != nullptr) connections_->Stop(options_.stop_timeout);
  }

 private:
  AfterServe Serve(Connection& connection);
  AfterServe ServeRequest(Connection& connection, SocketStream& stream);

  void Handle(const httplib::Request& from, httplib::Response& to,
              const httplib::ContentReader* reader);
  HttpRequest Convert(const httplib::Request& from, Exchange& exchange) const;
  bool CutPrefix(HttpRequest& request, HttpResponse& response) const;
  const Router::Route* Route(HttpRequest& request, HttpResponse& response) const;
  bool ReadBody(const Router::Route& route, const httplib::ContentReader& reader,
                Exchange& exchange, HttpRequest& request, HttpResponse& response) const;
  void Run(const Router::Route& route, const HttpRequest& request, HttpResponse& response) const;
  void AddCors(const Exchange& exchange, const HttpRequest& request, HttpResponse& response) const;
  void Send(const HttpRequest& request, HttpResponse response, httplib::Response& to) const;
  static void SendStream(HttpResponse response, bool compress, httplib::Response& to);

  const HttpServerOptions options_;
  const Router& router_;
  const StreamLimits stream_limits_;
  std::optional<re2::RE2> cors_origin_;
  std::unique_ptr<ServerMetrics> metrics_;
  std::vector<std::string> addresses_;
  std::atomic<bool> ready_{false};
  std::atomic<bool> stopping_{false};
  std::unique_ptr<Connections> connections_;  // Last: its threads use the rest.
};

absl::Status ServerImpl::Start() {
  cors_origin_.emplace("^(?s:" + options_.cors_origin_pattern + ")$", re2::RE2::Quiet);
  if (!cors_origin_->ok()) {
    return absl::InvalidArgumentError(fmt::format("could not compile CORS regex string '{}': {}",
                                                  options_.cors_origin_pattern,
                                                  cors_origin_->error()));
  }
  if (options_.registry != nullptr) metrics_ = std::make_unique<ServerMetrics>(*options_.registry);

  // Every request arrives at "/" (see ServeRequest), since routes are matched by router_.
  const auto plain = [this](const httplib::Request& from, httplib::Response& to) {
    Handle(from, to, nullptr);
  };
  const auto with_body = [this](const httplib::Request& from, httplib::Response& to,
                                const httplib::ContentReader& reader) {
    Handle(from, to, &reader);
  };
  Get("/", plain);
  httplib::Server::Options("/", plain);
  Post("/", httplib::Server::HandlerWithContentReader(with_body));
  Put("/", httplib::Server::HandlerWithContentReader(with_body));
  Patch("/", httplib::Server::HandlerWithContentReader(with_body));
  Delete("/", httplib::Server::HandlerWithContentReader(with_body));
  set_keep_alive_timeout(
      std::chrono::duration_cast<std::chrono::seconds>(options_.idle_timeout).count());
  // cpp-httplib cuts streamed bodies short when it has no listening socket; any other value does.
  svr_sock_ = 0;

  std::vector<ListenSocket> listening;
  for (const std::string& address : options_.addresses) {
    ASSIGN_OR_RETURN(ListenSocket socket, Listen(address));
    addresses_.push_back(socket.address);
    listening.push_back(std::move(socket));
  }
  ASSIGN_OR_RETURN(connections_,
                   Connections::Open({.connections_max = options_.connections_max,
                                      .threads_max = options_.threads_max,
                                      .idle_timeout = options_.idle_timeout},
                                     std::move(listening),
                                     [this](Connection& connection) { return Serve(connection); }));
  return absl::OkStatus();
}

AfterServe ServerImpl::Serve(Connection& connection) {
  SocketStream stream(connection, stream_limits_);
  do {
    const AfterServe after = ServeRequest(connection, stream);
    if (after == AfterServe::kClose) return after;
  } while (stream.HasReceived());
  return AfterServe::kKeep;
}

AfterServe ServerImpl::ServeRequest(Connection& connection, SocketStream& stream) {
  stream.BeginRequest();
  Exchange exchange{
      .connection = connection, .stream = stream, .accept_encoding = {}, .origin = {}};
  const auto setup = [&exchange](httplib::Request& request) {
    exchange.stream.EndHeader();
    exchange.accept_encoding = request.get_header_value("Accept-Encoding");
    exchange.origin = request.get_header_value("Origin");
    exchange.http_1_0 = request.version == "HTTP/1.0";
    exchange.client_closes = request.get_header_value("Connection") == "close";
    exchange.bad_length = !HasGoodLength(request);
    exchange.body_pending =
        request.get_header_value("Content-Length", 0) != "0" &&
        (request.has_header("Content-Length") || request.has_header("Transfer-Encoding"));
    // Compression is ours: cpp-httplib would pick brotli at its slowest level.
    request.headers.erase("Accept-Encoding");
    request.ranges.clear();
    // Its own routing matches std::regex, which recurses per character; `target` keeps the path.
    request.path = "/";
  };
  const auto start = std::chrono::steady_clock::now();
  current_exchange = &exchange;
  bool closed = false;
  bool ok = false;
  try {
    ok = process_request(stream, stopping_, closed, setup);
  } catch (const std::exception& error) {
    spdlog::error(LogLine("Request failed", {{"remote", connection.peer}, {"err", error.what()}}));
  }
  current_exchange = nullptr;
  // Before the client has the answer, so that whoever asks next finds it counted.
  if (metrics_ != nullptr && exchange.route != nullptr) {
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    metrics_->Observe(exchange.route->pattern, exchange.status, seconds.count(),
                      stream.bytes_written());
  }
  const bool whole = stream.Flush() && ok && !exchange.body_pending;
  if (whole && !closed && !stopping_ && !connection.gone) return AfterServe::kKeep;
  // Of a client that asked for the end nothing more is to come: no need to wait for its own.
  if (!whole || !exchange.client_closes || stream.HasUnread()) stream.Linger();
  return AfterServe::kClose;
}

void ServerImpl::Handle(const httplib::Request& from, httplib::Response& to,
                        const httplib::ContentReader* reader) {
  Exchange& exchange = *current_exchange;
  HttpRequest request = Convert(from, exchange);
  HttpResponse response;
  if (exchange.bad_length) {
    exchange.body_pending = true;  // Nothing after the header can be trusted.
    response.SetText(400, "Bad Request\n");
  } else if (CutPrefix(request, response)) {
    exchange.route = Route(request, response);
    if (exchange.route != nullptr &&
        (reader == nullptr || ReadBody(*exchange.route, *reader, exchange, request, response))) {
      Run(*exchange.route, request, response);
    }
    AddCors(exchange, request, response);
  }
  exchange.status = response.status;
  if (exchange.body_pending) response.SetHeader("Connection", "close");
  Send(request, std::move(response), to);
}

HttpRequest ServerImpl::Convert(const httplib::Request& from, Exchange& exchange) const {
  HttpRequest request;
  request.method = from.method;
  std::string_view target = from.target;
  target = target.substr(0, target.find('#'));
  const size_t question = std::min(target.find('?'), target.size());
  request.path = target.substr(0, question);
  if (question < target.size()) request.query = target.substr(question + 1);
  request.remote_address = exchange.connection.peer;
  request.headers.reserve(from.headers.size());
  for (const auto& [name, value] : from.headers) request.headers.emplace_back(name, value);
  request.cancelled = &exchange.connection.gone;
  return request;
}

bool ServerImpl::CutPrefix(HttpRequest& request, HttpResponse& response) const {
  const std::string& prefix = options_.route_prefix;
  if (prefix.empty()) return true;
  if (request.path.starts_with(prefix) &&
      (request.path.size() == prefix.size() || request.path[prefix.size()] == '/')) {
    request.path.erase(0, prefix.size());
    if (request.path.empty()) request.path = "/";
    return true;
  }
  if (request.path == "/") {
    response.status = 302;
    response.SetHeader("Location", prefix);
  } else {
    response.SetText(404, "404 page not found\n");
  }
  return false;
}

const Router::Route* ServerImpl::Route(HttpRequest& request, HttpResponse& response) const {
  if (request.method == "OPTIONS") {
    response.status = 204;
    return nullptr;
  }
  bool path_known = false;
  const Router::Route* route = router_.Find(request, &path_known);
  if (route == nullptr) {
    path_known ? response.SetText(405, "Method Not Allowed\n")
               : response.SetText(404, "404 page not found\n");
    return nullptr;
  }
  if (route->options.gated && (!ready_ || stopping_)) {
    response.SetText(503, "Service Unavailable");
    response.SetHeader("X-Prometheus-Stopping", stopping_ ? "true" : "false");
    return nullptr;
  }
  if (!ParseUrlEncoded(request.query, request.params)) {
    response.SetText(400, "invalid URL query\n");
    return nullptr;
  }
  return route;
}

bool ServerImpl::ReadBody(const Router::Route& route, const httplib::ContentReader& reader,
                          Exchange& exchange, HttpRequest& request, HttpResponse& response) const {
  // Without a length and not in chunks, cpp-httplib would read until the client closes.
  if (!exchange.body_pending) return true;
  const size_t bytes_max = route.options.body_bytes_max;
  const std::string_view length = request.Header("Content-Length");
  size_t announced = 0;
  std::from_chars(length.data(), length.data() + length.size(), announced);
  request.body.reserve(std::min({announced, bytes_max, kBodyReserveBytesMax}));
  bool too_long = false;
  const bool complete = reader([&](const char* data, size_t size) {
    if (size > bytes_max - request.body.size()) {
      too_long = true;
      return false;
    }
    request.body.append(data, size);
    return true;
  });
  if (too_long) {
    response.SetText(413, fmt::format("request body exceeds {} bytes\n", bytes_max));
    return false;
  }
  if (!complete) {
    response.SetText(400, "cannot read the request body\n");
    return false;
  }
  exchange.body_pending = false;
  if (IsForm(request.Header("Content-Type"))) {
    // Form values come before those of the URL, as in Go.
    HttpParams form;
    if (!ParseUrlEncoded(request.body, form)) {
      response.SetText(400, "invalid form body\n");
      return false;
    }
    form.Append(std::move(request.params));
    request.params = std::move(form);
    request.body.clear();
  }
  return true;
}

void ServerImpl::Run(const Router::Route& route, const HttpRequest& request,
                     HttpResponse& response) const {
  try {
    route.handler(request, response);
  } catch (const std::exception& error) {
    spdlog::error(LogLine("Handler failed", {{"path", request.path}, {"err", error.what()}}));
    response = HttpResponse();
    response.SetText(500, "Internal Server Error\n");
  }
}

void ServerImpl::AddCors(const Exchange& exchange, const HttpRequest& request,
                         HttpResponse& response) const {
  if (exchange.origin.empty()) return;
  if (request.method != "OPTIONS" && !request.path.starts_with("/api/v1/")) return;
  if (options_.cors_origin_pattern == ".*") {
    response.SetHeader("Access-Control-Allow-Origin", "*");
  } else if (re2::RE2::FullMatch(exchange.origin, *cors_origin_)) {
    response.SetHeader("Access-Control-Allow-Origin", exchange.origin);
    response.SetHeader("Vary", "Origin");
  } else {
    return;
  }
  response.SetHeader("Access-Control-Allow-Headers", "Accept, Authorization, Content-Type, Origin");
  response.SetHeader("Access-Control-Allow-Methods", "GET, POST, OPTIONS");
  response.SetHeader("Access-Control-Expose-Headers", "Date");
}

void ServerImpl::Send(const HttpRequest& request, HttpResponse response,
                      httplib::Response& to) const {
  const Exchange& exchange = *current_exchange;
  if (response.stream && (exchange.http_1_0 || request.method == "HEAD")) {
    response.stream([&response](std::string_view piece) {
      response.body.append(piece);
      return true;
    });
    response.stream = nullptr;
  }
  to.status = response.status;
  to.set_header("Date", HttpDate());
  for (const auto& [name, value] : response.headers) to.set_header(name, value);
  const bool compress = !response.no_compression && CompressibleType(response.content_type) &&
                        (response.stream || response.body.size() >= kCompressedBytesMin) &&
                        AcceptsGzip(exchange.accept_encoding);
  if (compress) to.set_header("Content-Encoding", "gzip");
  if (CompressibleType(response.content_type)) to.set_header("Vary", "Accept-Encoding");
  if (response.stream) {
    SendStream(std::move(response), compress, to);
    return;
  }
  if (compress) {
    std::string packed;
    GzipStream gzip;
    gzip.Add(response.body, packed);
    gzip.Finish(packed);
    to.body = std::move(packed);
  } else {
    to.body = std::move(response.body);
  }
  if (!response.content_type.empty()) to.set_header("Content-Type", response.content_type);
}

void ServerImpl::SendStream(HttpResponse response, bool compress, httplib::Response& to) {
  const size_t bytes = compress ? 0 : response.stream_bytes;
  auto produce = [stream = std::move(response.stream), compress, bytes](httplib::DataSink& sink) {
    std::string pending;
    std::optional<GzipStream> gzip;
    if (compress) gzip.emplace();
    bool alive = true;
    const auto flush = [&] {
      if (!pending.empty()) alive = alive && sink.write(pending.data(), pending.size());
      pending.clear();
      return alive && sink.is_writable();
    };
    stream([&](std::string_view piece) {
      if (!compress && pending.empty() && piece.size() >= kStreamPieceBytes) {
        alive = alive && sink.write(piece.data(), piece.size());
        return alive && sink.is_writable();
      }
      if (compress) {
        gzip->Add(piece, pending);
      } else {
        pending.append(piece);
      }
      return pending.size() < kStreamPieceBytes || flush();
    });
    if (compress) gzip->Finish(pending);
    if (!flush()) return false;
    if (bytes == 0) sink.done();
    return true;
  };
  if (bytes > 0) {
    return to.set_content_provider(
        bytes, response.content_type,
        [produce = std::move(produce)](size_t, size_t, httplib::DataSink& sink) {
          return produce(sink);
        });
  }
  to.set_chunked_content_provider(
      response.content_type,
      [produce = std::move(produce)](size_t, httplib::DataSink& sink) { return produce(sink); });
}

}  // namespace

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Open(const HttpServerOptions& options,
                                                             const Router& router) {
  auto server = std::make_unique<ServerImpl>(options, router);
  RETURN_IF_ERROR(server->Start());
  return server;
}

}  // namespace varve
