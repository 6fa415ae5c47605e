// SPDX-License-Identifier: Apache-2.0
//
// The states of list + watch, and which failure leads to which.
#include "kube/reflector.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "model/labels.h"
#include "model/log_line.h"
#include "model/percent_encoding.h"
#include "model/status_macros.h"

namespace varve {
namespace {

// Beyond the time the server was asked to keep a watch open.
constexpr std::chrono::seconds kWatchGrace{30};
constexpr std::chrono::seconds kListIdleTimeout{60};

absl::Status StatusError(const KubeStatus& status) {
  const std::string text =
      fmt::format("the server answered {}{}{}: {}", status.code, status.reason.empty() ? "" : " ",
                  status.reason, status.message);
  switch (status.code) {
    case 401:
      return absl::UnauthenticatedError(text);
    case 403:
      return absl::PermissionDeniedError(text);
    case 404:
      return absl::NotFoundError(text);
    case 429:
      return absl::ResourceExhaustedError(text);
    default:
      return absl::UnavailableError(text);
  }
}

}  // namespace

std::chrono::nanoseconds KubeBackoff::Next(int64_t now_nanos) {
  const bool reset = base_.count() == 0 ||
                     now_nanos - last_nanos_ > std::chrono::nanoseconds(kKubeBackoffReset).count();
  base_ = reset ? std::chrono::nanoseconds(kKubeBackoffMin)
                : std::min<std::chrono::nanoseconds>(base_ * 2, kKubeBackoffMax);
  last_nanos_ = now_nanos;
  return base_ + std::chrono::nanoseconds(random_() % static_cast<uint64_t>(base_.count()));
}

Reflector::Reflector(KubeClient& client, const InformerKey& key, uint64_t seed, Sink& sink)
    : client_(client),
      key_(key),
      sink_(sink),
      random_(seed),
      backoff_(random_),
      decoder_(key.resource) {}

Reflector::~Reflector() {
  *self_ = nullptr;
  client_.http().loop().Cancel(timer_);
  client_.http().Cancel(transfer_);
}

std::string Reflector::Path(const std::string& parameters) const {
  const KubeResourceInfo& info = ResourceInfoOf(key_.resource);
  std::string path(info.api_path);
  if (info.namespaced && !key_.namespace_.empty()) {
    path += "/namespaces/" + PercentEncoded(key_.namespace_);
  }
  path += fmt::format("/{}?{}", info.plural, parameters);
  if (!key_.label_selector.empty()) {
    path += "&labelSelector=" + PercentEncoded(key_.label_selector);
  }
  if (!key_.field_selector.empty()) {
    path += "&fieldSelector=" + PercentEncoded(key_.field_selector);
  }
  return path;
}

TransferId Reflector::Send(ClientRequest request,
                           void (Reflector::*done)(absl::StatusOr<ClientResponse>)) {
  return client_.Start(std::move(request),
                       [self = self_, done](absl::StatusOr<ClientResponse> response) {
                         if (*self != nullptr) ((*self)->*done)(std::move(response));
                       });
}

void Reflector::After(std::chrono::nanoseconds at_least, void (Reflector::*next)()) {
  const int64_t now = client_.clock().MonotonicNanos();
  const std::chrono::nanoseconds delay = std::max(at_least, backoff_.Next(now));
  timer_ = client_.http().loop().RunAfter(delay, [self = self_, next] {
    if (*self != nullptr) ((*self)->*next)();
  });
}

void Reflector::Fail(std::string_view what, const absl::Status& status) {
  last_error_ = status;
  spdlog::warn(LogLine("Kubernetes request failed",
                       {{"request", std::string(what)},
                        {"resource", std::string(ResourceInfoOf(key_.resource).plural)},
                        {"namespace", key_.namespace_},
                        {"err", MessageOf(status)}}));
  sink_.OnFailure(status);
}

void Reflector::Succeed() {
  last_error_ = absl::OkStatus();
  sink_.OnSuccess();
}

// ------------------------------------------------------------------------------------------ list

void Reflector::List() { streams_ ? ListStream() : ListPages(); }

void Reflector::ListPages() {
  listing_ = Listing();
  if (!resource_version_unknown_) {
    listing_.resource_version = resource_version_.empty() ? "0" : resource_version_;
  }
  // A list from the server's cache, which any known version means, does not come in pages.
  listing_.paged = listing_.resource_version.empty() || listing_.resource_version == "0";
  RequestPage();
}

void Reflector::RequestPage() {
  std::string parameters;
  const auto add = [&parameters](std::string_view name, std::string_view value) {
    parameters += fmt::format("{}{}={}", parameters.empty() ? "" : "&", name, value);
  };
  if (listing_.paged) add("limit", std::to_string(kKubeListPageItems));
  if (!listing_.continue_token.empty()) {
    // The token holds the version; giving one too is an error.
    add("continue", PercentEncoded(listing_.continue_token));
  } else if (!listing_.resource_version.empty()) {
    add("resourceVersion", PercentEncoded(listing_.resource_version));
  }
  ClientRequest request;
  request.url = Path(parameters);
  request.idle_timeout = kListIdleTimeout;
  request.body_bytes_max = kKubeListBytesMax;
  transfer_ = Send(std::move(request), &Reflector::OnPage);
}

void Reflector::OnPage(absl::StatusOr<ClientResponse> response) {
  if (absl::IsCancelled(response.status())) return;  // The client is being stopped.
  if (response.ok() && response->status != 200) return OnListRefused(*response);
  absl::StatusOr<KubeList> page =
      response.ok() ? decoder_.ParseList(response->body) : response.status();
  absl::Status status = page.status();
  if (status.ok() && listing_.objects.size() + page->items.size() > kKubeListItemsMax) {
    status = absl::ResourceExhaustedError(fmt::format("more than {} objects", kKubeListItemsMax));
  }
  if (!status.ok()) {
    Fail("list", status);
    return After({}, &Reflector::List);
  }
  listing_.objects.insert(listing_.objects.end(), std::make_move_iterator(page->items.begin()),
                          std::make_move_iterator(page->items.end()));
  listing_.continue_token = page->continue_token;
  if (!page->continue_token.empty()) return RequestPage();
  resource_version_ = page->resource_version;
  resource_version_unknown_ = false;
  Succeed();
  sink_.Replace(std::exchange(listing_, Listing()).objects);
  Watch();
}

void Reflector::OnListRefused(const ClientResponse& response) {
  const KubeStatus status = ParseKubeStatus(response.status, response.body);
  if (status.IsExpired() && !listing_.continue_token.empty()) {
    // The pages have outlived their snapshot: all in one, then.
    listing_.paged = false;
    listing_.continue_token.clear();
    listing_.objects.clear();
    return RequestPage();
  }
  const bool unknown = status.IsExpired() || status.resource_version_too_large;
  if (unknown && !resource_version_unknown_) {
    resource_version_unknown_ = true;
    return ListPages();
  }
  Fail("list", StatusError(status));
  const auto retry_after = response.RetryAfter(client_.clock().Now());
  After(std::min<std::chrono::nanoseconds>(retry_after.value_or(std::chrono::seconds(0)),
                                           kKubeRetryAfterMax),
        &Reflector::List);
}

// ------------------------------------------------------------------------------- streaming list

void Reflector::ListStream() {
  std::string parameters =
      "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=";
  if (!resource_version_unknown_) parameters += PercentEncoded(resource_version_);
  OpenWatch(parameters, /*listing=*/true);
  CheckStreamLater();
}

// A server that ignores what it was asked for sends events, but never the end of the list.
void Reflector::CheckStreamLater() {
  timer_ = client_.http().loop().RunAfter(kKubeStreamStall, [self = self_] {
    if (*self != nullptr) (*self)->CheckStream();
  });
}

void Reflector::CheckStream() {
  if (watching_ == nullptr || !watching_->listing) return;
  // A plugin may still be waited for.
  if (transfer_ == kNoTransfer || watching_->events != watching_->events_at_check) {
    watching_->events_at_check = watching_->events;
    return CheckStreamLater();
  }
  watching_->stalled = true;
  client_.http().Cancel(transfer_);
}

absl::Status Reflector::OnListEvent(KubeWatchEvent event) {
  switch (event.type) {
    case KubeWatchEvent::Type::kAdded:
    case KubeWatchEvent::Type::kModified: {
      const std::string key = event.object->Key();
      watching_->objects.insert_or_assign(key, std::move(event.object));
      if (watching_->objects.size() <= kKubeListItemsMax) return absl::OkStatus();
      return absl::ResourceExhaustedError(fmt::format("more than {} objects", kKubeListItemsMax));
    }
    case KubeWatchEvent::Type::kDeleted:
      watching_->objects.erase(event.object->Key());
      return absl::OkStatus();
    case KubeWatchEvent::Type::kBookmark:
    case KubeWatchEvent::Type::kError:
      break;
  }
  if (!event.initial_events_end) return absl::OkStatus();
  client_.http().loop().Cancel(timer_);
  timer_ = kNoTimer;
  watching_->listing = false;
  resource_version_ = event.object->metadata.resource_version;
  resource_version_unknown_ = false;
  std::vector<KubeObjectPtr> objects;
  objects.reserve(watching_->objects.size());
  for (auto& [key, object] : watching_->objects) objects.push_back(std::move(object));
  watching_->objects = {};
  Succeed();
  sink_.Replace(std::move(objects));
  return absl::OkStatus();
}

// Before its bookmark came: nothing of it counts. A list in pages follows at once, so that there is
// progress whatever it is that streams do not survive; only if that fails too there is a pause.
void Reflector::OnListStreamEnd(const Watching& watch,
                                const absl::StatusOr<ClientResponse>& response) {
  if (watch.refused) return OnListStreamRefused(*watch.refused, {});
  absl::Status status = watch.broken;
  if (status.ok() && watch.stalled) {
    status = absl::DeadlineExceededError("the server does not end the streaming list");
  }
  if (status.ok()) {
    if (absl::IsCancelled(response.status())) return;  // The client is being stopped.
    if (response.ok() && !watch.accepted) {
      const auto retry_after = response->RetryAfter(client_.clock().Now());
      return OnListStreamRefused(ParseKubeStatus(response->status, response->body),
                                 retry_after.value_or(std::chrono::seconds(0)));
    }
    status = response.ok()
                 ? absl::UnavailableError("the streaming list ended before it was complete")
                 : response.status();
  }
  Fail("list", status);
  // Nobody is there: pages would be refused as well.
  if (IsConnectionRefused(status)) return After({}, &Reflector::List);
  ListPages();
}

void Reflector::OnListStreamRefused(const KubeStatus& status,
                                    std::chrono::nanoseconds retry_after) {
  if (status.code == 422) {
    streams_ = false;
    return ListPages();
  }
  if ((status.IsExpired() || status.resource_version_too_large) && !resource_version_unknown_) {
    resource_version_unknown_ = true;
    return ListStream();
  }
  Fail("list", StatusError(status));
  retry_after = std::min<std::chrono::nanoseconds>(retry_after, kKubeRetryAfterMax);
  if (status.code == 429) return After(retry_after, &Reflector::List);
  if (retry_after.count() > 0) return After(retry_after, &Reflector::ListPages);
  ListPages();
}

// ----------------------------------------------------------------------------------------- watch

void Reflector::Watch() {
  OpenWatch(fmt::format("watch=1&resourceVersion={}", PercentEncoded(resource_version_)),
            /*listing=*/false);
}

void Reflector::OpenWatch(const std::string& parameters, bool listing) {
  const auto range = static_cast<uint64_t>((kKubeWatchSecondsMax - kKubeWatchSecondsMin).count());
  const std::chrono::seconds seconds =
      kKubeWatchSecondsMin + std::chrono::seconds(random_() % (range + 1));
  watching_ = std::make_unique<Watching>(client_.clock().MonotonicNanos(), listing);
  ClientRequest request;
  request.url = Path(
      fmt::format("{}&allowWatchBookmarks=true&timeoutSeconds={}", parameters, seconds.count()));
  request.timeout = seconds + kWatchGrace;
  request.on_headers = [self = self_](const ClientResponse& response) {
    if (*self == nullptr || response.status != 200) return;
    (*self)->watching_->accepted = true;
    if (!(*self)->watching_->listing) (*self)->Succeed();
  };
  request.on_data = [self = self_](std::string_view bytes) -> absl::Status {
    if (*self == nullptr) return absl::CancelledError();
    Reflector& reflector = **self;
    const absl::Status status = reflector.watching_->framer.Append(
        bytes, [&reflector](std::string_view json) { return reflector.OnWatchEvent(json); });
    if (!reflector.watching_->refused) reflector.watching_->broken = status;
    return status;
  };
  transfer_ = Send(std::move(request), &Reflector::OnWatchEnd);
}

absl::Status Reflector::OnWatchEvent(std::string_view json) {
  absl::StatusOr<KubeWatchEvent> event = decoder_.ParseEvent(json);
  if (!event.ok()) return event.status();
  if (event->type == KubeWatchEvent::Type::kError) {
    watching_->refused = event->status;
    return absl::AbortedError("the server ended the watch");
  }
  ++watching_->events;
  if (watching_->listing) return OnListEvent(*std::move(event));
  const std::string& version = event->object->metadata.resource_version;
  if (!version.empty()) resource_version_ = version;
  switch (event->type) {
    case KubeWatchEvent::Type::kAdded:
    case KubeWatchEvent::Type::kModified:
      sink_.Set(std::move(event->object));
      break;
    case KubeWatchEvent::Type::kDeleted:
      sink_.Remove(std::move(event->object));
      break;
    case KubeWatchEvent::Type::kBookmark:
    case KubeWatchEvent::Type::kError:
      break;
  }
  return absl::OkStatus();
}

void Reflector::OnWatchEnd(absl::StatusOr<ClientResponse> response) {
  const std::unique_ptr<Watching> watch = std::move(watching_);
  if (watch->listing) {
    client_.http().loop().Cancel(timer_);
    timer_ = kNoTimer;
    return OnListStreamEnd(*watch, response);
  }
  if (watch->refused) return OnWatchRefused(*watch->refused, {});
  if (!watch->broken.ok()) {
    Fail("watch", watch->broken);
    return After({}, &Reflector::List);
  }
  if (absl::IsCancelled(response.status())) return;  // The client is being stopped.
  if (watch->accepted) {
    // However an accepted stream ends, what it has told holds, and it can be resumed.
    const int64_t age = client_.clock().MonotonicNanos() - watch->start_nanos;
    const bool is_short = age < std::chrono::nanoseconds(kKubeShortWatch).count();
    if (is_short && watch->events == 0) {
      Fail("watch", absl::UnavailableError("very short watch: unexpected watch close, no items "
                                           "received"));
      return After({}, &Reflector::List);
    }
    return is_short ? After({}, &Reflector::Watch) : Watch();
  }
  if (!response.ok()) {
    Fail("watch", response.status());
    return After({}, IsConnectionRefused(response.status()) ? &Reflector::Watch : &Reflector::List);
  }
  const auto retry_after = response->RetryAfter(client_.clock().Now());
  OnWatchRefused(ParseKubeStatus(response->status, response->body),
                 retry_after.value_or(std::chrono::seconds(0)));
}

void Reflector::OnWatchRefused(const KubeStatus& status, std::chrono::nanoseconds retry_after) {
  retry_after = std::min<std::chrono::nanoseconds>(retry_after, kKubeRetryAfterMax);
  if (status.IsExpired()) {
    // Part of normal life after a pause: no failure, but not without a pause either.
    return After(retry_after, &Reflector::List);
  }
  Fail("watch", StatusError(status));
  After(retry_after, status.code == 429 ? &Reflector::Watch : &Reflector::List);
}

}  // namespace varve
