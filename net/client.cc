// SPDX-License-Identifier: Apache-2.0
//
// libcurl's multi interface driven by the event loop: libcurl says which sockets and which timeout
// to wait for, the loop tells it what happened. Requests that can go over a plain connection use
// libcurl to dial it, and leave libcurl's cache of connections to the others.
#include "net/client.h"

#include <absl/container/flat_hash_map.h>
#include <curl/curl.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <ctime>

#include "model/check.h"
#include "model/status_macros.h"
#include "net/body_pool.h"
#include "net/error_text.h"
#include "net/oauth2.h"
#include "net/plain_connection.h"
#include "net/prepared_request.h"
#include "net/transfer.h"

namespace varve {
namespace {

constexpr size_t kIdleHandlesMax = 256;
constexpr int64_t kNever = INT64_MAX;

// Thread-safe: libcurl's own initialisation is, and this happens once.
absl::Status InitialiseCurl() {
  static const CURLcode kResult = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (kResult == CURLE_OK) return absl::OkStatus();
  return absl::InternalError("initialising libcurl failed");
}

absl::Status StoppedError() { return absl::CancelledError("the HTTP client is stopped"); }

}  // namespace

class HttpClient::Impl : public FdHandler, public PlainConnectionListener {
 public:
  explicit Impl(Options options)
      : options_(std::move(options)),
        clock_(options_.clock != nullptr ? *options_.clock : RealClock()),
        idle_connections_(options_.idle_connections_max) {}
  ~Impl() override;

  absl::Status Open();
  void Stop();
  absl::StatusOr<std::shared_ptr<const PreparedRequest>> Prepare(ClientRequest request) const {
    return PreparedRequest::Create(std::move(request), options_.user_agent);
  }
  TransferId Start(ClientRequest request, DoneCallback done);
  TransferId Start(absl::StatusOr<std::shared_ptr<const PreparedRequest>> request,
                   uint64_t body_bytes_expected, DoneCallback done);
  void Cancel(TransferId id);
  void Recycle(std::string body) { bodies_.Return(std::move(body)); }
  EventLoop& loop() { return *loop_; }

 private:
  static int OnSocket(CURL* easy, curl_socket_t socket, int what, void* self, void* known);
  static int OnTimeout(CURLM* multi, long timeout_ms, void* self);
  void OnReady(int fd, uint32_t events) override;
  void OnConnectionReady(PlainConnection& connection) override;
  void ArmTimer();

  void Admit(std::unique_ptr<Transfer> transfer);
  void AwaitToken(Transfer& transfer);
  void FetchToken(const std::shared_ptr<TokenStore::Entry>& entry);
  void OnToken(TokenStore::Entry& entry, const absl::StatusOr<ClientResponse>& response);
  void Begin(Transfer& transfer);
  void BeginWithCurl(Transfer& transfer);
  void SendOver(Transfer& transfer, std::unique_ptr<PlainConnection> connection);
  absl::Status OnDialled(Transfer& transfer);
  void OnAnswered(Transfer& transfer);
  void Settle(Transfer& transfer, CURLcode code);
  void ReturnHandle(Transfer& transfer);
  void ReturnConnection(Transfer& transfer);
  void ReapFinished();
  void OnFinished(Transfer& transfer, CURLcode code);
  void ScheduleTimeouts(Transfer& transfer);
  void OnTransferTimer(uint64_t id);
  void Complete(Transfer& transfer, absl::StatusOr<ClientResponse> result);
  void Shutdown();

  // Constant after Open().
  const Options options_;
  Clock& clock_;
  std::unique_ptr<EventLoop> loop_;

  std::atomic<uint64_t> next_id_{1};
  BodyPool bodies_;

