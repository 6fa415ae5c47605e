// SPDX-License-Identifier: Apache-2.0
//
// Stores, subscribers, and the handing over to the loop's thread, on which all of it lives.
#include "kube/informer.h"

#include <absl/strings/cord.h>
#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/registry.h>

#include <map>
#include <utility>

#include "kube/reflector.h"
#include "model/string_map.h"

namespace varve {

struct InformerSet::Metrics {
  explicit Metrics(prometheus::Registry& registry)
      : events(prometheus::BuildCounter()
                   .Name("prometheus_sd_kubernetes_events_total")
                   .Help("The number of Kubernetes events handled.")
                   .Register(registry)),
        failures(prometheus::BuildCounter()
                     .Name("prometheus_sd_kubernetes_failures_total")
                     .Help("The number of failed WATCH/LIST requests.")
                     .Register(registry)
                     .Add({})) {}

  prometheus::Family<prometheus::Counter>& events;
  prometheus::Counter& failures;
};

namespace {

// Counters of one role, all null if there is no registry.
struct InformerCounters {
  prometheus::Counter* added = nullptr;
  prometheus::Counter* updated = nullptr;
  prometheus::Counter* deleted = nullptr;
  prometheus::Counter* failures = nullptr;
};

// A copy that shares nothing with `status`, which stays with its thread.
absl::Status Detached(const absl::Status& status) {
  absl::Status copy(status.code(), status.message());
  status.ForEachPayload([&copy](absl::string_view type, const absl::Cord& payload) {
    copy.SetPayload(type, absl::Cord(std::string(payload)));
  });
  return copy;
}

void Increment(prometheus::Counter* counter) {
  if (counter != nullptr) counter->Increment();
}

}  // namespace

// One store and its subscribers. Every method on the loop's thread.
class Informer : public Reflector::Sink {
 public:
  Informer(KubeClient& client, const InformerKey& key, uint64_t seed, InformerCounters counters)
      : counters_(counters), reflector_(client, key, seed, *this) {}

  void Start() { reflector_.Start(); }
  bool HasSubscribers() const { return !subscribers_.empty(); }
  const absl::Status& last_error() const { return reflector_.last_error(); }

  void Subscribe(uint64_t id, InformerCallback callback) {
    const auto shared = std::make_shared<InformerCallback>(std::move(callback));
    subscribers_.emplace(id, shared);
    for (const KubeObjectPtr& object : Objects()) {
      if (!subscribers_.contains(id)) return;
      (*shared)({InformerEvent::Type::kAdd, object});
    }
    if (synced_ && subscribers_.contains(id)) (*shared)({InformerEvent::Type::kSynced, nullptr});
    if (failing_ && subscribers_.contains(id)) {
      (*shared)({InformerEvent::Type::kFailing, nullptr, last_error()});
    }
  }

  void Unsubscribe(uint64_t id) { subscribers_.erase(id); }

 private:
  void Replace(std::vector<KubeObjectPtr> objects) override {
    StringMap<KubeObjectPtr> fresh;
    fresh.reserve(objects.size());
    for (KubeObjectPtr& object : objects) fresh.insert_or_assign(object->Key(), std::move(object));
    std::vector<InformerEvent> events;
    for (const auto& [key, object] : store_) {
      if (!fresh.contains(key)) events.push_back({InformerEvent::Type::kDelete, object});
    }
    for (auto& [key, object] : fresh) {
      const auto known = store_.find(key);
      if (known == store_.end()) {
        events.push_back({InformerEvent::Type::kAdd, object});
      } else if (*known->second != *object) {
        events.push_back({InformerEvent::Type::kUpdate, object});
      } else {
        object = known->second;  // Subscribers hold that one: two would be kept of each.
      }
    }
    store_ = std::move(fresh);
    const bool first = !std::exchange(synced_, true);
    if (first) events.push_back({InformerEvent::Type::kSynced, nullptr});
    Tell(events);
  }

  void Set(KubeObjectPtr object) override {
    const auto [it, added] = store_.try_emplace(object->Key());
    it->second = object;
    Tell({{added ? InformerEvent::Type::kAdd : InformerEvent::Type::kUpdate, std::move(object)}});
  }

  void Remove(KubeObjectPtr object) override {
    if (store_.erase(object->Key()) == 0) return;
    Tell({{InformerEvent::Type::kDelete, std::move(object)}});
  }

  void OnFailure(const absl::Status& status) override {
    Increment(counters_.failures);
    failing_ = true;
    Tell({{InformerEvent::Type::kFailing, nullptr, status}});
  }
  void OnSuccess() override {
    if (std::exchange(failing_, false)) Tell({{InformerEvent::Type::kWorking, nullptr}});
  }

  void Count(InformerEvent::Type type) {
    switch (type) {
      case InformerEvent::Type::kAdd:
        return Increment(counters_.added);
      case InformerEvent::Type::kUpdate:
        return Increment(counters_.updated);
      case InformerEvent::Type::kDelete:
        return Increment(counters_.deleted);
      case InformerEvent::Type::kSynced:
      case InformerEvent::Type::kFailing:
      case InformerEvent::Type::kWorking:
        return;
    }
  }

