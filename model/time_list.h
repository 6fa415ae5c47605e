// SPDX-License-Identifier: Apache-2.0
//
// The times of a series' samples. Series that were scraped together have the same times, so a list
// that is filled again and again keeps what it held: times that are there already are not written,
// nor even looked at if they come from where those came from, and whoever worked something out of a
// list can tell that it is the same again.
#pragma once

#include <absl/types/span.h>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <vector>

#include "model/time.h"

namespace varve {

// Not thread-safe.
class TimeList {
 public:
  using value_type = TimestampMs;
  using const_iterator = const TimestampMs*;

  TimeList() = default;
  TimeList(std::initializer_list<TimestampMs> times) { Append(times); }
  TimeList(const std::vector<TimestampMs>& times) { Append(times); }  // NOLINT: of a kind.
  TimeList(const TimeList& from) { Append(from); }
  TimeList(TimeList&& from) noexcept;
  TimeList& operator=(const TimeList& from);
  TimeList& operator=(TimeList&& from) noexcept;

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  const TimestampMs* data() const { return now_.times.data(); }
  const_iterator begin() const { return data(); }
  const_iterator end() const { return data() + size_; }
  TimestampMs operator[](size_t index) const { return now_.times[index]; }
  TimestampMs front() const { return now_.times.front(); }
  TimestampMs back() const { return now_.times[size_ - 1]; }
  friend bool operator==(const TimeList& a, const TimeList& b) {
    return absl::Span<const TimestampMs>(a) == absl::Span<const TimestampMs>(b);
  }

  // The list is empty afterwards, but not its memory.
  void Clear();
  // REQUIRES: size <= size().
  void Truncate(size_t size);
  void push_back(TimestampMs time) { Append({&time, 1}); }
  void Append(absl::Span<const TimestampMs> times);
  // The same; `times` are those of `source` from `index` on, which do not change as long as it
  // lives. The list keeps it alive.
  void AppendFrom(const std::shared_ptr<const void>& source, uint64_t index,
                  absl::Span<const TimestampMs> times);
  // REQUIRES: index < size().
  void Set(size_t index, TimestampMs time);

  // Not 0 once there are times. Two lists of one size and stamp, or one at two times, are the same.
  uint64_t stamp() const { return now_.stamp; }
  // Of all that is kept.
  uint64_t MemoryBytes() const;

 private:
  // Lists that are kept besides the one at hand: those of targets that are read by turns.
  static constexpr size_t kKeptMax = 15;

  // `count` times at `at` are those of `source` from `index` on.
  struct Run {
    std::shared_ptr<const void> source;
    uint64_t index = 0;
    size_t at = 0;
    size_t count = 0;
  };
  struct Buffer {
    std::vector<TimestampMs> times;
    std::vector<Run> runs;  // By their places, which do not overlap.
    uint64_t stamp = 0;
    uint64_t used = 0;  // When last.
  };

  // Whether those are the times at [size_, size_ + times.size()) of the buffer.
  bool AreThere(const Buffer& buffer, absl::Span<const TimestampMs> times) const;
  // An empty list goes on with the buffer that begins with these times, if there is one.
  void Choose(const void* source, uint64_t index, absl::Span<const TimestampMs> times);
  // Makes [size_, ...) `times`, and forgets what was behind.
  void Overwrite(absl::Span<const TimestampMs> times);
  // Those that reach beyond size_.
  void ForgetRuns();

  Buffer now_;
  size_t size_ = 0;
  size_t next_run_ = 0;  // Of now_.runs: those before it lie before size_.
  std::vector<Buffer> kept_;
  uint64_t uses_ = 0;
};

}  // namespace varve