  // The loop thread's own.
  CURLM* multi_ = nullptr;
  int timer_fd_ = -1;  // libcurl's timeouts are real time, whatever the clock is.
  absl::flat_hash_map<uint64_t, std::unique_ptr<Transfer>> transfers_;
  std::vector<CurlHandle> idle_handles_;
  IdleConnections idle_connections_;
  TokenStore tokens_;
  bool stopped_ = false;
  // In real time: when libcurl wants to be called, and when timer_fd_ goes off.
  int64_t wanted_nanos_ = kNever;
  int64_t armed_nanos_ = kNever;
  bool beginning_ = false;
};

absl::Status HttpClient::Impl::Open() {
  RETURN_IF_ERROR(InitialiseCurl());
  timer_fd_ = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  if (timer_fd_ < 0) return absl::ErrnoToStatus(errno, "creating a timer");
  multi_ = curl_multi_init();
  if (multi_ == nullptr) return absl::InternalError("initialising libcurl failed");
  curl_multi_setopt(multi_, CURLMOPT_SOCKETFUNCTION, &Impl::OnSocket);
  curl_multi_setopt(multi_, CURLMOPT_SOCKETDATA, this);
  curl_multi_setopt(multi_, CURLMOPT_TIMERFUNCTION, &Impl::OnTimeout);
  curl_multi_setopt(multi_, CURLMOPT_TIMERDATA, this);
  // libcurl's default follows the number of transfers of the moment, and between two scrapes that
  // is zero.
  curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS, static_cast<long>(options_.idle_connections_max));
  EventLoop::Options loop_options;
  loop_options.thread_name = options_.thread_name;
  loop_options.wait_max = options_.wait_max;
  ASSIGN_OR_RETURN(loop_, EventLoop::Open(clock_, std::move(loop_options)));
  loop_->Post([this] {
    const absl::Status status = loop_->WatchFd(timer_fd_, EPOLLIN, *this);
    INVARIANT(status.ok());
  });
  return absl::OkStatus();
}

HttpClient::Impl::~Impl() {
  Stop();
  if (timer_fd_ >= 0) close(timer_fd_);
}

void HttpClient::Impl::Stop() {
  if (loop_ == nullptr) {
    if (multi_ != nullptr) curl_multi_cleanup(std::exchange(multi_, nullptr));
    return;
  }
  loop_->Post([this] { Shutdown(); });
  loop_->Stop();
}

void HttpClient::Impl::Shutdown() {
  if (stopped_) return;
  stopped_ = true;
  while (!transfers_.empty()) {
    Transfer& transfer = *transfers_.begin()->second;
    Complete(transfer, transfer.Abort(StoppedError()));
  }
  idle_connections_.Clear();
  for (const CurlHandle& handle : idle_handles_) curl_easy_cleanup(handle.easy);
  idle_handles_.clear();
  curl_multi_cleanup(std::exchange(multi_, nullptr));
  loop_->UnwatchFd(timer_fd_);
}

TransferId HttpClient::Impl::Start(ClientRequest request, DoneCallback done) {
  const uint64_t body_bytes_expected = request.body_bytes_expected;
  return Start(Prepare(std::move(request)), body_bytes_expected, std::move(done));
}

TransferId HttpClient::Impl::Start(absl::StatusOr<std::shared_ptr<const PreparedRequest>> request,
                                   uint64_t body_bytes_expected, DoneCallback done) {
  const uint64_t id = next_id_.fetch_add(1, std::memory_order_relaxed);
  // What is posted is kept here too, since a loop that is stopping drops it.
  if (!request.ok()) {
    const auto shared = std::make_shared<DoneCallback>(std::move(done));
    if (!loop_->Post([shared, status = request.status()] { (*shared)(status); })) {
      (*shared)(StoppedError());
    }
    return TransferId{id};
  }
  auto transfer = std::make_unique<Transfer>(id, *std::move(request), body_bytes_expected,
                                             std::move(done), clock_.MonotonicNanos());
  transfer->clock = &clock_;
  transfer->bodies = &bodies_;
  const auto shared = std::make_shared<std::unique_ptr<Transfer>>(std::move(transfer));
  const bool posted = loop_->Post([this, shared] { Admit(std::move(*shared)); });
  if (!posted) (*shared)->done((*shared)->Abort(StoppedError()));
  return TransferId{id};
}

void HttpClient::Impl::Admit(std::unique_ptr<Transfer> owned) {
  Transfer& transfer = *owned;
  transfers_.emplace(transfer.id(), std::move(owned));
  if (stopped_) {
    Complete(transfer, transfer.Abort(StoppedError()));
    return;
  }
  ScheduleTimeouts(transfer);
  if (transfer.token_config() != nullptr) {
    AwaitToken(transfer);
  } else {
    Begin(transfer);
  }
}

void HttpClient::Impl::AwaitToken(Transfer& transfer) {
  const int64_t now = clock_.MonotonicNanos();
  const auto entry = tokens_.Get(*transfer.token_config(), transfer.client_secret(), now);
  if (entry->token && now < entry->token->expiry_nanos) {
    transfer.SetToken(entry->token->header);
    Begin(transfer);
    return;
  }
  entry->waiting.push_back(transfer.id());
  if (!entry->fetching) FetchToken(entry);
}