  // Callbacks may unsubscribe, themselves too, but neither subscribe to nor destroy this informer
  // while it is telling: InformerSet defers both.
  void Tell(const std::vector<InformerEvent>& events) {
    for (const InformerEvent& event : events) {
      Count(event.type);
      uint64_t after = 0;
      for (auto it = subscribers_.begin(); it != subscribers_.end();
           it = subscribers_.upper_bound(after)) {
        after = it->first;
        const std::shared_ptr<InformerCallback> callback = it->second;
        (*callback)(event);
      }
    }
  }

  std::vector<KubeObjectPtr> Objects() const {
    std::vector<KubeObjectPtr> objects;
    objects.reserve(store_.size());
    for (const auto& [key, object] : store_) objects.push_back(object);
    return objects;
  }

  const InformerCounters counters_;
  StringMap<KubeObjectPtr> store_;
  std::map<uint64_t, std::shared_ptr<InformerCallback>> subscribers_;
  bool synced_ = false;
  bool failing_ = false;
  Reflector reflector_;  // Last: it ends before what it calls.
};

// ---------------------------------------------------------------------------------- subscription

InformerSubscription::~InformerSubscription() {
  if (const auto set = set_.lock()) set->Unsubscribe(key_, id_);
}

InformerSubscription::InformerSubscription(InformerSubscription&& other) noexcept
    : set_(std::exchange(other.set_, {})), key_(std::move(other.key_)), id_(other.id_) {}

InformerSubscription& InformerSubscription::operator=(InformerSubscription&& other) noexcept {
  if (this == &other) return *this;
  InformerSubscription old(std::move(*this));
  set_ = std::exchange(other.set_, {});
  key_ = std::move(other.key_);
  id_ = other.id_;
  return *this;
}

// ------------------------------------------------------------------------------------------- set

InformerSet::InformerSet(KubeClient& client, Options options) : client_(client), options_(options) {
  if (options_.registry != nullptr) metrics_ = std::make_unique<Metrics>(*options_.registry);
}

InformerSet::~InformerSet() { Stop(); }

std::shared_ptr<InformerSet> InformerSet::Create(KubeClient& client, Options options) {
  return std::shared_ptr<InformerSet>(new InformerSet(client, options));
}

void InformerSet::RunOnLoop(std::function<void()> work) {
  EventLoop& loop = client_.http().loop();
  if (loop.OnLoopThread()) return work();
  struct State {
    Mutex mutex;
    CondVar changed;
    bool done ABSL_GUARDED_BY(mutex) = false;
  };
  const auto state = std::make_shared<State>();
  const bool posted = loop.Post([state, &work] {
    work();
    MutexLock lock(state->mutex);
    state->done = true;
    state->changed.NotifyAll();
  });
  if (!posted) {
    // The loop has ended, or is ending: wait for that, then this thread may do it.
    MutexLock lock(stopped_loop_mutex_);
    loop.Stop();
    return work();
  }
  MutexLock lock(state->mutex);
  while (!state->done) state->changed.Wait(state->mutex);
}

InformerSubscription InformerSet::Subscribe(const InformerKey& key, InformerCallback callback) {
  const uint64_t id = next_id_.fetch_add(1);
  client_.http().loop().Post(
      [weak = weak_from_this(), key, id, callback = std::move(callback)]() mutable {
        if (const auto set = weak.lock()) set->SubscribeOnLoop(key, id, std::move(callback));
      });
  return InformerSubscription(weak_from_this(), key, id);
}

void InformerSet::SubscribeOnLoop(const InformerKey& key, uint64_t id, InformerCallback callback) {
  if (stopped_) return;
  std::unique_ptr<Informer>& informer = informers_[key];
  const bool is_new = informer == nullptr;
  if (is_new) {
    InformerCounters counters;
    if (metrics_ != nullptr) {
      const std::string role(ResourceInfoOf(key.resource).role);
      counters.added = &metrics_->events.Add({{"role", role}, {"event", "add"}});
      counters.updated = &metrics_->events.Add({{"role", role}, {"event", "update"}});
      counters.deleted = &metrics_->events.Add({{"role", role}, {"event", "delete"}});
      counters.failures = &metrics_->failures;
    }
    // Each its own stream of random numbers, the same in every run with the same seed.
    informer = std::make_unique<Informer>(client_, key, options_.seed + id, counters);
  }
  informer->Subscribe(id, std::move(callback));
  if (is_new) informer->Start();
}

void InformerSet::Unsubscribe(const InformerKey& key, uint64_t id) {
  RunOnLoop([this, &key, id] {
    const auto it = informers_.find(key);
    if (it == informers_.end()) return;
    it->second->Unsubscribe(id);
    if (it->second->HasSubscribers()) return;
    // Later, as this may be running inside a callback of that informer.
    client_.http().loop().Post([weak = weak_from_this(), key] {
      const auto set = weak.lock();
      if (set == nullptr) return;
      const auto idle = set->informers_.find(key);
      if (idle != set->informers_.end() && !idle->second->HasSubscribers()) {
        set->informers_.erase(idle);
      }
    });
  });
}

void InformerSet::Stop() {
  RunOnLoop([this] {
    stopped_ = true;
    informers_.clear();
  });
}

absl::Status InformerSet::LastError(const InformerKey& key) {
  absl::Status status;
  RunOnLoop([&] {
    const auto it = informers_.find(key);
    if (it != informers_.end()) status = Detached(it->second->last_error());
  });
  return status;
}

}  // namespace varve
