// SPDX-License-Identifier: Apache-2.0
//
// Damage to stored data.
#include "tsdb/damage.h"

#include <rocksdb/slice.h>
#include <spdlog/spdlog.h>

#include <utility>

#include "model/log_line.h"
#include "model/time.h"

namespace varve {

namespace {

// Texts remembered; beyond, the same damage may be named again.
constexpr size_t kNotedMax = 10'000;
// Of one query; the API shows ten.
constexpr size_t kWarningsMax = 100;
// Bytes of a key that the end of a damaged block is looked for in.
constexpr size_t kRefinedBytesMax = 40;

// Behind every key, and in no block.
const std::string& BehindAllKeys() {
  static const std::string kKey(kRefinedBytesMax, '\xff');
  return kKey;
}

// Whether reading at `key` or behind works.
bool IsReadable(rocksdb::Iterator& it, const std::string& key) {
  ForgetBlock(it);
  it.Seek(rocksdb::Slice(key));
  return it.Valid() || it.status().ok();
}

}  // namespace

void DamageLog::Note(std::string_view part, std::string_view what) {
  count_.fetch_add(1, std::memory_order_relaxed);
  spdlog::error(LogLine("Stored data is damaged and left out",
                        {{"part", std::string(part)}, {"err", std::string(what)}}));
}

void DamageLog::NoteOnce(std::string_view part, std::string_view what) {
  {
    MutexLock lock(mutex_);
    if (noted_.size() >= kNotedMax) noted_.clear();
    if (!noted_.emplace(what).second) return;
  }
  Note(part, what);
}

void ReadDamage::Note(std::string_view part, std::string_view what) {
  log_.NoteOnce(part, what);
  MutexLock lock(mutex_);
  // Each text is looked for among those before it.
  if (warnings_.warnings().size() >= kWarningsMax) return;
  std::string text = "storage: stored data is damaged and left out: ";
  text.append(what);
  warnings_.AddWarning(std::move(text));
}

Annotations ReadDamage::Warnings() const {
  MutexLock lock(mutex_);
  return warnings_;
}

void ForgetBlock(rocksdb::Iterator& it) { it.Seek(rocksdb::Slice(BehindAllKeys())); }

bool SeekPastDamage(rocksdb::Iterator& it, std::string_view from) {
  // Keys of one block have much in common: a key behind the block is `from` up to some byte, and
  // that byte raised. The longest such prefix with a readable key behind it brackets the block's
  // end; bisecting byte by byte finds it.
  std::string failing(from);
  size_t raised = failing.size();
  std::string good;
  for (; raised > 0; --raised) {
    good = failing.substr(0, raised);
    if (static_cast<uint8_t>(good.back()) == 0xff) continue;
    good.back() = static_cast<char>(static_cast<uint8_t>(good.back()) + 1);
    if (IsReadable(it, good)) break;
    if (!it.status().IsCorruption()) return false;
  }
  if (raised == 0) {
    good = BehindAllKeys();
    if (!IsReadable(it, good)) return false;
  }
  // At `position`, bytes up to `low` fail and `high` is readable (256: the prefix raised).
  failing.resize(raised);
  for (size_t position = raised; position < kRefinedBytesMax; ++position) {
    int low = position < from.size() && from.substr(0, position) == failing
                  ? static_cast<uint8_t>(from[position])
                  : -1;
    int high = 256;
    while (high - low > 1) {
      const int middle = low + (high - low) / 2;
      std::string probe = failing + static_cast<char>(middle);
      if (IsReadable(it, probe)) {
        high = middle;
        good = std::move(probe);
      } else {
        low = middle;
      }
    }
    if (low < 0) break;  // Every longer key is readable.
    failing.push_back(static_cast<char>(low));
  }
  return IsReadable(it, good) && it.Valid();
}

}  // namespace varve