void HttpClient::Impl::FetchToken(const std::shared_ptr<TokenStore::Entry>& entry) {
  entry->fetching = true;
  Start(TokenRequest(entry->config, entry->secret, entry->style),
        [this, entry](const absl::StatusOr<ClientResponse>& response) {
          entry->fetching = false;
          const bool refused = response.ok() && (response->status < 200 || response->status > 299);
          if (refused && !entry->style_known && entry->style == TokenRequestStyle::kHeader &&
              !stopped_) {
            entry->style = TokenRequestStyle::kForm;
            FetchToken(entry);
            return;
          }
          OnToken(*entry, response);
        });
}

void HttpClient::Impl::OnToken(TokenStore::Entry& entry,
                               const absl::StatusOr<ClientResponse>& response) {
  absl::Status status = response.status();
  entry.token.reset();
  if (status.ok()) {
    absl::StatusOr<AccessToken> token = ParseToken(*response, clock_.MonotonicNanos());
    status = token.status();
    if (token.ok()) entry.token = *std::move(token);
  }
  // Both ways are open again once both have failed.
  if (status.ok()) entry.style_known = true;
  if (!status.ok() && !entry.style_known) entry.style = TokenRequestStyle::kHeader;
  for (const uint64_t id : std::exchange(entry.waiting, {})) {
    const auto it = transfers_.find(id);
    if (it == transfers_.end()) continue;  // Cancelled, or out of time.
    Transfer& transfer = *it->second;
    if (status.ok()) {
      transfer.SetToken(entry.token->header);
      Begin(transfer);
    } else {
      Complete(transfer, transfer.Abort(status));
    }
  }
}

void HttpClient::Impl::Begin(Transfer& transfer) {
  std::unique_ptr<PlainConnection> connection;
  if (transfer.plain()) {
    connection = idle_connections_.Take(transfer.peer(), clock_.MonotonicNanos());
  }
  if (connection == nullptr) return BeginWithCurl(transfer);
  SendOver(transfer, std::move(connection));
}

void HttpClient::Impl::SendOver(Transfer& transfer, std::unique_ptr<PlainConnection> connection) {
  transfer.Send(std::move(connection));
  if (transfer.connection()->failure() != CURLE_OK) OnAnswered(transfer);
}

void HttpClient::Impl::BeginWithCurl(Transfer& transfer) {
  CurlHandle handle;
  if (idle_handles_.empty()) {
    handle.easy = curl_easy_init();
  } else {
    handle = std::move(idle_handles_.back());
    idle_handles_.pop_back();
  }
  CURL* const easy = handle.easy;
  if (easy == nullptr) {
    Complete(transfer, transfer.Abort(absl::ResourceExhaustedError("out of memory")));
    return;
  }
  absl::Status status = transfer.Configure(std::move(handle));
  if (!status.ok()) {
    Complete(transfer, transfer.Abort(std::move(status)));
    return;
  }
  // libcurl asks for a timeout of 0 when it is given a handle: honoured here, without a turn of the
  // loop and a timer.
  beginning_ = true;
  curl_multi_add_handle(multi_, easy);
  beginning_ = false;
  int running = 0;
  curl_multi_socket_action(multi_, CURL_SOCKET_TIMEOUT, 0, &running);
  ReapFinished();
}

void HttpClient::Impl::Cancel(TransferId id) {
  loop_->Post([this, id] {
    const auto it = transfers_.find(static_cast<uint64_t>(id));
    if (it == transfers_.end()) return;
    Complete(*it->second, it->second->Abort(absl::CancelledError("context canceled")));
  });
}

int HttpClient::Impl::OnSocket(CURL* /*easy*/, curl_socket_t socket, int what, void* self,
                               void* /*known*/) {
  auto* impl = static_cast<Impl*>(self);
  if (what == CURL_POLL_REMOVE) {
    impl->loop_->UnwatchFd(socket);
    return 0;
  }
  const uint32_t events = ((what & CURL_POLL_IN) != 0 ? uint32_t{EPOLLIN} : 0) |
                          ((what & CURL_POLL_OUT) != 0 ? uint32_t{EPOLLOUT} : 0);
  return impl->loop_->WatchFd(socket, events, *impl).ok() ? 0 : -1;
}

int HttpClient::Impl::OnTimeout(CURLM* /*multi*/, long timeout_ms, void* self) {
  auto* impl = static_cast<Impl*>(self);
  if (timeout_ms == 0 && impl->beginning_) return 0;
  impl->wanted_nanos_ =
      timeout_ms < 0 ? kNever : RealClock().MonotonicNanos() + int64_t{timeout_ms} * kNanosPerMs;
  impl->ArmTimer();
  return 0;
}

