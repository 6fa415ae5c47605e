// SPDX-License-Identifier: Apache-2.0
//
// A sorted set of series ids in 16 bytes. Most label values have one series, which is stored in
// place; more go to an array that grows by little. A million series have several million postings
// in such sets, so their size is what the index costs.
#pragma once

#include <absl/types/span.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <utility>

namespace varve {

class IdSet {
 public:
  IdSet() = default;
  IdSet(IdSet&& other) noexcept
      : storage_(other.storage_), size_(other.size_), capacity_(other.capacity_) {
    other.size_ = other.capacity_ = 0;
  }
  IdSet& operator=(IdSet&& other) noexcept {
    std::swap(storage_, other.storage_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
    return *this;
  }
  ~IdSet() {
    if (capacity_ > 0) std::free(storage_.many);
  }

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  absl::Span<const uint64_t> ids() const { return {data(), size_}; }

  // Cheapest for an id above all others. No effect if it is there already.
  void Insert(uint64_t id) {
    const uint64_t* end = data() + size_;
    const uint64_t* at =
        size_ == 0 || data()[size_ - 1] < id ? end : std::lower_bound(data(), end, id);
    if (at != end && *at == id) return;
    const size_t index = static_cast<size_t>(at - data());
    if (size_ >= std::max<uint32_t>(capacity_, 1)) Grow();
    uint64_t* ids = mutable_data();
    std::copy_backward(ids + index, ids + size_, ids + size_ + 1);
    ids[index] = id;
    ++size_;
  }

  // Removes the ids for which `gone` says so.
  template <typename Predicate>
  void RemoveIf(Predicate gone) {
    uint64_t* ids = mutable_data();
    size_ = static_cast<uint32_t>(std::remove_if(ids, ids + size_, gone) - ids);
  }

  size_t MemoryBytes() const { return capacity_ * sizeof(uint64_t); }

 private:
  const uint64_t* data() const { return capacity_ == 0 ? &storage_.one : storage_.many; }
  uint64_t* mutable_data() { return capacity_ == 0 ? &storage_.one : storage_.many; }

  void Grow() {
    const uint32_t capacity = capacity_ == 0 ? 4 : capacity_ + capacity_ / 4 + 4;
    void* moved =
        std::realloc(capacity_ == 0 ? nullptr : storage_.many, capacity * sizeof(uint64_t));
    if (moved == nullptr) throw std::bad_alloc();
    auto* many = static_cast<uint64_t*>(moved);
    if (capacity_ == 0 && size_ == 1) many[0] = storage_.one;
    storage_.many = many;
    capacity_ = capacity;
  }

  union {
    uint64_t one;
    uint64_t* many;
  } storage_ = {.one = 0};
  uint32_t size_ = 0;
  uint32_t capacity_ = 0;  // 0: at most one id, in place.
};

static_assert(sizeof(IdSet) == 16);

}  // namespace varve
