// SPDX-License-Identifier: Apache-2.0
//
// What one target's last scrapes looked like, line by line: for each series its text's hash and its
// ref in the storage, in the order of the lines. A scrape like the last one is recognised by
// comparing each line with the entry that is next in that order; only a line out of order is looked
// up.
//
// (1) An entry is `live` if its series had a sample in the last scrape that succeeded, and nothing
//     has ended it since: once it is missing, a staleness marker has to.
// (2) Texts are not kept: 24 bytes a line, whatever its length.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <cstdint>
#include <vector>

#include "model/series_ref.h"

namespace varve {

// Scrapes for which metadata that is no longer exposed stays known.
inline constexpr uint32_t kMetadataScrapesMax = 10;

// Not thread-safe.
class SeriesCache {
 public:
  enum Kind : uint32_t {
    kSeries,   // `ref` is the SeriesRef.
    kDropped,  // Relabelled away.
    kHelp,     // `ref` is the metadata item, as for the next two.
    kType,     // `type` is what the line declared.
    kUnit,
  };

  struct Entry {
    uint64_t hash = 0;
    uint64_t ref = 0;
    uint32_t bytes : 24 = 0;
    uint32_t kind : 3 = kSeries;
    uint32_t type : 3 = 0;  // A MetricType.
    uint32_t live : 1 = 0;
    uint32_t ends : 1 = 0;  // Becomes `live` when the scrape it was seen in ends.
    uint32_t scrape = 0;    // The last one it was seen in; 0 = none.
  };
  static_assert(sizeof(Entry) == 24);

  // Starts a scrape: no entry counts as seen in it yet.
  void Begin();

  // The entry of the line that should come next, or null.
  Entry* Expected() { return next_ < entries_.size() ? &entries_[next_] : nullptr; }
  // The series of the line that should come so many lines later, if it is one that is stored.
  SeriesRef RefLater(size_t lines) const {
    if (lines >= entries_.size() - next_) return kNoSeries;
    const Entry& entry = entries_[next_ + lines];
    return entry.kind == kSeries ? SeriesRef{entry.ref} : kNoSeries;
  }
  // The entry of a line: the one that should come next, if it is that, else Find()'s.
  Entry* Lookup(uint64_t hash, uint32_t bytes) {
    Entry* const entry = Expected();
    const bool expected = entry != nullptr && entry->hash == hash && entry->bytes == bytes;
    return expected ? entry : Find(hash, bytes);
  }
  // The entry of a line, or null. The entry is expected to be seen now: the one behind it becomes
  // the next.
  Entry* Find(uint64_t hash, uint32_t bytes);
  // A new entry. Invalidates pointers to others.
  Entry& Add(uint64_t hash, uint32_t bytes, Kind kind);

  // Records that the line of `entry` is in this scrape; `ends`: when it is missing from the next
  // one, its series is to be ended. Returns false if it was seen before in the same scrape.
  bool MarkSeen(Entry& entry, bool ends) {
    // A new entry sits at the end; the line after it is expected where the order was left.
    if (&entry == entries_.data() + next_) ++next_;
    if (entry.scrape == scrape_) return false;
    entry.scrape = scrape_;
    if (!(steady_ && ends && entry.live && entry.ends)) NoteSeen(entry, ends);
    return true;
  }

  // Ends a scrape. `gone(ref)` is called for every live series that was not in it; series, and
  // after some scrapes metadata, that are gone are forgotten, `forget(item)` is called for the
  // latter.
  template <typename Gone, typename Forget>
  void End(Gone gone, Forget forget) {
    if (!Changed()) return;
    for (const SeriesRef ref : GoneSeries()) gone(ref);
    for (const Entry& entry : entries_) {
      if (entry.kind >= kHelp && Expired(entry)) forget(static_cast<uint32_t>(entry.ref));
    }
    Rebuild();
  }

  // Ends a scrape that failed: every live series is told to `gone`, none is live or forgotten.
  template <typename Gone>
  void Fail(Gone gone) {
    for (Entry& entry : entries_) {
      if (entry.kind == kSeries && entry.live) gone(SeriesRef{entry.ref});
      entry.live = 0;
    }
    failed_ = true;
    Forget();
  }

  // Makes every line unknown, as when the same text may now mean another series. Series stay live
  // until the next scrape shows whether they still are.
  void Unlearn();

  size_t size() const { return entries_.size(); }

 private:
  uint32_t IndexOf(const Entry& entry) const {
    return static_cast<uint32_t>(&entry - entries_.data());
  }
  // Whether this scrape was not exactly like the last.
  bool Changed() const { return failed_ || !steady_ || next_ != entries_.size(); }
  // Live series without a line in this scrape (a series may have had several lines).
  std::vector<SeriesRef> GoneSeries() const;
  bool Expired(const Entry& entry) const { return scrape_ - entry.scrape > kMetadataScrapesMax; }
  void NoteSeen(Entry& entry, bool ends);
  void LeaveOrder();
  void NoteOrder(uint32_t at);
  void Rebuild();
  void Forget();

  std::vector<Entry> entries_;
  uint32_t scrape_ = 0;
  size_t next_ = 0;
  bool failed_ = true;  // The last scrape failed, or there was none.
  bool steady_ = true;  // So far each line was the expected one.
  // Only while not steady: the entries seen, in this scrape's order, and where each hash is.
  std::vector<uint32_t> order_;
  absl::flat_hash_map<uint64_t, uint32_t> index_;
};

}  // namespace varve
