// SPDX-License-Identifier: Apache-2.0
//
// Shared informers: for each (resource, namespace, selectors) that anyone asks for, one list +
// watch against the API server and one store of its objects, however many subscribe. A subscriber
// sees what the store holds, then every change.
//
// The protocol, per informer:
// (1) List; the store becomes exactly what the list says, changes are told as events. A list is a
//     watch that begins with all there is, up to a bookmark that says so; it goes on as (2). Where
//     the server refuses that (422), or such a stream has failed in any other way than 429 and a
//     refused connection, the list comes in pages, at once.
// (2) Watch from the list's resource version; every event, bookmarks included, advances it.
// (3) A watch that ends is resumed where it stopped. One the server has forgotten (410), or that
//     failed in any other way than 429 and a refused connection, leads back to (1).
// (4) Failures are counted and retried for ever, at growing distances up to 30 s.
#pragma once

#include <absl/base/thread_annotations.h>

#include <atomic>
#include <compare>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kube/client.h"
#include "kube/objects.h"
#include "model/clock.h"
#include "model/mutex.h"

namespace prometheus {
class Registry;
}

namespace varve {

inline constexpr int kKubeListPageItems = 500;
inline constexpr uint64_t kKubeListBytesMax = uint64_t{512} << 20;  // One page.
inline constexpr uint64_t kKubeWatchEventBytesMax = uint64_t{16} << 20;

// What an informer is about.
struct InformerKey {
  KubeResource resource = KubeResource::kPod;
  std::string namespace_;      // Empty: all.
  std::string label_selector;  // In Kubernetes' syntax, checked by the server.
  std::string field_selector;
  friend auto operator<=>(const InformerKey&, const InformerKey&) = default;
};

struct InformerEvent {
  enum class Type {
    kAdd,      // `object` is new.
    kUpdate,   // `object` replaces the one of the same Key().
    kDelete,   // `object`, as last seen, is gone.
    kSynced,   // Everything the first list held has been told. Once per subscription, no object.
    kFailing,  // A request has failed, with `status`; what was told before still counts. No object.
    kWorking,  // Requests succeed again. No object.
  };
  Type type;
  KubeObjectPtr object;
  absl::Status status;
};
using InformerCallback = std::function<void(const InformerEvent&)>;

class Informer;
class InformerSet;

// Keeps a callback subscribed. When the destructor returns, the callback neither runs nor will run:
// so destroy it without holding a lock the callback takes. Movable; empty when default-constructed.
class InformerSubscription {
 public:
  InformerSubscription() = default;
  ~InformerSubscription();
  InformerSubscription(InformerSubscription&& other) noexcept;
  InformerSubscription& operator=(InformerSubscription&& other) noexcept;

 private:
  friend class InformerSet;
  InformerSubscription(std::weak_ptr<InformerSet> set, InformerKey key, uint64_t id)
      : set_(std::move(set)), key_(std::move(key)), id_(id) {}

  std::weak_ptr<InformerSet> set_;
  InformerKey key_;
  uint64_t id_ = 0;
};

// The informers of one KubeClient. Thread-safe.
class InformerSet : public std::enable_shared_from_this<InformerSet> {
 public:
  struct Options {
    uint64_t seed = 0;                         // Of backoff jitter and watch timeouts.
    prometheus::Registry* registry = nullptr;  // prometheus_sd_kubernetes_*; null: not counted.
  };

  // `client` must outlive the set; the set must be stopped before the client's HttpClient.
  static std::shared_ptr<InformerSet> Create(KubeClient& client, Options options);

  // Stops.
  ~InformerSet();
  InformerSet(const InformerSet&) = delete;
  InformerSet& operator=(const InformerSet&) = delete;

  // Calls `callback` on the client's loop thread: kAdd for each object known, kSynced once the
  // first list is complete, then every change. Callbacks should be short.
  InformerSubscription Subscribe(const InformerKey& key, InformerCallback callback);

  // Ends every informer: no callback runs after it returns. REQUIRES: not on the loop's thread.
  void Stop();

  // For the target pages and tests: the last failure of an informer, or OK while it lists and
  // watches without any.
  absl::Status LastError(const InformerKey& key);

 private:
  friend class InformerSubscription;
  struct Metrics;

  InformerSet(KubeClient& client, Options options);
  void SubscribeOnLoop(const InformerKey& key, uint64_t id, InformerCallback callback);
  void Unsubscribe(const InformerKey& key, uint64_t id);
  // Runs `work` on the loop's thread and waits for it; here, if this is that thread.
  void RunOnLoop(std::function<void()> work);

  KubeClient& client_;
  const Options options_;
  std::unique_ptr<Metrics> metrics_;

  // The loop thread's own.
  std::map<InformerKey, std::unique_ptr<Informer>> informers_;
  bool stopped_ = false;

  std::atomic<uint64_t> next_id_{1};
  Mutex stopped_loop_mutex_;  // Stands in for the loop's thread once that has ended.
};

}  // namespace varve