// Each transfer wants to wait for half a minute, and soon no more: a timer that goes off early is
// set anew then, which is less than two system calls a transfer.
void HttpClient::Impl::ArmTimer() {
  if (wanted_nanos_ >= armed_nanos_) return;
  itimerspec spec{};
  const int64_t delay = std::max<int64_t>(1, wanted_nanos_ - RealClock().MonotonicNanos());
  spec.it_value.tv_sec = delay / kNanosPerSecond;
  spec.it_value.tv_nsec = delay % kNanosPerSecond;
  timerfd_settime(timer_fd_, 0, &spec, nullptr);
  armed_nanos_ = wanted_nanos_;
}

void HttpClient::Impl::OnReady(int fd, uint32_t events) {
  int running = 0;
  if (fd == timer_fd_) {
    uint64_t expirations = 0;
    [[maybe_unused]] const ssize_t bytes = read(timer_fd_, &expirations, sizeof expirations);
    armed_nanos_ = kNever;
    if (wanted_nanos_ <= RealClock().MonotonicNanos()) {
      wanted_nanos_ = kNever;
      curl_multi_socket_action(multi_, CURL_SOCKET_TIMEOUT, 0, &running);
    }
    ArmTimer();
  } else {
    const int mask = ((events & EPOLLIN) != 0 ? CURL_CSELECT_IN : 0) |
                     ((events & EPOLLOUT) != 0 ? CURL_CSELECT_OUT : 0) |
                     ((events & (EPOLLERR | EPOLLHUP)) != 0 ? CURL_CSELECT_ERR : 0);
    curl_multi_socket_action(multi_, fd, mask, &running);
  }
  ReapFinished();
}

void HttpClient::Impl::ReapFinished() {
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi_, &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    const CURLcode code = message->data.result;
    void* transfer = nullptr;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
    OnFinished(*static_cast<Transfer*>(transfer), code);
  }
}

void HttpClient::Impl::OnFinished(Transfer& transfer, CURLcode code) {
  if (code == CURLE_OK && transfer.dialling()) {
    absl::Status status = OnDialled(transfer);
    if (!status.ok()) Complete(transfer, transfer.Abort(std::move(status)));
    return;
  }
  Settle(transfer, code);
}

// libcurl closes its descriptor of the socket; the connection goes on with another.
absl::Status HttpClient::Impl::OnDialled(Transfer& transfer) {
  curl_socket_t socket = CURL_SOCKET_BAD;
  curl_easy_getinfo(transfer.easy(), CURLINFO_ACTIVESOCKET, &socket);
  const int fd = fcntl(socket, F_DUPFD_CLOEXEC, 0);
  if (fd < 0) return absl::ErrnoToStatus(errno, "keeping a connection");
  ReturnHandle(transfer);
  ASSIGN_OR_RETURN(std::unique_ptr<PlainConnection> connection,
                   PlainConnection::Create(fd, transfer.peer(), *loop_, *this));
  SendOver(transfer, std::move(connection));
  return absl::OkStatus();
}

void HttpClient::Impl::OnConnectionReady(PlainConnection& connection) {
  if (connection.transfer == 0) {
    if (!connection.Quiet()) idle_connections_.Close(connection);
    return;
  }
  Transfer& transfer = *transfers_.at(connection.transfer);
  if (connection.Proceed(transfer)) OnAnswered(transfer);
}

// The answer is complete, or there will be none.
void HttpClient::Impl::OnAnswered(Transfer& transfer) {
  const PlainConnection& connection = *transfer.connection();
  const CURLcode code = connection.failure();
  if (code != CURLE_OK && connection.reused() && !connection.answered()) {
    // Closed by the peer before it saw the request. What is dialled for it is not reused.
    transfer.ReleaseConnection();
    return BeginWithCurl(transfer);
  }
  Settle(transfer, code);
}

// Follows a redirect, or completes the transfer.
void HttpClient::Impl::Settle(Transfer& transfer, CURLcode code) {
  if (code == CURLE_OK) {
    absl::StatusOr<bool> followed = transfer.FollowRedirect();
    if (!followed.ok()) return Complete(transfer, std::move(followed).status());
    if (*followed) {
      ReturnHandle(transfer);
      ReturnConnection(transfer);
      return Begin(transfer);
    }
  }
  Complete(transfer, transfer.Finish(code, clock_.MonotonicNanos()));
}

void HttpClient::Impl::ReturnConnection(Transfer& transfer) {
  std::unique_ptr<PlainConnection> connection = transfer.ReleaseConnection();
  if (connection == nullptr || !connection->reusable()) return;
  idle_connections_.Put(std::move(connection), clock_.MonotonicNanos());
}

