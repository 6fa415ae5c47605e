// SPDX-License-Identifier: Apache-2.0
//
// A sorted set of series ids in 16 bytes. Most label values have one series, which is stored in
// place; more are differences as varints in one array that grows by little: of series created
// together a byte each. A million series have several million postings in such sets, so their size
// is what the index costs.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>
#include <vector>

namespace varve {

class IdSet {
 public:
  IdSet() = default;
  IdSet(IdSet&& other) noexcept { Swap(other); }
  IdSet& operator=(IdSet&& other) noexcept {
    Swap(other);
    return *this;
  }
  ~IdSet() {
    if (is_array_) std::free(storage_.array);
  }

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  // Calls visit(id) for each id, rising, until it returns false.
  template <typename Visitor>
  void Visit(Visitor visit) const {
    if (!is_array_) {
      if (size_ > 0) visit(storage_.one);
      return;
    }
    const uint8_t* at = storage_.array->bytes();
    uint64_t id = 0;
    for (uint32_t i = 0; i < size_; ++i) {
      id += ReadNumber(at);
      if (!visit(id)) return;
    }
  }

  template <typename Predicate>
  bool AnyOf(Predicate predicate) const {
    bool found = false;
    Visit([&](uint64_t id) { return !(found = predicate(id)); });
    return found;
  }

  void AppendTo(std::vector<uint64_t>& ids) const {
    ids.reserve(ids.size() + size_);
    Visit([&ids](uint64_t id) {
      ids.push_back(id);
      return true;
    });
  }

  // Keeps those of `ids`, which are sorted, that are in the set.
  void Intersect(std::vector<uint64_t>& ids) const {
    size_t kept = 0;
    size_t next = 0;
    Visit([&](uint64_t id) {
      while (next < ids.size() && ids[next] < id) ++next;
      if (next == ids.size()) return false;
      if (ids[next] == id) ids[kept++] = ids[next++];
      return true;
    });
    ids.resize(kept);
  }

  // Cheap for an id above all others. No effect if it is there already.
  void Insert(uint64_t id) {
    if (size_ == 0) {
      Assign({id});
    } else if (Last() < id) {
      Append(id);
    } else if (Last() > id) {
      std::vector<uint64_t> ids;
      AppendTo(ids);
      const auto at = std::lower_bound(ids.begin(), ids.end(), id);
      if (*at == id) return;
      ids.insert(at, id);
      Assign(ids);
    }
  }

  // Removes the ids for which `gone`, asked once for each, in order, says so.
  template <typename Predicate>
  void RemoveIf(Predicate gone) {
    std::vector<uint64_t> ids;
    AppendTo(ids);
    std::erase_if(ids, gone);
    if (ids.size() != size_) Assign(ids);
  }

  size_t MemoryBytes() const { return is_array_ ? sizeof(Array) + storage_.array->capacity : 0; }

 private:
  struct Array {
    uint64_t last = 0;
    uint32_t used = 0;
    uint32_t capacity = 0;  // Bytes behind this.
    const uint8_t* bytes() const { return reinterpret_cast<const uint8_t*>(this + 1); }
    uint8_t* bytes() { return reinterpret_cast<uint8_t*>(this + 1); }
  };
  static constexpr uint32_t kNumberBytesMax = 10;
  static constexpr uint32_t kFirstCapacity = 16;

  static uint64_t ReadNumber(const uint8_t*& at) {
    uint64_t value = *at++;
    if (value < 0x80) [[likely]]
      return value;
    value &= 0x7f;
    for (unsigned shift = 7;; shift += 7) {
      const uint64_t byte = *at++;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  }

  uint64_t Last() const { return is_array_ ? storage_.array->last : storage_.one; }

  void Swap(IdSet& other) noexcept {
    std::swap(storage_, other.storage_);
    std::swap(size_, other.size_);
    std::swap(is_array_, other.is_array_);
  }

  void Assign(const std::vector<uint64_t>& ids) {
    if (is_array_) std::free(storage_.array);
    is_array_ = false;
    storage_.one = ids.empty() ? 0 : ids[0];
    size_ = ids.empty() ? 0 : 1;
    for (size_t i = 1; i < ids.size(); ++i) Append(ids[i]);
  }

  // REQUIRES: there is an id, and all are below `id`.
  void Append(uint64_t id) {
    if (!is_array_) {
      const uint64_t first = storage_.one;
      storage_.array = Grown(nullptr, kFirstCapacity);
      is_array_ = true;
      Put(first);
    }
    Array* array = storage_.array;
    if (array->used + kNumberBytesMax > array->capacity) {
      storage_.array = Grown(array, array->capacity + array->capacity / 4 + 16);
    }
    Put(id);
    ++size_;
  }

  void Put(uint64_t id) {
    Array& array = *storage_.array;
    uint64_t step = id - array.last;
    array.last = id;
    for (; step >= 0x80; step >>= 7)
      array.bytes()[array.used++] = static_cast<uint8_t>(step | 0x80);
    array.bytes()[array.used++] = static_cast<uint8_t>(step);
  }

  static Array* Grown(Array* array, uint32_t capacity) {
    void* moved = std::realloc(array, sizeof(Array) + capacity);
    if (moved == nullptr) throw std::bad_alloc();
    auto* grown = static_cast<Array*>(moved);
    if (array == nullptr) *grown = Array();
    grown->capacity = capacity;
    return grown;
  }

  union {
    uint64_t one;
    Array* array;
  } storage_ = {.one = 0};
  uint32_t size_ = 0;
  bool is_array_ = false;  // Else at most one id, in place.
};

static_assert(sizeof(IdSet) == 16);

}  // namespace varve
