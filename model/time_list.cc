// SPDX-License-Identifier: Apache-2.0
//
// A stamp stands for all that a buffer holds: it changes when something in it does, but not when
// something is added behind.
#include "model/time_list.h"

#include <algorithm>
#include <atomic>
#include <utility>

namespace varve {

namespace {

uint64_t NewStamp() {
  static std::atomic<uint64_t> last{0};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

}  // namespace

TimeList::TimeList(TimeList&& from) noexcept { *this = std::move(from); }

TimeList& TimeList::operator=(const TimeList& from) {
  if (this == &from) return *this;
  Clear();
  Append(from);
  return *this;
}

TimeList& TimeList::operator=(TimeList&& from) noexcept {
  now_ = std::exchange(from.now_, {});
  size_ = std::exchange(from.size_, 0);
  next_run_ = std::exchange(from.next_run_, 0);
  kept_ = std::exchange(from.kept_, {});
  uses_ = from.uses_;
  return *this;
}

void TimeList::Clear() {
  size_ = 0;
  next_run_ = 0;
}

void TimeList::Truncate(size_t size) {
  size_ = size;
  next_run_ = 0;
}

bool TimeList::AreThere(const Buffer& buffer, absl::Span<const TimestampMs> times) const {
  return buffer.times.size() - size_ >= times.size() &&
         std::equal(times.begin(), times.end(),
                    buffer.times.begin() + static_cast<ptrdiff_t>(size_));
}

void TimeList::Choose(const void* source, uint64_t index, absl::Span<const TimestampMs> times) {
  const auto begins_so = [&](const Buffer& buffer) {
    if (source != nullptr && !buffer.runs.empty()) {
      const Run& first = buffer.runs.front();
      if (first.at == 0 && first.source.get() == source && first.index == index) return true;
    }
    return AreThere(buffer, times);
  };
  now_.used = ++uses_;
  if (now_.times.empty() || begins_so(now_)) return;
  const auto kept = std::find_if(kept_.begin(), kept_.end(), begins_so);
  if (kept != kept_.end()) {
    std::swap(now_, *kept);
  } else if (kept_.size() < kKeptMax) {
    kept_.push_back(std::exchange(now_, {}));
  } else {
    std::swap(now_,
              *std::min_element(kept_.begin(), kept_.end(),
                                [](const Buffer& a, const Buffer& b) { return a.used < b.used; }));
  }
}

void TimeList::Overwrite(absl::Span<const TimestampMs> times) {
  if (now_.stamp == 0 || size_ < now_.times.size()) now_.stamp = NewStamp();
  now_.times.resize(size_);
  now_.times.insert(now_.times.end(), times.begin(), times.end());
  ForgetRuns();
}

void TimeList::ForgetRuns() {
  while (!now_.runs.empty() && now_.runs.back().at + now_.runs.back().count > size_) {
    now_.runs.pop_back();
  }
  next_run_ = now_.runs.size();
}

void TimeList::Append(absl::Span<const TimestampMs> times) {
  if (times.empty()) return;
  if (size_ == 0) Choose(nullptr, 0, times);
  if (!AreThere(now_, times)) Overwrite(times);
  size_ += times.size();
}

// Series of a target have the same times, but not from the same pieces: where one goes on with
// another source than the one before, the times are compared until both are at the same again.
void TimeList::AppendFrom(const std::shared_ptr<const void>& source, uint64_t index,
                          absl::Span<const TimestampMs> times) {
  if (size_ == 0 && !times.empty()) Choose(source.get(), index, times);
  while (!times.empty()) {
    std::vector<Run>& runs = now_.runs;
    while (next_run_ < runs.size() && runs[next_run_].at + runs[next_run_].count <= size_) {
      ++next_run_;
    }
    size_t next = times.size();
    bool in_run = false;
    bool is_same = false;
    if (next_run_ < runs.size()) {
      const Run& run = runs[next_run_];
      in_run = run.at <= size_;
      is_same = in_run && run.source == source && run.index + (size_ - run.at) == index;
      next = std::min(next, (in_run ? run.at + run.count : run.at) - size_);
    }
    if (!is_same && !AreThere(now_, times.first(next))) {
      next = times.size();
      Overwrite(times);
      in_run = false;
    }
    if (!in_run) {
      Run* const before = next_run_ > 0 ? &runs[next_run_ - 1] : nullptr;
      if (before != nullptr && before->at + before->count == size_ && before->source == source &&
          before->index + before->count == index) {
        before->count += next;
      } else {
        runs.insert(runs.begin() + static_cast<ptrdiff_t>(next_run_), {source, index, size_, next});
        ++next_run_;
      }
    }
    size_ += next;
    index += next;
    times.remove_prefix(next);
  }
}

void TimeList::Set(size_t index, TimestampMs time) {
  if (now_.times[index] == time) return;
  now_.times[index] = time;
  now_.stamp = NewStamp();
  now_.runs.clear();
  next_run_ = 0;
}

uint64_t TimeList::MemoryBytes() const {
  uint64_t times = now_.times.capacity();
  for (const Buffer& buffer : kept_) times += buffer.times.capacity();
  return times * sizeof(TimestampMs);
}

}  // namespace varve
