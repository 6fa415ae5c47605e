// SPDX-License-Identifier: Apache-2.0
//
// The floats of a series in an answer: one by one with their times, or, at the steps of a grid, as
// the values that a query has computed, which take half the memory and are not copied.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <utility>
#include <vector>

#include "model/check.h"
#include "model/sample.h"

namespace varve {

// Times rise. Immutable; copies share the values of a grid.
class FloatSamples {
  struct Steps {
    TimestampMs start = 0;
    DurationMs step = 0;
    std::vector<double> values;
    std::vector<uint64_t> present;  // A bit for each value.
    size_t size = 0;                // Of these that are set.

    FloatSample At(size_t index) const {
      return {start + static_cast<DurationMs>(index) * step, values[index]};
    }
  };

 public:
  FloatSamples() = default;
  FloatSamples(std::vector<FloatSample> list)  // NOLINT: of a kind.
      : list_(std::move(list)) {}
  // Value i is that of start + i * step, if its bit is set. REQUIRES: one is, and none behind the
  // last value.
  FloatSamples(TimestampMs start, DurationMs step, std::vector<double> values,
               std::vector<uint64_t> present) {
    size_t size = 0;
    for (const uint64_t word : present) size += static_cast<size_t>(std::popcount(word));
    INVARIANT(size > 0 && present.size() * 64 < values.size() + 64);
    steps_ = std::make_shared<const Steps>(
        Steps{start, step, std::move(values), std::move(present), size});
  }

  size_t size() const { return steps_ != nullptr ? steps_->size : list_.size(); }
  bool empty() const { return size() == 0; }

  class Iterator {
   public:
    using iterator_category = std::forward_iterator_tag;
    using value_type = FloatSample;
    using difference_type = ptrdiff_t;
    using pointer = const FloatSample*;
    using reference = const FloatSample&;

    Iterator() = default;
    // Of the iterator itself, which outlives it.
    reference operator*() const { return steps_ != nullptr ? sample_ : *listed_; }
    pointer operator->() const { return &**this; }
    Iterator& operator++() {
      if (steps_ == nullptr) {
        ++listed_;
      } else {
        bits_ &= bits_ - 1;
        Settle();
      }
      return *this;
    }
    Iterator operator++(int) {
      Iterator before = *this;
      ++*this;
      return before;
    }
    friend bool operator==(const Iterator& a, const Iterator& b) {
      return a.listed_ == b.listed_ && a.word_ == b.word_ && a.bits_ == b.bits_;
    }

   private:
    friend class FloatSamples;
    explicit Iterator(const FloatSample* listed) : listed_(listed) {}
    // From the first bit of `word` on.
    Iterator(const Steps& steps, size_t word) : steps_(&steps), word_(word) {
      if (word_ == steps.present.size()) return;
      bits_ = steps.present[word_];
      Settle();
    }

    // Stands at the next bit that is set.
    void Settle() {
      while (bits_ == 0) {
        if (++word_ == steps_->present.size()) return;
        bits_ = steps_->present[word_];
      }
      sample_ = steps_->At(word_ * 64 + static_cast<size_t>(std::countr_zero(bits_)));
    }

    const FloatSample* listed_ = nullptr;  // With a list.
    const Steps* steps_ = nullptr;
    size_t word_ = 0;    // Of the present ones.
    uint64_t bits_ = 0;  // Of that word, those that are not behind.
    FloatSample sample_;
  };

  Iterator begin() const {
    return steps_ != nullptr ? Iterator(*steps_, 0) : Iterator(list_.data());
  }
  Iterator end() const {
    return steps_ != nullptr ? Iterator(*steps_, steps_->present.size())
                             : Iterator(list_.data() + list_.size());
  }

  // Calls visit(sample) for each in order: faster than iterators.
  template <typename Visitor>
  void Visit(Visitor visit) const {
    for (const FloatSample& sample : list_) visit(sample);
    if (steps_ == nullptr) return;
    for (size_t word = 0; word < steps_->present.size(); ++word) {
      uint64_t bits = steps_->present[word];
      if (bits == ~uint64_t{0}) {
        for (size_t i = 0; i < 64; ++i) visit(steps_->At(word * 64 + i));
        continue;
      }
      for (; bits != 0; bits &= bits - 1) {
        visit(steps_->At(word * 64 + static_cast<size_t>(std::countr_zero(bits))));
      }
    }
  }

  // Looks at all presence bits before, of a grid. REQUIRES: index < size().
  FloatSample operator[](size_t index) const {
    if (steps_ == nullptr) return list_[index];
    size_t word = 0;
    for (;; ++word) {
      const auto count = static_cast<size_t>(std::popcount(steps_->present[word]));
      if (index < count) break;
      index -= count;
    }
    uint64_t bits = steps_->present[word];
    for (; index > 0; --index) bits &= bits - 1;
    return steps_->At(word * 64 + static_cast<size_t>(std::countr_zero(bits)));
  }

 private:
  std::vector<FloatSample> list_;  // Without `steps_`.
  std::shared_ptr<const Steps> steps_;
};

}  // namespace varve
