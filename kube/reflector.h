// SPDX-License-Identifier: Apache-2.0
//
// List + watch of one resource, as a state machine on the loop's thread: it keeps a sink equal to
// what the API server holds. The protocol is described in informer.h.
#pragma once

#include <absl/status/status.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "kube/client.h"
#include "kube/decoder.h"
#include "kube/informer.h"
#include "kube/objects.h"
#include "model/string_map.h"

namespace varve {

inline constexpr std::chrono::milliseconds kKubeBackoffMin{800};
inline constexpr std::chrono::seconds kKubeBackoffMax{30};
inline constexpr std::chrono::minutes kKubeBackoffReset{2};
inline constexpr std::chrono::minutes kKubeRetryAfterMax{5};
inline constexpr std::chrono::seconds kKubeWatchSecondsMin{300};
inline constexpr std::chrono::seconds kKubeWatchSecondsMax{600};
// A watch that the server ends sooner without an event is a failure.
inline constexpr std::chrono::seconds kKubeShortWatch{1};
inline constexpr size_t kKubeListItemsMax = 2'000'000;
// Without anything new for so long, a streaming list is given up.
inline constexpr std::chrono::seconds kKubeStreamStall{60};

// Growing, jittered waits. A pause of kKubeBackoffReset between failures starts it afresh.
class KubeBackoff {
 public:
  explicit KubeBackoff(std::mt19937_64& random) : random_(random) {}
  std::chrono::nanoseconds Next(int64_t now_nanos);

 private:
  std::mt19937_64& random_;
  std::chrono::nanoseconds base_{0};
  int64_t last_nanos_ = 0;
};

// Every method on the loop's thread.
class Reflector {
 public:
  // May not destroy the reflector that calls it.
  class Sink {
   public:
    virtual ~Sink() = default;
    // The objects are all there are.
    virtual void Replace(std::vector<KubeObjectPtr> objects) = 0;
    // `object` is new or changed.
    virtual void Set(KubeObjectPtr object) = 0;
    // `object` is gone; it is its last state.
    virtual void Remove(KubeObjectPtr object) = 0;
    // A list or watch has failed and will be tried again.
    virtual void OnFailure(const absl::Status& status) = 0;
    // A list is complete, or a watch has been accepted.
    virtual void OnSuccess() = 0;
  };

  // `client` and `sink` must outlive the reflector.
  Reflector(KubeClient& client, const InformerKey& key, uint64_t seed, Sink& sink);
  // Ends what is under way; the sink is not called any more.
  ~Reflector();

  void Start() { List(); }
  const absl::Status& last_error() const { return last_error_; }

 private:
  // A list under way.
  struct Listing {
    std::string resource_version;  // Asked for; "" means the newest there is.
    bool paged = true;
    std::string continue_token;
    std::vector<KubeObjectPtr> objects;
  };
  // A watch under way.
  struct Watching {
    Watching(int64_t nanos, bool listing)
        : framer(kKubeWatchEventBytesMax), start_nanos(nanos), listing(listing) {}
    WatchFramer framer;
    int64_t start_nanos;
    uint64_t events = 0;
    // A streaming list: what has come so far is not told before the bookmark that ends it.
    bool listing;
    StringMap<KubeObjectPtr> objects;
    uint64_t events_at_check = 0;  // When it was last looked at.
    bool stalled = false;
    bool accepted = false;              // The server answered 200.
    std::optional<KubeStatus> refused;  // An ERROR event.
    absl::Status broken;                // An event that is none.
  };

  void List();
  void ListPages();
  void RequestPage();
  void OnPage(absl::StatusOr<ClientResponse> response);
  void OnListRefused(const ClientResponse& response);
  void ListStream();
  void CheckStreamLater();
  void CheckStream();
  absl::Status OnListEvent(KubeWatchEvent event);
  void OnListStreamEnd(const Watching& watch, const absl::StatusOr<ClientResponse>& response);
  void OnListStreamRefused(const KubeStatus& status, std::chrono::nanoseconds retry_after);

  void Watch();
  void OpenWatch(const std::string& parameters, bool listing);
  absl::Status OnWatchEvent(std::string_view json);
  void OnWatchEnd(absl::StatusOr<ClientResponse> response);
  void OnWatchRefused(const KubeStatus& status, std::chrono::nanoseconds retry_after);

  // Counts and reports a failure.
  void Fail(std::string_view what, const absl::Status& status);
  void Succeed();
  // Runs `next` after the backoff, at least `at_least` from now.
  void After(std::chrono::nanoseconds at_least, void (Reflector::*next)());

  std::string Path(const std::string& parameters) const;
  TransferId Send(ClientRequest request, void (Reflector::*done)(absl::StatusOr<ClientResponse>));

  KubeClient& client_;
  const InformerKey key_;
  Sink& sink_;
  std::mt19937_64 random_;
  KubeBackoff backoff_;
  KubeDecoder decoder_;
  // Callbacks hold it weakly and do nothing once the reflector is gone.
  const std::shared_ptr<Reflector*> self_ = std::make_shared<Reflector*>(this);

  std::string resource_version_;           // Of the last list or event; "" before the first list.
  bool resource_version_unknown_ = false;  // The server does not serve it: list the newest.
  bool streams_ = true;                    // Until the server says that it knows no such lists.
  Listing listing_;
  std::unique_ptr<Watching> watching_;
  TransferId transfer_ = kNoTransfer;
  TimerId timer_ = kNoTimer;
  absl::Status last_error_;
};

}  // namespace varve