void HttpClient::Impl::ReturnHandle(Transfer& transfer) {
  CURL* const easy = transfer.easy();
  if (easy == nullptr) return;
  curl_multi_remove_handle(multi_, easy);
  CurlHandle handle = transfer.Release();
  if (idle_handles_.size() < kIdleHandlesMax) {
    idle_handles_.push_back(std::move(handle));
  } else {
    curl_easy_cleanup(easy);
  }
}

void HttpClient::Impl::ScheduleTimeouts(Transfer& transfer) {
  const int64_t deadline = transfer.NextDeadline();
  if (deadline == Transfer::kNoDeadline) return;
  transfer.timer = loop_->RunAt(deadline, [this, id = transfer.id()] { OnTransferTimer(id); });
}

void HttpClient::Impl::OnTransferTimer(uint64_t id) {
  const auto it = transfers_.find(id);
  if (it == transfers_.end()) return;
  Transfer& transfer = *it->second;
  absl::Status status = transfer.CheckTimeouts(clock_.MonotonicNanos());
  if (status.ok()) {
    ScheduleTimeouts(transfer);  // Bytes have arrived since it was set.
  } else {
    Complete(transfer, transfer.Abort(std::move(status)));
  }
}

void HttpClient::Impl::Complete(Transfer& transfer, absl::StatusOr<ClientResponse> result) {
  if (transfer.timer != kNoTimer) loop_->Cancel(transfer.timer);
  ReturnHandle(transfer);
  ReturnConnection(transfer);
  const auto it = transfers_.find(transfer.id());
  const std::unique_ptr<Transfer> owned = std::move(it->second);
  transfers_.erase(it);
  owned->done(std::move(result));
}

// ------------------------------------------------------------------------------------ public face

HttpClient::HttpClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpClient::~HttpClient() { Stop(); }

absl::StatusOr<std::unique_ptr<HttpClient>> HttpClient::Open(Options options) {
  auto impl = std::make_unique<Impl>(std::move(options));
  RETURN_IF_ERROR(impl->Open());
  return std::unique_ptr<HttpClient>(new HttpClient(std::move(impl)));
}

void HttpClient::Stop() { impl_->Stop(); }

TransferId HttpClient::Start(ClientRequest request, DoneCallback done) {
  return impl_->Start(std::move(request), std::move(done));
}

absl::StatusOr<std::shared_ptr<const PreparedRequest>> HttpClient::Prepare(
    ClientRequest request) const {
  return impl_->Prepare(std::move(request));
}

TransferId HttpClient::Start(absl::StatusOr<std::shared_ptr<const PreparedRequest>> request,
                             uint64_t body_bytes_expected, DoneCallback done) {
  return impl_->Start(std::move(request), body_bytes_expected, std::move(done));
}

void HttpClient::Recycle(std::string body) { impl_->Recycle(std::move(body)); }

void HttpClient::Cancel(TransferId transfer) { impl_->Cancel(transfer); }

EventLoop& HttpClient::loop() { return impl_->loop(); }

absl::StatusOr<ClientResponse> HttpClient::Fetch(ClientRequest request) {
  INVARIANT(!loop().OnLoopThread());
  // Shared, so that the callback may still be notifying while this function returns.
  struct State {
    Mutex mutex;
    CondVar done;
    std::optional<absl::StatusOr<ClientResponse>> result ABSL_GUARDED_BY(mutex);
  };
  const auto state = std::make_shared<State>();
  Start(std::move(request), [state](absl::StatusOr<ClientResponse> response) {
    MutexLock lock(state->mutex);
    state->result = std::move(response);
    state->done.NotifyAll();
  });
  MutexLock lock(state->mutex);
  while (!state->result.has_value()) state->done.Wait(state->mutex);
  return *std::move(state->result);
}

std::string_view ClientResponse::Header(std::string_view name) const {
  for (const HttpHeader& header : headers) {
    if (header.name == name) return header.value;
  }
  return "";
}

std::optional<std::chrono::seconds> ClientResponse::RetryAfter(TimestampMs now) const {
  const std::string value(Header("retry-after"));
  if (value.empty()) return std::nullopt;
  int64_t seconds = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), seconds);
  if (error == std::errc() && end == value.data() + value.size()) {
    return std::chrono::seconds(std::max<int64_t>(0, seconds));
  }
  const time_t when = curl_getdate(value.c_str(), nullptr);
  if (when < 0) return std::nullopt;
  return std::chrono::seconds(std::max<int64_t>(0, static_cast<int64_t>(when) - now / 1000));
}

}  // namespace varve
